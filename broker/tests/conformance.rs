//! `docs/CONFORMANCE.md` is printed from the marks in sources and tests: rule, code, test. This
//! test fails where the paper is not what the marks say, and where a rule has no code or no test.
//!
//! A mark is a rule's id, as in `MQTT-3.1.2-24`, on the line that keeps the rule (product code) or
//! shows it (a test, a row of a test's table, a conversation). A `!` in front of its bracket says
//! that we deviate, and why. `MQTT 5.0` in front of an id says that it is one of that version's,
//! which are not counted here.

#![allow(missing_docs, unreachable_pub, reason = "a test")]

mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use sources::Source;

const PAPER: &str = "docs/CONFORMANCE.md";
const RULES: &str = "broker/tests/conformance/rules-3.1.1.txt";
/// A rule that twenty tests show is as well served by the first few.
const PLACES_MAX: usize = 6;

const CHAPTERS: &[(&str, &str)] = &[
    ("1.5", "Text"),
    ("2.", "The fixed header and Packet Identifiers"),
    ("3.1.", "CONNECT"),
    ("3.2.", "CONNACK"),
    ("3.3.", "PUBLISH"),
    ("3.6.", "PUBREL"),
    ("3.8.", "SUBSCRIBE"),
    ("3.9.", "SUBACK"),
    ("3.10.", "UNSUBSCRIBE"),
    ("3.12.", "PINGREQ"),
    ("3.14.", "DISCONNECT"),
    ("4.1.", "Session state"),
    ("4.3.", "Quality of Service"),
    ("4.4.", "Delivery again"),
    ("4.5.", "Receipt"),
    ("4.6.", "Order"),
    ("4.7.", "Topic Names and Topic Filters"),
    ("4.8.", "Errors"),
    ("6.", "WebSocket"),
    ("7.", "Conformance"),
];

struct Rule {
    id: String,
    kind: char,
    meaning: String,
    /// Why it does not apply.
    excuse: Option<String>,
}

/// Where rules are kept, where they are shown, and where we deviate.
#[derive(Default)]
struct Marks {
    code: BTreeMap<String, BTreeSet<String>>,
    tests: BTreeMap<String, BTreeSet<String>>,
    deviations: BTreeSet<String>,
    unknown: Vec<String>,
}

#[test]
fn the_paper_says_what_the_marks_say_and_no_rule_is_forgotten() {
    let rules = rules(&sources::text(RULES).expect("the rules are UTF-8"));
    assert_eq!(rules.len(), 141, "MQTT 3.1.1 has so many normative statements");
    let marks = marks(&rules);
    let mut faults = marks.unknown.clone();
    faults.extend(forgotten(&rules, &marks));
    let paper = paper(&rules, &marks);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(sources::root().join(PAPER), &paper).expect("the paper can be written");
    } else if std::fs::read_to_string(sources::root().join(PAPER)).ok().as_ref() != Some(&paper) {
        faults.push(format!("{PAPER} is not what the marks say: ./test conformance prints it"));
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn marks_are_found_and_told_apart() {
    let rules = rules("3.1.2-24 | S | Silence\n2.3.1-1 | V | Ids\n1.5.3-1 | I | Text\n");
    let mut marks = Marks::default();
    let source = "/// Ends it [MQTT-3.1.2-24].\nfn end() {\n    // [MQTT5-9.9.9-9]\n}\n\
                  #[cfg(test)]\nmod tests {\n    #[test]\n    fn ids() { f(\"MQTT-2.3.1-1\") }\n}\n\
                  fn text() {} // ![MQTT-1.5.3-1] nobody does\n";
    marks.read_rust(&Source::new("codec/src/a.rs", source), &rules);
    marks.read_text("broker/tests/a.txt", "# [MQTT-3.1.2-24] [MQTT-3.1.2-99]\n", &rules);
    assert_eq!(marks.code["3.1.2-24"], ["`codec/src/a.rs`: `end`".to_owned()].into());
    assert_eq!(marks.tests["2.3.1-1"], ["`codec/src/a.rs`: `ids`".to_owned()].into());
    assert_eq!(marks.tests["3.1.2-24"], ["`broker/tests/a.txt`".to_owned()].into());
    assert_eq!(marks.unknown, ["broker/tests/a.txt:1: no rule has the id MQTT-3.1.2-99"]);
    assert_eq!(marks.deviations.len(), 1);
    let forgotten = forgotten(&rules, &marks);
    assert_eq!(
        forgotten,
        ["MQTT-2.3.1-1 (Ids): no code is marked with it", "MQTT-1.5.3-1 (Text): no test shows it"]
    );
}

fn rules(text: &str) -> Vec<Rule> {
    let rows = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let rules = rows.map(|row| {
        let mut columns = row.split(" | ");
        let mut column = || columns.next().map(str::to_owned);
        let (id, kind, meaning) = (column(), column(), column());
        let excuse = column();
        let kind = kind.and_then(|kind| kind.chars().next()).unwrap_or_default();
        assert!("SVIWOC".contains(kind), "{row}");
        assert!(excuse.is_none() || "WO".contains(kind), "only W and O have excuses: {row}");
        Rule { id: id.unwrap_or_default(), kind, meaning: meaning.unwrap_or_default(), excuse }
    });
    rules.collect()
}

fn marks(rules: &[Rule]) -> Marks {
    let mut marks = Marks::default();
    for source in sources::rust() {
        if source.path != "broker/tests/conformance.rs" {
            marks.read_rust(&source, rules);
        }
    }
    for path in sources::files() {
        let data = [".txt", ".tsv", ".csv", ".toml"].iter().any(|end| path.ends_with(end));
        if data && sources::is_test_path(&path) && path != RULES {
            marks.read_text(&path, &sources::text(&path).unwrap_or_default(), rules);
        }
    }
    marks
}

impl Marks {
    fn read_rust(&mut self, source: &Source, rules: &[Rule]) {
        for (number, line) in (1..).zip(&source.lines) {
            let place = match line.item.as_str() {
                "" => format!("`{}`", source.path),
                item => format!("`{}`: `{item}`", source.path),
            };
            self.read_line(&source.path, number, &line.raw, rules, (&place, line.test));
        }
    }

    fn read_text(&mut self, path: &str, text: &str, rules: &[Rule]) {
        for (number, line) in (1..).zip(text.lines()) {
            self.read_line(path, number, line, rules, (&format!("`{path}`"), true));
        }
    }

    fn read_line(
        &mut self,
        path: &str,
        number: usize,
        line: &str,
        rules: &[Rule],
        (place, test): (&str, bool),
    ) {
        for (id, deviates) in ids(line) {
            if !rules.iter().any(|rule| rule.id == id) {
                self.unknown.push(format!("{path}:{number}: no rule has the id MQTT-{id}"));
                continue;
            }
            if deviates {
                let why = line.trim().trim_start_matches(['/', '#', ' ']);
                self.deviations.insert(format!("{place}: {}", why.replace("![", "[")));
            }
            let places = if test { &mut self.tests } else { &mut self.code };
            places.entry(id).or_default().insert(place.to_owned());
        }
    }
}

/// The ids on a line, each with whether it says that we deviate.
fn ids(line: &str) -> Vec<(String, bool)> {
    let found = line.match_indices("MQTT-").filter_map(|(at, mark)| {
        let behind = &line[at + mark.len()..];
        let end = behind.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-'));
        let id = behind[..end.unwrap_or(behind.len())].trim_end_matches(['.', '-']);
        let (section, number) = id.split_once('-')?;
        let whole = section.split('.').count() == 3 && !number.is_empty();
        whole.then(|| (id.to_owned(), line[..at].ends_with("![")))
    });
    found.collect()
}

fn forgotten(rules: &[Rule], marks: &Marks) -> Vec<String> {
    let due = rules.iter().filter(|rule| rule.kind != 'C' && rule.excuse.is_none());
    let faults = due.flat_map(|rule| {
        let about = format!("MQTT-{} ({})", rule.id, rule.meaning);
        let code = !marks.code.contains_key(&rule.id);
        let test = !marks.tests.contains_key(&rule.id);
        let code = code.then(|| format!("{about}: no code is marked with it"));
        code.into_iter().chain(test.then(|| format!("{about}: no test shows it")))
    });
    faults.collect()
}

fn paper(rules: &[Rule], marks: &Marks) -> String {
    let mut paper = String::from(
        "# Conformance: MQTT 3.1.1, statement by statement\n\n\
         Printed by `./test conformance` from the marks in sources and tests, and compared by\n\
         `./test`: edit the marks, not this page. Meanings are our own short words; the id\n\
         leads to the standard's. Statements about clients alone are left out, unless the\n\
         server can see a breach.\n",
    );
    for (chapter, title) in CHAPTERS {
        let rows = rules.iter().filter(|rule| rule.id.starts_with(chapter) && rule.kind != 'C');
        let _ =
            write!(paper, "\n## {title}\n\n| rule | meaning | code | tests |\n|---|---|---|---|\n");
        for rule in rows {
            let code = match &rule.excuse {
                Some(excuse) => excuse.clone(),
                None => cell(marks.code.get(&rule.id)),
            };
            let tests = cell(marks.tests.get(&rule.id));
            let _ = writeln!(paper, "| {} | {} | {code} | {tests} |", rule.id, rule.meaning);
        }
    }
    paper.push_str("\n## Where we deviate, and why\n\n");
    if marks.deviations.is_empty() {
        paper.push_str("Nowhere.\n");
    }
    for deviation in &marks.deviations {
        let _ = writeln!(paper, "- {deviation}");
    }
    paper
}

fn cell(places: Option<&BTreeSet<String>>) -> String {
    let Some(places) = places else { return String::new() };
    let mut shown: Vec<String> = places.iter().take(PLACES_MAX).cloned().collect();
    if places.len() > PLACES_MAX {
        shown.push(format!("and {} more", places.len() - PLACES_MAX));
    }
    shown.join("<br>")
}
