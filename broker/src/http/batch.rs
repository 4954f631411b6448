//! Many messages as JSON lines. They are published as they come, so that a batch may be larger than
//! memory; the answer comes when all of them are on disk.

use std::sync::Arc;

use axum::Json;
use axum::response::{IntoResponse, Response};
use base64ct::{Base64, Encoding};
use martlet_codec::reason::QoS;
use martlet_engine::message::Message;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::http::Shared;
use crate::http::login::{Caller, Visitor};
use crate::http::params;
use crate::http::placed::{Before, Recorded};
use crate::http::problem::Problem;
use crate::http::push::{
    OPEN_MAX, Publisher, PushParams, Upload, message_bytes_max, qos, too_large,
};

/// One line of a batch.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    /// Another topic than the path's.
    topic: Option<String>,
    /// The payload: text as it is, any other value as its JSON.
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Box<RawValue>>,
    /// The payload in base64.
    payload_base64: Option<String>,
    /// Another QoS than that behind the question mark.
    #[schema(maximum = 2)]
    qos: Option<u8>,
    /// Otherwise than behind the question mark.
    retain: Option<bool>,
}

/// A batch was published.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BatchPushed {
    /// How many messages it had.
    published: u64,
    /// Whether a power cut cannot take them any more, but for those of QoS 0.
    durable: bool,
    /// Where the last one of QoS 1 or 2 is recorded; the others are before it.
    records: Vec<Recorded>,
}

/// Publishes every line. At the first that is wrong it stops; those before it are published.
pub(super) async fn publish(
    shared: &Arc<Shared>,
    visitor: &Visitor,
    caller: &Caller,
    otherwise: (Option<&str>, PushParams),
    mut upload: Upload,
) -> Result<Response, Problem> {
    let mut place = visitor.publisher.lock().await;
    let publisher = Publisher::at(&mut place, shared, caller);
    let (rest, line, published, kept) = (Vec::new(), 0, 0, 0);
    let (last, before) = (None, None);
    let mut batch =
        Batch { shared, publisher, otherwise, rest, line, published, kept, last, before };
    let done = async {
        while let Some(bytes) = upload.next().await? {
            batch.take(&bytes).await?;
        }
        batch.finish().await
    };
    let done = done.await;
    let published = batch.published;
    match done {
        Ok(records) => {
            let durable = shared.driver.keeps();
            Ok(Json(BatchPushed { published, durable, records }).into_response())
        }
        Err(problem) => {
            // What was begun is published before it is said how much that was.
            if batch.publisher.settle(0).await.is_err() {
                *place = None;
            }
            Err(problem.after(published))
        }
    }
}

struct Batch<'b> {
    shared: &'b Shared,
    publisher: &'b mut Publisher,
    otherwise: (Option<&'b str>, PushParams),
    /// The beginning of the next line.
    rest: Vec<u8>,
    line: u64,
    published: u64,
    /// Those of them that are acknowledged, the last one, and where streams ended not long before.
    kept: usize,
    last: Option<Message>,
    before: Option<Before>,
}

impl Batch<'_> {
    async fn take(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let mut pieces = bytes.split(|&byte| byte == b'\n');
        let last = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            self.rest.extend_from_slice(piece);
            self.end_line().await?;
        }
        // Nobody knows when the next piece comes: what is there goes on.
        self.publisher.flush().await?;
        self.rest.extend_from_slice(last);
        let max = u64::from(self.shared.settings.decode_limits.packet_size_max);
        if self.rest.len() as u64 > max {
            return Err(at(self.line + 1, &too_large(max)));
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<Vec<Recorded>, Problem> {
        self.end_line().await?;
        self.publisher.settle(0).await?;
        match (&self.last, self.before.take()) {
            (Some(last), Some(before)) => {
                Ok(before.find(last.topic(), self.publisher.client_id()).await)
            }
            _ => Ok(Vec::new()),
        }
    }

    async fn end_line(&mut self) -> Result<(), Problem> {
        self.line += 1;
        let line = std::mem::take(&mut self.rest);
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let message = self.message(&line).map_err(|problem| at(self.line, &problem))?;
        // What is received at QoS 2 has a bound of its own, at which the broker ends the link.
        let open_max = if message.qos() == QoS::ExactlyOnce { 0 } else { OPEN_MAX };
        self.publisher.settle(open_max).await?;
        if message.qos() > QoS::AtMostOnce {
            self.note_kept(&message);
        }
        self.publisher.begin(message).map_err(|problem| at(self.line, &problem))?;
        self.published += 1;
        Ok(())
    }

    fn note_kept(&mut self, message: &Message) {
        if self.kept.is_multiple_of(OPEN_MAX) {
            self.before = self.shared.log.get().map(Before::of);
        }
        self.kept += 1;
        self.last = Some(message.clone());
    }

    fn message(&self, line: &[u8]) -> Result<Message, Problem> {
        let (topic, params) = self.otherwise;
        let line: Line = serde_json::from_slice(line)
            .map_err(|error| Problem::bad(format!("no such object: {error}")))?;
        let topic = line.topic.as_deref().or(topic);
        let topic = topic.ok_or_else(|| Problem::bad("neither line nor path has a topic"))?;
        let topic = params::topic(topic, self.shared.settings.decode_limits.topic_levels_max)?;
        let payload = line.payload()?;
        let max = message_bytes_max(self.shared, topic);
        if payload.len() as u64 > max {
            return Err(too_large(max));
        }
        let qos = qos(line.qos.unwrap_or(params.qos))?;
        Ok(Message::new(topic, &payload, qos, line.retain.unwrap_or(params.retain)))
    }
}

impl Line {
    fn payload(&self) -> Result<Vec<u8>, Problem> {
        match (&self.payload, &self.payload_base64) {
            (Some(value), None) => match serde_json::from_str::<String>(value.get()) {
                Ok(text) => Ok(text.into_bytes()),
                Err(_) => Ok(value.get().as_bytes().to_vec()),
            },
            (None, Some(text)) => Base64::decode_vec(text)
                .map_err(|_| Problem::bad("payload_base64 is no base64 with padding")),
            (None, None) => Err(Problem::bad("there is no payload")),
            (Some(_), Some(_)) => {
                Err(Problem::bad("payload and payload_base64 exclude each other"))
            }
        }
    }
}

fn at(line: u64, problem: &Problem) -> Problem {
    Problem::new(problem.status(), format!("line {line}: {}", problem.detail()))
}
