//! Certificates in every state, made anew for each test.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Who signs.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// What a certificate says.
#[derive(Clone)]
pub struct Subject {
    pub name: &'static str,
    pub names: Vec<&'static str>,
    pub from: SystemTime,
    pub until: SystemTime,
    pub serial: u64,
    pub usage: Option<ExtendedKeyUsagePurpose>,
}

/// A certificate and its key.
pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    pub pem: String,
    pub key_pem: String,
}

/// A folder of such files.
pub struct Folder(TempDir);

#[expect(clippy::disallowed_methods, reason = "certificates are good at the time of the test")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// A device, with a certificate that is good.
pub fn device(name: &'static str) -> Subject {
    Subject {
        name,
        names: Vec::new(),
        from: now() - DAY,
        until: now() + DAY,
        serial: 7,
        usage: Some(ExtendedKeyUsagePurpose::ClientAuth),
    }
}

/// The server.
pub fn server() -> Subject {
    let names = vec!["localhost"];
    let usage = Some(ExtendedKeyUsagePurpose::ServerAuth);
    Subject { names, usage, serial: 1, until: now() + 60 * DAY, ..device("the server") }
}

impl Subject {
    pub fn expired(self) -> Self {
        Self { from: now() - 3 * DAY, until: now() - DAY, ..self }
    }

    pub fn early(self) -> Self {
        Self { from: now() + DAY, until: now() + 2 * DAY, ..self }
    }

    fn params(&self) -> CertificateParams {
        let names: Vec<String> = self.names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::CommonName, self.name);
        params.not_before = self.from.into();
        params.not_after = self.until.into();
        params.serial_number = Some(SerialNumber::from(self.serial));
        params.extended_key_usages = self.usage.iter().cloned().collect();
        params
    }

    /// Signed by its own key.
    pub fn self_signed(&self) -> Identity {
        let key = KeyPair::generate().expect("entropy");
        let certificate = self.params().self_signed(&key).expect("it signs");
        Identity::new(certificate.der().clone(), &certificate.pem(), &key)
    }
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("entropy");
        Self(CertifiedIssuer::self_signed(params, key).expect("it signs"))
    }

    pub fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn issue(&self, subject: &Subject) -> Identity {
        let key = KeyPair::generate().expect("entropy");
        let certificate = subject.params().signed_by(&key, &self.0).expect("it signs");
        Identity::new(certificate.der().clone(), &certificate.pem(), &key)
    }

    /// A list of those revoked, to be renewed at `next`.
    pub fn revoke(&self, serials: &[u64], next: SystemTime) -> String {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: (now() - DAY).into(),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: (now() - 2 * DAY).into(),
            next_update: next.into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.0).expect("it signs").pem().expect("it can be written")
    }

    /// A list that will be good for a while.
    pub fn revoke_now(&self, serials: &[u64]) -> String {
        self.revoke(serials, now() + DAY)
    }

    /// A list that should have been renewed.
    pub fn revoke_long_ago(&self, serials: &[u64]) -> String {
        self.revoke(serials, now() - DAY)
    }
}

impl Identity {
    fn new(certificate: CertificateDer<'static>, pem: &str, key: &KeyPair) -> Self {
        Self {
            chain: vec![certificate],
            key: PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
            pem: pem.to_owned(),
            key_pem: key.serialize_pem(),
        }
    }
}

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).expect("a folder of ours");
        let own = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&path, own).expect("a file of ours");
        path
    }
}
