//! Servers by rustls: what a device says and hears over TLS, however the bytes come.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use embedded_io_async::{Read, Write};
use martlet_device::io::asynchronous::Network;
use martlet_device::tls::fault::{CertificateFault, Fault};
use martlet_device::tls::settings::{Identity, ServerName, Settings, Trust};
use rustls::crypto::ring::{Ticketer, default_provider, kx_group};
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion, version};

use crate::pki::{NAME, Pair, server};
use crate::wire::{
    AMPLE, AT_ONCE, Pace, Peer, TRICKLE, Wire, client, read_exactly, try_once, wait_for,
};

/// Says again what it hears.
pub(crate) struct Echo {
    connection: ServerConnection,
    /// Whether it changes its keys after each word.
    restless: bool,
    words: usize,
    pub(crate) ended: Option<rustls::Error>,
}

impl Echo {
    pub(crate) fn new(config: &Arc<ServerConfig>) -> Self {
        let connection = ServerConnection::new(config.clone()).unwrap();
        Self { connection, restless: false, words: 0, ended: None }
    }
}

impl Peer for Echo {
    fn hear(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        while !bytes.is_empty() {
            self.connection.read_tls(&mut bytes).unwrap();
            if let Err(error) = self.connection.process_new_packets() {
                self.ended.get_or_insert(error);
                break;
            }
            let mut heard = Vec::new();
            let _ = self.connection.reader().read_to_end(&mut heard);
            if !heard.is_empty() {
                if self.restless {
                    self.connection.refresh_traffic_keys().unwrap();
                }
                self.connection.writer().write_all(&heard).unwrap();
                self.words += 1;
            }
        }
        let mut said = Vec::new();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut said).unwrap();
        }
        said
    }
}

pub(crate) fn config(
    versions: &[&'static SupportedProtocolVersion],
    clients: Option<(&Pair, bool)>,
    server: &Pair,
) -> Arc<ServerConfig> {
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some((authority, required)) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from(authority.certificate.clone())).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            let verifier = if required { verifier } else { verifier.allow_unauthenticated() };
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    builder.with_single_cert(server.chain(), server.secret()).unwrap().into()
}

fn settings<'a>(trust: Trust<'a>, identity: Option<&'a Identity<'a>>) -> Settings<'a> {
    Settings { name: ServerName::from(NAME), trust, identity }
}

/// Says each of these words and hears it again.
async fn converse<P: Peer>(client: &mut crate::wire::Client<'_, P>) -> Result<(), Fault> {
    client.open().await?;
    let long: Vec<u8> = (0..5_000_u32).map(|at| at as u8).collect();
    for word in [&b"a"[..], b"word", &long, b"and another"] {
        let mut written = 0;
        while written < word.len() {
            written += client.write(&word[written..]).await?;
        }
        client.flush().await?;
        assert_eq!(read_exactly(client, word.len()).await?, word);
    }
    client.finish().await
}

#[test]
fn a_word_comes_back_however_the_bytes_come() {
    let authority = Pair::authority("ours");
    let (server, device) = (authority.server(), authority.device());
    let identity = Identity::new(&device.certificate, &device.key.serialize_der()).unwrap();
    let (pins, authorities) = ([server.pin()], [authority.trusted()]);
    let trusts = [
        Trust { keys: &pins, authorities: &[] },
        Trust { keys: &[], authorities: &authorities },
        Trust { keys: &pins, authorities: &authorities },
    ];
    let clients = [None, Some((&authority, false)), Some((&authority, true))];
    let paces = [AT_ONCE, TRICKLE, Pace { step: 7, pauses: false }];
    for (trust, asked, pace) in product(&trusts, &clients, &paces) {
        for identity in [None, Some(&identity)] {
            if asked.is_some_and(|(_, required)| required) && identity.is_none() {
                continue;
            }
            let peer = Echo::new(&config(&[&version::TLS13], asked, &server));
            let mut wire = Wire::new(peer, pace);
            let mut client = client(&mut wire, settings(trust, identity), AMPLE);
            assert_eq!(wait_for(converse(&mut client)), Some(Ok(())));
            assert_eq!(client.fault(), None);
            assert_eq!(wire.peer.ended, None);
            let shown = wire.peer.connection.peer_certificates().is_some();
            assert_eq!(shown, asked.is_some() && identity.is_some());
        }
    }
}

fn product<A: Copy, B: Copy, C: Copy>(a: &[A], b: &[B], c: &[C]) -> Vec<(A, B, C)> {
    let pairs = a.iter().flat_map(|a| b.iter().map(move |b| (*a, *b)));
    pairs.flat_map(|(a, b)| c.iter().map(move |c| (a, b, *c))).collect()
}

/// Where records are short, certificates and tickets come in many of them.
#[test]
fn a_small_buffer_is_enough_where_the_brokers_records_are_short() {
    let authority = Pair::authority("ours");
    let (server, device) = (authority.server(), authority.device());
    let identity = Identity::new(&device.certificate, &device.key.serialize_der()).unwrap();
    let authorities = [authority.trusted()];
    let settings =
        settings(Trust { authorities: &authorities, ..Trust::default() }, Some(&identity));
    for (fragment, receive) in [(32, 700), (64, 800), (512, 1_300), (1_024, 1_800)] {
        let mut config = config(&[&version::TLS13], Some((&authority, true)), &server);
        let short = Arc::get_mut(&mut config).unwrap();
        short.max_fragment_size = Some(fragment);
        short.ticketer = Ticketer::new().unwrap();
        let mut wire = Wire::new(Echo::new(&config), AT_ONCE);
        let mut client = client(&mut wire, settings, (receive, settings.transmit_min()));
        assert_eq!(wait_for(converse(&mut client)), Some(Ok(())), "{fragment}");
    }
}

#[test]
fn keys_are_changed_as_often_as_the_broker_likes() {
    let authority = Pair::authority("ours");
    let server = authority.server();
    let pins = [server.pin()];
    let mut peer = Echo::new(&config(&[&version::TLS13], None, &server));
    peer.restless = true;
    let mut wire = Wire::new(peer, TRICKLE);
    let trust = Trust { keys: &pins, ..Trust::default() };
    let mut client = client(&mut wire, settings(trust, None), AMPLE);
    assert_eq!(wait_for(converse(&mut client)), Some(Ok(())));
}

/// As a deadline does that comes again and again in the middle of a record.
#[test]
fn whoever_gives_up_at_every_byte_loses_nothing() {
    let authority = Pair::authority("ours");
    let (server, device) = (authority.server(), authority.device());
    let identity = Identity::new(&device.certificate, &device.key.serialize_der()).unwrap();
    let authorities = [authority.trusted()];
    let trust = Trust { authorities: &authorities, ..Trust::default() };
    let peer = Echo::new(&config(&[&version::TLS13], Some((&authority, true)), &server));
    let mut wire = Wire::new(peer, TRICKLE);
    let mut client = client(&mut wire, settings(trust, Some(&identity)), AMPLE);
    let word: Vec<u8> = (0..600_u32).map(|at| at as u8).collect();
    let (mut given_up, mut heard) = (0, Vec::new());
    let mut again = || given_up += 1;
    while try_once(client.open()).map(Result::unwrap).is_none() {
        again();
    }
    let mut written = 0;
    while written < word.len() {
        match try_once(client.write(&word[written..])) {
            Some(len) => written += len.unwrap(),
            None => again(),
        }
    }
    while try_once(client.flush()).map(Result::unwrap).is_none() {
        again();
    }
    while heard.len() < word.len() {
        let mut bytes = [0; 50];
        match try_once(client.read(&mut bytes)) {
            Some(len) => heard.extend_from_slice(&bytes[..len.unwrap()]),
            None => again(),
        }
    }
    assert_eq!(heard, word);
    // Hello, certificates, word and its echo, each of their bytes.
    assert!(given_up > 3 * word.len(), "{given_up}");
    assert_eq!(wire.opened, 1);
}

#[test]
fn each_says_why_it_does_not_take_the_other() {
    let authority = Pair::authority("ours");
    let other = Pair::authority("another");
    let good = authority.server();
    let strange = other.device();
    let strange = Identity::new(&strange.certificate, &strange.key.serialize_der()).unwrap();
    let ed25519 = authority.issue_with(server(), &rcgen::PKCS_ED25519);
    let authorities = [authority.trusted()];
    let others = [other.trusted()];
    let ours = Trust { authorities: &authorities, ..Trust::default() };
    let theirs = Trust { authorities: &others, ..Trust::default() };
    let tls13: &[_] = &[&version::TLS13];
    let mut x25519 = default_provider();
    x25519.kx_groups = vec![kx_group::X25519];
    let x25519 = ServerConfig::builder_with_provider(x25519.into())
        .with_protocol_versions(tls13)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(good.chain(), good.secret())
        .unwrap();
    let untrusted = Fault::Certificate(CertificateFault::Untrusted);
    let required = Some((&authority, true));
    let table = [
        (config(&[&version::TLS12], None, &good), ours, None, Fault::Alert(70), None),
        (config(tls13, None, &ed25519), ours, None, Fault::Alert(40), None),
        (x25519.into(), ours, None, Fault::Alert(40), None),
        (config(tls13, None, &good), theirs, None, untrusted, Some("UnknownCA")),
        (config(tls13, None, &good), Trust::default(), None, untrusted, Some("UnknownCA")),
        // Only when it hears an answer does the client know that it is not welcome.
        (config(tls13, required, &good), ours, None, Fault::Alert(116), None),
        (config(tls13, required, &good), ours, Some(&strange), Fault::Alert(48), None),
    ];
    for (config, trust, identity, expected, alert) in table {
        let mut wire = Wire::new(Echo::new(&config), AT_ONCE);
        let mut client = client(&mut wire, settings(trust, identity), AMPLE);
        assert_eq!(wait_for(converse(&mut client)), Some(Err(expected)));
        assert_eq!(client.fault(), Some(expected));
        let heard = wire.peer.ended.map(|error| error.to_string()).unwrap_or_default();
        assert!(alert.is_none_or(|alert| heard.contains(alert)), "{heard}");
    }
}

#[test]
fn the_broker_says_goodbye_and_the_next_connection_is_a_new_one() {
    let authority = Pair::authority("ours");
    let server = authority.server();
    let pins = [server.pin()];
    let config = config(&[&version::TLS13], None, &server);
    let mut wire = Wire::new(Leaver(Echo::new(&config), config.clone()), AT_ONCE);
    let mut client =
        client(&mut wire, settings(Trust { keys: &pins, ..Trust::default() }, None), AMPLE);
    for _ in 0..3 {
        wait_for(client.open()).unwrap().unwrap();
        wait_for(client.write(b"bye")).unwrap().unwrap();
        wait_for(client.flush()).unwrap().unwrap();
        let mut bytes = [0; 10];
        assert_eq!(wait_for(client.read(&mut bytes)), Some(Ok(3)));
        assert_eq!(wait_for(client.read(&mut bytes)), Some(Ok(0)));
        client.close();
        assert!(wait_for(client.read(&mut bytes)).unwrap().is_err());
        assert!(wait_for(client.write(b"bye")).unwrap().is_err());
        client.close();
    }
    assert_eq!(wire.opened, 3);
}

/// Says goodbye when it hears so, and begins anew at the next hello.
struct Leaver(Echo, Arc<ServerConfig>);

impl Peer for Leaver {
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        const HELLO: &[u8] = &[22, 3];
        if bytes.starts_with(HELLO) {
            self.0 = Echo::new(&self.1);
        }
        let mut said = self.0.hear(bytes);
        if !bytes.is_empty() && self.0.words > 0 {
            self.0.connection.send_close_notify();
            said.extend(self.0.hear(&[]));
        }
        said
    }
}

/// What is asked for holds for both sides.
#[test]
fn a_device_that_asks_for_short_records_sends_short_ones() {
    let authority = Pair::authority("ours");
    let server = authority.server();
    let pins = [server.pin()];
    let settings = settings(Trust { keys: &pins, ..Trust::default() }, None);
    for (receive, expected) in [(1_200, 512), (2_100, 1_024), (16_645, 3_978)] {
        let mut wire = Wire::new(Echo::new(&config(&[&version::TLS13], None, &server)), AT_ONCE);
        let mut client = client(&mut wire, settings, (receive, 4_000));
        wait_for(client.open()).unwrap().unwrap();
        assert_eq!(wait_for(client.write(&[0; 5_000])), Some(Ok(expected)));
    }
}
