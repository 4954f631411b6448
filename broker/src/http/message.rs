//! A message as JSON has it.

use std::time::{Duration, UNIX_EPOCH};

use base64ct::{Base64, Encoding};
use martlet_engine::input::Time;
use martlet_engine::message::Message;
use serde::Serialize;
use utoipa::ToSchema;

/// A message.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Message)]
pub(super) struct MessageBody<'a> {
    /// When the broker handed it on, in UTC.
    pub(super) time: String,
    /// Its topic.
    pub(super) topic: &'a str,
    /// Its payload, if that is UTF-8 text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) payload: Option<&'a str>,
    /// Its payload in base64, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) payload_base64: Option<String>,
    /// The QoS that it was published at.
    #[schema(maximum = 2)]
    pub(super) qos: u8,
    /// It was retained before the reader came.
    pub(super) retain: bool,
}

impl<'a> MessageBody<'a> {
    pub(super) fn new(message: &'a Message, retain: bool, time: Time) -> Self {
        let (payload, payload_base64) = text_or_base64(message.payload());
        Self {
            time: rfc3339(time),
            topic: message.topic().as_str(),
            payload,
            payload_base64,
            qos: message.qos().get(),
            retain,
        }
    }
}

/// A payload as text where it is text.
pub(super) fn text_or_base64(payload: &[u8]) -> (Option<&str>, Option<String>) {
    match std::str::from_utf8(payload) {
        Ok(text) => (Some(text), None),
        Err(_) => (None, Some(Base64::encode_string(payload))),
    }
}

/// Date and time in UTC, to the millisecond.
pub(super) fn rfc3339(time: Time) -> String {
    // Beyond the year 9999 there is no such text.
    const LAST: u64 = 253_402_300_799_999;
    let time = UNIX_EPOCH + Duration::from_millis(time.0.min(LAST));
    humantime::format_rfc3339_millis(time).to_string()
}
