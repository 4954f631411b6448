//! Reading the log: from an offset, from a time, the last records, and which topics there are.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Method;
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use martlet_engine::filter::Filter;
use martlet_engine::input::Time;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use utoipa::{IntoParams, IntoResponses, ToSchema};

use crate::http::Shared;
use crate::http::cursors::{self, TakeParams};
use crate::http::form::{Form, Long, RecordBody, RecordsBody};
use crate::http::login::Caller;
use crate::http::message::rfc3339;
use crate::http::origin;
use crate::http::params::{self, Params, Rest};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::scan::Scan;
use crate::telemetry::cursors::Taken;
use crate::telemetry::log::{LAST_MAX, Log};
use crate::telemetry::topics::{TopicStats, Topics};
use crate::telemetry::{KeptRecord, LogError, Position, position};

/// From where, and how much.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct ConsumeParams {
    /// Which stream; without it the only one.
    stream: Option<String>,
    /// Where to begin: an offset, `earliest` or `latest`, or a time as in `latest_time`.
    #[param(default = "earliest")]
    offset: String,
    /// Records at the most.
    #[param(default = 1000)]
    limit: u64,
}

/// How many.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct LatestParams {
    /// Which stream; without it the only one.
    stream: Option<String>,
    /// Records at the most; of 8 MiB of payloads, and the record that exceeds them.
    #[param(default = 10, minimum = 1, maximum = 10000)]
    n: usize,
    /// Instead of the last: the next ones that this cursor has not consumed, on a lease, which
    /// `Martlet-Lease` names; `Martlet-More` says whether there may be more to take now. For
    /// admins; see `/cursors/`.
    cursor: Option<String>,
    /// With a cursor: acknowledge them at once. What is lost on the way is lost.
    #[param(default = false)]
    commit: bool,
    /// With a cursor: seconds in which they must be acknowledged; then they come again.
    #[param(default = 30, minimum = 1, maximum = 86400)]
    lease_s: u64,
}

/// From when to when.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct TimeParams {
    /// Which stream; without it the only one.
    stream: Option<String>,
    /// The first time, as RFC 3339 has it, such as `2026-11-30T12:00:00Z`, or ago, such as `-1h`.
    from: Option<String>,
    /// Instead of `from`: so many seconds ago.
    since: Option<u64>,
    /// The last time, in the same form.
    to: Option<String>,
    /// Records at the most.
    #[param(default = 1000)]
    limit: u64,
}

/// Which topics.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct TopicsParams {
    /// Which stream; without it the only one.
    stream: Option<String>,
    /// What a topic begins with.
    prefix: String,
    /// Where to go on: `next` of the answer before.
    after: String,
    /// Topics at the most.
    #[param(default = 1000, minimum = 1, maximum = 10000)]
    limit: usize,
}

/// What stands in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "for the description")]
struct FilterPath {
    /// Topic Filter, with its slashes; # is %23
    filter: String,
}

/// Why there are none.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "for the description")]
enum Refused {
    /// No such filter, offset, time or parameter
    #[response(status = 400, content_type = "application/problem+json")]
    Bad(ProblemBody),
    /// No such stream
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(ProblemBody),
    /// No such form
    #[response(status = 406, content_type = "application/problem+json")]
    NotAcceptable(ProblemBody),
}

const LIMIT: u64 = 1000;
const TOPICS_MAX: usize = 10_000;

impl Default for ConsumeParams {
    fn default() -> Self {
        Self { stream: None, offset: "earliest".to_owned(), limit: LIMIT }
    }
}

impl Default for LatestParams {
    fn default() -> Self {
        Self { stream: None, n: 10, cursor: None, commit: false, lease_s: 30 }
    }
}

impl Default for TimeParams {
    fn default() -> Self {
        Self { stream: None, from: None, since: None, to: None, limit: LIMIT }
    }
}

impl Default for TopicsParams {
    fn default() -> Self {
        Self { stream: None, prefix: String::new(), after: String::new(), limit: 1000 }
    }
}

/// Records from an offset on.
///
/// Those that the filter matches and that the user may receive, in the order of their offsets.
/// `next` is the offset to go on with.
#[utoipa::path(
    get,
    path = "/consume/{filter}",
    tag = "log",
    params(FilterPath, ConsumeParams),
    responses(
        (status = 200, description = "Records", content(
            (RecordsBody = "application/json"),
            (RecordBody = "application/x-ndjson"),
            (String = "text/csv"),
            (Vec<u8> = "application/vnd.apache.parquet"),
        )),
        Refused,
    )
)]
pub(super) async fn consume(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Rest(filter): Rest,
    Params(params): Params<ConsumeParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let from = begin(&params.offset, &shared)?;
    let wanted = Wanted { stream: params.stream, filter, from, until: None, limit: params.limit };
    scan(&shared, caller, wanted, &headers)
}

/// Records from a time on.
#[utoipa::path(
    get,
    path = "/latest_time/{filter}",
    tag = "log",
    params(FilterPath, TimeParams),
    responses(
        (status = 200, description = "Records", content(
            (RecordsBody = "application/json"),
            (RecordBody = "application/x-ndjson"),
            (String = "text/csv"),
            (Vec<u8> = "application/vnd.apache.parquet"),
        )),
        Refused,
    )
)]
pub(super) async fn latest_time(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Rest(filter): Rest,
    Params(params): Params<TimeParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let now = shared.driver.now();
    let from = match (&params.from, params.since) {
        (Some(text), None) => time("from", text, now)?,
        (None, Some(seconds)) => now.0.saturating_sub(seconds.saturating_mul(1000)),
        _ => return Err(Problem::bad("say from (a time in UTC) or since (seconds), one of them")),
    };
    let until = params.to.as_deref().map(|text| time("to", text, now)).transpose()?;
    if until.is_some_and(|until| until < from) {
        return Err(Problem::bad("to is before from"));
    }
    let from = Position::Time(from);
    let wanted = Wanted { stream: params.stream, filter, from, until, limit: params.limit };
    scan(&shared, caller, wanted, &headers)
}

/// The last records, or those that a cursor has not consumed.
#[utoipa::path(
    get,
    path = "/latest/{filter}",
    tag = "log",
    params(FilterPath, LatestParams),
    responses(
        (status = 200, description = "Records, the oldest first", content(
            (RecordsBody = "application/json"),
            (RecordBody = "application/x-ndjson"),
            (String = "text/csv"),
        )),
        Refused,
    )
)]
pub(super) async fn latest(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Rest(filter): Rest,
    Params(params): Params<LatestParams>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (form, filter) = (Form::of(&headers)?, recorded(&shared, &filter)?);
    if let Some(cursor) = params.cursor {
        origin::check_taking(&method, &headers)?;
        let LatestParams { n, lease_s, commit, .. } = params;
        let params = TakeParams { n, lease_s, commit };
        let taken = cursors::not_consumed(&shared, &caller, cursor, &filter, params);
        let (Taken { lease, records, is_more }, next) = taken.await?;
        let more = HeaderValue::from_static(if is_more { "true" } else { "false" });
        let lease = [(LEASE, HeaderValue::from(lease)), (MORE, more)];
        return Ok((lease, written(form, &records, next)).into_response());
    }
    let (log, stream) = stream(&shared, params.stream.as_deref())?;
    if !(1..=LAST_MAX).contains(&params.n) {
        return Err(Problem::bad(format!("n is 1 to {LAST_MAX}, not {}", params.n)));
    }
    let wanted = (Some(filter), caller.rights());
    let read = spawn_blocking(move || {
        let bounds = (params.n, cursors::TAKEN_BYTES_MAX);
        let records = log.last_within(&stream, wanted, bounds)?;
        let next = log.stats(&stream)?.next_offset;
        Ok::<_, LogError>((records, next))
    });
    let (records, next) = read.await.expect("a read does not panic").map_err(wrong)?;
    Ok(written(form, &records, next))
}

/// Names the lease of an answer, in all its forms.
const LEASE: HeaderName = HeaderName::from_static("martlet-lease");

/// Whether there may be more to take now.
const MORE: HeaderName = HeaderName::from_static("martlet-more");

/// Records that are few, as an answer.
fn written(form: Form, records: &[KeptRecord], next: u64) -> Response {
    let mut out = Vec::new();
    form.begin(&mut out);
    for (before, record) in (0..).zip(records) {
        form.write(&mut out, &record.lend(), before);
    }
    form.end(&mut out, next, 0);
    ([(CONTENT_TYPE, form.content_type())], out).into_response()
}

/// As [`consume`], of every topic.
pub(super) async fn consume_all(
    shared: State<Arc<Shared>>,
    caller: Caller,
    params: Params<ConsumeParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    consume(shared, caller, Rest(String::new()), params, headers).await
}

/// As [`latest`], of every topic.
pub(super) async fn latest_all(
    shared: State<Arc<Shared>>,
    caller: Caller,
    params: Params<LatestParams>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    latest(shared, caller, Rest(String::new()), params, method, headers).await
}

/// As [`latest_time`], of every topic.
pub(super) async fn latest_time_all(
    shared: State<Arc<Shared>>,
    caller: Caller,
    params: Params<TimeParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    latest_time(shared, caller, Rest(String::new()), params, headers).await
}

/// What is to be read.
struct Wanted {
    stream: Option<String>,
    filter: String,
    from: Position,
    until: Option<u64>,
    limit: u64,
}

fn scan(
    shared: &Shared,
    caller: Caller,
    wanted: Wanted,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let filter = recorded(shared, &wanted.filter)?;
    let (log, stream) = stream(shared, wanted.stream.as_deref())?;
    let form = Long::of(headers, || log.columns(&stream))?;
    if wanted.limit == 0 {
        return Err(Problem::bad("limit is at least 1"));
    }
    let mut reader = log.reader(&stream, wanted.from, Some(filter)).map_err(wrong)?;
    if let Some(until) = wanted.until {
        reader = reader.until(until);
    }
    let kind = HeaderValue::from_static(form.content_type());
    let (left, gate) = (wanted.limit, Arc::clone(&shared.gate));
    let scan = Scan { reader, form, left, caller, gate, written: 0 };
    Ok(([(CONTENT_TYPE, kind)], Body::new(scan.body())).into_response())
}

/// The topics of a stream.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TopicsBody {
    /// In the order of their names.
    topics: Vec<TopicBody>,
    /// Where to go on; without it these were the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// The stream has more topics than its index names: some are missing, and counts are too low.
    incomplete: bool,
}

/// One topic of a stream.
#[derive(Debug, Serialize, ToSchema)]
struct TopicBody {
    topic: String,
    records: u64,
    /// Of topics and payloads.
    bytes: u64,
    first_offset: u64,
    last_offset: u64,
    first_time: String,
    last_time: String,
}

/// The topics of a stream, with counts, bytes, and the first and last time.
#[utoipa::path(
    get, path = "/topics/", tag = "log", params(TopicsParams),
    responses(
        (status = 200, body = TopicsBody),
        (status = 404, description = "No such stream", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn topics(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Params(params): Params<TopicsParams>,
) -> Result<Json<TopicsBody>, Problem> {
    let (log, stream) = stream(&shared, params.stream.as_deref())?;
    if !(1..=TOPICS_MAX).contains(&params.limit) {
        let detail = format!("limit is 1 to {TOPICS_MAX}, not {}; go on with after", params.limit);
        return Err(Problem::bad(detail));
    }
    let rights = caller.rights();
    let read = spawn_blocking(move || {
        let page = (&*params.prefix, &*params.after, params.limit);
        log.topics_for(&rights, &stream, page)
    });
    let page = read.await.expect("a read does not panic").map_err(wrong)?;
    let Topics { topics, has_more, is_incomplete } = page;
    let next = topics.last().filter(|_| has_more).map(|last| last.topic.to_string());
    let topics = topics.into_iter().map(TopicBody::from).collect();
    Ok(Json(TopicsBody { topics, next, incomplete: is_incomplete }))
}

/// The log, and the name of a stream of it.
pub(super) type Named = (Log, Arc<str>);

/// The log and a stream of it: the one that is named, or the only one.
pub(super) fn stream(shared: &Shared, named: Option<&str>) -> Result<Named, Problem> {
    let streams = shared.log.get().map(Log::streams).unwrap_or_default();
    let (Some(log), false) = (shared.log.get(), streams.is_empty()) else {
        let detail =
            "nothing is recorded: a [[telemetry]] section of the configuration says what is";
        return Err(Problem::not_found(detail));
    };
    let known = || streams.iter().map(|name| &**name).collect::<Vec<_>>().join(", ");
    let stream = match (named, &*streams) {
        (Some(name), streams) => {
            streams.iter().find(|stream| ***stream == *name).ok_or_else(|| {
                Problem::not_found(format!("there is no stream {name:?}; there are: {}", known()))
            })?
        }
        (None, [only]) => only,
        (None, _) => {
            return Err(Problem::bad(format!("name one of the streams with stream=: {}", known())));
        }
    };
    Ok((log.clone(), Arc::clone(stream)))
}

/// A filter of what was recorded.
pub(super) fn recorded(shared: &Shared, text: &str) -> Result<Filter, Problem> {
    let text = if text.is_empty() { "#" } else { text };
    params::filter(text, shared.settings.decode_limits.topic_levels_max)?;
    // What comes by a share goes on to others; what was recorded does not.
    Filter::parse(text)
        .ok()
        .filter(Filter::is_plain)
        .ok_or_else(|| Problem::bad("a share has no place here, nor has $replay: leave them out"))
}

/// What the log says no to.
pub(super) fn wrong(error: LogError) -> Problem {
    match error {
        LogError::Io { .. } => {
            tracing::error!(%error, "The log could not be read for HTTP: {error}.");
            Problem::unavailable("the log cannot be read; the broker's log says why")
        }
        LogError::NoStream { .. } | LogError::NoCursor { .. } => {
            Problem::not_found(error.to_string())
        }
        // What was asked for is not what there is; the words say what would be.
        _ => Problem::bad(error.to_string()),
    }
}

/// Where a reader begins.
pub(super) fn begin(text: &str, shared: &Shared) -> Result<Position, Problem> {
    position::parse(text, shared.driver.now().0)
        .ok_or_else(|| Problem::bad(format!("offset takes {}, not {text:?}", position::TAKES)))
}

/// A time, as Unix milliseconds.
fn time(name: &str, text: &str, now: Time) -> Result<u64, Problem> {
    position::time_ms(text, now.0).ok_or_else(|| {
        Problem::bad(format!(
            "{name} is a time such as 2026-11-30T12:00:00Z, or ago such as -1h, not {text:?} (+ is \
             written %2B in a URL)"
        ))
    })
}

impl From<TopicStats> for TopicBody {
    fn from(stats: TopicStats) -> Self {
        Self {
            topic: stats.topic.into(),
            records: stats.records,
            bytes: stats.bytes,
            first_offset: stats.first_offset,
            last_offset: stats.last_offset,
            first_time: rfc3339(Time(stats.first_time_ms)),
            last_time: rfc3339(Time(stats.last_time_ms)),
        }
    }
}
