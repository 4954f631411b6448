//! The streams of the log: what each holds, and where.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use martlet_engine::input::Time;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::Shared;
use crate::http::login::Caller;
use crate::http::message::rfc3339;
use crate::http::problem::Problem;
use crate::telemetry::StreamStats;

/// A stream.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StreamBody {
    stream: String,
    /// The oldest record's.
    first_offset: u64,
    /// The one that comes next.
    next_offset: u64,
    /// On disk, without the indexes.
    bytes: u64,
    /// Files, those in Parquet among them.
    segments: u64,
    parquet_files: u64,
    parquet_bytes: u64,
    /// Records that were sealed into Parquet.
    parquet_records: u64,
    /// How often a segment was not sealed since the start; the broker's log says why.
    seal_failures: u64,
    /// Bytes of damage that readers came upon since the start, each time that one did.
    damaged_bytes: u64,
    first_time: Option<String>,
    last_time: Option<String>,
    /// Bytes that are in the journal only, until the disk takes them.
    unwritten_bytes: u64,
    /// Records that reached the end of their time since the broker started.
    expired: u64,
}

/// The streams.
#[utoipa::path(get, path = "/streams", tag = "log", responses((status = 200, body = [StreamBody])))]
pub(super) async fn streams(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
) -> Result<Json<Vec<StreamBody>>, Problem> {
    caller.must_read_sys()?;
    let Some(log) = shared.log.get() else { return Ok(Json(Vec::new())) };
    let stats = log.streams().into_iter().filter_map(|stream| log.stats(&stream).ok());
    Ok(Json(stats.map(StreamBody::from).collect()))
}

impl From<StreamStats> for StreamBody {
    fn from(stats: StreamStats) -> Self {
        let time = |time: Option<u64>| time.map(|time| rfc3339(Time(time)));
        Self {
            stream: stats.stream.to_string(),
            first_offset: stats.first_offset,
            next_offset: stats.next_offset,
            bytes: stats.bytes,
            segments: stats.segments,
            parquet_files: stats.parquet_files,
            parquet_bytes: stats.parquet_bytes,
            parquet_records: stats.parquet_records,
            seal_failures: stats.seal_failures,
            damaged_bytes: stats.damaged_bytes,
            first_time: time(stats.first_time_ms),
            last_time: time(stats.last_time_ms),
            unwritten_bytes: stats.unwritten_bytes,
            expired: stats.expired,
        }
    }
}
