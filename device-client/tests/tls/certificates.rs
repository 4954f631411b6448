//! Which certificates are believed, and why the others are not: shown by a server that has the keys
//! to all of them.

use std::net::IpAddr;
use std::time::Duration;

use martlet_device::io::asynchronous::Network;
use martlet_device::tls::fault::{CertificateFault, Fault};
use martlet_device::tls::settings::{Authority, Identity, ServerName, Settings, Trust};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PublicKeyData, date_time_ymd,
};

use crate::cheat::{Cheat, Script};
use crate::pki::{NAME, Pair, server};
use crate::wire::{AMPLE, AT_ONCE, Device, NOW, Wire, client, random, wait_for};

/// Moves a date of 1970 to so many seconds behind its beginning.
macro_rules! at {
    ($seconds:expr) => {
        date_time_ymd(1970, 1, 1) + Duration::from_secs($seconds)
    };
}

/// Whether a client opens a connection to a server with this certificate.
fn opens(script: Script, settings: Settings<'_>) -> Result<(), Fault> {
    let mut wire = Wire::new(Cheat::new(script), AT_ONCE);
    let mut client = client(&mut wire, settings, AMPLE);
    wait_for(client.open()).expect("all of it was said")
}

fn believes(authority: &Authority, name: &str, script: Script) -> Result<(), Fault> {
    let authorities = std::slice::from_ref(authority);
    let trust = Trust { authorities, ..Trust::default() };
    opens(script, Settings { name: name.into(), trust, identity: None })
}

#[test]
fn a_certificate_is_believed_or_its_fault_is_named() {
    type Change = fn(&mut CertificateParams);
    let fault = |fault| Err(Fault::Certificate(fault));
    let table: &[(&str, Change, Result<(), Fault>)] = &[
        ("a good one", |_| {}, Ok(())),
        ("no key usage", |params| params.key_usages.clear(), Ok(())),
        ("no purpose", |params| params.extended_key_usages.clear(), Ok(())),
        (
            "for servers and clients",
            |params| params.extended_key_usages.insert(0, ExtendedKeyUsagePurpose::ClientAuth),
            Ok(()),
        ),
        (
            "for clients",
            |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
            fault(CertificateFault::Purpose),
        ),
        (
            "for any purpose",
            |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any],
            fault(CertificateFault::Purpose),
        ),
        (
            "may not sign",
            |params| params.key_usages = vec![KeyUsagePurpose::KeyAgreement],
            fault(CertificateFault::Purpose),
        ),
        (
            "an authority",
            |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
            fault(CertificateFault::Authority),
        ),
        ("no authority, said so", |params| params.is_ca = IsCa::ExplicitNoCa, Ok(())),
        (
            "over since yesterday",
            |params| params.not_after = at!(NOW - 86_400),
            fault(CertificateFault::Expired),
        ),
        (
            "over a second ago",
            |params| params.not_after = at!(NOW - 1),
            fault(CertificateFault::Expired),
        ),
        ("over now", |params| params.not_after = at!(NOW), Ok(())),
        ("begun now", |params| params.not_before = at!(NOW), Ok(())),
        (
            "to begin in a second",
            |params| params.not_before = at!(NOW + 1),
            fault(CertificateFault::NotYetValid),
        ),
        ("for ever", |params| params.not_after = date_time_ymd(9999, 12, 31), Ok(())),
        (
            "without a name",
            |params| params.subject_alt_names.clear(),
            fault(CertificateFault::Name),
        ),
        (
            "for another name",
            |params| params.subject_alt_names.drain(..1).for_each(drop),
            fault(CertificateFault::Name),
        ),
        (
            "with an extension that must be understood",
            |params| {
                let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
                extension.set_criticality(true);
                params.custom_extensions.push(extension);
            },
            fault(CertificateFault::Extension),
        ),
        (
            "with one that need not",
            |params| {
                let extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
                params.custom_extensions.push(extension);
            },
            Ok(()),
        ),
        (
            "with a purpose twice",
            |params| {
                let again = vec![0x30, 0x0A, 6, 8, 0x2B, 6, 1, 5, 5, 7, 3, 1];
                let extension = CustomExtension::from_oid_content(&[2, 5, 29, 37], again);
                params.custom_extensions.push(extension);
            },
            fault(CertificateFault::Malformed),
        ),
    ];
    let authority = Pair::authority("ours");
    for (what, change, expected) in table {
        let mut params = server();
        change(&mut params);
        let script = Script::good(&authority.issue(params));
        assert_eq!(believes(&authority.trusted(), NAME, script), *expected, "{what}");
    }
}

#[test]
fn a_certificate_is_for_the_name_or_address_that_is_called() {
    let authority = Pair::authority("ours");
    let script = Script::good(&authority.server());
    let table = [
        (NAME, true),
        ("BROKER.example.org", true),
        ("kitchen.lamps.example.org", true),
        ("lamps.example.org", false),
        ("a.kitchen.lamps.example.org", false),
        ("example.org", false),
        ("192.0.2.7", true),
        ("192.0.2.8", false),
        ("2001:db8::7", true),
        ("2001:db8::8", false),
        ("::ffff:192.0.2.7", false),
        ("", false),
    ];
    for (name, good) in table {
        let expected = if good { Ok(()) } else { Err(Fault::Certificate(CertificateFault::Name)) };
        assert_eq!(believes(&authority.trusted(), name, script.clone()), expected, "{name}");
    }
    // An address that only looks like a name is none.
    let address = ServerName::Dns("192.0.2.7");
    let authorities = [authority.trusted()];
    let trust = Trust { authorities: &authorities, ..Trust::default() };
    let heard = opens(script, Settings { name: address, trust, identity: None });
    assert_eq!(heard, Err(Fault::Certificate(CertificateFault::Name)));
    assert_eq!(
        ServerName::from("::1"),
        ServerName::Address(IpAddr::from([0_u16, 0, 0, 0, 0, 0, 0, 1]))
    );
}

#[test]
fn only_our_authorities_sign() {
    let ours = Pair::authority("ours");
    let namesake = Pair::authority("ours");
    let leaf = ours.server();
    let untrusted = Err(Fault::Certificate(CertificateFault::Untrusted));
    let believes =
        |authority: &Authority, pair: &Pair| believes(authority, NAME, Script::good(pair));
    assert_eq!(believes(&ours.trusted(), &leaf), Ok(()));
    assert_eq!(believes(&namesake.trusted(), &leaf), untrusted);
    // A server's certificate signs another one, as an authority would.
    assert_eq!(believes(&ours.trusted(), &leaf.issue(server())), untrusted);
    // One that signed itself, and the authority's own.
    let key = KeyPair::generate().unwrap();
    let own = server().self_signed(&key).unwrap();
    let mut script = Script::good(&leaf);
    (script.certificate, script.key) = (own.der().to_vec(), key.serialize_der());
    assert_eq!(self::believes(&ours.trusted(), NAME, script), untrusted);
    let own = believes(&ours.trusted(), &ours);
    assert_eq!(own, Err(Fault::Certificate(CertificateFault::Purpose)));
    // By key, and one among several.
    let key = Authority::from_key(&ours.key.subject_public_key_info()).unwrap();
    assert_eq!(believes(&key, &leaf), Ok(()));
    let (authorities, name) = ([namesake.trusted(), ours.trusted()], NAME.into());
    let trust = Trust { authorities: &authorities, ..Trust::default() };
    assert_eq!(opens(Script::good(&leaf), Settings { name, trust, identity: None }), Ok(()));
}

/// A pin says all; with an authority besides, both must be right.
#[test]
fn a_pinned_key_may_have_any_certificate() {
    let ours = Pair::authority("ours");
    let mut params = server();
    params.not_after = at!(NOW - 1);
    params.subject_alt_names.clear();
    let leaf = ours.issue(params);
    let (keys, authorities, name) = ([leaf.pin()], [ours.trusted()], NAME.into());
    let by_pin = Trust { keys: &keys, authorities: &[] };
    let settings = Settings { name, trust: by_pin, identity: None };
    assert_eq!(opens(Script::good(&leaf), settings), Ok(()));
    let by_both = Settings { trust: Trust { authorities: &authorities, ..by_pin }, ..settings };
    let expired = Err(Fault::Certificate(CertificateFault::Expired));
    assert_eq!(opens(Script::good(&leaf), by_both), expired);
    let not_pinned = Err(Fault::Certificate(CertificateFault::NotPinned));
    assert_eq!(opens(Script::good(&ours.server()), by_both), not_pinned);
}

#[test]
fn a_device_without_a_clock_takes_what_is_over() {
    let ours = Pair::authority("ours");
    let mut params = server();
    params.not_after = at!(NOW - 1);
    let mut wire = Wire::new(Cheat::new(Script::good(&ours.issue(params))), AT_ONCE);
    let authorities = [ours.trusted()];
    let trust = Trust { authorities: &authorities, ..Trust::default() };
    let settings = Settings { name: NAME.into(), trust, identity: None };
    let buffers = martlet_device::tls::settings::Buffers {
        receive: &mut [0; 2_000],
        transmit: &mut [0; 500],
    };
    let device = Device { now: None, ..Device::new() };
    let mut client =
        martlet_device::tls::asynchronous::Tls::new(&mut wire, device, settings, buffers);
    assert_eq!(wait_for(client.open()), Some(Ok(())));
}

/// Each byte of a good certificate, changed: it is not believed, whatever that byte was.
#[test]
fn no_byte_of_a_certificate_can_be_changed() {
    let ours = Pair::authority("ours");
    let good = Script::good(&ours.server());
    let authority = ours.trusted();
    let mut state = 0x2545_F491_4F6C_DD1D;
    for at in 0..good.certificate.len() {
        let mut script = good.clone();
        script.certificate[at] ^= 1 + (random(&mut state) % 255) as u8;
        let heard = believes(&authority, NAME, script);
        assert!(matches!(heard, Err(Fault::Certificate(_))), "{at}: {heard:?}");
    }
    for at in (0..good.certificate.len()).step_by(7) {
        let mut script = good.clone();
        script.certificate.truncate(at);
        let heard = believes(&authority, NAME, script);
        assert_eq!(heard, Err(Fault::Certificate(CertificateFault::Malformed)), "{at}");
    }
}

#[test]
fn keys_and_certificates_of_ours_must_go_together() {
    let ours = Pair::authority("ours");
    let (one, other) = (ours.device(), ours.device());
    let key = one.key.serialize_der();
    assert!(Identity::new(&one.certificate, &key).is_ok());
    let fault = |certificate: &[u8], key: &[u8]| Identity::new(certificate, key).err();
    assert_eq!(fault(&other.certificate, &key), Some(CertificateFault::Key));
    assert_eq!(fault(&key, &key), Some(CertificateFault::Malformed));
    let ed25519 = ours.issue_with(server(), &rcgen::PKCS_ED25519);
    let ed25519 = ed25519.key.serialize_der();
    assert_eq!(fault(&one.certificate, &ed25519), Some(CertificateFault::Key));
    for len in 0..key.len() {
        assert_eq!(fault(&one.certificate, &key[..len]), Some(CertificateFault::Key), "{len}");
    }
    assert!(Authority::from_certificate(&key).is_err());
    assert!(Authority::from_key(&key).is_err());
}
