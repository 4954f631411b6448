//! Records as the body of an answer, of any length, in the memory of two pieces. The disk is read
//! away from the network's threads, a piece ahead; nobody holds a thread for a reader that is slow.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Bytes, HttpBody};
use hyper::body::Frame;
use martlet_codec::topic::TopicName;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::http::form::Long;
use crate::http::login::{Caller, Gate};
use crate::telemetry::reader::Reader;
use crate::telemetry::{LogError, Record};

/// Where records come from, and how they are written.
pub(super) struct Scan {
    pub(super) reader: Reader,
    pub(super) form: Long,
    /// Records still to come, at the most.
    pub(super) left: u64,
    pub(super) caller: Caller,
    pub(super) gate: Arc<Gate>,
    pub(super) written: u64,
}

/// What became of a scan while a piece was filled.
struct Step {
    scan: Scan,
    piece: Vec<u8>,
    ended: bool,
}

/// The body.
pub(super) struct Scanned(Option<JoinHandle<Result<Step, LogError>>>);

/// Bytes of one piece, and of the record that fills it.
const PIECE_BYTES: usize = 256 * 1024;

/// Blocks of the log that are read for one piece: where little is wanted, a reader that went is
/// noticed in between.
pub(super) const PIECE_BLOCKS: u64 = 64;

impl Scan {
    /// The answer's body.
    pub(super) fn body(self) -> Scanned {
        let mut piece = Vec::new();
        self.form.begin(&mut piece);
        Scanned(Some(spawn_blocking(|| self.step(piece))))
    }

    fn step(mut self, mut piece: Vec<u8>) -> Result<Step, LogError> {
        self.gate.renew(&mut self.caller);
        let mut blocks = PIECE_BLOCKS;
        while piece.len() < PIECE_BYTES {
            let next = if self.left == 0 { None } else { self.reader.next_within(&mut blocks)? };
            let Some(record) = next else {
                let ended = self.left == 0 || blocks > 0;
                if ended {
                    let damaged_bytes = self.reader.damaged_bytes();
                    self.form.end(&mut piece, self.reader.offset(), damaged_bytes)?;
                }
                return Ok(Step { scan: self, piece, ended });
            };
            if may_receive(&self.caller, &record) {
                self.form.write(&mut piece, &record, self.written)?;
                self.written += 1;
                self.left -= 1;
            }
        }
        Ok(Step { scan: self, piece, ended: false })
    }
}

/// Whether the rules let the caller have this record, as they would the message.
pub(super) fn may_receive(caller: &Caller, record: &Record<'_>) -> bool {
    let Some(permit) = &caller.permit else { return true };
    permit.may_receive(&caller.client_id, TopicName::from_validated(record.topic.as_bytes()))
}

impl HttpBody for Scanned {
    type Data = Bytes;
    type Error = LogError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, LogError>>> {
        loop {
            let Some(job) = &mut self.0 else { return Poll::Ready(None) };
            let step = ready!(Pin::new(job).poll(cx));
            self.0 = None;
            match step.expect("a read does not panic") {
                Ok(Step { scan, piece, ended }) => {
                    if !ended {
                        let next = Vec::with_capacity(PIECE_BYTES);
                        self.0 = Some(spawn_blocking(|| scan.step(next)));
                    }
                    if !piece.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(piece.into()))));
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "The log could not be read for HTTP: {error}.");
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}
