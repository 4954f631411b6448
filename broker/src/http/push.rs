//! `POST /push/{topic}`: a message, or many as JSON lines, and an answer once it is on disk.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Extension, FromRequest, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderMap};
use axum::response::{IntoResponse, Response};
use martlet_codec::ids::PacketId;
use martlet_codec::packet::Delivery;
use martlet_codec::reason::QoS;
use martlet_codec::topic::TopicName;
use martlet_engine::effects::{Farewell, OutPacket};
use martlet_engine::input::InPacket;
use martlet_engine::message::Message;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};

use crate::driver::Driver;
use crate::http::link::{self, Client};
use crate::http::login::{Caller, Visitor};
use crate::http::message::rfc3339;
use crate::http::params::{self, Params, Rest};
use crate::http::placed::{Before, Recorded};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::{Shared, batch};

/// How a message is published.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct PushParams {
    /// 1 and 2: the answer comes once the message is on disk. 0: once the broker has it.
    #[param(default = 1, maximum = 2)]
    pub(super) qos: u8,
    /// Whether it is kept as its topic's retained message.
    #[param(default = false)]
    pub(super) retain: bool,
}

impl Default for PushParams {
    fn default() -> Self {
        Self { qos: 1, retain: false }
    }
}

/// A message was published.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Pushed {
    /// Its topic.
    topic: String,
    /// Its QoS.
    #[schema(maximum = 2)]
    qos: u8,
    /// Whether it is its topic's retained message now.
    retain: bool,
    /// When it was done, in UTC.
    time: String,
    /// Whether a power cut cannot take it any more from those whom it is kept for.
    durable: bool,
    /// Where it is recorded; at QoS 0 nobody waits to know.
    records: Vec<Recorded>,
}

/// A client that publishes, for as long as one connection of HTTP asks it to.
#[derive(Debug)]
pub(super) struct Publisher {
    client: Client,
    driver: Arc<Driver>,
    caller: Caller,
    last: PacketId,
    /// Those that are not settled yet.
    open: BTreeSet<PacketId>,
    /// Their PINGRESP says that what came before it at QoS 0 was taken.
    pinging: bool,
}

/// Messages of a batch that may be on their way to the disk at a time.
pub(super) const OPEN_MAX: usize = 256;

/// How long the rest of a body may let itself be waited for. At the bound: 408.
const BODY_STALL_MAX: Duration = Duration::from_secs(30);

/// How long acknowledgements are waited for while the store fails. At the bound: 503.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a PUBLISH has besides its topic and payload, at most.
const HEAD_BYTES: u64 = 16;

/// Publish a message.
///
/// The body is the payload, whatever it is. With `Content-Type: application/x-ndjson` it is a
/// batch: a line for each message, an object with `payload` (text as it is, any other value as its
/// JSON) or `payload_base64`, and perhaps `topic`, `qos` and `retain` of its own.
#[utoipa::path(
    post, path = "/push/{topic}", tag = "messages",
    params(("topic" = String, Path, description = "Topic Name, with its slashes"), PushParams),
    request_body(content(
        (Vec<u8> = "application/octet-stream"),
        (batch::Line = "application/x-ndjson"),
    )),
    responses(
        (status = 200, description = "Published and on disk (QoS 1 and 2)", body = Pushed),
        (status = 202, description = "Published (QoS 0)", body = Pushed),
        (status = 400, description = "No such topic, parameter or line", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 403, description = "This user may not publish there", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 413, description = "Larger than a message may be", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 503, description = "The broker stops, or its store fails", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn push(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Arc<Visitor>>,
    caller: Caller,
    Rest(topic): Rest,
    Params(params): Params<PushParams>,
    upload: Upload,
) -> Result<Response, Problem> {
    if upload.is_lines {
        let topic = Some(topic.as_str()).filter(|topic| !topic.is_empty());
        return batch::publish(&shared, &visitor, &caller, (topic, params), upload).await;
    }
    let topic = params::topic(&topic, shared.settings.decode_limits.topic_levels_max)?;
    let qos = qos(params.qos)?;
    let payload = upload.whole(message_bytes_max(&shared, topic)).await?;
    let message = Message::new(topic, &payload, qos, params.retain);
    let mut place = visitor.publisher.lock().await;
    let publisher = Publisher::at(&mut place, &shared, &caller);
    let before = shared.log.get().filter(|_| qos > QoS::AtMostOnce).map(Before::of);
    let done = async {
        publisher.begin(message)?;
        publisher.settle(0).await?;
        match before {
            Some(before) => Ok(before.find(topic, publisher.client_id()).await),
            None => Ok(Vec::new()),
        }
    };
    let records = match done.await {
        Ok(records) => records,
        Err(problem) => {
            *place = None;
            return Err(problem);
        }
    };
    let (status, durable) = match qos {
        QoS::AtMostOnce => (StatusCode::ACCEPTED, false),
        QoS::AtLeastOnce | QoS::ExactlyOnce => (StatusCode::OK, shared.driver.keeps()),
    };
    let pushed = Pushed {
        topic: topic.as_str().to_owned(),
        qos: params.qos,
        retain: params.retain,
        time: rfc3339(shared.driver.now()),
        durable,
        records,
    };
    Ok((status, Json(pushed)).into_response())
}

/// A batch whose lines say their topics.
pub(super) async fn without_topic(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Arc<Visitor>>,
    caller: Caller,
    Params(params): Params<PushParams>,
    upload: Upload,
) -> Result<Response, Problem> {
    if !upload.is_lines {
        return Err(Problem::bad(
            "name a topic, /push/TOPIC, or send JSON lines with a topic in each \
             (Content-Type: application/x-ndjson)",
        ));
    }
    batch::publish(&shared, &visitor, &caller, (None, params), upload).await
}

fn is_lines(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    ["application/x-ndjson", "application/jsonl", "application/x-jsonlines"].contains(&kind)
}

pub(super) fn qos(number: u8) -> Result<QoS, Problem> {
    match number {
        0 => Ok(QoS::AtMostOnce),
        1 => Ok(QoS::AtLeastOnce),
        2 => Ok(QoS::ExactlyOnce),
        _ => Err(Problem::bad(format!("qos is 0, 1 or 2, not {number}"))),
    }
}

/// Bytes of the largest payload that fits a packet of this topic.
pub(super) fn message_bytes_max(shared: &Shared, topic: TopicName<'_>) -> u64 {
    let packet = u64::from(shared.settings.decode_limits.packet_size_max);
    packet.saturating_sub(HEAD_BYTES + topic.as_bytes().len() as u64)
}

pub(super) fn too_large(max: u64) -> Problem {
    let detail =
        format!("more than {max} bytes, which limits.packet_size_max leaves for a payload");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

impl Publisher {
    /// The publisher of this connection; another one if it is somebody else's by now.
    pub(super) fn at<'p>(
        place: &'p mut Option<Self>,
        shared: &Shared,
        caller: &Caller,
    ) -> &'p mut Self {
        if place.as_ref().is_some_and(|publisher| !publisher.caller.who.is(&caller.who)) {
            *place = None;
        }
        place.get_or_insert_with(|| Self {
            client: link::open(&shared.driver, &shared.gate, caller),
            driver: Arc::clone(&shared.driver),
            caller: caller.clone(),
            last: PacketId::FIRST,
            open: BTreeSet::new(),
            pinging: false,
        })
    }

    /// Under which it publishes.
    pub(super) fn client_id(&self) -> &str {
        &self.caller.client_id
    }

    /// Publishes, or says why this user may not; what comes of it is for [`settle`](Self::settle).
    pub(super) fn begin(&mut self, message: Message) -> Result<(), Problem> {
        let topic = message.topic();
        let permit = self.client.permit();
        if permit.is_some_and(|permit| !permit.may_publish(&self.caller.client_id, topic)) {
            let user = self.caller.who.user.as_deref().unwrap_or("an anonymous client");
            let topic = topic.as_str();
            let detail = format!("{user} may not publish to {topic:?}; `martlet why` says why");
            return Err(Problem::forbidden(detail));
        }
        if topic.as_str().starts_with("$SYS/") {
            return Err(Problem::forbidden("$SYS is the broker's own"));
        }
        let delivery = match message.qos() {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            QoS::AtLeastOnce => Delivery::AtLeastOnce { id: self.next_id(), dup: false },
            QoS::ExactlyOnce => Delivery::ExactlyOnce { id: self.next_id(), dup: false },
        };
        self.pinging |= delivery == Delivery::AtMostOnce;
        self.client.say(InPacket::Publish { message, delivery });
        Ok(())
    }

    /// Waits until no more than so many are on their way.
    pub(super) async fn settle(&mut self, open_max: usize) -> Result<(), Problem> {
        if open_max == 0 && self.pinging {
            self.client.say(InPacket::PingReq);
        }
        while self.open.len() > open_max || (open_max == 0 && self.pinging) {
            match timeout(PATIENCE, self.client.hear()).await {
                Ok(heard) => self.take(heard.map_err(closed)?),
                Err(_) => self.must_be_kept()?,
            }
        }
        Ok(())
    }

    /// Who waits is told where the store is why.
    fn must_be_kept(&self) -> Result<(), Problem> {
        let Some(since) = self.driver.store_health().failing_since else { return Ok(()) };
        Err(Problem::unavailable(format!(
            "published, but not acknowledged: the store has failed since {}, and the log has the \
             system's words. Sent again, it may be there twice",
            rfc3339(since)
        )))
    }

    /// Lets the broker have what was begun, and waits for nothing.
    pub(super) async fn flush(&mut self) -> Result<(), Problem> {
        let mut heard = Vec::new();
        let sent = poll_fn(|cx| match self.client.poll_hear(cx, &mut heard) {
            Poll::Ready(Err(farewell)) => Poll::Ready(Err(closed(farewell))),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(())),
        });
        sent.await?;
        self.take(heard);
        Ok(())
    }

    fn take(&mut self, heard: Vec<OutPacket>) {
        for packet in heard {
            match packet {
                OutPacket::PubAck(id) | OutPacket::PubComp(id) => drop(self.open.remove(&id)),
                OutPacket::PubRec(id) => self.client.say(InPacket::PubRel(id)),
                OutPacket::PingResp => self.pinging = false,
                _ => {}
            }
        }
    }

    fn next_id(&mut self) -> PacketId {
        self.last = self.last.next();
        self.open.insert(self.last);
        self.last
    }
}

/// The broker ended a link.
pub(super) fn closed(farewell: Farewell) -> Problem {
    Problem::unavailable(match farewell {
        Farewell::ShuttingDown => "the broker stops".to_owned(),
        Farewell::Refused(_) => "the broker takes no more sessions (sessions_max)".to_owned(),
        Farewell::LimitReached { limit } => format!("a bound was reached: {limit}"),
        _ => "the broker ended the session of this request; its log says why".to_owned(),
    })
}

/// A body on its way in.
pub(super) struct Upload {
    body: Body,
    left: u64,
    bytes_max: u64,
    /// It is a batch, as lines of JSON.
    is_lines: bool,
}

impl FromRequest<Arc<Shared>> for Upload {
    type Rejection = Problem;

    async fn from_request(request: Request, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let bytes_max = shared.settings.body_bytes_max;
        let is_lines = is_lines(request.headers());
        let upload = Self { left: bytes_max, bytes_max, is_lines, body: request.into_body() };
        match upload.body.size_hint().lower() > bytes_max {
            true => Err(upload.too_large()),
            false => Ok(upload),
        }
    }
}

impl Upload {
    /// The next piece; `None` is the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let frame = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx));
            let Ok(frame) = timeout(BODY_STALL_MAX, frame).await else {
                let detail = format!("nothing more came for {} s", BODY_STALL_MAX.as_secs());
                return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail));
            };
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| Problem::bad(format!("a broken body: {error}")))?;
            let Ok(bytes) = frame.into_data() else { continue };
            let left = self.left.checked_sub(bytes.len() as u64);
            self.left = left.ok_or_else(|| self.too_large())?;
            return Ok(Some(bytes));
        }
    }

    /// All of it, of so many bytes at most.
    async fn whole(mut self, max: u64) -> Result<Vec<u8>, Problem> {
        if self.body.size_hint().lower() > max {
            return Err(too_large(max));
        }
        let mut whole = Vec::new();
        while let Some(bytes) = self.next().await? {
            if whole.len() as u64 + bytes.len() as u64 > max {
                return Err(too_large(max));
            }
            whole.extend_from_slice(&bytes);
        }
        Ok(whole)
    }

    fn too_large(&self) -> Problem {
        let detail = format!("more than {} bytes (http.body_bytes_max)", self.bytes_max);
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }
}
