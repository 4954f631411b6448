//! A byte stream under a connection, in two halves: one to read, which the connection's own task
//! holds, and one to write, which works on `&self`, because whoever fills a client's outbox writes
//! to its socket from a task of its own.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// The half that reads. TLS, WebSocket and unix sockets are further variants.
#[derive(Debug)]
pub enum Reader {
    /// TCP, in the clear.
    Tcp(OwnedReadHalf),
}

/// The half that writes.
#[derive(Debug)]
pub enum Writer {
    /// TCP, in the clear.
    Tcp(OwnedWriteHalf),
}

/// Takes over an accepted socket: TCP, an ordered and lossless stream [MQTT-7.1.1-1].
pub fn tcp(socket: TcpStream) -> (Reader, Writer) {
    let (reader, writer) = socket.into_split();
    (Reader::Tcp(reader), Writer::Tcp(writer))
}

impl Reader {
    /// Reads what is there; 0 is the end of the stream.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(bytes);
        match self {
            Self::Tcp(socket) => ready!(Pin::new(socket).poll_read(cx, &mut buffer))?,
        }
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl Writer {
    /// Writes what the socket takes now, from any task.
    ///
    /// # Errors
    /// `WouldBlock` when it takes nothing; anything else is the end of the connection.
    pub fn try_write(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, bytes) {
            (Self::Tcp(socket), [bytes]) => socket.try_write(bytes),
            (Self::Tcp(socket), several) => socket.try_write_vectored(several),
        }
    }

    /// Waits until the socket may take more. Only the connection's own task asks.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(socket) => socket.as_ref().poll_write_ready(cx),
        }
    }

    /// Tells the peer that nothing more comes.
    pub fn shut_down(&self) {
        match self {
            // An error means that the peer is gone already.
            Self::Tcp(socket) => drop(SockRef::from(socket.as_ref()).shutdown(Shutdown::Write)),
        }
    }
}
