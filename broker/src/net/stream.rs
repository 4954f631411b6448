//! A byte stream under a connection. All of it works on `&self`, because whoever fills a client's
//! outbox writes to its socket from a task of its own, while the connection's own task reads.
//!
//! A stream is a pile of layers: a socket, perhaps TLS over it, perhaps WebSocket
//! over that. Each layer keeps two promises:
//!
//! - What [`Stream::try_write`] has answered is out of this process. A layer that could give only
//!   a part of what it made of some bytes to the layer below answers `WouldBlock`, keeps the rest,
//!   and answers for those bytes once that is out. So whoever was told `WouldBlock` comes again
//!   with **the same bytes**.
//! - [`Stream::poll_read`] and [`Stream::poll_writable`] are called by the connection's own task
//!   alone, which thus is the only one to be woken. A layer that has to write in order to read (an
//!   answer of a handshake) does so in `poll_read`.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use crate::net::socket::Socket;
use crate::net::tls::session::{self, Negotiated};
use crate::net::websocket;

/// The stream, by its uppermost layer.
#[derive(Debug)]
pub enum Stream {
    /// The socket as it is.
    Clear(Socket),
    /// In TLS.
    Tls(Box<session::Session>),
    /// In the frames of a WebSocket.
    WebSocket(Box<websocket::session::Session>),
}

impl Stream {
    /// Reads what is there; 0 is the end of the stream.
    pub fn poll_read(&self, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Clear(socket) => socket.poll_read(cx, bytes),
            Self::Tls(session) => session.poll_read(cx, bytes),
            Self::WebSocket(session) => session.poll_read(cx, bytes),
        }
    }

    /// Writes what the layers below take now, from any task.
    ///
    /// # Errors
    /// `WouldBlock` when they take nothing: come again with the same bytes. Anything else is the
    /// end of the connection.
    pub fn try_write(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Clear(socket) => socket.try_write(bytes),
            Self::Tls(session) => session.try_write(bytes),
            Self::WebSocket(session) => session.try_write(bytes),
        }
    }

    /// Waits until more may be written. Only the connection's own task asks.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Clear(socket) => socket.poll_writable(cx),
            Self::Tls(session) => session.poll_writable(cx),
            Self::WebSocket(session) => session.poll_writable(cx),
        }
    }

    /// Tells the peer that nothing more comes.
    pub fn shut_down(&self) {
        match self {
            Self::Clear(socket) => socket.shut_down(),
            Self::Tls(session) => session.shut_down(),
            Self::WebSocket(session) => session.shut_down(),
        }
    }

    /// What TLS was agreed on, if there is any.
    pub fn negotiated(&self) -> Option<Negotiated> {
        match self {
            Self::Clear(_) => None,
            Self::Tls(session) => session.negotiated(),
            Self::WebSocket(session) => session.below().negotiated(),
        }
    }

    /// Whether the peer is told that nothing more comes by other means than the end of the stream,
    /// and answers to it.
    pub fn takes_leave(&self) -> bool {
        matches!(self, Self::WebSocket(_))
    }
}
