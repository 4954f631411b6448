//! What must hold, written down a second time and as simply as it can be: sessions are lists of
//! what is owed, and matching is a comparison of words.
//!
//! The model sees every input and what the engine answered. What the engine answers to nobody's
//! input, and what it leaves out, is a fault. A crash takes the model back to the state behind the
//! last batch on disk; what a client was promised before must still be there then.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use martlet_codec::packet::Delivery;
use martlet_codec::reason::QoS;
use martlet_engine::effects::{Farewell, OutPacket, Outgoing};
use martlet_engine::input::{Connect, InPacket, Input, LinkId};
use martlet_engine::limits::Limits;
use martlet_engine::message::Message;
use martlet_engine::snapshot::Snapshot;

use crate::machine::Handled;

/// A message that somebody published or left as a will. Its number is in its payload.
pub struct Published {
    pub by: String,
    pub topic: String,
    pub qos: QoS,
    pub retain: bool,
    /// No payload: the number is not in it.
    pub empty: bool,
}

pub struct Model {
    pub published: Vec<Published>,
    pub tally: Tally,
    limits: Limits,
    state: State,
    /// Behind each batch that is not on disk yet; first, what is on disk.
    states: VecDeque<(u64, State)>,
    links: BTreeMap<LinkId, Link>,
    /// Links that ended with the input at hand, and whose they were.
    parted: BTreeMap<LinkId, String>,
    /// Wills that the engine finds on disk and publishes before anything else.
    recovered: Vec<u32>,
    /// What clients were promised: messages, filters, retained messages.
    kept: Promised,
    steps: u64,
}

/// How much of everything there was.
#[derive(Clone, Copy, Default, Debug)]
pub struct Tally {
    pub routed: u64,
    pub delivered: u64,
    pub repeated: u64,
    pub retained: u64,
    pub shared: u64,
    pub wills: u64,
    pub taken_over: u64,
    pub silent: u64,
    pub crashes: u64,
    pub rolled_back: u64,
    pub dropped: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.routed += other.routed;
        self.delivered += other.delivered;
        self.repeated += other.repeated;
        self.retained += other.retained;
        self.shared += other.shared;
        self.wills += other.wills;
        self.taken_over += other.taken_over;
        self.silent += other.silent;
        self.crashes += other.crashes;
        self.rolled_back += other.rolled_back;
        self.dropped += other.dropped;
    }

    /// Whether nothing was left out, so that all checks had something to check.
    pub fn saw_everything(&self) -> bool {
        let Self { routed, delivered, repeated, retained, shared, wills, .. } = self;
        let Self { taken_over, silent, crashes, rolled_back, dropped, .. } = self;
        let seen = [routed, delivered, repeated, retained, shared, wills];
        let more = [taken_over, silent, crashes, rolled_back, dropped];
        seen.iter().chain(&more).all(|count| **count > 0)
    }
}

#[derive(Clone, Default)]
struct State {
    sessions: BTreeMap<String, Rc<Session>>,
    /// With the step that set or cleared it.
    retained: BTreeMap<String, (Option<u32>, u64)>,
    /// Wills that were published.
    fired: Rc<BTreeSet<u32>>,
    /// Messages that one member of a share is owed.
    shared: Rc<Vec<SharedOwed>>,
    /// How many messages the engine says it has lost to its bounds, since it started.
    dropped: u64,
}

#[derive(Clone, Default)]
struct Session {
    born: u64,
    clean: bool,
    connected: bool,
    subscriptions: BTreeMap<String, QoS>,
    /// The step of the last SUBSCRIBE or UNSUBSCRIBE of each filter.
    changed: BTreeMap<String, u64>,
    owed: Vec<Owed>,
    settled: BTreeSet<u32>,
    /// QoS 2 ids from this client, with their messages.
    received: BTreeMap<u16, u32>,
    /// Retained messages that a subscription is still to bring.
    replays: BTreeMap<String, BTreeMap<String, u32>>,
    /// The step of the last message by publisher, topic, and both QoS.
    last: BTreeMap<(String, String, QoS, QoS), u64>,
}

#[derive(Clone)]
struct Owed {
    message: u32,
    qos: QoS,
    step: u64,
    sent: Option<Sent>,
    share: Option<String>,
}

#[derive(Clone, Copy, PartialEq)]
struct Sent {
    id: u16,
    step: u64,
    /// PUBREC was there.
    released: bool,
}

#[derive(Clone)]
struct SharedOwed {
    message: u32,
    share: String,
    step: u64,
}

struct Link {
    client: String,
    will: Option<u32>,
    silence_max_ms: u64,
    last_heard: u64,
    room: i64,
    connected: bool,
    /// The first send of the last delivery that was repeated here.
    repeated: u64,
    /// PUBACKs and PUBRECs that have not left yet: which message they are about.
    answers: VecDeque<(u16, u32)>,
    /// SUBACKs and UNSUBACKs likewise: which filters.
    granted: VecDeque<(u16, Vec<(String, u64)>)>,
}

#[derive(Default)]
struct Promised {
    messages: BTreeSet<(u32, String, u64)>,
    filters: BTreeMap<(String, u64, String), u64>,
    retained: BTreeMap<String, u64>,
    sessions: BTreeMap<String, u64>,
    /// Who is owed a message when its publisher is told that we have it.
    expected: BTreeMap<u32, Vec<(String, u64)>>,
    retained_by: BTreeMap<u32, u64>,
    wills: BTreeSet<u32>,
}

pub type Verdict = Result<(), String>;

macro_rules! must {
    ($holds:expr, $($fault:tt)+) => {
        if !$holds {
            return Err(format!($($fault)+));
        }
    };
}

impl Model {
    pub fn new(limits: Limits) -> Self {
        Self {
            published: Vec::new(),
            tally: Tally::default(),
            limits,
            state: State::default(),
            states: VecDeque::from([(0, State::default())]),
            links: BTreeMap::new(),
            parted: BTreeMap::new(),
            recovered: Vec::new(),
            kept: Promised::default(),
            steps: 0,
        }
    }

    /// One input was handled.
    pub fn on_handled(&mut self, handled: &Handled) -> Verdict {
        for will in std::mem::take(&mut self.recovered) {
            self.fire(Some(will));
        }
        self.steps += 1;
        self.parted.clear();
        self.on_input(handled)?;
        for (link, farewell) in &handled.farewells {
            self.on_farewell(*link, *farewell, handled.now.0)?;
        }
        for outgoing in &handled.outgoing {
            self.on_outgoing(outgoing).map_err(|fault| format!("{outgoing:?}: {fault}"))?;
        }
        self.state.dropped = handled.dropped;
        if let Some(batch) = handled.batch {
            self.states.push_back((batch, self.state.clone()));
        }
        Ok(())
    }

    fn on_input(&mut self, handled: &Handled) -> Verdict {
        match &handled.input {
            Input::Open { link, connect } => self.on_open(*link, connect, handled),
            Input::Packet { link, packet } => {
                let Some(known) = self.links.get_mut(link) else {
                    must!(handled.outgoing.is_empty(), "an answer to a link that is gone");
                    return Ok(());
                };
                known.last_heard = handled.now.0;
                self.on_packet(*link, packet, handled)
            }
            Input::Lost { link, .. } => {
                let will = self.links.get_mut(link).and_then(|link| link.will.take());
                self.detach(*link);
                self.fire(will);
                Ok(())
            }
            Input::Room { link, bytes } => {
                if let Some(link) = self.links.get_mut(link) {
                    link.room += i64::from(*bytes);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn on_open(&mut self, link: LinkId, connect: &Connect, handled: &Handled) -> Verdict {
        let client = connect.client_id.to_string();
        let old = self.links.iter().find(|(_, old)| old.client == client).map(|(old, _)| *old);
        if let Some(old) = old {
            let told = handled.farewells.contains(&(old, Farewell::TakenOver));
            must!(told, "{client} is connected twice");
            self.tally.taken_over += 1;
            let will = self.links.get_mut(&old).and_then(|old| old.will.take());
            self.detach(old);
            self.fire(will);
        }
        let present = !connect.clean_session && self.state.sessions.contains_key(&client);
        if !present {
            self.end_session(&client);
            let born = self.steps;
            let session = Session { born, clean: connect.clean_session, ..Session::default() };
            self.state.sessions.insert(client.clone(), Rc::new(session));
        }
        self.session(&client).connected = true;
        let first = handled.outgoing.iter().find(|outgoing| outgoing.link == link);
        let answered = matches!(first.map(|first| &first.packet),
            Some(OutPacket::ConnAck { session_present, .. }) if *session_present == present);
        must!(answered, "{client}: session present {present}, and the answer is {first:?}");
        let will = connect.will.as_ref().map(number);
        let model = Link {
            client,
            will,
            silence_max_ms: u64::from(connect.keep_alive_s) * 1500,
            last_heard: handled.now.0,
            room: i64::from(connect.room_bytes),
            connected: false,
            repeated: 0,
            answers: VecDeque::new(),
            granted: VecDeque::new(),
        };
        self.links.insert(link, model);
        Ok(())
    }

    fn on_packet(&mut self, link: LinkId, packet: &InPacket, handled: &Handled) -> Verdict {
        let client = self.links[&link].client.clone();
        let answer = match packet {
            InPacket::Publish { message, delivery } => {
                return self.on_publish(link, &client, message, *delivery, handled);
            }
            InPacket::DeniedPublish { .. } => {
                must!(false, "{client} is denied something, and nobody denies here");
                return Ok(());
            }
            InPacket::PubAck(id) => {
                self.settle(&client, id.get(), |owed| owed.qos == QoS::AtLeastOnce);
                return Ok(());
            }
            InPacket::PubComp(id) => {
                self.settle(&client, id.get(), |owed| owed.sent.is_some_and(|s| s.released));
                return Ok(());
            }
            InPacket::PubRec(id) => {
                for owed in &mut self.session(&client).owed {
                    if let Some(sent) = owed.sent.as_mut().filter(|sent| sent.id == id.get()) {
                        sent.released = true;
                    }
                }
                OutPacket::PubRel(*id)
            }
            InPacket::PubRel(id) => {
                self.session(&client).received.remove(&id.get());
                OutPacket::PubComp(*id)
            }
            InPacket::Subscribe { id, subscriptions, .. } => {
                let codes = subscriptions.iter().map(|(_, qos)| qos.get()).collect();
                let mut filters = Vec::new();
                for (filter, qos) in subscriptions {
                    let changed = self.subscribe(&client, filter.as_str(), *qos);
                    filters.push((filter.as_str().to_owned(), changed));
                }
                self.link(link).granted.push_back((id.get(), filters));
                OutPacket::SubAck(*id, Box::new(codes))
            }
            InPacket::Unsubscribe { id, filters } => {
                let step = self.steps;
                let session = self.session(&client);
                let mut gone = Vec::new();
                for filter in filters.iter().map(|filter| filter.as_str()) {
                    session.replays.remove(filter);
                    if session.subscriptions.remove(filter).is_some() {
                        session.changed.insert(filter.to_owned(), step);
                        gone.push((filter.to_owned(), step));
                    }
                }
                self.link(link).granted.push_back((id.get(), gone));
                OutPacket::UnsubAck(*id)
            }
            InPacket::PingReq => OutPacket::PingResp,
            InPacket::Disconnect => {
                self.link(link).will = None;
                let closed = handled.farewells.contains(&(link, Farewell::Disconnected));
                must!(closed, "{client} disconnected and is not closed");
                return Ok(());
            }
            InPacket::Forbidden { .. } => {
                must!(!handled.farewells.is_empty(), "{client} broke a rule and is not closed");
                return Ok(());
            }
        };
        let answered = handled.outgoing.iter().any(|out| out.link == link && out.packet == answer);
        must!(answered, "{client}: {packet:?} is not answered with {answer:?}");
        Ok(())
    }

    fn on_publish(
        &mut self,
        link: LinkId,
        client: &str,
        message: &Message,
        delivery: Delivery,
        handled: &Handled,
    ) -> Verdict {
        let number = self.number(message);
        let answer = match delivery {
            Delivery::AtMostOnce => {
                self.route(number);
                return Ok(());
            }
            Delivery::AtLeastOnce { id, .. } => {
                self.route(number);
                self.link(link).answers.push_back((id.get(), number));
                OutPacket::PubAck(id)
            }
            Delivery::ExactlyOnce { id, .. } => {
                let known = self.session(client).received.insert(id.get(), number);
                if known.is_none() {
                    self.route(number);
                }
                self.link(link).answers.push_back((id.get(), number));
                OutPacket::PubRec(id)
            }
        };
        let answered = handled.outgoing.iter().any(|out| out.link == link && out.packet == answer);
        must!(answered, "{client}: {delivery:?} is not answered with {answer:?}");
        Ok(())
    }

    /// Answers the step that made the subscription what it is.
    fn subscribe(&mut self, client: &str, filter: &str, qos: QoS) -> u64 {
        let step = self.steps;
        let retained = self.state.retained.iter();
        let retained = retained.filter(|(topic, _)| matches(filter, topic));
        let retained = retained.filter_map(|(t, (message, _))| Some((t.clone(), (*message)?)));
        let retained: BTreeMap<String, u32> = retained.collect();
        let session = self.session(client);
        if session.subscriptions.insert(filter.to_owned(), qos) != Some(qos) {
            session.changed.insert(filter.to_owned(), step);
        }
        let changed = session.changed[filter];
        if !filter.starts_with("$share/") {
            session.replays.insert(filter.to_owned(), retained);
        }
        changed
    }

    fn settle(&mut self, client: &str, id: u16, fits: impl Fn(&Owed) -> bool) {
        let session = self.session(client);
        let settled = |owed: &Owed| owed.sent.is_some_and(|sent| sent.id == id) && fits(owed);
        if let Some(at) = session.owed.iter().position(settled) {
            let owed = session.owed.remove(at);
            session.settled.insert(owed.message);
        }
    }

    fn on_farewell(&mut self, link: LinkId, farewell: Farewell, now: u64) -> Verdict {
        let Some(known) = self.links.get_mut(&link) else { return Ok(()) };
        let expected = match farewell {
            Farewell::KeepAliveExceeded => {
                self.tally.silent += 1;
                known.silence_max_ms > 0 && now >= known.last_heard + known.silence_max_ms
            }
            Farewell::Disconnected | Farewell::ProtocolViolation { .. } => true,
            _ => false,
        };
        must!(expected, "{} is closed: {farewell:?}", known.client);
        let will = known.will.take();
        self.detach(link);
        self.fire(will);
        Ok(())
    }

    /// The link is gone; a clean session with it.
    fn detach(&mut self, id: LinkId) {
        let Some(link) = self.links.remove(&id) else { return };
        let client = link.client;
        let session = self.session(&client);
        session.connected = false;
        if session.clean {
            self.end_session(&client);
        }
        self.parted.insert(id, client);
    }

    /// What a member of a share has not acknowledged goes to the others.
    fn end_session(&mut self, client: &str) {
        let Some(session) = self.state.sessions.remove(client) else { return };
        for owed in &session.owed {
            if let (Some(share), false) = (&owed.share, owed.qos == QoS::AtMostOnce) {
                let returned =
                    SharedOwed { message: owed.message, share: share.clone(), step: owed.step };
                Rc::make_mut(&mut self.state.shared).push(returned);
            }
        }
    }

    fn fire(&mut self, will: Option<u32>) {
        if let Some(will) = will {
            self.tally.wills += 1;
            Rc::make_mut(&mut self.state.fired).insert(will);
            self.route(will);
        }
    }

    /// Everybody who wants it is owed it from now on.
    fn route(&mut self, number: u32) {
        self.tally.routed += 1;
        self.steps += 1;
        let step = self.steps;
        let message = &self.published[number as usize];
        if message.retain {
            let kept = (!message.empty).then_some(number);
            self.state.retained.insert(message.topic.clone(), (kept, step));
            self.kept.retained_by.insert(number, step);
        }
        self.kept.expected.remove(&number);
        let mut shares = BTreeSet::new();
        for (client, session) in &mut self.state.sessions {
            let wanted = session.subscriptions.iter();
            let wanted = wanted.filter(|(filter, _)| matches(plain(filter), &message.topic));
            let (shared, own): (Vec<_>, Vec<_>) =
                wanted.partition(|(filter, _)| filter.starts_with("$share/"));
            shares.extend(shared.into_iter().map(|(filter, _)| filter.clone()));
            let granted = own.into_iter().map(|(_, qos)| *qos).max();
            let touched = session.replays.values().any(|open| open.contains_key(&message.topic));
            if message.retain && touched {
                let replays = Rc::make_mut(session).replays.values_mut();
                replays.for_each(|open| _ = open.remove(&message.topic));
            }
            let Some(granted) = granted else { continue };
            let qos = granted.min(message.qos);
            if qos == QoS::AtMostOnce && !session.connected && !self.limits.queue_qos0 {
                continue;
            }
            let owed = Owed { message: number, qos, step, sent: None, share: None };
            Rc::make_mut(session).owed.push(owed);
            // A short queue may drop it, and counts that.
            let may_drop = (1..1000).contains(&self.limits.queue_messages_max);
            if qos > QoS::AtMostOnce && !session.clean && !may_drop {
                let expected = self.kept.expected.entry(number).or_default();
                expected.push((client.clone(), session.born));
            }
        }
        for share in shares {
            Rc::make_mut(&mut self.state.shared).push(SharedOwed { message: number, share, step });
        }
    }

    fn on_outgoing(&mut self, outgoing: &Outgoing) -> Verdict {
        let Some(link) = self.links.get_mut(&outgoing.link) else {
            return self.on_too_late(outgoing);
        };
        let room = link.room;
        link.room -= i64::from(outgoing.packet.cost());
        let client = link.client.clone();
        match &outgoing.packet {
            OutPacket::ConnAck { .. } => {
                must!(!std::mem::replace(&mut link.connected, true), "a second CONNACK");
            }
            OutPacket::Publish { message, delivery, retain } => {
                must!(link.connected, "a PUBLISH before CONNACK");
                must!(room > 0, "the outbox was full");
                self.on_delivery(outgoing.link, &client, message, *delivery, *retain)?;
            }
            OutPacket::PubRel(id) => {
                let session = self.session(&client);
                let known = session.owed.iter().filter_map(|owed| owed.sent);
                let known: Vec<Sent> = known.filter(|sent| sent.id == id.get()).collect();
                must!(known.iter().all(|sent| sent.released), "PUBREL before PUBREC");
            }
            _ => {}
        }
        Ok(())
    }

    /// Two links ended with one input, and the one's will was on its way to the other.
    fn on_too_late(&mut self, outgoing: &Outgoing) -> Verdict {
        let client = self.parted.get(&outgoing.link).cloned();
        let kept = client.filter(|client| self.state.sessions.contains_key(client));
        match (&outgoing.packet, kept) {
            (OutPacket::Publish { message, delivery, retain: false }, Some(client))
                if delivery.qos() > QoS::AtMostOnce =>
            {
                self.on_delivery(outgoing.link, &client, message, *delivery, false)
            }
            (OutPacket::Publish { message, .. }, Some(client)) => {
                let number = self.number(message);
                self.session(&client).owed.retain(|o| o.message != number || o.sent.is_some());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn on_delivery(
        &mut self,
        link: LinkId,
        client: &str,
        message: &Message,
        delivery: Delivery,
        retain: bool,
    ) -> Verdict {
        let number = self.number(message);
        let qos = delivery.qos();
        let (id, dup) = match delivery {
            Delivery::AtMostOnce => (0, false),
            Delivery::AtLeastOnce { id, dup } | Delivery::ExactlyOnce { id, dup } => {
                (id.get(), dup)
            }
        };
        if dup {
            self.tally.repeated += 1;
            let session = self.session(client);
            let sent = session.owed.iter().filter(|owed| owed.message == number);
            let sent = sent.filter_map(|owed| owed.sent).find(|sent| sent.id == id);
            let Some(sent) = sent else { return Err("repeated, but never sent".into()) };
            must!(!sent.released, "PUBLISH again after PUBREC");
            let link = self.link(link);
            must!(link.repeated < sent.step, "repeated in another order");
            link.repeated = sent.step;
            return Ok(());
        }
        let sent = Sent { id, step: self.steps, released: false };
        self.steps += 1;
        let in_flight_max = usize::from(self.limits.inflight_max);
        let (qos2, qos2_max) = (QoS::ExactlyOnce, usize::from(self.limits.inflight_qos2_max));
        let step = self.steps;
        if id > 0 {
            let in_flight = self.session(client).owed.iter();
            let in_flight: Vec<(Sent, QoS)> =
                in_flight.filter_map(|owed| Some((owed.sent?, owed.qos))).collect();
            must!(in_flight.iter().all(|(other, _)| other.id != id), "the id is in use");
            must!(in_flight.len() < in_flight_max, "more than {in_flight_max} in flight");
            let unreleased = |(sent, qos): &&(Sent, QoS)| *qos == qos2 && !sent.released;
            let fits = qos != qos2 || in_flight.iter().filter(unreleased).count() < qos2_max;
            must!(fits, "more than {qos2_max} to remember at QoS 2");
        }
        if retain {
            return self.on_retained(client, number, qos, Sent { step, ..sent });
        }
        self.tally.delivered += 1;
        self.on_first(client, number, qos, Sent { step, ..sent })
    }

    /// A message goes to this client for the first time: it was owed it, itself or as a member of a
    /// share. What it is owed itself comes in order (I10).
    fn on_first(&mut self, client: &str, number: u32, qos: QoS, sent: Sent) -> Verdict {
        let session = self.state.sessions.get_mut(client).ok_or("no session")?;
        let session = Rc::make_mut(session);
        let published = &self.published[number as usize];
        let order = (published.by.clone(), published.topic.clone(), published.qos, qos);
        let before = session.last.get(&order).copied().unwrap_or(0);
        // What was dropped from a full queue is owed for ever; a repetition of it is not that.
        let fresh = |owed: &Owed| owed.message == number && owed.qos == qos && owed.sent.is_none();
        let next = |owed: &Owed| fresh(owed) && owed.step > before;
        let mut own = session.owed.iter().position(next);
        if session.changed.keys().any(|filter| filter.starts_with("$share/")) {
            // Which of two copies came by the share cannot be told.
            own = own.or_else(|| session.owed.iter().position(fresh));
        }
        let shared = self.state.shared.iter().position(|owed| {
            let member = session.changed.contains_key(&owed.share);
            owed.message == number && member && qos <= published.qos
        });
        if let Some(at) = own {
            session.last.insert(order, session.owed[at].step);
            session.owed[at].sent = Some(sent);
            if qos == QoS::AtMostOnce {
                session.owed.remove(at);
                session.settled.insert(number);
            }
            return Ok(());
        }
        let Some(at) = shared else { return Err(format!("nobody owes {client} this {number}")) };
        self.tally.shared += 1;
        let SharedOwed { share, step, .. } = Rc::make_mut(&mut self.state.shared).remove(at);
        if qos > QoS::AtMostOnce {
            let (sent, share) = (Some(sent), Some(share));
            session.owed.push(Owed { message: number, qos, step, sent, share });
        }
        Ok(())
    }

    fn on_retained(&mut self, client: &str, number: u32, qos: QoS, sent: Sent) -> Verdict {
        self.tally.retained += 1;
        let published = &self.published[number as usize];
        let (topic, most) = (published.topic.clone(), published.qos);
        must!(published.retain && !published.empty, "this was never retained");
        let session = self.state.sessions.get_mut(client).ok_or("no session")?;
        let session = Rc::make_mut(session);
        let wanted = session.replays.keys().filter(|filter| matches(filter, &topic));
        let granted: Vec<QoS> = wanted.map(|f| session.subscriptions[f].min(most)).collect();
        let begun = session.settled.contains(&number);
        must!(granted.contains(&qos) || begun, "no subscription brings this");
        for (filter, open) in &mut session.replays {
            if matches(filter, &topic) {
                open.remove(&topic);
            }
        }
        if qos > QoS::AtMostOnce {
            let (message, step) = (number, sent.step);
            session.owed.push(Owed { message, qos, step, sent: Some(sent), share: None });
        }
        Ok(())
    }

    /// A packet has left: from here on the client may rely on it.
    pub fn on_left(&mut self, link: LinkId, packet: &OutPacket) {
        let Some(link) = self.links.get_mut(&link) else { return };
        let client = link.client.clone();
        match packet {
            OutPacket::ConnAck { .. } => {
                self.kept.wills.extend(link.will);
                let session = &self.state.sessions[&client];
                if !session.clean {
                    self.kept.sessions.insert(client, session.born);
                }
            }
            OutPacket::PubAck(_) | OutPacket::PubRec(_) => {
                let Some((_, number)) = link.answers.pop_front() else { return };
                for (client, born) in self.kept.expected.get(&number).into_iter().flatten() {
                    self.kept.messages.insert((number, client.clone(), *born));
                }
                if let Some(step) = self.kept.retained_by.get(&number) {
                    let topic = self.published[number as usize].topic.clone();
                    let known = self.kept.retained.entry(topic).or_default();
                    *known = (*known).max(*step);
                }
            }
            OutPacket::SubAck(..) | OutPacket::UnsubAck(_) => {
                let Some((_, filters)) = link.granted.pop_front() else { return };
                let kept = self.state.sessions.get(&client).filter(|session| !session.clean);
                let Some(session) = kept else { return };
                for (filter, step) in filters {
                    self.kept.filters.insert((client.clone(), session.born, filter), step);
                }
            }
            _ => {}
        }
    }

    pub fn on_committed(&mut self, watermark: u64) {
        while self.states.get(1).is_some_and(|(batch, _)| *batch <= watermark) {
            self.states.pop_front();
        }
    }

    /// The power went: back to what is on disk, and every promise is still kept.
    pub fn on_crash(&mut self, disk: &Snapshot) -> Verdict {
        self.tally.crashes += 1;
        self.tally.rolled_back += self.states.len() as u64 - 1;
        let before = std::mem::replace(&mut self.state, self.states[0].1.clone());
        self.states.truncate(1);
        self.forget_dropped(disk)?;
        self.states[0].1 = self.state.clone();
        for (client, born) in &self.kept.sessions {
            let then = before.sessions.get(client).is_some_and(|session| session.born == *born);
            let now = self.state.sessions.get(client).is_some_and(|session| session.born == *born);
            must!(now || !then, "the session of {client} is lost");
        }
        for (number, client, born) in &self.kept.messages {
            let session = self.state.sessions.get(client).filter(|session| session.born == *born);
            let Some(session) = session else { continue };
            let kept = session.owed.iter().any(|owed| owed.message == *number);
            let kept = kept || session.settled.contains(number);
            must!(kept, "{client} was to get message {number}, which is lost");
        }
        for ((client, born, filter), step) in &self.kept.filters {
            let session = self.state.sessions.get(client).filter(|session| session.born == *born);
            let Some(session) = session else { continue };
            let kept = session.changed.get(filter).is_some_and(|changed| changed >= step);
            let changed = session.changed.get(filter);
            must!(kept, "{client}'s {filter} of step {step} is lost: {changed:?}");
        }
        for (topic, step) in &self.kept.retained {
            let kept = self.state.retained.get(topic).is_some_and(|(_, kept)| kept >= step);
            must!(kept, "the retained message of {topic} is lost");
        }
        let on_disk: Vec<u32> = disk.wills.values().map(number).collect();
        for link in self.links.values() {
            let promised = link.will.filter(|will| self.kept.wills.contains(will));
            let kept = promised.is_none_or(|will| on_disk.contains(&will));
            must!(kept, "the will of {} is lost", link.client);
        }
        let twice = on_disk.iter().find(|will| self.state.fired.contains(will));
        must!(twice.is_none(), "will {twice:?} would be published twice");
        self.recovered = on_disk;
        self.links.clear();
        let clean = self.state.sessions.iter().filter(|(_, session)| session.clean);
        for client in clean.map(|(client, _)| client.clone()).collect::<Vec<_>>() {
            self.end_session(&client);
        }
        for session in self.state.sessions.values_mut() {
            Rc::make_mut(session).connected = false;
        }
        Ok(())
    }

    /// What a kept session was owed and the disk does not have was dropped, and counted. It is owed
    /// no more: when its publisher sends it again, that is another message.
    fn forget_dropped(&mut self, disk: &Snapshot) -> Verdict {
        let mut queues: BTreeMap<&str, Vec<(u32, QoS)>> = BTreeMap::new();
        for (client, session) in &disk.sessions {
            let own = session.queue.iter().filter(|passage| passage.share.is_none());
            let own = own.map(|own| (self.number(&disk.messages[&own.key].message), own.qos));
            queues.insert(client, own.collect());
        }
        let mut missing = 0;
        for (client, session) in &mut self.state.sessions {
            let Some(queue) = queues.get_mut(client.as_str()) else { continue };
            Rc::make_mut(session).owed.retain(|owed| {
                let is_it = |queued: &(u32, QoS)| *queued == (owed.message, owed.qos);
                let at = queue.iter().position(is_it).filter(|_| owed.sent.is_none());
                at.map(|at| queue.remove(at));
                let kept = at.is_some() || owed.sent.is_some();
                missing += u64::from(!kept);
                kept
            });
        }
        let dropped = std::mem::take(&mut self.state.dropped);
        self.tally.dropped += dropped;
        must!(missing <= dropped, "{missing} messages are missing, {dropped} were counted");
        Ok(())
    }

    /// Nobody has been silent for too long.
    pub fn check_silence(&self, now: u64) -> Verdict {
        for link in self.links.values() {
            let over = link.silence_max_ms > 0 && now > link.last_heard + link.silence_max_ms;
            must!(!over, "{} is silent for too long", link.client);
        }
        Ok(())
    }

    /// All is calm and drained: nobody is owed anything, but for what was dropped and counted.
    pub fn check_drained(&mut self, snapshot: &Snapshot) -> Verdict {
        let dropped = self.state.dropped;
        self.tally.dropped += dropped;
        let mut missing = 0;
        for (client, session) in &self.state.sessions {
            for owed in &session.owed {
                must!(owed.sent.is_none(), "{client} has not settled {}", owed.message);
                missing += 1;
            }
            let replay = session.replays.iter().find(|(_, open)| !open.is_empty());
            must!(replay.is_none(), "{client} did not get what was retained: {replay:?}");
        }
        must!(missing <= dropped, "{missing} messages are missing, {dropped} were counted");
        let ours = self.state.retained.iter();
        let ours = ours.filter_map(|(topic, (message, _))| Some((topic.as_str(), (*message)?)));
        let ours: Vec<(&str, u32)> = ours.collect();
        let theirs = snapshot.retained.iter();
        let theirs: Vec<(&str, u32)> =
            theirs.map(|(topic, message)| (&**topic, number(message))).collect();
        must!(ours == theirs, "retained: {ours:?}, but the engine has {theirs:?}");
        Ok(())
    }

    fn link(&mut self, link: LinkId) -> &mut Link {
        self.links.get_mut(&link).expect("the caller has seen that it is there")
    }

    fn session(&mut self, client: &str) -> &mut Session {
        let session = self.state.sessions.get_mut(client);
        Rc::make_mut(session.unwrap_or_else(|| panic!("{client} has a link, so it has a session")))
    }

    /// Which message this is. The empty ones of a topic are all the same.
    fn number(&self, message: &Message) -> u32 {
        if !message.payload().is_empty() {
            return number(message);
        }
        let topic = message.topic().as_str();
        let empty = |published: &Published| published.empty && published.topic == topic;
        let at = self.published.iter().position(empty).expect("somebody published it");
        at as u32
    }
}

/// The number in a payload.
fn number(message: &Message) -> u32 {
    let bytes = message.payload().first_chunk().expect("a payload of ours begins with a number");
    u32::from_be_bytes(*bytes)
}

/// A shared subscription's filter without its share.
fn plain(filter: &str) -> &str {
    match filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/')) {
        Some((_, filter)) => filter,
        None => filter,
    }
}

/// Whether a filter matches a topic.
fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    let mut words = filter.split('/');
    loop {
        match (words.next(), levels.next()) {
            (Some("#"), _) => return true,
            (Some("+"), Some(_)) => {}
            (Some(word), Some(level)) if word == level => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}
