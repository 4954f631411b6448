//! Who a certificate speaks of.

use std::fmt::Write;

use x509_parser::asn1_rs::{Tag, ToDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::access::peer::CertificateNames;

/// Attributes that a subject is written with, by the names that OpenSSL has for them.
const SHORT_NAMES: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.44", "generationQualifier"),
    ("2.5.4.46", "dnQualifier"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// The names in a certificate.
pub(super) fn of(certificate: &X509Certificate<'_>) -> CertificateNames {
    let subject = certificate.subject();
    let mut common_names = subject.iter_common_name();
    let common_name = match (common_names.next(), common_names.next()) {
        // A NUL in it would make it another name for whoever reads it in C.
        (Some(only), None) => text(only).filter(|name| !name.is_empty() && !name.contains('\0')),
        _ => None,
    };
    let common_name = common_name.map(String::into_boxed_str);
    CertificateNames { common_name, subject: rfc2253(subject).into() }
}

/// A subject as RFC 2253 and OpenSSL write it: last part first.
fn rfc2253(subject: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in subject.iter_rdn() {
        let mut attributes: Vec<String> = part.iter().map(attribute).collect();
        attributes.reverse();
        parts.push(attributes.join("+"));
    }
    parts.reverse();
    parts.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let known = SHORT_NAMES.iter().find(|(of, _)| *of == oid);
    match (known, text(attribute)) {
        (Some((_, name)), Some(text)) => format!("{name}={}", escaped(&text)),
        (name, _) => {
            let name = name.map_or(&*oid, |(_, name)| *name);
            let der = attribute.attr_value().to_der_vec().unwrap_or_default();
            format!(
                "{name}=#{}",
                der.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02X}"))
            )
        }
    }
}

/// The value of an attribute, if it is of a kind that text has.
fn text(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let value = attribute.attr_value();
    let bytes = value.data;
    match value.tag() {
        Tag::Utf8String
        | Tag::PrintableString
        | Tag::NumericString
        | Tag::Ia5String
        | Tag::VisibleString => String::from_utf8(bytes.to_vec()).ok(),
        // By the letter it is T.61; what certificates hold is Latin-1.
        Tag::T61String => Some(bytes.iter().map(|byte| char::from(*byte)).collect()),
        Tag::BmpString => {
            let units = bytes.chunks(2).map(|unit| Some(u16::from_be_bytes(unit.try_into().ok()?)));
            String::from_utf16(&units.collect::<Option<Vec<u16>>>()?).ok()
        }
        _ => None,
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    let last = text.len().saturating_sub(1);
    for (at, byte) in text.bytes().enumerate() {
        let outermost_space = byte == b' ' && (at == 0 || at == last);
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => escaped.push('\\'),
            b'#' if at == 0 => escaped.push('\\'),
            b' ' if outermost_space => escaped.push('\\'),
            b' '..=b'~' => {}
            _ => {
                write!(escaped, "\\{byte:02X}").expect("a String takes everything");
                continue;
            }
        }
        escaped.push(char::from(byte));
    }
    escaped
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;
    use crate::net::tls::der;

    /// Made by openssl, which says of its subject what the first test expects.
    const ODD: &str = "\
-----BEGIN CERTIFICATE-----
MIICpDCCAkqgAwIBAgIBBTAKBggqhkjOPQQDAjCBrzELMAkGA1UEBhMCREUxHTAb
BgNVBAoMFE3DvGxsZXIsIFPDtmhuZSArIENvMRYwFAYDVQQLDA0jMSAiZ2F0ZVx3
YXkiMREwDwYDVQQLDAggcGxhbnRzIDEpMBAGCgmSJomT8ixkAQEMAnU3MBUGA1UE
AwwObWV0ZXIgPDc+OyBhPWIxHjAcBgkqhkiG9w0BCQEWD29wc0BleGFtcGxlLm9y
ZzELMAkGA1UEBRMCMTcwIBcNMjYxMTMwMDEwMjQyWhgPMjEyNjExMDYwMTAyNDJa
MIGvMQswCQYDVQQGEwJERTEdMBsGA1UECgwUTcO8bGxlciwgU8O2aG5lICsgQ28x
FjAUBgNVBAsMDSMxICJnYXRlXHdheSIxETAPBgNVBAsMCCBwbGFudHMgMSkwEAYK
CZImiZPyLGQBAQwCdTcwFQYDVQQDDA5tZXRlciA8Nz47IGE9YjEeMBwGCSqGSIb3
DQEJARYPb3BzQGV4YW1wbGUub3JnMQswCQYDVQQFEwIxNzBZMBMGByqGSM49AgEG
CCqGSM49AwEHA0IABFfbXi5VBNU1gXHB36oy7+v537oMAxlF7HQ/CMEge+UiEdEQ
oR2r7hp6SuD5BVDLsU1yKoJmR7L/gFjQl4R4fAyjUzBRMB0GA1UdDgQWBBRpNade
Y0xgABrzPEVDAiPmb7HgfzAfBgNVHSMEGDAWgBRpNadeY0xgABrzPEVDAiPmb7Hg
fzAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIHAAmJYSO3C326lY
VIcwg91tmlQFLecbntQ69NoeYm1DAiEAjYueKjmUR5IsQIKwfFg7qwLjmGA8sr6o
v+dkmVV5RJw=
-----END CERTIFICATE-----
";

    /// The same with two Common Names.
    const TWICE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBdDCCARqgAwIBAgIBBTAKBggqhkjOPQQDAjAYMQowCAYDVQQDDAFhMQowCAYD
VQQDDAFiMCAXDTI2MTEzMDAxMDI0MloYDzIxMjYxMTA2MDEwMjQyWjAYMQowCAYD
VQQDDAFhMQowCAYDVQQDDAFiMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAECgRs
621fwigFhCfp9cEktE58sWKQkN+ZP4DLkfouQXzNkYfRR1uwshXtbE/BkHw0+9ev
P0J0jZuCkPuIfrRoF6NTMFEwHQYDVR0OBBYEFAQ5vypH+F47QYwL6u6GTVABT/Mo
MB8GA1UdIwQYMBaAFAQ5vypH+F47QYwL6u6GTVABT/MoMA8GA1UdEwEB/wQFMAMB
Af8wCgYIKoZIzj0EAwIDSAAwRQIhANLqeFgoWd8EFDizbb6Cgv0ZYO3+7+WDzlTy
wj7F6yyIAiBJB5O/UWdsIWh+2BJjkz6tyuZy7ACD+VP+9olE4sj0Yw==
-----END CERTIFICATE-----
";

    fn names(pem: &str) -> CertificateNames {
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).expect("it is good");
        of(&der::certificate(&certificate).expect("it is good"))
    }

    #[test]
    fn a_subject_is_written_as_openssl_writes_it() {
        let names = names(ODD);
        assert_eq!(
            &*names.subject,
            r#"serialNumber=17,emailAddress=ops@example.org,CN=meter \<7\>\; a=b+UID=u7,"#
                .to_owned()
                + r#"OU=\ plants\ ,OU=\#1 \"gate\\way\",O=M\C3\BCller\, S\C3\B6hne \+ Co,C=DE"#
        );
        assert_eq!(names.common_name.as_deref(), Some("meter <7>; a=b"));
    }

    #[test]
    fn a_name_that_stands_twice_is_none() {
        let names = names(TWICE);
        assert_eq!((&*names.subject, names.common_name), ("CN=b,CN=a", None));
    }
}
