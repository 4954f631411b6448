//! Servers that break the rules, one each: none is believed, none makes the client panic, and each
//! is refused for what it did.

use embedded_io_async::{ErrorKind, Read, Write};
use martlet_device::io::asynchronous::Network;
use martlet_device::tls::fault::{CertificateFault, Fault};
use martlet_device::tls::settings::{ServerName, Settings, Trust};

use crate::cheat::{Cheat, GOOD_END, GOOD_PROOF, NO_TYPE, Part, Script, message, record, sized};
use crate::pki::{NAME, Pair};
use crate::wire::{AMPLE, AT_ONCE, Pace, TRICKLE, Wire, client, wait_for};

/// What a client hears first of a server that says this, and then closes.
fn hear(
    settings: Settings<'_>,
    script: Script,
    sizes: (usize, usize),
    pace: Pace,
) -> Result<Vec<u8>, Fault> {
    let mut wire = Wire::new(Cheat::new(script), pace);
    wire.ends = true;
    let mut client = client(&mut wire, settings, sizes);
    let heard = wait_for(async {
        client.open().await?;
        let mut bytes = [0; 64];
        let len = client.read(&mut bytes).await?;
        Ok(bytes[..len].to_vec())
    });
    let heard = heard.expect("it closes");
    assert_eq!(client.fault(), heard.as_ref().err().copied());
    if heard.is_err() {
        assert!(wait_for(client.write(b"secret")).expect("no connection").is_err());
    }
    heard
}

struct World {
    authority: Pair,
    server: Pair,
}

impl World {
    fn new() -> Self {
        let authority = Pair::authority("ours");
        let server = authority.server();
        Self { authority, server }
    }

    /// What comes of a script that was changed like this, whichever way the key is trusted.
    fn hear(&self, change: impl Fn(&mut Script)) -> Result<Vec<u8>, Fault> {
        let (pins, authorities) = ([self.server.pin()], [self.authority.trusted()]);
        let mut script = Script::good(&self.server);
        change(&mut script);
        let name = ServerName::from(NAME);
        let by_pin = Trust { keys: &pins, ..Trust::default() };
        let by_authority = Trust { authorities: &authorities, ..Trust::default() };
        let mut heard = [by_pin, by_authority].map(|trust| {
            let settings = Settings { name, trust, identity: None };
            let heard = hear(settings, script.clone(), AMPLE, AT_ONCE);
            assert_eq!(hear(settings, script.clone(), AMPLE, TRICKLE), heard);
            heard
        });
        assert_eq!(heard[0], heard[1]);
        std::mem::replace(&mut heard[0], Ok(Vec::new()))
    }
}

#[test]
fn a_server_that_keeps_the_rules_is_heard() {
    let world = World::new();
    assert_eq!(world.hear(|_| {}), Ok(b"welcome".to_vec()));
    // In as many records as it likes, with what keeps middleboxes quiet in between, and tickets.
    let apart = |script: &mut Script| {
        let quiet = Part::Raw(record(20, &[1]));
        script.flight.pop();
        let parts = std::mem::take(&mut script.flight).into_iter();
        script.flight = parts.flat_map(|part| [quiet.clone(), part, Part::Seal]).collect();
        let ticket = message(4, &[0; 300]);
        script.later.insert(0, (22, ticket[..3].to_vec()));
        script.later.insert(1, (22, [&ticket[3..], &ticket[..]].concat()));
        script.later.insert(2, (23, Vec::new()));
    };
    assert_eq!(world.hear(apart), Ok(b"welcome".to_vec()));
}

#[test]
fn who_proves_nothing_is_not_believed() {
    let world = World::new();
    let stranger = Pair::authority("theirs").server();
    let unexpected = |kind| Err(Fault::Unexpected(kind));
    let proof = |scheme, whose, spoilt| Part::CertificateVerify { scheme, whose, spoilt };
    type Row = (&'static str, Vec<Part>, Result<Vec<u8>, Fault>);
    let table: Vec<Row> = vec![
        ("no certificate", vec![Part::Extensions, GOOD_END], unexpected(20)),
        (
            "no certificate, but a proof",
            vec![Part::Extensions, GOOD_PROOF, GOOD_END],
            unexpected(15),
        ),
        ("no proof", vec![Part::Extensions, Part::Certificate, GOOD_END], unexpected(20)),
        ("no extensions", vec![Part::Certificate, GOOD_PROOF, GOOD_END], unexpected(11)),
        ("the end at once", vec![GOOD_END], unexpected(20)),
        (
            "another certificate behind the proof",
            vec![Part::Extensions, Part::Certificate, GOOD_PROOF, Part::Certificate, GOOD_END],
            unexpected(11),
        ),
        (
            "a request behind the certificate",
            vec![
                Part::Extensions,
                Part::Certificate,
                Part::Message(13, vec![0, 0, 0]),
                GOOD_PROOF,
                GOOD_END,
            ],
            unexpected(13),
        ),
        (
            "a request twice",
            vec![
                Part::Extensions,
                Part::Message(13, vec![0, 0, 0]),
                Part::Message(13, vec![0, 0, 0]),
            ],
            unexpected(13),
        ),
        (
            "a proof with a byte changed",
            vec![Part::Extensions, Part::Certificate, proof(0x0403, "server", true), GOOD_END],
            Err(Fault::Proof),
        ),
        (
            "a client's proof",
            vec![Part::Extensions, Part::Certificate, proof(0x0403, "client", false), GOOD_END],
            Err(Fault::Proof),
        ),
        (
            "a proof by a scheme that we did not offer",
            vec![Part::Extensions, Part::Certificate, proof(0x0804, "server", false), GOOD_END],
            Err(Fault::Malformed),
        ),
        (
            "another end",
            vec![Part::Extensions, Part::Certificate, GOOD_PROOF, Part::Finished { spoilt: true }],
            Err(Fault::Forged),
        ),
        (
            "an empty list of certificates",
            vec![Part::Extensions, Part::Message(11, vec![0, 0, 0, 0]), GOOD_PROOF, GOOD_END],
            Err(Fault::Malformed),
        ),
        (
            "an empty signature",
            vec![
                Part::Extensions,
                Part::Certificate,
                Part::Message(15, vec![4, 3, 0, 0]),
                GOOD_END,
            ],
            Err(Fault::Proof),
        ),
    ];
    for (what, parts, expected) in table {
        let heard = world.hear(|script| script.flight = [&parts[..], &[Part::Seal]].concat());
        assert_eq!(heard, expected, "{what}");
    }
    let thief = world.hear(|script| script.key = stranger.key.serialize_der());
    assert_eq!(thief, Err(Fault::Proof));
}

#[test]
fn another_key_than_the_pinned_one_is_refused() {
    let world = World::new();
    let other = world.authority.server();
    let pins = [world.server.pin()];
    let trust = Trust { keys: &pins, ..Trust::default() };
    let settings = Settings { name: ServerName::from(NAME), trust, identity: None };
    let heard = hear(settings, Script::good(&other), AMPLE, AT_ONCE);
    assert_eq!(heard, Err(Fault::Certificate(CertificateFault::NotPinned)));
    let next = [world.server.pin(), other.pin()];
    let settings = Settings { trust: Trust { keys: &next, ..Trust::default() }, ..settings };
    assert_eq!(hear(settings, Script::good(&other), AMPLE, AT_ONCE), Ok(b"welcome".to_vec()));
}

#[test]
fn a_hello_that_is_not_what_we_asked_for_is_refused() {
    const RETRY: [u8; 32] = [
        0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11, 0xBE, 0x1D, 0x8C, 0x02, 0x1E, 0x65, 0xB8,
        0x91, 0xC2, 0xA2, 0x11, 0x16, 0x7A, 0xBB, 0x8C, 0x5E, 0x07, 0x9E, 0x09, 0xE2, 0xC8, 0xA8,
        0x33, 0x9C,
    ];
    type Change = fn(&mut Script);
    let table: &[(&str, Change, Fault)] = &[
        (
            "HelloRetryRequest",
            |script| {
                script.server_hello.random = RETRY;
                script.server_hello.extensions[1].1 = Some(vec![0, 0x1D]);
            },
            Fault::HelloRetryRequest,
        ),
        ("another suite", |script| script.server_hello.suite = 0x1302, Fault::Malformed),
        ("a session", |script| script.server_hello.session = vec![1; 32], Fault::Malformed),
        ("a long session", |script| script.server_hello.session = vec![1; 255], Fault::Malformed),
        ("compression", |script| script.server_hello.compression = 1, Fault::Malformed),
        ("SSL 3", |script| script.server_hello.version = 0x0300, Fault::Version),
        ("TLS 1.2", |script| drop(script.server_hello.extensions.remove(0)), Fault::Version),
        (
            "TLS 1.2, said in the extension",
            |script| script.server_hello.extensions[0].1 = Some(vec![3, 3]),
            Fault::Version,
        ),
        ("no key", |script| drop(script.server_hello.extensions.remove(1)), Fault::Malformed),
        ("no extensions", |script| script.server_hello.extensions.clear(), Fault::Version),
        (
            "the same extension twice",
            |script| script.server_hello.extensions.push((51, None)),
            Fault::Malformed,
        ),
        (
            "a pre-shared key that we do not have",
            |script| script.server_hello.extensions.push((41, Some(vec![0, 0]))),
            Fault::Malformed,
        ),
        (
            "a key of another group",
            |script| {
                let key = [vec![0, 0x1D], sized(2, &[1; 65])].concat();
                script.server_hello.extensions[1].1 = Some(key);
            },
            Fault::Malformed,
        ),
        (
            "a key that is no point",
            |script| {
                let key = [vec![0, 0x17], sized(2, &[4; 65])].concat();
                script.server_hello.extensions[1].1 = Some(key);
            },
            Fault::Malformed,
        ),
        (
            "an empty key",
            |script| script.server_hello.extensions[1].1 = Some(vec![0, 0x17, 0, 0]),
            Fault::Malformed,
        ),
        (
            "a message in the clear behind it",
            |script| script.behind_hello = message(8, &[0, 0]),
            Fault::Malformed,
        ),
        (
            "a hello of its own first",
            |script| script.first = record(22, &message(1, &[0; 40])),
            Fault::Unexpected(1),
        ),
        (
            "keys in the clear",
            |script| script.first = record(22, &message(24, &[0])),
            Fault::Unexpected(24),
        ),
        (
            "the end in the clear",
            |script| script.first = record(22, &message(20, &[0; 32])),
            Fault::Unexpected(20),
        ),
    ];
    let world = World::new();
    for (what, change, expected) in table {
        assert_eq!(world.hear(change), Err(*expected), "{what}");
    }
}

#[test]
fn a_handshake_with_anything_else_in_it_is_refused() {
    let request = |body: &[u8]| Part::Message(13, body.to_vec());
    let extensions = |body: &[u8]| vec![Part::Message(8, body.to_vec()), Part::Seal];
    let sealed = |kind, text: &[u8], zeros| vec![Part::Sealed(kind, text.to_vec(), zeros)];
    let table: Vec<(&str, Vec<Part>, Fault)> = vec![
        (
            "an extension that we did not ask for",
            extensions(&[0, 6, 0, 16, 0, 2, 0, 0]),
            Fault::Malformed,
        ),
        ("an extension twice", extensions(&[0, 8, 0, 10, 0, 0, 0, 10, 0, 0]), Fault::Malformed),
        (
            "shorter records that we did not ask for",
            extensions(&[0, 5, 0, 1, 0, 1, 1]),
            Fault::Malformed,
        ),
        ("an empty answer about records", extensions(&[0, 4, 0, 1, 0, 0]), Fault::Malformed),
        ("extensions that are cut off", extensions(&[0, 6, 0, 0]), Fault::Malformed),
        ("extensions and more", extensions(&[0, 0, 0]), Fault::Malformed),
        ("no extensions at all", extensions(&[]), Fault::Malformed),
        ("a context", vec![Part::Extensions, request(&[1, 7, 0, 0]), Part::Seal], Fault::Malformed),
        (
            "a request that is cut off",
            vec![Part::Extensions, request(&[0]), Part::Seal],
            Fault::Malformed,
        ),
        (
            "a certificate with a context",
            vec![Part::Extensions, Part::Message(11, vec![1, 7, 0, 0, 0]), Part::Seal],
            Fault::Malformed,
        ),
        (
            "new keys",
            vec![Part::Extensions, Part::Message(24, vec![0]), Part::Seal],
            Fault::Unexpected(24),
        ),
        (
            "a ticket",
            vec![Part::Extensions, Part::Message(4, vec![0; 20]), Part::Seal],
            Fault::Unexpected(4),
        ),
        (
            "another hello",
            vec![Part::Extensions, Part::Message(2, vec![0; 20]), Part::Seal],
            Fault::Unexpected(2),
        ),
        (
            "a message of an unknown type",
            vec![Part::Message(99, vec![0; 20]), Part::Seal],
            Fault::Unexpected(99),
        ),
        (
            "a message that is too long",
            vec![Part::Sealed(22, vec![8, 0xFF, 0xFF, 0xFF, 0], 0)],
            Fault::MessageTooLong(0x0100_0003),
        ),
        ("extensions in the clear", vec![Part::Extensions, Part::Bare], Fault::Unsealed),
        ("an alert in the clear", vec![Part::Raw(record(21, &[2, 40]))], Fault::Unsealed),
        ("an alert", sealed(21, &[2, 40], 0), Fault::Alert(40)),
        ("a goodbye", sealed(21, &[1, 0], 0), Fault::Alert(0)),
        ("an empty alert", sealed(21, &[], 0), Fault::Malformed),
        ("a long alert", sealed(21, &[2, 40, 2, 40], 0), Fault::Malformed),
        ("an empty handshake", sealed(22, &[], 0), Fault::Malformed),
        ("text", sealed(23, b"early", 0), Fault::UnexpectedRecord(23)),
        ("empty text", sealed(23, b"", 0), Fault::UnexpectedRecord(23)),
        ("a record that wants quiet, sealed", sealed(20, &[1], 0), Fault::UnexpectedRecord(20)),
        ("a record of type 0", sealed(0, &[1, 2, 3], 0), Fault::UnexpectedRecord(3)),
        ("zeros alone", sealed(0, &[0; 20], 3), Fault::Malformed),
        ("a sealed record without anything", sealed(NO_TYPE, &[], 0), Fault::Malformed),
        ("a record of 16 bytes", vec![Part::Raw(record(23, &[7; 16]))], Fault::Malformed),
        ("an empty record", vec![Part::Raw(record(23, &[]))], Fault::Malformed),
        ("a forged record", vec![Part::Raw(record(23, &[7; 40]))], Fault::Forged),
        (
            "the longest record, forged",
            vec![Part::Raw(record(23, &[7; (1 << 14) + 256]))],
            Fault::Forged,
        ),
        ("a longer one", vec![Part::Raw(record(23, &[7; (1 << 14) + 257]))], Fault::Malformed),
        ("a text of one byte too many", sealed(22, &[7; (1 << 14) + 1], 0), Fault::Malformed),
        ("quiet, twice in one record", vec![Part::Raw(record(20, &[1, 1]))], Fault::Malformed),
        ("no quiet", vec![Part::Raw(record(20, &[2]))], Fault::Malformed),
        ("quiet, over and over", vec![Part::Raw(record(20, &[1]).repeat(40))], Fault::Idle),
        ("no TLS", vec![Part::Raw(b"HTTP/1.1 400 Bad Request\r\n".to_vec())], Fault::NotTls),
    ];
    let world = World::new();
    for (what, parts, expected) in table {
        let change = |script: &mut Script| script.flight = parts.clone();
        assert_eq!(world.hear(change), Err(expected), "{what}");
    }
    let behind = |script: &mut Script| {
        let end = script.flight.len() - 1;
        script.flight.insert(end, Part::Message(4, vec![0; 20]));
    };
    assert_eq!(world.hear(behind), Err(Fault::Malformed), "a ticket in the record of the end");
}

#[test]
fn what_may_not_come_later_ends_the_connection() {
    let ticket = message(4, &[0; 30]);
    type Row = (&'static str, Vec<(u8, Vec<u8>)>, Fault);
    let table: Vec<Row> = vec![
        (
            "a request for our certificate",
            vec![(22, message(13, &[0, 0, 0]))],
            Fault::Unexpected(13),
        ),
        ("an end", vec![(22, message(20, &[0; 32]))], Fault::Unexpected(20)),
        ("a certificate", vec![(22, message(11, &[0, 0, 0, 0]))], Fault::Unexpected(11)),
        ("a hello", vec![(22, message(2, &[0; 60]))], Fault::Unexpected(2)),
        ("extensions", vec![(22, message(8, &[0, 0]))], Fault::Unexpected(8)),
        ("keys of a wrong length", vec![(22, message(24, &[0, 0]))], Fault::Malformed),
        ("keys, perhaps", vec![(22, message(24, &[2]))], Fault::Malformed),
        (
            "keys and more",
            vec![(22, [message(24, &[0]), ticket.clone()].concat())],
            Fault::Malformed,
        ),
        (
            "text sealed with old keys",
            vec![(22, message(24, &[0])), (23, b"old".to_vec())],
            Fault::Forged,
        ),
        (
            "text in the middle of a ticket",
            vec![(22, ticket[..9].to_vec()), (23, b"?".to_vec())],
            Fault::UnexpectedRecord(23),
        ),
        (
            "text in the middle of a header",
            vec![(22, ticket[..2].to_vec()), (23, b"?".to_vec())],
            Fault::UnexpectedRecord(23),
        ),
        ("tickets without end", vec![(22, ticket.repeat(40))], Fault::Idle),
        ("nothing, over and over", vec![(23, Vec::new()); 40], Fault::Idle),
        ("quiet", vec![(20, vec![1])], Fault::UnexpectedRecord(20)),
        ("an alert", vec![(21, vec![2, 80])], Fault::Alert(80)),
        ("an alert of an unknown number", vec![(21, vec![9, 250])], Fault::Alert(250)),
        ("half an alert", vec![(21, vec![2])], Fault::Malformed),
    ];
    let world = World::new();
    for (what, later, expected) in table {
        assert_eq!(world.hear(|script| script.later = later.clone()), Err(expected), "{what}");
    }
    let goodbye =
        world.hear(|script| script.later = vec![(21, vec![1, 0]), (23, b"more".to_vec())]);
    assert_eq!(goodbye, Ok(Vec::new()));
    let bare = world.hear(|script| {
        script.flight.push(Part::Raw(record(21, &[1, 0])));
    });
    assert_eq!(bare, Err(Fault::Unsealed), "a goodbye by somebody else");
}

#[test]
fn an_end_in_the_middle_is_no_end() {
    let world = World::new();
    let (pins, authorities) = ([world.server.pin()], [world.authority.trusted()]);
    let trust = Trust { keys: &pins, authorities: &authorities };
    let settings = Settings { name: ServerName::from(NAME), trust, identity: None };
    let cut = Err(Fault::Network(ErrorKind::ConnectionReset));
    for len in 0..2_000 {
        let script = Script { len, ..Script::good(&world.server) };
        let heard = hear(settings, script, AMPLE, AT_ONCE);
        if heard != cut {
            assert!(len > 600, "{len}");
            assert_eq!(heard, Ok(b"welcome".to_vec()));
            return;
        }
    }
    panic!("it is never whole");
}

#[test]
fn garbage_is_no_tls() {
    let world = World::new();
    let table: &[(&[u8], Fault)] = &[
        (b"\x20\x02\x00\x00", Fault::Network(ErrorKind::ConnectionReset)),
        (b"\x20\x02\x00\x00\x00", Fault::NotTls),
        (b"HTTP/1.1 400 Bad Request\r\n", Fault::NotTls),
        (b"\x15\x03\x01\x00\x02\x02\x28", Fault::Alert(40)),
        (b"\x15\x03\x01\x00\x02\x01\x00", Fault::Alert(0)),
        (b"\x16\x03\x03\x00\x00", Fault::Malformed),
        (b"\x17\x03\x03\x00\x30", Fault::UnexpectedRecord(23)),
        (b"\x16\x03\x03\xFF\xFF", Fault::Malformed),
        (b"\xFF\xFF\xFF\xFF\xFF", Fault::NotTls),
    ];
    for (bytes, expected) in table {
        let heard = world.hear(|script| {
            script.first = bytes.to_vec();
            script.len = bytes.len();
        });
        assert_eq!(heard, Err(*expected), "{bytes:?}");
    }
}

#[test]
fn a_buffer_that_is_too_small_is_named() {
    let world = World::new();
    let pins = [world.server.pin()];
    let trust = Trust { keys: &pins, ..Trust::default() };
    let settings = Settings { name: ServerName::from(NAME), trust, identity: None };
    let script = Script::good(&world.server);
    let hear = |receive, transmit| hear(settings, script.clone(), (receive, transmit), AT_ONCE);
    let enough = settings.transmit_min();
    assert_eq!(hear(2_000, enough), Ok(b"welcome".to_vec()));
    assert_eq!(hear(2_000, enough - 1), Err(Fault::TransmitTooSmall));
    assert_eq!(hear(2_000, 0), Err(Fault::TransmitTooSmall));
    assert!(matches!(hear(400, enough), Err(Fault::RecordTooLong(401..))));
    for receive in 0..5 {
        assert_eq!(hear(receive, enough), Err(Fault::RecordTooLong(5)));
    }
}
