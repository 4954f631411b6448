//! From CONNECT until messages go both ways: who is there, what is wanted of him, and what of an
//! earlier connection still holds.

use martlet_codec::ids::PacketId;
use martlet_codec::packet::{
    ConnAck, ConnAckCode, Connect, Delivery, Packet, Publish, SubAck, Subscribe, Subscription,
    UnsubAck, Unsubscribe, Will,
};
use martlet_codec::payload::{Filters, Subscriptions};
use martlet_codec::properties::Properties;
use martlet_codec::reason::{ConnectReturnCode, ProtocolVersion, QoS};
use martlet_codec::topic::{SubscriptionFilter, TopicFilter, TopicName};
use martlet_engine::behind::{self, QUESTION, STATEMENT};
use martlet_engine::input::{InPacket, Time};
use martlet_engine::message::Message;
use martlet_engine::report::Ids;

use super::{ANSWER_MS, Fault, Phase, Relay, ZERO, after};
use crate::bridge::Settings;

/// How a bridge begins this time.
#[derive(Clone, Copy, Debug)]
pub(in crate::bridge) struct Opening {
    /// Its CONNECT says that it is a bridge.
    pub(in crate::bridge) private: bool,
    /// It only looks whether it is accepted without that.
    pub(in crate::bridge) probes: bool,
    /// It asks the other broker who it is.
    pub(in crate::bridge) asks: bool,
    /// The connection before this one went to another address: its session is none of this one's.
    pub(in crate::bridge) elsewhere: bool,
    /// All that is wanted was granted to the session of the connection before.
    pub(in crate::bridge) subscribed: bool,
    /// Who this broker is.
    pub(in crate::bridge) broker_id: u64,
}

/// SUBACK's failure [MQTT-3.9.3-2].
const REFUSED: u8 = 0x80;

const ONE: &[u8] = b"1";

impl Relay<'_> {
    /// CONNECT is the first to go [MQTT-3.1.0-1].
    pub(super) fn connect(&mut self) {
        let Settings { remote, notifications, version, keep_alive_s, clean_session, .. } =
            self.settings;
        let told = notifications.as_ref().filter(|told| !told.local_only);
        let will = told.map(|told| Will {
            topic: TopicName::from_validated(told.topic.as_bytes()),
            payload: ZERO,
            qos: QoS::AtLeastOnce,
            retain: true,
            properties: Properties::EMPTY,
        });
        let connect = Connect {
            version: *version,
            bridge: self.opening.private,
            clean_session: *clean_session,
            keep_alive_s: *keep_alive_s,
            properties: Properties::EMPTY,
            client_id: &remote.client_id,
            will,
            user_name: remote.user.as_deref(),
            password: remote.password.as_ref().map(|password| password.0.as_bytes()),
        };
        self.put(&Packet::Connect(connect));
    }

    pub(super) fn on_connack(&mut self, connack: &ConnAck<'_>) -> Result<(), Fault> {
        let ConnAckCode::V3(code) = connack.code else {
            return Err(Fault::Unexpected("CONNACK of MQTT 5.0"));
        };
        if code != ConnectReturnCode::Accepted {
            return Err(Fault::Refused(code));
        }
        // 3.1 cannot say whether there is a session: then there may be none.
        let told = self.settings.version != ProtocolVersion::V31 && !self.opening.elsewhere;
        let session_present = told && connack.session_present;
        self.phase = Phase::Accepted { session_present };
        // To subscribe again brings what is retained there once more, older than what waits here.
        self.subscribed = session_present && self.opening.subscribed;
        self.answer_by = None;
        if self.opening.probes { Err(Fault::TakenWithoutBit) } else { Ok(()) }
    }

    /// The engine has taken us in, and has these ids in use. What the other broker has forgotten is
    /// forgotten here, too: its next message under the same id is another one.
    pub(in crate::bridge) fn join(&mut self, ids: &Ids, now: Time, say: &mut Vec<InPacket>) {
        if self.accepted() == Some(false) {
            say.extend(ids.received.iter().map(|id| InPacket::PubRel(*id)));
            self.forgotten.extend(&ids.received);
            self.doubt(ids.released.len());
        }
        self.tell(ONE);
        let mut free = (1..=u16::MAX).rev().filter_map(PacketId::new);
        let mut free = std::iter::from_fn(|| free.find(|id| !ids.in_flight.contains(id)));
        let (unsubscribe, subscribe) = (free.next(), free.next());
        self.answer_by = Some(after(now, ANSWER_MS));
        match subscribe.filter(|_| self.opening.private && self.opening.asks) {
            Some(id) => self.ask(unsubscribe, id),
            None => {
                say.push(state(None));
                self.begin_subscribing(unsubscribe, subscribe);
            }
        }
    }

    /// The other broker had the message, and forgot its session before it said that it is done.
    fn doubt(&mut self, messages: usize) {
        if messages > 0 {
            self.tally.lost += messages as u64;
            let name = &self.settings.name;
            tracing::warn!(
                bridge = %name, messages,
                "Bridge {name}: {messages} messages at QoS 2 were half across when the other \
                 broker lost the session: they may be lost."
            );
        }
    }

    fn ask(&mut self, unsubscribe: Option<PacketId>, id: PacketId) {
        let filter = TopicFilter::from_validated(QUESTION.as_bytes());
        let filter = SubscriptionFilter { share: None, filter };
        let wanted = [Subscription::new(filter, QoS::AtMostOnce)];
        let (properties, subscriptions) = (Properties::EMPTY, Subscriptions::new(&wanted));
        self.put(&Packet::Subscribe(Subscribe { id, properties, subscriptions }));
        self.phase = Phase::Asking { unsubscribe, subscribe: id, answer: None };
    }

    /// Takes the answer, if this is it.
    pub(super) fn is_answered(&mut self, publish: &Publish<'_>) -> bool {
        let Phase::Asking { answer, .. } = &mut self.phase else { return false };
        let answers = publish.topic.is_some_and(|topic| topic.as_str() == QUESTION);
        if answers {
            *answer = behind::parse(publish.payload);
        }
        answers
    }

    /// Both brokers hear who is on the other side, in front of any message.
    fn introduce(&mut self, answer: Option<u64>, say: &mut Vec<InPacket>) {
        say.push(state(answer));
        if answer.is_some() {
            let here = behind::write(self.opening.broker_id);
            self.put(&Packet::Publish(Publish {
                delivery: Delivery::AtMostOnce,
                retain: false,
                topic: Some(TopicName::from_validated(STATEMENT.as_bytes())),
                properties: Properties::EMPTY,
                payload: here.as_bytes(),
            }));
        }
    }

    fn begin_subscribing(&mut self, unsubscribe: Option<PacketId>, subscribe: Option<PacketId>) {
        let wants = !self.subscribed;
        let unsubscribing = self.unsubscribe(unsubscribe.filter(|_| wants));
        let subscribing = self.subscribe(subscribe.filter(|_| wants));
        self.phase = Phase::Subscribing { unsubscribing, subscribing };
        self.open_if_subscribed();
    }

    fn unsubscribe(&mut self, id: Option<PacketId>) -> Option<PacketId> {
        let settings = self.settings;
        if settings.clean_session || !settings.attempt_unsubscribe {
            return None;
        }
        let unwanted = settings.topics.unwanted();
        let filters: Vec<SubscriptionFilter<'_>> = unwanted
            .map(|filter| SubscriptionFilter { share: None, filter: filter.topic_filter() })
            .collect();
        let id = id.filter(|_| !filters.is_empty())?;
        let filters = Filters::new(&filters);
        let packet = Unsubscribe { id, properties: Properties::EMPTY, filters };
        self.put(&Packet::Unsubscribe(packet));
        Some(id)
    }

    fn subscribe(&mut self, id: Option<PacketId>) -> Option<PacketId> {
        let wanted = self.settings.topics.remote();
        let wanted: Vec<Subscription<'_>> = wanted
            .map(|(filter, qos)| {
                let filter = SubscriptionFilter { share: None, filter: filter.topic_filter() };
                Subscription::new(filter, qos)
            })
            .collect();
        let id = id.filter(|_| !wanted.is_empty())?;
        let subscriptions = Subscriptions::new(&wanted);
        let packet = Subscribe { id, properties: Properties::EMPTY, subscriptions };
        self.put(&Packet::Subscribe(packet));
        Some(id)
    }

    pub(super) fn on_suback(
        &mut self,
        suback: &SubAck<'_>,
        say: &mut Vec<InPacket>,
    ) -> Result<(), Fault> {
        match self.phase {
            Phase::Asking { unsubscribe, subscribe, answer } if subscribe == suback.id => {
                self.introduce(answer, say);
                say.append(&mut self.early);
                self.begin_subscribing(unsubscribe, Some(subscribe));
                return Ok(());
            }
            Phase::Subscribing { unsubscribing, subscribing } if subscribing == Some(suback.id) => {
                self.phase = Phase::Subscribing { unsubscribing, subscribing: None };
            }
            _ => return Err(Fault::Unexpected("SUBACK for nothing")),
        }
        let name = &self.settings.name;
        let filters = self.settings.topics.remote().map(|(filter, _)| filter);
        for (filter, _) in
            filters.zip(suback.codes.as_bytes()).filter(|(_, code)| **code == REFUSED)
        {
            let filter = filter.as_str();
            self.refused = true;
            tracing::warn!(
                bridge = %name, filter,
                "Bridge {name}: the other broker refuses the subscription to {filter}: nothing of \
                 it will come in. Its rules for the bridge's user must allow it."
            );
        }
        self.open_if_subscribed();
        Ok(())
    }

    pub(super) fn on_unsuback(&mut self, unsuback: &UnsubAck<'_>) -> Result<(), Fault> {
        match &mut self.phase {
            Phase::Subscribing { unsubscribing, .. } if *unsubscribing == Some(unsuback.id) => {
                *unsubscribing = None;
                self.open_if_subscribed();
                Ok(())
            }
            _ => Err(Fault::Unexpected("UNSUBACK for nothing")),
        }
    }

    fn open_if_subscribed(&mut self) {
        if self.phase == (Phase::Subscribing { unsubscribing: None, subscribing: None }) {
            self.phase = Phase::Open;
            self.subscribed = !self.refused;
            self.answer_by = None;
        }
    }
}

/// Tells our engine who is behind the bridge.
fn state(broker: Option<u64>) -> InPacket {
    let payload = broker.map(behind::write).unwrap_or_default();
    let topic = TopicName::from_validated(STATEMENT.as_bytes());
    let message = Message::new(topic, payload.as_bytes(), QoS::AtMostOnce, false);
    InPacket::Publish { message, delivery: Delivery::AtMostOnce }
}
