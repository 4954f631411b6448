//! Signals, in a process that nothing else runs in.

use std::process::Command;
use std::sync::Mutex;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use martlet::signals::{self, Request};
use rustix::process::{Signal, getpid, kill_process};

static SAID: Mutex<Option<SyncSender<String>>> = Mutex::new(None);

#[test]
fn the_first_asks_and_the_second_ends() {
    let (sender, said) = sync_channel(1);
    *SAID.lock().unwrap() = Some(sender);
    let mut heard = signals::listen(|words| {
        let sender = SAID.lock().unwrap().take().expect("called once");
        sender.send(words.to_owned()).unwrap();
    })
    .unwrap();
    for (signal, request) in [
        ("HUP", Request::Reload),
        ("USR1", Request::Save),
        ("USR2", Request::PrintTree),
        ("RTMIN", Request::ReopenLog),
    ] {
        let pid = getpid().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        assert_eq!(heard.requests.blocking_recv(), Some(request));
    }
    assert!(heard.stop.try_recv().is_err(), "none of these asks for an end");
    kill_process(getpid(), Signal::TERM).unwrap();
    heard.stop.blocking_recv().expect("SIGTERM asks for a stop");
    assert!(said.try_recv().is_err(), "nothing ends before the second one");
    // Those that follow at once are the same request, so one of them is the second.
    let words = loop {
        kill_process(getpid(), Signal::INT).unwrap();
        if let Ok(words) = said.recv_timeout(Duration::from_millis(50)) {
            break words;
        }
    };
    assert_eq!(words, "SIGINT again: ended before the stop was complete.");
}
