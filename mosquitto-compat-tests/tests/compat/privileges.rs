//! Started by root: which user the broker is afterwards, with every thread, and what belongs to it.
//! Without root there is nothing to give up, and these tests say that they were skipped.

use std::fs::{self, Permissions};
use std::io::{Write, stderr};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use mosquitto_compat_tests::broker::{Broker, BrokerError, Kind, mosquitto_binary};
use mosquitto_compat_tests::martlet;
use mosquitto_compat_tests::tools::{publish, subscribe};
use rustix::process::{Pid, Signal, getuid, kill_process};
use tempfile::TempDir;

/// Whether we are root, and say so if not.
fn skipped(name: &str) -> bool {
    let skipped = !getuid().is_root();
    if skipped {
        let _ = writeln!(stderr(), "skipped: {name}: only root can give up being root");
    }
    skipped
}

/// A folder that every user can look into.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    folder
}

/// The lines of that name in what the system says of each thread.
fn of_threads(broker: &Broker, name: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", broker.pid())).unwrap();
    let lines = tasks.filter_map(|task| {
        // A thread may end while we look.
        let status = fs::read_to_string(task.ok()?.path().join("status")).ok()?;
        let line = status.lines().find(|line| line.starts_with(name))?;
        Some(line.split_whitespace().skip(1).collect::<Vec<_>>().join(" "))
    });
    lines.collect()
}

fn owner(path: &Path) -> u32 {
    fs::metadata(path).unwrap().uid()
}

#[test]
fn every_thread_becomes_mosquittos_user_and_keeps_its_files() {
    if skipped("every_thread_becomes_mosquittos_user_and_keeps_its_files") {
        return;
    }
    let both = [(Kind::Mosquitto, mosquitto_binary()), (Kind::Martlet, martlet::binary().unwrap())];
    for (kind, program) in both {
        let folder = folder();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("data")).unwrap();
        if kind == Kind::Mosquitto {
            // It hands nothing over, and writes the process id as its own user.
            for path in [folder.path().to_owned(), path("data")] {
                fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
            }
        }
        let text = format!(
            "allow_anonymous true\npersistence true\npersistence_location {}/\npid_file {}\n\
             log_dest file {}\nlog_dest stdout\nlistener 0 {}\n",
            path("data").display(),
            path("pid").display(),
            path("log").display(),
            path("socket").display(),
        );
        let broker = Broker::start_with_conf(kind, &program, &text).unwrap();
        let no_root = || of_threads(&broker, "Uid:").iter().all(|uids| !uids.starts_with("0 "));
        let changed = broker.wait_until(no_root);
        let uids = of_threads(&broker, "Uid:");
        assert!(changed, "{kind:?}: {uids:?}");
        assert!(uids.len() > usize::from(kind == Kind::Martlet), "{kind:?} {uids:?}");
        let first = uids[0].split(' ').next().unwrap().to_owned();
        for (name, ids) in [("Uid:", uids.clone()), ("Gid:", of_threads(&broker, "Gid:"))] {
            assert!(ids.iter().all(|line| *line == ids[0]), "{kind:?} {name} {ids:?}");
            let own = ids[0].split(' ').next().unwrap();
            assert_eq!(ids[0], [own; 4].join(" "), "real, effective, saved, of files");
        }
        for name in ["CapPrm:", "CapEff:"] {
            let none = |line: &String| line.chars().all(|digit| digit == '0');
            assert!(of_threads(&broker, name).iter().all(none), "{kind:?} {name}");
        }
        // Whoever is in its group may connect.
        let socket = fs::metadata(path("socket")).unwrap();
        assert_eq!(socket.uid().to_string(), first, "{kind:?}");
        assert_eq!(socket.permissions().mode() & 0o777, 0o770, "{kind:?}");
        let groups = of_threads(&broker, "Groups:");
        assert!(groups.iter().all(|line| !line.split(' ').any(|group| group == "0")), "{groups:?}");
        assert_eq!(fs::read_to_string(path("pid")).unwrap(), broker.pid().to_string());
        if kind == Kind::Martlet {
            for name in ["data", "data/journal"] {
                for entry in fs::read_dir(path(name)).unwrap() {
                    let path = entry.unwrap().path();
                    assert_eq!(owner(&path).to_string(), first, "{}", path.display());
                    let mode = fs::metadata(&path).unwrap().permissions().mode();
                    assert_eq!(mode & 0o007, 0, "{}", path.display());
                }
            }
            assert_eq!(owner(&path("log")).to_string(), first);
        }
        // It keeps what it is given, opens its log anew, and reads its configuration again.
        publish(&broker, &["-q", "1", "-r", "-t", "kept", "-m", "x"]);
        assert_eq!(subscribe(&broker, &["-t", "kept"]).message().text(), "x");
        if kind == Kind::Martlet {
            fs::set_permissions(broker.folder(), Permissions::from_mode(0o755)).unwrap();
            let pid = Pid::from_raw(broker.pid().try_into().unwrap()).unwrap();
            kill_process(pid, Signal::HUP).unwrap();
            let reloaded = |log: &str| log.contains("The configuration was reloaded.");
            broker.wait_for_log(reloaded).unwrap_or_else(|log| panic!("{log}"));
        }
        broker.stop(Signal::TERM).unwrap();
        let left = fs::read_to_string(path("pid")).unwrap_or_default();
        assert!(left.is_empty() || kind == Kind::Mosquitto, "{kind:?} {left}");
    }
}

#[test]
fn users_that_are_not_there_are_mistakes_and_root_is_worth_a_warning() {
    if skipped("users_that_are_not_there_are_mistakes_and_root_is_worth_a_warning") {
        return;
    }
    let program = martlet::binary().unwrap();
    let nobody_here = "allow_anonymous true\nuser no-such-user\n";
    match Broker::start_with_conf(Kind::Martlet, &program, nobody_here) {
        Err(BrokerError::Ended { status, log, .. }) => {
            assert_eq!(status.code(), Some(78), "{log}");
            let line = ".conf:3:1: there is no user \"no-such-user\" on this machine";
            assert!(log.contains(line), "{log}");
        }
        other => panic!("{other:?}"),
    }
    let root = "allow_anonymous true\nuser root\n";
    let broker = Broker::start_with_conf(Kind::Martlet, &program, root).unwrap();
    assert!(broker.wait_for_log(|log| log.contains("Warning: Martlet runs as root")).is_ok());
    assert!(of_threads(&broker, "Uid:").iter().all(|uids| uids == "0 0 0 0"));
}

/// A folder that the user cannot reach is said at the start, not at the first message.
#[test]
fn a_folder_that_the_user_cannot_write_is_said() {
    if skipped("a_folder_that_the_user_cannot_write_is_said") {
        return;
    }
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
    let text = format!(
        "allow_anonymous true\npersistence true\npersistence_location {}\n",
        folder.path().join("data").display(),
    );
    match Broker::start_with_conf(Kind::Martlet, &martlet::binary().unwrap(), &text) {
        Err(BrokerError::Ended { status, log, .. }) => {
            assert_eq!(status.code(), Some(1), "{log}");
            assert!(log.contains(" cannot write in "), "{log}");
        }
        // The port opens before the user changes.
        Ok(broker) => {
            let said = broker.wait_for_log(|log| log.contains(" cannot write in "));
            said.unwrap_or_else(|log| panic!("{log}"));
        }
        other => panic!("{other:?}"),
    }
}
