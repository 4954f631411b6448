//! An accepted socket, in two halves. Further kinds of sockets are further variants; what is spoken
//! over them is for the layers of `stream`.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, recv};
use socket2::SockRef;
use tokio::io::{AsyncRead, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream, tcp, unix};

use crate::driver::turn;

/// A socket as it was accepted.
#[derive(Debug)]
pub enum Socket {
    /// TCP, an ordered and lossless stream [MQTT-7.1.1-1].
    Tcp(TcpStream),
    /// A socket in the file system, which is such a stream too.
    Unix(UnixStream),
}

/// The half that reads.
#[derive(Debug)]
pub enum ReadHalf {
    /// Of TCP.
    Tcp(tcp::OwnedReadHalf),
    /// Of a socket in the file system.
    Unix(unix::OwnedReadHalf),
}

/// The half that writes.
#[derive(Debug)]
pub enum WriteHalf {
    /// Of TCP.
    Tcp(tcp::OwnedWriteHalf),
    /// Of a socket in the file system.
    Unix(unix::OwnedWriteHalf),
}

impl Socket {
    /// The halves.
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        match self {
            Self::Tcp(socket) => {
                let (reader, writer) = socket.into_split();
                (ReadHalf::Tcp(reader), WriteHalf::Tcp(writer))
            }
            Self::Unix(socket) => {
                let (reader, writer) = socket.into_split();
                (ReadHalf::Unix(reader), WriteHalf::Unix(writer))
            }
        }
    }

    /// Sends small packets at once instead of waiting to fill a segment.
    pub(super) fn send_at_once(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_nodelay(true),
            Self::Unix(_) => Ok(()),
        }
    }

    /// Waits for bytes and copies them from where they are and stay; 0 is the end of the stream.
    /// Answers at once until those that it has shown are taken.
    pub(super) async fn peek(&self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.peek(bytes).await,
            Self::Unix(socket) => {
                let peek = || Ok(recv(socket, &mut *bytes, RecvFlags::PEEK)?.0);
                socket.async_io(Interest::READABLE, peek).await
            }
        }
    }

    /// Takes the next bytes, which were seen.
    pub(super) fn take(&self, bytes: &mut [u8]) -> io::Result<()> {
        let mut at = 0;
        while at < bytes.len() {
            at += match self {
                Self::Tcp(socket) => socket.try_read(&mut bytes[at..])?,
                Self::Unix(socket) => socket.try_read(&mut bytes[at..])?,
            };
        }
        Ok(())
    }
}

impl ReadHalf {
    /// Reads what is there; 0 is the end of the stream. Only the connection's own task reads.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        turn::pass();
        let mut buffer = ReadBuf::new(bytes);
        match self {
            Self::Tcp(socket) => ready!(Pin::new(socket).poll_read(cx, &mut buffer))?,
            Self::Unix(socket) => ready!(Pin::new(socket).poll_read(cx, &mut buffer))?,
        }
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl WriteHalf {
    /// Writes what the socket takes now, from any task.
    ///
    /// # Errors
    /// `WouldBlock` when it takes nothing; anything else is the end of the connection.
    pub fn try_write(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, bytes) {
            (Self::Tcp(socket), [bytes]) => socket.try_write(bytes),
            (Self::Tcp(socket), several) => socket.try_write_vectored(several),
            (Self::Unix(socket), [bytes]) => socket.try_write(bytes),
            (Self::Unix(socket), several) => socket.try_write_vectored(several),
        }
    }

    /// Waits until the socket may take more. Only the connection's own task asks.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(socket) => socket.as_ref().poll_write_ready(cx),
            Self::Unix(socket) => socket.as_ref().poll_write_ready(cx),
        }
    }

    /// Tells the peer that nothing more comes.
    pub fn shut_down(&self) {
        let socket = match self {
            Self::Tcp(socket) => SockRef::from(socket.as_ref()),
            Self::Unix(socket) => SockRef::from(socket.as_ref()),
        };
        // An error means that the peer is gone already.
        let _ = socket.shutdown(Shutdown::Write);
    }
}
