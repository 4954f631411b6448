//! Protocol versions, Quality of Service, return codes and reason codes.

use crate::packet::PacketType;

/// The version of MQTT that a connection speaks, from CONNECT's protocol name and level.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ProtocolVersion {
    /// MQTT 3.1: `MQIsdp`, level 3.
    V31,
    /// MQTT 3.1.1: `MQTT`, level 4.
    V311,
    /// MQTT 5.0: `MQTT`, level 5.
    V5,
}

/// Quality of Service.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(u8)]
pub enum QoS {
    /// QoS 0.
    #[default]
    AtMostOnce = 0,
    /// QoS 1.
    AtLeastOnce = 1,
    /// QoS 2.
    ExactlyOnce = 2,
}

impl QoS {
    /// The QoS for 0, 1 or 2.
    pub const fn new(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    /// 0, 1 or 2.
    pub const fn get(self) -> u8 {
        self as u8
    }
}

/// CONNACK's return code in MQTT 3.1 and 3.1.1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum ConnectReturnCode {
    /// 0x00.
    Accepted = 0,
    /// 0x01.
    UnacceptableProtocolVersion = 1,
    /// 0x02.
    IdentifierRejected = 2,
    /// 0x03.
    ServerUnavailable = 3,
    /// 0x04.
    BadUserNameOrPassword = 4,
    /// 0x05.
    NotAuthorized = 5,
}

impl ConnectReturnCode {
    /// The code for 0 to 5; the others are reserved.
    pub const fn new(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Accepted),
            1 => Some(Self::UnacceptableProtocolVersion),
            2 => Some(Self::IdentifierRejected),
            3 => Some(Self::ServerUnavailable),
            4 => Some(Self::BadUserNameOrPassword),
            5 => Some(Self::NotAuthorized),
            _ => None,
        }
    }

    /// The number as it stands on the wire.
    pub const fn get(self) -> u8 {
        self as u8
    }
}

/// Declares [`ReasonCode`] from one table: number, name, which packets may carry it (MQTT 5.0 2.4).
macro_rules! reason_codes {
    ($($number:literal $name:ident: $($packet:ident)+;)+) => {
        /// A Reason Code of MQTT 5.0. 3.1.1's SUBACK codes are a subset of these numbers.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum ReasonCode {
            $(
                #[doc = concat!(stringify!($number), ".")]
                $name = $number,
            )+
        }

        impl ReasonCode {
            /// The code for this number, or `None` if MQTT 5.0 does not define it.
            pub const fn new(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)+
                    _ => None,
                }
            }

            /// Whether MQTT 5.0 lets a packet of this type carry this code.
            pub const fn is_for(self, packet: PacketType) -> bool {
                match self {
                    $(Self::$name => matches!(packet, $(PacketType::$packet)|+),)+
                }
            }

            /// Every code, in order of number.
            pub const ALL: &[Self] = &[$(Self::$name,)+];
        }
    };
}

reason_codes! {
    0x00 Success: ConnAck PubAck PubRec PubRel PubComp SubAck UnsubAck Disconnect Auth;
    0x01 GrantedQoS1: SubAck;
    0x02 GrantedQoS2: SubAck;
    0x04 DisconnectWithWill: Disconnect;
    0x10 NoMatchingSubscribers: PubAck PubRec;
    0x11 NoSubscriptionExisted: UnsubAck;
    0x18 ContinueAuthentication: Auth;
    0x19 ReAuthenticate: Auth;
    0x80 UnspecifiedError: ConnAck PubAck PubRec SubAck UnsubAck Disconnect;
    0x81 MalformedPacket: ConnAck Disconnect;
    0x82 ProtocolError: ConnAck Disconnect;
    0x83 ImplementationSpecificError: ConnAck PubAck PubRec SubAck UnsubAck Disconnect;
    0x84 UnsupportedProtocolVersion: ConnAck;
    0x85 ClientIdentifierNotValid: ConnAck;
    0x86 BadUserNameOrPassword: ConnAck;
    0x87 NotAuthorized: ConnAck PubAck PubRec SubAck UnsubAck Disconnect;
    0x88 ServerUnavailable: ConnAck;
    0x89 ServerBusy: ConnAck Disconnect;
    0x8A Banned: ConnAck;
    0x8B ServerShuttingDown: Disconnect;
    0x8C BadAuthenticationMethod: ConnAck Disconnect;
    0x8D KeepAliveTimeout: Disconnect;
    0x8E SessionTakenOver: Disconnect;
    0x8F TopicFilterInvalid: SubAck UnsubAck Disconnect;
    0x90 TopicNameInvalid: ConnAck PubAck PubRec Disconnect;
    0x91 PacketIdentifierInUse: PubAck PubRec SubAck UnsubAck;
    0x92 PacketIdentifierNotFound: PubRel PubComp;
    0x93 ReceiveMaximumExceeded: Disconnect;
    0x94 TopicAliasInvalid: Disconnect;
    0x95 PacketTooLarge: ConnAck Disconnect;
    0x96 MessageRateTooHigh: Disconnect;
    0x97 QuotaExceeded: ConnAck PubAck PubRec SubAck Disconnect;
    0x98 AdministrativeAction: Disconnect;
    0x99 PayloadFormatInvalid: ConnAck PubAck PubRec Disconnect;
    0x9A RetainNotSupported: ConnAck Disconnect;
    0x9B QoSNotSupported: ConnAck Disconnect;
    0x9C UseAnotherServer: ConnAck Disconnect;
    0x9D ServerMoved: ConnAck Disconnect;
    0x9E SharedSubscriptionsNotSupported: SubAck Disconnect;
    0x9F ConnectionRateExceeded: ConnAck Disconnect;
    0xA0 MaximumConnectTime: Disconnect;
    0xA1 SubscriptionIdentifiersNotSupported: SubAck Disconnect;
    0xA2 WildcardSubscriptionsNotSupported: SubAck Disconnect;
}

impl ReasonCode {
    /// The number as it stands on the wire.
    pub const fn get(self) -> u8 {
        self as u8
    }

    /// Whether this is a failure: 0x80 or above (MQTT 5.0 2.4).
    pub const fn is_error(self) -> bool {
        self.get() >= 0x80
    }

    /// SUBACK's code for a granted QoS.
    pub const fn granted(qos: QoS) -> Self {
        match qos {
            QoS::AtMostOnce => Self::Success,
            QoS::AtLeastOnce => Self::GrantedQoS1,
            QoS::ExactlyOnce => Self::GrantedQoS2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_codes_are_one_to_one() {
        for number in 0..=u8::MAX {
            assert!(ReasonCode::new(number).is_none_or(|code| code.get() == number));
            assert!(QoS::new(number).is_none_or(|qos| qos.get() == number));
            assert!(ConnectReturnCode::new(number).is_none_or(|code| code.get() == number));
        }
        assert_eq!(ReasonCode::ALL.len(), 43);
    }

    #[test]
    fn each_packet_type_has_as_many_codes_as_its_section_lists() {
        let count = |packet| ReasonCode::ALL.iter().filter(|code| code.is_for(packet)).count();
        let expected = [
            (PacketType::Connect, 0),
            (PacketType::ConnAck, 22),
            (PacketType::PubAck, 9),
            (PacketType::PubRec, 9),
            (PacketType::PubRel, 2),
            (PacketType::PubComp, 2),
            (PacketType::SubAck, 12),
            (PacketType::UnsubAck, 7),
            (PacketType::Disconnect, 30),
            (PacketType::Auth, 3),
        ];
        for (packet, codes) in expected {
            assert_eq!(count(packet), codes, "{packet:?}");
        }
    }
}
