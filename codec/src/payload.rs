//! The lists that packets carry: subscriptions, filters, reason codes. Checked once at decode, then
//! iterated without allocation; or listed by a caller who wants to encode them.

use core::fmt;

use crate::packet::{PacketType, RetainHandling, Subscription};
use crate::reader::Reader;
use crate::reason::{ProtocolVersion, QoS, ReasonCode};
use crate::rules::{self, Checked, Rule};
use crate::topic::{SubscriptionFilter, fits_levels};

/// The subscriptions of a SUBSCRIBE, in order, at least one [MQTT-3.8.3-3].
#[derive(Clone, Copy)]
pub struct Subscriptions<'a>(Form<'a, Subscription<'a>>);

/// The filters of an UNSUBSCRIBE, in order, at least one [MQTT-3.10.3-2].
#[derive(Clone, Copy)]
pub struct Filters<'a>(Form<'a, SubscriptionFilter<'a>>);

/// The codes of a SUBACK or UNSUBACK, in the order of the filters [MQTT-3.9.3-1]. In 3.1 and 3.1.1
/// a SUBACK's failure 0x80 is [`ReasonCode::UnspecifiedError`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ReasonCodes<'a>(&'a [u8]);

#[derive(Clone, Copy)]
enum Form<'a, T> {
    /// As they came; checked.
    Encoded(&'a [u8]),
    /// As a caller lists them.
    List(&'a [T]),
}

impl<'a, T: Copy> Form<'a, T> {
    /// The items in order. A checked item reads without error, so that this ends at the end.
    fn iter(self, read: impl Fn(&mut Reader<'a>) -> Checked<T>) -> impl Iterator<Item = T> {
        let (encoded, list): (&[u8], &[T]) = match self {
            Form::Encoded(bytes) => (bytes, &[]),
            Form::List(list) => (&[], list),
        };
        let mut reader = Reader::new(encoded);
        core::iter::from_fn(move || read(&mut reader).ok()).chain(list.iter().copied())
    }
}

impl<'a> Subscriptions<'a> {
    /// Subscriptions to encode.
    pub const fn new(list: &'a [Subscription<'a>]) -> Self {
        Self(Form::List(list))
    }

    /// The subscriptions in order.
    pub fn iter(&self) -> impl Iterator<Item = Subscription<'a>> + use<'a> {
        self.0.iter(read_subscription)
    }

    /// Reads the rest of a SUBSCRIBE, checking all of it.
    pub(crate) fn read(
        reader: &mut Reader<'a>,
        version: ProtocolVersion,
        levels_max: u16,
    ) -> Checked<Self> {
        let encoded = reader.rest();
        if encoded.is_empty() {
            return Err(rules::SUBSCRIBE_EMPTY); // [MQTT-3.8.3-3]
        }
        while !reader.is_empty() {
            let subscription = read_subscription(reader)?;
            check_subscription(&subscription, version)?;
            check_levels(&subscription.filter, levels_max)?;
        }
        Ok(Self(Form::Encoded(encoded)))
    }
}

impl<'a> Filters<'a> {
    /// Filters to encode.
    pub const fn new(list: &'a [SubscriptionFilter<'a>]) -> Self {
        Self(Form::List(list))
    }

    /// The filters in order.
    pub fn iter(&self) -> impl Iterator<Item = SubscriptionFilter<'a>> + use<'a> {
        self.0.iter(|reader| read_filter(reader, rules::UNSUBSCRIBE_UTF8))
    }

    /// Reads the rest of an UNSUBSCRIBE, checking all of it.
    pub(crate) fn read(reader: &mut Reader<'a>, levels_max: u16) -> Checked<Self> {
        let encoded = reader.rest();
        if encoded.is_empty() {
            return Err(rules::UNSUBSCRIBE_EMPTY); // [MQTT-3.10.3-2]
        }
        while !reader.is_empty() {
            let filter = read_filter(reader, rules::UNSUBSCRIBE_UTF8)?; // [MQTT-3.10.3-1]
            check_levels(&filter, levels_max)?;
        }
        Ok(Self(Form::Encoded(encoded)))
    }
}

impl<'a> ReasonCodes<'a> {
    /// No codes, as in the UNSUBACK of 3.1 and 3.1.1.
    pub const EMPTY: Self = Self(&[]);

    /// Codes as they stand on the wire; `None` if one of them is no reason code.
    pub fn new(codes: &'a [u8]) -> Option<Self> {
        codes.iter().all(|&code| ReasonCode::new(code).is_some()).then_some(Self(codes))
    }

    /// The codes in order.
    pub fn iter(&self) -> impl Iterator<Item = ReasonCode> + use<'a> {
        self.0.iter().filter_map(|&code| ReasonCode::new(code))
    }

    /// The rest of a SUBACK or UNSUBACK, not checked yet.
    pub(crate) fn read(reader: &mut Reader<'a>) -> Self {
        let codes = Self(reader.rest());
        *reader = Reader::new(&[]);
        codes
    }

    /// Whether a SUBACK or UNSUBACK of this version may carry these: at least one [MQTT-3.8.4-5],
    /// each its own.
    pub(crate) fn check(&self, version: ProtocolVersion, packet: PacketType) -> Checked<()> {
        if self.0.is_empty() {
            let suback = packet == PacketType::SubAck;
            return Err(if suback { rules::SUBACK_EMPTY } else { rules::UNSUBACK_EMPTY });
        }
        let legal = |&code: &u8| match version {
            ProtocolVersion::V5 => ReasonCode::new(code).is_some_and(|code| code.is_for(packet)),
            // [MQTT-3.9.3-2]
            ProtocolVersion::V31 | ProtocolVersion::V311 => matches!(code, 0..=2 | 0x80),
        };
        if self.0.iter().all(legal) { Ok(()) } else { Err(rules::reason_code(packet)) }
    }

    /// The codes as they stand on the wire.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.0
    }
}

/// What a caller lists must obey the rules that decoding checks.
pub(crate) fn check_subscription(
    subscription: &Subscription<'_>,
    version: ProtocolVersion,
) -> Checked<()> {
    if version < ProtocolVersion::V5 && options_byte(subscription) > 2 {
        return Err(rules::SUBSCRIBE_OPTIONS); // [MQTT-3.8.3-4]
    }
    if subscription.no_local && subscription.filter.share.is_some() {
        return Err(rules::NO_LOCAL_SHARED); // [MQTT5-3.8.3-4]
    }
    Ok(())
}

/// Subscription Options; in 3.1 and 3.1.1 the Requested QoS.
pub(crate) fn options_byte(subscription: &Subscription<'_>) -> u8 {
    subscription.qos.get()
        | u8::from(subscription.no_local) << 2
        | u8::from(subscription.retain_as_published) << 3
        | (subscription.retain_handling as u8) << 4
}

fn read_subscription<'a>(reader: &mut Reader<'a>) -> Checked<Subscription<'a>> {
    let filter = read_filter(reader, rules::FILTER_UTF8)?; // [MQTT-3.8.3-1]
    let options = reader.u8()?;
    if options & 0xC0 != 0 {
        return Err(rules::SUBSCRIBE_OPTIONS); // [MQTT-3.8.3-4], [MQTT5-3.8.3-5]
    }
    Ok(Subscription {
        filter,
        qos: QoS::new(options & 0x03).ok_or(rules::SUBSCRIBE_QOS)?, // [MQTT-3.8.3-4]
        no_local: options & 0x04 != 0,
        retain_as_published: options & 0x08 != 0,
        retain_handling: match options >> 4 {
            0 => RetainHandling::SendAtSubscribe,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(rules::RETAIN_HANDLING), // MQTT 5.0 3.8.3.1
        },
    })
}

fn read_filter<'a>(
    reader: &mut Reader<'a>,
    ill_formed: &'static Rule,
) -> Checked<SubscriptionFilter<'a>> {
    SubscriptionFilter::parse(reader.binary()?)
        .map_err(|error| rules::topic(error, ill_formed, rules::TOPIC_WILDCARD))
}

fn check_levels(filter: &SubscriptionFilter<'_>, levels_max: u16) -> Checked<()> {
    let fits = fits_levels(filter.filter.as_bytes(), levels_max);
    if fits { Ok(()) } else { Err(rules::FILTER_LEVELS) }
}

impl PartialEq for Subscriptions<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl PartialEq for Filters<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Subscriptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Debug for Filters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Debug for ReasonCodes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
