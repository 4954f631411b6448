//! Whoever keeps recorded messages once the journal has them: the log.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use martlet_engine::change::Change;

use crate::store::StoreError;

/// For each stream, the offset that its next record gets.
pub type Ends = BTreeMap<Arc<str>, u64>;

/// Keeps recorded messages for good. The journal has each before it comes here, and lets it go only
/// after [`sync`](Self::sync); a start hands over again what it still has.
pub trait Recorder: Debug + Send + Sync {
    /// Called once, before anything else: `ends` is what was safe when the state was last written.
    /// What is there beyond that comes again, or was lost before it was promised.
    ///
    /// # Errors
    /// When the disk cannot be read.
    fn restore(&self, ends: &Ends) -> Result<(), StoreError>;

    /// Takes the records among these facts, in order: they are safe in the journal, and may be
    /// seen. One that it has already, by its offset, is left out.
    ///
    /// # Errors
    /// When a stream that was never there cannot be made. What the disk refuses otherwise is no
    /// error: it is tried again.
    fn append(&self, changes: &[Change]) -> Result<(), StoreError>;

    /// Whether it can take more although the disk refuses.
    fn has_room(&self) -> bool;

    /// Where each stream goes on.
    fn ends(&self) -> Ends;

    /// Makes everything that was appended so far safe on disk.
    ///
    /// # Errors
    /// When that could not be done.
    fn sync(&self) -> Result<(), StoreError>;

    /// The state is safe on disk and has these: no later `restore` goes back behind them.
    fn settled(&self, ends: &Ends) {
        let _ = ends;
    }
}

/// The ends of the streams before these records: they are the last ones below the ends.
pub(super) fn before(records: &[Change], mut ends: Ends) -> Ends {
    for change in records.iter().rev() {
        if let Change::Record(record) = change {
            ends.insert(record.stream.clone(), record.offset);
        }
    }
    ends
}
