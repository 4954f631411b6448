//! What becomes of each line of a mosquitto.conf.

use std::fmt::{self, Write};

use serde::Serialize;

use crate::config::mosquitto::reader::{Read, Said};
use crate::config::mosquitto::row::Standing;
use crate::config::origin::{Mistake, Origin};
use crate::config::written::Setting;

/// One line, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Entry {
    file: String,
    line: Option<usize>,
    /// As it is written; empty: the mistake is about more than a line.
    option: String,
    #[serde(flatten)]
    fate: Fate,
}

/// What becomes of a line.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "verdict", content = "because", rename_all = "snake_case")]
pub(crate) enum Fate {
    /// It does what it does in mosquitto; the text tells how it comes out.
    Honoured(String),
    /// It is accepted and changes nothing, because ...
    NoEffect(String),
    /// The broker does not start with it, because ...
    Refused(String),
}

/// The account of a whole configuration.
#[derive(Clone, Debug, Serialize)]
pub struct Account {
    lines: Vec<Entry>,
    honoured: usize,
    no_effect: usize,
    refused: usize,
}

/// What becomes of the lines that were understood. `pieces` are what they set.
pub(super) fn of_lines(read: &Read, pieces: &[Setting]) -> Vec<Entry> {
    let understood = read.lines.iter().enumerate().map(|(at, said)| {
        let later = read.lines[at + 1..]
            .iter()
            .any(|later| (later.row.name, later.place) == (said.row.name, said.place));
        entry(&said.origin, said.row.name, fate(said, later, pieces))
    });
    let passed_over = read.passed_over.iter().map(|(origin, option)| {
        entry(origin, option, Fate::Refused("it goes with the plug-in above it".to_owned()))
    });
    understood.chain(passed_over).collect()
}

fn fate(said: &Said, later: bool, pieces: &[Setting]) -> Fate {
    match said.row.standing {
        Standing::Shape(becomes) => Fate::Honoured(becomes.to_owned()),
        Standing::NoEffect(because) => Fate::NoEffect(because.to_owned()),
        Standing::Refused { .. } => Fate::Honoured("it says what holds anyway".to_owned()),
        Standing::Kept { .. } => {
            let set = pieces.iter().find(|setting| setting.origin == said.origin);
            Fate::Honoured(match set {
                Some(Setting { row, value, .. }) => {
                    format!("{}.{} = {}", row.section, row.name, row.shown(value.clone()))
                }
                None if later => "it goes together with a later line".to_owned(),
                None => "it says what holds anyway".to_owned(),
            })
        }
    }
}

fn entry(origin: &Origin, option: &str, fate: Fate) -> Entry {
    let (file, line) = match origin {
        Origin::Place { path, line, .. } => (path.clone(), Some(*line)),
        other => (other.to_string(), None),
    };
    Entry { file, line, option: option.to_owned(), fate }
}

impl Account {
    /// Puts the lines that were understood and all mistakes together, in the order of the files.
    pub(crate) fn new(lines: Vec<Entry>, mistakes: &[Mistake]) -> Self {
        let mut all: Vec<Entry> = mistakes
            .iter()
            .map(|mistake| entry(&mistake.origin, "", Fate::Refused(mistake.text.clone())))
            .collect();
        for line in lines {
            match all.iter_mut().find(|other| other.is_at(&line)) {
                Some(mistake) => mistake.option = line.option,
                None => all.push(line),
            }
        }
        all.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        let count = |which: fn(&Fate) -> bool| all.iter().filter(|e| which(&e.fate)).count();
        let honoured = count(|fate| matches!(fate, Fate::Honoured(_)));
        let no_effect = count(|fate| matches!(fate, Fate::NoEffect(_)));
        let refused = count(|fate| matches!(fate, Fate::Refused(_)));
        Self { lines: all, honoured, no_effect, refused }
    }

    /// Whether the broker starts with it.
    pub const fn is_good(&self) -> bool {
        self.refused == 0
    }

    /// One object for machines.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("texts and numbers can be written as JSON") + "\n"
    }
}

impl Entry {
    fn is_at(&self, other: &Self) -> bool {
        self.line.is_some() && (&self.file, self.line) == (&other.file, other.line)
    }
}

impl fmt::Display for Account {
    /// One line for each, then how many there are of each kind.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Entry { file, line, option, fate } in &self.lines {
            let (verdict, because) = match fate {
                Fate::Honoured(text) => ("honoured ", text),
                Fate::NoEffect(text) => ("no effect", text),
                Fate::Refused(text) => ("REFUSED  ", text),
            };
            write!(f, "{verdict}  {file}")?;
            if let Some(line) = line {
                write!(f, ":{line}")?;
            }
            f.write_char(':')?;
            if !option.is_empty() {
                write!(f, " {option}:")?;
            }
            writeln!(f, " {because}")?;
        }
        writeln!(
            f,
            "{} honoured, {} without effect, {} refused",
            self.honoured, self.no_effect, self.refused
        )
    }
}
