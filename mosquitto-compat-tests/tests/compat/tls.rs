//! TLS with mosquitto's clients and openssl, under the same mosquitto.conf for both brokers:
//! certificates made as mosquitto's manual makes them, and certificates that Martlet makes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use mosquitto_compat_tests::broker::{Broker, Kind, mosquitto_binary};
use mosquitto_compat_tests::martlet;
use mosquitto_compat_tests::tools::{self, tool};
use tempfile::TempDir;

const KINDS: [Kind; 2] = [Kind::Martlet, Kind::Mosquitto];

/// A folder with certificates.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::with_prefix("martlet-test-").unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// As in mosquitto-tls(7), where the commands have no extensions: openssl makes certificates of
    /// version 1 then.
    fn by_the_manual() -> Self {
        let folder = Self::new();
        folder.openssl("req -new -x509 -days 3 -nodes -subj /CN=ca -keyout ca.key -out ca.crt");
        for (name, common_name) in [("server", "127.0.0.1"), ("device", "meter-7")] {
            folder.openssl(&format!("genrsa -out {name}.key 2048"));
            folder.openssl(&format!(
                "req -new -out {name}.csr -key {name}.key -subj /CN={common_name}"
            ));
            folder.openssl(&format!(
                "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out {name}.crt \
                 -days 3"
            ));
        }
        let version = folder.openssl("x509 -in device.crt -noout -text");
        assert!(version.contains("Version: 1 (0x0)"), "{version}");
        folder
    }

    /// As `martlet cert` makes them.
    fn by_martlet() -> Self {
        let folder = Self::new();
        for arguments in [&["init"][..], &["server"], &["device", "meter-7"], &["device", "gone"]] {
            folder.cert(arguments);
        }
        folder
    }

    fn cert(&self, arguments: &[&str]) -> String {
        let mut command = martlet::command(&martlet::binary().unwrap());
        command.arg("cert").args(arguments).args(["--dir", &self.path("")]);
        text(command.output().unwrap())
    }

    fn openssl(&self, arguments: &str) -> String {
        let mut command = Command::new("openssl");
        command.args(arguments.split_whitespace()).current_dir(self.0.path()).stdin(Stdio::null());
        text(command.output().unwrap())
    }

    /// A broker with these lines below its listener, `@` being this folder.
    fn broker(&self, kind: Kind, lines: &str) -> Broker {
        open_to_others(self.0.path());
        let lines = lines.replace('@', self.0.path().to_str().unwrap());
        let program = match kind {
            Kind::Martlet => martlet::binary().unwrap(),
            Kind::Mosquitto => mosquitto_binary(),
        };
        Broker::start_with_conf(kind, &program, &lines).unwrap()
    }
}

/// mosquitto gives up being root before it reads its files.
fn open_to_others(path: &Path) {
    let mode = if path.is_dir() { 0o755 } else { 0o644 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for entry in path.read_dir().into_iter().flatten() {
        open_to_others(&entry.unwrap().path());
    }
}

fn text(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// `mosquitto_pub` with these arguments, which may be refused.
fn publishes(broker: &Broker, arguments: &[&str]) -> bool {
    let arguments = ["-q", "1", "-t", "meters/7", "-m", "x"].iter().chain(arguments);
    tool("mosquitto_pub", broker).args(arguments).output().unwrap().status.success()
}

const SERVER: &str = "certfile @/server.crt\nkeyfile @/server.key\n";
const MUTUAL: &str = "\
cafile @/ca.crt
certfile @/server.crt
keyfile @/server.key
require_certificate true
use_identity_as_username true
acl_file @/acl
";
const ACL: &str = "user meter-7\ntopic readwrite meters/7\n";

#[test]
fn certificates_made_by_the_manual_are_good_for_the_server() {
    let folder = Folder::by_the_manual();
    let ca = folder.path("ca.crt");
    for kind in KINDS {
        let broker = folder.broker(kind, &format!("allow_anonymous true\n{SERVER}"));
        for version in ["tlsv1.2", "tlsv1.3"] {
            let tls = ["--cafile", &ca, "--tls-version", version];
            let mut subscriber = tools::subscribe(&broker, &[&["-t", "t"], &tls[..]].concat());
            tools::publish(&broker, &[&["-t", "t", "-m", version, "-q", "2"], &tls[..]].concat());
            assert_eq!(subscriber.message().text(), version, "{}", kind.name());
        }
        assert!(!publishes(&broker, &[]), "{}: without TLS", kind.name());
    }
}

#[test]
fn certificates_made_by_the_manual_are_good_for_devices() {
    let folder = Folder::by_the_manual();
    fs::write(folder.path("acl"), ACL).unwrap();
    let [ca, cert, key] = ["ca.crt", "device.crt", "device.key"].map(|name| folder.path(name));
    for kind in KINDS {
        let broker = folder.broker(kind, MUTUAL);
        for version in ["tlsv1.2", "tlsv1.3"] {
            let tls = ["--cafile", &ca, "--tls-version", version];
            let shown = [&tls[..], &["--cert", &cert, "--key", &key]].concat();
            let mut subscriber = tools::subscribe(&broker, &[&["-t", "#"], &shown[..]].concat());
            for topic in ["meters/8", "meters/7"] {
                tools::publish(&broker, &[&["-t", topic, "-m", topic], &shown[..]].concat());
            }
            // What it may not publish goes nowhere: it is who its certificate says.
            assert_eq!(subscriber.message().topic, "meters/7", "{} {version}", kind.name());
            assert!(!publishes(&broker, &tls), "{}: without a certificate", kind.name());
        }
        broker.wait_for_log(|log| log.contains("u'meter-7'")).unwrap();
    }
}

/// And the real mosquitto takes what Martlet makes, with the lines that it prints.
#[test]
fn certificates_made_by_martlet_are_good_for_both_brokers() {
    let folder = Folder::by_martlet();
    fs::write(folder.path("acl"), ACL).unwrap();
    let ca = folder.path("ca.crt");
    let shown = |id: &str| {
        let file = |end: &str| folder.path(&format!("devices/{id}.{end}"));
        ["--cafile", &ca, "--cert", &file("crt"), "--key", &file("key")].map(str::to_owned)
    };
    let (stays, goes) = (shown("meter-7"), shown("gone"));
    let [stays, goes] = [&stays, &goes].map(|words| words.each_ref().map(String::as_str));
    let lines = format!("{MUTUAL}crlfile @/ca.crl\n");
    for kind in KINDS {
        let broker = folder.broker(kind, &lines);
        assert!(publishes(&broker, &stays) && publishes(&broker, &goes), "{}", kind.name());
    }
    // Revoking sets the files aside.
    let [cert, key] = [goes[3], goes[5]].map(|path| {
        let copy = format!("{path}.copy");
        fs::copy(path, &copy).unwrap();
        copy
    });
    let said = folder.cert(&["revoke", "gone"]);
    assert!(said.contains("gone is on it now"), "{said}");
    let goes = ["--cafile", &ca, "--cert", &cert, "--key", &key];
    for kind in KINDS {
        let broker = folder.broker(kind, &lines);
        assert!(publishes(&broker, &stays) && !publishes(&broker, &goes), "{}", kind.name());
        if kind == Kind::Martlet {
            let revoked = "disconnected: its certificate is revoked [TLS].";
            broker.wait_for_log(|log| log.contains(revoked)).unwrap();
        }
    }
    folder.openssl("verify -CAfile ca.crt -purpose sslserver server.crt");
    folder.openssl("verify -CAfile ca.crt -purpose sslclient devices/meter-7.crt");
}

/// The line that `martlet cert device` prints is the one to type.
#[test]
fn the_line_that_is_printed_works() {
    let folder = Folder::by_martlet();
    fs::write(folder.path("acl"), "user its name\ntopic readwrite test\n").unwrap();
    let said = folder.cert(&["device", "its name"]);
    let line = said.lines().find(|line| line.contains("mosquitto_pub -h localhost")).unwrap();
    let broker = folder.broker(Kind::Martlet, MUTUAL);
    let port = format!("-p {} ", broker.port());
    let line = line.replace("-p 8883 ", &port).replace("-h localhost", "-h 127.0.0.1");
    text(Command::new("sh").args(["-c", &line]).output().unwrap());
    let wanted = |log: &str| log.contains(" as its name (") && log.contains("u'its name').");
    broker.wait_for_log(wanted).unwrap();
}

/// `certs/make`, with Martlet and without.
#[test]
fn one_command_makes_all_for_development() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../certs/make");
    let away = TempDir::with_prefix("martlet-test-").unwrap();
    let copy = away.path().join("make");
    fs::copy(&script, &copy).unwrap();
    for (script, made_by) in [(script, "martlet"), (copy, "openssl")] {
        let folder = Folder::new();
        let mut command = Command::new(&script);
        command.arg(folder.path("new")).args(["meter-7", "meter-8"]);
        if made_by == "martlet" {
            command.env("MARTLET", martlet::binary().unwrap());
        } else {
            command.env_remove("MARTLET").env("PATH", "/usr/bin:/bin");
        }
        let said = text(command.output().unwrap());
        assert_eq!(said.contains("Made by openssl"), made_by == "openssl", "{said}");
        assert!(said.contains("mosquitto_pub -h localhost -p 8883 -i meter-8 "), "{said}");
        fs::write(folder.path("acl"), ACL).unwrap();
        let lines = MUTUAL.replace("@/", "@/new/").replace("new/acl", "acl");
        let broker = folder.broker(Kind::Martlet, &lines);
        let file = |name: &str| folder.path(&format!("new/{name}"));
        let [ca, cert, key] = ["ca.crt", "devices/meter-7.crt", "devices/meter-7.key"].map(file);
        assert!(publishes(&broker, &["--cafile", &ca, "--cert", &cert, "--key", &key]), "{said}");
        assert!(!command.output().unwrap().status.success(), "it overwrites nothing");
    }
}

/// openssl's client comes back five times with the session that it has.
#[test]
fn openssl_resumes_its_sessions() {
    let folder = Folder::by_martlet();
    let broker = folder.broker(Kind::Martlet, &format!("allow_anonymous true\n{SERVER}"));
    let address = format!("127.0.0.1:{}", broker.port());
    for how in ["", "-no_ticket"] {
        let said = folder.openssl(&format!(
            "s_client -connect {address} -CAfile ca.crt -verify_return_error -tls1_2 -reconnect \
             {how}"
        ));
        assert_eq!(said.matches("\nReused, TLSv1.2").count(), 5, "{how}: {said}");
    }
}

#[test]
fn every_line_of_a_secured_gateway_is_honoured() {
    let folder = Folder::by_martlet();
    fs::write(folder.path("acl"), ACL).unwrap();
    let lines = format!(
        "listener 8883\n{MUTUAL}crlfile @/ca.crl\ntls_version tlsv1.2\nciphers HIGH:!aNULL\n\
         ciphers_tls1.3 TLS_AES_256_GCM_SHA384\nuse_subject_as_username false\n\
         disable_client_cert_date_checks false\n"
    );
    let file: PathBuf = folder.path("mosquitto.conf").into();
    fs::write(&file, lines.replace('@', folder.0.path().to_str().unwrap())).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = martlet::command(&martlet::binary().unwrap());
        command.args(arguments).arg(&file).output().unwrap()
    };
    let said = text(run(&["compat-report"]));
    assert!(said.ends_with("13 honoured, 0 without effect, 0 refused\n"), "{said}");
    // Who it is comes from the certificate, and why knows.
    let why = |arguments: &[&str]| {
        let arguments = [&["why", "--client", "c"], arguments, &["-c"]].concat();
        run(&arguments)
    };
    let said = text(why(&["--user", "meter-7", "publish", "meters/7"]));
    assert!(said.contains(": allowed: ") && said.contains("/acl:2: topic"), "{said}");
    let refused = why(&["publish", "meters/7"]);
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(!refused.status.success() && said.contains("no name in a certificate"), "{said}");
}
