//! What is due: silent links, forgotten sessions, replays that go on, `$SYS`.

use crate::Engine;
use crate::counters::Bound;
use crate::deadlines::Due;
use crate::effects::{Effects, Farewell, Notice};
use crate::input::{LinkId, Time};
use crate::session::{Attachment, SessionIndex};

/// How many deadlines one `Due` looks at; the rest stays due.
const DEADLINES_PER_INPUT: usize = 256;

impl Engine {
    pub(crate) fn on_due(&mut self, fx: &mut Effects) {
        for _ in 0..DEADLINES_PER_INPUT {
            match self.deadlines.pop(self.now) {
                Some(Due::KeepAlive(link, index)) => self.check_keep_alive(link, index, fx),
                Some(Due::Expiry(index)) => self.check_expiry(index, fx),
                None => break,
            }
        }
        self.replay_next(fx);
        self.publish_sys_topics(fx);
    }

    /// Drops the entries of links and sessions that are no more, once most are.
    pub(crate) fn forget_stale_deadlines(&mut self) {
        if self.deadlines.is_stale(self.sessions.len()) {
            let expiry_ms = self.expiry_ms().unwrap_or(u64::MAX);
            let Self { deadlines, sessions, links, .. } = self;
            deadlines.retain(|time, due| match due {
                Due::KeepAlive(link, index) => links.session(link) == Some(index),
                Due::Expiry(index) => sessions.at(index).is_some_and(|session| {
                    let Attachment::Detached { since } = session.attachment else { return false };
                    time.0 == since.0.saturating_add(expiry_ms)
                }),
            });
        }
    }

    /// Nothing came for one and a half times the Keep Alive: closes, and the will fires
    /// [MQTT-3.1.2-24]. If something came, looks again when that would be too long ago.
    fn check_keep_alive(&mut self, link: LinkId, index: SessionIndex, fx: &mut Effects) {
        if self.links.session(link) != Some(index) {
            return;
        }
        let Some(attached) = self.sessions[index].attached() else { return };
        let time = Time(attached.last_seen.0 + u64::from(attached.patience_ms));
        if time > self.now {
            self.deadlines.arm(time, Due::KeepAlive(link, index));
        } else {
            self.close(index, Farewell::KeepAliveExceeded, fx);
        }
    }

    fn check_expiry(&mut self, index: SessionIndex, fx: &mut Effects) {
        let Some(expiry_ms) = self.expiry_ms() else { return };
        let Some(session) = self.sessions.at(index) else { return };
        let Attachment::Detached { since } = session.attachment else { return };
        if self.own_bridges.contains(&session.client_id) {
            return; // its other broker may be away for longer than any client
        }
        if since.0.saturating_add(expiry_ms) > self.now.0 {
            return; // it was connected since, and has a later entry
        }
        let client_id = session.client_id.clone();
        let lost = self.end_session(index, fx);
        self.counters.sessions_expired += 1;
        self.counters.count_drops(Bound::SessionExpiry, lost);
        fx.notices.push(Notice::SessionExpired { client_id });
    }
}
