//! The handshake that the program holds which measures the stack, on a chip without a server.

use std::{env, fs};

use embedded_io_async::Read;
use martlet_device::io::asynchronous::Network;
use martlet_device::tls::asynchronous::Tls;
use martlet_device::tls::settings::{Authority, Buffers, Identity, Platform, Settings, Trust};

use crate::cheat::{Cheat, Part, Script};
use crate::pki::{NAME, Pair};
use crate::wire::{AT_ONCE, NOW, Peer, Wire, wait_for};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../firmware-examples/size/src/recorded");

/// As `firmware-examples/size` has it.
struct Chip;

impl Platform for Chip {
    fn random(&mut self, bytes: &mut [u8]) {
        bytes.fill(7);
    }

    fn unix_time(&mut self) -> Option<u64> {
        Some(NOW)
    }
}

/// Says what was said once.
struct Recorded(Option<Vec<u8>>);

impl Peer for Recorded {
    fn hear(&mut self, _: &[u8]) -> Vec<u8> {
        self.0.take().unwrap_or_default()
    }
}

/// Remembers what a server says.
struct Recorder(Cheat, Vec<u8>);

impl Peer for Recorder {
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        let said = self.0.hear(bytes);
        self.1.extend(&said);
        said
    }
}

#[test]
fn what_was_recorded_is_believed_still() {
    if env::var_os("TEST_RECORD").is_some() {
        record();
    }
    let file = |name: &str| fs::read(format!("{FOLDER}/{name}")).unwrap();
    let authorities = [Authority::from_certificate(&file("authority.der")).unwrap()];
    let (certificate, key) = (file("device.der"), file("device.key.der"));
    let identity = Identity::new(&certificate, &key).unwrap();
    let trust = Trust { authorities: &authorities, ..Trust::default() };
    let settings = Settings { name: NAME.into(), trust, identity: Some(&identity) };
    let mut wire = Wire::new(Recorded(Some(file("server.bin"))), AT_ONCE);
    assert_eq!(hear(&mut wire, settings), SAID.concat());
}

const SAID: [&[u8]; 3] =
    [b"\x20\x02\x00\x00", b"\x90\x03\x00\x02\x01", b"\x32\x09\x00\x04lamp\x00\x09x"];

fn hear<P: Peer>(wire: &mut Wire<P>, settings: Settings<'_>) -> Vec<u8> {
    let buffers = Buffers { receive: &mut [0; 2_100], transmit: &mut [0; 1_024] };
    let mut client = Tls::new(wire, Chip, settings, buffers);
    wait_for(client.open()).unwrap().unwrap();
    let mut heard = Vec::new();
    while heard.len() < SAID.concat().len() {
        let mut bytes = [0; 32];
        let len = wait_for(client.read(&mut bytes)).unwrap().unwrap();
        heard.extend_from_slice(&bytes[..len]);
    }
    heard
}

/// Another one, with other keys.
fn record() {
    let authority = Pair::authority("nobody's");
    let (server, device) = (authority.server(), authority.device());
    let mut script = Script::good(&server);
    // Signatures by ecdsa_secp256r1_sha256 are asked for.
    let request = Part::Message(13, vec![0, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3]);
    script.flight.insert(1, request);
    script.later = SAID.iter().map(|said| (23, said.to_vec())).collect();
    let mut wire = Wire::new(Recorder(Cheat::new(script), Vec::new()), AT_ONCE);
    let authorities = [authority.trusted()];
    let key = device.key.serialize_der();
    let identity = Identity::new(&device.certificate, &key).unwrap();
    let trust = Trust { authorities: &authorities, ..Trust::default() };
    hear(&mut wire, Settings { name: NAME.into(), trust, identity: Some(&identity) });
    let file = |name: &str, bytes: &[u8]| fs::write(format!("{FOLDER}/{name}"), bytes).unwrap();
    file("authority.der", &authority.certificate);
    file("device.der", &device.certificate);
    file("device.key.der", &key);
    file("server.bin", &wire.peer.1);
}
