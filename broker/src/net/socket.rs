//! An accepted socket. Further kinds of sockets are further variants; what is spoken over them is
//! for the layers of `stream`.

use std::io::{self, IoSlice};
use std::net::{self, Shutdown};
use std::os::unix;
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, recv};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

use crate::access::peer::Peer;
use crate::driver::turn;

/// A socket as it was accepted, which no runtime watches yet.
#[derive(Debug)]
pub enum Accepted {
    /// TCP.
    Tcp(net::TcpStream),
    /// A socket in the file system.
    Unix(unix::net::UnixStream),
}

impl Accepted {
    /// Lets the runtime that this is called in watch it; where the operating system refuses that,
    /// the log is told.
    pub(super) fn watch(self, peer: &Peer) -> Option<Socket> {
        let watched = match self {
            Self::Tcp(socket) => TcpStream::from_std(socket).map(Socket::Tcp),
            Self::Unix(socket) => UnixStream::from_std(socket).map(Socket::Unix),
        };
        let address = peer.address;
        let tell = |error: &io::Error| {
            tracing::error!(%error, "A connection from {address} cannot be watched: {error}.");
        };
        watched.inspect_err(tell).ok()
    }

    /// Sends small packets at once instead of waiting to fill a segment.
    pub(super) fn send_at_once(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_nodelay(true),
            Self::Unix(_) => Ok(()),
        }
    }
}

/// A socket that a runtime watches: all that is waited for here is waited for there.
#[derive(Debug)]
pub enum Socket {
    /// TCP, an ordered and lossless stream [MQTT-7.1.1-1].
    Tcp(TcpStream),
    /// A socket in the file system, which is such a stream too.
    Unix(UnixStream),
}

impl Socket {
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

    /// Reads what is there; 0 is the end of the stream. Only the connection's own task reads.
    pub fn poll_read(&self, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        turn::pass();
        loop {
            match self {
                Self::Tcp(socket) => ready!(socket.poll_read_ready(cx))?,
                Self::Unix(socket) => ready!(socket.poll_read_ready(cx))?,
            }
            match self.try_read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Reads once. What comes short has emptied the socket: the runtime hears of it as if nothing
    /// had come, which spares the read that would find nothing.
    fn try_read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        let (most, mut read) = (bytes.len(), None);
        let tried = self.try_io(|| {
            let (len, _) = match self {
                Self::Tcp(socket) => recv(socket, &mut *bytes, RecvFlags::empty())?,
                Self::Unix(socket) => recv(socket, &mut *bytes, RecvFlags::empty())?,
            };
            read = Some(len);
            if (1..most).contains(&len) { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match read {
            Some(len) => Ok(len),
            None => tried.map(|()| 0),
        }
    }

    fn try_io(&self, read: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.try_io(Interest::READABLE, read),
            Self::Unix(socket) => socket.try_io(Interest::READABLE, read),
        }
    }

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
            Self::Tcp(socket) => socket.poll_write_ready(cx),
            Self::Unix(socket) => socket.poll_write_ready(cx),
        }
    }

    /// Tells the peer that nothing more comes.
    pub fn shut_down(&self) {
        let socket = match self {
            Self::Tcp(socket) => SockRef::from(socket),
            Self::Unix(socket) => SockRef::from(socket),
        };
        // An error means that the peer is gone already.
        let _ = socket.shutdown(Shutdown::Write);
    }
}

impl Drop for Socket {
    /// A socket that is closed with unread bytes resets its connection: the end of the stream goes
    /// before.
    fn drop(&mut self) {
        self.shut_down();
    }
}
