//! A subscription's filter, owned: parsed once where its packet was decoded (I6).

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use martlet_codec::topic::{Levels, SubscriptionFilter, TopicError, TopicFilter};
use triomphe::ThinArc;

use crate::history::PREFIX;

/// A Topic Filter with its share name, or with the place in the log where its history begins, if it
/// has one. Two filters are the same exactly when their
/// texts are, character by character [MQTT-3.10.4-1]. A clone is an atomic increment; the handle is
/// one pointer.
#[derive(Clone)]
pub struct Filter(ThinArc<Header, u8>);

#[derive(Clone, Copy)]
struct Header {
    /// Where in the text, which is as it came, `$share/<name>/` or `$replay/<from>/` included, the
    /// filter proper begins: 0 when neither is there.
    filter_start: u32,
    is_shared: bool,
}

impl Filter {
    /// Checks `text`, `$share/<name>/<filter>`, `$replay/<from>/<filter>` or a plain filter.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        SubscriptionFilter::parse(text.as_bytes()).map(Self::from)
    }

    /// The whole text, as it came in SUBSCRIBE.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0.slice).expect("made of text")
    }

    /// The share name, for a shared subscription.
    pub fn share(&self) -> Option<&str> {
        let end = self.filter_start().checked_sub(1).filter(|_| self.0.header.header.is_shared)?;
        Some(&self.as_str()["$share/".len()..end])
    }

    /// Whether it asks for history, in a form that can be granted or not.
    pub fn asks_for_history(&self) -> bool {
        let is_shared = self.0.header.header.is_shared;
        let text = if is_shared { self.topic_filter().as_str() } else { self.as_str() };
        text.starts_with(PREFIX)
    }

    /// Where the history begins that it asks for, as it is written; empty if it names no filter.
    pub fn replay(&self) -> Option<&str> {
        let from = self.as_str().strip_prefix(PREFIX)?;
        Some(self.filter_start().checked_sub(1 + PREFIX.len()).map_or("", |end| &from[..end]))
    }

    /// Whether it is a Topic Filter and nothing else.
    pub fn is_plain(&self) -> bool {
        self.share().is_none() && !self.asks_for_history()
    }

    /// Whether there can be a topic that both match.
    pub fn meets(&self, other: &Self) -> bool {
        let (one, other) = (self.topic_filter(), other.topic_filter());
        let begins = |filter: TopicFilter<'_>| filter.as_bytes().first().copied();
        let is_wild = |first| matches!(first, Some(b'+' | b'#'));
        let (first, second) = (begins(one), begins(other));
        let apart =
            is_wild(first) && second == Some(b'$') || is_wild(second) && first == Some(b'$');
        !apart && levels_meet(one.levels(), other.levels()) // I9
    }

    /// Whether it matches every topic that the other one matches. What it takes several of its own
    /// levels to see, such as that `+/#` is `#`, it does not.
    pub fn covers(&self, other: &Self) -> bool {
        let (own, other) = (self.topic_filter(), other.topic_filter());
        let begins = |filter: TopicFilter<'_>| filter.as_bytes().first().copied();
        let apart = matches!(begins(own), Some(b'+' | b'#')) && begins(other) == Some(b'$');
        !apart && levels_cover(own.levels(), other.levels()) // I9
    }

    /// The filter proper, without the share or the place in the log.
    pub fn topic_filter(&self) -> TopicFilter<'_> {
        TopicFilter::from_validated(&self.0.slice[self.filter_start()..])
    }

    fn filter_start(&self) -> usize {
        self.0.header.header.filter_start as usize
    }
}

impl From<SubscriptionFilter<'_>> for Filter {
    fn from(parsed: SubscriptionFilter<'_>) -> Self {
        let filter = parsed.filter.as_bytes();
        let share = parsed.share.map(|share| format!("$share/{share}/")).unwrap_or_default();
        let is_shared = parsed.share.is_some();
        let filter_start = if is_shared { share.len() } else { history_prefix(filter) };
        let filter_start = u32::try_from(filter_start).expect("a filter is under 64 KiB");
        let text = [share.as_bytes(), filter].concat();
        Self(ThinArc::from_header_and_slice(Header { filter_start, is_shared }, &text))
    }
}

/// The length of `$replay/<from>/`, if the text begins with that and a filter follows.
fn history_prefix(text: &[u8]) -> usize {
    let Some(rest) = text.strip_prefix(PREFIX.as_bytes()) else { return 0 };
    let Some(from) = rest.iter().position(|&byte| byte == b'/') else { return 0 };
    let end = PREFIX.len() + from + 1;
    if end < text.len() { end } else { 0 }
}

fn levels_meet(mut one: Levels<'_>, mut other: Levels<'_>) -> bool {
    loop {
        match (one.next(), other.next()) {
            // `a/#` matches `a`, too.
            (Some(b"#"), _) | (_, Some(b"#")) | (None, None) => return true,
            (Some(a), Some(b)) if a == b || a == b"+" || b == b"+" => {}
            (Some(_), _) | (None, Some(_)) => return false,
        }
    }
}

fn levels_cover(mut own: Levels<'_>, mut other: Levels<'_>) -> bool {
    loop {
        match (own.next(), other.next()) {
            // `a/#` matches `a`, too.
            (Some(b"#"), _) | (None, None) => return true,
            (Some(b"+"), Some(level)) if level != b"#" => {}
            (Some(a), Some(b)) if a == b => {}
            (Some(_), _) | (None, Some(_)) => return false,
        }
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.0.slice == other.0.slice
    }
}

impl Eq for Filter {}

impl PartialOrd for Filter {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Filter {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.slice.cmp(&other.0.slice)
    }
}

impl Hash for Filter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.slice.hash(state);
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_keeps_its_text_and_knows_its_parts() {
        let rows = [
            ("a/+/#", None, "a/+/#"),
            ("$share/g/a/+", Some("g"), "a/+"),
            ("$share/g//", Some("g"), "/"),
            ("$SYS/#", None, "$SYS/#"),
        ];
        for (text, share, filter) in rows {
            let parsed = Filter::parse(text).expect(text);
            assert_eq!(parsed.as_str(), text);
            assert_eq!(parsed.share(), share, "{text}");
            assert_eq!(parsed.topic_filter().as_str(), filter, "{text}");
        }
        let histories = [
            ("$replay/-1h/a/#", Some("-1h"), "a/#"),
            ("$replay/2026-11-30T12:00:00Z@s//", Some("2026-11-30T12:00:00Z@s"), "/"),
            ("$replay//a", Some(""), "a"),
            ("$replay/-1h/", Some(""), "$replay/-1h/"),
            ("$replay/#", Some(""), "$replay/#"),
            ("$share/g/$replay/-1h/a", None, "$replay/-1h/a"),
        ];
        for (text, from, filter) in histories {
            let parsed = Filter::parse(text).expect(text);
            assert_eq!(parsed.as_str(), text);
            assert_eq!(parsed.replay(), from, "{text}");
            assert_eq!(parsed.topic_filter().as_str(), filter, "{text}");
            assert!(parsed.asks_for_history() && !parsed.is_plain(), "{text}");
            assert_eq!(parsed.share().is_some(), text.starts_with("$share"), "{text}");
        }
        assert!(Filter::parse("a/#/b").is_err());
        assert!(Filter::parse("$share//a").is_err());
    }

    #[test]
    fn filters_meet_where_a_topic_matches_both() {
        let rows = [
            ("a/b", "a/b", true),
            ("a/b", "a/c", false),
            ("a/+", "+/b", true),
            ("a/#", "a", true),
            ("a/#", "b/#", false),
            ("a/+", "a", false),
            ("a/+/c", "a/#", true),
            ("#", "a", true),
            ("#", "$SYS/a", false),
            ("+/a", "$SYS/#", false),
            ("$SYS/#", "$SYS/a", true),
            ("a/b/c", "a/b", false),
            ("$replay/-1h/a/#", "a/b", true),
        ];
        for (one, other, meet) in rows {
            let parse = |text| Filter::parse(text).expect(text);
            assert_eq!(parse(one).meets(&parse(other)), meet, "{one} {other}");
            assert_eq!(parse(other).meets(&parse(one)), meet, "{other} {one}");
        }
    }

    #[test]
    fn a_filter_covers_what_matches_nothing_else() {
        let rows = [
            ("a/b", "a/b", true),
            ("a/b", "a/c", false),
            ("a/+", "a/b", true),
            ("a/b", "a/+", false),
            ("a/+", "a/+", true),
            ("a/+", "a/#", false),
            ("a/+", "a/b/c", false),
            ("a/+", "a", false),
            ("a/#", "a", true),
            ("a/#", "a/+/c", true),
            ("a/#", "a/b/#", true),
            ("a/#", "a/#", true),
            ("a/b/#", "a/#", false),
            ("a/+/#", "a/#", false),
            ("+/b", "a/b", true),
            ("+/b", "+/b", true),
            ("+/b", "#", false),
            ("a/#", "+/b", false),
            ("#", "a/b", true),
            ("#", "+", true),
            ("#", "#", true),
            ("#", "$SYS/a", false),
            ("#", "$SYS/#", false),
            ("+/a", "$SYS/a", false),
            ("$SYS/#", "$SYS/a", true),
            ("$SYS/#", "#", false),
            ("/+", "/", true),
            ("+", "/", false),
        ];
        for (one, other, covers) in rows {
            let parse = |text| Filter::parse(text).expect(text);
            assert_eq!(parse(one).covers(&parse(other)), covers, "{one} {other}");
        }
    }
}
