//! Checkpoints on their way to the state: one at a time, each until it is written.

use std::sync::Arc;
use std::thread::JoinHandle;

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
    Due(Arc<Checkpoint>),
    Running(Arc<Checkpoint>, JoinHandle<Result<(), StoreError>>),
    /// Could not be written.
    Failed(Arc<Checkpoint>),
}

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
        self.start(Arc::new(checkpoint));
    }

    /// The position that the state has reached, once for each checkpoint.
    ///
    /// # Errors
    /// When it could not be written: it stays to be tried again.
    pub(super) fn finish(&mut self, ask: Ask) -> Result<Option<u64>, StoreError> {
        if let Stage::Failed(checkpoint) = &self.stage {
            if ask == Ask::Look {
                return Ok(None);
            }
            self.start(Arc::clone(checkpoint));
        }
        let (checkpoint, written) = match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Idle | Stage::Failed(_) => return Ok(None),
            Stage::Due(checkpoint) => {
                let written = self.state.write(&checkpoint);
                (checkpoint, written)
            }
            Stage::Running(checkpoint, thread) if ask == Ask::Wait || thread.is_finished() => {
                (checkpoint, thread.join().expect("State::write catches panics"))
            }
            running @ Stage::Running(..) => {
                self.stage = running;
                return Ok(None);
            }
        };
        match written {
            Ok(()) => Ok(Some(checkpoint.position)),
            Err(error) => {
                self.stage = Stage::Failed(checkpoint);
                Err(error)
            }
        }
    }

    /// Closes the state in order. Only when idle.
    pub(super) fn close(&mut self) {
        self.state.close();
    }

    fn start(&mut self, checkpoint: Arc<Checkpoint>) {
        self.stage = Stage::Due(Arc::clone(&checkpoint));
        if !self.background {
            return;
        }
        let (state, writing) = (Arc::clone(&self.state), Arc::clone(&checkpoint));
        let thread = std::thread::Builder::new().name("martlet-checkpoint".into());
        // Without a thread it is written by whoever asks next.
        if let Ok(thread) = thread.spawn(move || state.write(&writing)) {
            self.stage = Stage::Running(checkpoint, thread);
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        if let Stage::Running(_, thread) = std::mem::replace(&mut self.stage, Stage::Idle) {
            // The folder's lock must outlive the writing; what it gives, the next start sees.
            let _ = thread.join();
        }
    }
}
