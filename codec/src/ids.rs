//! Packet Identifiers, Topic Aliases, Subscription Identifiers: numbers that are never zero.

use core::num::{NonZeroU16, NonZeroU32};

/// A Packet Identifier: 1 to 65,535, never zero [MQTT-2.3.1-1].
///
/// Clients and servers number their packets independently, so that an id alone does not say whose
/// it is; whoever keeps both kinds wraps them in types of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// The first id, 1.
    pub const FIRST: Self = Self(NonZeroU16::MIN);

    /// The id for this number, or `None` for zero.
    pub const fn new(number: u16) -> Option<Self> {
        match NonZeroU16::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number as it stands on the wire.
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    /// The id after this one; 65,535 is followed by 1.
    #[must_use]
    pub const fn next(self) -> Self {
        match self.0.checked_add(1) {
            Some(number) => Self(number),
            None => Self::FIRST,
        }
    }
}

impl core::fmt::Display for PacketId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// A Topic Alias of MQTT 5.0: 1 to 65,535, never zero [MQTT5-3.3.2-8].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicAlias(NonZeroU16);

impl TopicAlias {
    /// The alias for this number, or `None` for zero.
    pub const fn new(number: u16) -> Option<Self> {
        match NonZeroU16::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number as it stands on the wire.
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

/// A Subscription Identifier of MQTT 5.0: 1 to 268,435,455 (MQTT 5.0 3.8.2.1.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SubscriptionId(NonZeroU32);

impl SubscriptionId {
    /// The identifier for this number, or `None` for zero and for what no Variable Byte Integer
    /// holds.
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) if number.get() <= 268_435_455 => Some(Self(number)),
            Some(_) | None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}
