//! A client inside of the broker: its packets come and go in this process, over the one door that
//! every client uses, and under the same bounds.

use std::fmt;
use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use martlet_engine::effects::{Farewell, OutPacket};
use martlet_engine::input::{Connect, InPacket, Input, LinkId, LostCause};
use martlet_engine::permit::Permission;
use martlet_engine::report::{Ids, Tally};

use crate::driver::Driver;
use crate::driver::link::{Edge, Link};
use crate::driver::outbox::{Cost, Sent, Standing};

/// On whose behalf a client speaks.
pub trait Holder: Send + Sync {
    /// What it may do by the rules that hold now.
    fn permit(&self) -> Permission;

    /// Who it is, if that is known.
    fn user_name(&self) -> Option<&str>;

    /// Where it is, for the log.
    fn peer(&self) -> &dyn fmt::Display;

    /// Whether its coming and going is not worth a line of the log.
    fn is_quiet(&self) -> bool {
        false
    }
}

/// One link, held by one task. Dropped, it disconnects.
#[derive(Debug)]
pub struct Client {
    edge: Arc<Inside>,
    id: LinkId,
    /// Inputs that wait until the engine has taken those before them.
    unsent: Vec<Input>,
    pressed: bool,
}

/// The outer end of the link.
struct Inside {
    link: Link,
    holder: Box<dyn Holder>,
}

/// Bytes of packets, in the unit of [`OutPacket::cost`], that are taken from an outbox at a time.
const TAKEN_BYTES_MAX: u64 = 64 * 1024;

impl Client {
    /// A link for this holder; its CONNECT goes along with the first [`say`](Self::say).
    /// `room_bytes` of the CONNECT is [`Driver::outbox_bytes_max`], or 0 for who takes no messages.
    pub fn new(driver: &Arc<Driver>, holder: Box<dyn Holder>, connect: Connect) -> Self {
        let edge = Arc::new(Inside { link: Link::new(Arc::clone(driver)), holder });
        let id = edge.link.attach(Arc::clone(&edge) as Arc<dyn Edge>);
        let open = Input::Open { link: id, connect: Box::new(connect) };
        Self { edge, id, unsent: vec![open], pressed: false }
    }

    /// Puts a packet behind those that go to the engine with the next poll.
    pub fn say(&mut self, packet: InPacket) {
        self.unsent.push(Input::Packet { link: self.id, packet });
    }

    /// Whether the engine has not yet taken all that was said.
    pub fn is_behind(&self) -> bool {
        !self.unsent.is_empty() || self.edge.link.is_waiting()
    }

    /// Sends what was said, and takes packets that have come; waits until there are some.
    ///
    /// # Errors
    /// When the broker ends the link; everything before that was taken.
    pub fn poll_hear(
        &mut self,
        cx: &mut Context<'_>,
        heard: &mut Vec<OutPacket>,
    ) -> Poll<Result<(), Farewell>> {
        let farewell = self.pass_on(cx).farewell;
        self.edge.take(heard);
        if !heard.is_empty() {
            return Poll::Ready(Ok(()));
        }
        match farewell {
            // What is in front of it waits for the disk.
            Some(farewell) if self.edge.link.outbox().standing(cx.waker()).cost.all == 0 => {
                Poll::Ready(Err(farewell))
            }
            _ => Poll::Pending,
        }
    }

    /// Sends what was said, as far as the engine takes it, and leaves what has come where it is.
    pub fn pass_on(&mut self, cx: &mut Context<'_>) -> Standing {
        let link = &self.edge.link;
        loop {
            let standing = link.outbox().standing(cx.waker());
            // Nobody else may come to the engine for long: it hears of the room from us.
            let has_news = !self.unsent.is_empty() || standing.freed >= link.room_report_bytes();
            if link.is_waiting() || !has_news {
                self.pressed = standing.cost.all * 2 >= u64::from(link.outbox_bytes_max());
                return standing;
            }
            let edge: Arc<dyn Edge> = Arc::clone(&self.edge) as _;
            link.submit(&edge, &mut self.unsent);
            self.unsent.clear();
        }
    }

    /// As [`poll_hear`](Self::poll_hear).
    ///
    /// # Errors
    /// As there.
    pub async fn hear(&mut self) -> Result<Vec<OutPacket>, Farewell> {
        poll_fn(|cx| {
            let mut heard = Vec::new();
            ready!(self.poll_hear(cx, &mut heard))?;
            Poll::Ready(Ok(heard))
        })
        .await
    }

    /// Ends the link as a connection that broke: its Will is published.
    pub fn lose(mut self, cause: LostCause) {
        self.unsent.push(Input::Lost { link: self.id, cause });
    }

    /// What it may do by the rules that hold now.
    pub fn permit(&self) -> Permission {
        self.edge.permit()
    }

    /// Whether more than half of the outbox was taken when packets were last taken from it.
    pub fn was_pressed(&self) -> bool {
        self.pressed
    }

    /// What its session has done and lost so far.
    pub fn tally(&self) -> Tally {
        self.edge.link.driver().tally(self.id).unwrap_or_default()
    }

    /// Whether retained messages that its subscriptions asked for are still to come to its outbox.
    pub fn is_replaying(&self) -> bool {
        self.edge.link.driver().is_replaying(self.id)
    }

    /// The Packet Identifiers that its session has in use.
    pub fn ids(&self) -> Ids {
        self.edge.link.driver().ids(self.id).unwrap_or_default()
    }
}

impl Drop for Client {
    /// The link ends with its holder; the batch is the link's last, even if another waits.
    fn drop(&mut self) {
        let edge: Arc<dyn Edge> = Arc::clone(&self.edge) as _;
        self.say(InPacket::Disconnect);
        self.edge.link.submit(&edge, &mut self.unsent);
    }
}
impl Inside {
    /// Takes what may leave the outbox, as far as a reader wants it at a time.
    fn take(&self, heard: &mut Vec<OutPacket>) {
        let mut taken = 0;
        let mut next = self.link.begin(true);
        while let Some(mut packets) = next {
            let committed = self.link.committed();
            let mut cost = Cost::default();
            let goes = packets.iter().take_while(|queued| {
                let goes = queued.after_commit <= committed && taken < TAKEN_BYTES_MAX;
                if goes {
                    let more = Cost::of(&queued.packet);
                    cost += more;
                    taken += more.all;
                }
                goes
            });
            let goes = goes.count();
            heard.extend(packets.drain(..goes).map(|queued| queued.packet));
            next = self.link.end(Sent { left: packets, cost, blocked: false });
        }
    }
}

impl Edge for Inside {
    fn link(&self) -> &Link {
        &self.link
    }

    /// Whoever reads takes it, when it has room.
    fn send(&self) {
        self.link.outbox().wake();
    }

    fn permit(&self) -> Permission {
        self.holder.permit()
    }

    fn user_name(&self) -> Option<&str> {
        self.holder.user_name()
    }

    fn peer(&self) -> &dyn fmt::Display {
        self.holder.peer()
    }

    fn is_quiet(&self) -> bool {
        self.holder.is_quiet()
    }
}

impl fmt::Debug for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inside").field("link", &self.link).finish_non_exhaustive()
    }
}

/// Entropy for a client id: the standard library's random hash keys.
pub fn nonce() -> u64 {
    RandomState::new().hash_one(0_u8)
}
