//! `/cursors/`: named places in a stream, kept for the next time. Several readers may share one:
//! each takes records on a lease, and what is not acknowledged in time another one gets.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};
use martlet_engine::filter::Filter;
use martlet_engine::input::Time;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use utoipa::{IntoParams, ToSchema};

use crate::http::Shared;
use crate::http::form::{Form, RecordBody};
use crate::http::history::{begin, recorded, stream, wrong};
use crate::http::login::Caller;
use crate::http::params::{Params, Rest};
use crate::http::problem::{Problem, ProblemBody};
use crate::telemetry::LogError;
use crate::telemetry::cursors::{CursorStats, Taken, Terms};
use crate::telemetry::log::{LAST_MAX, Log};

/// Where a cursor begins.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct PutParams {
    /// Which stream; without it the only one.
    stream: Option<String>,
    /// What of it: a Topic Filter. Without it everything.
    filter: Option<String>,
    /// An offset, `earliest`, `latest`, or a time.
    #[param(default = "latest")]
    offset: Option<String>,
}

/// How much is taken, and for how long.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct TakeParams {
    /// Records at the most.
    #[param(default = 100, minimum = 1, maximum = 10000)]
    pub(super) n: usize,
    /// Seconds in which they must be acknowledged; then others get them.
    #[param(default = 30, minimum = 1, maximum = 86400)]
    pub(super) lease_s: u64,
    /// Acknowledge them at once: what is lost on the way is lost.
    #[param(default = false)]
    pub(super) commit: bool,
}

impl Default for TakeParams {
    fn default() -> Self {
        Self { n: 100, lease_s: 30, commit: false }
    }
}

/// What is acknowledged.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AckParams {
    /// The lease, as it was answered with the records.
    lease: u64,
}

/// A cursor.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Cursor)]
pub(super) struct CursorBody {
    name: String,
    stream: String,
    filter: Option<String>,
    /// Everything below this offset was acknowledged.
    position: u64,
    /// Offsets from there to the newest record.
    lag: u64,
    /// Leases that are out.
    leases: u64,
}

/// Records on a lease.
#[derive(ToSchema)]
#[schema(as = Lease)]
#[expect(dead_code, reason = "the form in which it is written, for the description")]
pub(super) struct LeaseBody {
    /// To acknowledge the records with.
    lease: u64,
    records: Vec<RecordBody>,
    /// There may be more to take now, also where this has found none in 256 MiB.
    more: bool,
}

/// Where a cursor is now.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CursorPosition {
    /// Everything below this offset was acknowledged.
    position: u64,
}

/// Bytes of payloads that are taken at a time, and of the record that exceeds them.
pub(super) const TAKEN_BYTES_MAX: usize = 8 << 20;

/// Blocks of 64 KiB that are looked through at a time. At the bound: who takes is told so.
const TAKEN_BLOCKS_MAX: u64 = 4096;

/// A day: who needs longer takes less.
const LEASE_S_MAX: u64 = 86_400;

/// The cursors, with how far each is behind.
#[utoipa::path(
    get, path = "/cursors/", tag = "cursors", responses((status = 200, body = [CursorBody])),
)]
pub(super) async fn cursors(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
) -> Result<Json<Vec<CursorBody>>, Problem> {
    caller.must_be_admin()?;
    let Some(log) = shared.log.get().cloned() else { return Ok(Json(Vec::new())) };
    let cursors = asked(move || Ok(log.cursors())).await?;
    Ok(Json(cursors.into_iter().map(CursorBody::from).collect()))
}

/// Makes a cursor, or puts it elsewhere.
#[utoipa::path(
    put, path = "/cursors/{name}", tag = "cursors",
    params(("name" = String, Path, description = "Letters, digits, - and _"), PutParams),
    responses(
        (status = 200, body = CursorBody),
        (status = 400, description = "No such name, filter or offset", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 404, description = "No such stream", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn put(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Rest(name): Rest,
    Params(params): Params<PutParams>,
) -> Result<Json<CursorBody>, Problem> {
    caller.must_be_admin()?;
    let (log, stream) = stream(&shared, params.stream.as_deref())?;
    let filter = params.filter.map(|filter| recorded(&shared, &filter)).transpose()?;
    let from = begin(params.offset.as_deref().unwrap_or("latest"), &shared)?;
    let body = asked(move || {
        log.put_cursor(&name, &stream, filter.as_ref(), from)?;
        Ok(log.cursors().into_iter().find(|cursor| cursor.name == name))
    });
    let gone = || Problem::not_found("the cursor was deleted meanwhile");
    Ok(Json(body.await?.ok_or_else(gone)?.into()))
}

/// Deletes a cursor.
#[utoipa::path(
    delete, path = "/cursors/{name}", tag = "cursors",
    params(("name" = String, Path, description = "Its name")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "There is none of that name", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn delete(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Rest(name): Rest,
) -> Result<axum::http::StatusCode, Problem> {
    caller.must_be_admin()?;
    let (log, _) = of(&shared, &name).await?;
    asked(move || log.drop_cursor(&name)).await?;
    Ok(axum::http::StatusCode::NO_CONTENT)
}

/// Takes the next records on a lease: first those whose lease is over.
#[utoipa::path(
    post, path = "/cursors/{name}/take", tag = "cursors",
    params(("name" = String, Path, description = "Its name"), TakeParams),
    responses(
        (status = 200, body = LeaseBody),
        (status = 404, description = "There is none of that name", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn take(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Rest(name): Rest,
    Params(params): Params<TakeParams>,
) -> Result<Response, Problem> {
    caller.must_be_admin()?;
    let (log, _) = of(&shared, &name).await?;
    let Taken { lease, records, is_more } = take_from(&shared, log, name, params).await?;
    let mut out = format!("{{\"lease\":{lease},\"records\":[").into_bytes();
    for (before, record) in (0..).zip(&records) {
        Form::Json.write(&mut out, &record.lend(), before);
    }
    out.extend_from_slice(format!("],\"more\":{is_more}}}\n").as_bytes());
    Ok(([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], out).into_response())
}

/// What `/latest/` answers of a cursor: what `take` does, of the filter that the cursor reads, and
/// where to go on.
pub(super) async fn not_consumed(
    shared: &Shared,
    caller: &Caller,
    name: String,
    filter: &Filter,
    params: TakeParams,
) -> Result<(Taken, u64), Problem> {
    caller.must_be_admin()?;
    let (log, cursor) = of(shared, &name).await?;
    let reads = cursor.filter.as_deref().unwrap_or("#");
    if filter.as_str() != reads {
        let asked = filter.as_str();
        let detail = format!("the cursor {name:?} reads {reads:?}, not {asked:?}");
        return Err(Problem::bad(detail));
    }
    let taken = take_from(shared, log, name, params).await?;
    let next = taken.records.last().map_or(cursor.position, |last| last.offset + 1);
    Ok((taken, next))
}

async fn take_from(
    shared: &Shared,
    log: Log,
    name: String,
    params: TakeParams,
) -> Result<Taken, Problem> {
    if !(1..=LAST_MAX).contains(&params.n) || !(1..=LEASE_S_MAX).contains(&params.lease_s) {
        let detail = format!("n is 1 to {LAST_MAX}, and lease_s 1 to {LEASE_S_MAX}");
        return Err(Problem::bad(detail));
    }
    let Time(now_ms) = shared.driver.now();
    let terms = Terms {
        records_max: params.n,
        bytes_max: TAKEN_BYTES_MAX,
        blocks_max: TAKEN_BLOCKS_MAX,
        until_ms: now_ms + params.lease_s * 1000,
        now_ms,
    };
    let taken = asked(move || {
        let taken = log.take(&name, terms)?;
        if params.commit && !taken.records.is_empty() {
            log.acknowledge(&name, taken.lease)?;
        }
        Ok(taken)
    });
    taken.await
}

/// Acknowledges the records of a lease: they do not come again.
#[utoipa::path(
    post, path = "/cursors/{name}/ack", tag = "cursors",
    params(("name" = String, Path, description = "Its name"), AckParams),
    responses(
        (status = 200, body = CursorPosition),
        (status = 400, description = "The lease is over", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn acknowledge(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Rest(name): Rest,
    Params(AckParams { lease }): Params<AckParams>,
) -> Result<Json<CursorPosition>, Problem> {
    caller.must_be_admin()?;
    let (log, _) = of(&shared, &name).await?;
    let position = asked(move || log.acknowledge(&name, lease)).await?;
    Ok(Json(CursorPosition { position }))
}

/// The log, and a cursor of it.
async fn of(shared: &Shared, name: &str) -> Result<(Log, CursorStats), Problem> {
    let log = shared.log.get().ok_or_else(|| Problem::not_found("nothing is recorded"))?;
    let asking = log.clone();
    let cursors = asked(move || Ok(asking.cursors())).await?;
    let known = cursors.iter().map(|cursor| &*cursor.name).collect::<Vec<_>>().join(", ");
    let found = cursors.iter().find(|cursor| cursor.name == name).cloned();
    let none = || Problem::not_found(format!("there is no cursor {name:?}; there are: {known}"));
    Ok((log.clone(), found.ok_or_else(none)?))
}

/// Asks the log, which may wait for the disk.
pub(super) async fn asked<T: Send + 'static>(
    question: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, Problem> {
    spawn_blocking(question).await.expect("a question does not panic").map_err(wrong)
}

impl From<CursorStats> for CursorBody {
    fn from(stats: CursorStats) -> Self {
        let CursorStats { name, stream, filter, position, lag, leases } = stats;
        Self { name, stream, filter, position, lag, leases }
    }
}
