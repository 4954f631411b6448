//! Topic Names, Topic Filters and shares: checked once, then compared level by level.
//!
//! Both types borrow their text. Who keeps one (a session, a trie) stores the bytes and makes the
//! type again with `from_validated`, which checks nothing in release builds (I6: parsed once).

use core::fmt;

use crate::text;

/// A Topic Name: what a message is published to. At least one character, at most 65,535 bytes of
/// UTF-8, no U+0000, no wildcard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName<'a>(&'a [u8]);

/// A Topic Filter: what is subscribed to, without a share prefix.
/// `+` fills a level, `#` is the last level.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter<'a>(&'a [u8]);

/// A subscription's filter as it came: plain, or `$share/<share name>/<filter>`.
/// `Display` writes it as it came.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SubscriptionFilter<'a> {
    /// The share name, for a shared subscription.
    pub share: Option<&'a str>,
    /// The filter itself.
    pub filter: TopicFilter<'a>,
}

/// Why a text is no topic name, topic filter or share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TopicError {
    /// No character at all [MQTT-4.7.3-1].
    Empty,
    /// Ill-formed UTF-8 [MQTT-1.5.3-1].
    NotUtf8,
    /// U+0000 [MQTT-4.7.3-2].
    Null,
    /// More than 65,535 bytes [MQTT-4.7.3-3].
    TooLong,
    /// `+` or `#` in a topic name [MQTT-3.3.2-2], [MQTT-4.7.1-1].
    WildcardInName,
    /// `#` that is not the whole last level [MQTT-4.7.1-2].
    MisplacedHash,
    /// `+` that is not a whole level [MQTT-4.7.1-3].
    MisplacedPlus,
    /// `$share/` with an empty name, a name with a wildcard, or no filter behind it.
    BadShare,
}

impl<'a> TopicName<'a> {
    /// Checks `bytes` and wraps them.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Result<Self, TopicError> {
        if check_text(bytes)?.wildcard {
            return Err(TopicError::WildcardInName); // [MQTT-3.3.2-2] [MQTT-4.7.1-1]
        }
        Ok(Self(bytes))
    }

    /// Wraps bytes that came out of [`TopicName::as_bytes`]; checked in debug builds only.
    pub fn from_validated(bytes: &'a [u8]) -> Self {
        debug_assert!(Self::new(bytes).is_ok(), "bytes of a TopicName");
        Self(bytes)
    }

    /// The bytes, valid UTF-8.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The text (for logs and the like; on the hot path use the bytes).
    pub fn as_str(self) -> &'a str {
        core::str::from_utf8(self.0).unwrap_or_default()
    }

    /// The levels, separated by `/`; empty levels count.
    pub fn levels(self) -> Levels<'a> {
        Levels { rest: Some(self.0) }
    }

    /// Whether it begins with `$`, so that filters beginning with a wildcard pass it by (I9).
    pub fn is_dollar(self) -> bool {
        self.0.first() == Some(&b'$')
    }
}

impl<'a> TopicFilter<'a> {
    /// Checks `bytes` and wraps them. `$share/...` is not parsed here: see
    /// [`SubscriptionFilter::parse`].
    pub fn new(bytes: &'a [u8]) -> Result<Self, TopicError> {
        if check_text(bytes)?.wildcard {
            check_wildcards(bytes)?;
        }
        Ok(Self(bytes))
    }

    /// Wraps bytes that came out of [`TopicFilter::as_bytes`]; checked in debug builds only.
    pub fn from_validated(bytes: &'a [u8]) -> Self {
        debug_assert!(Self::new(bytes).is_ok(), "bytes of a TopicFilter");
        Self(bytes)
    }

    /// The bytes, valid UTF-8.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The text.
    pub fn as_str(self) -> &'a str {
        core::str::from_utf8(self.0).unwrap_or_default()
    }

    /// The levels, wildcards included.
    pub fn levels(self) -> Levels<'a> {
        Levels { rest: Some(self.0) }
    }

    /// Whether a message to `topic` is for this filter [MQTT-3.3.2-3]. Bytes are compared as they
    /// are [MQTT-4.7.3-4].
    pub fn matches(self, topic: TopicName<'_>) -> bool {
        if topic.is_dollar() && matches!(self.0.first(), Some(b'+' | b'#')) {
            return false; // [MQTT-4.7.2-1], I9
        }
        let mut names = topic.levels();
        for level in self.levels() {
            if level == b"#" {
                return true;
            }
            match names.next() {
                Some(name) if level == b"+" || level == name => {}
                Some(_) | None => return false,
            }
        }
        names.next().is_none()
    }
}

impl<'a> SubscriptionFilter<'a> {
    /// Checks the text of a SUBSCRIBE or UNSUBSCRIBE and splits a share off. Shares are MQTT 5.0's
    /// (4.8.2); this parses them for the older versions too.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, TopicError> {
        let Some(shared) = bytes.strip_prefix(SHARE_PREFIX) else {
            return Ok(Self { share: None, filter: TopicFilter::new(bytes)? });
        };
        check_text(bytes)?;
        let name_len = shared.iter().position(|&byte| byte == b'/').ok_or(TopicError::BadShare)?;
        let (name, filter) = shared.split_at_checked(name_len).ok_or(TopicError::BadShare)?;
        let name = core::str::from_utf8(name).map_err(|_| TopicError::NotUtf8)?;
        check_share_name(name)?;
        let filter = filter.get(1..).filter(|f| !f.is_empty()).ok_or(TopicError::BadShare)?;
        let filter = TopicFilter::new(filter)?;
        Ok(Self { share: Some(name), filter })
    }

    /// The length of its text in bytes, share prefix included.
    pub(crate) fn len(&self) -> usize {
        let share = self.share.map_or(0, |name| SHARE_PREFIX.len() + name.len() + 1);
        share + self.filter.as_bytes().len()
    }
}

/// What a shared subscription's text begins with.
pub(crate) const SHARE_PREFIX: &[u8] = b"$share/";

/// At least one character, no wildcard, no separator ([MQTT5-4.8.2-1] [MQTT5-4.8.2-2]).
pub(crate) fn check_share_name(name: &str) -> Result<(), TopicError> {
    if name.is_empty() || name.contains(['+', '#', '/', '\0']) {
        return Err(TopicError::BadShare);
    }
    Ok(())
}

#[inline]
fn check_text(bytes: &[u8]) -> Result<text::Scan, TopicError> {
    if bytes.is_empty() {
        return Err(TopicError::Empty); // [MQTT-4.7.3-1]
    }
    if bytes.len() > usize::from(u16::MAX) {
        return Err(TopicError::TooLong); // [MQTT-4.7.3-3]
    }
    // U+FEFF is a character like any other and stays [MQTT-1.5.3-3].
    let scan = text::scan(bytes).ok_or(TopicError::NotUtf8)?; // [MQTT-1.5.3-1]
    if scan.null {
        return Err(TopicError::Null); // [MQTT-4.7.3-2]
    }
    Ok(scan)
}

fn check_wildcards(bytes: &[u8]) -> Result<(), TopicError> {
    let mut levels = Levels { rest: Some(bytes) };
    while let Some(level) = levels.next() {
        if has(level, b'#') && (level.len() > 1 || levels.rest.is_some()) {
            return Err(TopicError::MisplacedHash); // [MQTT-4.7.1-2]
        }
        if has(level, b'+') && level.len() > 1 {
            return Err(TopicError::MisplacedPlus); // [MQTT-4.7.1-3]
        }
    }
    Ok(())
}

#[expect(clippy::manual_contains, reason = "levels are short, and memchr is much code on a chip")]
fn has(level: &[u8], byte: u8) -> bool {
    level.iter().any(|other| *other == byte)
}

/// Whether a topic name or filter has at most `levels_max` levels.
#[inline]
pub(crate) fn fits_levels(topic: &[u8], levels_max: u16) -> bool {
    // Every level but one takes a separator: what is short needs no counting.
    let levels_max = usize::from(levels_max);
    topic.len() < levels_max || Levels { rest: Some(topic) }.nth(levels_max).is_none()
}

/// The levels of a topic name or filter, as bytes.
#[derive(Clone, Debug)]
pub struct Levels<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Levels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        match rest.iter().position(|&byte| byte == b'/') {
            Some(at) => {
                self.rest = rest.get(at + 1..);
                rest.get(..at)
            }
            None => {
                self.rest = None;
                Some(rest)
            }
        }
    }
}

impl fmt::Debug for TopicName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Debug for TopicFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for TopicName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for TopicFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for SubscriptionFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(share) = self.share {
            write!(f, "$share/{share}/")?;
        }
        fmt::Display::fmt(&self.filter, f)
    }
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a topic has at least one character",
            Self::NotUtf8 => "ill-formed UTF-8",
            Self::Null => "U+0000",
            Self::TooLong => "a topic has at most 65535 bytes",
            Self::WildcardInName => "a topic name holds no wildcard",
            Self::MisplacedHash => "# must be the whole last level",
            Self::MisplacedPlus => "+ must be a whole level",
            Self::BadShare => "a share is written $share/NAME/FILTER",
        })
    }
}

impl core::error::Error for TopicError {}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString;
    use std::vec;

    use super::*;

    #[test]
    fn names_and_filters_keep_the_rules_of_topics() {
        use TopicError::{Empty, MisplacedHash, MisplacedPlus, NotUtf8, Null, WildcardInName};
        // text, as a name, as a filter
        type Row = (&'static [u8], Result<(), TopicError>, Result<(), TopicError>);
        let rows: &[Row] = &[
            (b"a", Ok(()), Ok(())),
            (b"/", Ok(()), Ok(())),
            (b"a//b", Ok(()), Ok(())),
            (b"$SYS/broker", Ok(()), Ok(())),
            (b" a b ", Ok(()), Ok(())),
            ("å/日本".as_bytes(), Ok(()), Ok(())),
            (b"\xef\xbb\xbfa", Ok(()), Ok(())), // [MQTT-1.5.3-3]
            (b"", Err(Empty), Err(Empty)),      // [MQTT-4.7.3-1]
            (b"a\0b", Err(Null), Err(Null)),    // [MQTT-4.7.3-2]
            ("å\0".as_bytes(), Err(Null), Err(Null)),
            (b"\xff", Err(NotUtf8), Err(NotUtf8)), // [MQTT-1.5.3-1]
            (b"a/\xc0\x80", Err(NotUtf8), Err(NotUtf8)),
            (b"a/\xed\xa0\x80", Err(NotUtf8), Err(NotUtf8)),
            (b"#", Err(WildcardInName), Ok(())), // [MQTT-3.3.2-2] [MQTT-4.7.1-1]
            (b"+", Err(WildcardInName), Ok(())),
            (b"+/+/#", Err(WildcardInName), Ok(())),
            ("å/+".as_bytes(), Err(WildcardInName), Ok(())),
            (b"a/#", Err(WildcardInName), Ok(())),
            (b"/+/", Err(WildcardInName), Ok(())),
            (b"a#", Err(WildcardInName), Err(MisplacedHash)), // [MQTT-4.7.1-2]
            (b"a/b#", Err(WildcardInName), Err(MisplacedHash)),
            (b"a/#/", Err(WildcardInName), Err(MisplacedHash)),
            (b"a/#/b", Err(WildcardInName), Err(MisplacedHash)),
            (b"##", Err(WildcardInName), Err(MisplacedHash)),
            (b"+#", Err(WildcardInName), Err(MisplacedHash)),
            (b"a+", Err(WildcardInName), Err(MisplacedPlus)), // [MQTT-4.7.1-3]
            (b"+a/b", Err(WildcardInName), Err(MisplacedPlus)),
            (b"a/++/b", Err(WildcardInName), Err(MisplacedPlus)),
        ];
        for (text, name, filter) in rows {
            assert_eq!(TopicName::new(text).map(|_| ()), *name, "{}", text.escape_ascii());
            assert_eq!(TopicFilter::new(text).map(|_| ()), *filter, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn length_ends_at_65535_bytes() {
        let text = vec![b'a'; 65_536]; // [MQTT-4.7.3-3]
        assert!(TopicName::new(&text[1..]).is_ok());
        assert!(TopicFilter::new(&text[1..]).is_ok());
        assert_eq!(TopicName::new(&text), Err(TopicError::TooLong));
        assert_eq!(TopicFilter::new(&text), Err(TopicError::TooLong));
    }

    #[test]
    fn filters_match_level_by_level() {
        // filter, topics that match, topics that do not [MQTT-3.3.2-3]
        let rows: &[(&str, &[&str], &[&str])] = &[
            ("a/b", &["a/b"], &["a", "a/b/", "/a/b", "a/b/c", "A/b"]), // [MQTT-4.7.3-4]
            ("a/#", &["a", "a/", "a/b", "a/b/c"], &["ab", "b/a", "/a"]),
            ("#", &["a", "/", "a/b", "ä"], &["$SYS", "$SYS/a", "$"]), // [MQTT-4.7.2-1]
            ("+", &["a", "å"], &["/", "a/", "a/b", "$SYS"]),
            ("+/+", &["a/b", "/", "/a"], &["a", "a/b/c", "$SYS/a"]),
            ("+/a/#", &["x/a", "/a", "x/a/b"], &["$x/a", "a/x/a"]),
            ("/+", &["/a", "/"], &["a", "/a/b"]),
            ("a/+/c", &["a/b/c", "a//c"], &["a/c", "a/b/b/c"]),
            ("a/+", &["a/b", "a/"], &["a", "a/b/c"]),
            ("a/+/#", &["a/b", "a/", "a/b/c/d"], &["a"]),
            ("$SYS/#", &["$SYS", "$SYS/a"], &["SYS/a", "$SYSTEM"]),
            ("$SYS/+", &["$SYS/a"], &["$SYS", "$SYS/a/b"]),
            ("Ångström/+", &["Ångström/1"], &["A\u{30a}ngstro\u{308}m/1"]), // [MQTT-4.7.3-4]
        ];
        for (filter, matching, others) in rows {
            let filter = TopicFilter::new(filter.as_bytes()).unwrap();
            for topic in *matching {
                assert!(filter.matches(TopicName::new(topic.as_bytes()).unwrap()), "{topic}");
            }
            for topic in *others {
                assert!(!filter.matches(TopicName::new(topic.as_bytes()).unwrap()), "{topic}");
            }
        }
    }

    #[test]
    fn shares_are_split_off() {
        let rows = [
            ("a/b", Ok((None, "a/b"))),
            ("$share", Ok((None, "$share"))),
            ("$shared/a/b", Ok((None, "$shared/a/b"))),
            ("$share/g/a/b", Ok((Some("g"), "a/b"))),
            ("$share/g/#", Ok((Some("g"), "#"))),
            ("$share/g//", Ok((Some("g"), "/"))),
            ("$share/ü/$SYS/+", Ok((Some("ü"), "$SYS/+"))),
            ("$share/", Err(TopicError::BadShare)), // [MQTT5-4.8.2-1]
            ("$share//a", Err(TopicError::BadShare)),
            ("$share/g", Err(TopicError::BadShare)), // [MQTT5-4.8.2-2]
            ("$share/g/", Err(TopicError::BadShare)),
            ("$share/+/a", Err(TopicError::BadShare)),
            ("$share/#/a", Err(TopicError::BadShare)),
            ("$share/g/a#", Err(TopicError::MisplacedHash)),
            ("$share/g\0/a", Err(TopicError::Null)),
        ];
        for (text, expected) in rows {
            let parsed = SubscriptionFilter::parse(text.as_bytes());
            assert_eq!(parsed.map(|f| (f.share, f.filter.as_str())), expected, "{text}");
            if let Ok(filter) = parsed {
                assert_eq!(filter.to_string(), text);
                assert_eq!(filter.len(), text.len());
            }
        }
        assert_eq!(SubscriptionFilter::parse(b"$share/\xff/a"), Err(TopicError::NotUtf8));
        assert_eq!(SubscriptionFilter::parse(b""), Err(TopicError::Empty));
    }
}
