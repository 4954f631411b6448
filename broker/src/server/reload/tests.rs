use std::sync::atomic::{AtomicU32, Ordering};

use martlet_codec::decode::DecodeLimits;
use martlet_engine::limits::Limits;

use super::*;
use crate::driver;

/// A part that counts its changes and refuses files that say so.
#[derive(Default)]
struct Paper {
    file: PathBuf,
    changes: Arc<AtomicU32>,
}

impl Part for Paper {
    fn name(&self) -> &'static str {
        "paper"
    }

    fn prepare(&self, _settings: &Settings) -> Result<Change, Vec<String>> {
        let text = fs::read_to_string(&self.file).unwrap_or_default();
        if text.starts_with("bad") {
            return Err(vec![format!("{}:1: {text}", self.file.display())]);
        }
        let changes = Arc::clone(&self.changes);
        Ok(Box::new(move || {
            changes.fetch_add(1, Ordering::Relaxed);
        }))
    }

    fn watched(&self, _settings: &Settings) -> Vec<PathBuf> {
        vec![self.file.clone()]
    }
}

fn settings() -> Settings {
    Settings {
        window: None,
        password_checks_max: 2,
        guard: Default::default(),
        bridges: Vec::new(),
        inquiry: None,
        listeners: Vec::new(),
        driver: driver::Settings {
            streams: Vec::new(),
            limits: Limits::default(),
            outbox_bytes_max: 1024,
            connection_messages: true,
            wording: Default::default(),
        },
        decode_limits: DecodeLimits { packet_size_max: 1024, topic_levels_max: 10 },
        connections_max: 1,
        connect_timeout: Duration::from_secs(1),
        rates: Default::default(),
        recorded: Vec::new(),
    }
}

struct Desk {
    _dir: tempfile::TempDir,
    papers: Vec<Arc<Paper>>,
    reloader: Reloader,
}

impl Desk {
    fn new(names: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let paper =
            |name: &&str| Arc::new(Paper { file: dir.path().join(name), ..Paper::default() });
        let papers: Vec<Arc<Paper>> = names.iter().map(paper).collect();
        let parts = papers.iter().map(|paper| Arc::clone(paper) as Arc<dyn Part>).collect();
        Self { _dir: dir, papers, reloader: Reloader::new(settings(), parts) }
    }

    fn write(&self, paper: usize, text: &str) {
        fs::write(&self.papers[paper].file, text).expect("written");
    }

    fn changes(&self) -> Vec<u32> {
        self.papers.iter().map(|paper| paper.changes.load(Ordering::Relaxed)).collect()
    }
}

#[test]
fn one_mistake_anywhere_and_nothing_changes() {
    let desk = Desk::new(&["a", "b", "c"]);
    desk.write(1, "bad ink");
    desk.write(2, "bad hand");
    let mistakes = desk.reloader.prepare(settings()).err().expect("two mistakes");
    let said: Vec<&str> = mistakes.iter().filter_map(|line| line.split(":1: ").nth(1)).collect();
    assert_eq!(said, ["bad ink", "bad hand"], "all of them, in the order of the parts");
    assert_eq!(desk.changes(), [0, 0, 0]);
    desk.write(1, "good");
    desk.write(2, "good");
    desk.reloader.prepare(settings()).expect("no mistake").apply();
    assert_eq!(desk.changes(), [1, 1, 1]);
}

#[test]
fn what_is_made_ready_and_not_applied_changes_nothing() {
    let desk = Desk::new(&["a"]);
    drop(desk.reloader.prepare(settings()));
    assert_eq!(desk.changes(), [0]);
}

#[test]
fn a_file_that_changes_is_taken_once_it_has_settled() {
    let desk = Desk::new(&["a", "b"]);
    desk.reloader.look();
    assert_eq!(desk.changes(), [0, 0], "nothing has changed");
    desk.write(0, "first");
    desk.reloader.look();
    assert_eq!(desk.changes(), [0, 0], "it may still be written");
    desk.write(0, "first and second");
    desk.reloader.look();
    assert_eq!(desk.changes(), [0, 0], "it was");
    desk.reloader.look();
    assert_eq!(desk.changes(), [1, 0], "its part only");
    desk.reloader.look();
    assert_eq!(desk.changes(), [1, 0], "once");
    desk.write(0, "bad");
    for _ in 0..3 {
        desk.reloader.look();
    }
    assert_eq!(desk.changes(), [1, 0], "the one before stays in use");
    desk.write(0, "better");
    desk.reloader.look();
    desk.reloader.look();
    assert_eq!(desk.changes(), [2, 0]);
}

#[test]
fn a_reload_takes_note_of_the_files_that_it_read() {
    let desk = Desk::new(&["a"]);
    desk.write(0, "new");
    desk.reloader.prepare(settings()).expect("no mistake").apply();
    for _ in 0..3 {
        desk.reloader.look();
    }
    assert_eq!(desk.changes(), [1]);
}
