use std::collections::BTreeSet;

use martlet_codec::topic::TopicName;

use super::*;

fn rules(text: &str) -> Rules {
    Rules::parse(Path::new("acl"), text, Dialect::Mosquitto)
        .unwrap_or_else(|faults| panic!("{faults:#?}"))
}

const FILE: &str = "\
# anonymous
topic read public/#
topic deny public/secret

user ann
topic readwrite ann/#
topic deny ann/locked/#
topic write ann/locked/door
topic $SYS/#
topic read  with space
user bob
topic #

user ann
topic write later

pattern write from/%c/+
pattern read to/%u/%c
pattern deny from/%c/never
pattern read id-%c-of-%u/x
";

/// (client id, user, question, line that answers, yes or no)
#[test]
fn the_line_that_answers_is_named() {
    use Question::{Publish, Receive, Subscribe};
    let rows: &[(&str, Option<&str>, Question<'_>, usize, bool)] = &[
        ("c", None, Receive("public/x"), 2, true),
        ("c", None, Receive("public"), 2, true),
        ("c", None, Publish("public/x"), 0, false),
        ("c", None, Receive("public/secret"), 3, false),
        ("c", None, Publish("public/secret"), 3, false),
        ("c", None, Receive("ann/x"), 0, false),
        ("c", Some("ann"), Publish("ann/x"), 6, true),
        ("c", Some("ann"), Receive("ann"), 6, true),
        ("c", Some("ann"), Publish("annx"), 0, false),
        // Deny first, wherever it stands, and however exact the other line.
        ("c", Some("ann"), Publish("ann/locked/door"), 7, false),
        ("c", Some("ann"), Receive("$SYS/broker/uptime"), 9, true),
        ("c", Some("ann"), Receive("with space"), 10, true),
        ("c", Some("ann"), Publish("later"), 15, true),
        ("c", Some("ann"), Receive("later"), 0, false),
        ("c", Some("ann"), Receive("public/x"), 0, false),
        ("c", Some("bob"), Receive("anything/at/all"), 12, true),
        ("c", Some("bob"), Receive("$SYS/broker/uptime"), 0, false), // I9
        ("c", Some("bob"), Publish("from/c/never"), 12, true),
        // Patterns hold for everybody, unknown users too.
        ("c", None, Publish("from/c/x"), 17, true),
        ("c", Some("eve"), Publish("from/c/x"), 17, true),
        ("c", Some("eve"), Publish("from/d/x"), 0, false),
        ("c", Some("eve"), Publish("from/c/never"), 19, false),
        ("c", Some("eve"), Receive("to/eve/c"), 18, true),
        ("c", None, Receive("to//c"), 0, false),
        ("c", Some("eve"), Receive("id-c-of-eve/x"), 20, true),
        ("a/b", Some("eve"), Publish("from/a/b/x"), 17, true),
        ("%u", Some("eve"), Publish("from/%u/x"), 17, true),
        // Whole filters: one line must cover all of it.
        ("c", Some("ann"), Subscribe("ann/#"), 6, true),
        ("c", Some("ann"), Subscribe("ann/+/x"), 6, true),
        ("c", Some("ann"), Subscribe("ann/locked/#"), 7, false),
        ("c", Some("ann"), Subscribe("+/x"), 0, false),
        ("c", Some("ann"), Subscribe("#"), 0, false),
        ("c", Some("bob"), Subscribe("#"), 12, true),
        ("c", Some("bob"), Subscribe("$SYS/#"), 0, false),
        ("c", Some("ann"), Subscribe("$SYS/+"), 9, true),
        ("c", Some("eve"), Subscribe("to/eve/c"), 18, true),
        ("c", Some("eve"), Subscribe("to/eve/+"), 0, false),
    ];
    let rules = rules(FILE);
    let mut named = BTreeSet::new();
    for &(client_id, user, question, line, allowed) in rows {
        let answer = rules.explain(Who { client_id, user }, question);
        let said = match answer.because {
            Because::Rule(rule) => rule.line,
            Because::Nothing | Because::Dangerous => 0,
        };
        assert_eq!((said, answer.allowed), (line, allowed), "{client_id} {user:?} {question:?}");
        named.insert(line);
    }
    let lines = rules.patterns.iter().chain(&rules.anonymous.rules);
    let lines = lines.chain(rules.by_user.values().flat_map(|part| &part.rules));
    let never: Vec<_> = lines.filter(|rule| !named.contains(&rule.line)).collect();
    // A deny of the same user stands in front of it.
    assert_eq!(never.iter().map(|rule| rule.line).collect::<Vec<_>>(), [8]);
}

#[test]
fn names_that_are_wildcards_get_nothing_from_patterns_and_from_behind_them() {
    let rules = rules("topic read open\nuser a+b\ntopic read own\npattern read %u/%c\n");
    let asks = |client_id, user, topic| {
        rules.explain(Who { client_id, user }, Question::Receive(topic)).because
    };
    assert_eq!(asks("#", None, "anything"), Because::Dangerous);
    assert_eq!(asks("c", Some("+"), "x/c"), Because::Dangerous);
    assert!(matches!(asks("#", None, "open"), Because::Rule(_)), "its own lines hold");
    assert!(matches!(asks("c", Some("a+b"), "own"), Because::Rule(_)));
    assert!(rules.distrusts(Who { client_id: "#", user: None }));
    assert!(!rules.distrusts(Who { client_id: "c", user: Some("$") }));
}

#[test]
fn a_client_that_is_called_sys_gets_no_sys_from_a_pattern() {
    let rules = rules("pattern read %c/#\n");
    let who = Who { client_id: "$SYS", user: None };
    assert!(!rules.explain(who, Question::Receive("$SYS/x")).allowed);
}

#[test]
fn all_mistakes_come_with_their_lines() {
    let text = "topic\nuser \nbogus a\n # c\ntopic rw a\n  topic read a\ntopic a/#/b\npattern\n\
                topic\tread\ta\n#topic\npattern read %c+\n";
    let faults = Rules::parse(Path::new("acl"), text, Dialect::Mosquitto).expect_err("mistakes");
    let said: Vec<String> = faults.iter().map(Fault::to_string).collect();
    let begins = [
        "acl:1: \"topic\" wants a topic filter",
        "acl:2: \"user\" wants a user name",
        "acl:3: \"bogus\" is no word",
        "acl:4: \"#\" is no word",
        "acl:5: \"rw\" is no kind of access",
        "acl:7: \"a/#/b\" is no topic filter",
        "acl:8: \"pattern\" wants a topic filter",
        "acl:9: \"topic\\tread\\ta\" is no word of an ACL file: separate words with spaces",
        "acl:11: \"%c+\" is no topic filter",
    ];
    assert_eq!(said.len(), begins.len(), "{said:#?}");
    for (said, begin) in said.iter().zip(begins) {
        assert!(said.starts_with(begin), "{said}");
    }
}

/// Three ways to match, of three authors: bytes, the tree, and the codec's levels.
#[test]
fn the_tree_the_bytes_and_the_codec_agree() {
    let levels = ["a", "b", "", "$SYS", "+", "#"];
    let mut seed = 7_u64;
    let mut dice = move |sides: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % sides
    };
    let mut matched = 0;
    for _ in 0..20_000 {
        let text = |dice: &mut dyn FnMut(usize) -> usize, sides| {
            let parts: Vec<&str> = (0..=dice(4)).map(|_| levels[dice(sides)]).collect();
            parts.join("/")
        };
        let (filter, topic) = (text(&mut dice, 6), text(&mut dice, 4));
        let (Ok(parsed), Ok(name)) =
            (TopicFilter::new(filter.as_bytes()), TopicName::new(topic.as_bytes()))
        else {
            continue;
        };
        let expected = parsed.matches(name);
        assert_eq!(matches(filter.bytes(), &topic), expected, "{filter:?} {topic:?}");
        let rules = rules(&format!("topic read {filter}\n"));
        let found = rules.anonymous.topics.find(&topic).answer(Bits::READ);
        // A filter of spaces alone cannot be written in a file; there is none here.
        assert_eq!(found.unwrap_or(false), expected, "{filter:?} {topic:?}");
        matched += usize::from(expected);
    }
    assert!(matched > 1000, "{matched}");
}

#[test]
fn fast_answers_are_those_that_are_explained() {
    let rules = rules(FILE);
    let topics = [
        "public",
        "public/x",
        "public/secret",
        "ann",
        "ann/x",
        "ann/locked/door",
        "$SYS/x",
        "with space",
        "later",
        "from/c/x",
        "from/c/never",
        "from/a/b/x",
        "to/eve/c",
        "to//c",
        "id-c-of-eve/x",
        "x",
    ];
    let mut yes = 0;
    for client_id in ["c", "a/b", "#", ""] {
        for user in [None, Some("ann"), Some("bob"), Some("eve"), Some("+")] {
            let who = Who { client_id, user };
            let part = rules.part(user).map(|part| &**part);
            for topic in topics {
                for (bit, question) in [
                    (Bits::READ, Question::Receive(topic)),
                    (Bits::WRITE, Question::Publish(topic)),
                ] {
                    let explained = rules.explain(who, question).allowed;
                    assert_eq!(rules.answer(part, who, topic, bit), explained, "{who:?} {topic}");
                    yes += u32::from(explained);
                }
            }
        }
    }
    assert!(yes > 50, "{yes}");
}

#[test]
fn go_auth_reads_a_file_for_everybody_and_denies_first() {
    const TEXT: &str = "topic read news/#\ntopic deny news/secret\ntopic own/%u\nuser ann\n\
                        topic a/#\ntopic news/secret\npattern deny a/locked\n";
    let read = |dialect| Rules::parse(Path::new("acl"), TEXT, dialect).expect("a good file");
    let (theirs, ours) = (read(Dialect::GoAuth), read(Dialect::Mosquitto));
    // By go-auth, by mosquitto.
    let rows = [
        (Some("ann"), Question::Receive("news/x"), true, false),
        (Some("bob"), Question::Receive("news/x"), true, false),
        (None, Question::Receive("news/x"), true, true),
        (Some("bob"), Question::Publish("own/bob"), true, false),
        (Some("ann"), Question::Receive("news/secret"), false, true),
        (Some("ann"), Question::Publish("a/x"), true, true),
        (Some("ann"), Question::Publish("a/locked"), false, true),
        (Some("ann"), Question::Subscribe("news/#"), true, false),
        (Some("bob"), Question::Publish("a/x"), false, false),
    ];
    for (user, question, by_go_auth, by_mosquitto) in rows {
        let who = Who { client_id: "c", user };
        for (rules, expected) in [(&theirs, by_go_auth), (&ours, by_mosquitto)] {
            assert_eq!(rules.explain(who, question).allowed, expected, "{user:?} {question:?}");
            let (topic, bit) = match question {
                Question::Publish(topic) => (topic, Bits::WRITE),
                Question::Receive(topic) => (topic, Bits::READ),
                Question::Subscribe(_) => continue,
            };
            let fast = rules.answer(rules.part(user).map(|part| &**part), who, topic, bit);
            assert_eq!(fast, expected, "{user:?} {question:?}");
        }
    }
}

/// As long as it is in nobody's part, a `deny` holds whatever a client calls itself.
#[test]
fn no_name_escapes_what_is_denied_to_everybody() {
    const TEXT: &str = "topic deny secret/#\ntopic read open\nuser ann\ntopic #\n\
                        pattern deny own/%c/x\n";
    let rules = Rules::parse(Path::new("acl"), TEXT, Dialect::GoAuth).expect("a good file");
    let part = rules.part(Some("ann")).map(|part| &**part);
    // What is denied to a client called `x`, and to one called `x+`.
    let rows = [
        ("secret/a", true, true),
        ("open", false, false),
        ("own/x/x", true, true),
        ("a", false, false),
    ];
    for (topic, plain, wild) in rows {
        for (client_id, denied) in [("x", plain), ("x+", wild), ("x/#", wild)] {
            let who = Who { client_id, user: Some("ann") };
            for (bit, question) in
                [(Bits::READ, Question::Receive(topic)), (Bits::WRITE, Question::Publish(topic))]
            {
                assert_eq!(rules.explain(who, question).allowed, !denied, "{who:?} {topic}");
                assert_eq!(rules.answer(part, who, topic, bit), !denied, "{who:?} {topic}");
            }
        }
    }
    let nobody = Who { client_id: "x+", user: None };
    assert!(!rules.explain(nobody, Question::Receive("open")).allowed, "it is given nothing");
}

/// Rules that were drawn at random: the fast answer is the one that is explained, in both dialects.
#[test]
fn the_fast_answer_is_the_one_that_is_explained() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let levels = ["a", "b", "%c", "%u", "+", "$SYS", ""];
    let access = ["read", "write", "readwrite", "deny"];
    let (mut yes, mut no) = (0, 0);
    for _ in 0..400 {
        let mut text = String::new();
        for _ in 0..draw(8) {
            if draw(4) == 0 {
                text.push_str(["user ann\n", "user bob\n"][draw(2)]);
            }
            let mut filter: Vec<&str> = (0..=draw(3)).map(|_| levels[draw(levels.len())]).collect();
            if draw(3) == 0 {
                filter.push("#");
            }
            let filter = filter.join("/");
            if TopicFilter::new(filter.as_bytes()).is_ok() {
                let word = ["topic", "pattern"][draw(2)];
                text.push_str(&format!("{word} {} {filter}\n", access[draw(4)]));
            }
        }
        for dialect in [Dialect::Mosquitto, Dialect::GoAuth] {
            let rules = Rules::parse(Path::new("acl"), &text, dialect).expect("good lines");
            for _ in 0..40 {
                let topic: Vec<&str> =
                    (0..=draw(3)).map(|_| ["a", "b", "ann", "c", "$SYS"][draw(5)]).collect();
                let topic = topic.join("/");
                let user = [None, Some("ann"), Some("bob"), Some("+")][draw(4)];
                let who = Who { client_id: ["c", "a", "x#"][draw(3)], user };
                let rows = [
                    (Question::Publish(&topic), Bits::WRITE),
                    (Question::Receive(&topic), Bits::READ),
                ];
                for (question, bit) in rows {
                    let explained = rules.explain(who, question).allowed;
                    let part = rules.part(user).map(|part| &**part);
                    let fast = rules.answer(part, who, &topic, bit);
                    assert_eq!(fast, explained, "{text}{dialect:?} {who:?} {question:?}");
                    if fast { yes += 1 } else { no += 1 }
                }
            }
        }
    }
    assert!(yes > 1000 && no > 1000, "{yes} {no}");
}

/// Files with any byte changed are read or refused, and nothing else happens.
#[test]
fn garbled_files_are_survived() {
    let text = b"topic read news/#\nuser ann\ntopic deny a/+/b\npattern write from/%c/%u\n# x\n";
    for at in 0..text.len() {
        for bit in 0..7 {
            let mut changed = text.to_vec();
            changed[at] ^= 1 << bit;
            let Ok(changed) = String::from_utf8(changed) else { continue };
            match Rules::parse(Path::new("acl"), &changed, Dialect::Mosquitto) {
                Ok(rules) => {
                    let who = Who { client_id: "c", user: Some("ann") };
                    rules.explain(who, Question::Publish("a/x/b"));
                }
                Err(faults) => assert!(!faults.is_empty()),
            }
        }
    }
}
