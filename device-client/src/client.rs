//! The client itself, without a socket and without a clock.

use core::mem;

use heapless::{Deque, Vec};
use martlet_codec::encode::EncodeError;
use martlet_codec::ids::PacketId;
use martlet_codec::packet::{self, Connect, PacketType};
use martlet_codec::payload::ReasonCodes;
use martlet_codec::properties::Properties;
use martlet_codec::reason::ProtocolVersion;
use martlet_codec::topic::TopicName;
use martlet_codec::v311;

use crate::error::{Bound, Error, Misuse};
use crate::event::{Event, Message};
use crate::outbox::{Kind, Outbox, State};
use crate::receiver::Receiver;
use crate::settings::{LENT_MAX, Memory, RECEIVE_MIN, RECEIVED_MAX, Settings, Subscription};

mod answers;
mod publish;
pub mod storage;
mod transmit;

/// Acknowledgements that wait to be sent. At the bound nothing more is read.
const REPLIES_MAX: usize = 8;
/// The most filters of one SUBSCRIBE or UNSUBSCRIBE.
const FILTERS_MAX: usize = 8;

/// An MQTT 3.1.1 client: a session that outlives its connections, and at most one connection.
///
/// Its caller owns the network and the clock. Times are milliseconds of any clock that never goes
/// backward and never wraps (64 bits last).
#[derive(Debug)]
pub struct Client<'m> {
    settings: Settings<'m>,
    phase: Phase,
    /// What the program is to hear next.
    pending: Pending,
    receiver: Receiver<'m>,
    outbox: Outbox<'m>,
    /// Kept back for the SUBSCRIBE of a standing subscription.
    reserve: usize,
    /// Payloads that stand in the caller's memory.
    lent: [Option<&'m [u8]>; LENT_MAX],
    /// The QoS 2 ids received from the broker and not yet released.
    received: Vec<PacketId, RECEIVED_MAX>,
    last_id: PacketId,
    replies: Deque<Reply, REPLIES_MAX>,
    sending: Sending,
    /// Standing subscriptions made in this session.
    subscribed: u16,
    /// Whether some record is settled and the program is still to hear of it.
    settled: bool,
    unsaved: bool,
    last_sent: u64,
    /// When PINGRESP must be there.
    response_by: Option<u64>,
    failures: u8,
    counters: Counters,
}

/// What was lost, since the client was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Messages that [`WhenFull`](crate::settings::WhenFull) lost: refused or dropped.
    pub dropped: u32,
    /// Messages from the broker whose topics did not fit into the receive buffer. They were
    /// acknowledged.
    pub unseen: u32,
    /// Connections that the broker accepted.
    pub connections: u32,
}

/// Where the connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// There is none. `retry_at`: when to open one; `None`: not before somebody asks.
    Offline { retry_at: Option<u64> },
    /// CONNECT goes out, CONNACK is awaited until then.
    Greeting { response_by: u64 },
    /// CONNACK came.
    Online,
    /// DISCONNECT is to be sent.
    Leaving,
    /// It is of no use any more and is to be closed; whether by our wish.
    Over { wished: bool },
}

/// An acknowledgement that waits to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Reply(PacketType, PacketId);

/// A packet that was begun and not finished.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sending {
    Nothing,
    /// CONNECT, in the receive buffer.
    Connect {
        sent: usize,
        len: usize,
    },
    /// The record that begins there.
    Record {
        at: usize,
        sent: usize,
    },
}

/// What the program is to hear, or has just heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pending {
    Nothing,
    Connected {
        session_present: bool,
    },
    /// A piece of a message.
    Piece,
    /// The program has it; the next call settles it.
    Shown,
    Published(PacketId),
    Subscribed {
        id: PacketId,
        standing: Option<u16>,
        codes: u8,
    },
    Unsubscribed(PacketId),
    Disconnected,
}

impl<'m> Client<'m> {
    /// A client that has never been connected, and wants to be.
    pub fn new(settings: Settings<'m>, memory: Memory<'m>) -> Result<Self, Error> {
        if memory.receive.len() < RECEIVE_MIN {
            return Err(Error::Misuse(Misuse::ReceiveTooSmall));
        }
        let mut client = Self {
            settings,
            phase: Phase::Offline { retry_at: Some(0) },
            pending: Pending::Nothing,
            receiver: Receiver::new(memory.receive),
            outbox: Outbox::new(memory.outbox),
            reserve: 0,
            lent: [None; LENT_MAX],
            received: Vec::new(),
            last_id: PacketId::FIRST,
            replies: Deque::new(),
            sending: Sending::Nothing,
            subscribed: 0,
            settled: false,
            unsaved: false,
            last_sent: 0,
            response_by: None,
            failures: 0,
            counters: Counters::default(),
        };
        client.write_connect()?;
        for subscription in settings.subscriptions {
            let len = match client.write_subscribe(PacketId::FIRST, &[*subscription]) {
                Err(Error::Capacity(_)) => return Err(Error::Misuse(Misuse::OutboxTooSmall)),
                result => result?,
            };
            let needed = usize::from(len) + crate::outbox::HEADER;
            client.reserve = client.reserve.max(needed);
        }
        Ok(client)
    }

    /// Whether a connection should be opened now. Then open one, and call
    /// [`attach`](Self::attach), or [`detach`](Self::detach) if that failed.
    pub fn wants_connection(&self, now: u64) -> bool {
        matches!(self.phase, Phase::Offline { retry_at: Some(at) } if at <= now)
    }

    /// Whether the connection that there is should be closed: the broker or the network failed, or
    /// DISCONNECT was sent.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over { .. })
    }

    /// Whether there is a connection, of use or not.
    pub fn is_attached(&self) -> bool {
        !matches!(self.phase, Phase::Offline { .. })
    }

    /// Whether the broker has accepted the connection and it is in use.
    pub fn is_online(&self) -> bool {
        matches!(self.phase, Phase::Online)
    }

    /// A new Network Connection is open. CONNECT is the first packet on it [MQTT-3.1.0-1].
    pub fn attach(&mut self, now: u64) -> Result<(), Error> {
        self.release();
        self.receiver.reset();
        let len = self.write_connect()?;
        self.sending = Sending::Connect { sent: 0, len };
        let response_by = now.saturating_add(u64::from(self.settings.response_ms));
        self.phase = Phase::Greeting { response_by };
        self.response_by = None;
        self.last_sent = now;
        Ok(())
    }

    /// The Network Connection is gone, or could not be opened. The session goes on with the next
    /// one, for which it is time after a while; `entropy` is any number that differs from device to
    /// device and from call to call.
    pub fn detach(&mut self, now: u64, entropy: u32) {
        self.release();
        let wished = matches!(self.phase, Phase::Over { wished: true } | Phase::Leaving);
        let stopped = matches!(self.phase, Phase::Offline { retry_at: None });
        let wait_ms = self.settings.backoff.wait_ms(self.failures, entropy);
        let retry_at = (!wished && !stopped).then(|| now.saturating_add(u64::from(wait_ms)));
        self.failures = self.failures.saturating_add(1);
        self.phase = Phase::Offline { retry_at };
        self.forget_connection();
    }

    /// Sends DISCONNECT, so that the Will is not published [MQTT-3.1.2-8], and stays offline until
    /// [`connect`](Self::connect). What is under way goes on with the next connection.
    pub fn disconnect(&mut self) {
        self.phase = match self.phase {
            Phase::Online | Phase::Leaving => Phase::Leaving,
            Phase::Greeting { .. } | Phase::Over { .. } => Phase::Over { wished: true },
            Phase::Offline { .. } => Phase::Offline { retry_at: None },
        };
    }

    /// Wants a connection again after [`disconnect`](Self::disconnect), or at once instead of after
    /// the back-off.
    pub fn connect(&mut self) {
        if let Phase::Offline { .. } = self.phase {
            self.phase = Phase::Offline { retry_at: Some(0) };
        }
    }

    /// Subscribes to filters, at most 8 at once. [`Event::Subscribed`] brings the answer. For what
    /// holds all the time, [`Settings::subscriptions`] is simpler: these here are not made again
    /// when the broker loses the session.
    pub fn subscribe(&mut self, subscriptions: &[Subscription<'_>]) -> Result<PacketId, Error> {
        let id = self.free_id();
        let len = self.write_subscribe(id, subscriptions)?;
        self.outbox.push(len, Some(id), Kind::Subscribe, subscriptions.len() as u8);
        self.last_id = id;
        Ok(id)
    }

    /// Unsubscribes from filters, at most 8 at once. [`Event::Unsubscribed`] brings the answer.
    pub fn unsubscribe(&mut self, filters: &[&str]) -> Result<PacketId, Error> {
        let id = self.free_id();
        if filters.len() > FILTERS_MAX {
            return Err(Error::Misuse(Misuse::Filter));
        }
        let texts = filters.iter().copied();
        let len = v311::write_unsubscribe(id, texts, self.outbox.free(self.reserve))
            .map_err(|error| refused(error, Misuse::Filter))?;
        self.outbox.push(short(len)?, Some(id), Kind::Unsubscribe, 0);
        self.last_id = id;
        Ok(id)
    }

    /// What happened, one thing at a time. [`receive`](Self::receive) takes nothing more until it
    /// was asked for.
    pub fn event(&mut self) -> Option<Event<'_>> {
        self.release();
        if matches!(self.pending, Pending::Nothing) && self.settled {
            self.pending = self.next_settled();
        }
        let pending = mem::replace(&mut self.pending, Pending::Nothing);
        Some(match pending {
            Pending::Nothing | Pending::Shown => return None,
            Pending::Connected { session_present } => Event::Connected { session_present },
            Pending::Published(id) => Event::Published(id),
            Pending::Unsubscribed(id) => Event::Unsubscribed(id),
            Pending::Disconnected => Event::Disconnected,
            Pending::Subscribed { id, standing, codes } => {
                let bytes = self.receiver.bytes();
                let codes = bytes.get(bytes.len().saturating_sub(usize::from(codes))..);
                let codes = codes.and_then(ReasonCodes::new).unwrap_or(ReasonCodes::EMPTY);
                Event::Subscribed { id, standing, codes }
            }
            Pending::Piece => {
                self.pending = Pending::Shown;
                Event::Message(self.shown()?)
            }
        })
    }

    /// Whether [`event`](Self::event) has something to tell.
    pub fn has_event(&self) -> bool {
        self.settled || !matches!(self.pending, Pending::Nothing | Pending::Shown)
    }

    /// When something is due by itself: a connection, PINGREQ, or giving up on an answer. Then call
    /// [`receive`](Self::receive), with no bytes if there are none, and
    /// [`transmit`](Self::transmit). `None`: nothing is due before something else happens.
    pub fn next_deadline(&self) -> Option<u64> {
        match self.phase {
            Phase::Offline { retry_at } => retry_at,
            Phase::Greeting { response_by } => Some(response_by),
            Phase::Online | Phase::Leaving => {
                [self.response_by, self.ping_at()].into_iter().flatten().min()
            }
            Phase::Over { .. } => Some(0),
        }
    }

    /// What was lost so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Messages of QoS 1 and 2 that are not settled, and messages of QoS 0 that are not sent.
    pub fn outstanding(&self) -> usize {
        let open = |kind: Kind, state| kind.is_publish() && state != State::Settled;
        self.outbox.iter().filter(|record| open(record.kind, record.state)).count()
    }

    /// CONNECT into the receive buffer.
    fn write_connect(&mut self) -> Result<usize, Error> {
        let settings = &self.settings;
        if settings.client_id.is_empty() && !settings.clean_session {
            return Err(Error::Misuse(Misuse::Settings)); // [MQTT-3.1.3-7]
        }
        let will = match &settings.will {
            None => None,
            Some(will) => Some(packet::Will {
                topic: TopicName::new(will.topic.as_bytes())
                    .map_err(|_| Error::Misuse(Misuse::Topic))?,
                payload: will.payload,
                qos: will.qos,
                retain: will.retain,
                properties: Properties::EMPTY,
            }),
        };
        let connect = Connect {
            version: ProtocolVersion::V311,
            bridge: false,
            clean_session: settings.clean_session,
            keep_alive_s: settings.keep_alive_s,
            properties: Properties::EMPTY,
            client_id: settings.client_id,
            will,
            user_name: settings.user_name,
            password: settings.password,
        };
        v311::write_connect(&connect, self.receiver.buffer_mut()).map_err(|error| {
            let small = matches!(error, EncodeError::BufferTooSmall { .. });
            Error::Misuse(if small { Misuse::ReceiveTooSmall } else { Misuse::Settings })
        })
    }

    /// SUBSCRIBE into the free part of the outbox; nothing is kept yet.
    fn write_subscribe(
        &mut self,
        id: PacketId,
        subscriptions: &[Subscription<'_>],
    ) -> Result<u16, Error> {
        if subscriptions.len() > FILTERS_MAX {
            return Err(Error::Misuse(Misuse::Filter));
        }
        let wishes = subscriptions.iter().map(|wish| (wish.filter, wish.qos));
        let len = v311::write_subscribe(id, wishes, self.outbox.free(self.reserve))
            .map_err(|error| refused(error, Misuse::Filter))?;
        short(len)
    }

    /// A Packet Identifier that nothing of ours uses [MQTT-2.3.1-2].
    fn free_id(&self) -> PacketId {
        let mut id = self.last_id.next();
        while self.outbox.holds(id) {
            id = id.next();
        }
        id
    }

    fn shown(&self) -> Option<Message<'_>> {
        let (arriving, topic, payload) = self.receiver.arriving()?;
        Some(Message {
            topic: TopicName::from_validated(topic).as_str(),
            payload,
            offset: arriving.offset,
            len: arriving.len,
            qos: arriving.delivery.qos(),
            retain: arriving.retain,
            dup: arriving.dup,
        })
    }
}

/// Why a packet was not written.
fn refused(error: EncodeError, misuse: Misuse) -> Error {
    match error {
        EncodeError::BufferTooSmall { .. } => Error::Capacity(Bound::Outbox),
        EncodeError::PacketTooLarge | EncodeError::NotInVersion | EncodeError::Illegal { .. } => {
            Error::Misuse(misuse)
        }
    }
}

/// A record's packet has at most 65,535 bytes in the outbox.
fn short(len: usize) -> Result<u16, Error> {
    u16::try_from(len).map_err(|_| Error::Capacity(Bound::Outbox))
}
