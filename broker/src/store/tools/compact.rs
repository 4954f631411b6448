//! Making the files as small as they can be.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::store::damage::Damage;
use crate::store::durable::{self, Settings};
use crate::store::recorder::Recorder;
use crate::store::tools::{Files, size};
use crate::store::{Store, StoreError};

/// What came of it.
#[derive(Debug)]
pub struct Compacted {
    /// Bytes of all files before.
    pub before: u64,
    /// Bytes of all files now.
    pub after: u64,
    /// What could not be read, as at the start of a broker: it was set aside, the rest is kept.
    pub damage: Vec<Damage>,
}

/// Writes what is in the journal into the state, and gives back the room that nothing needs.
/// Whatever happens meanwhile, a broker finds all that was kept. `date`: for the names of damaged
/// files; `recorder`: who keeps what the journal has recorded.
///
/// # Errors
/// When a broker works on it, a newer one wrote it, or the machine refuses.
pub fn compact(
    folder: &Path,
    date: String,
    recorder: Arc<dyn Recorder>,
) -> Result<Compacted, StoreError> {
    let before = Files::of(folder)?.bytes();
    let recorder = Some(recorder);
    let settings =
        Settings { background: false, recorder, ..Settings::new(folder.to_owned(), date) };
    let store = durable::open(settings)?;
    let damage = store.damage().to_vec();
    store.close_compactly()?;
    Ok(Compacted { before, after: Files::of(folder)?.bytes(), damage })
}

impl fmt::Display for Compacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, after, .. } = self;
        writeln!(f, "{} before, {} after", size(*before), size(*after))
    }
}
