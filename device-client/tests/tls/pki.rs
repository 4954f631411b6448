//! Who signs for whom.

use martlet_device::tls::settings::{Authority, Pin};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SignatureAlgorithm,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The name that the broker has in all tests.
pub(crate) const NAME: &str = "broker.example.org";

/// A certificate and its key.
pub(crate) struct Pair {
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: KeyPair,
    params: CertificateParams,
}

impl Pair {
    /// An authority, which has signed itself.
    pub(crate) fn authority(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().to_vec();
        Self { certificate, key, params }
    }

    /// A good server's certificate by this authority.
    pub(crate) fn server(&self) -> Self {
        self.issue(server())
    }

    /// A good client's.
    pub(crate) fn device(&self) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "meter-7");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    /// One that says this, whatever it is.
    pub(crate) fn issue(&self, params: CertificateParams) -> Self {
        self.issue_for(params, KeyPair::generate().unwrap())
    }

    pub(crate) fn issue_with(
        &self,
        params: CertificateParams,
        algorithm: &'static SignatureAlgorithm,
    ) -> Self {
        self.issue_for(params, KeyPair::generate_for(algorithm).unwrap())
    }

    fn issue_for(&self, params: CertificateParams, key: KeyPair) -> Self {
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).unwrap().der().to_vec();
        Self { certificate, key, params }
    }

    pub(crate) fn trusted(&self) -> Authority {
        Authority::from_certificate(&self.certificate).unwrap()
    }

    pub(crate) fn pin(&self) -> Pin {
        let info = self.key.subject_public_key_info();
        let hash = ring::digest::digest(&ring::digest::SHA256, &info);
        Pin(hash.as_ref().try_into().unwrap())
    }

    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.clone().into()]
    }

    pub(crate) fn secret(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}

/// What a good server's certificate says.
pub(crate) fn server() -> CertificateParams {
    let names = [NAME, "*.lamps.example.org", "192.0.2.7", "2001:db8::7"].map(String::from);
    let mut params = CertificateParams::new(names).unwrap();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}
