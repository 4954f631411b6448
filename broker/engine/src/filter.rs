//! A subscription's filter, owned: parsed once where its packet was decoded (I6).

use std::fmt;
use std::sync::Arc;

use martlet_codec::topic::{SubscriptionFilter, TopicError, TopicFilter};

/// A Topic Filter with its share name, if it has one. Two filters are the same exactly when their
/// texts are, character by character [MQTT-3.10.4-1]. A clone is an atomic increment.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Filter {
    /// As it came, `$share/<name>/` included.
    text: Arc<str>,
    /// Where the filter proper begins: 0 when it is not shared.
    filter_start: u32,
}

impl Filter {
    /// Checks `text`, `$share/<name>/<filter>` or a plain filter.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        SubscriptionFilter::parse(text.as_bytes()).map(Self::from)
    }

    /// The whole text, as it came in SUBSCRIBE.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The share name, for a shared subscription.
    pub fn share(&self) -> Option<&str> {
        let end = (self.filter_start as usize).checked_sub(1)?;
        Some(&self.text["$share/".len()..end])
    }

    /// The filter proper, without the share.
    pub fn topic_filter(&self) -> TopicFilter<'_> {
        TopicFilter::from_validated(&self.text.as_bytes()[self.filter_start as usize..])
    }
}

impl From<SubscriptionFilter<'_>> for Filter {
    fn from(parsed: SubscriptionFilter<'_>) -> Self {
        let filter = parsed.filter.as_str();
        let text: Arc<str> = match parsed.share {
            Some(share) => format!("$share/{share}/{filter}").into(),
            None => filter.into(),
        };
        let filter_start = text.len() - filter.len();
        Self { text, filter_start: u32::try_from(filter_start).expect("a filter is under 64 KiB") }
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
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
