//! An accepted socket, in two halves. Further kinds of sockets are further variants; what is spoken
//! over them is for the layers of `stream`.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// A socket as it was accepted.
#[derive(Debug)]
pub enum Socket {
    /// TCP, an ordered and lossless stream [MQTT-7.1.1-1].
    Tcp(TcpStream),
}

/// The half that reads.
#[derive(Debug)]
pub enum ReadHalf {
    /// Of TCP.
    Tcp(OwnedReadHalf),
}

/// The half that writes.
#[derive(Debug)]
pub enum WriteHalf {
    /// Of TCP.
    Tcp(OwnedWriteHalf),
}

impl Socket {
    /// The halves.
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        match self {
            Self::Tcp(socket) => {
                let (reader, writer) = socket.into_split();
                (ReadHalf::Tcp(reader), WriteHalf::Tcp(writer))
            }
        }
    }
}

impl ReadHalf {
    /// Reads what is there; 0 is the end of the stream. Only the connection's own task reads.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(bytes);
        match self {
            Self::Tcp(socket) => ready!(Pin::new(socket).poll_read(cx, &mut buffer))?,
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
