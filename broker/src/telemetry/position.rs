//! Where a reader begins, as people write it.

use std::time::{Duration, UNIX_EPOCH};

use crate::telemetry::Position;

/// What may be written, to stand after "takes".
pub const TAKES: &str = "\"earliest\", \"latest\", an offset, a time ago such as \"-1h\" or \
                         \"-15min\", or a time such as \"2026-11-30T12:00:00Z\"";

/// A position as it was written; `now_ms`: what "ago" counts from. `None`: it is none.
pub fn parse(text: &str, now_ms: u64) -> Option<Position> {
    match text {
        "earliest" => return Some(Position::Earliest),
        "latest" => return Some(Position::Latest),
        _ => {}
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Position::Offset);
    }
    time_ms(text, now_ms).map(Position::Time)
}

/// A time ago or a time, in Unix milliseconds.
pub fn time_ms(text: &str, now_ms: u64) -> Option<u64> {
    if let Some(ago) = text.strip_prefix('-') {
        let ago = humantime::parse_duration(ago).ok()?;
        return Some(now_ms.saturating_sub(millis(ago)));
    }
    let time = humantime::parse_rfc3339_weak(text).ok()?;
    time.duration_since(UNIX_EPOCH).ok().map(millis)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_as_people_write_them() {
        let now = 1_764_460_800_000; // 2025-11-30T00:00:00Z
        let rows = [
            ("earliest", Some(Position::Earliest)),
            ("latest", Some(Position::Latest)),
            ("0", Some(Position::Offset(0))),
            ("18446744073709551615", Some(Position::Offset(u64::MAX))),
            ("-1h", Some(Position::Time(now - 3_600_000))),
            ("-1h 30min", Some(Position::Time(now - 5_400_000))),
            ("-500years", Some(Position::Time(0))),
            ("2025-11-29T23:59:59.500Z", Some(Position::Time(now - 500))),
            ("2025-11-29 23:00:00", Some(Position::Time(now - 3_600_000))),
            ("18446744073709551616", None),
            ("", None),
            ("-", None),
            ("-1", None),
            ("1h", None),
            ("first", None),
            ("2025-13-01T00:00:00Z", None),
            ("1969-12-31T23:59:59Z", None),
        ];
        for (text, expected) in rows {
            assert_eq!(parse(text, now), expected, "{text}");
        }
    }
}
