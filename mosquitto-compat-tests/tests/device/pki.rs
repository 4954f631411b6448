//! Certificates by `martlet cert`, and brokers that have them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use martlet_device::tls::settings::{Authority as Trusted, Identity};
use mosquitto_compat_tests::broker::{Broker, Kind, mosquitto_binary};
use mosquitto_compat_tests::martlet;
use mosquitto_compat_tests::ports::Port;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

/// That devices must show a certificate.
pub(crate) const REQUIRED: &str = "require_certificate true\n";

/// Who signs for whom: made by `martlet cert`.
pub(crate) struct Authority(TempDir);

impl Authority {
    pub(crate) fn new(server: &str) -> Self {
        let authority = Self(TempDir::with_prefix("martlet-certs-").unwrap());
        authority.make(&["init"]);
        authority.make(&["server", server]);
        authority.make(&["device", "meter"]);
        authority
    }

    fn make(&self, what: &[&str]) {
        let mut command = Command::new(martlet::binary().unwrap());
        let (verb, names) = what.split_first().unwrap();
        command.args(["cert", verb, "--dir"]).arg(self.0.path().join("made")).args(names);
        let made = command.output().unwrap();
        assert!(made.status.success(), "{what:?}: {made:?}");
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join("made").join(name)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.file(name).display().to_string()
    }

    /// A broker with two listeners: a plain one, and one for devices with certificates, of which
    /// the configuration says `more`.
    pub(crate) fn broker(&self, kind: Kind, more: &str) -> (Broker, Port) {
        let port = Port::reserve().unwrap();
        let conf = format!(
            "allow_anonymous true\nlistener {} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile {}\n\
             {more}",
            port.number(),
            self.path("ca.crt"),
            self.path("server.crt"),
            self.path("server.key"),
        );
        // mosquitto gives up its rights, and must still read its key.
        self.open_to_all(self.0.path());
        let program = match kind {
            Kind::Martlet => martlet::binary().unwrap(),
            Kind::Mosquitto => mosquitto_binary(),
        };
        (Broker::start_with_conf(kind, &program, &conf).unwrap(), port)
    }

    /// A Martlet with a folder for its data, whose records are no longer at the port for devices.
    pub(crate) fn durable_martlet(&self, fragment_bytes_max: usize) -> (Broker, Port) {
        let (plain, port) = (Port::reserve().unwrap(), Port::reserve().unwrap());
        let folder = TempDir::with_prefix("martlet-test-").unwrap();
        let config = format!(
            "[data]\ndir = {:?}\n\
             [[listener]]\naddress = \"127.0.0.1:{}\"\nallow_anonymous = true\n\
             [[listener]]\naddress = \"127.0.0.1:{}\"\nallow_anonymous = true\n\
             certfile = {:?}\nkeyfile = {:?}\ncafile = {:?}\n\
             client_certificates = \"required\"\ntls_fragment_bytes_max = {fragment_bytes_max}\n",
            folder.path().join("data"),
            plain.number(),
            port.number(),
            self.path("server.crt"),
            self.path("server.key"),
            self.path("ca.crt"),
        );
        let file = folder.path().join("martlet.toml");
        fs::write(&file, config).unwrap();
        let binary = martlet::binary().unwrap();
        (Broker::with_file(Kind::Martlet, &binary, &file, plain, folder).unwrap(), port)
    }

    fn open_to_all(&self, folder: &Path) {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(folder, 0o755);
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() { self.open_to_all(&entry) } else { mode(&entry, 0o644) }
        }
    }

    pub(crate) fn own(&self) -> (String, String) {
        (self.path("devices/meter.crt"), self.path("devices/meter.key"))
    }
}

/// What a device has in its flash, in DER.
pub(crate) struct Flash {
    pub(crate) authorities: [Trusted; 1],
    authority: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Flash {
    pub(crate) fn of(authority: &Authority) -> Self {
        let (certificate, key) = authority.own();
        let der = |path: &str| CertificateDer::from_pem_file(path).unwrap().to_vec();
        let authority = der(&authority.path("ca.crt"));
        let key = PrivateKeyDer::from_pem_file(key).unwrap().secret_der().to_vec();
        let authorities = [Trusted::from_certificate(&authority).unwrap()];
        Self { authorities, authority, certificate: der(&certificate), key }
    }

    pub(crate) fn identity(&self) -> Identity<'_> {
        Identity::new(&self.certificate, &self.key).unwrap()
    }

    /// As files, as the emulated board has it.
    pub(crate) fn write_to(&self, folder: &Path) {
        let files = [
            ("ca.der", &self.authority),
            ("device.der", &self.certificate),
            ("device.key.der", &self.key),
        ];
        for (name, bytes) in files {
            fs::write(folder.join(name), bytes).unwrap();
        }
    }
}
