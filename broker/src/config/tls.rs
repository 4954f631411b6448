//! What a `[[listener]]`, or the window, says of TLS.

use std::path::PathBuf;

use serde::Deserialize;

use crate::access::CertificateName;
use crate::config::origin::Mistake;
use crate::config::tls_rows::ROWS;
use crate::config::written::WrittenListener;
use crate::net::tls::now;
use crate::net::tls::settings::{ClientCertificates, Fault, FaultyOption, Settings, Version};
use crate::net::tls::terms::Terms;

/// The options with their defaults.
#[derive(Debug, Deserialize)]
pub(super) struct Section {
    certfile: Option<PathBuf>,
    keyfile: Option<PathBuf>,
    client_certificates: Clients,
    cafile: Option<PathBuf>,
    capath: Option<PathBuf>,
    crlfile: Option<PathBuf>,
    crl_must_be_current: bool,
    use_identity_as_username: bool,
    use_subject_as_username: bool,
    disable_client_cert_date_checks: bool,
    tls_version_min: Lowest,
    ciphers: Option<Box<str>>,
    ciphers_tls13: Option<Box<str>>,
    tls_fragment_bytes_max: usize,
    tls_sessions_max: usize,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Clients {
    None,
    Optional,
    Required,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum Lowest {
    #[serde(rename = "1.2")]
    Tls12,
    #[serde(rename = "1.3")]
    Tls13,
}

impl Section {
    /// Which name in a certificate is the user's.
    pub(super) fn user_from_certificate(&self) -> Option<CertificateName> {
        if self.use_identity_as_username {
            Some(CertificateName::CommonName)
        } else if self.use_subject_as_username {
            Some(CertificateName::Subject)
        } else {
            None
        }
    }

    /// How the listener speaks TLS, if it does. Its files are read for that, so that what is wrong
    /// is known before a port opens; it is added to `mistakes`. `by_proxy`: a proxy in front may
    /// tell of certificates of clients, without TLS at the listener itself.
    pub(super) fn resolve(
        &self,
        written: &WrittenListener,
        by_proxy: bool,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<Settings> {
        let (Some(certificate_file), Some(key_file)) = (&self.certfile, &self.keyfile) else {
            mistakes.extend(halves(written, by_proxy));
            return None;
        };
        let settings = self.settings(certificate_file.clone(), key_file.clone());
        if settings.clients == ClientCertificates::None && self.user_from_certificate().is_some() {
            let text = "no client is asked for a certificate here, so none could come in: set \
                        client_certificates (require_certificate) too";
            mistakes.push(mistake(
                written,
                "certfile",
                &["use_identity_as_username", "use_subject_as_username"],
                text,
            ));
        }
        if let Err(faults) = Terms::load(&settings, now()) {
            mistakes.extend(faults.iter().map(|fault| of_fault(written, fault)));
        }
        Some(settings)
    }

    fn settings(&self, certificate_file: PathBuf, key_file: PathBuf) -> Settings {
        Settings {
            ca_file: self.cafile.clone(),
            ca_path: self.capath.clone(),
            clients: match self.client_certificates {
                Clients::None => ClientCertificates::None,
                Clients::Optional => ClientCertificates::Optional,
                Clients::Required => ClientCertificates::Required,
            },
            crl_file: self.crlfile.clone(),
            crl_must_be_current: self.crl_must_be_current,
            ignore_client_dates: self.disable_client_cert_date_checks,
            version_min: match self.tls_version_min {
                Lowest::Tls12 => Version::Tls12,
                Lowest::Tls13 => Version::Tls13,
            },
            ciphers: self.ciphers.clone(),
            ciphers_tls13: self.ciphers_tls13.clone(),
            fragment_bytes_max: Some(self.tls_fragment_bytes_max),
            sessions_max: self.tls_sessions_max,
            ..Settings::new(certificate_file, key_file)
        }
    }
}

/// Options of TLS at a listener that speaks none: whoever wrote them believes it does.
fn halves(written: &WrittenListener, by_proxy: bool) -> impl Iterator<Item = Mistake> {
    let set = |name: &str| written.settings.iter().any(|setting| setting.row.name == name);
    let lacks = match (set("certfile"), set("keyfile")) {
        (true, _) => "a \"keyfile\"",
        (_, true) => "a \"certfile\"",
        _ => "a \"certfile\" and a \"keyfile\"",
    };
    let of_tls = written.settings.iter().filter(move |setting| {
        let row = ROWS.iter().find(|row| row.name == setting.row.name);
        let told = by_proxy && setting.row.name == "use_identity_as_username";
        !told && row.is_some_and(|row| row.default.as_ref() != Some(&setting.value))
    });
    of_tls.map(move |setting| {
        let name = setting.row.name;
        let text = format!("{name:?} wants {lacks} beside it: without them no TLS is spoken there");
        Mistake::new(setting.origin.clone(), text)
    })
}

/// What is wrong with one of these options, or with the listener as a whole.
fn mistake(
    written: &WrittenListener,
    otherwise: &str,
    options: &[&str],
    text: impl Into<String>,
) -> Mistake {
    let find = |name: &str| written.settings.iter().rfind(|setting| setting.row.name == name);
    let place = options.iter().find_map(|name| find(name)).or_else(|| find(otherwise));
    Mistake::new(place.map_or(&written.origin, |setting| &setting.origin).clone(), text)
}

fn of_fault(written: &WrittenListener, Fault { option, file, text }: &Fault) -> Mistake {
    let name = match option {
        FaultyOption::Certificate => "certfile",
        FaultyOption::Key => "keyfile",
        FaultyOption::CaFile => "cafile",
        FaultyOption::CaPath => "capath",
        FaultyOption::Crl => "crlfile",
        FaultyOption::Clients => "client_certificates",
        FaultyOption::Ciphers => "ciphers",
        FaultyOption::CiphersTls13 => "ciphers_tls13",
    };
    let text = match file {
        Some(file) => format!("{name:?}: {} {text}", file.display()),
        None => format!("{name:?} {text}"),
    };
    mistake(written, "certfile", &[name], text)
}
