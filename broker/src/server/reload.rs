//! # New settings while the broker runs
//!
//! Every part that can change makes ready first, reading and checking whatever files the settings
//! name, and only when all of them are ready does any of them change. With one mistake anywhere the
//! broker goes on as it was.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use crate::server::Settings;

/// Makes the change that a part has made ready for. It cannot fail.
pub type Change = Box<dyn FnOnce() + Send>;

/// One part of the broker that can take new settings while it runs.
pub trait Part: Send + Sync {
    /// What the log calls it.
    fn name(&self) -> &'static str;

    /// Reads and checks everything that the change needs, and touches nothing that runs.
    ///
    /// # Errors
    /// All mistakes, a line each, that begin with the place: `file:line: what is wrong`.
    fn prepare(&self, settings: &Settings) -> Result<Change, Vec<String>>;

    /// Files that are worth a look when they change on disk, although nobody asks for a reload.
    fn watched(&self, _settings: &Settings) -> Vec<PathBuf> {
        Vec::new()
    }
}

/// How often watched files are looked at. A change counts once two looks in a row found the same,
/// so that a file that is still being written, or the second of a pair, is waited for.
pub const WATCH_INTERVAL: Duration = Duration::from_secs(5);

/// The parts of a running server, and what they were last told.
pub struct Reloader {
    state: Mutex<State>,
}

struct State {
    settings: Settings,
    parts: Vec<Watched>,
}

/// A part with the files that it wants watched.
struct Watched {
    part: Arc<dyn Part>,
    /// As they were when the part last made ready.
    used: Vec<Stamp>,
    /// As they were at the last look.
    seen: Vec<Stamp>,
}

/// What tells one version of a file from the next, without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    path: PathBuf,
    /// `None`: it cannot be looked at.
    version: Option<(u64, Option<SystemTime>)>,
}

/// All parts are ready for new settings.
#[must_use = "nothing changes until it is applied"]
pub struct Ready<'a> {
    reloader: &'a Reloader,
    settings: Settings,
    changes: Vec<Change>,
    stamps: Vec<Vec<Stamp>>,
}

impl Reloader {
    /// The parts, which were built from `settings`.
    pub fn new(settings: Settings, parts: Vec<Arc<dyn Part>>) -> Self {
        let parts = parts.into_iter().map(|part| {
            let used = stamps(&part.watched(&settings));
            Watched { part, seen: used.clone(), used }
        });
        let parts = parts.collect();
        Self { state: Mutex::new(State { settings, parts }) }
    }

    /// Another part, which was built from the settings that are in use.
    pub fn add(&self, part: Arc<dyn Part>) {
        let state = &mut *self.state.lock();
        let used = stamps(&part.watched(&state.settings));
        state.parts.push(Watched { part, seen: used.clone(), used });
    }

    /// Makes every part ready for new settings. Reads files, so it blocks.
    ///
    /// # Errors
    /// The mistakes of all parts; nothing has changed then.
    pub fn prepare(&self, settings: Settings) -> Result<Ready<'_>, Vec<String>> {
        let state = self.state.lock();
        let (mut changes, mut mistakes, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for Watched { part, .. } in &state.parts {
            // Before they are read, so that what is written meanwhile is not missed.
            all.push(stamps(&part.watched(&settings)));
            match part.prepare(&settings) {
                Ok(change) => changes.push(change),
                Err(more) => mistakes.extend(more),
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok(Ready { reloader: self, settings, changes, stamps: all })
    }

    /// Looks at all watched files once, and lets the parts whose files have changed take them.
    /// Reads files, so it blocks.
    pub fn look(&self) {
        let state = &mut *self.state.lock();
        for Watched { part, used, seen } in &mut state.parts {
            let now = stamps(&part.watched(&state.settings));
            let settled = now == *seen;
            seen.clone_from(&now);
            if !settled || now == *used {
                continue;
            }
            *used = now;
            let name = part.name();
            match part.prepare(&state.settings) {
                Ok(change) => {
                    change();
                    tracing::info!("Files of the {name} have changed on disk and are in use now.");
                }
                Err(mistakes) => {
                    for mistake in mistakes {
                        tracing::error!("{mistake}");
                    }
                    tracing::error!(
                        "Files of the {name} have changed on disk and cannot be used: those \
                         before them stay in use."
                    );
                }
            }
        }
    }
}

impl Ready<'_> {
    /// Changes every part.
    pub fn apply(self) {
        let Self { reloader, settings, changes, stamps } = self;
        for change in changes {
            change();
        }
        let state = &mut *reloader.state.lock();
        state.settings = settings;
        for (watched, stamps) in state.parts.iter_mut().zip(stamps) {
            watched.seen.clone_from(&stamps);
            watched.used = stamps;
        }
    }
}

/// Looks at the watched files from time to time, until it is dropped.
pub(super) async fn watch(reloader: Arc<Reloader>) {
    loop {
        tokio::time::sleep(WATCH_INTERVAL).await;
        let reloader = Arc::clone(&reloader);
        // A panic in there has been reported by the panic itself.
        let _ = tokio::task::spawn_blocking(move || reloader.look()).await;
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Stamp> {
    paths.iter().map(|path| stamp(path)).collect()
}

fn stamp(path: &Path) -> Stamp {
    let version = fs::metadata(path).ok().map(|found| (found.len(), found.modified().ok()));
    Stamp { path: path.to_owned(), version }
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
