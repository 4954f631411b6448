//! Which broker stands behind a bridge: what came from it does not go back to it over another one.
//!
//! MQTT 3.1.1 has no place for that in its packets, so bridges between brokers of this kind agree
//! on two topics that are never routed, recorded or kept:
//!
//! - A bridge subscribes to [`QUESTION`]. No subscription is made; the answer is a PUBLISH to that
//!   topic, in front of SUBACK, of who this broker is, and whether the bridge may publish
//!   everything here. Of any other broker it gets SUBACK alone.
//! - It publishes to [`STATEMENT`] who the broker behind it is: to the broker whose answer it has,
//!   before it brings or asks for anything, and over its own link to the broker that it belongs to.
//!   Without a payload: nobody knows.
//!
//! What a stranger states here costs nobody but himself: he is not given what came from the broker
//! that he names, nor what this broker's own bridge has taken there.

use std::fmt;

use martlet_codec::packet::Delivery;
use martlet_codec::reason::QoS;
use martlet_codec::topic::TopicName;

use crate::Engine;
use crate::deliver::publish_qos0;
use crate::effects::{Effects, Notice};
use crate::filter::Filter;
use crate::message::Message;
use crate::recording::Publisher;
use crate::session::{Session, SessionIndex};

/// What a bridge subscribes to, to be told who is there.
pub const QUESTION: &str = "$SYS/broker/martlet/broker";

/// Where a bridge says who is behind it.
pub const STATEMENT: &str = "$SYS/broker/martlet/behind";

/// The broker behind a bridge, as a payload: sixteen hexadecimal digits and a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// Its [`broker_id`](crate::limits::Limits::broker_id).
    pub broker: u64,
    /// Whether all that is sent this way arrives there under its own name and with its RETAIN flag.
    pub whole: bool,
}

const WHOLE: &str = "whole";
const PART: &str = "part";

impl Behind {
    /// Reads a payload.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (broker, extent) = std::str::from_utf8(payload).ok()?.split_once(' ')?;
        let broker = u64::from_str_radix(broker, 16).ok()?;
        (extent == WHOLE || extent == PART).then_some(Self { broker, whole: extent == WHOLE })
    }
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x} {}", self.broker, if self.whole { WHOLE } else { PART })
    }
}

/// What a session knows of the broker behind it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    pub(crate) behind: Option<Behind>,
    /// This connection has asked or stated. What is known of the one before holds until this one
    /// subscribes without.
    spoke: bool,
}

impl Known {
    /// Another connection begins.
    pub(crate) fn begin(&mut self, bridge: bool) {
        self.behind = self.behind.filter(|_| bridge);
        self.spoke = false;
    }
}

impl Engine {
    /// SUBSCRIBE of a bridge: answers the question, if this is it. One that does not ask has no
    /// part in this.
    pub(crate) fn is_asked_who(
        &mut self,
        from: SessionIndex,
        filter: &Filter,
        fx: &mut Effects,
    ) -> bool {
        let session = &mut self.sessions[from];
        if !session.bridge {
            return false;
        }
        let asks = filter.as_str() == QUESTION;
        session.known.spoke |= asks;
        if !session.known.spoke && !session.own {
            session.known.behind = None;
        }
        if asks {
            let whole = session.permit.is_none();
            let answer = Behind { broker: self.limits.broker_id, whole }.to_string();
            let topic = TopicName::from_validated(QUESTION.as_bytes());
            let message = Message::new(topic, answer.as_bytes(), QoS::AtMostOnce, false);
            session.send(publish_qos0(&message, true), &mut self.counters, fx);
        }
        asks
    }

    /// PUBLISH of a bridge: takes the statement, if this is one.
    pub(crate) fn is_told_who(
        &mut self,
        from: SessionIndex,
        message: &Message,
        delivery: Delivery,
        fx: &mut Effects,
    ) -> bool {
        let session = &mut self.sessions[from];
        let states = session.bridge
            && delivery == Delivery::AtMostOnce
            && message.topic().as_str() == STATEMENT;
        if states {
            let before = session.known.behind;
            let behind = Behind::parse(message.payload());
            session.known = Known { behind, spoke: true };
            if let Some(behind) = behind.filter(|behind| Some(*behind) != before) {
                self.notice_others(from, behind, fx);
            }
        }
        states
    }

    /// Two ways to one broker are worth a line of the log.
    fn notice_others(&self, from: SessionIndex, behind: Behind, fx: &mut Effects) {
        let same = |session: &Session| session.leads_to(behind.broker);
        let others = self.sessions.iter().filter(|(index, other)| *index != from && same(other));
        let client_id = &self.sessions[from].client_id;
        fx.notices.extend(others.map(|(_, other)| Notice::SameBroker {
            client_id: client_id.clone(),
            other: other.client_id.clone(),
        }));
    }

    /// Whether a bridge that wants this message is to have it. Else two brokers would send it to
    /// and fro for ever, or one of them twice to the other.
    pub(crate) fn crosses(
        &mut self,
        to: SessionIndex,
        granted: QoS,
        message: &Message,
        publisher: Publisher<'_>,
        wanted: &[(SessionIndex, QoS)],
    ) -> bool {
        let session = &self.sessions[to];
        if publisher.client_id == Some(&session.client_id) {
            return false;
        }
        let Some(behind) = session.known.behind else { return true };
        let qos = message.qos().min(granted);
        let is_there = publisher.behind == Some(behind.broker)
            || behind.whole && !session.own && self.own_takes(to, behind.broker, qos, wanted);
        self.counters.left_out += u64::from(is_there);
        !is_there
    }

    /// Whether a bridge of this broker is sure to take a message there, at no lower QoS.
    fn own_takes(
        &self,
        instead_of: SessionIndex,
        broker: u64,
        qos: QoS,
        wanted: &[(SessionIndex, QoS)],
    ) -> bool {
        let other_is_there = self.sessions[instead_of].attached().is_some();
        wanted.iter().any(|&(index, granted)| {
            let own = &self.sessions[index];
            let whole = own.known.behind.is_some_and(|behind| behind.whole);
            let is_there = own.attached().is_some();
            let sure = match qos {
                QoS::AtMostOnce => is_there,
                QoS::AtLeastOnce | QoS::ExactlyOnce => own.durable && (is_there || !other_is_there),
            };
            own.own && own.leads_to(broker) && whole && granted >= qos && sure
        })
    }

    /// Who this broker is to others, from its start on.
    pub fn broker_id(&self) -> u64 {
        self.limits.broker_id
    }
}

impl Session {
    fn leads_to(&self, broker: u64) -> bool {
        self.known.behind.is_some_and(|behind| behind.broker == broker)
    }
}
