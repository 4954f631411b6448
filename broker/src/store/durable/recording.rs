//! What is recorded, between the journal and whoever keeps it for good.

use std::sync::Arc;

use martlet_engine::change::Change;
use martlet_engine::snapshot::Snapshot;

use crate::store::StoreError;
use crate::store::durable::Durable;
use crate::store::ledger::Ledger;
use crate::store::recorder::{self, Recorder};

/// Records that wait for the journal to be synced. At the bound it is synced for them.
const UNSAFE_RECORDS_MAX: usize = 16_384;

/// Records that are handed over together while a journal is read.
const GATHERED_MAX: usize = 4096;

/// The records of a journal on their way to the recorder, at a start.
pub(super) struct Replayed<'a> {
    recorder: Option<&'a Arc<dyn Recorder>>,
    gathered: Vec<Change>,
    refused: Result<(), StoreError>,
}

impl<'a> Replayed<'a> {
    /// The recorder learns what the state knows of it, and gets what the state has for it.
    pub(super) fn begin(
        recorder: Option<&'a Arc<dyn Recorder>>,
        snapshot: &Snapshot,
        records: &[Change],
    ) -> Result<Self, StoreError> {
        if let Some(recorder) = recorder {
            recorder.restore(&recorder::before(records, snapshot.streams.clone()))?;
            recorder.append(records)?;
        }
        Ok(Self { recorder, gathered: Vec::new(), refused: Ok(()) })
    }

    pub(super) fn take(&mut self, change: Change) {
        if self.recorder.is_some() && matches!(change, Change::Record(_)) {
            self.gathered.push(change);
            if self.gathered.len() >= GATHERED_MAX {
                self.hand_over();
            }
        }
    }

    /// All is read. The snapshot and the ledger go on where the recorder does.
    pub(super) fn end(
        mut self,
        snapshot: &mut Snapshot,
        ledger: &mut Ledger,
    ) -> Result<(), StoreError> {
        self.hand_over();
        self.refused?;
        let Some(recorder) = self.recorder else { return Ok(()) };
        for (stream, end) in recorder.ends() {
            if snapshot.streams.get(&stream).copied().unwrap_or(0) != end {
                ledger.go_on_with_stream(&stream, end);
                snapshot.streams.insert(stream, end);
            }
        }
        Ok(())
    }

    fn hand_over(&mut self) {
        if let Some(recorder) = self.recorder.filter(|_| self.refused.is_ok()) {
            self.refused = recorder.append(&self.gathered);
        }
        self.gathered.clear();
    }
}

impl Durable {
    /// Whether what these facts record has a place.
    pub(super) fn may_record(&self, changes: &[Change]) -> Result<(), StoreError> {
        let Some(recorder) = &self.settings.recorder else { return Ok(()) };
        let records = changes.iter().any(|change| matches!(change, Change::Record(_)));
        if !records || recorder.has_room() {
            return Ok(());
        }
        let full = std::io::Error::other("the log cannot be written to");
        Err(StoreError::io("recording", full))
    }

    /// Hands over what the journal has now, once it is safe there: what a power cut may still take
    /// must be nowhere else.
    pub(super) fn record(&mut self, changes: &[Change]) {
        if self.settings.recorder.is_none() {
            return;
        }
        let records = || changes.iter().filter(|change| matches!(change, Change::Record(_)));
        if self.journal.is_safe() && self.unsafe_records.is_empty() {
            self.hand_over(changes);
            return;
        }
        self.unsafe_records.extend(records().cloned());
        // In doubt only a checkpoint makes them safe, and one is due.
        if self.unsafe_records.len() >= UNSAFE_RECORDS_MAX
            && !self.journal.is_doubtful()
            && let Err(error) = self.journal.sync()
        {
            tracing::warn!(%error, "What was recorded is not safe yet.");
        }
        self.record_what_is_safe();
    }

    /// As `record`, of what has waited to be safe.
    pub(super) fn record_what_is_safe(&mut self) {
        if self.journal.is_safe() {
            self.record_first(self.unsafe_records.len());
        }
    }

    /// The records that only the state can make safe: to be written with all else that the journal
    /// has.
    pub(super) fn records_for_state(&mut self) -> Vec<Change> {
        if !self.unsafe_records.is_empty()
            && let Err(error) = self.journal.sync()
        {
            tracing::warn!(%error, "What was recorded becomes safe with the state.");
        }
        self.record_what_is_safe();
        self.records_in_checkpoint = self.unsafe_records.len();
        self.unsafe_records.clone()
    }

    /// As `record`, of what the state holds now.
    pub(super) fn record_what_the_state_has(&mut self) {
        self.record_first(self.records_in_checkpoint);
        self.record_what_is_safe();
    }

    fn record_first(&mut self, count: usize) {
        if count > 0 {
            let records: Vec<Change> = self.unsafe_records.drain(..count).collect();
            self.records_in_checkpoint = self.records_in_checkpoint.saturating_sub(count);
            self.hand_over(&records);
        }
    }

    fn hand_over(&self, changes: &[Change]) {
        let Some(recorder) = &self.settings.recorder else { return };
        if let Err(error) = recorder.append(changes) {
            tracing::error!(%error, "What the journal has is not in the log before a restart.");
        }
    }
}
