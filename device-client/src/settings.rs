//! What the caller decides: who the client is, and how much memory it has.

use martlet_codec::reason::QoS;

/// Payloads that may be lent at the same time
/// ([`publish_lent`](crate::client::Client::publish_lent)).
pub const LENT_MAX: usize = 4;
/// Messages of QoS 2 from the broker that may be under way at the same time. mosquitto and Martlet
/// keep to 20 unless they are told otherwise.
pub const RECEIVED_MAX: usize = 32;
/// The smallest receive buffer, in bytes.
pub const RECEIVE_MIN: usize = 32;

/// Who the client is and how it behaves. Texts are borrowed for as long as the client lives.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'m> {
    /// Client Identifier: no two clients of a broker have the same. Empty only with Clean Session.
    pub client_id: &'m str,
    /// Clean Session: the broker forgets at the end of each connection what it owes this client.
    pub clean_session: bool,
    /// Keep Alive in seconds: PINGREQ is sent when nothing else was for three quarters of it. 0 is
    /// none, and then nobody notices a connection that died silently.
    pub keep_alive_s: u16,
    /// How long the broker may take to answer CONNECT and PINGREQ, in milliseconds. Then the
    /// connection counts as lost.
    pub response_ms: u32,
    /// What the broker publishes when this client is lost.
    pub will: Option<Publication<'m>>,
    /// User Name.
    pub user_name: Option<&'m str>,
    /// Password; only with a user name.
    pub password: Option<&'m [u8]>,
    /// Standing subscriptions: made at the first connection, and at each later one whose broker has
    /// lost the session. Each has a SUBSCRIBE of its own.
    pub subscriptions: &'m [Subscription<'m>],
    /// Messages of QoS 1 and 2 that may be under way to the broker at the same time, at least 1.
    /// Further ones wait in the outbox.
    pub window: u16,
    /// What happens when the outbox is full.
    pub when_full: WhenFull,
    /// How long to wait before connecting again.
    pub backoff: Backoff,
}

/// A Topic Filter and the QoS asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subscription<'m> {
    /// The filter.
    pub filter: &'m str,
    /// Messages come at this QoS at most.
    pub qos: QoS,
}

/// A message to be published.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Publication<'p> {
    /// Its Topic Name.
    pub topic: &'p str,
    /// Its payload.
    pub payload: &'p [u8],
    /// Its QoS.
    pub qos: QoS,
    /// Whether it becomes the retained message of its topic.
    pub retain: bool,
}

/// Which message is lost when the outbox is full. Every loss is counted
/// ([`Counters`](crate::client::Counters)); what was sent already and is not settled is never lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WhenFull {
    /// The new one: publishing it is refused.
    #[default]
    DropNewest,
    /// The oldest that waits. If none waits, the new one is refused.
    DropOldest,
}

/// The time between attempts to connect: doubled each time, from `min_ms` up to `max_ms`, and then
/// anything between half of that and all of it, so that devices that lost the same broker do not
/// all come back at the same moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    /// After the first failure, in milliseconds.
    pub min_ms: u32,
    /// Never more than this, in milliseconds.
    pub max_ms: u32,
}

/// The memory that a client works in.
#[derive(Debug)]
pub struct Memory<'m> {
    /// Packets as they come in. It must hold the CONNECT, which stands here until it is sent, and
    /// the topics that are received; a payload that does not fit behind its topic comes in pieces.
    /// A message whose topic does not fit is skipped and counted.
    pub receive: &'m mut [u8],
    /// Messages that wait to be sent or settled, each with a few bytes of its own.
    pub outbox: &'m mut [u8],
}

impl<'m> Settings<'m> {
    /// A client with a session that outlives its connections, a Keep Alive of a minute, four
    /// messages under way, and everything else at its simplest.
    pub const fn new(client_id: &'m str) -> Self {
        Self {
            client_id,
            clean_session: false,
            keep_alive_s: 60,
            response_ms: 10_000,
            will: None,
            user_name: None,
            password: None,
            subscriptions: &[],
            window: 4,
            when_full: WhenFull::DropNewest,
            backoff: Backoff { min_ms: 1_000, max_ms: 60_000 },
        }
    }
}

impl<'p> Publication<'p> {
    /// A message of QoS 0 that is not retained.
    pub const fn new(topic: &'p str, payload: &'p [u8]) -> Self {
        Self { topic, payload, qos: QoS::AtMostOnce, retain: false }
    }

    /// The same at this QoS.
    #[must_use]
    pub const fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// The same, retained.
    #[must_use]
    pub const fn retained(mut self) -> Self {
        self.retain = true;
        self
    }
}

impl Backoff {
    /// The wait after so many failures in a row, in milliseconds.
    pub(crate) fn wait_ms(&self, failures: u8, entropy: u32) -> u32 {
        let doubled = self.min_ms.max(1).checked_shl(u32::from(failures.min(31)));
        let lost = self.min_ms.leading_zeros() < u32::from(failures);
        let full = doubled.filter(|_| !lost).unwrap_or(u32::MAX).min(self.max_ms.max(1));
        let half = full / 2;
        // Anything from half up to full, by multiplication: no division on small chips.
        let spread = (u64::from(entropy) * u64::from(full - half + 1)) >> 32;
        half + spread as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_doubles_up_to_its_bound_with_jitter_of_one_half() {
        let backoff = Backoff { min_ms: 1_000, max_ms: 60_000 };
        // failures, shortest, longest
        let rows = [
            (0, 500, 1_000),
            (1, 1_000, 2_000),
            (5, 16_000, 32_000),
            (6, 30_000, 60_000),
            (31, 30_000, 60_000),
            (255, 30_000, 60_000),
        ];
        for (failures, shortest, longest) in rows {
            assert_eq!(backoff.wait_ms(failures, 0), shortest, "{failures}");
            assert_eq!(backoff.wait_ms(failures, u32::MAX), longest, "{failures}");
        }
        let fixed = Backoff { min_ms: u32::MAX, max_ms: u32::MAX };
        assert_eq!(fixed.wait_ms(3, u32::MAX), u32::MAX);
        assert_eq!(Backoff { min_ms: 0, max_ms: 0 }.wait_ms(9, u32::MAX), 1);
    }
}
