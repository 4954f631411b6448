//! Messages from publishers to subscribers through a broker, one thread, as fast as the windows
//! allow.

use std::collections::VecDeque;
use std::os::fd::AsRawFd;
use std::time::Duration;

use martlet_codec::ids::PacketId;
use martlet_codec::packet::{Ack, Delivery, Packet, Publish};
use martlet_codec::reason::QoS;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::clock::now_ns;
use crate::error::BenchError;
use crate::line::{Line, Route};
use crate::peer::Peer;
use crate::scenario::{Scenario, Sessions};
use crate::tally::{Account, Faults, Histogram, Window};
use crate::wire::{self, Stamp, Template};

/// Without one packet for so long, what has not come is lost.
const STALL_NS: u64 = 10_000_000_000;
const READ_BUFFER: usize = 256 << 10;

/// When publishers stop: at the first of the two.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) seconds: f64,
    /// Deliveries, all subscribers together.
    pub(crate) deliveries: u64,
}

/// When messages are due.
#[derive(Clone, Copy, Debug)]
struct Pace {
    start_ns: u64,
    publishers: u64,
    /// Of all publishers together.
    rate: Option<u64>,
}

impl Pace {
    /// The time from which a publisher's message counts, if it is due: not when it could be sent
    /// but when it should have been, so that a broker that holds up its publishers is not spared
    /// the delays of what they would have sent meanwhile.
    fn due(&self, publisher: usize, sequence: u64, now: u64) -> Option<u64> {
        let Some(rate) = self.rate else { return Some(now) };
        let place = sequence * self.publishers + publisher as u64;
        let due = self.start_ns + (place as f64 * 1e9 / rate as f64) as u64;
        (due <= now).then_some(due)
    }

    /// How long to wait for something to come: not at all where something may be due meanwhile.
    fn patience(&self) -> Duration {
        if self.rate.is_some() { Duration::ZERO } else { Duration::from_millis(50) }
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) published: u64,
    pub(crate) delivered: u64,
    pub(crate) faults: Faults,
    /// From the first PUBLISH to the last packet; of sessions that were away, to the last
    /// acknowledgement.
    pub(crate) seconds: f64,
    /// From PUBLISH to its arrival.
    pub(crate) delays: Histogram,
    /// From PUBLISH to PUBACK.
    pub(crate) acknowledgements: Histogram,
}

/// All clients of a scenario, connected and subscribed. Publishers come first, then subscribers.
pub(crate) struct Load {
    scenario: Scenario,
    route: Route,
    pace: Pace,
    poll: Poll,
    peers: Vec<Peer>,
    publishers: Vec<Publisher>,
    subscribers: Vec<Vec<Account>>,
    buffer: Vec<u8>,
    delivered: u64,
    violations: u64,
    delays: Histogram,
    acknowledgements: Histogram,
    /// When something last came.
    last_ns: u64,
}

struct Publisher {
    template: Template,
    window: Window,
    next_id: PacketId,
    /// PUBLISHes without PUBACK or PUBREC and when they were sent, oldest first: acknowledgements
    /// come in that order [MQTT-4.6.0-2].
    unacknowledged: VecDeque<(PacketId, u64)>,
    /// PUBRELs without PUBCOMP.
    released: VecDeque<PacketId>,
}

impl Load {
    /// Connects everybody.
    pub(crate) fn connect(route: &Route, scenario: &Scenario) -> Result<Self, BenchError> {
        let mut load = Self {
            scenario: scenario.clone(),
            route: route.clone(),
            pace: Pace { start_ns: 0, publishers: scenario.publishers as u64, rate: scenario.rate },
            poll: Poll::new().map_err(BenchError::system("epoll"))?,
            peers: Vec::new(),
            publishers: (0..scenario.publishers).map(|n| Publisher::new(scenario, n)).collect(),
            subscribers: Vec::new(),
            buffer: vec![0; READ_BUFFER],
            delivered: 0,
            violations: 0,
            delays: Histogram::default(),
            acknowledgements: Histogram::default(),
            last_ns: 0,
        };
        for n in 0..scenario.publishers {
            load.register(Line::connect(route, n, true, None)?)?;
        }
        for n in 0..scenario.subscribers {
            let subscribe = wire::subscribe(&scenario.filter(n), scenario.qos);
            load.connect_subscriber(n, Some(&subscribe), scenario.sessions != Sessions::Away)?;
            load.subscribers.push((0..scenario.publishers).map(|_| Account::default()).collect());
        }
        Ok(load)
    }

    /// Publishes within `bounds`, then waits until all has come or nothing comes any more.
    pub(crate) fn run(mut self, bounds: Bounds) -> Result<Outcome, BenchError> {
        let start_ns = now_ns();
        (self.last_ns, self.pace.start_ns) = (start_ns, start_ns);
        let end_ns = start_ns + (bounds.seconds * 1e9) as u64;
        let messages = (self.publishers.len() * self.scenario.receivers()) as u64;
        let quota = bounds.deliveries.div_ceil(messages.max(1)).max(1);
        self.exchange(end_ns, quota, Self::is_acknowledged)?;
        if self.scenario.sessions == Sessions::Away {
            let seconds = self.seconds_since(start_ns);
            for n in 0..self.scenario.subscribers {
                self.connect_subscriber(n, None, true)?;
            }
            self.last_ns = now_ns();
            self.exchange(0, 0, Self::is_delivered)?;
            return Ok(self.outcome(seconds));
        }
        self.exchange(end_ns, 0, Self::is_delivered)?;
        let seconds = self.seconds_since(start_ns);
        Ok(self.outcome(seconds))
    }

    /// Publishes until that time or quota, and receives until it `is_done` or nothing comes.
    fn exchange(
        &mut self,
        end_ns: u64,
        quota: u64,
        is_done: impl Fn(&Self) -> bool,
    ) -> Result<(), BenchError> {
        let mut events = Events::with_capacity(1024);
        let mut now = now_ns();
        while now < end_ns.max(self.last_ns + STALL_NS) {
            let quota = if now < end_ns { quota } else { 0 };
            self.publish(quota, now)?;
            let has_published =
                || self.publishers.iter().all(|publisher| publisher.window.sent() >= quota);
            if has_published() && is_done(self) {
                break;
            }
            match self.poll.poll(&mut events, Some(self.pace.patience())) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                polled => polled.map_err(BenchError::system("epoll_wait"))?,
            }
            now = now_ns();
            for event in &events {
                self.receive(event.token().0, now)?;
            }
        }
        Ok(())
    }

    fn seconds_since(&self, start_ns: u64) -> f64 {
        (self.last_ns - start_ns) as f64 / 1e9
    }

    fn connect_subscriber(
        &mut self,
        n: usize,
        subscribe: Option<&[u8]>,
        stays: bool,
    ) -> Result<(), BenchError> {
        let clean_session = self.scenario.sessions == Sessions::Clean;
        let n = self.scenario.publishers + n;
        let line = Line::connect(&self.route, n, clean_session, subscribe)?;
        if stays { self.register(line) } else { Ok(()) }
    }

    fn register(&mut self, line: Line) -> Result<(), BenchError> {
        let peer = Peer::new(line)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = Token(self.peers.len());
        let socket = peer.line.socket().as_raw_fd();
        let registered = self.poll.registry().register(&mut SourceFd(&socket), token, interest);
        registered.map_err(BenchError::system("epoll_ctl"))?;
        self.peers.push(peer);
        Ok(())
    }

    /// Lets every publisher fill its window and send it in one piece.
    fn publish(&mut self, quota: u64, now: u64) -> Result<(), BenchError> {
        for (n, (publisher, peer)) in self.publishers.iter_mut().zip(&mut self.peers).enumerate() {
            while publisher.may_send(&self.scenario, quota)
                && let Some(due) = self.pace.due(n, publisher.window.sent(), now)
            {
                publisher.send(n, self.scenario.qos, due, &mut peer.out);
            }
            peer.flush()?;
        }
        Ok(())
    }

    fn is_acknowledged(&self) -> bool {
        self.publishers.iter().all(|publisher| publisher.in_flight() == 0)
    }

    fn is_delivered(&self) -> bool {
        self.is_acknowledged() && self.publishers.iter().all(|p| p.window.len() == 0)
    }

    /// Reads all that has come for one client and answers it in one piece.
    fn receive(&mut self, token: usize, now: u64) -> Result<(), BenchError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Some((filled, more)) = self.peers[token].read(&mut buffer)? {
            let mut at = 0;
            while let Some((packet, len)) = wire::next(&buffer[at..filled])? {
                self.on_packet(token, &packet, now);
                at += len;
            }
            self.peers[token].keep(&buffer[at..filled]);
            self.last_ns = now;
            if !more {
                break;
            }
        }
        self.buffer = buffer;
        self.peers[token].flush()
    }

    fn on_packet(&mut self, token: usize, packet: &Packet<'_>, now: u64) {
        let out = &mut self.peers[token].out;
        let legal = match token.checked_sub(self.publishers.len()) {
            None => {
                let (publisher, delays) = (&mut self.publishers[token], &mut self.acknowledgements);
                publisher.on_acknowledgement(packet, self.scenario.qos, out, |sent_ns| {
                    delays.record(now.saturating_sub(sent_ns));
                })
            }
            Some(n) => match packet {
                Packet::Publish(publish) => self.on_publish(token, n, publish, now),
                Packet::PubRel(ack) => {
                    wire::acknowledge(out, Packet::PubComp, ack.id);
                    true
                }
                _ => false,
            },
        };
        self.violations += u64::from(!legal);
    }

    fn on_publish(&mut self, token: usize, n: usize, publish: &Publish<'_>, now: u64) -> bool {
        let out = &mut self.peers[token].out;
        let fresh = match publish.delivery {
            Delivery::AtMostOnce => true,
            Delivery::AtLeastOnce { id, dup } => {
                wire::acknowledge(out, Packet::PubAck, id);
                !dup
            }
            Delivery::ExactlyOnce { id, dup } => {
                wire::acknowledge(out, Packet::PubRec, id);
                !dup
            }
        };
        let Some(stamp) = Stamp::read(publish.payload) else { return false };
        let from = stamp.publisher as usize;
        if !self.scenario.hears(n, from) {
            return false;
        }
        self.delivered += 1;
        self.delays.record(now.saturating_sub(stamp.sent_ns));
        let known = !self.subscribers[n][from].receive(stamp.sequence)
            || self.publishers[from].window.receive(stamp.sequence);
        known && fresh && !publish.retain && publish.delivery.qos() == self.scenario.qos
    }

    fn outcome(self, seconds: f64) -> Outcome {
        let mut faults = Faults { violations: self.violations, ..Faults::default() };
        for (n, accounts) in self.subscribers.iter().enumerate() {
            for (from, account) in accounts.iter().enumerate() {
                if self.scenario.hears(n, from) {
                    faults.add(account.close(self.publishers[from].window.sent()));
                }
            }
        }
        Outcome {
            published: self.publishers.iter().map(|publisher| publisher.window.sent()).sum(),
            delivered: self.delivered,
            faults,
            seconds,
            delays: self.delays,
            acknowledgements: self.acknowledgements,
        }
    }
}

impl Publisher {
    fn new(scenario: &Scenario, n: usize) -> Self {
        Self {
            template: Template::new(&scenario.topic(n), scenario.qos),
            window: Window::new(scenario.receivers()),
            next_id: PacketId::FIRST,
            unacknowledged: VecDeque::new(),
            released: VecDeque::new(),
        }
    }

    fn in_flight(&self) -> usize {
        self.unacknowledged.len() + self.released.len()
    }

    fn may_send(&self, scenario: &Scenario, quota: u64) -> bool {
        self.window.len() < scenario.window
            && self.in_flight() < scenario.in_flight
            && self.window.sent() < quota
    }

    fn send(&mut self, n: usize, qos: QoS, now: u64, out: &mut Vec<u8>) {
        let publisher = u32::try_from(n).expect("a scenario has few publishers");
        let stamp = Stamp { publisher, sequence: self.window.send(), sent_ns: now };
        self.template.append(out, self.next_id, stamp);
        if qos != QoS::AtMostOnce {
            self.unacknowledged.push_back((self.next_id, now));
            self.next_id = self.next_id.next();
        }
    }

    /// Takes PUBACK, PUBREC and PUBCOMP in the order that they are due. `false`: not due.
    fn on_acknowledgement(
        &mut self,
        packet: &Packet<'_>,
        qos: QoS,
        out: &mut Vec<u8>,
        mut record: impl FnMut(u64),
    ) -> bool {
        let mut is_oldest = |id| match self.unacknowledged.pop_front() {
            Some((oldest, sent_ns)) => {
                record(sent_ns);
                oldest == id
            }
            None => false,
        };
        match (packet, qos) {
            (Packet::PubAck(Ack { id, .. }), QoS::AtLeastOnce) => is_oldest(*id),
            (Packet::PubRec(Ack { id, .. }), QoS::ExactlyOnce) => {
                self.released.push_back(*id);
                wire::acknowledge(out, Packet::PubRel, *id);
                is_oldest(*id)
            }
            (Packet::PubComp(Ack { id, .. }), QoS::ExactlyOnce) => {
                self.released.pop_front() == Some(*id)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;

    #[test]
    fn a_message_counts_from_when_it_should_have_been_sent() {
        let pace = Pace { start_ns: 1000, publishers: 4, rate: Some(1_000_000) };
        // Publisher 2's second message is the seventh of all, a microsecond behind the sixth.
        assert_eq!(pace.due(2, 1, 6999), None);
        assert_eq!(pace.due(2, 1, 7000), Some(7000));
        assert_eq!(pace.due(2, 1, 9_000_000), Some(7000), "however late it is");
        let free = Pace { rate: None, ..pace };
        assert_eq!(free.due(2, 1, 5), Some(5), "nothing is due before it can be sent");
    }
}
