//! The section `[log]`.

use std::path::PathBuf;

use serde::Deserialize;

use crate::config::layers::Layers;
use crate::driver::Wording;
use crate::logging::{
    Destination, Destinations, Facility, Format, Level, Pattern, Settings, Stamp,
};

/// As the rows describe it.
#[derive(Debug, Deserialize)]
pub(super) struct Section {
    destinations: String,
    level: Level,
    types: Option<String>,
    format: Format,
    pub(super) compat: Wording,
    timestamp: Timestamp,
    timestamp_format: Option<String>,
    facility: Facility,
    pub(super) connection_messages: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Timestamp {
    Epoch,
    Iso,
    None,
}

impl Section {
    /// The files that are written.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let all = self.destinations.parse().map_or_else(|_| Vec::new(), |all: Destinations| all.0);
        let files = all.into_iter().filter_map(|destination| match destination {
            Destination::File(path) => Some(path),
            _ => None,
        });
        files.collect()
    }

    /// What the log is told.
    pub(super) fn settings(&self, layers: &Layers) -> Settings {
        let checked = "the row has checked it";
        let types = self.types.as_ref().filter(|_| !layers.is_later("log", "level", "types"));
        let pattern = self.timestamp_format.as_deref();
        Settings {
            kinds: types.map_or(self.level.kinds(), |types| types.parse().expect(checked)),
            format: self.format,
            stamp: match (self.timestamp, pattern) {
                (Timestamp::None, _) => Stamp::None,
                (_, Some(pattern)) => Pattern::new(pattern).expect(checked).stamp(),
                (Timestamp::Epoch, None) => Stamp::Epoch,
                (Timestamp::Iso, None) => Stamp::Iso,
            },
            destinations: self.destinations.parse().expect(checked),
            facility: self.facility,
        }
    }
}
