use super::*;

fn name(text: &str) -> TopicName<'_> {
    TopicName::new(text.as_bytes()).expect("a topic name")
}

fn topics(lines: &[&str]) -> Topics {
    Topics::new(lines.iter().map(|line| Topic::parse(line).expect(line)).collect())
}

/// Of `mosquitto.conf(5)`: which of pattern, local and remote prefix may be left empty.
#[test]
fn what_may_be_left_empty_is_as_mosquitto_has_it() {
    let rows = [
        ("p out 0 l/ r/", true),
        ("p out 0 l/ \"\"", true),
        ("p out 0 \"\" r/", true),
        ("p out 0 \"\" \"\"", true),
        ("p out 0 l/", true),
        ("p", true),
        ("\"\" out 0 l r", true),
        ("\"\" out 0 l \"\"", false),
        ("\"\" out 0 \"\" r", false),
        ("\"\" out 0 \"\" \"\"", false),
        ("\"\"", false),
    ];
    for (line, good) in rows {
        assert_eq!(Topic::parse(line).is_ok(), good, "{line}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    let rows = [
        ("", "wants PATTERN"),
        ("a inwards", "no direction \"inwards\": write out, in or both"),
        ("a in 3", "no QoS \"3\": write 0, 1 or 2"),
        ("a in 1 l/# r/", "the local prefix \"l/#\", which cannot begin a topic name"),
        ("a in 1 l/ +/", "the remote prefix \"+/\""),
        ("# in 1 l r/", "makes the filter \"l#\", which is none"),
        ("a/#/b", "makes the filter \"a/#/b\""),
        ("a in 1 l/ r/ more", "has \"more\" behind its end"),
        ("\"a in 1", "a double quote without an end"),
        ("$share/g/a in", "which is shared"),
        ("$replay/-1h/a in", "which asks for history"),
        ("-1h/a in 0 \"\" $replay/", "which asks for history"),
    ];
    for (line, words) in rows {
        let wrong = Topic::parse(line).expect_err(line).to_string();
        assert!(wrong.contains(words), "{line}: {wrong}");
    }
}

#[test]
fn names_change_as_mosquitto_changes_them() {
    // lines, name here, name there; both ways
    let rows: &[(&[&str], &str, &str)] = &[
        (&["# both"], "a/b", "a/b"),
        (&["# both 0 l/ r/"], "l/a", "r/a"),
        (&["# both 0 l/ \"\""], "l/a", "a"),
        (&["# both 0 \"\" r/"], "a", "r/a"),
        (&["\"\" both 0 here/one there/two"], "here/one", "there/two"),
        (&["a/+ BOTH 0 l/ r/"], "l/a/x", "r/a/x"),
        // the first line that matches and renames decides
        (&["# both", "b/# both 0 \"\" r/", "# both 0 \"\" s/"], "b/c", "r/b/c"),
        (&["\"a b/#\" both 1 \"l l/\" r/"], "l l/a b/c", "r/a b/c"),
        // `l/#` matches `l` as well, which has no prefix to lose
        (&["# out 0 l/ r/"], "l", "r/l"),
    ];
    for (lines, here, there) in rows {
        let topics = topics(lines);
        assert_eq!(topics.to_remote(name(here)).as_deref(), Some(*there), "{lines:?}");
        if !lines[0].contains("out") {
            assert_eq!(topics.to_local(name(there)).as_deref(), Some(*here), "{lines:?}");
        }
    }
}

#[test]
fn what_has_no_name_over_there_is_told() {
    assert_eq!(topics(&["+ out 0 l/ \"\""]).to_remote(name("l/")), None);
    let long = "x".repeat(65_535);
    assert_eq!(topics(&["# out 0 \"\" r/"]).to_remote(name(&long)), None);
}

#[test]
fn what_no_line_wants_has_no_name_here() {
    let topics = topics(&["a/# in 1", "b/# out 1", "c/# both 0 l/ r/"]);
    for (there, here) in
        [("a/x", Some("a/x")), ("b/x", None), ("c/x", None), ("r/c/x", Some("l/c/x"))]
    {
        assert_eq!(topics.to_local(name(there)).as_deref(), here, "{there}");
    }
}

#[test]
fn each_side_is_asked_for_what_crosses() {
    let topics = topics(&["a/# out 1 l/ r/", "b in 2", "c both 0 \"\" r/", "b out"]);
    let texts = |filters: Vec<(&Filter, QoS)>| -> Vec<String> {
        filters.iter().map(|(f, qos)| format!("{} {}", f.as_str(), qos.get())).collect()
    };
    assert_eq!(texts(topics.local().collect()), ["l/a/# 1", "c 0", "b 0"]);
    assert_eq!(texts(topics.remote().collect()), ["b 2", "r/c 0"]);
    let unwanted: Vec<&str> = topics.unwanted().map(Filter::as_str).collect();
    assert_eq!(unwanted, ["r/a/#"], "b is wanted by another line");
}

/// Names of a few levels out of a few letters, prefixes likewise: what goes and comes back has its
/// own name again.
#[test]
fn there_and_back_is_the_identity() {
    let mut dice = 1_u64;
    let mut below = |n: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % n
    };
    for _ in 0..20_000 {
        let mut text = |levels: u64, end: &str| {
            let levels = (0..below(levels)).map(|_| ["a", "b", "ä", ""][below(4) as usize]);
            let text = levels.collect::<Vec<_>>().join("/");
            if text.is_empty() { text } else { text + end }
        };
        let (local, remote) = (text(4, "/"), text(4, "/"));
        let topic = local.clone() + &text(5, "x");
        let line = format!("# both 1 \"{local}\" \"{remote}\"");
        let Ok(line) = Topic::parse(&line) else { continue };
        let Ok(topic) = TopicName::new(topic.as_bytes()) else { continue };
        let topics = Topics::new(vec![line]);
        let Some(there) = topics.to_remote(topic) else { continue };
        let back = topics.to_local(name(&there));
        assert_eq!(back.as_deref(), Some(topic.as_str()), "{local:?} {remote:?} {there:?}");
    }
}
