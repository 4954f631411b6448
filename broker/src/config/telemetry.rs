//! What is recorded: from what `[[telemetry]]` says to streams.

use std::collections::BTreeMap;
use std::time::Duration;

use martlet_engine::filter::Filter;
use martlet_engine::recording::STREAMS_MAX;
use serde::Deserialize;

use crate::config::origin::{Mistake, Origin};
use crate::config::written::WrittenStream;
use crate::telemetry::columnar;
use crate::telemetry::columns::{Column, ColumnKind};
use crate::telemetry::log::{Sealing, StreamSettings, WhenFull};

/// One `[[telemetry]]` with its defaults.
#[derive(Debug, Deserialize)]
pub(crate) struct Section {
    name: Option<String>,
    filters: Option<Vec<String>>,
    keep_s: u64,
    keep_bytes: u64,
    full: WhenFull,
    free_bytes_min: u64,
    seal: Seal,
    seal_after_s: u64,
    seal_bytes_per_s: u64,
    columns: BTreeMap<String, String>,
}

/// What becomes of a segment that gets no more records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Seal {
    Off,
    Parquet,
}

/// Resolves every section; what does not go together is added to `mistakes`. `nothing_kept`: where
/// it is said that the broker keeps nothing.
pub(crate) fn resolve(
    sections: &[Section],
    all: &[WrittenStream],
    nothing_kept: Option<Origin>,
    mistakes: &mut Vec<Mistake>,
) -> Vec<StreamSettings> {
    let mut streams = Vec::new();
    for (at, (section, written)) in sections.iter().zip(all).enumerate() {
        let mut wrong = |text: String| mistakes.push(Mistake::new(written.origin.clone(), text));
        if at == STREAMS_MAX {
            wrong(format!("there may be {STREAMS_MAX} streams at most"));
        }
        if let Some(place) = &nothing_kept {
            wrong(format!("a stream wants \"data.sync\" other than \"off\" ({place})"));
        }
        if section.seal == Seal::Parquet && !columnar::IS_BUILT {
            wrong("\"seal\": this martlet was built without Parquet; it takes \"off\"".to_owned());
        }
        let (Some(name), Some(filters)) = (&section.name, &section.filters) else {
            if !written.broken {
                wrong("a stream wants a \"name\" and \"filters\"".to_owned());
            }
            continue;
        };
        if let Some(other) =
            sections[..at].iter().position(|other| other.name.as_ref() == Some(name))
        {
            let place = &all[other].origin;
            wrong(format!("the stream \"{name}\" is there already ({place})"));
        }
        let filters = filters.iter().map(|text| Filter::parse(text));
        streams.push(StreamSettings {
            name: name.as_str().into(),
            filters: filters.collect::<Result<_, _>>().expect("its kind allows nothing else"),
            keep: (section.keep_s > 0).then(|| Duration::from_secs(section.keep_s)),
            keep_bytes: (section.keep_bytes > 0).then_some(section.keep_bytes),
            full: section.full,
            free_bytes_min: section.free_bytes_min,
            sealing: (section.seal == Seal::Parquet).then(|| section.sealing()),
            columns: section.columns(),
        });
    }
    streams
}

impl Section {
    fn sealing(&self) -> Sealing {
        Sealing {
            after: (self.seal_after_s > 0).then(|| Duration::from_secs(self.seal_after_s)),
            bytes_per_s: self.seal_bytes_per_s,
        }
    }

    fn columns(&self) -> Vec<Column> {
        let columns = self.columns.iter().map(|(name, kind)| Column {
            name: name.as_str().into(),
            kind: ColumnKind::parse(kind).expect("its kind allows nothing else"),
        });
        columns.collect()
    }
}
