//! MQTT 5 properties: validated once, iterated without allocation.

use core::fmt;
use core::num::{NonZeroU16, NonZeroU32};

use crate::ids::{SubscriptionId, TopicAlias};
use crate::packet::PacketType;
use crate::reader::Reader;
use crate::reason::QoS;
use crate::rules::{self, Checked};
use crate::sink::Sink;
use crate::topic::TopicName;

/// The properties of a packet or of a Will, in order.
///
/// What [`decode`](crate::decode::decode) returns was checked there: each property belongs to its
/// packet, has a value of its type, and comes twice only where MQTT 5.0 lets it. What a caller
/// lists is checked when it is encoded.
#[derive(Clone, Copy)]
pub struct Properties<'a>(Form<'a>);

#[derive(Clone, Copy)]
enum Form<'a> {
    /// As they came; checked.
    Encoded(&'a [u8]),
    /// As a caller lists them.
    List(&'a [Property<'a>]),
}

impl<'a> Properties<'a> {
    /// No properties.
    pub const EMPTY: Self = Self(Form::List(&[]));

    /// Properties to encode.
    pub const fn new(list: &'a [Property<'a>]) -> Self {
        Self(Form::List(list))
    }

    /// Whether there are none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        match self.0 {
            Form::Encoded(bytes) => bytes.is_empty(),
            Form::List(list) => list.is_empty(),
        }
    }

    /// The properties in order.
    pub fn iter(&self) -> impl Iterator<Item = Property<'a>> + use<'a> {
        let (encoded, list): (&[u8], &[_]) = match self.0 {
            Form::Encoded(bytes) => (bytes, &[]),
            Form::List(list) => (&[], list),
        };
        let mut reader = Reader::of_properties(encoded);
        // A checked property reads without error, so that this ends at the end.
        core::iter::from_fn(move || Property::read(&mut reader).ok()).chain(list.iter().copied())
    }
}

impl Default for Properties<'_> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl PartialEq for Properties<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Properties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Where properties stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// In a packet of this type.
    In(PacketType),
    /// In the Will of a CONNECT.
    Will,
}

/// Declares [`Property`] from one table: identifier, name, type of the value, doc, and the places
/// where it may stand (MQTT 5.0 2.2.2.2).
macro_rules! properties {
    ($($id:literal $name:ident($value:ty) $doc:literal: $($packet:ident)* $([$will:ident])?;)+) => {
        /// A property of MQTT 5.0.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Property<'a> {
            $(
                #[doc = concat!(stringify!($id), ": ", $doc)]
                $name($value),
            )+
        }

        impl<'a> Property<'a> {
            /// The Property Identifier.
            pub const fn id(&self) -> u8 {
                match self {
                    $(Self::$name(_) => $id,)+
                }
            }

            /// Reads one property, checking its value.
            fn read(reader: &mut Reader<'a>) -> Checked<Self> {
                match reader.variable_byte_integer()? {
                    $($id => <$value>::read_from(reader).map(Self::$name),)+
                    _ => Err(rules::PROPERTY_UNKNOWN),
                }
            }

            /// Writes identifier and value.
            pub(crate) fn write(&self, sink: &mut impl Sink) {
                sink.u8(self.id()); // All are below 0x80: one byte.
                match self {
                    $(Self::$name(value) => value.write_to(sink),)+
                }
            }

            /// Whether what the caller put in can stand on the wire.
            fn check(&self) -> Checked<()> {
                match self {
                    $(Self::$name(value) => value.check(),)+
                }
            }

            const fn may_stand_in(&self, place: Place) -> bool {
                match self {
                    $(Self::$name(_) => {
                        $(matches!(place, Place::In(PacketType::$packet)) ||)*
                        $(matches!(place, Place::$will) ||)? false
                    })+
                }
            }
        }
    };
}

properties! {
    0x01 PayloadFormatIndicator(bool) "whether the payload is UTF-8 text. The codec does not \
        look into payloads: that is the receiver's choice (MQTT 5.0 3.3.2.3.2).": Publish [Will];
    0x02 MessageExpiryInterval(u32) "seconds.": Publish [Will];
    0x03 ContentType(&'a str) "what the payload is.": Publish [Will];
    0x08 ResponseTopic(TopicName<'a>) "where a response goes.": Publish [Will];
    0x09 CorrelationData(&'a [u8]) "what a response repeats.": Publish [Will];
    0x0B SubscriptionIdentifier(SubscriptionId) "of a subscription, or of those that a message \
        is sent for.": Publish Subscribe;
    0x11 SessionExpiryInterval(u32) "seconds; `u32::MAX` is for ever.":
        Connect ConnAck Disconnect;
    0x12 AssignedClientIdentifier(&'a str) "the id of a client that came without.": ConnAck;
    0x13 ServerKeepAlive(u16) "seconds, instead of what the client asked for.": ConnAck;
    0x15 AuthenticationMethod(&'a str) "the name of the method.": Connect ConnAck Auth;
    0x16 AuthenticationData(&'a [u8]) "as the method defines.": Connect ConnAck Auth;
    0x17 RequestProblemInformation(bool) "whether reason strings and user properties may come \
        with more than PUBLISH, CONNACK and DISCONNECT.": Connect;
    0x18 WillDelayInterval(u32) "seconds.": [Will];
    0x19 RequestResponseInformation(bool) "whether CONNACK may bring it.": Connect;
    0x1A ResponseInformation(&'a str) "for making response topics.": ConnAck;
    0x1C ServerReference(&'a str) "another server to use.": ConnAck Disconnect;
    0x1F ReasonString(&'a str) "for people.":
        ConnAck PubAck PubRec PubRel PubComp SubAck UnsubAck Disconnect Auth;
    0x21 ReceiveMaximum(NonZeroU16) "QoS 1 and 2 messages in flight.": Connect ConnAck;
    0x22 TopicAliasMaximum(u16) "the highest topic alias accepted.": Connect ConnAck;
    0x23 TopicAlias(TopicAlias) "instead of the topic name.": Publish;
    0x24 MaximumQoS(QoS) "0 or 1 (2 is said by leaving it out).": ConnAck;
    0x25 RetainAvailable(bool) "whether retained messages are.": ConnAck;
    0x26 UserProperty((&'a str, &'a str)) "name and value; may come many times.":
        Connect ConnAck Publish PubAck PubRec PubRel PubComp Subscribe SubAck Unsubscribe
        UnsubAck Disconnect Auth [Will];
    0x27 MaximumPacketSize(NonZeroU32) "bytes.": Connect ConnAck;
    0x28 WildcardSubscriptionAvailable(bool) "whether they are.": ConnAck;
    0x29 SubscriptionIdentifierAvailable(bool) "whether they are.": ConnAck;
    0x2A SharedSubscriptionAvailable(bool) "whether they are.": ConnAck;
}

impl<'a> Properties<'a> {
    /// Reads Property Length and properties, checking all that can be checked in this place.
    pub(crate) fn read(reader: &mut Reader<'a>, place: Place) -> Checked<Self> {
        if reader.is_empty() {
            return Err(rules::PROPERTIES_LENGTH_MISSING); // [MQTT5-2.2.2-1]
        }
        let len = reader.variable_byte_integer()?;
        let bytes = reader.bytes(usize::try_from(len).unwrap_or(usize::MAX))?;
        let mut reader = Reader::of_properties(bytes);
        let mut seen = Seen::default();
        while !reader.is_empty() {
            seen.add(&Property::read(&mut reader)?, place)?;
        }
        seen.finish()?;
        Ok(Self(Form::Encoded(bytes)))
    }

    /// Checks what a caller listed as [`Self::read`] checks what came.
    pub(crate) fn check(&self, place: Place) -> Checked<()> {
        let mut seen = Seen::default();
        for property in self.iter() {
            property.check()?;
            seen.add(&property, place)?;
        }
        seen.finish()
    }

    /// Whether a property with this identifier is there.
    pub(crate) fn has(&self, id: u8) -> bool {
        self.iter().any(|property| property.id() == id)
    }
}

/// Topic Alias's identifier.
pub(crate) const TOPIC_ALIAS: u8 = 0x23;
/// Authentication Method's identifier.
pub(crate) const AUTHENTICATION_METHOD: u8 = 0x15;

/// The identifiers seen so far in one list, one bit each.
#[derive(Default)]
struct Seen(u64);

impl Seen {
    fn add(&mut self, property: &Property<'_>, place: Place) -> Checked<()> {
        if !property.may_stand_in(place) {
            return Err(rules::PROPERTY_MISPLACED);
        }
        let bit = 1 << property.id();
        let repeatable = matches!(property, Property::UserProperty(_))
            || matches!(property, Property::SubscriptionIdentifier(_))
                && place == Place::In(PacketType::Publish);
        if self.0 & bit != 0 && !repeatable {
            return Err(rules::PROPERTY_TWICE);
        }
        self.0 |= bit;
        Ok(())
    }

    fn finish(&self) -> Checked<()> {
        const METHOD: u64 = 1 << AUTHENTICATION_METHOD;
        const DATA: u64 = 1 << 0x16;
        if self.0 & (METHOD | DATA) == DATA {
            return Err(rules::AUTH_DATA_ALONE); // MQTT 5.0 3.1.2.11.10
        }
        Ok(())
    }
}

/// The value of a property.
trait Value<'a>: Sized {
    fn read_from(reader: &mut Reader<'a>) -> Checked<Self>;
    fn write_to(&self, sink: &mut impl Sink);
    /// Only texts and binary data can be wrong in a way that the type allows.
    fn check(&self) -> Checked<()> {
        Ok(())
    }
}

impl Value<'_> for bool {
    fn read_from(reader: &mut Reader<'_>) -> Checked<Self> {
        match reader.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(rules::PROPERTY_VALUE),
        }
    }

    fn write_to(&self, sink: &mut impl Sink) {
        sink.u8(u8::from(*self));
    }
}

impl Value<'_> for QoS {
    fn read_from(reader: &mut Reader<'_>) -> Checked<Self> {
        match QoS::new(reader.u8()?) {
            Some(qos) if qos < Self::ExactlyOnce => Ok(qos),
            Some(_) | None => Err(rules::PROPERTY_VALUE),
        }
    }

    fn write_to(&self, sink: &mut impl Sink) {
        sink.u8(self.get());
    }

    fn check(&self) -> Checked<()> {
        if *self == Self::ExactlyOnce { Err(rules::PROPERTY_VALUE) } else { Ok(()) }
    }
}

impl Value<'_> for u16 {
    fn read_from(reader: &mut Reader<'_>) -> Checked<Self> {
        reader.u16()
    }

    fn write_to(&self, sink: &mut impl Sink) {
        sink.u16(*self);
    }
}

impl Value<'_> for u32 {
    fn read_from(reader: &mut Reader<'_>) -> Checked<Self> {
        reader.u32()
    }

    fn write_to(&self, sink: &mut impl Sink) {
        sink.bytes(&self.to_be_bytes());
    }
}

impl Value<'_> for NonZeroU16 {
    fn read_from(reader: &mut Reader<'_>) -> Checked<Self> {
        Self::new(reader.u16()?).ok_or(rules::PROPERTY_VALUE)
    }

    fn write_to(&self, sink: &mut impl Sink) {
        sink.u16(self.get());
    }
}

impl Value<'_> for NonZeroU32 {
    fn read_from(reader: &mut Reader<'_>) -> Checked<Self> {
        Self::new(reader.u32()?).ok_or(rules::PROPERTY_VALUE)
    }

    fn write_to(&self, sink: &mut impl Sink) {
        sink.bytes(&self.get().to_be_bytes());
    }
}

impl Value<'_> for TopicAlias {
    fn read_from(reader: &mut Reader<'_>) -> Checked<Self> {
        Self::new(reader.u16()?).ok_or(rules::TOPIC_ALIAS_ZERO) // [MQTT5-3.3.2-8]
    }

    fn write_to(&self, sink: &mut impl Sink) {
        sink.u16(self.get());
    }
}

impl Value<'_> for SubscriptionId {
    fn read_from(reader: &mut Reader<'_>) -> Checked<Self> {
        Self::new(reader.variable_byte_integer()?).ok_or(rules::PROPERTY_VALUE)
    }

    fn write_to(&self, sink: &mut impl Sink) {
        sink.variable_byte_integer(self.get());
    }
}

impl<'a> Value<'a> for &'a str {
    fn read_from(reader: &mut Reader<'a>) -> Checked<Self> {
        reader.string(rules::UTF8)
    }

    fn write_to(&self, sink: &mut impl Sink) {
        sink.binary(self.as_bytes());
    }

    fn check(&self) -> Checked<()> {
        rules::check_string(self)
    }
}

impl<'a> Value<'a> for (&'a str, &'a str) {
    fn read_from(reader: &mut Reader<'a>) -> Checked<Self> {
        Ok((reader.string(rules::UTF8)?, reader.string(rules::UTF8)?))
    }

    fn write_to(&self, sink: &mut impl Sink) {
        sink.binary(self.0.as_bytes());
        sink.binary(self.1.as_bytes());
    }

    fn check(&self) -> Checked<()> {
        rules::check_string(self.0).and(rules::check_string(self.1)) // [MQTT5-1.5.7-1]
    }
}

impl<'a> Value<'a> for &'a [u8] {
    fn read_from(reader: &mut Reader<'a>) -> Checked<Self> {
        reader.binary()
    }

    fn write_to(&self, sink: &mut impl Sink) {
        sink.binary(self);
    }

    fn check(&self) -> Checked<()> {
        rules::check_binary(self)
    }
}

impl<'a> Value<'a> for TopicName<'a> {
    fn read_from(reader: &mut Reader<'a>) -> Checked<Self> {
        TopicName::new(reader.binary()?)
            .map_err(|error| rules::topic(error, rules::RESPONSE_UTF8, rules::RESPONSE_WILDCARD))
    }

    fn write_to(&self, sink: &mut impl Sink) {
        sink.binary(self.as_bytes());
    }
}
