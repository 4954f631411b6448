//! What is in there, as lines of JSON. `docs/persistence.md` has the records; what is written here
//! is read by scripts, so fields are added and never change their meaning.

use std::io::{self, Write};

use base64ct::{Base64, Encoding};
use martlet_codec::ids::PacketId;
use martlet_engine::change::Passage;
use martlet_engine::message::Message;
use martlet_engine::snapshot::{KeptDelivery, KeptSession, Snapshot};
use serde::Serialize;

use crate::store::tools::Look;
use crate::store::tools::stats::date;

/// What is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Sessions, what waits for them, and wills.
    pub sessions: bool,
    /// Retained messages.
    pub retained: bool,
}

/// One line.
#[derive(Serialize)]
#[serde(tag = "record", rename_all = "snake_case")]
enum Line<'a> {
    Session {
        client_id: &'a str,
        connected: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        detached_since: Option<String>,
        subscriptions: Vec<Subscription<'a>>,
        in_flight: usize,
        queued: usize,
        received: Vec<u16>,
    },
    InFlight {
        client_id: &'a str,
        packet_id: u16,
        /// The packet that the client owes.
        awaits: &'static str,
        #[serde(flatten)]
        delivery: Option<Delivery<'a>>,
    },
    Queued {
        client_id: &'a str,
        #[serde(flatten)]
        delivery: Delivery<'a>,
    },
    Will {
        client_id: &'a str,
        #[serde(flatten)]
        message: Body<'a>,
        qos: u8,
        retain: bool,
    },
    Retained {
        #[serde(flatten)]
        message: Body<'a>,
        qos: u8,
    },
}

#[derive(Serialize)]
struct Subscription<'a> {
    filter: &'a str,
    qos: u8,
    /// Retained messages are still to be sent for it.
    replay: bool,
}

/// A message on its way to a session.
#[derive(Serialize)]
struct Delivery<'a> {
    #[serde(flatten)]
    message: Body<'a>,
    qos: u8,
    retain: bool,
    /// The shared subscription that it came by.
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<&'a str>,
}

#[derive(Serialize)]
struct Body<'a> {
    topic: &'a str,
    #[serde(flatten)]
    payload: Payload<'a>,
}

#[derive(Serialize)]
enum Payload<'a> {
    #[serde(rename = "payload")]
    Text(&'a str),
    /// It is no UTF-8.
    #[serde(rename = "payload_base64")]
    Base64(String),
}

/// Writes what is wanted, one object per line: each session with what is its own behind it, then
/// the retained messages. How many lines.
///
/// # Errors
/// When they cannot be written.
pub fn export(look: &Look, wanted: Wanted, out: &mut dyn Write) -> io::Result<u64> {
    let (facts, mut lines) = (look.facts(), Lines { out, count: 0 });
    if wanted.sessions {
        for (client_id, session) in &facts.sessions {
            lines.session(facts, client_id, session)?;
        }
        for (client_id, will) in &facts.wills {
            let (qos, retain) = (will.qos().get(), will.retain());
            lines.write(&Line::Will { client_id, message: Body::of(will), qos, retain })?;
        }
    }
    if wanted.retained {
        for message in facts.retained.values() {
            let qos = message.qos().get();
            lines.write(&Line::Retained { message: Body::of(message), qos })?;
        }
    }
    lines.out.flush()?;
    Ok(lines.count)
}

struct Lines<'a> {
    out: &'a mut dyn Write,
    count: u64,
}

impl Lines<'_> {
    fn session(
        &mut self,
        facts: &Snapshot,
        client_id: &str,
        session: &KeptSession,
    ) -> io::Result<()> {
        let subscriptions = session.subscriptions.iter().map(|(filter, kept)| Subscription {
            filter: filter.as_str(),
            qos: kept.qos.get(),
            replay: kept.replay,
        });
        self.write(&Line::Session {
            client_id,
            connected: session.detached.is_none(),
            detached_since: session.detached.map(date),
            subscriptions: subscriptions.collect(),
            in_flight: session.in_flight.len(),
            queued: session.queue.len(),
            received: session.received.iter().copied().map(PacketId::get).collect(),
        })?;
        for (id, delivery) in &session.in_flight {
            self.write(&in_flight(facts, client_id, *id, delivery))?;
        }
        for delivery in session.queue.iter().filter_map(|passage| Delivery::of(facts, passage)) {
            self.write(&Line::Queued { client_id, delivery })?;
        }
        Ok(())
    }

    fn write(&mut self, line: &Line<'_>) -> io::Result<()> {
        serde_json::to_writer(&mut *self.out, line)?;
        self.count += 1;
        self.out.write_all(b"\n")
    }
}

fn in_flight<'a>(
    facts: &'a Snapshot,
    client_id: &'a str,
    id: PacketId,
    delivery: &'a KeptDelivery,
) -> Line<'a> {
    let (awaits, delivery) = match delivery {
        KeptDelivery::Sent(passage) if passage.qos.get() == 2 => {
            ("PUBREC", Delivery::of(facts, passage))
        }
        KeptDelivery::Sent(passage) => ("PUBACK", Delivery::of(facts, passage)),
        KeptDelivery::AwaitPubComp => ("PUBCOMP", None),
    };
    Line::InFlight { client_id, packet_id: id.get(), awaits, delivery }
}

impl<'a> Delivery<'a> {
    /// `None`: its message was lost to damage.
    fn of(facts: &'a Snapshot, passage: &'a Passage) -> Option<Self> {
        let message = &facts.messages.get(&passage.key)?.message;
        Some(Self {
            message: Body::of(message),
            qos: passage.qos.get(),
            retain: passage.retain,
            share: passage.share.as_ref().map(|filter| filter.as_str()),
        })
    }
}

impl<'a> Body<'a> {
    fn of(message: &'a Message) -> Self {
        let payload = match std::str::from_utf8(message.payload()) {
            Ok(text) => Payload::Text(text),
            Err(_) => Payload::Base64(Base64::encode_string(message.payload())),
        };
        // Made from what came as one.
        Self { topic: message.topic().as_str(), payload }
    }
}
