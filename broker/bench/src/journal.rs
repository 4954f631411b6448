//! The store alone, on a real folder: what a commit of so many messages takes and writes.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use martlet::store::Store;
use martlet::store::disk::{Disk, File, Lock, Real};
use martlet::store::durable::{self, Settings};
use martlet_codec::ids::PacketId;
use martlet_codec::reason::QoS;
use martlet_codec::topic::TopicName;
use martlet_engine::change::{Change, MessageKey, Passage};
use martlet_engine::message::Message;
use tempfile::TempDir;

use crate::clock::now_ns;
use crate::error::BenchError;
use crate::machine::{self, Written};
use crate::tally::Histogram;

/// Messages in one commit, and how many commits.
const BATCHES: [(u64, u64); 4] = [(1, 4000), (10, 2000), (100, 1000), (1000, 300)];

/// Commits facts of 150-byte messages that one session gets and acknowledges in the next commit;
/// a table in Markdown.
pub(crate) fn journal() -> Result<String, BenchError> {
    let mut text = String::from(
        "| messages in a commit | commits/s | commit p50 ms | p99 ms | bytes handed to write() for \
         each message | syncs for each | blocks of 4 KiB for each, device |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for (messages, commits) in BATCHES {
        let folder = TempDir::with_prefix("martlet-bench-");
        let folder = folder.map_err(BenchError::system("a temporary folder"))?;
        let disk = Arc::new(Counting::default());
        let settings = Settings::new(folder.path().join("data"), "today".to_owned());
        let store = durable::open_on(Arc::clone(&disk) as Arc<dyn Disk>, settings);
        let mut store = store.map_err(BenchError::Store)?;
        let refused = BenchError::Store;
        store.commit(&[Change::SaveSession { client_id: "c".into() }]).map_err(refused)?;
        machine::sync_all();
        let before = Written::now(None, folder.path())?;
        let (bytes, syncs) = disk.counts();
        let mut delays = Histogram::default();
        let start_ns = now_ns();
        for number in 0..commits {
            let changes = batch(number, messages);
            let begun_ns = now_ns();
            store.commit(&changes).map_err(BenchError::Store)?;
            delays.record(now_ns() - begun_ns);
        }
        let seconds = (now_ns() - start_ns) as f64 / 1e9;
        store.close().map_err(BenchError::Store)?; // a checkpoint
        machine::sync_all();
        let written = Written::now(None, folder.path())?.since(before);
        let (bytes, syncs) = (disk.counts().0 - bytes, disk.counts().1 - syncs);
        let all = (messages * commits) as f64;
        let blocks = written.device.map(|bytes| format!("{:.2}", bytes as f64 / 4096.0 / all));
        let _ = writeln!(
            text,
            "| {messages} | {:.0} | {:.2} | {:.2} | {:.0} | {:.4} | {} |",
            commits as f64 / seconds,
            delays.percentile_us(0.5) / 1000.0,
            delays.percentile_us(0.99) / 1000.0,
            bytes as f64 / all,
            syncs as f64 / all,
            blocks.as_deref().unwrap_or("-"),
        );
    }
    Ok(text)
}

/// What an engine says when so many messages come for a session that has acknowledged those of the
/// batch before.
fn batch(number: u64, messages: u64) -> Vec<Change> {
    let client_id: Arc<str> = "c".into();
    let topic = TopicName::new(b"bench/journal/temperature").expect("a topic");
    let id = |n: u64| PacketId::new(1 + n as u16).expect("not zero");
    let mut changes = Vec::new();
    if number > 0 {
        let settled = (0..messages).map(id);
        changes.extend(settled.map(|id| Change::Settle { client_id: client_id.clone(), id }));
    }
    for n in 0..messages {
        let key = MessageKey(number * messages + n);
        let message = Message::new(topic, &[0xA5; 150], QoS::AtLeastOnce, false);
        let passage = Passage { key, qos: QoS::AtLeastOnce, retain: false, share: None };
        changes.push(Change::KeepMessage { key, message });
        changes.push(Change::Deliver { client_id: client_id.clone(), passage, id: id(n) });
    }
    changes
}

/// The real disk; counts what is written and synced.
#[derive(Debug, Default)]
struct Counting(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    bytes: AtomicU64,
    syncs: AtomicU64,
}

#[derive(Debug)]
struct CountingFile(Box<dyn File>, Arc<Counts>);

impl Counting {
    /// Bytes and syncs so far.
    fn counts(&self) -> (u64, u64) {
        (self.0.bytes.load(Ordering::Relaxed), self.0.syncs.load(Ordering::Relaxed))
    }

    fn file(&self, file: Box<dyn File>) -> Box<dyn File> {
        Box::new(CountingFile(file, Arc::clone(&self.0)))
    }
}

impl Disk for Counting {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        Real.create_folder(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        Real.list(folder)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Real.open(path).map(|file| self.file(file))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Real.create(path).map(|file| self.file(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Real.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Real.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.0.syncs.fetch_add(1, Ordering::Relaxed);
        Real.sync_folder(folder)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        Real.lock(path)
    }
}

impl File for CountingFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.1.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.0.write_at(offset, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.1.syncs.fetch_add(1, Ordering::Relaxed);
        self.0.sync()
    }
}
