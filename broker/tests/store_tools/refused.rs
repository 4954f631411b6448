//! Stores that cannot be used: the reason is said, the exit code is 1, nothing is changed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use redb::{Database, TableDefinition};
use rustix::process::Signal;

use crate::binary::{BINARY, Broker, Ended, Mounts, as_nobody, run, store};
use crate::{files, make};

/// Makes a store one of a newer broker.
type Age = fn(&Path);

const TOOLS: [&str; 4] = ["check", "stats", "export", "compact"];

/// The broker, which does not start.
fn serve(mut command: Command, folder: &Path) -> Ended {
    run(command.args(["-p", "0", "--data"]).arg(folder))
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[track_caller]
fn refuses(ended: &Ended, words: &str) {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains(words) && ended.out.is_empty(), "{words}: {ended:?}");
}

#[test]
fn a_store_in_use_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let data = dir.path().join("data");
    let before = files(&data);
    let words = format!("is in use by process {} (martlet): stop it first", broker.id());
    for tool in TOOLS {
        refuses(&store(&[tool], &data), &words);
    }
    assert_eq!(files(&data), before);
    let words = format!("is in use by process {} (martlet): stop that one", broker.id());
    refuses(&serve(Command::new(BINARY), &data), &words);
    broker.end(Signal::KILL);
    assert_eq!(store(&["check"], &data).code, Some(0));
}

#[test]
fn what_is_no_store_is_called_so() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    fs::create_dir(dir.path().join("empty")).unwrap();
    for tool in TOOLS {
        for (name, words) in [
            ("missing", "No such file or directory"),
            ("file", "file is not a folder"),
            ("empty", "there is no store in"),
        ] {
            refuses(&store(&[tool], &dir.path().join(name)), words);
        }
    }
    assert_eq!(files(dir.path()).len(), 1, "nothing was made");
    refuses(&serve(Command::new(BINARY), &dir.path().join("file")), "file is not a folder");
}

/// A version that no broker writes yet.
const NEWER: u8 = 9;

#[test]
fn a_newer_store_is_refused_untouched() {
    let journal = |folder: &Path| {
        let segment = folder.join("journal/000000000000.journal");
        let mut bytes = fs::read(&segment).unwrap();
        bytes[8] = NEWER;
        let checksum = crc32c::crc32c(&bytes[..28]);
        bytes[28..32].copy_from_slice(&checksum.to_le_bytes());
        fs::write(segment, bytes).unwrap();
    };
    fn state(folder: &Path) {
        let table: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("meta");
        let database = Database::open(folder.join("state.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        let (key, record) = (b"version", [NEWER]);
        let checksum = crc32c::crc32c_append(crc32c::crc32c(key), &record);
        let row = [&record[..], &checksum.to_le_bytes()].concat();
        transaction.open_table(table).unwrap().insert(&key[..], &row[..]).unwrap();
        transaction.commit().unwrap();
    }
    let rebuilt = |folder: &Path| {
        state(folder);
        fs::rename(folder.join("state.redb"), folder.join("state.redb.rebuilt")).unwrap();
    };
    let rows: [(bool, Age, &str, u8); 4] = [
        (false, journal, "000000000000.journal", 2),
        (true, state, "state.redb", 4),
        (false, state, "state.redb", 4),
        (true, rebuilt, "state.redb.rebuilt", 4),
    ];
    for (in_order, age, file, known) in rows {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), in_order);
        age(dir.path());
        let before = files(dir.path());
        let words = format!("{file} has format {NEWER} and this broker reads up to {known}");
        for tool in TOOLS {
            refuses(&store(&[tool], dir.path()), &words);
        }
        refuses(&serve(Command::new(BINARY), dir.path()), &words);
        let after = files(dir.path());
        assert!(
            after.keys().eq(before.keys()),
            "nothing was made or set aside: {:?}",
            after.keys()
        );
        for (path, bytes) in before {
            assert!(after[&path] == bytes, "not a byte changes: {}", path.display());
        }
    }
}

#[test]
fn without_permission_the_reason_is_said() {
    let dir = tempfile::tempdir().unwrap();
    mode(dir.path(), 0o755);
    let data = dir.path().join("data");
    make(&data, true);
    let by_nobody = |words: &[&str]| run(as_nobody().arg(BINARY).args(words).arg(&data));
    for path in [data.join("lock"), data.join("state.redb")] {
        mode(&path, 0o444);
    }
    for folder in [data.join("journal"), data.clone()] {
        mode(&folder, 0o555);
    }
    let ended = by_nobody(&["store", "check"]);
    assert_eq!(ended.code, Some(0), "to read is enough: {ended:?}");
    refuses(&by_nobody(&["-p", "0", "--data"]), "must be writable for the broker: Permission");
    refuses(&by_nobody(&["store", "compact"]), "Permission denied");
    mode(&data, 0o000);
    refuses(&by_nobody(&["store", "check"]), "Permission denied");
    refuses(&by_nobody(&["-p", "0", "--data"]), "Permission denied");
    mode(&data, 0o755);
}

#[test]
fn on_a_file_system_that_cannot_be_written_to_a_store_can_be_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), false);
    let before = files(dir.path());
    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\"";
    let Some(mounts) = Mounts::new(script, dir.path()) else { return };
    let inside = |words: &[&str]| run(mounts.command().arg(BINARY).args(words).arg(dir.path()));
    for tool in ["check", "stats", "export"] {
        let ended = inside(&["store", tool]);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{tool} {}", ended.out);
    }
    refuses(&inside(&["store", "compact"]), "Read-only file system");
    refuses(&inside(&["-p", "0", "--data"]), "Read-only file system");
    drop(mounts);
    assert_eq!(files(dir.path()), before);
}
