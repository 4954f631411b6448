//! A subscription's filter, owned: parsed once where its packet was decoded (I6).

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use martlet_codec::topic::{SubscriptionFilter, TopicError, TopicFilter};
use triomphe::ThinArc;

/// A Topic Filter with its share name, if it has one. Two filters are the same exactly when their
/// texts are, character by character [MQTT-3.10.4-1]. A clone is an atomic increment; the handle is
/// one pointer.
#[derive(Clone)]
pub struct Filter(ThinArc<Header, u8>);

#[derive(Clone, Copy)]
struct Header {
    /// Where in the text, which is as it came, `$share/<name>/` included, the filter proper begins:
    /// 0 when it is not shared.
    filter_start: u32,
}

impl Filter {
    /// Checks `text`, `$share/<name>/<filter>` or a plain filter.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        SubscriptionFilter::parse(text.as_bytes()).map(Self::from)
    }

    /// The whole text, as it came in SUBSCRIBE.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0.slice).expect("made of text")
    }

    /// The share name, for a shared subscription.
    pub fn share(&self) -> Option<&str> {
        let end = self.filter_start().checked_sub(1)?;
        Some(&self.as_str()["$share/".len()..end])
    }

    /// The filter proper, without the share.
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
        let filter_start = u32::try_from(share.len()).expect("a filter is under 64 KiB");
        let text = [share.as_bytes(), filter].concat();
        Self(ThinArc::from_header_and_slice(Header { filter_start }, &text))
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
        assert!(Filter::parse("a/#/b").is_err());
        assert!(Filter::parse("$share//a").is_err());
    }
}
