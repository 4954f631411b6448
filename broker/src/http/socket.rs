//! The live tail over WebSocket: each event a text message of JSON, as the lines have it.

use std::io::{self, ErrorKind, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use axum::http::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::sleep;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
use tungstenite::{Error, Message};

use crate::http::Shared;
use crate::http::follow::Followed;
use crate::http::message::MessageBody;
use crate::http::problem::Problem;
use crate::http::tail::{Event, Tail};
use crate::http::window::{LINGER, Places};

/// Where events come from.
pub(super) enum Source {
    Tail(Box<Tail>),
    Log(Box<Followed>),
}

/// A byte stream for a library that asks it again when it is told `WouldBlock`.
struct Asked {
    stream: TokioIo<Upgraded>,
    /// Of the task that asks.
    waker: Waker,
}

/// Bytes of a message from the client, who has nothing to say. At the bound: the end.
const HEARD_BYTES_MAX: usize = 4096;

/// Whether a request wants a WebSocket; or why it gets none.
pub(super) fn wanted(headers: &HeaderMap) -> Result<Option<HeaderValue>, Problem> {
    let says = |name: HeaderName, word: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word))
    };
    if !says(UPGRADE, "websocket") {
        return Ok(None);
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|_| says(CONNECTION, "upgrade"));
    let (Some(key), true) = (key, says(SEC_WEBSOCKET_VERSION, "13")) else {
        let detail = "a WebSocket wants Connection: Upgrade, Sec-WebSocket-Version: 13 and a key";
        return Err(
            Problem::bad(detail).with(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
        );
    };
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()));
    accept.map(Some).map_err(|_| Problem::bad("the key is none"))
}

/// Says yes, and goes on with the connection once it has changed hands, in its places.
pub(super) fn answer(
    accept: HeaderValue,
    upgrade: OnUpgrade,
    shared: Arc<Shared>,
    (source, places): (Source, Arc<Places>),
) -> Response {
    tokio::spawn(async move {
        if let Ok(stream) = upgrade.await {
            serve(stream, &shared, source).await;
        }
        drop(places);
    });
    let headers = [
        (UPGRADE, HeaderValue::from_static("websocket")),
        (CONNECTION, HeaderValue::from_static("upgrade")),
        (SEC_WEBSOCKET_ACCEPT, accept),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

async fn serve(stream: Upgraded, shared: &Shared, mut source: Source) {
    let asked = Asked { stream: TokioIo::new(stream), waker: Waker::noop().clone() };
    let config = WebSocketConfig::default()
        .read_buffer_size(HEARD_BYTES_MAX)
        .write_buffer_size(0)
        .max_write_buffer_size(usize::MAX)
        .max_message_size(Some(HEARD_BYTES_MAX))
        .max_frame_size(Some(HEARD_BYTES_MAX));
    let mut socket = WebSocket::from_raw_socket(asked, Role::Server, Some(config));
    let served = std::future::poll_fn(|cx| poll(&mut socket, &mut source, shared, cx));
    let mut stopping = shared.stopping.clone();
    let lingered = async {
        // An end that nobody can announce any more is one too.
        let _ = stopping.wait_for(|stopping| *stopping).await;
        sleep(LINGER).await;
    };
    tokio::select! {
        () = served => {}
        () = lingered => {}
    }
}

/// Does what can be done now, in both directions.
fn poll(
    socket: &mut WebSocket<Asked>,
    source: &mut Source,
    shared: &Shared,
    cx: &mut Context<'_>,
) -> Poll<()> {
    socket.get_mut().waker.clone_from(cx.waker());
    loop {
        match socket.read() {
            Ok(Message::Close(_)) | Err(Error::ConnectionClosed) => return Poll::Ready(()),
            Ok(_) => {}
            Err(error) if would_block(&error) => break,
            Err(_) => return Poll::Ready(()),
        }
    }
    loop {
        match socket.flush() {
            Ok(()) => {}
            Err(error) if would_block(&error) => return Poll::Pending,
            Err(_) => return Poll::Ready(()),
        }
        let Some(messages) = ready!(source.poll_messages(shared, cx)) else {
            // The peer closes too, or is gone: in both cases this was the last.
            let _ = socket.close(None).and_then(|()| socket.flush());
            return Poll::Ready(());
        };
        for message in messages {
            match socket.write(message) {
                Ok(()) => {}
                Err(error) if would_block(&error) => {}
                Err(_) => return Poll::Ready(()),
            }
        }
    }
}

fn would_block(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == ErrorKind::WouldBlock)
}

impl Source {
    /// The stream that it follows, if it does.
    pub(super) fn stream(&self) -> Option<&str> {
        match self {
            Self::Tail(_) => None,
            Self::Log(followed) => Some(followed.stream()),
        }
    }

    /// What comes next; `None` is the end.
    fn poll_messages(
        &mut self,
        shared: &Shared,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Vec<Message>>> {
        match self {
            Self::Tail(tail) => {
                let event = ready!(tail.poll_next(cx));
                Poll::Ready(event.map(|event| vec![message(&event, shared)]))
            }
            Self::Log(followed) => {
                let piece = ready!(followed.poll_piece(cx));
                let piece = piece.and_then(Result::ok);
                Poll::Ready(piece.map(|piece| {
                    if piece.is_empty() {
                        return vec![Message::Ping(Default::default())];
                    }
                    let text = String::from_utf8_lossy(&piece);
                    text.lines().map(Message::text).collect()
                }))
            }
        }
    }
}

fn message(event: &Event, shared: &Shared) -> Message {
    match event {
        Event::Message(message, retain) => {
            let body = MessageBody::new(message, *retain, shared.driver.now());
            Message::text(serde_json::to_string(&body).expect("these fields have a form in JSON"))
        }
        Event::Dropped(count) => Message::text(format!("{{\"dropped\":{count}}}")),
        Event::Alive => Message::Ping(Default::default()),
    }
}

impl Read for Asked {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(bytes);
        let mut cx = Context::from_waker(&self.waker);
        match Pin::new(&mut self.stream).poll_read(&mut cx, &mut buffer) {
            Poll::Ready(read) => read.map(|()| buffer.filled().len()),
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Asked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut cx = Context::from_waker(&self.waker);
        match Pin::new(&mut self.stream).poll_write(&mut cx, bytes) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut cx = Context::from_waker(&self.waker);
        match Pin::new(&mut self.stream).poll_flush(&mut cx) {
            Poll::Ready(flushed) => flushed,
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }
}
