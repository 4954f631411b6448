//! What a line begins with.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

/// What a line begins with; a field of JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// Seconds since 1970.
    Epoch,
    /// Date and time in UTC to the millisecond, as RFC 3339 writes them.
    Iso,
    /// As `strftime` writes it, in the time zone of this machine.
    Pattern(Box<str>),
    /// Nothing.
    None,
}

/// A way to write the time that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// Tries it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        let any = zoned(UNIX_EPOCH, TimeZone::UTC);
        match strtime::format(text, &any) {
            Ok(_) => Ok(Self(text.into())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The stamp that it makes.
    pub fn stamp(self) -> Stamp {
        Stamp::Pattern(self.0)
    }
}

/// Writes a time in front of a line; `false`: there is none.
pub(super) fn write(stamp: &Stamp, zone: &TimeZone, now: SystemTime, line: &mut String) -> bool {
    // Writing to text does not fail.
    let _ = match stamp {
        Stamp::Epoch => {
            let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
            write!(line, "{}", since_epoch.as_secs())
        }
        Stamp::Iso => write!(line, "{}", humantime::format_rfc3339_millis(now)),
        Stamp::Pattern(pattern) => {
            // It was tried when it was read.
            let text = strtime::format(&**pattern, &zoned(now, zone.clone())).unwrap_or_default();
            line.write_str(&text)
        }
        Stamp::None => return false,
    };
    true
}

/// A time as the clocks of a zone show it.
pub(super) fn zoned(time: SystemTime, zone: TimeZone) -> ZonedDateTime {
    // A clock that is set beyond the year 9999 shows 1970.
    Timestamp::try_from(time).unwrap_or_default().to_zoned_datetime(zone)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_written_as_strftime_does() {
        let now = UNIX_EPOCH + Duration::from_millis(1_700_000_000_042);
        let half_past = jiff::tz::Offset::from_seconds(19_800).unwrap();
        let kolkata = TimeZone::fixed(half_past);
        let rows = [
            (Stamp::Epoch, "1700000000"),
            (Stamp::Iso, "2023-11-14T22:13:20.042Z"),
            (Stamp::Pattern("%Y-%m-%dT%H:%M:%S".into()), "2023-11-15T03:43:20"),
            (Stamp::Pattern("%d/%b/%y %T %z %%".into()), "15/Nov/23 03:43:20 +0530 %"),
            (Stamp::Pattern("%FT%T%:z".into()), "2023-11-15T03:43:20+05:30"),
            (Stamp::Pattern("%s %e".into()), "1700000000 15"),
        ];
        for (stamp, expected) in rows {
            let mut line = String::new();
            assert!(write(&stamp, &kolkata, now, &mut line));
            assert_eq!(line, expected);
        }
        assert!(!write(&Stamp::None, &kolkata, now, &mut String::new()));
    }

    #[test]
    fn what_strftime_does_not_know_is_no_pattern() {
        assert!(Pattern::new("%Y-%m-%d %H:%M:%S").is_ok());
        for wrong in ["%", "%Y %!"] {
            assert!(Pattern::new(wrong).is_err(), "{wrong}");
        }
    }
}
