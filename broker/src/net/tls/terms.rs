//! The terms on which a listener speaks TLS: its settings with their files, read and checked.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    NoClientAuth, ServerSessionMemoryCache, VerifierBuilderError, WebPkiClientVerifier,
};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use x509_parser::asn1_rs::FromDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::time::ASN1Time;

use crate::net::tls::settings::{ClientCertificates, Fault, FaultyOption, Settings, Version};
use crate::net::tls::verifier::{self, Verifier};
use crate::net::tls::{ciphers, der, files};

/// The terms of a listener.
#[derive(Debug)]
pub struct Terms {
    pub(super) config: Arc<ServerConfig>,
    /// The same for those who ask for a protocol by a name that is agreed to.
    pub(super) with_protocol: Arc<ServerConfig>,
    pub(super) protocols: &'static [&'static str],
    /// Whether a certificate must be in its time also when its client resumes a session.
    pub(super) checks_dates: bool,
    /// What an operator should know although nothing is wrong.
    pub warnings: Vec<String>,
}

/// What the checks of the files share.
struct Reading<'a> {
    settings: &'a Settings,
    provider: Arc<CryptoProvider>,
    now: UnixTime,
    faults: Vec<Fault>,
    warnings: Vec<String>,
}

/// A certificate of the server that ends within this time is worth a warning.
const ENDS_SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

impl Terms {
    /// Reads the files and checks that all goes together. `now`: for warnings, which say what will
    /// be refused, or is soon.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn load(settings: &Settings, now: UnixTime) -> Result<Self, Vec<Fault>> {
        let mut reading = Reading {
            settings,
            provider: Arc::new(ring::default_provider()),
            now,
            faults: Vec::new(),
            warnings: Vec::new(),
        };
        reading.choose_ciphers();
        let key = reading.certified_key();
        let verifier = reading.verifier();
        let (Some(key), Some(verifier), []) = (key, verifier, &*reading.faults) else {
            return Err(reading.faults);
        };
        let Reading { provider, warnings, .. } = reading;
        let config = config(settings, provider, verifier, key)
            .map_err(|error| vec![Fault::new(FaultyOption::Ciphers, None, error.to_string())])?;
        let mut with_protocol = config.clone();
        with_protocol.alpn_protocols =
            settings.protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Ok(Self {
            config: Arc::new(config),
            with_protocol: Arc::new(with_protocol),
            protocols: settings.protocols,
            checks_dates: !settings.ignore_client_dates,
            warnings,
        })
    }
}

fn config(
    settings: &Settings,
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ClientCertVerifier>,
    key: CertifiedKey,
) -> Result<ServerConfig, rustls::Error> {
    let versions: &[&SupportedProtocolVersion] = match settings.version_min {
        Version::Tls12 => &[&version::TLS13, &version::TLS12],
        Version::Tls13 => &[&version::TLS13],
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.max_fragment_size = settings.fragment_bytes_max;
    // Sessions to resume, in tickets that clients keep or in memory for those that cannot. Keys
    // and memory are new ones each time that terms are made: a session that began on other terms
    // must not be a way around these.
    config.ticketer = ring::Ticketer::new()?;
    config.session_storage = ServerSessionMemoryCache::new(settings.sessions_max);
    Ok(config)
}

impl Reading<'_> {
    fn fault(&mut self, option: FaultyOption, file: Option<&Path>, text: impl Into<String>) {
        self.faults.push(Fault::new(option, file.map(Path::to_owned), text));
    }

    /// Takes what a step gives, or its fault.
    fn take<T>(&mut self, step: Result<T, Fault>) -> Option<T> {
        step.map_err(|fault| self.faults.push(fault)).ok()
    }

    fn choose_ciphers(&mut self) {
        let Settings { ciphers, ciphers_tls13, .. } = self.settings;
        let tls12 = match ciphers.as_deref().map(ciphers::tls12) {
            None => ciphers::all_tls12(),
            Some(Ok(chosen)) => chosen,
            Some(Err(text)) => return self.fault(FaultyOption::Ciphers, None, text),
        };
        let tls13 = match ciphers_tls13.as_deref().map(ciphers::tls13) {
            None => ciphers::all_tls13(),
            Some(Ok(chosen)) => chosen,
            Some(Err(text)) => return self.fault(FaultyOption::CiphersTls13, None, text),
        };
        let cipher_suites = ciphers::suites(&tls13, &tls12);
        self.provider = Arc::new(CryptoProvider { cipher_suites, ..ring::default_provider() });
    }

    /// The server's certificate with its key, which must be its key.
    fn certified_key(&mut self) -> Option<CertifiedKey> {
        let Settings { certificate_file, key_file, .. } = self.settings;
        let chain = self.take(files::certificates(FaultyOption::Certificate, certificate_file));
        let key = self.take(files::key(key_file));
        let (chain, key) = (chain?, key?);
        let loaded = self.provider.key_provider.load_private_key(key);
        let key = match loaded {
            Ok(key) => key,
            Err(error) => {
                let text = format!(
                    "is a key that cannot be used ({error}): RSA of 2048 bits or \
                                    more, ECDSA on P-256 or P-384, and Ed25519 can"
                );
                self.fault(FaultyOption::Key, Some(key_file), text);
                return None;
            }
        };
        let Some(own) = der::certificate(&chain[0]) else {
            let text = "begins with a certificate that cannot be read";
            self.fault(FaultyOption::Certificate, Some(certificate_file), text);
            return None;
        };
        if key.public_key().is_some_and(|public| *public != *own.public_key().raw) {
            let text =
                format!("is not the key of the certificate in {}", certificate_file.display());
            self.fault(FaultyOption::Key, Some(key_file), text);
            return None;
        }
        self.warn_of_time(&own);
        self.warn_of_mode(key_file);
        Some(CertifiedKey::new(chain, key))
    }

    /// A clock that is not set yet must not keep a broker from starting, so this is no mistake.
    fn warn_of_time(&mut self, own: &X509Certificate<'_>) {
        let path = self.settings.certificate_file.display();
        let (from, until) = (&own.validity().not_before, &own.validity().not_after);
        let soon = UnixTime::since_unix_epoch(
            Duration::from_secs(self.now.as_secs()).saturating_add(ENDS_SOON),
        );
        let warning = match (verifier::in_time(own, self.now), verifier::in_time(own, soon)) {
            (Err(_), _) => format!(
                "{path}: this certificate is good from {} to {}, which is not now: clients will \
                 refuse it.",
                date(from),
                date(until)
            ),
            (Ok(()), Err(_)) => {
                format!("{path}: this certificate ends at {}.", date(until))
            }
            (Ok(()), Ok(())) => return,
        };
        self.warnings.push(warning);
    }

    fn warn_of_mode(&mut self, key_file: &Path) {
        let mode = key_file.metadata().map_or(0, |found| found.permissions().mode());
        if mode & 0o007 != 0 {
            let path = key_file.display();
            self.warnings.push(format!("{path}: this private key is open to everybody here."));
        }
    }

    /// Who decides on the certificates of clients.
    fn verifier(&mut self) -> Option<Arc<dyn ClientCertVerifier>> {
        let settings = self.settings;
        let signers = self.signers();
        let lists = match &settings.crl_file {
            Some(path) => self.take(files::revocation_lists(path)),
            None => Some(Vec::new()),
        };
        let (signers, lists) = (signers?, lists?);
        if settings.clients == ClientCertificates::None {
            return Some(Arc::new(NoClientAuth));
        }
        if signers.is_empty() {
            let text = "want a \"cafile\" or a \"capath\": who may sign the certificates?";
            self.fault(FaultyOption::Clients, None, text);
            return None;
        }
        self.check_lists(&lists, &signers)?;
        let webpki = match webpki(settings, &self.provider, &signers, &lists) {
            Ok(webpki) => webpki,
            Err(error) => {
                let text = format!("cannot be used: {error}");
                self.fault(FaultyOption::Crl, settings.crl_file.as_deref(), text);
                return None;
            }
        };
        Some(Arc::new(Verifier {
            webpki,
            signers,
            lists,
            algorithms: self.provider.signature_verification_algorithms,
            ignore_dates: settings.ignore_client_dates,
            lists_must_be_current: settings.crl_must_be_current,
        }))
    }

    /// Who may sign certificates of clients. Public bundles hold odd ones; those are passed over.
    fn signers(&mut self) -> Option<Vec<CertificateDer<'static>>> {
        let Settings { ca_file, ca_path, .. } = self.settings;
        let mut found = Vec::new();
        if let Some(path) = ca_file {
            let of_file = self.take(files::certificates(FaultyOption::CaFile, path))?;
            found.push((FaultyOption::CaFile, path, of_file));
        }
        if let Some(path) = ca_path {
            let of_folder = self.take(files::directory(path))?;
            found.push((FaultyOption::CaPath, path, of_folder));
        }
        let mut signers = Vec::new();
        for (option, path, certificates) in found {
            let all = certificates.len();
            let good = |der: &CertificateDer<'_>| {
                let store = RootCertStore::empty().add(der.clone().into_owned());
                store.is_ok() && der::certificate(der).is_some()
            };
            let good: Vec<_> = certificates.into_iter().filter(good).collect();
            if good.is_empty() {
                self.fault(option, Some(path), "holds no certificate that can be read");
                return None;
            }
            if good.len() < all {
                let (path, bad) = (path.display(), all - good.len());
                self.warnings.push(format!(
                    "{path}: {bad} of {all} certificates cannot be read and are passed over."
                ));
            }
            signers.extend(good);
        }
        Some(signers)
    }

    /// A list that is of nobody here, or that its signer did not sign, would refuse everybody.
    fn check_lists(
        &mut self,
        lists: &[CertificateRevocationListDer<'_>],
        signers: &[CertificateDer<'static>],
    ) -> Option<()> {
        let Some(path) = &self.settings.crl_file else { return Some(()) };
        let algorithms = self.provider.signature_verification_algorithms.all;
        let before = self.faults.len();
        for der in lists {
            let Ok((_, list)) = CertificateRevocationList::from_der(der) else {
                let text = "holds a list that cannot be read";
                self.fault(FaultyOption::Crl, Some(path), text);
                continue;
            };
            let issuer = list.issuer();
            let mut named = signers
                .iter()
                .filter_map(der::certificate)
                .filter(|signer| signer.subject().as_raw() == issuer.as_raw())
                .peekable();
            if named.peek().is_none() {
                let text = format!(
                    "is a list of {issuer}, whose certificate is in neither cafile nor capath; \
                     add it there, also if it is an intermediate one"
                );
                self.fault(FaultyOption::Crl, Some(path), text);
            } else if !named.any(|signer| der::is_signed_by(der, &signer, algorithms)) {
                let text = format!("is a list that {issuer} has not signed, although it says so");
                self.fault(FaultyOption::Crl, Some(path), text);
            }
            if let Some(next) =
                list.next_update().filter(|_| verifier::is_outdated(&list, self.now))
            {
                let means = if self.settings.crl_must_be_current {
                    "all whom it could speak of are refused"
                } else {
                    "whom it names stays refused"
                };
                let (path, date) = (path.display(), date(&next));
                self.warnings.push(format!(
                    "{path}: the list of {issuer} should have been renewed by {date}; {means}."
                ));
            }
        }
        (self.faults.len() == before).then_some(())
    }
}

fn webpki(
    settings: &Settings,
    provider: &Arc<CryptoProvider>,
    signers: &[CertificateDer<'static>],
    lists: &[CertificateRevocationListDer<'static>],
) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(signers.iter().cloned());
    // As mosquitto: the client's own certificate must be on no list, and there must be a list of
    // its signer. Those behind it are trusted by whoever listed them.
    let mut builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .with_crls(lists.iter().cloned())
            .only_check_end_entity_revocation();
    if settings.crl_must_be_current {
        builder = builder.enforce_revocation_expiration();
    }
    if settings.clients == ClientCertificates::Optional {
        builder = builder.allow_unauthenticated();
    }
    builder.build()
}

fn date(time: &ASN1Time) -> String {
    let seconds = u64::try_from(time.timestamp()).unwrap_or_default();
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}
