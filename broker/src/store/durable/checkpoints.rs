//! Checkpoints on their way to the state: one at a time, each until it is written.

use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;

use crate::store::StoreError;
use crate::store::state::{Checkpoint, State};

#[derive(Debug)]
pub(super) struct Checkpoints {
    state: Arc<State>,
    background: bool,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Idle,
    /// To be written when it is next asked for.
    Due(Place),
    Running(Place, JoinHandle<Result<u64, StoreError>>),
    /// Could not be written.
    Failed(Place),
}

/// A checkpoint until it is written. Whoever writes it lets it go too: it may be large, and commits
/// wait for nothing of it.
type Place = Arc<Mutex<Option<Checkpoint>>>;

/// How to ask whether a checkpoint is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ask {
    /// Only look.
    Look,
    /// As `Look`, but one that failed is tried again.
    Retry,
    /// Come back when it is done or failed.
    Wait,
}

/// By how much the thread that writes is nicer than the others: on one core it gets a third of what
/// each of them gets. A promise waits for the journal, and the journal for nobody but, at its
/// bound, for this thread; then the others have nothing to do.
const GIVES_WAY: i32 = 5;

impl Checkpoints {
    pub(super) fn new(state: State, background: bool) -> Self {
        Self { state: Arc::new(state), background, stage: Stage::Idle }
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Idle)
    }

    /// Takes a checkpoint to be written. Only when idle.
    pub(super) fn begin(&mut self, checkpoint: Checkpoint) {
        debug_assert!(self.is_idle(), "one checkpoint at a time");
        self.start(Arc::new(Mutex::new(Some(checkpoint))));
    }

    /// The position that the state has reached, once for each checkpoint.
    ///
    /// # Errors
    /// When it could not be written: it stays to be tried again.
    pub(super) fn finish(&mut self, ask: Ask) -> Result<Option<u64>, StoreError> {
        if let Stage::Failed(place) = &self.stage {
            if ask == Ask::Look {
                return Ok(None);
            }
            self.start(Arc::clone(place));
        }
        let (place, written) = match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Idle | Stage::Failed(_) => return Ok(None),
            Stage::Due(place) => {
                let written = write(&self.state, &place);
                (place, written)
            }
            Stage::Running(place, thread) if ask == Ask::Wait || thread.is_finished() => {
                (place, thread.join().expect("State::write catches panics"))
            }
            running @ Stage::Running(..) => {
                self.stage = running;
                return Ok(None);
            }
        };
        if written.is_err() {
            self.stage = Stage::Failed(place);
        }
        written.map(Some)
    }

    /// Closes the state in order. Only when idle.
    pub(super) fn close(&mut self) {
        self.state.close();
    }

    fn start(&mut self, place: Place) {
        self.stage = Stage::Due(Arc::clone(&place));
        if !self.background {
            return;
        }
        let (state, writing) = (Arc::clone(&self.state), Arc::clone(&place));
        let thread = std::thread::Builder::new().name("martlet-checkpoint".into());
        let write = move || {
            // Where that is not to be had, it works all the same.
            let _ = rustix::process::nice(GIVES_WAY);
            write(&state, &writing)
        };
        // Without a thread it is written by whoever asks next.
        if let Ok(thread) = thread.spawn(write) {
            self.stage = Stage::Running(place, thread);
        }
    }
}

/// Writes a checkpoint and lets it go; one that could not be written stays. The position that the
/// state has reached.
fn write(state: &State, place: &Place) -> Result<u64, StoreError> {
    let mut place = place.lock();
    let checkpoint = place.as_ref().expect("a checkpoint that was written is not written again");
    state.write(checkpoint)?;
    let position = checkpoint.position;
    *place = None;
    Ok(position)
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        if let Stage::Running(_, thread) = std::mem::replace(&mut self.stage, Stage::Idle) {
            // The folder's lock must outlive the writing; what it gives, the next start sees.
            let _ = thread.join();
        }
    }
}
