//! What a row of the table says about one option of mosquitto.

use std::borrow::Cow;

/// One option of mosquitto.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) scope: Scope,
    pub(crate) kind: Kind,
    /// As mosquitto 2.1 has it; empty: none.
    pub(crate) default: &'static str,
    /// The version that brought it, for what is newer than 2.0.
    pub(crate) since: Option<&'static str>,
    /// How mosquitto's notice of its deprecation goes on; it may be empty.
    pub(crate) deprecated: Option<&'static str>,
    /// Whether mosquitto reads it again on SIGHUP.
    pub(crate) reload: bool,
    pub(crate) times: Times,
    /// A value to show, and to test with.
    pub(crate) example: &'static str,
    /// One paragraph: what mosquitto does with it.
    pub(crate) help: &'static str,
    pub(crate) standing: Standing,
}

/// To what a line applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The whole broker, wherever the line stands.
    Global,
    /// The listener above it, or the default listener where there is none above.
    Listener,
    /// The whole broker, or with `per_listener_settings true` the listener above it.
    Either,
    /// The `connection` above it.
    Bridge,
    /// The plug-in above it.
    Plugin,
}

/// What mosquitto makes of a second line of the same option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Times {
    /// The last one counts.
    Last,
    /// It is an error.
    Once,
    /// All of them count.
    Each,
}

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `true`, `false`, `1` or `0`; what follows on the line is not looked at.
    Bool,
    /// A number in C's notation; what follows on the line is not looked at.
    Integer { min: i64, max: i64 },
    /// One of these words; what follows on the line is not looked at.
    Word(&'static [&'static str]),
    /// A whole number and one of `s h d w m y`.
    Duration,
    /// The rest of the line.
    Text,
}

/// What becomes of the option here.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Standing {
    /// It sets this option of Martlet's.
    Kept { section: &'static str, name: &'static str, how: How },
    /// The reader itself does what it says; the text tells how it comes out.
    Shape(&'static str),
    /// It is accepted and changes nothing, because ...
    NoEffect(&'static str),
    /// It is a mistake (unless it says what holds anyway, its default), because ...; instead ...
    Refused { because: &'static str, instead: &'static str },
}

/// How a value is written for Martlet's option, which then checks it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    /// As it stands.
    Same,
    /// Word for word.
    Words(&'static [(&'static str, &'static str)]),
    /// Computed; `None`: what it says holds anyway.
    By(fn(&str) -> Result<Option<String>, String>),
    /// Computed from all lines of the option.
    All(fn(&[&str]) -> Result<Option<String>, String>),
}

/// An option of the whole broker.
pub(super) const fn global(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    example: &'static str,
) -> Row {
    Row {
        name,
        scope: Scope::Global,
        kind,
        default,
        since: None,
        deprecated: None,
        reload: true,
        times: Times::Last,
        example,
        help: "",
        standing: NOT_YET,
    }
}

/// An option of a listener.
pub(super) const fn listener(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    example: &'static str,
) -> Row {
    let row = global(name, kind, default, example);
    Row { scope: Scope::Listener, reload: false, ..row }
}

/// An option of security: of the broker, or of a listener with `per_listener_settings true`.
pub(super) const fn security(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    example: &'static str,
) -> Row {
    Row { scope: Scope::Either, ..global(name, kind, default, example) }
}

/// An option of a bridge.
pub(super) const fn bridge(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    example: &'static str,
) -> Row {
    Row { scope: Scope::Bridge, times: Times::Each, ..global(name, kind, default, example) }
}

/// An option of a plug-in, without `plugin_opt_` or `auth_opt_`.
pub(super) const fn of_plugin(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    example: &'static str,
) -> Row {
    Row { scope: Scope::Plugin, reload: false, ..global(name, kind, default, example) }
}

const NOT_YET: Standing =
    Standing::Refused { because: "Martlet does not have it yet", instead: "leave the line out" };

impl Row {
    pub(super) const fn help(self, help: &'static str) -> Self {
        Self { help, ..self }
    }

    pub(super) const fn since(self, version: &'static str) -> Self {
        Self { since: Some(version), ..self }
    }

    pub(super) const fn deprecated(self, goes_on: &'static str) -> Self {
        Self { deprecated: Some(goes_on), ..self }
    }

    pub(super) const fn at_start(self) -> Self {
        Self { reload: false, ..self }
    }

    pub(super) const fn once(self) -> Self {
        Self { times: Times::Once, ..self }
    }

    pub(super) const fn each(self) -> Self {
        Self { times: Times::Each, ..self }
    }

    pub(super) const fn kept(self, section: &'static str, name: &'static str) -> Self {
        self.kept_by(section, name, How::Same)
    }

    pub(super) const fn kept_by(self, section: &'static str, name: &'static str, how: How) -> Self {
        Self { standing: Standing::Kept { section, name, how }, ..self }
    }

    pub(super) const fn shape(self, becomes: &'static str) -> Self {
        Self { standing: Standing::Shape(becomes), ..self }
    }

    pub(super) const fn no_effect(self, because: &'static str) -> Self {
        Self { standing: Standing::NoEffect(because), ..self }
    }

    pub(super) const fn refused(self, because: &'static str, instead: &'static str) -> Self {
        Self { standing: Standing::Refused { because, instead }, ..self }
    }
}

impl Kind {
    /// Takes what stands behind the name, and writes it in one way.
    pub(super) fn read(self, rest: &str) -> Result<Cow<'_, str>, String> {
        let first = rest.split(' ').find(|word| !word.is_empty()).unwrap_or("");
        let read = match self {
            Self::Bool => match first {
                "true" | "1" => Some(Cow::Borrowed("true")),
                "false" | "0" => Some(Cow::Borrowed("false")),
                _ => None,
            },
            Self::Integer { min, max } => number(first)
                .filter(|number| (min..=max).contains(number))
                .map(|number| Cow::Owned(number.to_string())),
            Self::Word(words) => {
                words.iter().find(|word| **word == first).map(|word| Cow::Borrowed(*word))
            }
            Self::Duration => seconds(first).map(|seconds| Cow::Owned(seconds.to_string())),
            Self::Text => {
                let text = rest.trim_matches(|c: char| c.is_ascii_whitespace());
                (!text.is_empty()).then_some(Cow::Borrowed(text))
            }
        };
        read.ok_or_else(|| match rest.trim() {
            "" => format!("wants a value: {self}"),
            text if first == "=" => {
                format!("takes {self}, not {text:?}; write it without \"=\"")
            }
            text => format!("takes {self}, not {text:?}"),
        })
    }
}

impl std::fmt::Display for Kind {
    /// What may be written, to stand after "takes".
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::Bool => f.write_str("true or false"),
            Self::Integer { min, max } => match (min > i32::MIN.into(), max < i32::MAX.into()) {
                (true, true) => write!(f, "a whole number from {min} to {max}"),
                (true, false) => write!(f, "a whole number of at least {min}"),
                _ => f.write_str("a whole number"),
            },
            Self::Word([word]) => f.write_str(word),
            Self::Word(words) => write!(f, "one of {}", words.join(", ")),
            Self::Duration => f.write_str("a whole number and one of s, h, d, w, m, y"),
            Self::Text => f.write_str("text up to the end of the line"),
        }
    }
}

/// A number as C's `strtol` reads it with base 0.
fn number(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    i64::from_str_radix(digits, radix).ok()?.checked_mul(sign)
}

fn seconds(text: &str) -> Option<i64> {
    const DAY: i64 = 86_400;
    let unit = match text.chars().next_back()? {
        's' => 1,
        'h' => 3600,
        'd' => DAY,
        'w' => 7 * DAY,
        'm' => 30 * DAY,
        'y' => 365 * DAY,
        _ => return None,
    };
    let number: i64 = text[..text.len() - 1].parse().ok()?;
    number.checked_mul(unit).filter(|seconds| *seconds > 0)
}
