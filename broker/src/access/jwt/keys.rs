//! What signatures are checked with. Each key says what it may check, never the token: a public key
//! is no secret, and `none` is no algorithm.

use std::path::Path;
use std::str::FromStr;

use base64ct::{Base64UrlUnpadded, Encoding};
use ring::hmac;
use ring::signature::{
    self, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RsaParameters,
    RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use rustls_pki_types::pem::{PemObject, SectionKind};
use serde::Deserialize;
use serde_json::Value;
use spki::der::asn1::{AnyRef, BitStringRef, UintRef};
use spki::der::{Decode, Reader, SliceReader};
use spki::{ObjectIdentifier, SubjectPublicKeyInfo};

use crate::access::fault::{self, Fault};
use crate::access::jwt::{Secret, Settings, TokenFault};

/// All keys.
#[derive(Clone, Debug)]
pub(super) struct Keys(Vec<Key>);

/// One key.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// By which a token may ask for it.
    id: Option<Box<str>>,
    /// The one algorithm that it is for; `None`: all that go with the key.
    algorithm: Option<Algorithm>,
    material: Material,
}

/// The key itself.
#[derive(Clone, Debug)]
enum Material {
    Secret(Secret),
    /// Modulus and exponent, as large numbers.
    Rsa {
        n: Box<[u8]>,
        e: Box<[u8]>,
    },
    /// A point, uncompressed.
    P256(Box<[u8]>),
    P384(Box<[u8]>),
    Ed25519(Box<[u8]>),
}

/// How a token may be signed (RFC 7518, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

/// Keys that may be there. Beyond them: a mistake of the operator's.
const KEYS_MAX: usize = 64;

/// A secret of fewer bytes can be guessed by trying (RFC 7518, 3.2).
pub(super) const SECRET_BYTES: usize = 32;

/// The modulus of an RSA key that is strong enough, in bytes.
const RSA_BYTES: usize = 256;

const ALGORITHMS: &[(&str, Algorithm)] = &[
    ("HS256", Algorithm::Hs256),
    ("HS384", Algorithm::Hs384),
    ("HS512", Algorithm::Hs512),
    ("RS256", Algorithm::Rs256),
    ("RS384", Algorithm::Rs384),
    ("RS512", Algorithm::Rs512),
    ("PS256", Algorithm::Ps256),
    ("PS384", Algorithm::Ps384),
    ("PS512", Algorithm::Ps512),
    ("ES256", Algorithm::Es256),
    ("ES384", Algorithm::Es384),
    ("EdDSA", Algorithm::EdDsa),
    ("Ed25519", Algorithm::EdDsa),
];

impl Keys {
    pub(super) fn load(settings: &Settings) -> Result<Self, Vec<Fault>> {
        let inline = settings.secret.iter().cloned().map(Key::secret);
        let mut keys: Vec<Key> = inline.collect();
        let mut faults = Vec::new();
        let secret = settings.secret_file.as_deref().map(read_secret);
        let public = settings.key_file.as_deref().map(read_public);
        for read in secret.into_iter().chain(public) {
            match read {
                Ok(more) => keys.extend(more),
                Err(more) => faults.extend(more),
            }
        }
        if faults.is_empty() { Ok(Self(keys)) } else { Err(faults) }
    }

    /// Those that may have signed a token with this header.
    pub(super) fn candidates(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
    ) -> Result<Vec<&Key>, TokenFault> {
        let mut fitting: Vec<&Key> = self.0.iter().filter(|key| key.checks(algorithm)).collect();
        if fitting.is_empty() {
            return Err(TokenFault::Algorithm);
        }
        if let Some(id) = id {
            fitting.retain(|key| key.id.as_deref().is_none_or(|own| own == id));
        }
        if fitting.is_empty() { Err(TokenFault::UnknownKey) } else { Ok(fitting) }
    }

    pub(super) fn shortest_secret(&self) -> Option<usize> {
        let secrets = self.0.iter().filter_map(|key| match &key.material {
            Material::Secret(Secret(bytes)) => Some(bytes.len()),
            _ => None,
        });
        secrets.min()
    }
}

impl Key {
    fn secret(secret: Secret) -> Self {
        Self { id: None, algorithm: None, material: Material::Secret(secret) }
    }

    fn checks(&self, algorithm: Algorithm) -> bool {
        self.algorithm.is_none_or(|only| only == algorithm) && self.material.checks(algorithm)
    }

    pub(super) fn verify(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        let public = |how: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(how, key).verify(signed, signature).is_ok()
        };
        match &self.material {
            Material::Secret(Secret(secret)) => algorithm.hmac().is_some_and(|how| {
                hmac::verify(&hmac::Key::new(how, secret), signed, signature).is_ok()
            }),
            Material::Rsa { n, e } => algorithm.rsa().is_some_and(|how| {
                RsaPublicKeyComponents { n, e }.verify(how, signed, signature).is_ok()
            }),
            Material::P256(point) => public(&ECDSA_P256_SHA256_FIXED, point),
            Material::P384(point) => public(&ECDSA_P384_SHA384_FIXED, point),
            Material::Ed25519(key) => public(&ED25519, key),
        }
    }
}

impl Material {
    fn checks(&self, algorithm: Algorithm) -> bool {
        match self {
            Self::Secret(_) => algorithm.hmac().is_some(),
            Self::Rsa { .. } => algorithm.rsa().is_some(),
            Self::P256(_) => algorithm == Algorithm::Es256,
            Self::P384(_) => algorithm == Algorithm::Es384,
            Self::Ed25519(_) => algorithm == Algorithm::EdDsa,
        }
    }

    fn rsa(n: &[u8], e: &[u8]) -> Result<Self, &'static str> {
        let strip = |number: &[u8]| -> Box<[u8]> {
            let zeros = number.iter().take_while(|byte| **byte == 0).count();
            number[zeros..].into()
        };
        let (n, e) = (strip(n), strip(e));
        if n.len() < RSA_BYTES {
            return Err("this RSA key is weak: it wants at least 2048 bits");
        }
        if e.is_empty() {
            return Err("this RSA key has no exponent");
        }
        Ok(Self::Rsa { n, e })
    }

    fn point(curve: Curve, point: Box<[u8]>) -> Result<Self, &'static str> {
        let (bytes, material): (_, fn(_) -> Self) = match curve {
            Curve::P256 => (65, Self::P256),
            Curve::P384 => (97, Self::P384),
            Curve::Ed25519 => (32, Self::Ed25519),
        };
        let uncompressed = curve == Curve::Ed25519 || point.first() == Some(&4);
        if point.len() == bytes && uncompressed {
            Ok(material(point))
        } else {
            Err("the point of this key is of no length that its curve has, or compressed")
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
    Ed25519,
}

impl Algorithm {
    fn hmac(self) -> Option<hmac::Algorithm> {
        match self {
            Self::Hs256 => Some(hmac::HMAC_SHA256),
            Self::Hs384 => Some(hmac::HMAC_SHA384),
            Self::Hs512 => Some(hmac::HMAC_SHA512),
            _ => None,
        }
    }

    fn rsa(self) -> Option<&'static RsaParameters> {
        match self {
            Self::Rs256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
            _ => None,
        }
    }
}

impl FromStr for Algorithm {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let found = ALGORITHMS.iter().find(|(known, _)| *known == name);
        found.map(|(_, algorithm)| *algorithm).ok_or(())
    }
}

/// A file with nothing but a secret, and perhaps the end of a line behind it.
fn read_secret(path: &Path) -> Result<Vec<Key>, Vec<Fault>> {
    let mut bytes = fault::read_bytes(path)?;
    for end in [b'\n', b'\r'] {
        if bytes.last() == Some(&end) {
            bytes.pop();
        }
    }
    if bytes.is_empty() {
        return Err(vec![Fault::of(path, "is empty, and no secret")]);
    }
    Ok(vec![Key::secret(Secret(bytes.into()))])
}

/// A file with public keys.
fn read_public(path: &Path) -> Result<Vec<Key>, Vec<Fault>> {
    let text = fault::read_text(path)?;
    let keys = if text.trim_start().starts_with('{') {
        parse_json(path, &text)?
    } else {
        parse_pem(path, &text)?
    };
    match keys.len() {
        0 => Err(vec![Fault::of(path, NO_KEY)]),
        1..=KEYS_MAX => Ok(keys),
        _ => Err(vec![Fault::of(path, format!("has over {KEYS_MAX} keys"))]),
    }
}

const NO_KEY: &str = "has no key that signatures can be checked with: it wants `PUBLIC KEY` in \
                      PEM, or a JSON Web Key (Set) with RSA, P-256, P-384, Ed25519 or oct keys";

fn parse_pem(path: &Path, text: &str) -> Result<Vec<Key>, Vec<Fault>> {
    let sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes());
    let keys = sections.map(|section| match section {
        Ok((SectionKind::PublicKey, der)) => parse_spki(&der),
        Ok((SectionKind::Certificate, _)) => Err("holds a certificate; \
            `openssl x509 -pubkey -noout` takes the public key out of it"),
        Ok((
            SectionKind::RsaPrivateKey | SectionKind::PrivateKey | SectionKind::EcPrivateKey,
            _,
        )) => Err("holds a private key, which belongs to the issuer of tokens alone; \
                 `openssl pkey -pubout` takes the public key out of it"),
        Ok(_) => Err(NO_KEY),
        Err(_) => Err("is no PEM: a section is cut off or garbled"),
    });
    let keys: Result<Vec<Material>, &str> = keys.collect();
    let keys = keys.map_err(|text| vec![Fault::of(path, text)])?;
    Ok(keys.into_iter().map(|material| Key { id: None, algorithm: None, material }).collect())
}

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// What stands in `PUBLIC KEY`.
fn parse_spki(der: &[u8]) -> Result<Material, &'static str> {
    const GARBLED: &str = "holds a public key that is garbled";
    let key = SubjectPublicKeyInfo::<AnyRef<'_>, BitStringRef<'_>>::from_der(der);
    let key = key.map_err(|_| GARBLED)?;
    let bits = key.subject_public_key.as_bytes().ok_or(GARBLED)?;
    let curve = || key.algorithm.parameters.and_then(|p| p.decode_as::<ObjectIdentifier>().ok());
    match (key.algorithm.oid, curve()) {
        (RSA, _) => {
            let (n, e) = parse_rsa(bits).map_err(|_| GARBLED)?;
            Material::rsa(n.as_bytes(), e.as_bytes())
        }
        (EC, Some(P256)) => Material::point(Curve::P256, bits.into()),
        (EC, Some(P384)) => Material::point(Curve::P384, bits.into()),
        (ED25519_KEY, _) => Material::point(Curve::Ed25519, bits.into()),
        _ => Err("holds a public key of a kind that is not supported: RSA, P-256, P-384 and \
                  Ed25519 are"),
    }
}

fn parse_rsa(bits: &[u8]) -> Result<(UintRef<'_>, UintRef<'_>), spki::der::Error> {
    let mut reader = SliceReader::new(bits)?;
    let numbers = reader
        .sequence(|fields| Ok::<_, spki::der::Error>((fields.decode()?, fields.decode()?)))?;
    reader.finish()?;
    Ok(numbers)
}

/// A JSON Web Key (RFC 7517); all else in it means nothing here.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    meant_for: Option<String>,
    crv: Option<String>,
    k: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<serde::de::IgnoredAny>,
}

fn parse_json(path: &Path, text: &str) -> Result<Vec<Key>, Vec<Fault>> {
    let no_json = |error: serde_json::Error| {
        vec![Fault::at(path, error.line(), format!("is no JSON Web Key (Set): {error}"))]
    };
    let whole: Value = serde_json::from_str(text).map_err(no_json)?;
    let entries = match whole.get("keys") {
        Some(Value::Array(entries)) => entries.clone(),
        Some(_) => return Err(vec![Fault::of(path, "\"keys\" is no list of keys")]),
        None => vec![whole],
    };
    let (mut keys, mut faults) = (Vec::new(), Vec::new());
    for (number, entry) in (1..).zip(entries) {
        let parsed = serde_json::from_value::<Jwk>(entry).map_err(|error| error.to_string());
        match parsed.and_then(|jwk| jwk.key().map_err(str::to_owned)) {
            Ok(key) => keys.extend(key),
            Err(text) => faults.push(Fault::of(path, format!("key {number}: {text}"))),
        }
    }
    if faults.is_empty() { Ok(keys) } else { Err(faults) }
}

impl Jwk {
    /// `None`: it is for something else, or of a kind that is not supported; sets have such too.
    fn key(self) -> Result<Option<Key>, &'static str> {
        if self.meant_for.as_deref().is_some_and(|meant_for| meant_for != "sig") {
            return Ok(None);
        }
        if self.d.is_some() {
            return Err("this is a private key, which belongs to the issuer of tokens alone");
        }
        let Some(material) = self.material()? else { return Ok(None) };
        let algorithm = self.alg.as_deref().map(str::parse::<Algorithm>).transpose();
        let Ok(algorithm) = algorithm else { return Ok(None) };
        if algorithm.is_some_and(|algorithm| !material.checks(algorithm)) {
            return Err("its \"alg\" does not go with its \"kty\"");
        }
        Ok(Some(Key { id: self.kid.map(Box::from), algorithm, material }))
    }

    fn material(&self) -> Result<Option<Material>, &'static str> {
        let material = match (&*self.kty, self.crv.as_deref()) {
            ("oct", _) => Material::Secret(Secret(number(&self.k)?)),
            ("RSA", _) => Material::rsa(&number(&self.n)?, &number(&self.e)?)?,
            ("EC", Some("P-256")) => Material::point(Curve::P256, self.coordinates()?)?,
            ("EC", Some("P-384")) => Material::point(Curve::P384, self.coordinates()?)?,
            ("OKP", Some("Ed25519")) => Material::point(Curve::Ed25519, number(&self.x)?)?,
            _ => return Ok(None),
        };
        Ok(Some(material))
    }

    fn coordinates(&self) -> Result<Box<[u8]>, &'static str> {
        Ok([&[4], &*number(&self.x)?, &*number(&self.y)?].concat().into())
    }
}

fn number(text: &Option<String>) -> Result<Box<[u8]>, &'static str> {
    let text = text.as_deref().ok_or("a part of this key is missing")?;
    let bytes = Base64UrlUnpadded::decode_vec(text).map(Vec::into_boxed_slice);
    let bytes = bytes.map_err(|_| "a part of this key is no base64 for URLs")?;
    if bytes.is_empty() { Err("a part of this key is empty") } else { Ok(bytes) }
}
