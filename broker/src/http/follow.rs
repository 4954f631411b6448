//! A live tail from the log: every event has its offset, nobody loses any, and whoever comes back
//! with the last offset that it saw goes on behind that.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Bytes, HttpBody};
use hyper::body::Frame;
use martlet_engine::input::Time;
use martlet_engine::message::Message;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Sleep, sleep};

use crate::http::login::{Caller, Gate};
use crate::http::message::MessageBody;
use crate::http::realtime::Form;
use crate::http::retained::Retained;
use crate::http::scan::{PIECE_BLOCKS, may_receive};
use crate::http::tail::ALIVE_EVERY;
use crate::http::{Shared, realtime};
use crate::telemetry::log::{Log, Newer};
use crate::telemetry::reader::Reader;
use crate::telemetry::{LogError, Record, lines};

/// The tail as the body of an answer.
pub(super) struct Followed {
    state: State,
    shared: Arc<Shared>,
    log: Log,
    stream: Arc<str>,
    /// What comes before the records: how this goes on, and what was retained.
    head: Vec<u8>,
    retained: Option<Retained>,
    written: Written,
    /// Ends when it is time to say that all is well.
    quiet: Pin<Box<Sleep>>,
    /// The broker stops, or the caller's token ends.
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
}

enum State {
    Reading(JoinHandle<Result<Piece, LogError>>),
    Waiting(Option<Reader>, Newer),
}

/// How records are written, and for whom.
#[derive(Clone)]
struct Written {
    form: Form,
    caller: Caller,
    /// What stands behind an offset in an id.
    behind: Arc<str>,
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
    /// From where the reader stands. `behind`: what stands behind an offset in an id. `retained`:
    /// what comes before.
    pub(super) fn new(
        shared: &Arc<Shared>,
        (log, stream): (Log, Arc<str>),
        reader: Reader,
        (form, behind): (Form, Arc<str>),
        caller: Caller,
        retained: Option<Retained>,
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
        let written = Written { form, caller, behind };
        let head = written.head(&stream, reader.offset());
        let state = State::Reading(written.read(&shared.gate, reader));
        let (quiet, end) = (Box::pin(sleep(ALIVE_EVERY)), Box::pin(end));
        let shared = Arc::clone(shared);
        Self { state, shared, log, stream, head, retained, written, quiet, end }
    }

    pub(super) fn stream(&self) -> &str {
        &self.stream
    }

    /// The next piece, which is empty where nothing has come for a while; `None` is the end.
    pub(super) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Vec<u8>, LogError>>> {
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        let piece = match self.poll_head(cx).map(Ok) {
            Poll::Ready(Ok(head)) if head.is_empty() => self.poll_records(cx),
            piece => piece,
        };
        let piece = ready!(or_quiet(piece, &mut self.quiet, cx)).unwrap_or(Ok(Vec::new()));
        self.quiet.set(sleep(ALIVE_EVERY));
        Poll::Ready(Some(piece))
    }

    /// What comes before the records; empty: no more of that.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Vec<u8>> {
        let mut piece = std::mem::take(&mut self.head);
        while piece.len() < PIECE_BYTES
            && let Some(retained) = &mut self.retained
        {
            match retained.poll_next(cx) {
                Poll::Ready(Some(message)) => {
                    self.written.retained(&mut piece, &message, self.shared.driver.now());
                }
                Poll::Ready(None) => self.retained = None,
                Poll::Pending if piece.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(piece)
    }

    fn poll_records(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<u8>, LogError>> {
        loop {
            let reader = match &mut self.state {
                State::Reading(job) => {
                    let done = ready!(Pin::new(job).poll(cx)).expect("a read does not panic");
                    let Piece { reader, bytes, ended } = done?;
                    if bytes.is_empty() && ended {
                        let newer = self.log.newer_than(&self.stream, reader.offset())?;
                        self.state = State::Waiting(Some(reader), newer);
                        continue;
                    }
                    if !bytes.is_empty() {
                        self.state = State::Reading(self.written.read(&self.shared.gate, reader));
                        return Poll::Ready(Ok(bytes));
                    }
                    reader
                }
                State::Waiting(reader, newer) => {
                    ready!(Pin::new(newer).poll(cx));
                    reader.take().expect("a reader waits until it reads again")
                }
            };
            self.state = State::Reading(self.written.read(&self.shared.gate, reader));
        }
    }
}

/// What has come, or `None` once it has been quiet for long: also while a search is long.
fn or_quiet<T>(
    come: Poll<T>,
    quiet: &mut Pin<Box<Sleep>>,
    cx: &mut Context<'_>,
) -> Poll<Option<T>> {
    match come {
        Poll::Ready(come) => Poll::Ready(Some(come)),
        Poll::Pending => quiet.as_mut().poll(cx).map(|()| None),
    }
}

impl Written {
    /// Reads what there is, up to a piece of it, by the rules that hold now.
    fn read(&self, gate: &Gate, mut reader: Reader) -> JoinHandle<Result<Piece, LogError>> {
        let mut written = self.clone();
        gate.renew(&mut written.caller);
        spawn_blocking(move || {
            let (mut piece, mut blocks) = (Vec::new(), PIECE_BLOCKS);
            while piece.len() < PIECE_BYTES
                && let Some(record) = reader.next_within(&mut blocks)?
            {
                if may_receive(&written.caller, &record) {
                    written.record(&mut piece, &record);
                }
            }
            Ok(Piece { reader, bytes: piece, ended: blocks > 0 })
        })
    }

    /// Who is cut off before the first record has an id to come back with, too.
    fn head(&self, stream: &str, next: u64) -> Vec<u8> {
        let (last, behind) = (i128::from(next) - 1, &self.behind);
        match self.form {
            Form::Events => format!(": from the stream {stream}\nid: {last}{behind}\n\n").into(),
            Form::Lines => Vec::new(),
        }
    }

    fn retained(&self, piece: &mut Vec<u8>, message: &Message, now: Time) {
        realtime::write(piece, self.form, &MessageBody::new(message, true, now));
    }

    fn record(&self, piece: &mut Vec<u8>, record: &Record<'_>) {
        let is_event = self.form == Form::Events;
        if is_event {
            let (offset, behind) = (record.offset, &self.behind);
            piece.extend_from_slice(format!("id: {offset}{behind}\ndata: ").as_bytes());
        }
        lines::write_json(piece, record).expect("memory takes everything");
        if is_event {
            piece.push(b'\n');
        }
    }
}

impl HttpBody for Followed {
    type Data = Bytes;
    type Error = LogError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, LogError>>> {
        loop {
            let piece = match ready!(self.poll_piece(cx)) {
                Some(Ok(piece)) if piece.is_empty() && self.written.form == Form::Lines => continue,
                Some(Ok(piece)) if piece.is_empty() => Ok(realtime::ALIVE.into()),
                Some(piece) => piece,
                None => return Poll::Ready(None),
            };
            let piece = piece.map(|bytes| Frame::data(bytes.into())).inspect_err(|error| {
                tracing::error!(%error, "The log could not be read for HTTP: {error}.");
            });
            return Poll::Ready(Some(piece));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;
    use std::time::Duration;

    use tokio::time::sleep;

    #[tokio::test]
    async fn who_waits_for_a_long_search_hears_that_all_is_well() {
        let mut quiet = Box::pin(sleep(Duration::ZERO));
        let searching = poll_fn(|cx| super::or_quiet(Poll::<u8>::Pending, &mut quiet, cx)).await;
        assert_eq!(searching, None);
        let mut quiet = Box::pin(sleep(Duration::ZERO));
        let found = poll_fn(|cx| super::or_quiet(Poll::Ready(1), &mut quiet, cx)).await;
        assert_eq!(found, Some(1), "what was found comes first");
    }
}
