//! Files of mosquitto, as people have them: Martlet starts with what mosquitto starts with, refuses
//! what it refuses, and says why with file and line.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mosquitto_compat_tests::broker::{Broker, BrokerError, Kind, mosquitto_binary};
use mosquitto_compat_tests::martlet;
use mosquitto_compat_tests::ports::Port;
use mosquitto_compat_tests::tools::{Finished, Running};
use tempfile::TempDir;

const CONF: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conf");

/// A configuration with everything that it names.
struct Installed {
    folder: TempDir,
    ports: [Port; 2],
}

impl Installed {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let installed =
            Self { folder, ports: [Port::reserve().unwrap(), Port::reserve().unwrap()] };
        for name in ["config", "certs", "conf.d", "bad.d", "data", "data with spaces", "log", "run"]
        {
            fs::create_dir(installed.path(name)).unwrap();
            // Started by root, mosquitto becomes another user.
            fs::set_permissions(installed.path(name), Permissions::from_mode(0o777)).unwrap();
        }
        for (name, text) in [
            ("config/pwfile", ""),
            ("config/acl", "topic readwrite #\n"),
            ("conf.d/README", "No file of mosquitto: its name does not end with .conf.\n"),
            ("conf.d/local.conf", "max_queued_messages 2000\n"),
            ("bad.d/a.conf", "sys_interval 10\nalow_anonymous true\n"),
            ("bad.d/b.conf", "include_dir /etc\n"),
        ] {
            fs::write(installed.path(name), text).unwrap();
        }
        for name in ["ca.crt", "server.crt", "server.key"] {
            let there = installed.path("certs").join(name);
            fs::copy(Path::new(CONF).join("certs").join(name), there).unwrap();
        }
        installed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a file there, with all names put in.
    fn file(&self, source: &Path) -> PathBuf {
        let file = self.path("config/mosquitto.conf");
        fs::write(&file, self.filled(&fs::read_to_string(source).unwrap())).unwrap();
        file
    }

    fn filled(&self, text: &str) -> String {
        text.replace("@DIR@", &self.folder.path().display().to_string())
            .replace("@FILE@", &self.path("config/mosquitto.conf").display().to_string())
            .replace("@PORT@", &self.ports[0].number().to_string())
            .replace("@PORT2@", &self.ports[1].number().to_string())
    }
}

/// The files of a folder that end with `.conf`; there are some.
fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new(CONF).join(folder)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "conf"));
    files.sort();
    assert!(files.len() > 5, "{folder}: {files:?}");
    files
}

fn martlet(arguments: &[&str], file: &Path) -> Finished {
    let mut command = martlet::command(&martlet::binary().unwrap());
    Running::start(command.args(arguments).arg(file)).finish()
}

#[test]
fn good_files_are_good() {
    for source in files("good") {
        let installed = Installed::new();
        let finished = martlet(&["check"], &installed.file(&source));
        assert!(finished.status.success(), "{}: {finished:?}", source.display());
        let report = martlet(&["compat-report"], &installed.file(&source));
        assert!(report.status.success(), "{}: {report:?}", source.display());
        assert!(report.lines.last().unwrap().ends_with(" 0 refused"), "{report:?}");
    }
}

#[test]
fn what_a_good_file_says_can_be_written_as_toml() {
    for source in files("good") {
        let installed = Installed::new();
        let file = installed.file(&source);
        let shown = martlet(&["config", "show", "-c"], &file);
        let toml = installed.path("martlet.toml");
        fs::write(&toml, shown.lines.join("\n")).unwrap();
        let again = martlet(&["check"], &toml);
        assert!(again.status.success(), "{}: {again:?}\n{shown:?}", source.display());
    }
}

#[test]
fn bad_files_are_refused_with_all_that_is_wrong() {
    for source in files("bad") {
        let installed = Installed::new();
        let finished = martlet(&["check"], &installed.file(&source));
        assert_eq!(finished.status.code(), Some(78), "{}: {finished:?}", source.display());
        let expected = fs::read_to_string(source.with_extension("said")).unwrap();
        let expected = installed.filled(&expected);
        for (said, expected) in finished.lines.iter().zip(expected.lines()) {
            match expected.split_once("@ANYTHING@") {
                Some((start, end)) => {
                    assert!(said.starts_with(start) && said.ends_with(end), "{said}\n{expected}");
                }
                None => assert_eq!(said, expected, "{}", source.display()),
            }
        }
        assert_eq!(finished.lines.len(), expected.lines().count(), "{finished:?}");
        let report = martlet(&["compat-report"], &installed.file(&source));
        assert_eq!(report.status.code(), Some(78), "{}: {report:?}", source.display());
    }
}

/// The control: the installed mosquitto starts with the good ones and not with the bad ones, where
/// the file does not say otherwise in its first line.
#[test]
fn mosquitto_takes_the_same_files() {
    let rows = [("good", true), ("bad", false)];
    for (source, good) in
        rows.iter().flat_map(|(folder, good)| files(folder).into_iter().map(|file| (file, *good)))
    {
        let installed = Installed::new();
        let text = fs::read_to_string(&source).unwrap();
        let other = if good { "# mosquitto 2.0 refuses: " } else { "# mosquitto 2.0 accepts: " };
        let expected = good != text.starts_with(other);
        let file = installed.file(&source);
        let Installed { folder, ports: [port, _other] } = installed;
        let started = Broker::with_file(Kind::Mosquitto, &mosquitto_binary(), &file, port, folder);
        match started {
            Ok(_) => assert!(expected, "mosquitto starts with {}", source.display()),
            Err(said @ BrokerError::Ended { .. }) => {
                assert!(!expected, "{}: {said}", source.display());
            }
            Err(said) => panic!("{}: {said}", source.display()),
        }
    }
}
