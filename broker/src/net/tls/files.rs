//! The files: PEM, read whole.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{self, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use crate::net::tls::settings::{Fault, FaultyOption, Settings};

/// Far more than the certificates of all public authorities together.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// The server's certificate and those behind it.
pub(crate) fn certificates(
    option: FaultyOption,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let bytes = read(option, path)?;
    let found = all(option, path, &bytes)?;
    if found.is_empty() {
        return Err(Fault::new(option, path.to_owned(), lacks("certificate", &bytes)));
    }
    Ok(found)
}

/// The key, as it is written in any of the three ways.
pub(crate) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, Fault> {
    let option = FaultyOption::Key;
    let fault = |text: String| Fault::new(option, path.to_owned(), text);
    let bytes = read(option, path)?;
    if String::from_utf8_lossy(&bytes).lines().any(|line| line.contains("ENCRYPTED")) {
        return Err(fault(format!(
            "is encrypted, and nobody is there to say its password; write it without one, for \
             the broker's user alone: openssl pkey -in {} -out NEW_FILE",
            path.display()
        )));
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => fault(lacks("private key", &bytes)),
        error => fault(format!("is no good PEM: {error}")),
    })
}

/// Lists of revoked certificates.
pub(super) fn revocation_lists(
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, Fault> {
    let option = FaultyOption::Crl;
    let bytes = read(option, path)?;
    let found = all(option, path, &bytes)?;
    if found.is_empty() {
        let text = lacks("list of revoked certificates (X509 CRL)", &bytes);
        return Err(Fault::new(option, path.to_owned(), text));
    }
    Ok(found)
}

/// The certificates of every file in a directory that holds some.
pub(crate) fn directory(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let option = FaultyOption::CaPath;
    let fault = |text: String| Fault::new(option, path.to_owned(), text);
    let mut found = Vec::new();
    for file in listed(path).map_err(|error| fault(format!("cannot be read: {error}")))? {
        let bytes = read(option, &file)?;
        // Directories of certificates hold other things too, such as lists and notes.
        for certificate in all(option, &file, &bytes)? {
            if !found.contains(&certificate) {
                found.push(certificate);
            }
        }
    }
    if found.is_empty() {
        return Err(fault("holds no file with a certificate in PEM".to_owned()));
    }
    Ok(found)
}

/// The files of a directory, in an order that does not change.
fn listed(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        if file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

impl Settings {
    /// The files that it is read from.
    pub fn files(&self) -> Vec<PathBuf> {
        let named = [
            Some(&self.certificate_file),
            Some(&self.key_file),
            self.ca_file.as_ref(),
            self.ca_path.as_ref(),
            self.crl_file.as_ref(),
        ];
        let mut files: Vec<PathBuf> = named.into_iter().flatten().cloned().collect();
        // A directory does not change when one of its files does.
        files
            .extend(self.ca_path.as_deref().and_then(|path| listed(path).ok()).unwrap_or_default());
        files
    }
}

/// Every section of one kind.
fn all<T: PemObject>(option: FaultyOption, path: &Path, bytes: &[u8]) -> Result<Vec<T>, Fault> {
    T::pem_slice_iter(bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| Fault::new(option, path.to_owned(), format!("is no good PEM: {error}")))
}

fn read(option: FaultyOption, path: &Path) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    let text = match read {
        Ok(_) if bytes.len() as u64 <= FILE_BYTES_MAX => return Ok(bytes),
        Ok(_) => format!("is over {FILE_BYTES_MAX} bytes"),
        Err(error) => format!("cannot be read: {error}"),
    };
    Err(Fault::new(option, path.to_owned(), text))
}

/// What is said of a file that has not what it should have.
fn lacks(what: &str, bytes: &[u8]) -> String {
    let sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes).filter_map(Result::ok);
    let holds: Vec<&str> = sections.map(|(kind, _)| named(kind)).collect();
    match (holds.first(), bytes) {
        (Some(other), _) => format!("holds no {what} but a {other}"),
        (None, [0x30, ..]) => {
            format!("holds no {what} in PEM but, it seems, one in DER: openssl converts it")
        }
        (None, []) => "is empty".to_owned(),
        (None, _) => format!("holds no {what} in PEM (-----BEGIN ...)"),
    }
}

fn named(kind: SectionKind) -> &'static str {
    match kind {
        SectionKind::Certificate => "certificate",
        SectionKind::PublicKey => "public key",
        SectionKind::RsaPrivateKey | SectionKind::PrivateKey | SectionKind::EcPrivateKey => {
            "private key"
        }
        SectionKind::Crl => "list of revoked certificates",
        SectionKind::Csr => "request for a certificate",
        _ => "section of another kind",
    }
}
