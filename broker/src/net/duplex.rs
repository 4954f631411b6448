//! A byte stream in one piece, as libraries for other protocols take it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use crate::access::peer::{CertificateNames, PeerAddress};
use crate::driver::turn;
use crate::net::arrival;
use crate::net::socket::Socket;
use crate::net::stream::Stream;
use crate::net::tls::Acceptor;

/// A socket, perhaps with TLS over it. One task reads and writes.
#[derive(Debug)]
pub struct Duplex(Stream);

impl Duplex {
    /// Shakes hands, where TLS is spoken, within this time; answers also with the names in the
    /// certificate of the client, if it has shown one. `None`: there is nobody to speak with, which
    /// the log was told.
    pub async fn open(
        socket: Socket,
        tls: &Acceptor,
        address: PeerAddress,
        within: Duration,
    ) -> Option<(Self, Option<Box<CertificateNames>>)> {
        match timeout(within, tls.over(socket)).await {
            Ok(Ok((stream, names))) => Some((Self(stream), names)),
            Ok(Err(refused)) => {
                arrival::refuse_tls(address, refused).await;
                None
            }
            Err(_) => {
                arrival::log_lost(address, "no TLS handshake in time", "TLS");
                None
            }
        }
    }

    /// Writes what may be written now, or waits until something may.
    fn poll_write_all(
        &self,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        turn::pass();
        loop {
            match self.0.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.0.poll_writable(cx))?;
                }
                written => return Poll::Ready(written),
            }
        }
    }
}

impl AsyncRead for Duplex {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let len = ready!(self.0.poll_read(cx, buffer.initialize_unfilled()))?;
        buffer.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Duplex {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_all(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_all(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What was answered for is out of this process.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.shut_down();
        Poll::Ready(Ok(()))
    }
}
