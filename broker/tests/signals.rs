//! Signals, in a process that nothing else runs in.

use std::sync::Mutex;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use martlet::signals;
use rustix::process::{Signal, getpid, kill_process};

static SAID: Mutex<Option<SyncSender<String>>> = Mutex::new(None);

#[test]
fn the_first_asks_and_the_second_ends() {
    let (sender, said) = sync_channel(1);
    *SAID.lock().unwrap() = Some(sender);
    let stop = signals::listen(|words| {
        let sender = SAID.lock().unwrap().take().expect("called once");
        sender.send(words.to_owned()).unwrap();
    })
    .unwrap();
    for signal in [Signal::HUP, Signal::TERM] {
        kill_process(getpid(), signal).unwrap();
    }
    stop.blocking_recv().expect("SIGTERM asks for a stop");
    assert!(said.try_recv().is_err(), "nothing ends before the second one");
    kill_process(getpid(), Signal::INT).unwrap();
    let words = said.recv_timeout(Duration::from_secs(60)).expect("SIGINT ends at once");
    assert_eq!(words, "SIGINT again: ended before the stop was complete.");
}
