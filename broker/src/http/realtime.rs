//! `GET /realtime/{filter}`: what is published, as it is published.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use martlet_engine::filter::Filter;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::http::Shared;
use crate::http::login::Caller;
use crate::http::message::MessageBody;
use crate::http::params::{self, Params, Rest};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::tail::{Event, Tail};

/// How a live tail comes.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct TailParams {
    /// Milliseconds: only the last message of each topic, so often. Without it every message.
    #[param(minimum = 100, maximum = 60000)]
    every: Option<u64>,
}

/// Bytes of events that are gathered into one piece of the answer.
const PIECE_BYTES: usize = 16 * 1024;

/// What is published, as it is published.
///
/// As server-sent events: `message` with a message as JSON, `dropped` with the number of messages
/// that were lost because the reader is slow. With `Accept: application/x-ndjson` the same as lines
/// of JSON. Retained messages come first.
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
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let every = params.every.map(|every| match every {
        100..=60_000 => Ok(Duration::from_millis(every)),
        _ => Err(Problem::bad(format!("every is 100 to 60000 milliseconds, not {every}"))),
    });
    let filter = subscription(&filter, &shared)?;
    let tail = Tail::begin(&shared, &caller, filter, every.transpose()?).await?;
    let lines = headers.get(ACCEPT).is_some_and(|accept| accept.as_bytes().ends_with(b"ndjson"));
    let (form, kind) = match lines {
        true => (Form::Lines, "application/x-ndjson"),
        false => (Form::Events, "text/event-stream"),
    };
    let kind = HeaderValue::from_static(kind);
    Ok(([(CONTENT_TYPE, kind)], Body::new(Streamed { shared, tail, form })).into_response())
}

/// The same for every topic that does not begin with `$`.
pub(super) async fn everything(
    shared: State<Arc<Shared>>,
    caller: Caller,
    params: Params<TailParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    realtime(shared, caller, Rest("#".to_owned()), params, headers).await
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

/// How events are written.
#[derive(Clone, Copy, Debug)]
enum Form {
    Events,
    Lines,
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
