//! One TLS session: a layer of a byte stream. Its state is under a lock, since in TLS a read may
//! have to write, and whoever writes does so from any task.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use rustls::server::Acceptor;
use rustls::{ProtocolVersion, ServerConnection, SupportedCipherSuite};

use crate::net::socket::Socket;
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

/// The session.
#[derive(Debug)]
pub struct Session {
    socket: Socket,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tls: ServerConnection,
    /// How many bytes of plaintext were encrypted, but not answered for, because the socket did not
    /// take all of what they became.
    owed: usize,
    /// The session may hold plaintext that nobody has taken.
    leftover: bool,
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
    peer: Either,
}

#[derive(Debug)]
enum Either {
    Hello(Socket),
    Session(Box<Session>),
}

impl Refused {
    /// Reads until the peer closes, which it does once it knows why: closing a socket that holds
    /// unread bytes would reset the connection, and the peer might lose the alert that says so.
    pub async fn part(self) {
        let socket = match &self.peer {
            Either::Hello(socket) => socket,
            Either::Session(session) => &session.socket,
        };
        socket.shut_down();
        let mut bytes = [0; 512];
        while let Ok(1..) = poll_fn(|cx| socket.poll_read(cx, &mut bytes)).await {}
    }
}

/// Shakes hands as a server.
///
/// # Errors
/// When there is nobody to shake hands with, or nobody we may.
pub(super) async fn accept(socket: Socket, terms: &Terms) -> Result<Session, Refused> {
    let mut acceptor = Acceptor::default();
    let hello = poll_fn(|cx| poll_hello(cx, &mut acceptor, &socket)).await;
    let mut tls = match hello.and_then(|hello| hello::answer(hello, terms, &socket)) {
        Ok(tls) => tls,
        Err(failure) => return Err(Refused { failure, peer: Either::Hello(socket) }),
    };
    tls.set_buffer_limit(Some(AHEAD_BYTES));
    // A client may send its first packets right behind its part of the handshake.
    let state = Mutex::new(State { tls, owed: 0, leftover: true, closed: false });
    let session = Session { socket, state };
    match poll_fn(|cx| session.poll_handshake(cx)).await {
        Ok(()) => Ok(session),
        Err(failure) => Err(session.refuse(failure)),
    }
}

impl Session {
    /// The certificates that the peer has shown, its own first.
    pub fn peer_certificates(&self) -> Option<Vec<CertificateDer<'static>>> {
        self.state.lock().tls.peer_certificates().map(<[_]>::to_vec)
    }

    /// Turns the session into none.
    pub(super) fn refuse(self, failure: Failure) -> Refused {
        Refused { failure, peer: Either::Session(Box::new(self)) }
    }

    fn poll_handshake(&self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            // What we have to say may wait for a socket that is full: reading goes on with it.
            self.flush_ahead(cx).map_err(Failure::Socket)?;
            if !self.state.lock().tls.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            ready!(CIPHERTEXT.with_borrow_mut(|ciphertext| {
                ciphertext.resize(READ_BYTES, 0);
                let read = self.socket.poll_read(cx, &mut ciphertext[..HANDSHAKE_READ_BYTES]);
                let len = ready!(read).map_err(Failure::Socket)?;
                if len == 0 {
                    return Poll::Ready(Err(Failure::Gone));
                }
                let came = &ciphertext[..len];
                let state = &mut *self.state.lock();
                Poll::Ready(state.decrypt(came, &mut []).map(drop).map_err(|error| {
                    // If the alert does not go out, the end of the stream has to tell.
                    let _ = state.flush(&self.socket);
                    Failure::Tls(Broken::new(error, came))
                }))
            }))?;
        }
    }

    /// Reads what is there; 0 is the end of the stream, whether or not the peer took leave.
    pub fn poll_read(&self, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut filled = self.state.lock().take_leftover(bytes);
        while filled == 0 {
            if self.state.lock().closed {
                return Poll::Ready(Ok(0));
            }
            self.flush_ahead(cx)?;
            filled = ready!(CIPHERTEXT.with_borrow_mut(|ciphertext| {
                ciphertext.resize(READ_BYTES, 0);
                let most = bytes.len().min(READ_BYTES);
                let len = ready!(self.socket.poll_read(cx, &mut ciphertext[..most]))?;
                let state = &mut *self.state.lock();
                state.closed |= len == 0;
                let decrypted = state.decrypt(&ciphertext[..len], bytes);
                Poll::Ready(decrypted.map_err(|error| {
                    // If the alert does not go out, the end of the stream has to tell.
                    let _ = state.flush(&self.socket);
                    io::Error::from(Broken::from(error))
                }))
            }))?;
        }
        Poll::Ready(Ok(filled))
    }

    /// Encrypts and writes; the same bytes again after `WouldBlock`, see `stream`.
    ///
    /// # Errors
    /// `WouldBlock` until the socket has taken all that the bytes became.
    pub fn try_write(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        let Self { socket, state } = self;
        let state = &mut *state.lock();
        state.flush(socket)?;
        if state.owed == 0 {
            state.owed = state.tls.writer().write_vectored(bytes)?;
            state.flush(socket)?;
        }
        Ok(std::mem::take(&mut state.owed))
    }

    /// Takes leave, and tells the peer that nothing more comes.
    pub fn shut_down(&self) {
        let state = &mut *self.state.lock();
        state.tls.send_close_notify();
        // A peer that does not take it sees the end of the stream all the same.
        let _ = state.flush(&self.socket);
        self.socket.shut_down();
    }

    /// What both sides agreed on.
    pub fn negotiated(&self) -> Option<Negotiated> {
        let state = self.state.lock();
        let version = state.tls.protocol_version()?;
        Some(Negotiated { version, suite: state.tls.negotiated_cipher_suite()? })
    }

    /// Waits until the socket has taken all that was encrypted.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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
            Poll::Ready(()) => match self.poll_writable(cx) {
                Poll::Ready(result) => result,
                Poll::Pending => Ok(()),
            },
            Poll::Pending => Ok(()),
        }
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

impl State {
    /// Hands everything to the socket that was encrypted.
    fn flush(&mut self, socket: &Socket) -> io::Result<()> {
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
        self.leftover = filled == bytes.len();
        Ok(filled)
    }

    /// Takes plaintext that nobody has taken before.
    fn take_leftover(&mut self, bytes: &mut [u8]) -> usize {
        let filled = if self.leftover { self.take(bytes) } else { 0 };
        self.leftover = filled == bytes.len();
        filled
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
pub(super) struct Outgoing<'a>(pub(super) &'a Socket);

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
