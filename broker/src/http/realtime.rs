//! `GET /realtime/{filter}`: what is published, as it is published.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequestParts, State};
use axum::http::Extensions;
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use hyper::upgrade::OnUpgrade;
use martlet_engine::filter::Filter;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::http::follow::Followed;
use crate::http::history::Named;
use crate::http::login::Caller;
use crate::http::message::MessageBody;
use crate::http::params::{self, Params, Rest};
use crate::http::problem::{Problem, ProblemBody};
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
    /// Follow this stream of the log: every event has its offset as its id, and nothing is lost.
    stream: Option<String>,
    /// With a stream: where to begin; an offset, `earliest`, `latest` or a time. `Last-Event-ID`
    /// says it too.
    offset: Option<String>,
}

/// Bytes of events that are gathered into one piece of the answer.
const PIECE_BYTES: usize = 16 * 1024;

/// What is published, as it is published.
///
/// As server-sent events: `message` with a message as JSON, `dropped` with the number of messages
/// that were lost because the reader is slow. With `Accept: application/x-ndjson` the same as lines
/// of JSON, and over a WebSocket each as a message. Retained messages come first.
///
/// From a stream of the log every event has its offset as its id, a reader that is slow loses
/// nothing, and one that comes back with `Last-Event-ID` misses nothing.
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
    Shown(headers, mut extensions): Shown,
) -> Result<Response, Problem> {
    let every = params.every.map(|every| match every {
        100..=60_000 => Ok(Duration::from_millis(every)),
        _ => Err(Problem::bad(format!("every is 100 to 60000 milliseconds, not {every}"))),
    });
    let form = Form::of(&headers);
    let accept = socket::wanted(&headers)?;
    let source = match recorded(&shared, &params, &headers)? {
        Some((log, from)) if every.is_none() => {
            let filter = history::recorded(&shared, &filter)?;
            let reader = log.0.reader(&log.1, from, Some(filter)).map_err(history::wrong)?;
            // A message of a WebSocket is such a line.
            let form = if accept.is_some() { Form::Lines } else { form };
            Source::Log(Box::new(Followed::new(&shared, log, reader, form, caller)))
        }
        Some(_) => return Err(Problem::bad("every is for what is not of a stream")),
        None => {
            let filter = subscription(&filter, &shared)?;
            let tail = Tail::begin(&shared, &caller, filter, every.transpose()?).await?;
            Source::Tail(Box::new(tail))
        }
    };
    if let Some(accept) = accept {
        let upgrade = extensions.remove::<OnUpgrade>();
        let detail = "this connection cannot become a WebSocket";
        let upgrade = upgrade.ok_or_else(|| Problem::bad(detail))?;
        return Ok(socket::answer(accept, upgrade, shared, source));
    }
    let body = match source {
        Source::Log(followed) => Body::new(*followed),
        Source::Tail(tail) => Body::new(Streamed { shared, tail: *tail, form }),
    };
    let kind = HeaderValue::from_static(form.content_type());
    Ok(([(CONTENT_TYPE, kind)], body).into_response())
}

/// The same for every topic that does not begin with `$`.
pub(super) async fn everything(
    shared: State<Arc<Shared>>,
    caller: Caller,
    params: Params<TailParams>,
    shown: Shown,
) -> Result<Response, Problem> {
    realtime(shared, caller, Rest("#".to_owned()), params, shown).await
}

/// The stream to follow, and from where: the one that is named, or the only one where `offset` or
/// `Last-Event-ID` asks for it. `None`: the tail is a subscription.
fn recorded(
    shared: &Shared,
    params: &TailParams,
    headers: &HeaderMap,
) -> Result<Option<(Named, Position)>, Problem> {
    let last = headers.get("last-event-id").and_then(|last| last.to_str().ok());
    let last = last.map(|last| {
        let next = last.parse::<u64>().ok().and_then(|last| last.checked_add(1));
        let detail = || format!("Last-Event-ID is the offset of an event, not {last:?}");
        next.ok_or_else(|| Problem::bad(detail()))
    });
    let from = match (last.transpose()?, &params.offset) {
        (Some(next), _) => Some(Position::Offset(next)),
        (None, Some(text)) => Some(history::begin(text, shared)?),
        (None, None) => None,
    };
    if params.stream.is_none() && from.is_none() {
        return Ok(None);
    }
    let named = history::stream(shared, params.stream.as_deref())?;
    Ok(Some((named, from.unwrap_or(Position::Latest))))
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
}

impl HttpBody for Streamed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut piece = Vec::new();
        while piece.len() < PIECE_BYTES {
            match self.tail.poll_next(cx) {
                Poll::Ready(Some(event)) => {
                    let time = self.shared.driver.now();
                    write(&mut piece, self.form, &event, |message, retain| {
                        MessageBody::new(message, retain, time)
                    });
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
fn write<'m>(
    piece: &mut Vec<u8>,
    form: Form,
    event: &'m Event,
    body: impl FnOnce(&'m martlet_engine::message::Message, bool) -> MessageBody<'m>,
) {
    let json = match event {
        Event::Message(message, retain) => serde_json::to_string(&body(message, *retain))
            .expect("these fields have a form in JSON"),
        Event::Dropped(count) => format!("{{\"dropped\":{count}}}"),
        Event::Alive => String::new(),
    };
    let text = match (form, event) {
        (Form::Events, Event::Message(..)) => format!("data: {json}\n\n"),
        (Form::Events, Event::Dropped(_)) => format!("event: dropped\ndata: {json}\n\n"),
        (Form::Events, Event::Alive) => ": all is well\n\n".to_owned(),
        (Form::Lines, Event::Alive) => return,
        (Form::Lines, _) => format!("{json}\n"),
    };
    piece.extend_from_slice(text.as_bytes());
}
