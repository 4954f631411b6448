//! What an option takes, and what it is given.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use martlet_engine::filter::Filter;

use crate::config::keeping::{self, Keeping};
use crate::logging::{DESTINATIONS_TAKES, Destinations, KINDS_TAKES, Kinds, Pattern};
use crate::telemetry::columns::{self, COLUMNS_MAX, ColumnKind};
use crate::telemetry::log::{NAME_BYTES_MAX, is_name};

/// A value of an option; displayed as TOML writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Bool(bool),
    Integer(i64),
    Text(Cow<'static, str>),
    /// Texts.
    List(Vec<String>),
    /// Texts by name.
    Table(BTreeMap<String, String>),
}

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    /// A whole number within bounds.
    Integer {
        min: i64,
        max: i64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Some of these words, each once, with commas between them.
    Words(&'static [&'static str]),
    /// An IP address with a port.
    SocketAddress,
    /// An IP address.
    IpAddress,
    /// Text without control characters, of so many bytes at most.
    Text {
        bytes_max: usize,
    },
    /// The same, for nobody else's eyes.
    Secret {
        bytes_max: usize,
    },
    /// A path of the file system.
    Path,
    /// When what is kept is safe.
    Keeping,
    /// Kinds of lines of the log.
    LogKinds,
    /// Where the log goes.
    LogDestinations,
    /// How the time is written, as `strftime` has it.
    TimePattern,
    /// The name of a stream of the log.
    Name,
    /// Topic filters.
    Filters,
    /// Members of JSON objects, and their types.
    Columns,
    /// Texts without control characters, one at least.
    Texts,
}

impl Kind {
    pub(super) fn allows(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Bool, Value::Bool(_)) => true,
            (Self::Integer { min, max }, Value::Integer(number)) => (min..=max).contains(number),
            (Self::Choice(words), Value::Text(text)) => words.contains(&&**text),
            (Self::Words(words), Value::Text(text)) => {
                let said: Vec<&str> = words_of(text).collect();
                let known = said.iter().all(|word| words.contains(word));
                known && said.iter().enumerate().all(|(at, word)| !said[..at].contains(word))
            }
            (Self::SocketAddress, Value::Text(text)) => text.parse::<SocketAddr>().is_ok(),
            (Self::IpAddress, Value::Text(text)) => text.parse::<IpAddr>().is_ok(),
            (Self::Text { bytes_max } | Self::Secret { bytes_max }, Value::Text(text)) => {
                text.len() <= bytes_max && !text.contains(char::is_control)
            }
            (Self::Keeping, Value::Text(text)) => text.parse::<Keeping>().is_ok(),
            (Self::LogKinds, Value::Text(text)) => text.parse::<Kinds>().is_ok(),
            (Self::LogDestinations, Value::Text(text)) => text.parse::<Destinations>().is_ok(),
            (Self::TimePattern, Value::Text(text)) => {
                Pattern::new(text).is_ok() && !text.contains(char::is_control)
            }
            (Self::Name, Value::Text(text)) => is_name(text),
            (Self::Filters, Value::List(texts)) => {
                !texts.is_empty() && texts.iter().all(|text| is_filter(text))
            }
            (Self::Columns, Value::Table(columns)) => {
                let is_good = |(name, kind): (&String, &String)| {
                    columns::check_name(name).is_ok() && ColumnKind::parse(kind).is_some()
                };
                columns.len() <= COLUMNS_MAX && columns.iter().all(is_good)
            }
            (Self::Texts, Value::List(texts)) => {
                !texts.is_empty() && texts.iter().all(|text| !text.contains(char::is_control))
            }
            (Self::Path, Value::Text(text)) => !text.is_empty() && !text.contains('\0'),
            _ => false,
        }
    }
}

impl fmt::Display for Kind {
    /// What may be written, to stand after "takes".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Bool => f.write_str("true or false"),
            Self::Integer { min, max: i64::MAX } => write!(f, "a whole number of at least {min}"),
            Self::Integer { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Choice([word]) => write!(f, "\"{word}\""),
            Self::Choice(words) => write!(f, "one of \"{}\"", words.join("\", \"")),
            Self::Words(words) => {
                write!(f, "some of {}, with commas between them", words.join(", "))
            }
            Self::SocketAddress => {
                f.write_str("an IP address with a port such as \"0.0.0.0:1883\" or \"[::]:1883\"")
            }
            Self::IpAddress => f.write_str("an IP address such as \"192.0.2.1\" or \"::1\""),
            Self::Text { bytes_max } | Self::Secret { bytes_max } => {
                write!(f, "a text of at most {bytes_max} bytes without control characters")
            }
            Self::Path => f.write_str("a path"),
            Self::Keeping => f.write_str(keeping::TAKES),
            Self::LogKinds => f.write_str(KINDS_TAKES),
            Self::LogDestinations => f.write_str(DESTINATIONS_TAKES),
            Self::TimePattern => f.write_str("what strftime takes, such as \"%Y-%m-%dT%H:%M:%S\""),
            Self::Name => {
                write!(f, "a name of at most {NAME_BYTES_MAX} letters, digits, \"-\" and \"_\"")
            }
            Self::Texts => f.write_str("a list of texts without control characters"),
            Self::Filters => f.write_str("a list of topic filters such as [\"sensors/#\"]"),
            Self::Columns => write!(
                f,
                "at most {COLUMNS_MAX} members of a JSON object, each \"number\", \"string\" or \
                 \"bool\" and none called as what every record has, such as {{ t = \"number\", \
                 \"gps.lat\" = \"number\" }}"
            ),
        }
    }
}

impl Value {
    pub(super) fn words(&self) -> Cow<'static, str> {
        match self {
            Self::Bool(value) => value.to_string().into(),
            Self::Integer(value) => value.to_string().into(),
            Self::Text(text) => text.clone(),
            Self::List(_) | Self::Table(_) => self.to_string().into(),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Text(text) => write_toml_string(f, text),
            Self::List(texts) => {
                f.write_str("[")?;
                for (at, text) in texts.iter().enumerate() {
                    f.write_str(if at > 0 { ", " } else { "" })?;
                    write_toml_string(f, text)?;
                }
                f.write_str("]")
            }
            Self::Table(texts) => {
                f.write_str("{")?;
                for (at, (name, text)) in texts.iter().enumerate() {
                    f.write_str(if at > 0 { ", " } else { " " })?;
                    write_toml_string(f, name)?;
                    f.write_str(" = ")?;
                    write_toml_string(f, text)?;
                }
                f.write_str(if texts.is_empty() { "}" } else { " }" })
            }
        }
    }
}

/// A filter that a stream may have: it shares nothing.
fn is_filter(text: &str) -> bool {
    Filter::parse(text).is_ok_and(|filter| filter.is_plain())
}

/// A basic string of TOML: on one line, every control character escaped.
fn write_toml_string(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            c if c.is_control() => write!(f, "\\u{:04X}", u32::from(c))?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

/// The words of [`Kind::Words`].
pub(super) fn words_of(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim)
}

/// A default that is text.
pub(super) const fn text(value: &'static str) -> Option<Value> {
    Some(Value::Text(Cow::Borrowed(value)))
}

/// A default that is a number.
pub(super) const fn integer(value: i64) -> Option<Value> {
    Some(Value::Integer(value))
}

/// A default that is an empty table.
pub(super) const fn table() -> Option<Value> {
    Some(Value::Table(BTreeMap::new()))
}

/// A default that is true or false.
pub(super) const fn bool(value: bool) -> Option<Value> {
    Some(Value::Bool(value))
}
