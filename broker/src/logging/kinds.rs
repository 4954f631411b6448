//! What a line is about: mosquitto's kinds, and which of them are logged.

use std::str::FromStr;

use tracing::{Level, Metadata};

/// The target of who comes and goes: mosquitto's `notice`.
pub const NOTICE: &str = "martlet::notice";
/// The target of who subscribes to what.
pub const SUBSCRIBE: &str = "martlet::subscribe";
/// The target of who unsubscribes from what.
pub const UNSUBSCRIBE: &str = "martlet::unsubscribe";
/// The target of lines in mosquitto's words that have none for how grave they are.
pub const UNMARKED: &str = "martlet::unmarked";

/// Where what is below warnings comes from is ours; of others' insides nobody asked to hear.
const OURS: &str = "martlet";
const WEBSOCKET: &str = "martlet::net::websocket";

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something does not work.
    Error,
    /// Something is lost, refused or about to go wrong.
    Warning,
    /// Who comes and goes.
    Notice,
    /// Start, stop, what else an operator wants to know.
    Information,
    /// Each packet.
    Debug,
    /// Who subscribes to what.
    Subscribe,
    /// Who unsubscribes from what.
    Unsubscribe,
    /// What WebSocket connections do besides MQTT.
    Websockets,
    /// What a developer of the broker wants to know.
    Internal,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Error,
        Self::Warning,
        Self::Notice,
        Self::Information,
        Self::Debug,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Websockets,
        Self::Internal,
    ];

    /// The kind of an event; `None`: it is somebody else's business.
    pub(super) fn of(event: &Metadata<'_>) -> Option<Self> {
        let target = event.target();
        Some(match *event.level() {
            Level::ERROR => Self::Error,
            Level::WARN => Self::Warning,
            _ if !target.starts_with(OURS) => return None,
            Level::INFO if target == NOTICE => Self::Notice,
            Level::INFO => Self::Information,
            _ if target.starts_with(WEBSOCKET) => Self::Websockets,
            Level::DEBUG if target == SUBSCRIBE => Self::Subscribe,
            Level::DEBUG if target == UNSUBSCRIBE => Self::Unsubscribe,
            Level::DEBUG => Self::Debug,
            Level::TRACE => Self::Internal,
        })
    }

    /// mosquitto's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Information => "information",
            Self::Debug => "debug",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Websockets => "websockets",
            Self::Internal => "internal",
        }
    }

    /// The topic that it is published to, if it ever is. A packet in the log may not lead to
    /// another packet in the log.
    pub const fn topic(self) -> Option<&'static str> {
        Some(match self {
            Self::Error => "$SYS/broker/log/E",
            Self::Warning => "$SYS/broker/log/W",
            Self::Notice => "$SYS/broker/log/N",
            Self::Information => "$SYS/broker/log/I",
            Self::Subscribe => "$SYS/broker/log/M/subscribe",
            Self::Unsubscribe => "$SYS/broker/log/M/unsubscribe",
            Self::Websockets => "$SYS/broker/log/WS",
            Self::Debug | Self::Internal => return None,
        })
    }

    /// The severity of syslog, as RFC 3164 numbers it.
    pub(super) const fn severity(self) -> u8 {
        match self {
            Self::Error => 3,
            Self::Warning => 4,
            Self::Notice | Self::Subscribe | Self::Unsubscribe => 5,
            Self::Information => 6,
            Self::Debug | Self::Websockets | Self::Internal => 7,
        }
    }
}

/// Some kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds(u16);

/// What kinds are written as, to stand after "takes".
pub const KINDS_TAKES: &str = "words with commas between them, of error, warning, notice, \
                               information, debug, subscribe, unsubscribe, websockets, internal, \
                               all, none";

impl Kinds {
    const NONE: Self = Self(0);

    /// Those up to a kind, in the order of [`Kind`].
    pub(super) fn up_to(last: Kind) -> Self {
        let until = Kind::ALL.iter().take_while(|kind| **kind as u16 <= last as u16);
        until.fold(Self::NONE, |kinds, kind| kinds.with(*kind))
    }

    const fn with(self, kind: Kind) -> Self {
        Self(self.0 | 1 << kind as u16)
    }

    /// Whether this one is among them.
    pub const fn contains(self, kind: Kind) -> bool {
        self.0 & 1 << kind as u16 != 0
    }

    pub(super) const fn bits(self) -> u16 {
        self.0
    }

    pub(super) const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// The least grave level that any of them has.
    pub(super) fn level(self) -> tracing::level_filters::LevelFilter {
        use tracing::level_filters::LevelFilter;
        let has = |kinds: &[Kind]| kinds.iter().any(|kind| self.contains(*kind));
        if has(&[Kind::Internal, Kind::Websockets]) {
            LevelFilter::TRACE
        } else if has(&[Kind::Debug, Kind::Subscribe, Kind::Unsubscribe]) {
            LevelFilter::DEBUG
        } else if has(&[Kind::Notice, Kind::Information]) {
            LevelFilter::INFO
        } else if has(&[Kind::Warning]) {
            LevelFilter::WARN
        } else if has(&[Kind::Error]) {
            LevelFilter::ERROR
        } else {
            LevelFilter::OFF
        }
    }
}

impl FromStr for Kinds {
    type Err = &'static str;

    /// As mosquitto adds them up: `none` takes back what stands before it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',').map(str::trim).try_fold(Self::NONE, |kinds, word| match word {
            "all" => Ok(Self::up_to(Kind::Internal)),
            "none" => Ok(Self::NONE),
            _ => {
                let kind = Kind::ALL.iter().find(|kind| kind.name() == word);
                kind.map(|kind| kinds.with(*kind)).ok_or(KINDS_TAKES)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use tracing::level_filters::LevelFilter;

    use super::*;

    #[test]
    fn kinds_add_up_as_mosquittos_do() {
        let rows: [(&str, &[Kind], LevelFilter); 6] = [
            ("error", &[Kind::Error], LevelFilter::ERROR),
            ("error, notice", &[Kind::Error, Kind::Notice], LevelFilter::INFO),
            ("debug,warning", &[Kind::Warning, Kind::Debug], LevelFilter::DEBUG),
            ("error, none", &[], LevelFilter::OFF),
            ("none, subscribe", &[Kind::Subscribe], LevelFilter::DEBUG),
            ("all", &Kind::ALL, LevelFilter::TRACE),
        ];
        for (text, expected, level) in rows {
            let kinds: Kinds = text.parse().expect("kinds");
            let found: Vec<Kind> =
                Kind::ALL.into_iter().filter(|kind| kinds.contains(*kind)).collect();
            assert_eq!(found, expected, "{text}");
            assert_eq!(kinds.level(), level, "{text}");
        }
        for wrong in ["", "warn", "error warning", "error,", "Error"] {
            assert_eq!(wrong.parse::<Kinds>(), Err(KINDS_TAKES), "{wrong}");
        }
    }

    #[test]
    fn packets_are_never_published() {
        let topics: Vec<Option<&str>> = Kind::ALL.into_iter().map(Kind::topic).collect();
        let silent = topics.iter().filter(|topic| topic.is_none()).count();
        assert_eq!(silent, 2, "{topics:?}");
        assert_eq!((Kind::Debug.topic(), Kind::Internal.topic()), (None, None));
    }
}
