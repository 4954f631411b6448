//! One TLS session: a layer of a byte stream. Both halves share its state under a lock, since in
//! TLS a read may have to write and whoever writes does so from any task.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use rustls::server::Acceptor;
use rustls::{ProtocolVersion, ServerConnection, SupportedCipherSuite};

use crate::net::socket::{ReadHalf, Socket, WriteHalf};
use crate::net::tls::ciphers;
use crate::net::tls::hello::{self, poll_hello};
use crate::net::tls::reason::Broken;
use crate::net::tls::terms::Terms;

/// Ciphertext that one read takes at the most.
const READ_BYTES: usize = 64 * 1024;

/// Plaintext that is encrypted ahead of the socket at the most: it is in memory twice until the
/// socket has taken it.
const AHEAD_BYTES: usize = 64 * 1024;

/// Ciphertext that one read takes during the handshake: less than a record, see `State::decrypt`.
pub(super) const HANDSHAKE_READ_BYTES: usize = 4 * 1024;

thread_local! {
    /// One for each worker, so that idle sessions own none.
    static CIPHERTEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The half that reads.
#[derive(Debug)]
pub struct Reader {
    socket: ReadHalf,
    session: Arc<Session>,
    /// The session may hold plaintext that nobody has taken.
    leftover: bool,
}

/// The half that writes.
#[derive(Debug)]
pub struct Writer(Arc<Session>);

#[derive(Debug)]
struct Session {
    socket: WriteHalf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tls: ServerConnection,
    /// How many bytes of plaintext were encrypted, but not answered for, because the socket did not
    /// take all of what they became.
    owed: usize,
    /// Nothing more comes: the peer took leave, or its stream ended.
    closed: bool,
}

/// What both sides agreed on.
#[derive(Clone, Copy, Debug)]
pub struct Negotiated {
    version: ProtocolVersion,
    suite: SupportedCipherSuite,
}

impl fmt::Display for Negotiated {
    /// As OpenSSL and mosquitto name both.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = match self.version {
            ProtocolVersion::TLSv1_3 => "TLSv1.3",
            _ => "TLSv1.2",
        };
        write!(f, "{version} cipher {}", ciphers::name(self.suite.suite()))
    }
}

/// Why there is no session.
#[derive(Debug)]
pub enum Failure {
    /// The peer was gone before there was one.
    Gone,
    /// The socket failed.
    Socket(io::Error),
    /// The peer's bytes or certificate are not good.
    Tls(Broken),
}

/// A peer with whom there is no session.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub failure: Failure,
    socket: ReadHalf,
    writer: Either,
}

#[derive(Debug)]
enum Either {
    Hello(WriteHalf),
    Session(Arc<Session>),
}

impl Refused {
    /// Reads until the peer closes, which it does once it knows why: closing a socket that holds
    /// unread bytes would reset the connection, and the peer might lose the alert that says so.
    pub async fn part(mut self) {
        match &self.writer {
            Either::Hello(writer) => writer.shut_down(),
            Either::Session(session) => session.socket.shut_down(),
        }
        let mut bytes = [0; 512];
        while let Ok(1..) = poll_fn(|cx| self.socket.poll_read(cx, &mut bytes)).await {}
    }
}

/// Shakes hands as a server.
///
/// # Errors
/// When there is nobody to shake hands with, or nobody we may.
pub(super) async fn accept(socket: Socket, terms: &Terms) -> Result<(Reader, Writer), Refused> {
    let (mut socket, writer) = socket.split();
    let mut acceptor = Acceptor::default();
    let hello = poll_fn(|cx| poll_hello(cx, &mut acceptor, &mut socket, &writer)).await;
    let mut tls = match hello.and_then(|hello| hello::answer(hello, terms, &writer)) {
        Ok(tls) => tls,
        Err(failure) => return Err(Refused { failure, socket, writer: Either::Hello(writer) }),
    };
    tls.set_buffer_limit(Some(AHEAD_BYTES));
    let state = Mutex::new(State { tls, owed: 0, closed: false });
    let session = Arc::new(Session { socket: writer, state });
    // A client may send its first packets right behind its part of the handshake.
    let mut reader = Reader { socket, session: Arc::clone(&session), leftover: true };
    match poll_fn(|cx| reader.poll_handshake(cx)).await {
        Ok(()) => Ok((reader, Writer(session))),
        Err(failure) => Err(reader.refuse(failure)),
    }
}

impl Reader {
    /// The certificates that the peer has shown, its own first.
    pub fn peer_certificates(&self) -> Option<Vec<CertificateDer<'static>>> {
        let state = self.session.state.lock();
        state.tls.peer_certificates().map(<[_]>::to_vec)
    }

    /// Turns the session into none.
    pub(super) fn refuse(self, failure: Failure) -> Refused {
        Refused { failure, socket: self.socket, writer: Either::Session(self.session) }
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let Self { socket, session, .. } = self;
        loop {
            // What we have to say may wait for a socket that is full: reading goes on with it.
            session.flush_ahead(cx).map_err(Failure::Socket)?;
            if !session.state.lock().tls.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            ready!(CIPHERTEXT.with_borrow_mut(|ciphertext| {
                ciphertext.resize(READ_BYTES, 0);
                let read = socket.poll_read(cx, &mut ciphertext[..HANDSHAKE_READ_BYTES]);
                let len = ready!(read).map_err(Failure::Socket)?;
                if len == 0 {
                    return Poll::Ready(Err(Failure::Gone));
                }
                let came = &ciphertext[..len];
                let state = &mut *session.state.lock();
                Poll::Ready(state.decrypt(came, &mut []).map(drop).map_err(|error| {
                    // If the alert does not go out, the end of the stream has to tell.
                    let _ = state.flush(&session.socket);
                    Failure::Tls(Broken::new(error, came))
                }))
            }))?;
        }
    }

    /// Reads what is there; 0 is the end of the stream, whether or not the peer took leave.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        let Self { socket, session, leftover } = self;
        let mut filled = if *leftover { session.state.lock().take(bytes) } else { 0 };
        while filled == 0 {
            if session.state.lock().closed {
                return Poll::Ready(Ok(0));
            }
            session.flush_ahead(cx)?;
            filled = ready!(CIPHERTEXT.with_borrow_mut(|ciphertext| {
                ciphertext.resize(READ_BYTES, 0);
                let most = bytes.len().min(READ_BYTES);
                let len = ready!(socket.poll_read(cx, &mut ciphertext[..most]))?;
                let state = &mut *session.state.lock();
                state.closed |= len == 0;
                let decrypted = state.decrypt(&ciphertext[..len], bytes);
                Poll::Ready(decrypted.map_err(|error| {
                    // If the alert does not go out, the end of the stream has to tell.
                    let _ = state.flush(&session.socket);
                    io::Error::from(Broken::from(error))
                }))
            }))?;
        }
        *leftover = filled == bytes.len();
        Poll::Ready(Ok(filled))
    }
}

impl Writer {
    /// Encrypts and writes; the same bytes again after `WouldBlock`, see `stream`.
    ///
    /// # Errors
    /// `WouldBlock` until the socket has taken all that the bytes became.
    pub fn try_write(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        let Session { socket, state } = &*self.0;
        let state = &mut *state.lock();
        state.flush(socket)?;
        if state.owed == 0 {
            state.owed = state.tls.writer().write_vectored(bytes)?;
            state.flush(socket)?;
        }
        Ok(std::mem::take(&mut state.owed))
    }

    /// Waits until the socket has taken all that was encrypted.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(cx)
    }

    /// Takes leave, and tells the peer that nothing more comes.
    pub fn shut_down(&self) {
        let state = &mut *self.0.state.lock();
        state.tls.send_close_notify();
        // A peer that does not take it sees the end of the stream all the same.
        let _ = state.flush(&self.0.socket);
        self.0.socket.shut_down();
    }

    /// What both sides agreed on.
    pub fn negotiated(&self) -> Option<Negotiated> {
        let state = self.0.state.lock();
        let version = state.tls.protocol_version()?;
        Some(Negotiated { version, suite: state.tls.negotiated_cipher_suite()? })
    }
}

impl Drop for Session {
    /// Takes leave, so that the peer knows that nothing was cut off.
    fn drop(&mut self) {
        let state = self.state.get_mut();
        state.tls.send_close_notify();
        // What does not go out now never will.
        let _ = state.flush(&self.socket);
    }
}

impl Session {
    /// Waits until the socket has taken all that was encrypted.
    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.state.lock().flush(&self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
            ready!(self.socket.poll_writable(cx))?;
        }
    }

    /// Writes what a read has to say (parts of the handshake, new keys), and lets the task be woken
    /// to go on with it where the socket is full.
    fn flush_ahead(&self, cx: &mut Context<'_>) -> io::Result<()> {
        if !self.state.lock().tls.wants_write() {
            return Ok(());
        }
        // Not before the socket says so: whoever writes may be waiting for it already.
        match self.socket.poll_writable(cx)? {
            Poll::Ready(()) => match self.poll_flush(cx) {
                Poll::Ready(result) => result,
                Poll::Pending => Ok(()),
            },
            Poll::Pending => Ok(()),
        }
    }
}

impl State {
    /// Hands everything to the socket that was encrypted.
    fn flush(&mut self, socket: &WriteHalf) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Outgoing(socket)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes ciphertext in, all of it, and gives out as much plaintext as goes into `bytes`.
    ///
    /// The session refuses ciphertext while it holds more than 16 KiB of plaintext, which is a
    /// record. It never does, if no more is taken in than there is room for in `bytes`: all that
    /// can be too much then is the beginning of a record that came earlier.
    fn decrypt(&mut self, mut ciphertext: &[u8], bytes: &mut [u8]) -> Result<usize, rustls::Error> {
        let mut filled = 0;
        while !ciphertext.is_empty() && !self.closed {
            self.tls
                .read_tls(&mut ciphertext)
                .map_err(|error| rustls::Error::General(error.to_string()))?;
            self.closed |= self.tls.process_new_packets()?.peer_has_closed();
            filled += self.take(&mut bytes[filled..]);
        }
        Ok(filled)
    }

    /// Takes plaintext that is there.
    fn take(&mut self, bytes: &mut [u8]) -> usize {
        if bytes.is_empty() {
            return 0;
        }
        // An error says that there is nothing yet.
        self.tls.reader().read(bytes).unwrap_or(0)
    }
}

/// The socket as rustls wants to see it.
pub(super) struct Outgoing<'a>(pub(super) &'a WriteHalf);

impl Write for Outgoing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
