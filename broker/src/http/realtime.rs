//! `GET /realtime/{filter}`: what is published, as it is published.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Extension, FromRequestParts, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderName};
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use hyper::upgrade::OnUpgrade;
use martlet_engine::filter::Filter;
use martlet_engine::input::Time;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::http::follow::Followed;
use crate::http::history::Named;
use crate::http::login::{Caller, Visitor};
use crate::http::message::MessageBody;
use crate::http::params::{self, Params, Rest};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::retained::Retained;
use crate::http::socket::{self, Source};
use crate::http::tail::{Event, Tail};
use crate::http::{Shared, history};
use crate::telemetry::Position;

/// How a live tail comes.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct TailParams {
    /// Milliseconds: only the last message of each topic, so often. Without it every message.
    #[param(minimum = 100, maximum = 60000)]
    every: Option<u64>,
    /// Follow this stream of the log, without retained messages: every event has its offset as its
    /// id, and nothing is lost.
    stream: Option<String>,
    /// In a stream: where to begin; an offset, `earliest`, `latest` or a time. `Last-Event-ID`
    /// says it too.
    offset: Option<String>,
}

/// What a reader hears that hears nothing for long.
pub(super) const ALIVE: &str = ": all is well\n\n";

/// How a tail begins that nothing can be asked of again.
const WITHOUT_IDS: &str = ": a subscription: no ids\n\n";

/// Names the stream that is followed, in all forms.
const STREAM: HeaderName = HeaderName::from_static("martlet-stream");

impl TailParams {
    fn every(&self) -> Result<Option<Duration>, Problem> {
        match self.every {
            None => Ok(None),
            Some(every @ 100..=60_000) => Ok(Some(Duration::from_millis(every))),
            Some(every) => {
                Err(Problem::bad(format!("every is 100 to 60000 milliseconds, not {every}")))
            }
        }
    }
}

/// Bytes of events that are gathered into one piece of the answer.
const PIECE_BYTES: usize = 16 * 1024;

/// What is published, as it is published.
///
/// As server-sent events: `message` with a message as JSON, `dropped` with the number of messages
/// that were lost because the reader is slow. With `Accept: application/x-ndjson` the same as lines
/// of JSON, and over a WebSocket each as a message. Retained messages come first.
///
/// Events and WebSockets come from the log where a stream records all that the filter can match:
/// every event has its offset as its id, a reader that is slow loses nothing, and one that comes
/// back with `Last-Event-ID` misses nothing. `Martlet-Stream` of the answer names the stream.
#[utoipa::path(
    get, path = "/realtime/{filter}", tag = "messages",
    params(
        ("filter" = String, Path, description = "Topic Filter, with its slashes; # is %23"),
        TailParams,
    ),
    responses(
        (status = 200, description = "A stream without an end", content(
            (MessageBody<'static> = "text/event-stream"),
            (MessageBody<'static> = "application/x-ndjson"),
        )),
        (status = 400, description = "No such filter or parameter", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 403, description = "This user may not subscribe to that", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn realtime(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Rest(filter): Rest,
    Params(params): Params<TailParams>,
    Extension(visitor): Extension<Arc<Visitor>>,
    Shown(headers, mut extensions): Shown,
) -> Result<Response, Problem> {
    let accept = socket::wanted(&headers)?;
    // A message of a WebSocket is such a line.
    let form = if accept.is_some() { Form::Lines } else { Form::of(&headers) };
    let gives_ids = accept.is_some() || form == Form::Events;
    let source = match recorded(&shared, &params, &headers, (&filter, gives_ids))? {
        Some(place) => Source::Log(Box::new(follow(&shared, caller, &filter, place, form).await?)),
        None => {
            let filter = subscription(&filter, &shared)?;
            let tail = Tail::begin(&shared, &caller, filter, params.every()?).await?;
            Source::Tail(Box::new(tail))
        }
    };
    let stream = source.stream().map(HeaderValue::from_str).transpose();
    let stream = stream.expect("a stream's name is plain");
    let mut answer = if let Some(accept) = accept {
        let upgrade = extensions.remove::<OnUpgrade>();
        let detail = "this connection cannot become a WebSocket";
        let upgrade = upgrade.ok_or_else(|| Problem::bad(detail))?;
        socket::answer(accept, upgrade, shared, (source, Arc::clone(&visitor.places)))
    } else {
        let kind = HeaderValue::from_static(form.content_type());
        ([(CONTENT_TYPE, kind)], body(source, shared, form)).into_response()
    };
    answer.headers_mut().extend(stream.map(|stream| (STREAM, stream)));
    Ok(answer)
}

async fn follow(
    shared: &Arc<Shared>,
    caller: Caller,
    filter: &str,
    Place { named: (log, stream), from, is_now, behind }: Place,
    form: Form,
) -> Result<Followed, Problem> {
    let filter = history::recorded(shared, filter)?;
    let reader = log.reader(&stream, from, Some(filter.clone())).map_err(history::wrong)?;
    let retained = match is_now {
        true => Some(Retained::begin(shared, &caller, filter).await?),
        false => None,
    };
    Ok(Followed::new(shared, (log, stream), reader, (form, behind), caller, retained))
}

fn body(source: Source, shared: Arc<Shared>, form: Form) -> Body {
    match source {
        Source::Log(followed) => Body::new(*followed),
        Source::Tail(tail) => {
            let head = if form == Form::Events { WITHOUT_IDS } else { "" };
            Body::new(Streamed { shared, tail: *tail, form, head: head.into() })
        }
    }
}

/// The same for every topic that does not begin with `$`.
pub(super) async fn everything(
    shared: State<Arc<Shared>>,
    caller: Caller,
    params: Params<TailParams>,
    visitor: Extension<Arc<Visitor>>,
    shown: Shown,
) -> Result<Response, Problem> {
    realtime(shared, caller, Rest("#".to_owned()), params, visitor, shown).await
}

/// A place in a stream, from which on it is followed.
struct Place {
    named: Named,
    from: Position,
    /// Nobody asked for a place: it is now, and what is retained comes first.
    is_now: bool,
    /// What an id has behind the offset, so that the reader comes back to the same stream.
    behind: Arc<str>,
}

/// The stream to follow, and from where: the one that is named, otherwise one that records all of
/// the filter, otherwise the only one where a place is asked for. `None`: the tail is a
/// subscription.
fn recorded(
    shared: &Shared,
    params: &TailParams,
    headers: &HeaderMap,
    (filter, gives_ids): (&str, bool),
) -> Result<Option<Place>, Problem> {
    let last = headers.get("last-event-id").map(|last| last.to_str().unwrap_or_default());
    let last = last.filter(|last| !last.is_empty()).map(Last::parse).transpose()?;
    let from = match (&last, &params.offset) {
        (Some(last), _) => Some(Position::Offset(last.next)),
        (None, Some(text)) => Some(history::begin(text, shared)?),
        (None, None) => None,
    };
    let of_id = last.and_then(|last| last.stream);
    let name = match (params.stream.as_deref(), of_id, &from) {
        (Some(name), ..) | (None, Some(name), _) => Some(Arc::from(name)),
        (None, None, None) if !gives_ids || params.every.is_some() => return Ok(None),
        (None, None, _) => covering(shared, filter),
    };
    if name.is_none() && from.is_none() {
        return Ok(None);
    }
    if params.every.is_some() {
        return Err(Problem::bad("every is for what is not of a stream"));
    }
    let is_now = params.stream.is_none() && from.is_none();
    let named = history::stream(shared, name.as_deref())?;
    let is_one_of_many = params.stream.is_none() && named.0.streams().len() > 1;
    let behind = if is_one_of_many { format!("@{}", named.1).into() } else { Arc::default() };
    Ok(Some(Place { named, from: from.unwrap_or(Position::Latest), is_now, behind }))
}

/// A stream that records all that this filter can match.
fn covering(shared: &Shared, filter: &str) -> Option<Arc<str>> {
    let filter = Filter::parse(filter).ok().filter(Filter::is_plain)?;
    shared.log.get()?.covering(&filter)
}

/// What a reader had last.
struct Last<'h> {
    next: u64,
    stream: Option<&'h str>,
}

impl<'h> Last<'h> {
    /// An offset, or -1 in front of the first, perhaps with `@` and its stream.
    fn parse(text: &'h str) -> Result<Self, Problem> {
        let (last, stream) = match text.split_once('@') {
            Some((last, stream)) => (last, Some(stream)),
            None => (text, None),
        };
        let next =
            last.parse::<i128>().ok().and_then(|last| u64::try_from(last.checked_add(1)?).ok());
        let wrong = || format!("Last-Event-ID is the offset of an event, not {text:?}");
        let next = next.ok_or_else(|| Problem::bad(wrong()))?;
        Ok(Self { next, stream })
    }
}

/// A filter, perhaps of a share.
fn subscription(text: &str, shared: &Shared) -> Result<Filter, Problem> {
    let filter = Filter::parse(text).map_err(|error| {
        Problem::bad(format!("{text:?} is no topic filter: {error} (# is written %23 in a URL)"))
    })?;
    let levels_max = shared.settings.decode_limits.topic_levels_max;
    params::filter(filter.topic_filter().as_str(), levels_max)?;
    Ok(filter)
}

/// What a request has besides its path.
pub(super) struct Shown(HeaderMap, Extensions);

impl<S: Sync> FromRequestParts<S> for Shown {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.headers.clone(), std::mem::take(&mut parts.extensions)))
    }
}

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Events,
    Lines,
}

impl Form {
    fn of(headers: &HeaderMap) -> Self {
        let accept = headers.get(ACCEPT).map(HeaderValue::as_bytes).unwrap_or_default();
        if accept.ends_with(b"ndjson") { Self::Lines } else { Self::Events }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Events => "text/event-stream",
            Self::Lines => "application/x-ndjson",
        }
    }
}

/// A tail as the body of an answer.
struct Streamed {
    shared: Arc<Shared>,
    tail: Tail,
    form: Form,
    head: Vec<u8>,
}

impl HttpBody for Streamed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut piece = std::mem::take(&mut self.head);
        while piece.len() < PIECE_BYTES {
            match self.tail.poll_next(cx) {
                Poll::Ready(Some(event)) => {
                    let time = self.shared.driver.now();
                    write_event(&mut piece, self.form, &event, time);
                }
                Poll::Ready(None) if piece.is_empty() => return Poll::Ready(None),
                Poll::Pending if piece.is_empty() => return Poll::Pending,
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }
}

/// Writes one event behind others.
fn write_event(piece: &mut Vec<u8>, form: Form, event: &Event, time: Time) {
    match (form, event) {
        (_, Event::Message(message, retain)) => {
            write(piece, form, &MessageBody::new(message, *retain, time));
        }
        (Form::Events, Event::Dropped(count)) => {
            let text = format!("event: dropped\ndata: {{\"dropped\":{count}}}\n\n");
            piece.extend_from_slice(text.as_bytes());
        }
        (Form::Lines, Event::Dropped(count)) => {
            piece.extend_from_slice(format!("{{\"dropped\":{count}}}\n").as_bytes());
        }
        (Form::Events, Event::Alive) => piece.extend_from_slice(ALIVE.as_bytes()),
        (Form::Lines, Event::Alive) => {}
    }
}

/// Writes one message behind others.
pub(super) fn write(piece: &mut Vec<u8>, form: Form, message: &MessageBody<'_>) {
    let json = serde_json::to_string(message).expect("these fields have a form in JSON");
    let text = match form {
        Form::Events => format!("data: {json}\n\n"),
        Form::Lines => format!("{json}\n"),
    };
    piece.extend_from_slice(text.as_bytes());
}
