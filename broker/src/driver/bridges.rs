//! What bridges to other brokers count, each by itself and all together.

use std::collections::BTreeMap;

use martlet_engine::input::{Bridges, Input};

use crate::driver::Driver;

/// The bridges that there are, by name, and what those did that are no more.
#[derive(Debug, Default)]
pub struct BridgeCounters {
    each: BTreeMap<Box<str>, BridgeCount>,
    former: Bridges,
}

/// One bridge since the broker started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BridgeCount {
    /// The client id of its session here.
    pub client_id: Box<str>,
    /// Whether it is connected.
    pub connected: bool,
    /// Connections that the other broker accepted: all but the first are reconnects.
    pub connections: u64,
    /// Messages that went out.
    pub sent: u64,
    /// Messages that came in.
    pub received: u64,
    /// Messages that could not cross.
    pub lost: u64,
    /// Messages at QoS 0 that were still to be sent when a connection ended.
    pub unsent: u64,
    /// Messages that sessions of it lost to a bound which ended with their connection.
    pub dropped: u64,
}

/// One bridge with what waits for it.
#[derive(Clone, Debug)]
pub struct BridgeView {
    /// Its name.
    pub name: Box<str>,
    /// What it counted.
    pub count: BridgeCount,
    /// Messages in its session here that the other broker has not acknowledged.
    pub queued: u64,
    /// Messages that its session, and those before it, lost to a bound.
    pub dropped: u64,
}

impl BridgeCounters {
    /// There is a bridge of this name, with this session.
    pub fn add(&mut self, name: &str, client_id: &str) {
        let count = BridgeCount { client_id: client_id.into(), ..BridgeCount::default() };
        self.each.entry(name.into()).or_insert(count).client_id = client_id.into();
    }

    /// There is no bridge of this name any more.
    pub fn remove(&mut self, name: &str) {
        if let Some(count) = self.each.remove(name) {
            self.former = sum(self.former, &BridgeCount { connected: false, ..count });
        }
    }

    /// Counts for one bridge.
    pub fn count(&mut self, name: &str, count: impl FnOnce(&mut BridgeCount)) {
        if let Some(one) = self.each.get_mut(name) {
            count(one);
        }
    }

    /// All together.
    pub fn totals(&self) -> Bridges {
        self.each.values().fold(self.former, sum)
    }
}

fn sum(all: Bridges, one: &BridgeCount) -> Bridges {
    Bridges {
        connected: all.connected + u64::from(one.connected),
        connections: all.connections + one.connections,
        sent: all.sent + one.sent,
        received: all.received + one.received,
        lost: all.lost + one.lost,
    }
}

impl Driver {
    /// The session with this client id is one of a bridge of this broker from here on, or is none
    /// any more: then it may expire as any other.
    pub fn own_bridge(&self, client_id: &str, is_one: bool) {
        self.submit_from_inside(vec![Input::OwnBridge { client_id: client_id.into(), is_one }]);
    }

    /// Every bridge, by name.
    pub fn bridges(&self) -> Vec<BridgeView> {
        let each = self.traffic.bridges.lock().each.clone();
        let core = self.core.lock();
        let view = |(name, count): (Box<str>, BridgeCount)| {
            let session = core.engine.session_of(&count.client_id);
            let queued =
                session.as_ref().map_or(0, |session| session.queued + session.unacknowledged);
            let dropped = count.dropped + session.map_or(0, |session| session.tally.dropped);
            BridgeView { name, count, queued, dropped }
        };
        let views = each.into_iter().map(view).collect();
        self.let_go(core);
        views
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_bridge_did_stays_counted_when_it_is_no_more() {
        let mut bridges = BridgeCounters::default();
        for name in ["a", "b"] {
            bridges.add(name, "local");
            bridges.count(name, |count| (count.connected, count.sent) = (true, 5));
        }
        bridges.add("a", "another session");
        bridges.remove("b");
        bridges.count("b", |count| count.sent += 1);
        let all = Bridges { connected: 1, sent: 10, ..Bridges::default() };
        assert_eq!(bridges.totals(), all);
    }
}
