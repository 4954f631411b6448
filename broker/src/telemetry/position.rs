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
    let (local, east_ms) = zone(text).unwrap_or((text, 0));
    let time = humantime::parse_rfc3339_weak(local).ok()?;
    let local_ms = time.duration_since(UNIX_EPOCH).ok().map(millis)?;
    local_ms.checked_add_signed(-east_ms)
}

/// What stands before a zone such as `+02:00`, and how far east that is, in milliseconds.
fn zone(text: &str) -> Option<(&str, i64)> {
    let (local, zone) = text.split_at_checked(text.len().checked_sub("+02:00".len())?)?;
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let number = |text: &str, below: i64| {
        let is_plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i64>().ok().filter(|number| is_plain && *number < below)
    };
    let ms = (number(hours, 24)? * 60 + number(minutes, 60)?) * 60_000;
    match (zone.as_bytes()[0], local.ends_with('Z')) {
        (b'+', false) => Some((local, ms)),
        (b'-', false) => Some((local, -ms)),
        _ => None,
    }
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
            ("2025-11-30T02:00:00+02:00", Some(Position::Time(now))),
            ("2025-11-29T18:29:59.500-05:30", Some(Position::Time(now - 500))),
            ("2025-11-30T02:00:00Z+02:00", None),
            ("2025-11-30T02:00:00+24:00", None),
            ("2025-11-30T02:00:00+2:000", None),
            ("2025-11-30T02:00:00*02:00", None),
            ("1970-01-01T00:00:00+02:00", None),
            ("ä+02:00", None),
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
