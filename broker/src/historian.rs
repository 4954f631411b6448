//! Reads the log for clients that subscribe to `$replay/<from>/<filter>`.
//!
//! The engine orders a batch at a time, and gets the next when the client has taken the last: so a
//! client that is slow reads slowly, and nobody else notices. A task for each history reads a batch
//! ahead, away from the threads of the network, and waits at the end of the log for more. So many
//! read at the same time at most, and each so much at a time: one that finds little reads for long,
//! but not after its client went, and others get their turn.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use martlet_codec::topic::TopicName;
use martlet_engine::filter::Filter;
use martlet_engine::history::{Beginning, HistoryId, Order};
use martlet_engine::input::Time;
use martlet_engine::message::Message;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::sleep;

use crate::driver::{Driver, Historian};
use crate::telemetry::log::Log;
use crate::telemetry::reader::Reader;
use crate::telemetry::{LogError, Record, position};

/// Bytes of payloads and topics in a batch, and of the record that exceeds them.
const BATCH_BYTES: usize = 64 * 1024;

/// Records in a batch: what one input of the engine may hold.
const BATCH_RECORDS_MAX: usize = 512;

/// Blocks of the log that are read for a batch: where little is wanted, it may be empty.
const BATCH_BLOCKS: u64 = 32;

/// Histories that are read at the same time.
const READS_MAX: usize = 4;

/// How long it waits before it reads again what the disk refused.
const RETRY: Duration = Duration::from_secs(5);

/// From here on clients of this driver get history from this log. Needs the runtime that reads it.
pub fn serve(log: Log, driver: &Arc<Driver>) {
    let (weak, runtime) = (Arc::downgrade(driver), Handle::current());
    let reads = Arc::new(Semaphore::new(READS_MAX));
    let library = Library { log, driver: weak, runtime, reads, readers: Mutex::default() };
    driver.serve_history(Arc::new(library), |text, Time(now_ms)| position::parse(text, now_ms));
}

/// All histories that are read now.
struct Library {
    log: Log,
    driver: Weak<Driver>,
    runtime: Handle,
    reads: Arc<Semaphore>,
    readers: Mutex<HashMap<HistoryId, (AbortHandle, Arc<Notify>)>>,
}

impl Historian for Library {
    fn take(&self, order: Order) {
        let mut readers = self.readers.lock();
        match order {
            Order::Begin(beginning) => {
                let wanted = Arc::new(Notify::new());
                wanted.notify_one();
                let id = beginning.id;
                let (log, driver) = (self.log.clone(), Weak::clone(&self.driver));
                let reads = Arc::clone(&self.reads);
                let task = tell(log, driver, beginning, reads, Arc::clone(&wanted));
                let task = self.runtime.spawn(task).abort_handle();
                readers.insert(id, (task, wanted));
            }
            Order::More(id) => {
                if let Some((_, wanted)) = readers.get(&id) {
                    wanted.notify_one();
                }
            }
            Order::End(id) => {
                if let Some((task, _)) = readers.remove(&id) {
                    task.abort();
                }
            }
        }
    }
}

/// Reads a history and hands it over, batch by batch, until it is aborted.
async fn tell(
    log: Log,
    driver: Weak<Driver>,
    beginning: Beginning,
    reads: Arc<Semaphore>,
    wanted: Arc<Notify>,
) {
    let id = beginning.id;
    let mut reader = open(&log, &beginning).await;
    loop {
        let permit = Arc::clone(&reads).acquire_owned().await.expect("it is never closed");
        let reading = spawn_blocking(move || {
            let _held_to_the_end = permit;
            read(reader)
        });
        let (read, batch) = reading.await.expect("a read does not panic");
        reader = read;
        match batch {
            Ok((batch, true)) if batch.is_empty() => {
                let newer = log.newer_than(&beginning.stream, reader.offset());
                newer.expect("streams stay").await;
            }
            Ok((batch, _)) if batch.is_empty() => {}
            Ok((batch, _)) => {
                wanted.notified().await;
                let Some(driver) = driver.upgrade() else { return };
                driver.tell(id, batch);
            }
            Err(error) => {
                tracing::error!(%error, "The log could not be read for a client: {error}.");
                sleep(RETRY).await;
            }
        }
    }
}

/// A reader at the place where the history begins. The engine knows of offsets that are not safe
/// yet; they are waited for.
async fn open(log: &Log, beginning: &Beginning) -> Reader {
    let Beginning { stream, from, filter, .. } = beginning;
    let filter = Filter::parse(filter.topic_filter().as_str()).expect("a part of a filter is one");
    loop {
        match log.reader(stream, *from, Some(filter.clone())) {
            Ok(reader) => return reader,
            Err(LogError::Beyond { offset, .. }) => {
                let newer = log.newer_than(stream, offset.saturating_sub(1));
                newer.expect("streams stay").await;
            }
            // The engine knows a stream from its first record on, the log a moment later.
            Err(error) => {
                tracing::debug!(%error, "A history of {stream} cannot begin yet: {error}.");
                sleep(RETRY).await;
            }
        }
    }
}

/// Messages, and whether there are none behind them yet.
type Batch = (Vec<Message>, bool);

/// What there is, up to a batch of it.
fn read(mut reader: Reader) -> (Reader, Result<Batch, LogError>) {
    let (mut batch, mut bytes, mut blocks) = (Vec::new(), 0, BATCH_BLOCKS);
    while bytes < BATCH_BYTES && batch.len() < BATCH_RECORDS_MAX {
        match reader.next_within(&mut blocks) {
            Ok(Some(record)) => {
                bytes += record.topic.len() + record.payload.len();
                batch.push(message(&record));
            }
            Ok(None) => return (reader, Ok((batch, blocks > 0))),
            // What was read before it is not lost.
            Err(error) if batch.is_empty() => return (reader, Err(error)),
            Err(_) => break,
        }
    }
    (reader, Ok((batch, false)))
}

fn message(record: &Record<'_>) -> Message {
    let topic = TopicName::from_validated(record.topic.as_bytes());
    Message::new(topic, record.payload, record.qos, record.retain)
}
