//! Topic Names, Topic Filters and shares: checked once, then compared level by level.
//!
//! Both types borrow their text. Who keeps one (a session, a trie) stores the bytes and makes the
//! type again with `from_validated`, which checks nothing in release builds (I6: parsed once).

/// A Topic Name: what a message is published to. At least one character, at most 65,535 bytes of
/// UTF-8, no U+0000, no wildcard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName<'a>(&'a [u8]);

/// A Topic Filter: what is subscribed to, without a share prefix.
/// `+` fills a level, `#` is the last level.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter<'a>(&'a [u8]);

/// A subscription's filter as it came: plain, or `$share/<share name>/<filter>`.
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
    pub fn new(bytes: &'a [u8]) -> Result<Self, TopicError> {
        let _ = bytes;
        todo!()
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
        let _ = bytes;
        todo!()
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

    /// Whether a message to `topic` is for this filter [MQTT-3.3.2-3].
    pub fn matches(self, topic: TopicName<'_>) -> bool {
        let _ = topic;
        todo!()
    }
}

impl<'a> SubscriptionFilter<'a> {
    /// Checks the text of a SUBSCRIBE or UNSUBSCRIBE and splits a share off.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, TopicError> {
        let _ = bytes;
        todo!()
    }
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
                self.rest = Some(&rest[at + 1..]);
                Some(&rest[..at])
            }
            None => {
                self.rest = None;
                Some(rest)
            }
        }
    }
}

impl core::fmt::Debug for TopicName<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.as_str().fmt(f)
    }
}

impl core::fmt::Debug for TopicFilter<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.as_str().fmt(f)
    }
}
