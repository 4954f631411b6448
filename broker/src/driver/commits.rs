//! Facts on their way to the store, and the watermark that promises wait for (I2).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use martlet_engine::change::{Change, Recorded};
use martlet_engine::input::{StoreHealth, Time};
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::driver::AbortOnPanic;
use crate::driver::health::Health;
use crate::driver::link::Edge;
use crate::store::Store;

/// Facts on their way to the store.
///
/// Each batch of the engine that changed something gets a number. The store's thread takes all that
/// has gathered while it was busy as one commit (group commit: no delay of its own when idle), then
/// raises the watermark to the last number in it and lets the links that waited send.
pub(super) struct Commits {
    /// The store is volatile: there is nothing to wait for.
    volatile: bool,
    watermark: AtomicU64,
    gathering: Mutex<Gathering>,
    something_gathered: Condvar,
    health: Health,
    /// The driver's pump, which goes on with inputs that had to wait.
    on_room: Arc<Notify>,
}

#[derive(Default)]
struct Gathering {
    changes: Vec<Change>,
    waiting: Vec<Arc<dyn Edge>>,
    /// The number of the newest batch.
    newest: u64,
    stopping: bool,
    checkpoint_asked: bool,
    /// Of the messages in `changes`, each as often as it stands there.
    bytes: u64,
}

/// What one commit takes. The store's thread has one, and swaps it for what has gathered: the two
/// keep their room.
#[derive(Default)]
struct Batch {
    changes: Vec<Change>,
    waiting: Vec<Arc<dyn Edge>>,
    newest: u64,
}

/// What the store's thread does next.
enum Next {
    /// Commits what is in the batch.
    Commit,
    Checkpoint,
    /// Nothing has gathered in time.
    Nothing,
    Stop,
}

/// When the store's next tick is due.
struct Ticks {
    every: Duration,
    next: Time,
}

impl Ticks {
    fn begin(every: Duration, clock: Clock) -> Self {
        Self { every, next: after(every, clock) }
    }

    /// Ticks if it is time to; how long until the next.
    fn wait(&mut self, store: &mut dyn Store, clock: Clock) -> Duration {
        let wait = clock.until(self.next);
        if !wait.is_zero() {
            return wait;
        }
        if let Err(error) = store.tick() {
            tracing::error!(%error, "The store could not do what was due: {error}.");
        }
        *self = Self::begin(self.every, clock);
        self.every
    }
}

/// How long facts that nobody waits for may be without a sync. A subscriber's acknowledgement is
/// one: it then comes to the disk with the next message, not by itself.
const UNSYNCED_MAX: Duration = Duration::from_secs(1);

/// How long after a failed commit the next attempt comes.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Changes that may gather while the store is busy, and bytes of messages in them. At the bound the
/// engine takes no more inputs from links until the store takes these; nothing is lost.
const GATHERED_CHANGES_MAX: usize = 65_536;
const GATHERED_BYTES_MAX: u64 = 64 << 20;

/// Changes that a batch keeps room for when it is empty.
const KEPT_CHANGES: usize = 8192;

impl Commits {
    pub(super) fn start(
        store: Box<dyn Store>,
        on_room: Arc<Notify>,
        clock: Clock,
    ) -> (Arc<Self>, Option<JoinHandle<()>>) {
        let volatile = store.is_volatile();
        let commits = Arc::new(Self {
            volatile,
            watermark: AtomicU64::new(0),
            gathering: Mutex::default(),
            something_gathered: Condvar::new(),
            health: Health::new(&*store),
            on_room,
        });
        if volatile {
            return (commits, None);
        }
        let committer = Arc::clone(&commits);
        let thread = std::thread::Builder::new()
            .name("martlet-store".into())
            .spawn(move || committer.run(store, clock))
            .expect("a machine that starts a broker can start one more thread");
        (commits, Some(thread))
    }

    /// Whether the engine may make more changes.
    pub(super) fn has_room(&self) -> bool {
        self.volatile || self.gathering.lock().has_room()
    }

    /// The number that the promises of these changes wait for; 0 if there are none to wait for.
    /// Only whoever holds the engine asks, so that no other batch can take the number.
    pub(super) fn number_for(&self, changes: &[Change]) -> u64 {
        if changes.is_empty() || self.volatile { 0 } else { self.gathering.lock().newest + 1 }
    }

    /// Takes the changes of one batch, together with the links that hold promises resting on them:
    /// they are told when it is on disk.
    pub(super) fn add(&self, changes: &mut Vec<Change>, waiting: &mut Vec<Arc<dyn Edge>>) {
        if changes.is_empty() || self.volatile {
            changes.clear();
            return;
        }
        let bytes: u64 = changes.iter().map(message_bytes).sum();
        let mut gathering = self.gathering.lock();
        gathering.newest += 1;
        gathering.bytes += bytes;
        gathering.changes.append(changes);
        gathering.waiting.append(waiting);
        self.something_gathered.notify_one();
    }

    pub(super) fn watermark(&self) -> u64 {
        self.watermark.load(Ordering::Acquire)
    }

    /// Whether what it is given ends with the broker.
    pub(super) fn is_volatile(&self) -> bool {
        self.volatile
    }

    /// How the store is.
    pub(super) fn health(&self) -> StoreHealth {
        self.health.report()
    }

    /// Asks the store for a checkpoint once it has nothing else to do.
    pub(super) fn ask_for_checkpoint(&self) {
        if self.volatile {
            return tracing::info!("Nothing is saved: state is in memory only (data.sync).");
        }
        self.gathering.lock().checkpoint_asked = true;
        self.something_gathered.notify_one();
    }

    /// Lets the thread end once everything gathered is committed.
    pub(super) fn stop(&self) {
        self.gathering.lock().stopping = true;
        self.something_gathered.notify_one();
    }

    fn run(&self, mut store: Box<dyn Store>, clock: Clock) {
        let _abort = AbortOnPanic;
        let mut ticks = store.tick_every().map(|every| Ticks::begin(every, clock));
        let mut batch = Batch::default();
        // When what was noted must be synced.
        let mut unsynced: Option<Time> = None;
        loop {
            let tick = ticks.as_mut().map(|ticks| ticks.wait(&mut *store, clock));
            let sync = unsynced.map(|due| clock.until(due));
            if sync.is_some_and(|wait| wait.is_zero()) {
                unsynced = self.sync(&mut *store, clock);
                continue;
            }
            match self.next(&mut batch, tick.into_iter().chain(sync).min()) {
                Next::Commit if self.commit(&mut *store, &batch, clock) => {
                    unsynced = match batch.waiting.is_empty() {
                        true => unsynced.or(Some(after(UNSYNCED_MAX, clock))),
                        false => None,
                    };
                    self.watermark.store(batch.newest, Ordering::Release);
                    batch.waiting.drain(..).for_each(|edge| edge.send());
                    batch.changes.clear();
                    batch.changes.shrink_to(KEPT_CHANGES);
                }
                Next::Commit => return,
                Next::Checkpoint => match store.checkpoint() {
                    Ok(()) => tracing::info!(
                        "Saving: a checkpoint of the store has begun. What was acknowledged was \
                         on disk before."
                    ),
                    Err(error) => tracing::error!(%error, "The checkpoint failed: {error}."),
                },
                Next::Nothing => {}
                Next::Stop => break,
            }
        }
        if let Err(error) = store.close() {
            tracing::error!(%error, "The store was not closed in order; nothing is lost by that.");
        }
    }

    /// Makes safe what was noted; when to try again, if that fails. What waits for it waits for its
    /// commit, which syncs too.
    fn sync(&self, store: &mut dyn Store, clock: Clock) -> Option<Time> {
        let error = store.sync().err()?;
        tracing::warn!(%error, "What nobody waits for is not safe yet: {error}.");
        Some(after(RETRY_AFTER, clock))
    }

    /// Tries until it is done; `false` when the broker stops before that. Facts that no promise
    /// waits for are only noted.
    fn commit(&self, store: &mut dyn Store, batch: &Batch, clock: Clock) -> bool {
        let mut healthy = true;
        let mut keep = || match batch.waiting.is_empty() {
            true => store.note(&batch.changes),
            false => store.commit(&batch.changes),
        };
        while let Err(error) = keep() {
            self.health.failed(clock.now());
            if healthy {
                tracing::error!(
                    %error,
                    "The store failed: {error}. No acknowledgement leaves until it works again."
                );
            }
            healthy = false;
            let mut gathering = self.gathering.lock();
            if gathering.stopping {
                return false;
            }
            self.something_gathered.wait_for(&mut gathering, RETRY_AFTER);
        }
        if !healthy {
            self.health.recovered();
            tracing::warn!("The store works again: acknowledgements leave.");
        }
        true
    }

    /// Puts what has gathered into the batch, which is empty; at the latest after `wait`.
    fn next(&self, batch: &mut Batch, wait: Option<Duration>) -> Next {
        let mut gathering = self.gathering.lock();
        while gathering.changes.is_empty() {
            if gathering.stopping {
                return Next::Stop;
            }
            if std::mem::take(&mut gathering.checkpoint_asked) {
                return Next::Checkpoint;
            }
            match wait {
                None => self.something_gathered.wait(&mut gathering),
                Some(wait) => {
                    if self.something_gathered.wait_for(&mut gathering, wait).timed_out() {
                        return Next::Nothing;
                    }
                }
            }
        }
        if !gathering.has_room() {
            self.on_room.notify_one();
        }
        gathering.bytes = 0;
        std::mem::swap(&mut batch.changes, &mut gathering.changes);
        std::mem::swap(&mut batch.waiting, &mut gathering.waiting);
        batch.newest = gathering.newest;
        Next::Commit
    }
}

/// The time so long from now.
fn after(wait: Duration, clock: Clock) -> Time {
    Time(clock.now().0 + wait.as_millis() as u64)
}

impl Gathering {
    fn has_room(&self) -> bool {
        self.changes.len() < GATHERED_CHANGES_MAX && self.bytes < GATHERED_BYTES_MAX
    }
}

/// Of the message that a change alone may keep in memory.
fn message_bytes(change: &Change) -> u64 {
    match change {
        Change::KeepMessage { message, .. }
        | Change::Retain { message }
        | Change::KeepWill { will: message, .. }
        | Change::Record(Recorded { message, .. }) => message.len() as u64,
        _ => 0,
    }
}
