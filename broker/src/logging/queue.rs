//! Lines on their way to one destination, and the thread that takes them there. A destination that
//! takes nothing, a full pipe or a disk that hangs, stops nobody else: its lines wait here up to a
//! bound, those beyond are counted, and once it takes lines again it is told how many it missed.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::logging::kinds::Kind;

/// Bytes of lines that wait for one destination, [`LINE_BYTES`] for each line besides its text. At
/// the bound: a new line is lost for this destination, and counted.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// What a line takes besides its text.
const LINE_BYTES: usize = 64;

/// Lines that are written at a time.
const WRITTEN_LINES_MAX: usize = 256;

/// How long a line may wait for others that are written with it: a wake-up of the thread costs more
/// than a line does, and lines come in storms.
const GATHERED: Duration = Duration::from_millis(2);

/// One line, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) kind: Kind,
    pub(super) text: Arc<str>,
}

/// What takes lines. It may block.
pub(super) trait Sink: Send {
    /// Takes all of them, or fails and perhaps took some.
    fn write(&mut self, lines: &[Line]) -> io::Result<()>;
}

/// Makes the line that tells of so many lost ones.
pub(super) type Loss = fn(u64) -> Line;

/// The lines that wait for one destination.
pub(super) struct Queue {
    state: Mutex<State>,
    /// There is a line: nobody waits for that while lines gather.
    came: Condvar,
    /// Something else is to be done than to gather lines, or was done.
    changed: Condvar,
    /// Of all destinations together, since start.
    lost: Arc<AtomicU64>,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Line>,
    bytes: usize,
    /// Lines that the destination has missed and was not told of.
    missed: u64,
    /// What takes the lines from here on.
    next: Option<Box<dyn Sink>>,
    /// Lines were taken out and are not written yet.
    writing: bool,
    /// No line comes any more.
    closed: bool,
}

/// What the thread is to do next.
struct Work {
    lines: Vec<Line>,
    missed: u64,
    next: Option<Box<dyn Sink>>,
}

impl Queue {
    /// Starts the thread. Without a `sink` lines wait until there is one.
    pub(super) fn start(
        sink: Option<Box<dyn Sink>>,
        lost: Arc<AtomicU64>,
        loss: Loss,
    ) -> io::Result<Arc<Self>> {
        let state = State { next: sink, ..State::default() };
        let (came, changed) = Default::default();
        let queue = Arc::new(Self { state: Mutex::new(state), came, changed, lost });
        let taken = Arc::clone(&queue);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || taken.write(loss))?;
        Ok(queue)
    }

    /// Puts a line at the end, or counts it.
    pub(super) fn push(&self, line: Line) {
        let mut state = self.state.lock();
        let bytes = line.text.len() + LINE_BYTES;
        if state.bytes + bytes > WAITING_BYTES_MAX {
            state.missed += 1;
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let is_grave = matches!(line.kind, Kind::Error | Kind::Warning);
        state.bytes += bytes;
        state.lines.push_back(line);
        drop(state);
        self.came.notify_one();
        if is_grave {
            self.changed.notify_all(); // it may be the last one
        }
    }

    /// From the next line on they go there.
    pub(super) fn replace(&self, sink: Box<dyn Sink>) {
        self.state.lock().next = Some(sink);
        self.hurry();
    }

    /// No line comes any more: those that wait are written, and the thread ends.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.hurry();
    }

    /// The thread looks at once what there is to do.
    fn hurry(&self) {
        self.came.notify_one();
        self.changed.notify_all();
    }

    /// Waits until everything is written, but not longer than this.
    pub(super) fn flush(&self, most: Duration) {
        self.hurry();
        let mut state = self.state.lock();
        let busy = |state: &mut State| state.writing || !state.lines.is_empty();
        self.changed.wait_while_for(&mut state, busy, most);
    }

    fn write(&self, loss: Loss) {
        let mut sink = None;
        while let Some(Work { mut lines, missed, next }) = self.work(sink.is_some()) {
            sink = next.or(sink);
            let Some(sink) = &mut sink else { continue };
            if missed > 0 {
                lines.push(loss(missed));
            }
            let missed_now = if sink.write(&lines).is_err() {
                let now = lines.len() as u64 - u64::from(missed > 0);
                self.lost.fetch_add(now, Ordering::Relaxed);
                missed + now
            } else {
                0
            };
            let mut state = self.state.lock();
            state.missed += missed_now;
            state.writing = false;
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Waits for something to do; `None` at the end. What was missed is told with the next lines,
    /// which show that there is somebody to tell.
    fn work(&self, open: bool) -> Option<Work> {
        let mut state = self.state.lock();
        let mut slept = false;
        loop {
            let open = open || state.next.is_some();
            if open && !state.lines.is_empty() {
                break;
            }
            if state.closed {
                return None;
            }
            slept = true;
            self.came.wait(&mut state);
        }
        if slept && !state.closed {
            self.changed.wait_for(&mut state, GATHERED);
        }
        let count = state.lines.len().min(WRITTEN_LINES_MAX);
        let lines: Vec<Line> = state.lines.drain(..count).collect();
        let bytes: usize = lines.iter().map(|line| line.text.len() + LINE_BYTES).sum();
        state.bytes -= bytes;
        state.writing = true;
        Some(Work { lines, missed: std::mem::take(&mut state.missed), next: state.next.take() })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// Hands on each batch as soon as somebody asks for one; a batch with the word `bad` fails.
    struct Slow(SyncSender<Vec<String>>);

    impl Sink for Slow {
        fn write(&mut self, lines: &[Line]) -> io::Result<()> {
            let texts: Vec<String> = lines.iter().map(|line| line.text.to_string()).collect();
            let bad = texts.iter().any(|text| text == "bad");
            self.0.send(texts).map_err(io::Error::other)?;
            if bad { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }
    }

    fn line(text: &str) -> Line {
        Line { kind: Kind::Information, text: text.into() }
    }

    fn queue() -> (Arc<Queue>, Receiver<Vec<String>>, Arc<AtomicU64>) {
        let (taken, written) = sync_channel(0);
        let lost = Arc::new(AtomicU64::new(0));
        let loss = |count| line(&format!("{count} lost"));
        let queue = Queue::start(Some(Box::new(Slow(taken))), Arc::clone(&lost), loss);
        (queue.expect("a thread"), written, lost)
    }

    #[test]
    fn a_destination_that_hangs_stops_nobody_and_is_told_what_it_missed() {
        let (queue, written, lost) = queue();
        let long = "x".repeat(1000);
        for _ in 0..10_000 {
            queue.push(line(&long)); // returns, although nothing is taken
        }
        let missed = lost.load(Ordering::Relaxed);
        assert!(missed > 8000, "{missed}");
        let (mut kept, mut told) = (0, 0);
        while kept + missed < 10_000 || told < missed {
            for text in written.recv().expect("it writes, and tells what it missed") {
                match text.strip_suffix(" lost") {
                    Some(count) => told += count.parse::<u64>().expect("a number"),
                    None => kept += 1,
                }
            }
        }
        assert_eq!((kept + missed, told), (10_000, missed));
        queue.push(line("again"));
        assert_eq!(written.recv().expect("it writes"), ["again"]);
        assert_eq!(lost.load(Ordering::Relaxed), missed);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_told_of_later() {
        let (queue, written, lost) = queue();
        queue.push(line("bad"));
        assert_eq!(written.recv().expect("it writes"), ["bad"]);
        queue.flush(Duration::from_secs(60));
        assert_eq!(lost.load(Ordering::Relaxed), 1);
        queue.push(line("good"));
        assert_eq!(written.recv().expect("it writes"), ["good", "1 lost"]);
        queue.flush(Duration::from_secs(60));
        assert_eq!(lost.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn lines_wait_for_a_sink_and_a_closed_queue_still_writes_them() {
        let loss = |count| line(&format!("{count} lost"));
        let queue = Queue::start(None, Arc::default(), loss).expect("a thread");
        queue.push(line("early"));
        let (taken, written) = sync_channel(0);
        queue.replace(Box::new(Slow(taken)));
        assert_eq!(written.recv().expect("it writes"), ["early"]);
        queue.push(line("late"));
        queue.close();
        assert_eq!(written.recv().expect("it writes"), ["late"]);
        assert!(written.recv().is_err(), "the thread has ended, and the sink with it");
    }
}
