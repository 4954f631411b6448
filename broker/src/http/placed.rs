//! Where the messages are recorded that were just published.

use std::sync::Arc;

use martlet_codec::reason::QoS;
use martlet_codec::topic::TopicName;
use martlet_engine::filter::Filter;
use martlet_engine::input::Time;
use serde::Serialize;
use tokio::task::spawn_blocking;
use utoipa::ToSchema;

use crate::http::message::rfc3339;
use crate::telemetry::log::Log;
use crate::telemetry::{LogError, Position};

/// A place in a stream.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Recorded {
    stream: String,
    offset: u64,
    /// When the broker received it, in UTC.
    time: String,
}

/// Where each stream ended before a message was published: it can only stand behind that.
#[derive(Debug)]
pub(super) struct Before {
    log: Log,
    ends: Vec<(Arc<str>, u64)>,
}

/// Blocks of a stream that are looked at: what all others recorded meanwhile, too.
const LOOKED_AT_MAX: u64 = 256;

impl Before {
    pub(super) fn of(log: &Log) -> Self {
        Self { log: log.clone(), ends: log.next_offsets() }
    }

    /// Where the last message of this topic is recorded that this client has published since at
    /// QoS 1 or 2. The message is safe whatever becomes of the question: a stream that cannot be
    /// read is left out.
    pub(super) async fn find(self, topic: TopicName<'_>, client_id: &str) -> Vec<Recorded> {
        let Ok(filter) = Filter::parse(topic.as_str()) else { return Vec::new() };
        let client_id: Box<str> = client_id.into();
        let read = spawn_blocking(move || {
            let Self { log, ends } = self;
            let found = ends.iter().filter_map(|(stream, end)| {
                let found = newest(&log, (stream, *end), &filter, &client_id);
                found.unwrap_or_else(|error| {
                    tracing::error!(%error, "The log could not be read for HTTP: {error}.");
                    None
                })
            });
            found.collect()
        });
        read.await.expect("a read does not panic")
    }
}

fn newest(
    log: &Log,
    (stream, end): (&Arc<str>, u64),
    filter: &Filter,
    client_id: &str,
) -> Result<Option<Recorded>, LogError> {
    let mut reader = log.reader(stream, Position::Offset(end), Some(filter.clone()))?;
    let (mut newest, mut blocks) = (None, LOOKED_AT_MAX);
    while let Some(record) = reader.next_within(&mut blocks)? {
        if record.client_id == Some(client_id) && record.qos > QoS::AtMostOnce {
            newest = Some((record.offset, record.time_ms));
        }
    }
    Ok(newest.map(|(offset, time_ms)| Recorded {
        stream: stream.to_string(),
        offset,
        time: rfc3339(Time(time_ms)),
    }))
}
