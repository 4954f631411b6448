//! A live tail from the log: every event has its offset, nobody loses any, and whoever comes back
//! with the last offset that it saw goes on behind that.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Bytes, HttpBody};
use hyper::body::Frame;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Sleep, sleep};

use crate::http::Shared;
use crate::http::login::Caller;
use crate::http::realtime::Form;
use crate::http::scan::{PIECE_BLOCKS, may_receive};
use crate::http::tail::ALIVE_EVERY;
use crate::telemetry::log::{Log, Newer};
use crate::telemetry::reader::Reader;
use crate::telemetry::{LogError, lines};

/// The tail as the body of an answer.
pub(super) struct Followed {
    state: State,
    log: Log,
    stream: Arc<str>,
    form: Form,
    caller: Caller,
    /// Ends when it is time to say that all is well.
    quiet: Pin<Box<Sleep>>,
    /// The broker stops, or the caller's token ends.
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
}

enum State {
    Reading(JoinHandle<Result<Piece, LogError>>),
    Waiting(Option<Reader>, Newer),
}

/// What was read, and whether nothing is behind it yet.
struct Piece {
    reader: Reader,
    bytes: Vec<u8>,
    ended: bool,
}

/// Bytes of one piece, and of the record that fills it.
const PIECE_BYTES: usize = 64 * 1024;

impl Followed {
    pub(super) fn new(
        shared: &Shared,
        (log, stream): (Log, Arc<str>),
        reader: Reader,
        form: Form,
        caller: Caller,
    ) -> Self {
        let mut stopping = shared.stopping.clone();
        let after = caller.ends_after();
        let end = async move {
            let stop = async { drop(stopping.wait_for(|stopping| *stopping).await) };
            match after {
                Some(after) => drop(tokio::time::timeout(after, stop).await),
                None => stop.await,
            }
        };
        let state = State::Reading(read(reader, form, caller.clone()));
        let (quiet, end) = (Box::pin(sleep(ALIVE_EVERY)), Box::pin(end));
        Self { state, log, stream, form, caller, quiet, end }
    }

    /// The next piece; `None` is the end.
    pub(super) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Vec<u8>, LogError>>> {
        loop {
            if self.end.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            match &mut self.state {
                State::Reading(job) => {
                    let done = ready!(Pin::new(job).poll(cx)).expect("a read does not panic");
                    let Piece { reader, bytes, ended } = match done {
                        Ok(done) => done,
                        Err(error) => return Poll::Ready(Some(Err(error))),
                    };
                    if !bytes.is_empty() {
                        self.quiet.set(sleep(ALIVE_EVERY));
                        self.state = State::Reading(read(reader, self.form, self.caller.clone()));
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                    if !ended {
                        self.state = State::Reading(read(reader, self.form, self.caller.clone()));
                        continue;
                    }
                    match self.log.newer_than(&self.stream, reader.offset()) {
                        Ok(newer) => self.state = State::Waiting(Some(reader), newer),
                        Err(error) => return Poll::Ready(Some(Err(error))),
                    }
                }
                State::Waiting(reader, newer) => {
                    if Pin::new(newer).poll(cx).is_ready() {
                        let reader = reader.take().expect("a reader waits until it reads again");
                        self.state = State::Reading(read(reader, self.form, self.caller.clone()));
                        continue;
                    }
                    ready!(self.quiet.as_mut().poll(cx));
                    self.quiet.set(sleep(ALIVE_EVERY));
                    if self.form == Form::Events {
                        return Poll::Ready(Some(Ok(b": all is well\n\n".to_vec())));
                    }
                }
            }
        }
    }
}

/// Reads what there is, up to a piece of it.
fn read(mut reader: Reader, form: Form, caller: Caller) -> JoinHandle<Result<Piece, LogError>> {
    spawn_blocking(move || {
        let (mut piece, mut blocks) = (Vec::new(), PIECE_BLOCKS);
        while piece.len() < PIECE_BYTES
            && let Some(record) = reader.next_within(&mut blocks)?
        {
            if !may_receive(&caller, &record) {
                continue;
            }
            if form == Form::Events {
                piece.extend_from_slice(format!("id: {}\ndata: ", record.offset).as_bytes());
            }
            lines::write_json(&mut piece, &record).expect("memory takes everything");
            if form == Form::Events {
                piece.push(b'\n');
            }
        }
        Ok(Piece { reader, bytes: piece, ended: blocks > 0 })
    })
}

impl HttpBody for Followed {
    type Data = Bytes;
    type Error = LogError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, LogError>>> {
        let piece = ready!(self.poll_piece(cx));
        Poll::Ready(piece.map(|piece| {
            piece.map(|bytes| Frame::data(bytes.into())).inspect_err(|error| {
                tracing::error!(%error, "The log could not be read for HTTP: {error}.");
            })
        }))
    }
}
