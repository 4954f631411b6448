//! Protocol versions, Quality of Service, reason codes.

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
