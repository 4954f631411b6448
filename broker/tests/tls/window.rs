//! HTTPS, with curl: what works over it, whom it lets in, and what a reload changes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use martlet::access::{self, CertificateName, Policy};
use martlet::http::{self, Keys};
use martlet::net::tls::settings::{ClientCertificates, Settings};

use crate::World;
use crate::authority::device;
use crate::running::{self, Running};

/// A broker whose window speaks TLS like this.
fn settings(tls: Settings, policy: Arc<Policy>) -> martlet::server::Settings {
    let window = http::Settings {
        address: (Ipv4Addr::LOCALHOST, 0).into(),
        connections_max: 20,
        body_bytes_max: 8 << 20,
        decode_limits: running::settings().decode_limits,
        folder: None,
        keys: Arc::new(Keys::default()),
        tls: Some(tls),
    };
    martlet::server::Settings { window: Some((window, policy)), ..running::settings() }
}

impl World {
    /// curl, which believes our own authority alone, asking for this path.
    fn curl(&self, broker: &Running, path: &str, args: &[&str]) -> Command {
        let ca = self.folder.file("own.crt", &self.own.pem());
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-4", "--max-time", "60", "--cacert"]).arg(ca).args(args);
        curl.arg(format!("https://localhost:{}{path}", broker.window().port()));
        curl
    }

    /// What curl printed, or what it complained of.
    fn get(&self, broker: &Running, path: &str, args: &[&str]) -> Result<String, String> {
        let output = self.curl(broker, path, args).output().expect("curl is installed");
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    fn fingerprint(&self, broker: &Running) -> String {
        let written = self.get(broker, "/healthz", &["-o", "/dev/null", "-w", "%{certs}"]);
        let certs = written.expect("it is served");
        let line = certs.lines().find(|line| line.starts_with("Serial Number:"));
        line.map_or(certs.clone(), str::to_owned)
    }
}

#[test]
fn all_of_the_window_works_over_it() {
    let world = World::new();
    let broker = Running::start(settings(world.tls(), running::open()));
    assert_eq!(broker.log().with("Opening https listen socket on port").len(), 1);
    for version in ["--tlsv1.3", "--tls-max=1.2"] {
        let version = version.replace('=', " ");
        let args: Vec<&str> = version.split(' ').collect();
        let page = world.get(&broker, "/", &args).expect("the page");
        assert!(page.contains("<html"), "{page}");
    }
    // Pieces larger than records, sockets and buffers, in both directions.
    let large = "x".repeat(3 << 20);
    let file = world.folder.file("large", &large);
    let body = format!("@{}", file.display());
    let pushed = world.get(&broker, "/push/large?retain=true", &["--data-binary", &body]);
    assert!(pushed.as_ref().is_ok_and(|text| text.contains("durable")), "{pushed:?}");
    let mut follow = world.curl(&broker, "/realtime/large", &["-N"]);
    let mut follow = follow.stdout(Stdio::piped()).spawn().expect("curl is installed");
    let mut line = String::new();
    let output = follow.stdout.take().expect("a pipe");
    let mut output = BufReader::new(output);
    while !line.starts_with("data: ") {
        line.clear();
        assert!(output.read_line(&mut line).expect("text") > 0, "no event");
    }
    end(follow);
    assert!(line.starts_with("data: ") && line.contains(&large), "{} bytes", line.len());
}

fn end(mut child: Child) {
    child.kill().expect("a child of ours");
    child.wait().expect("it ended");
}

#[test]
fn whoever_speaks_no_tls_is_told_of_in_the_log() {
    let world = World::new();
    let broker = Running::start(settings(world.tls(), running::open()));
    let mut plain = TcpStream::connect(broker.window()).expect("it is open");
    plain.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it is read");
    let mut answer = Vec::new();
    // It is cut off, or told so in TLS.
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"));
    let [line] = &*crate::lines(&broker, " [TLS].", 1) else { panic!("one line") };
    assert!(line.contains("Client <unknown> [127.0.0.1:"), "{line}");
    assert!(world.get(&broker, "/healthz", &[]).is_ok(), "others do not notice");
}

#[test]
fn a_certificate_says_who_its_browser_is() {
    let world = World::new();
    let named = access::Settings {
        user_from_certificate: Some(CertificateName::CommonName),
        ..access::Settings::default()
    };
    let policy = Arc::new(Policy::load(&named).expect("no files"));
    let broker = Running::start(settings(world.mutual(ClientCertificates::Optional), policy));
    let identity = world.devices.issue(&device("ann"));
    let certificate = world.folder.file("ann.crt", &identity.pem).display().to_string();
    let key = world.folder.file("ann.key", &identity.key_pem).display().to_string();
    let shown = ["--cert", &certificate, "--key", &key];
    let stats = world.get(&broker, "/clients", &shown).expect("she may");
    assert!(stats.starts_with("{\"clients\":"), "{stats}");
    let code = ["-o", "/dev/null", "-w", "%{http_code}"];
    assert_eq!(world.get(&broker, "/clients", &code).as_deref(), Ok("401"));
    assert_eq!(world.get(&broker, "/healthz", &code).as_deref(), Ok("200"));

    let required = world.mutual(ClientCertificates::Required);
    let broker = Running::start(settings(required, running::open()));
    assert!(world.get(&broker, "/healthz", &shown).is_ok());
    let refused = world.get(&broker, "/healthz", &[]).expect_err("it has none");
    assert!(refused.contains("certificate required") || refused.contains("alert"), "{refused}");
    crate::lines(&broker, "it shows no certificate, and the listener wants one", 1);
}

#[test]
fn a_reload_brings_new_certificates_and_takes_none_that_are_bad() {
    let world = World::new();
    let settings = settings(world.tls(), running::open());
    let broker = Running::start(settings.clone());
    let old = world.fingerprint(&broker);
    world.renew_as(2);
    broker.reloader().prepare(settings.clone()).expect("good files").apply();
    let new = world.fingerprint(&broker);
    assert!(old != new, "{old}");
    world.folder.file("server.key", "no key");
    assert!(broker.reloader().prepare(settings.clone()).is_err());
    assert_eq!(world.fingerprint(&broker), new, "what it had stays in use");
}
