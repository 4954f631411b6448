//! `martlet cert`: what it makes is good for the broker and for its devices, and what it prints is
//! true.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use martlet::net::tls::settings::{ClientCertificates, Settings};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::authority::Folder;
use crate::client::{Client, VERSIONS};
use crate::running::Running;
use crate::{lines, named, settings};

/// Standard output of a run that ends well, or standard error.
fn cert(dir: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_martlet"))
        .current_dir(dir)
        .env_clear()
        .arg("cert")
        .args(arguments)
        .output()
        .expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// The lines of what was printed from one that holds `first` on, as far as they are indented.
fn block(printed: &str, first: &str) -> String {
    let start = printed.find(first).unwrap_or_else(|| panic!("{first}: {printed}"));
    let start = printed[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let lines = printed[start..].lines().take_while(|line| line.starts_with("    "));
    lines.map(|line| format!("{}\n", line.trim_start())).collect()
}

fn client(folder: &Path, id: &str, tls: usize) -> Arc<ClientConfig> {
    let read = |name: &str| CertificateDer::from_pem_file(folder.join(name)).expect("it is good");
    let mut roots = RootCertStore::empty();
    roots.add(read("ca.crt")).expect("it is good");
    let key = PrivateKeyDer::from_pem_file(folder.join(format!("devices/{id}.key")));
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[VERSIONS[tls]])
        .expect("a version of the provider")
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![read(&format!("devices/{id}.crt"))], key.expect("it is good"));
    Arc::new(config.expect("they go together"))
}

#[test]
fn from_nothing_to_devices_and_to_one_less() {
    let place = Folder::new();
    let dir = place.path();
    let said = cert(dir, &["init"]).expect("an authority");
    assert!(said.contains("    martlet cert server NAME...\n"), "{said}");
    let said = cert(dir, &["server", "broker.example.org", "192.0.2.7"]).expect("a server");
    assert!(said.contains(": for broker.example.org, 192.0.2.7, "), "{said}");
    // Both configurations are good, but that nobody could come in before there is a certificate.
    for (file, first) in [("m.toml", "[[listener]]"), ("m.conf", "listener 8883")] {
        fs::write(dir.join(file), block(&said, first)).expect("a folder of ours");
        let checked = Command::new(env!("CARGO_BIN_EXE_martlet"))
            .current_dir(dir)
            .args(["check", file])
            .output()
            .expect("it runs");
        let out = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert_eq!(out, format!("{file}: ok\n"), "{checked:?}");
    }
    cert(dir, &["device", "meter-1"]).expect("a device");
    cert(dir, &["device", "meter-2", "--days", "9"]).expect("a device");
    let folder = dir.join("martlet-certs");
    let file = |name: &str| folder.join(name);
    for (name, mode) in [("ca.key", 0o600), ("server.key", 0o600), ("devices/meter-1.key", 0o600)]
        .into_iter()
        .chain([("ca.crt", 0o644), ("ca.crl", 0o644), ("devices/meter-1.crt", 0o644)])
    {
        let found = fs::metadata(file(name)).expect(name).permissions().mode() & 0o777;
        assert_eq!(found & !mode, 0, "{name} is {found:o}");
    }
    let tls = Settings {
        ca_file: Some(file("ca.crt")),
        crl_file: Some(file("ca.crl")),
        clients: ClientCertificates::Required,
        ..Settings::new(file("server.crt"), file("server.key"))
    };
    let settings = named(settings(tls));
    let broker = Running::start(settings.clone());
    let clients =
        [0, 1].map(|tls| [client(&folder, "meter-1", tls), client(&folder, "meter-2", tls)]);
    for client in clients.iter().flatten() {
        Client::connect(broker.address(), client, "c").expect("it may").ping();
    }
    lines(&broker, "u'meter-2')", 2);
    // One after the other: the list grows.
    for (revoked, left) in [("meter-1", Some("meter-2")), ("meter-2", None)] {
        let said = cert(dir, &["revoke", revoked]).expect("it is there");
        assert!(said.contains(&format!("{revoked} is on it now, with the serial")), "{said}");
        broker.reloader().prepare(settings.clone()).expect("a good list").apply();
        for clients in &clients {
            for (client, id) in clients.iter().zip(["meter-1", "meter-2"]) {
                let comes_in = Client::connect(broker.address(), client, "c").is_ok();
                assert_eq!(comes_in, left == Some(id), "{id} after {revoked}");
            }
        }
    }
    cert(dir, &["device", "meter-1"]).expect("another one");
    let client = client(&folder, "meter-1", 1);
    Client::connect(broker.address(), &client, "c").expect("it may").ping();
}

#[test]
fn nothing_is_overwritten_and_mistakes_are_named() {
    let place = Folder::new();
    let dir = place.path();
    let said = cert(dir, &["server"]).expect_err("no authority");
    assert_eq!(
        said,
        "martlet-certs: there is no authority; `martlet cert init --dir martlet-certs` makes one\n"
    );
    cert(dir, &["init", "--dir", "x"]).expect("an authority");
    cert(dir, &["device", "../é", "--dir", "x"]).expect("a device, in the folder");
    assert!(dir.join("x/devices/%2E.%2F%C3%A9.key").exists());
    cert(dir, &["server", "--dir", "x"]).expect("a server");
    let before: Vec<String> = ["ca.crt", "ca.key", "ca.crl", "server.crt", "server.key"]
        .map(|name| fs::read_to_string(dir.join("x").join(name)).expect(name))
        .into();
    fs::remove_file(dir.join("x/server.key")).expect("it was there");
    let long = "x".repeat(65);
    let rows: &[(&[&str], &str)] = &[
        (&["init"], "x/ca.key: is there already, and nothing is overwritten\n"),
        (&["server"], "x/server.crt: is there already, and nothing is overwritten\n"),
        (&["server", "a b"], "\"a b\" is no name of a machine and no address\n"),
        (&["device", "../é"], "é.key: is there already, and nothing is overwritten\n"),
        (&["device", &long], ": a certificate holds 1 to 64 characters, none of control\n"),
        (&["revoke", "nobody"], "x/devices/nobody.crt: cannot be read: No such file or directory"),
    ];
    for (arguments, words) in rows {
        let said = cert(dir, &[arguments, &["--dir", "x"][..]].concat()).expect_err("a mistake");
        let said = said.replace("%2E.%2F%C3%A9", "é");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    assert!(!dir.join("x/server.key").exists(), "all or nothing");
    for (name, before) in ["ca.crt", "ca.key", "ca.crl", "server.crt"].into_iter().zip(&before) {
        assert_eq!(&fs::read_to_string(dir.join("x").join(name)).expect(name), before);
    }
    fs::write(dir.join("x/ca.key"), before[4].as_str()).expect("a folder of ours");
    let said = cert(dir, &["device", "d", "--dir", "x"]).expect_err("another key");
    assert!(said.ends_with("x/ca.crt: its key is another certificate's\n"), "{said}");
}
