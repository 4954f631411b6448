//! When what stands in outboxes is sent: once for all that a worker's turn has brought.
//!
//! A worker of the runtime runs the tasks that are ready, and then waits for sockets. Outboxes that
//! its tasks fill are sent when it is about to wait: what fifty publishers bring to one subscriber
//! in that time is one write. A message that comes alone waits for nothing, since nothing else is
//! ready, and no task needs to be woken.
//!
//! Batches that found the engine busy are brought then too (`left`).
//!
//! The runtime says when a turn ends, if it is told to ([`runtime`]); where nobody does, each batch
//! is sent at once. A turn that goes on and on is ended by those who come to a socket ([`pass`]),
//! by the time, or by what it has filled.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Builder;

use crate::clock;
use crate::driver::link::Edge;
use crate::driver::{AbortOnPanic, left};

/// How often somebody comes to a socket, or fills outboxes, before what stands in them is sent.
const PASSES_MAX: u32 = 128;

/// How long it may stand in them meanwhile, as one who comes may take long: a handshake of TLS, or
/// messages that nobody wants.
pub const WAIT_MAX: Duration = Duration::from_millis(5);

/// How many threads have a name.
static NAMED: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static TURN: RefCell<Turn> = RefCell::default();
    static NAME: u32 = NAMED.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
}

/// One thread's.
#[derive(Default)]
struct Turn {
    /// Somebody says when it ends; so long may what is to send wait for that.
    wait_max: Option<Duration>,
    /// To send when it ends.
    to_send: Vec<Arc<dyn Edge>>,
    /// What was put into their outboxes, in the unit of `OutPacket::cost`.
    cost: u64,
    /// Since the first of them came.
    passes: u32,
    /// When that was seen.
    since: Option<Instant>,
}

/// What makes a runtime for one thread that says when its turns end, in which nothing waits longer
/// than `wait_max` for that ([`WAIT_MAX`], where no test counts).
pub fn runtime(wait_max: Duration) -> Builder {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().on_thread_park(move || end(wait_max));
    builder
}

/// Ends this thread's turn.
pub(super) fn end(wait_max: Duration) {
    TURN.with_borrow_mut(|turn| turn.wait_max = Some(wait_max));
    finish();
}

/// Whether somebody says when this thread's turns end.
pub(super) fn has_an_end() -> bool {
    TURN.with_borrow(|turn| turn.wait_max.is_some())
}

/// Sends what stands in outboxes, and then what comes of batches that found the engine busy.
pub(super) fn finish() {
    send_all();
    if left::is_any() {
        left::enter();
        send_all();
    }
}

/// Lets the other tasks of this worker have their turn. The runtime then looks at the sockets as if
/// it parked, but says so to nobody: what stands in outboxes is sent before.
#[expect(clippy::disallowed_methods, reason = "what this turn has brought is sent")]
pub async fn yield_now() {
    finish();
    tokio::task::yield_now().await;
}

/// The name of this thread among those that fill outboxes; never 0.
pub(super) fn of_this_thread() -> u32 {
    NAME.with(|name| *name)
}

/// Somebody who may do so again and again comes to a socket.
pub fn pass() {
    if TURN.with_borrow_mut(Turn::is_over_after_pass) {
        finish();
    }
}

/// Sends what was put into these outboxes, which costs `cost` there, when the turn ends, or now if
/// that is `cost_max` or more.
pub(super) fn send(edges: &mut Vec<Arc<dyn Edge>>, cost: u64, cost_max: u64) {
    edges.retain(|edge| {
        let gathers = edge.gathers();
        if !gathers {
            edge.send();
        }
        gathers
    });
    let is_over = TURN.with_borrow_mut(|turn| {
        turn.to_send.append(edges);
        turn.cost += cost;
        turn.is_over_after_pass() || turn.cost >= cost_max || turn.wait_max.is_none()
    });
    if is_over {
        send_all();
    }
}

/// Sends what stands in the outboxes of this thread's turn.
fn send_all() {
    // What one edge's panic would keep from those behind it, nobody else sends.
    let _abort = AbortOnPanic;
    let mut to_send = TURN.with_borrow_mut(|turn| {
        (turn.cost, turn.passes, turn.since) = (0, 0, None);
        std::mem::take(&mut turn.to_send)
    });
    to_send.drain(..).for_each(|edge| edge.send());
    TURN.with_borrow_mut(|turn| {
        // Whatever was added meanwhile stays; the room is kept.
        to_send.append(&mut turn.to_send);
        turn.to_send = to_send;
    });
}

impl Turn {
    fn is_over_after_pass(&mut self) -> bool {
        (!self.to_send.is_empty() || left::is_any()) && self.is_over_at(clock::monotonic())
    }

    fn is_over_at(&mut self, now: Instant) -> bool {
        self.passes += 1;
        let waits = now.saturating_duration_since(*self.since.get_or_insert(now));
        self.passes >= PASSES_MAX || self.wait_max.is_some_and(|most| waits >= most)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Display;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::driver::link::Link;
    use crate::driver::tests::driver;

    struct Sender {
        link: Link,
        gathers: bool,
        sends: AtomicU32,
    }

    impl Edge for Sender {
        fn link(&self) -> &Link {
            &self.link
        }

        fn send(&self) {
            self.sends.fetch_add(1, Ordering::Relaxed);
        }

        fn gathers(&self) -> bool {
            self.gathers
        }

        fn peer(&self) -> &dyn Display {
            &"test"
        }
    }

    const COST_MAX: u64 = 100;

    /// One step of a thread's turn.
    enum Step {
        Fill { gathers: bool, cost: u64 },
        Pass,
        End,
    }

    /// How often a thread that does these steps has sent after each of them.
    fn sends(steps: &[Step]) -> Vec<u32> {
        let edge = |gathers| {
            let (link, sends) = (Link::new(driver()), AtomicU32::new(0));
            Arc::new(Sender { link, gathers, sends })
        };
        let edges = [edge(false), edge(true)];
        let after = |step: &Step| {
            match *step {
                Step::Fill { gathers, cost } => {
                    let filled: Arc<dyn Edge> = edges[usize::from(gathers)].clone();
                    send(&mut vec![filled], cost, COST_MAX);
                }
                Step::Pass => pass(),
                Step::End => end(Duration::MAX),
            }
            edges.iter().map(|edge| edge.sends.load(Ordering::Relaxed)).sum()
        };
        // A thread whose turns nobody has ended yet.
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| steps.iter().map(after).collect());
            thread.join().expect("it does not panic")
        })
    }

    const FILL: Step = Step::Fill { gathers: true, cost: 1 };

    #[test]
    fn what_a_turn_brings_is_sent_once_when_it_ends() {
        assert_eq!(sends(&[Step::End, FILL, Step::Pass, Step::End, Step::End]), [0, 0, 0, 1, 1]);
    }

    #[test]
    fn where_nobody_says_when_turns_end_each_batch_is_sent() {
        assert_eq!(sends(&[FILL, FILL, Step::Pass]), [1, 2, 2]);
    }

    #[test]
    fn what_needs_no_system_call_is_sent_at_once() {
        let wakes = Step::Fill { gathers: false, cost: 1 };
        assert_eq!(sends(&[Step::End, FILL, wakes, Step::End]), [0, 0, 1, 2]);
    }

    #[test]
    fn a_turn_that_goes_on_is_ended_by_what_it_has_filled() {
        let half = Step::Fill { gathers: true, cost: COST_MAX / 2 };
        assert_eq!(sends(&[Step::End, FILL, half, FILL]), [0, 0, 0, 0]);
        let full = Step::Fill { gathers: true, cost: COST_MAX };
        assert_eq!(sends(&[Step::End, FILL, full, FILL]), [0, 0, 2, 2]);
    }

    #[test]
    fn a_turn_that_goes_on_is_ended_by_the_time() {
        let wait_max = Some(Duration::from_millis(5));
        let (mut turn, begin) = (Turn { wait_max, ..Turn::default() }, clock::monotonic());
        let seen = [0, 4, 5].map(|ms| turn.is_over_at(begin + Duration::from_millis(ms)));
        assert_eq!(seen, [false, false, true]);
    }

    #[test]
    fn a_turn_that_goes_on_is_ended_by_who_comes_to_a_socket() {
        let mut steps = vec![Step::End, FILL];
        steps.resize_with(1 + PASSES_MAX as usize, || Step::Pass);
        let sent = sends(&steps);
        let (last, before) = sent.split_last().expect("steps");
        assert_eq!((*last, before.iter().sum::<u32>()), (1, 0));
    }
}
