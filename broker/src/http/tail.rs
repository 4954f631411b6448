//! A live tail: a subscription whose messages an HTTP reader takes as they come. Who is too slow
//! loses messages at the bound of every client, and is told so among those it gets.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use martlet_codec::ids::PacketId;
use martlet_codec::reason::QoS;
use martlet_engine::effects::OutPacket;
use martlet_engine::filter::Filter;
use martlet_engine::input::InPacket;
use martlet_engine::message::Message;
use tokio::time::{Sleep, sleep};

use crate::http::Shared;
use crate::http::link::{self, Client};
use crate::http::login::Caller;
use crate::http::problem::Problem;
use crate::http::push::closed;

/// What a reader hears.
#[derive(Debug)]
pub(super) enum Event {
    /// A message; whether it was retained before the reader came.
    Message(Message, bool),
    /// So many messages were lost because the reader is slow.
    Dropped(u64),
    /// Nothing has come for a while, and all is well.
    Alive,
}

/// The tail.
#[derive(Debug)]
pub(super) struct Tail {
    shared: Arc<Shared>,
    client: Client,
    ready: VecDeque<Event>,
    /// Messages that the reader was told are lost.
    lost: u64,
    /// Only the last message of each topic, so often.
    sampled: Option<Sampled>,
    /// Ends when it is time to say that all is well.
    quiet: Pin<Box<Sleep>>,
    /// Ends when the caller's token does.
    end: Option<Pin<Box<Sleep>>>,
}

/// The last message of each topic since the last time they were handed out.
#[derive(Debug)]
struct Sampled {
    every: Duration,
    next: Pin<Box<Sleep>>,
    latest: BTreeMap<Box<str>, (Message, bool)>,
}

/// After how long without a message the reader is told that all is well.
pub(super) const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// Topics whose last message is kept between two times. At the bound: messages of others are lost,
/// and the reader is told how many.
const SAMPLED_TOPICS_MAX: usize = 10_000;

impl Tail {
    /// Subscribes. `every`: only the last message of each topic, so often.
    ///
    /// # Errors
    /// When the caller may not subscribe to that.
    pub(super) async fn begin(
        shared: &Arc<Shared>,
        caller: &Caller,
        filter: Filter,
        every: Option<Duration>,
    ) -> Result<Self, Problem> {
        let (client, heard) = subscribe(shared, caller, filter).await?;
        let sampled = every.map(|every| Sampled {
            every,
            next: Box::pin(sleep(every)),
            latest: BTreeMap::new(),
        });
        let (ready, quiet) = (VecDeque::new(), Box::pin(sleep(ALIVE_EVERY)));
        let shared = Arc::clone(shared);
        let end = caller.ends_after().map(|after| Box::pin(sleep(after)));
        let mut tail = Self { shared, client, ready, lost: 0, sampled, quiet, end };
        tail.keep(heard);
        Ok(tail)
    }

    /// The next event; `None` when the broker stops, or the caller's token has ended.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        if self.end.as_mut().is_some_and(|end| end.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(None);
        }
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.quiet.set(sleep(ALIVE_EVERY));
                return Poll::Ready(Some(event));
            }
            let mut heard = Vec::new();
            match self.client.poll_hear(cx, &mut heard) {
                Poll::Ready(Ok(())) => {
                    self.note_losses();
                    self.keep(heard);
                }
                Poll::Ready(Err(_)) => return Poll::Ready(None),
                Poll::Pending if self.poll_sample(cx).is_ready() => {}
                Poll::Pending => {
                    std::task::ready!(self.quiet.as_mut().poll(cx));
                    self.ready.push_back(Event::Alive);
                }
            }
        }
    }

    fn keep(&mut self, heard: Vec<OutPacket>) {
        for packet in heard {
            let OutPacket::Publish { message, retain, .. } = packet else { continue };
            let Some(Sampled { latest, .. }) = &mut self.sampled else {
                self.ready.push_back(Event::Message(message, retain));
                continue;
            };
            let topic = message.topic();
            if let Some(place) = latest.get_mut(topic.as_str()) {
                *place = (message, retain);
            } else if latest.len() < SAMPLED_TOPICS_MAX {
                latest.insert(topic.as_str().into(), (message, retain));
            } else {
                self.lose(1);
            }
        }
    }

    /// Hands out what was sampled, if it is time to and there is something.
    fn poll_sample(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(sampled) = &mut self.sampled else { return Poll::Pending };
        std::task::ready!(sampled.next.as_mut().poll(cx));
        sampled.next.set(sleep(sampled.every));
        let latest = std::mem::take(&mut sampled.latest);
        self.ready
            .extend(latest.into_values().map(|(message, retain)| Event::Message(message, retain)));
        Poll::Ready(())
    }

    /// Whoever has lost messages had a full outbox before it took from it.
    fn note_losses(&mut self) {
        if !self.client.was_pressed() {
            return;
        }
        let more = newly_lost(&mut self.lost, self.client.tally().dropped);
        if more > 0 {
            self.lose(more);
        }
    }

    fn lose(&mut self, count: u64) {
        self.shared.counted.tail_dropped.fetch_add(count, Ordering::Relaxed);
        match self.ready.back_mut() {
            Some(Event::Dropped(before)) => *before += count,
            _ => self.ready.push_back(Event::Dropped(count)),
        }
    }
}

/// What was lost besides what the reader was told. Of a link that has ended nobody knows any more.
fn newly_lost(told: &mut u64, lost: u64) -> u64 {
    let more = lost.saturating_sub(*told);
    *told += more;
    more
}

/// A client of this caller that has subscribed, and what it heard with the answer.
///
/// # Errors
/// When the caller may not subscribe to that.
pub(super) async fn subscribe(
    shared: &Shared,
    caller: &Caller,
    filter: Filter,
) -> Result<(Client, Vec<OutPacket>), Problem> {
    let mut client = link::open(&shared.driver, &shared.gate, caller);
    let subscriptions = Box::new([(filter, QoS::AtMostOnce)]);
    client.say(InPacket::Subscribe { id: PacketId::FIRST, subscriptions, beyond: 0 });
    let mut all = Vec::new();
    loop {
        let heard = client.hear().await.map_err(closed)?;
        let is_refused = heard.iter().find_map(|packet| match packet {
            OutPacket::SubAck(_, codes) => Some(codes.contains(&0x80)),
            _ => None,
        });
        all.extend(heard);
        match is_refused {
            Some(true) => {
                return Err(Problem::forbidden("this user may not subscribe to that filter"));
            }
            Some(false) => return Ok((client, all)),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_link_that_has_ended_has_lost_nothing_more() {
        let mut told = 0;
        // (its tally, what the reader is told)
        for (tally, more) in [(0, 0), (3, 3), (3, 0), (7, 4), (0, 0)] {
            assert_eq!(super::newly_lost(&mut told, tally), more, "{tally}");
        }
    }
}
