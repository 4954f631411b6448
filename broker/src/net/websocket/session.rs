//! One WebSocket: a layer of a byte stream. What a client asks for in control frames is answered by
//! whoever reads, between the frames of whoever writes.

use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::timeout;

use crate::access::peer::PeerAddress;
use crate::net::stream::Stream;
use crate::net::websocket::frames::{Inbound, NORMAL, Outbound, Request};
use crate::net::websocket::handshake::{Answer, Settings, answer};
use crate::net::websocket::{Fault, Refusal};

/// The session.
#[derive(Debug)]
pub struct Session {
    below: Stream,
    /// Touched only by whoever reads.
    incoming: Mutex<Incoming>,
    outbound: Mutex<Outbound>,
}

#[derive(Debug)]
struct Incoming {
    inbound: Inbound,
    /// What came right behind the request.
    early: Vec<u8>,
    /// The peer broke the rules: nothing that comes means anything any more.
    deaf: bool,
}

/// What is left to be said to somebody who was refused.
#[derive(Debug)]
pub(in crate::net) struct Parting {
    below: Stream,
    word: Vec<u8>,
}

/// By how much the buffer of a request grows at a time.
const GROW_BYTES: usize = 1024;

/// How long somebody who was refused may take to read why.
const LINGER: Duration = Duration::from_secs(5);

/// Lets somebody open a WebSocket. Answers also with where the client is, if a proxy that is
/// believed has said so.
///
/// # Errors
/// When the peer is refused or gone.
pub(in crate::net) async fn accept(
    below: Stream,
    settings: &Settings,
    peer: PeerAddress,
) -> Result<(Session, Option<SocketAddr>), Refusal> {
    let mut bytes = Vec::new();
    loop {
        if !receive(&below, &mut bytes).await.map_err(Refusal::Gone)? {
            return Err(Refusal::Gone(ErrorKind::UnexpectedEof.into()));
        }
        match answer(&bytes, settings, peer) {
            Answer::Wait => {}
            Answer::Welcome { request_len, response, client } => {
                send(&below, &response).await.map_err(Refusal::Gone)?;
                let early = bytes.split_off(request_len);
                let incoming = Incoming { inbound: Inbound::default(), early, deaf: false };
                let incoming = Mutex::new(incoming);
                return Ok((Session { below, incoming, outbound: Mutex::default() }, client));
            }
            Answer::Refused { response, reason } => {
                return Err(Refusal::Told(reason, Parting { below, word: response }));
            }
        }
    }
}

/// Reads once; `false` is the end of the stream.
async fn receive(stream: &Stream, bytes: &mut Vec<u8>) -> io::Result<bool> {
    let had = bytes.len();
    bytes.resize(had + GROW_BYTES, 0);
    let len = poll_fn(|cx| stream.poll_read(cx, &mut bytes[had..])).await?;
    bytes.truncate(had + len);
    Ok(len > 0)
}

async fn send(stream: &Stream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(&[IoSlice::new(bytes)]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(len) => bytes = &bytes[len..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                poll_fn(|cx| stream.poll_writable(cx)).await?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Parting {
    /// Says the last word and reads until the peer closes too, so that it can hear it.
    pub(in crate::net) async fn part(self) {
        let Self { below, word } = self;
        let parting = async {
            send(&below, &word).await?;
            below.shut_down();
            let mut bytes = [0; 512];
            while poll_fn(|cx| below.poll_read(cx, &mut bytes)).await? > 0 {}
            io::Result::Ok(())
        };
        // Whoever does not take the answer has had its chance.
        let _ = timeout(LINGER, parting).await;
    }
}

impl Session {
    /// Reads the data that is there; 0 is the end: of the WebSocket or of what is below it.
    pub fn poll_read(&self, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        let incoming = &mut *self.incoming.lock();
        while !incoming.inbound.is_closed() {
            self.flush_ahead(cx)?;
            let len = match incoming.take_early(bytes) {
                0 => ready!(self.below.poll_read(cx, bytes))?,
                len => len,
            };
            if len == 0 {
                break;
            }
            if incoming.deaf {
                continue;
            }
            let answer = |request: Request<'_>| self.outbound.lock().answer(request);
            match incoming.inbound.take(&mut bytes[..len], answer) {
                Ok(0) => {}
                Ok(len) => {
                    self.flush_ahead(cx)?;
                    return Poll::Ready(Ok(len));
                }
                Err(fault) => {
                    incoming.deaf = true;
                    return Poll::Ready(Err(self.give_up(fault, cx)));
                }
            }
        }
        self.flush_ahead(cx)?;
        Poll::Ready(Ok(0))
    }

    /// Tells the peer what it did wrong. If that does not go out at once, the end has to tell.
    fn give_up(&self, fault: Fault, cx: &mut Context<'_>) -> io::Error {
        self.outbound.lock().close(fault.code);
        match self.flush_ahead(cx) {
            Ok(()) => io::Error::new(ErrorKind::InvalidData, fault),
            Err(error) => error,
        }
    }

    /// Writes in frames; the same bytes again after `WouldBlock`, see `stream`.
    ///
    /// # Errors
    /// `WouldBlock` as long as the layers below do not take it; `BrokenPipe` once the WebSocket is
    /// closed.
    pub fn try_write(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        self.outbound.lock().write(bytes, |bytes| self.below.try_write(bytes))
    }

    /// Waits until more may be written.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.below.poll_writable(cx)
    }

    /// The stream that the frames are in.
    pub fn below(&self) -> &Stream {
        &self.below
    }

    /// Takes leave. The stream below ends with the connection: a Close may still wait for it.
    pub fn shut_down(&self) {
        let outbound = &mut *self.outbound.lock();
        outbound.close(NORMAL);
        // Whoever reads on tries again.
        if let Ok(true) = outbound.flush(|bytes| self.below.try_write(bytes)) {
            self.below.shut_down();
        }
    }

    /// Writes the control frames that are owed as far as it goes, and sees to it that the task is
    /// woken when it goes on.
    fn flush_ahead(&self, cx: &mut Context<'_>) -> io::Result<()> {
        loop {
            let mut outbound = self.outbound.lock();
            if !outbound.waits() || outbound.flush(|bytes| self.below.try_write(bytes))? {
                return Ok(());
            }
            drop(outbound);
            match self.below.poll_writable(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => return Ok(()),
            }
        }
    }
}

impl Incoming {
    fn take_early(&mut self, bytes: &mut [u8]) -> usize {
        let len = bytes.len().min(self.early.len());
        bytes[..len].copy_from_slice(&self.early[..len]);
        self.early = self.early.split_off(len);
        len
    }
}
