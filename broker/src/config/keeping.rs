//! `data.sync`: when what the broker keeps is safe.

use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use crate::store::durable::Sync;

/// What `data.sync` says: how firmly facts are kept, or that they are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Keeping(pub(super) Option<Sync>);

/// The longest interval, in milliseconds: a minute.
const INTERVAL_MAX_MS: u64 = 60_000;

/// What may be written, to stand after "takes".
pub(super) const TAKES: &str =
    "\"always\", \"off\", or \"interval MS\" with 1 to 60000 milliseconds";

impl FromStr for Keeping {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "always" => Ok(Self(Some(Sync::Always))),
            "off" => Ok(Self(None)),
            _ => text
                .strip_prefix("interval ")
                .and_then(|number| number.parse().ok())
                .filter(|ms| (1..=INTERVAL_MAX_MS).contains(ms))
                .map(|ms| Self(Some(Sync::Interval(Duration::from_millis(ms)))))
                .ok_or(TAKES),
        }
    }
}

impl TryFrom<String> for Keeping {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_ways_and_nothing_else() {
        let interval = |ms| Some(Sync::Interval(Duration::from_millis(ms)));
        let rows = [
            ("always", Ok(Some(Sync::Always))),
            ("off", Ok(None)),
            ("interval 1", Ok(interval(1))),
            ("interval 60000", Ok(interval(60_000))),
            ("interval 0", Err(TAKES)),
            ("interval 60001", Err(TAKES)),
            ("interval", Err(TAKES)),
            ("interval -5", Err(TAKES)),
            ("Always", Err(TAKES)),
            ("", Err(TAKES)),
        ];
        for (text, expected) in rows {
            assert_eq!(text.parse::<Keeping>().map(|keeping| keeping.0), expected, "{text}");
        }
    }
}
