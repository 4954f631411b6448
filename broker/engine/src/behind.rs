//! Which broker stands behind a bridge: what came from it does not go back to it over another one.
//!
//! MQTT 3.1.1 has no place for that in its packets, so bridges between brokers of this kind agree
//! on two topics that are never routed, recorded or kept:
//!
//! - A bridge subscribes to [`QUESTION`]. No subscription is made; the answer is a PUBLISH to that
//!   topic, in front of SUBACK, of who this broker is. Of any other broker it gets SUBACK alone.
//! - It publishes to [`STATEMENT`] who the broker behind it is: to the broker whose answer it has,
//!   before it brings or asks for anything, and over its own link to the broker that it belongs to.
//!   Without a payload: nobody knows. One statement counts for each connection.
//!
//! What a stranger states here is a claim: he is not given what came from the broker that he names,
//! and that broker is not given what he publishes. Two bridges that want the same both carry it:
//! a duplicate is better than a loss.

use std::sync::Arc;

use martlet_codec::packet::Delivery;
use martlet_codec::reason::QoS;
use martlet_codec::topic::TopicName;

use crate::Engine;
use crate::effects::{Effects, Notice};
use crate::filter::Filter;
use crate::message::Message;
use crate::recording::Publisher;
use crate::session::{Attachment, SessionIndex};

/// What a bridge subscribes to, to be told who is there.
pub const QUESTION: &str = "$SYS/broker/martlet/broker";

/// Where a bridge says who is behind it.
pub const STATEMENT: &str = "$SYS/broker/martlet/behind";

/// A broker's [`broker_id`](crate::limits::Limits::broker_id) as a payload: sixteen hexadecimal
/// digits.
pub fn write(broker: u64) -> String {
    format!("{broker:016x}")
}

/// Reads such a payload.
pub fn parse(payload: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(payload).ok().filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// What a session knows of the broker behind it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    /// Its number. What is known of the connection before holds until this one states something or
    /// subscribes without having asked.
    pub(crate) broker: Option<u64>,
    /// This connection has asked or stated.
    spoke: bool,
    /// This connection has stated.
    stated: bool,
}

impl Known {
    pub(crate) const NOBODY: Self = Self { broker: None, spoke: false, stated: false };

    /// Another connection begins.
    pub(crate) fn begin(&mut self, bridge: bool) {
        *self = Self { broker: self.broker.filter(|_| bridge), ..Self::default() };
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
        let known = &mut session.rare.known;
        known.spoke |= asks;
        if !known.spoke {
            known.broker = None;
        }
        if asks {
            let answer = write(self.limits.broker_id);
            let topic = TopicName::from_validated(QUESTION.as_bytes());
            let message = Message::new(topic, answer.as_bytes(), QoS::AtMostOnce, false);
            session.publish_qos0(&message, true, &mut self.counters, fx);
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
            && !session.rare.known.stated
            && delivery == Delivery::AtMostOnce
            && message.topic().as_str() == STATEMENT;
        if states {
            let before = session.rare.known.broker;
            let broker = parse(message.payload());
            session.rare.known = Known { broker, spoke: true, stated: true };
            if let Some(broker) = broker.filter(|broker| Some(*broker) != before) {
                self.notice_other(from, broker, fx);
            }
        }
        states
    }

    /// Two ways to one broker, one of them a bridge of this one, are worth a line of the log.
    fn notice_other(&self, from: SessionIndex, broker: u64, fx: &mut Effects) {
        let leads_there = |index: SessionIndex| {
            index != from && self.sessions[index].rare.known.broker == Some(broker)
        };
        let client_id = &self.sessions[from].client_id;
        let other = if self.own_bridges.contains(client_id) {
            let mut all = self.sessions.iter().map(|(index, _)| index);
            all.find(|index| leads_there(*index))
        } else {
            // Anybody may state as often as he connects: only these few are looked at.
            let mut own = self.own_bridges.iter().filter_map(|id| self.sessions.find(id));
            own.find(|index| leads_there(*index))
        };
        fx.notices.extend(other.map(|other| Notice::SameBroker {
            client_id: client_id.clone(),
            other: self.sessions[other].client_id.clone(),
        }));
    }

    /// Whether a bridge that wants this message is to have it. Else two brokers would send it to
    /// and fro for ever.
    pub(crate) fn crosses(&mut self, to: SessionIndex, publisher: Publisher<'_>) -> bool {
        let session = &self.sessions[to];
        if publisher.client_id(&self.sessions) == Some(&session.client_id) {
            return false;
        }
        let behind = publisher.behind(&self.sessions);
        let is_there = behind.is_some() && behind == session.rare.known.broker;
        self.counters.left_out += u64::from(is_there);
        !is_there
    }

    /// A session begins or ceases to be one of a bridge of this broker; whether it is there does
    /// not matter.
    pub(crate) fn change_own_bridge(&mut self, client_id: &Arc<str>, is_one: bool) {
        if is_one {
            self.own_bridges.insert(client_id.clone());
            return;
        }
        self.own_bridges.remove(client_id);
        let Some(index) = self.sessions.find(client_id) else { return };
        if let Attachment::Detached { since } = self.sessions[index].attachment {
            // It may have come and gone, in the list of deadlines, while it was one.
            self.arm_expiry(index, since);
        }
    }

    /// Who this broker is to others, from its start on.
    pub fn broker_id(&self) -> u64 {
        self.limits.broker_id
    }
}
