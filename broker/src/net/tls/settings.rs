//! How a listener speaks TLS, before any file was read.

use std::fmt;
use std::path::PathBuf;

/// The settings of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The server's certificate and behind it those that lead to a root, in PEM.
    pub certificate_file: PathBuf,
    /// The private key of the certificate, in PEM.
    pub key_file: PathBuf,
    /// Who may sign client certificates, in PEM.
    pub ca_file: Option<PathBuf>,
    /// A directory of files with such certificates.
    pub ca_path: Option<PathBuf>,
    /// Whether clients show certificates.
    pub clients: ClientCertificates,
    /// Whose certificates are revoked: lists of the signers in PEM.
    pub crl_file: Option<PathBuf>,
    /// Whether a list whose time is over refuses everybody that it could speak of. Otherwise it
    /// goes on to count.
    pub crl_must_be_current: bool,
    /// Whether certificates of clients count outside of their time.
    pub ignore_client_dates: bool,
    /// The lowest version.
    pub version_min: Version,
    /// Cipher suites of TLS 1.2, as OpenSSL lists them. `None`: all that there are.
    pub ciphers: Option<Box<str>>,
    /// Cipher suites of TLS 1.3.
    pub ciphers_tls13: Option<Box<str>>,
    /// Bytes of plaintext in one record at the most, for clients with small buffers.
    pub fragment_bytes_max: Option<usize>,
    /// Sessions kept here for clients that want to resume one and cannot keep a ticket themselves.
    /// At the bound: the oldest is forgotten, and its client shakes hands in full.
    pub sessions_max: usize,
    /// What is agreed to when a client asks for a protocol by name (ALPN); who asks for others is
    /// served without.
    pub protocols: &'static [&'static str],
}

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Nobody is asked for one.
    #[default]
    None,
    /// Who has one shows it; then it must be good.
    Optional,
    /// Who has none is refused.
    Required,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// 1.2
    #[default]
    Tls12,
    /// 1.3
    Tls13,
}

/// Something is wrong with what an option names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which option.
    pub option: FaultyOption,
    /// Which file, if it is about one.
    pub file: Option<PathBuf>,
    /// What is wrong.
    pub text: String,
}

/// The options that can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultyOption {
    /// [`Settings::certificate_file`]
    Certificate,
    /// [`Settings::key_file`]
    Key,
    /// [`Settings::ca_file`]
    CaFile,
    /// [`Settings::ca_path`]
    CaPath,
    /// [`Settings::crl_file`]
    Crl,
    /// [`Settings::clients`]
    Clients,
    /// [`Settings::ciphers`]
    Ciphers,
    /// [`Settings::ciphers_tls13`]
    CiphersTls13,
}

/// How many sessions are kept where nobody chose.
pub const SESSIONS_MAX: usize = 1024;

impl Settings {
    /// With this certificate and its key, and everything else as it is by default.
    pub fn new(certificate_file: PathBuf, key_file: PathBuf) -> Self {
        Self {
            certificate_file,
            key_file,
            ca_file: None,
            ca_path: None,
            clients: ClientCertificates::None,
            crl_file: None,
            crl_must_be_current: false,
            ignore_client_dates: false,
            version_min: Version::Tls12,
            ciphers: None,
            ciphers_tls13: None,
            fragment_bytes_max: None,
            sessions_max: SESSIONS_MAX,
            protocols: &["mqtt"],
        }
    }
}

impl Fault {
    pub(super) fn new(
        option: FaultyOption,
        file: impl Into<Option<PathBuf>>,
        text: impl Into<String>,
    ) -> Self {
        Self { option, file: file.into(), text: text.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}: ", file.display())?;
        }
        f.write_str(&self.text)
    }
}
