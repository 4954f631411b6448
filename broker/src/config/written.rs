//! What the file says: values with their places. Nothing is opened but the file itself, and every
//! mistake is found in one reading.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::config::mosquitto::{self, Entry};
use crate::config::nearest::nearest;
use crate::config::origin::{Mistake, Origin};
use crate::config::rows::{self, BRIDGE, LISTENER, REPEATED, Row, SECTIONS, TELEMETRY};
use crate::config::value::Value;

/// One option that somebody set, with a value that it allows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Setting {
    pub(crate) row: &'static Row,
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// One `[[listener]]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WrittenListener {
    pub(crate) origin: Origin,
    pub(crate) settings: Vec<Setting>,
    /// It has mistakes, so what is missing in it says nothing.
    pub(crate) broken: bool,
    /// Nobody wrote its address down: a machine without IPv6 does without it.
    pub(crate) unnamed: bool,
}

/// One `[[telemetry]]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WrittenStream {
    pub(crate) origin: Origin,
    pub(crate) settings: Vec<Setting>,
    /// It has mistakes, so what is missing in it says nothing.
    pub(crate) broken: bool,
}

/// One `[[bridge]]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WrittenBridge {
    pub(crate) origin: Origin,
    pub(crate) settings: Vec<Setting>,
    /// It has mistakes, so what is missing in it says nothing.
    pub(crate) broken: bool,
}

/// A file as it was written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Written {
    pub(crate) settings: Vec<Setting>,
    pub(crate) listeners: Vec<WrittenListener>,
    pub(crate) streams: Vec<WrittenStream>,
    pub(crate) bridges: Vec<WrittenBridge>,
    /// What it says for the listeners of local only mode.
    pub(crate) local: Vec<Setting>,
    /// What is worth a line in the log, with the place.
    pub(crate) notices: Vec<String>,
    /// The same as a warning.
    pub(crate) warnings: Vec<String>,
    /// What becomes of each line of a mosquitto.conf; `None`: it is none.
    pub(crate) account: Option<Vec<Entry>>,
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        (self.section, self.name) == (other.section, other.name)
    }
}

/// A configuration file is written by people: this is far more than any of them.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Reads a file; what is wrong with it is added to `mistakes`.
pub(crate) fn read(path: &Path, mistakes: &mut Vec<Mistake>) -> Written {
    let name = path.display().to_string();
    let origin = || Origin::File { path: name.clone() };
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| {
        let mut start = file.take(FILE_BYTES_MAX + 1);
        start.read_to_end(&mut bytes)
    });
    if let Err(error) = read {
        mistakes.push(Mistake::new(origin(), format!("cannot be read: {error}")));
        return Written::default();
    }
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let text = format!("is no configuration file: over {FILE_BYTES_MAX} bytes");
        mistakes.push(Mistake::new(origin(), text));
        return Written::default();
    }
    if mosquitto::recognises(&name, &bytes) {
        return mosquitto::read(&name, &bytes, mistakes);
    }
    match String::from_utf8(bytes) {
        Ok(text) => parse(&name, &text, mistakes),
        Err(error) => {
            let start = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let place = Source { path: &name, text: &String::from_utf8_lossy(start) };
            let text = "is not UTF-8 text from here on: save it as UTF-8";
            mistakes.push(Mistake::new(place.origin(start.len()), text));
            Written::default()
        }
    }
}

/// Takes the text of a file apart; what is wrong with it is added to `mistakes`.
pub(crate) fn parse(path: &str, text: &str, mistakes: &mut Vec<Mistake>) -> Written {
    let source = Source { path, text };
    let (document, errors) = DeTable::parse_recoverable(text);
    mistakes.extend(errors.into_iter().map(|error| {
        let at = error.span().map_or(text.len(), |span| span.start);
        Mistake::new(source.origin(at), error.message())
    }));
    let mut walk = Walk { source, mistakes };
    let mut written = Written::default();
    for (key, value) in document.get_ref() {
        walk.top_level(key, value, &mut written);
    }
    written
}

#[derive(Clone, Copy)]
struct Source<'a> {
    path: &'a str,
    text: &'a str,
}

impl Source<'_> {
    /// The place of a byte. A byte order mark takes no column, since no editor shows it.
    fn origin(&self, at: usize) -> Origin {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let shown = before[line_start..].chars().filter(|c| *c != '\u{feff}');
        Origin::Place {
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: shown.count() + 1,
        }
    }
}

type Key<'a> = Spanned<DeString<'a>>;

struct Walk<'a> {
    source: Source<'a>,
    mistakes: &'a mut Vec<Mistake>,
}

impl Walk<'_> {
    fn top_level(&mut self, key: &Key<'_>, value: &Spanned<DeValue<'_>>, written: &mut Written) {
        let name = key.get_ref().as_ref();
        match value.get_ref() {
            DeValue::Array(tables) if name == LISTENER => {
                for table in tables {
                    let (origin, settings, broken) = self.repeated(LISTENER, table);
                    let listener = WrittenListener { origin, settings, broken, unnamed: false };
                    written.listeners.push(listener);
                }
            }
            DeValue::Array(tables) if name == TELEMETRY => {
                for table in tables {
                    let (origin, settings, broken) = self.repeated(TELEMETRY, table);
                    written.streams.push(WrittenStream { origin, settings, broken });
                }
            }
            DeValue::Array(tables) if name == BRIDGE => {
                for table in tables {
                    let (origin, settings, broken) = self.repeated(BRIDGE, table);
                    written.bridges.push(WrittenBridge { origin, settings, broken });
                }
            }
            _ if rows::is_repeated(name) => {
                self.mistake(key.span().start, in_double_brackets(name));
            }
            DeValue::Table(table) => match SECTIONS.iter().find(|(section, _)| *section == name) {
                Some((section, _)) => self.section(section, table, &mut written.settings),
                None => self.unknown_section(key),
            },
            _ => self.outside(key),
        }
    }

    /// One of a section that may stand several times: its place, what it sets, and whether it has
    /// mistakes.
    fn repeated(
        &mut self,
        section: &str,
        table: &Spanned<DeValue<'_>>,
    ) -> (Origin, Vec<Setting>, bool) {
        let at = table.span().start;
        let mistakes_before = self.mistakes.len();
        let mut settings = Vec::new();
        match table.get_ref() {
            DeValue::Table(table) => self.section(section, table, &mut settings),
            _ => self.mistake(at, in_double_brackets(section)),
        }
        let broken = self.mistakes.len() > mistakes_before;
        (self.source.origin(at), settings, broken)
    }

    fn section(&mut self, section: &str, table: &DeTable<'_>, settings: &mut Vec<Setting>) {
        for (key, value) in table {
            let Some(row) = rows::find(section, key.get_ref()) else {
                self.unknown_option(section, key);
                continue;
            };
            let at = value.span().start;
            match typed(value.get_ref()).map_or_else(
                |what| Err(format!("\"{}\" takes {}, not {what}", row.name, row.kind)),
                |value| row.check(value),
            ) {
                Ok(value) => settings.push(Setting { row, value, origin: self.source.origin(at) }),
                Err(text) => self.mistake(at, text),
            }
        }
    }

    fn unknown_option(&mut self, section: &str, key: &Key<'_>) {
        let name = key.get_ref();
        let suggestion = if let Some(name) = nearest(name, known_as(rows::of(section))) {
            format!("; did you mean \"{}\"?", name.name)
        } else if let Some(row) = rows::all().find(|row| row.is_called(name)) {
            format!("; \"{}\" belongs in {}", row.name, rows::header(row.section))
        } else {
            let names: Vec<&str> = rows::of(section).map(|row| row.name).collect();
            format!("; it has: {}", names.join(", "))
        };
        self.mistake(
            key.span().start,
            format!("unknown option {name:?} in {}{suggestion}", rows::header(section)),
        );
    }

    fn unknown_section(&mut self, key: &Key<'_>) {
        let name = key.get_ref();
        let sections = SECTIONS.iter().map(|(section, _)| (section, section));
        let suggestion = match nearest(name, sections) {
            Some(section) => format!("; did you mean [{section}]?"),
            None => {
                let names: Vec<&str> = SECTIONS.iter().map(|(section, _)| *section).collect();
                format!("; there are: {}", names.join(", "))
            }
        };
        self.mistake(key.span().start, format!("unknown section [{name}]{suggestion}"));
    }

    /// An option before the first section.
    fn outside(&mut self, key: &Key<'_>) {
        let name = key.get_ref();
        let text = match nearest(name, known_as(rows::all())) {
            Some(row) if row.is_called(name) => {
                format!(
                    "{name:?} stands outside of a section; put \"{}\" under {}",
                    row.name,
                    rows::header(row.section)
                )
            }
            Some(row) => format!(
                "unknown option {name:?} outside of a section; did you mean \"{}\" in {}?",
                row.name,
                rows::header(row.section)
            ),
            None => format!("unknown option {name:?} outside of a section"),
        };
        self.mistake(key.span().start, text);
    }

    fn mistake(&mut self, at: usize, text: impl Into<String>) {
        self.mistakes.push(Mistake::new(self.source.origin(at), text));
    }
}

impl Row {
    fn is_called(&self, name: &str) -> bool {
        self.name == name || self.mosquitto == Some(name)
    }
}

/// Every name by which people know the rows, mosquitto's included.
fn known_as(
    rows: impl Iterator<Item = &'static Row>,
) -> impl Iterator<Item = (&'static str, &'static Row)> {
    rows.flat_map(|row| {
        [Some(row.name), row.mosquitto].into_iter().flatten().map(move |n| (n, row))
    })
}

fn in_double_brackets(section: &str) -> String {
    let one = REPEATED.iter().find(|(name, _)| *name == section).map_or(section, |(_, one)| one);
    format!("a {one} begins with [[{section}]], in double brackets")
}

/// A value that some option could take, or what it is instead.
fn typed(value: &DeValue<'_>) -> Result<Value, String> {
    match value {
        DeValue::Boolean(value) => Ok(Value::Bool(*value)),
        DeValue::String(text) => Ok(Value::Text(text.clone().into_owned().into())),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(Value::Integer)
            .map_err(|_| format!("{} (too large)", number.as_str())),
        DeValue::Float(number) => Err(number.as_str().to_owned()),
        DeValue::Datetime(_) => Err("a date or time".to_owned()),
        DeValue::Array(items) => {
            let texts = items.iter().map(|item| match item.get_ref() {
                DeValue::String(text) => Ok(text.clone().into_owned()),
                _ => Err("a list".to_owned()),
            });
            texts.collect::<Result<_, _>>().map(Value::List)
        }
        DeValue::Table(table) => {
            let texts = table.iter().map(|(name, item)| match item.get_ref() {
                DeValue::String(text) => Ok((name.get_ref().to_string(), text.to_string())),
                DeValue::Table(_) => Err(format!(
                    "a section: write {{ \"{}.member\" = ... }}, in quotes, for a member inside",
                    name.get_ref()
                )),
                _ => Err("a section".to_owned()),
            });
            texts.collect::<Result<_, _>>().map(Value::Table)
        }
    }
}
