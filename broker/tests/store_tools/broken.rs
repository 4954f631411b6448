//! Files that are not what they were: the check says what is missing and changes nothing, a broker
//! that starts there sets them aside, keeps the rest, and says so wherever one may look.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::binary::{Broker, store};
use crate::raw::client::Client;
use crate::raw::{Id, Packet};
use crate::{files, make};

/// Does something to a file's bytes.
type Harm = fn(&mut Vec<u8>);

const SEGMENT: &str = "journal/000000000000.journal";
const STATE: &str = "state.redb";

fn written(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

fn flip(bytes: &mut [u8], at: impl Fn(&[u8]) -> usize) {
    let at = at(bytes);
    bytes[at] ^= 1;
}

/// Where in the state this text stands.
fn place(bytes: &[u8], text: &[u8]) -> usize {
    bytes.windows(text.len()).position(|window| window == text).unwrap()
}

/// Which file, what is done to it, whether that is damage, and what is said of it.
const ROWS: &[(&str, Harm, bool, &str)] = &[
    // Its frames are whole, and say themselves which they are.
    (SEGMENT, |bytes| bytes[9] ^= 1, false, "sound"),
    (SEGMENT, |bytes| flip(bytes, |bytes| written(bytes) / 2), true, "1 commits"),
    (SEGMENT, |bytes| bytes[40..100].fill(0), true, "cannot be read"),
    // Nothing says that there was more: what a torn write leaves.
    (SEGMENT, |bytes| bytes.truncate(written(bytes) - 3), false, "sound"),
    (SEGMENT, |bytes| bytes.truncate(written(bytes) / 2), false, "sound"),
    (SEGMENT, |bytes| bytes.truncate(0), false, "sound"),
    (STATE, |bytes| bytes.truncate(0), true, "state.redb"),
    (STATE, |bytes| bytes.truncate(10_000), true, "state.redb"),
    (STATE, |bytes| bytes[0] ^= 1, true, "state.redb"),
    (STATE, |bytes| bytes.fill(b'x'), true, "state.redb"),
    (
        STATE,
        |bytes| flip(bytes, |bytes| place(bytes, b"r/1") + 6),
        true,
        "1 rows of the table retained",
    ),
    (STATE, |bytes| flip(bytes, |bytes| place(bytes, b"$share/g")), true, "1 rows of the table"),
];

#[test]
fn a_check_names_the_file_and_what_is_missing_and_changes_nothing() {
    for (at, (file, harm, is_damage, words)) in ROWS.iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), *file == STATE);
        let path = dir.path().join(file);
        let mut bytes = fs::read(&path).unwrap();
        harm(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let before = files(dir.path());
        let check = store(&["check"], dir.path());
        assert_eq!(check.code, Some(if *is_damage { 3 } else { 0 }), "row {at}: {check:?}");
        assert!(check.out.contains(words), "row {at}: {check:?}");
        assert_eq!(check.err, "", "row {at}");
        if *is_damage {
            let line = format!("  damaged: {}: ", path.display());
            assert!(check.out.contains("DAMAGED\n") && check.out.contains(&line), "{check:?}");
            let export = store(&["export"], dir.path());
            assert_eq!(export.code, Some(3), "row {at}: {export:?}");
            assert!(export.err.contains("The store is damaged: "), "row {at}: {export:?}");
        }
        assert_eq!(files(dir.path()), before, "row {at}");
    }
}

fn aside(data: &Path) -> Vec<PathBuf> {
    let is_aside = |path: &PathBuf| path.to_string_lossy().contains(".damaged-20");
    files(data).into_keys().filter(is_aside).collect()
}

#[test]
fn a_broker_sets_damaged_files_aside_keeps_the_rest_and_tells_everybody() {
    for (file, harm, is_damage, words) in ROWS.iter().filter(|row| row.2) {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        make(&data, *file == STATE);
        let mut bytes = fs::read(data.join(file)).unwrap();
        harm(&mut bytes);
        fs::write(data.join(file), &bytes).unwrap();
        let export = store(&["export"], &data).out;
        let broker = Broker::start(dir.path());
        let said = broker.said.clone();
        assert!(
            said.contains(": Error: The store is damaged; what could be read is kept."),
            "{said}"
        );
        assert!(said.contains(words) && !said.contains("panicked"), "{said}");
        let told = sys(&broker);
        assert!(told[0].contains(words) && told[1] == "1", "{told:?}");
        broker.end(Signal::TERM);
        let [set_aside] = &aside(&data)[..] else { panic!("one file: {:?}", aside(&data)) };
        // The database puts its own mark on a file that it opens.
        let is_kept = *file == STATE || fs::read(set_aside).unwrap() == bytes;
        assert!(is_kept, "{file} is kept for those who know more");
        assert!(*is_damage && set_aside.starts_with(&data));
        // What the check counted is what the broker went on with; wills were published.
        let kept = |text: &str| {
            let lines = text.lines().filter(|line| line.contains("retained\",\"topic\":\"r/"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(kept(&store(&["export"], &data).out), kept(&export));
        let check = store(&["check"], &data);
        assert_eq!(check.code, Some(4), "{check:?}");
        let line = format!("  set aside earlier: {}", set_aside.display());
        assert!(check.out.contains(&line), "{check:?}");
        fs::remove_file(set_aside).unwrap();
        assert_eq!(store(&["check"], &data).code, Some(0));
        let again = Broker::start(dir.path());
        assert!(!again.said.contains("damaged"), "{}", again.said);
        assert_eq!(sys(&again), ["0"]);
        again.end(Signal::KILL);
    }
}

/// What `$SYS` says of damage; the count is the last to come.
fn sys(broker: &Broker) -> Vec<String> {
    let mut client = Client::connect(broker.address, "");
    let filters = vec![("$SYS/broker/martlet/store/damage/#".to_owned(), 0)];
    client.send(&Packet::Subscribe { id: Id::Number(1), filters });
    client.expect("suback 1 0");
    let mut told = Vec::new();
    loop {
        let Packet::Publish(publish) = client.expect_packet() else { continue };
        told.push(String::from_utf8(publish.payload).unwrap());
        if publish.topic.ends_with("/count") {
            return told;
        }
    }
}
