//! The broker's certificate: what it says, and whether that is good enough. Pure functions over its
//! bytes, which are anybody's; nothing here can panic.

use core::net::IpAddr;

use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};

use super::der::{Der, tag};
use super::fault::CertificateFault;
use super::settings::ServerName;

const EC_PUBLIC_KEY: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01];
const P256: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];
const ECDSA_WITH_SHA256: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02];
const SERVER_AUTH: &[u8] = &[0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];

/// Extensions of RFC 5280, section 4.2.1: what stands behind 2.5.29.
mod extension {
    pub(super) const KEY_USAGE: u8 = 15;
    pub(super) const SUBJECT_ALT_NAME: u8 = 17;
    pub(super) const BASIC_CONSTRAINTS: u8 = 19;
    pub(super) const EXTENDED_KEY_USAGE: u8 = 37;
}

/// A certificate of X.509, taken apart.
#[derive(Clone, Copy)]
pub(super) struct Certificate<'a> {
    /// What its issuer has signed.
    signed: &'a [u8],
    signature: &'a [u8],
    algorithm: &'a [u8],
    not_before: u64,
    not_after: u64,
    /// The SubjectPublicKeyInfo, which is what pins are made of.
    pub(super) key_info: &'a [u8],
    extensions: Der<'a>,
}

impl<'a> Certificate<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, CertificateFault> {
        Self::walk(bytes).ok_or(CertificateFault::Malformed)
    }

    fn walk(bytes: &'a [u8]) -> Option<Self> {
        let mut all = Der(bytes);
        let mut certificate = all.sequence()?;
        all.end()?;
        let signed = certificate.element().filter(|element| element.tag == tag::SEQUENCE)?;
        let outer_algorithm = certificate.element()?;
        let signature = certificate.bits()?;
        certificate.end()?;

        let mut body = Der(signed.content);
        let mut version = Der(body.expect(tag::CONTEXT_CONSTRUCTED)?);
        (version.expect(tag::INTEGER)? == [2]).then_some(())?; // 3 is called 2
        version.end()?;
        body.expect(tag::INTEGER)?; // its number
        let algorithm = body.element()?;
        (algorithm == outer_algorithm).then_some(())?;
        body.sequence()?; // its issuer
        let mut validity = body.sequence()?;
        let (not_before, not_after) = (time(&mut validity)?, time(&mut validity)?);
        validity.end()?;
        body.sequence()?; // its subject
        let key_info = body.element().filter(|element| element.tag == tag::SEQUENCE)?.whole;
        body.optional(tag::CONTEXT | 1)?;
        body.optional(tag::CONTEXT | 2)?;
        let mut extensions = Der(body.optional(tag::CONTEXT_CONSTRUCTED | 3)?.unwrap_or_default());
        let extensions = if extensions.is_empty() { extensions } else { extensions.sequence()? };
        body.end()?;
        Some(Self {
            signed: signed.whole,
            signature,
            algorithm: algorithm.content,
            not_before,
            not_after,
            key_info,
            extensions,
        })
    }

    /// Its key, if that is on P-256.
    pub(super) fn key(&self) -> Result<VerifyingKey, CertificateFault> {
        let point = point(self.key_info).ok_or(CertificateFault::Key)?;
        VerifyingKey::from_sec1_bytes(point).map_err(|_| CertificateFault::Key)
    }

    /// Whether the owner of this key has signed it, by ECDSA with SHA-256.
    pub(super) fn is_signed_by(&self, issuer: &VerifyingKey) -> bool {
        let mut algorithm = Der(self.algorithm);
        algorithm.expect(tag::OID) == Some(ECDSA_WITH_SHA256)
            && algorithm.is_empty()
            && Signature::from_der(self.signature)
                .is_ok_and(|signature| issuer.verify(self.signed, &signature).is_ok())
    }

    /// `now` in seconds since 1970.
    pub(super) fn check_time(&self, now: u64) -> Result<(), CertificateFault> {
        match now {
            _ if now < self.not_before => Err(CertificateFault::NotYetValid),
            _ if now > self.not_after => Err(CertificateFault::Expired),
            _ => Ok(()),
        }
    }

    /// Whether it is a server's, and for this name (RFC 5280, section 4.2.1; RFC 9525).
    pub(super) fn check_use(&self, name: ServerName<'_>) -> Result<(), CertificateFault> {
        let mut names = None;
        let mut seen = 0_u64;
        let mut extensions = self.extensions;
        while !extensions.is_empty() {
            let found = Extension::next(&mut extensions).ok_or(CertificateFault::Malformed)?;
            let Some(id) = found.id else {
                found.pass()?;
                continue;
            };
            if id < 64 && seen & (1 << id) != 0 {
                return Err(CertificateFault::Malformed);
            }
            seen |= 1_u64.checked_shl(id.into()).unwrap_or(0);
            match id {
                extension::BASIC_CONSTRAINTS => check_no_authority(found.value)?,
                extension::KEY_USAGE => check_key_usage(found.value)?,
                extension::EXTENDED_KEY_USAGE => check_extended_key_usage(found.value)?,
                extension::SUBJECT_ALT_NAME => names = Some(found.value),
                _ => found.pass()?,
            }
        }
        match is_for(names.unwrap_or_default(), name) {
            Some(true) => Ok(()),
            Some(false) => Err(CertificateFault::Name),
            None => Err(CertificateFault::Malformed),
        }
    }
}

/// The point in a SubjectPublicKeyInfo on P-256.
pub(super) fn point(key_info: &[u8]) -> Option<&[u8]> {
    let mut all = Der(key_info);
    let mut info = all.sequence()?;
    all.end()?;
    is_p256(info.sequence()?)?;
    let point = info.bits()?;
    info.end()?;
    (point.len() == 65 && point.first() == Some(&4)).then_some(point)
}

/// An AlgorithmIdentifier that says P-256.
pub(super) fn is_p256(mut algorithm: Der<'_>) -> Option<()> {
    let is = algorithm.expect(tag::OID)? == EC_PUBLIC_KEY && algorithm.expect(tag::OID)? == P256;
    algorithm.end()?;
    is.then_some(())
}

struct Extension<'a> {
    /// What stands behind 2.5.29, if it is one of those.
    id: Option<u8>,
    critical: bool,
    value: &'a [u8],
}

impl<'a> Extension<'a> {
    fn next(extensions: &mut Der<'a>) -> Option<Self> {
        let mut extension = extensions.sequence()?;
        let id = extension.expect(tag::OID)?;
        let critical = match extension.optional(tag::BOOLEAN)? {
            None | Some([0]) => false,
            Some([0xFF]) => true,
            Some(_) => return None,
        };
        let value = extension.expect(tag::OCTET_STRING)?;
        extension.end()?;
        let id = if let [0x55, 0x1D, id] = id { Some(*id) } else { None };
        Some(Self { id, critical, value })
    }

    /// It is not known here, and may be passed over if it says so.
    fn pass(&self) -> Result<(), CertificateFault> {
        if self.critical { Err(CertificateFault::Extension) } else { Ok(()) }
    }
}

fn check_no_authority(value: &[u8]) -> Result<(), CertificateFault> {
    let is_authority = || {
        let mut all = Der(value);
        let mut constraints = all.sequence()?;
        all.end()?;
        let authority = constraints.optional(tag::BOOLEAN)?;
        constraints.optional(tag::INTEGER)?;
        constraints.end()?;
        Some(authority.is_some_and(|value| value != [0]))
    };
    match is_authority() {
        Some(false) => Ok(()),
        Some(true) => Err(CertificateFault::Authority),
        None => Err(CertificateFault::Malformed),
    }
}

/// It must sign, for the handshake is signed: digitalSignature is the first bit.
fn check_key_usage(value: &[u8]) -> Result<(), CertificateFault> {
    let mut all = Der(value);
    match (all.expect(tag::BIT_STRING), all.is_empty()) {
        (Some([0..8, bits, ..]), true) if bits & 0x80 != 0 => Ok(()),
        (Some(_), true) => Err(CertificateFault::Purpose),
        (_, _) => Err(CertificateFault::Malformed),
    }
}

fn check_extended_key_usage(value: &[u8]) -> Result<(), CertificateFault> {
    let mut all = Der(value);
    let mut purposes =
        all.sequence().filter(|_| all.is_empty()).ok_or(CertificateFault::Malformed)?;
    while !purposes.is_empty() {
        if purposes.expect(tag::OID).ok_or(CertificateFault::Malformed)? == SERVER_AUTH {
            return Ok(());
        }
    }
    Err(CertificateFault::Purpose)
}

/// Whether one of the names in a SubjectAltName is this one; `None` if its form is wrong.
fn is_for(names: &[u8], name: ServerName<'_>) -> Option<bool> {
    if names.is_empty() {
        return Some(false);
    }
    let mut all = Der(names);
    let mut names = all.sequence()?;
    all.end()?;
    let mut found = false;
    while !names.is_empty() {
        let element = names.element()?;
        found |= match (name, element.tag ^ tag::CONTEXT) {
            (ServerName::Dns(name), 2) => is_name(element.content, name.as_bytes()),
            (ServerName::Address(IpAddr::V4(address)), 7) => element.content == address.octets(),
            (ServerName::Address(IpAddr::V6(address)), 7) => element.content == address.octets(),
            (_, _) => false,
        };
    }
    Some(found)
}

/// Case counts for nothing, a dot at the end neither. A star is a whole label, the first, of three
/// at least: `*.example` would be for too many.
fn is_name(pattern: &[u8], name: &[u8]) -> bool {
    let name = name.strip_suffix(b".").unwrap_or(name);
    let is = |pattern: &[u8], name: &[u8]| !name.is_empty() && pattern.eq_ignore_ascii_case(name);
    let Some(domain) = pattern.strip_prefix(b"*.") else { return is(pattern, name) };
    let label = name.iter().position(|byte| *byte == b'.').unwrap_or(name.len());
    let (label, rest) = name.split_at_checked(label).unwrap_or_default();
    let rest = rest.strip_prefix(b".").unwrap_or_default();
    !label.is_empty() && domain.contains(&b'.') && is(domain, rest)
}

/// A UTCTime or GeneralizedTime as RFC 5280 has them, in seconds since 1970.
fn time(validity: &mut Der<'_>) -> Option<u64> {
    let element = validity.element()?;
    let digits = element.content.strip_suffix(b"Z")?;
    let (year, rest) = match element.tag {
        tag::UTC_TIME => {
            let (year, rest) = number(digits, 2)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        tag::GENERALIZED_TIME => number(digits, 4)?,
        _ => return None,
    };
    let mut rest = rest;
    let mut next = |least, most| {
        let (number, behind) = number(rest, 2)?;
        rest = behind;
        (least..=most).contains(&number).then_some(number)
    };
    let (month, day) = (next(1, 12)?, next(1, 31)?);
    let (hour, minute, second) = (next(0, 23)?, next(0, 59)?, next(0, 59)?);
    if !rest.is_empty() {
        return None;
    }
    // Before 1970 is long ago in any case.
    let days = days(year, month, day).saturating_sub(days(1970, 1, 1));
    Some(u64::from(days) * 86_400 + u64::from((hour * 60 + minute) * 60 + second))
}

fn number(digits: &[u8], len: usize) -> Option<(u32, &[u8])> {
    let (number, rest) = digits.split_at_checked(len)?;
    let number = str::from_utf8(number).ok().filter(|text| !text.starts_with('+'))?;
    Some((number.parse().ok()?, rest))
}

/// Days since the first of March of the year 0 in the Gregorian calendar, with years that end with
/// February, so that the day that comes and goes is their last.
fn days(year: u32, month: u32, day: u32) -> u32 {
    let (year, month) =
        if month > 2 { (year, month - 3) } else { (year.saturating_sub(1), month + 9) };
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1
}

#[cfg(test)]
mod tests {
    use super::{Der, days, is_name, time};

    #[test]
    fn names_are_for_hosts_as_rfc_9525_has_it() {
        let table: &[(&str, &str, bool)] = &[
            ("broker.example.org", "broker.example.org", true),
            ("Broker.Example.ORG", "broker.example.org", true),
            ("broker.example.org", "broker.example.org.", true),
            ("broker.example.org", "example.org", false),
            ("example.org", "broker.example.org", false),
            ("*.example.org", "broker.example.org", true),
            ("*.example.org", "a.broker.example.org", false),
            ("*.example.org", "example.org", false),
            ("*.example.org", ".example.org", false),
            ("*.org", "example.org", false),
            ("*", "localhost", false),
            ("*.", "localhost", false),
            ("b*.example.org", "broker.example.org", false),
            ("broker.*.org", "broker.example.org", false),
            ("localhost", "localhost", true),
            ("", "", false),
            ("", ".", false),
            ("broker.example.org\0.evil.org", "broker.example.org", false),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(is_name(pattern.as_bytes(), name.as_bytes()), *expected, "{pattern} {name}");
        }
    }

    #[test]
    fn times_are_seconds_since_1970() {
        let table: &[(u8, &str, Option<u64>)] = &[
            (0x17, "700101000000Z", Some(0)),
            (0x17, "491231235959Z", Some(2_524_607_999)),
            (0x17, "500101000000Z", Some(0)), // 1950
            (0x17, "000301000000Z", Some(951_868_800)),
            (0x17, "240229120000Z", Some(1_709_208_000)),
            (0x18, "20500101000000Z", Some(2_524_608_000)),
            (0x18, "21000301000000Z", Some(4_107_542_400)),
            (0x18, "99991231235959Z", Some(253_402_300_799)),
            (0x18, "00000101000000Z", Some(0)),
            (0x17, "701301000000Z", None),
            (0x17, "700100000000Z", None),
            (0x17, "700101240000Z", None),
            (0x17, "700101000060Z", None),
            (0x17, "7001010000Z", None),
            (0x17, "700101000000", None),
            (0x17, "700101000000+0100", None),
            (0x17, "+10101000000Z", None),
            (0x17, "7001010000000Z", None),
            (0x0C, "700101000000Z", None),
        ];
        for (tag, text, expected) in table {
            let mut element = [0; 32];
            element[..2].copy_from_slice(&[*tag, text.len() as u8]);
            element[2..2 + text.len()].copy_from_slice(text.as_bytes());
            assert_eq!(time(&mut Der(&element[..2 + text.len()])), *expected, "{text}");
        }
    }

    #[test]
    fn years_have_their_days() {
        for year in 1970..2400 {
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            assert_eq!(days(year + 1, 1, 1) - days(year, 1, 1), if leap { 366 } else { 365 });
            assert_eq!(days(year, 3, 1) - days(year, 2, 28), if leap { 2 } else { 1 });
        }
    }
}
