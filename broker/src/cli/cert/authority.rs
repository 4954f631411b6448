//! Who signs.

use std::time::{Duration, SystemTime};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, Error,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber,
};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::clock;

/// An authority, ready to sign.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Seconds since 1970: what it signs ends no later.
    until_s: i64,
}

/// A certificate and its key, in PEM.
type Pair = (String, String);

/// How long before now certificates begin, for devices whose clocks are behind.
const BEFORE: Duration = Duration::from_secs(DAY_S);

const DAY_S: u64 = 24 * 60 * 60;

impl Authority {
    /// Makes a new one; answers also with its certificate and its key.
    pub(super) fn make(name: &str, days: u32) -> Result<(Self, String, String), String> {
        let key = key()?;
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_after = later(days_of(days)).into();
        let certificate = params.self_signed(&key).map_err(failed)?.pem();
        let key_pem = key.serialize_pem();
        Ok((Self::open(&certificate, &key_pem)?, certificate, key_pem))
    }

    /// Reads one, Martlet's own or another.
    pub(super) fn open(certificate: &str, key: &str) -> Result<Self, String> {
        let key = KeyPair::from_pem(key).map_err(|error| {
            format!(
                "its key cannot be used ({error}); openssl pkcs8 -topk8 -nocrypt may convert it"
            )
        })?;
        let bad =
            |error: &dyn std::fmt::Display| format!("its certificate cannot be used: {error}");
        let (_, pem) = parse_x509_pem(certificate.as_bytes()).map_err(|error| bad(&error))?;
        let read = pem.parse_x509().map_err(|error| bad(&error))?;
        if read.public_key().subject_public_key.data != key.public_key_raw() {
            return Err("its key is another certificate's".to_owned());
        }
        let until_s = read.validity().not_after.timestamp();
        let issuer = Issuer::from_ca_cert_pem(certificate, key).map_err(|error| bad(&error))?;
        Ok(Self { issuer, until_s })
    }

    /// A certificate for a server that is called by these names.
    pub(super) fn server(&self, names: &[String], days: u32) -> Result<Pair, String> {
        let mut params = params(names.first().map_or("localhost", String::as_str));
        for name in names {
            params.subject_alt_names.push(match name.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => {
                    let name = Ia5String::try_from(name.as_str());
                    SanType::DnsName(name.map_err(|error| format!("{names:?}: {error}"))?)
                }
            });
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params, days)
    }

    /// A certificate for a device.
    pub(super) fn device(&self, id: &str, days: u32) -> Result<Pair, String> {
        let mut params = params(id);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params, days)
    }

    fn issue(&self, mut params: CertificateParams, days: u32) -> Result<Pair, String> {
        let now_s = seconds_now();
        let left = u64::try_from(self.until_s - now_s).unwrap_or_default();
        if left == 0 {
            return Err("its time is over: make another one".to_owned());
        }
        params.not_after = later(days_of(days).min(Duration::from_secs(left))).into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = key()?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    /// A list of revoked certificates, good as long as the authority.
    pub(super) fn list(
        &self,
        revoked: Vec<RevokedCertParams>,
        number: u64,
    ) -> Result<String, String> {
        let left = u64::try_from(self.until_s - seconds_now()).unwrap_or_default();
        let list = CertificateRevocationListParams {
            this_update: (clock::wall() - BEFORE).into(),
            next_update: later(Duration::from_secs(left)).into(),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).and_then(|list| list.pem()).map_err(failed)
    }

    /// The list with one more certificate on it; answers also with its serial number.
    pub(super) fn revoke(&self, list: &str, certificate: &str) -> Result<Pair, String> {
        let (_, pem) = parse_x509_pem(certificate.as_bytes()).map_err(|e| e.to_string())?;
        let serial = pem.parse_x509().map_err(|e| e.to_string())?.raw_serial().to_vec();
        let (_, pem) = parse_x509_pem(list.as_bytes()).map_err(|e| e.to_string())?;
        let (_, list) =
            CertificateRevocationList::from_der(&pem.contents).map_err(|e| e.to_string())?;
        let before = list.iter_revoked_certificates().filter(|old| old.raw_serial() != serial);
        let mut revoked: Vec<RevokedCertParams> = before
            .map(|old| RevokedCertParams {
                serial_number: SerialNumber::from_slice(old.raw_serial()),
                revocation_time: old.revocation_date.to_datetime(),
                reason_code: None,
                invalidity_date: None,
            })
            .collect();
        revoked.push(RevokedCertParams {
            serial_number: SerialNumber::from_slice(&serial),
            revocation_time: clock::wall().into(),
            reason_code: None,
            invalidity_date: None,
        });
        let number = list.crl_number().and_then(|number| u64::try_from(number).ok());
        let list = self.list(revoked, number.unwrap_or_default() + 1)?;
        let hex = serial.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        Ok((list, hex))
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = (clock::wall() - BEFORE).into();
    params
}

/// ECDSA on P-256: small, quick, and known to every device that knows TLS.
fn key() -> Result<KeyPair, String> {
    KeyPair::generate().map_err(|error| format!("no new key: {error}"))
}

fn failed(error: Error) -> String {
    format!("cannot sign: {error}")
}

fn later(by: Duration) -> SystemTime {
    clock::wall() + by
}

fn days_of(days: u32) -> Duration {
    Duration::from_secs(u64::from(days) * DAY_S)
}

fn seconds_now() -> i64 {
    let since_epoch = clock::wall().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
}
