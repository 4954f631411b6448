//! A server that keeps the rules, and somebody who changes bytes of it: before they are sealed,
//! with its keys, and after it.

use std::env;

use embedded_io_async::Read;
use martlet_device::io::asynchronous::Network;
use martlet_device::tls::settings::{ServerName, Settings, Trust};

use crate::cheat::{Cheat, Part, Script, message};
use crate::pki::{NAME, Pair};
use crate::wire::{AT_ONCE, Peer, Wire, client, random, wait_for};

/// `TEST_SPOILS=50000` is more.
const ROUNDS: usize = 1_500;

/// Bytes that are changed, left out or put in anywhere, before they are sealed or after it.
#[test]
fn nothing_that_comes_makes_it_panic() {
    let authority = Pair::authority("ours");
    let server = authority.server();
    let (pins, authorities) = ([server.pin()], [authority.trusted()]);
    let trust = Trust { keys: &pins, authorities: &authorities };
    let settings = Settings { name: ServerName::from(NAME), trust, identity: None };
    let mut state = 0x2545_F491_4F6C_DD1D;
    let mut refused = 0;
    let rounds = env::var("TEST_SPOILS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    for _ in 0..rounds {
        let script = spoil(Script::good(&server), &mut state);
        let mut wire = Wire::new(Spoiler(Cheat::new(script), random(&mut state)), AT_ONCE);
        wire.ends = true;
        let mut client = client(&mut wire, settings, (1_500, settings.transmit_min()));
        let opened = wait_for(client.open()).expect("it closes");
        let mut bytes = [0; 64];
        let read = wait_for(client.read(&mut bytes)).expect("it closes");
        refused += usize::from(opened.is_err());
        if opened.is_err() {
            assert!(read.is_err());
        }
    }
    assert!(refused > rounds / 3, "{refused}");
}

/// Changes what is sealed.
fn spoil(mut script: Script, state: &mut u64) -> Script {
    let list = script.list();
    for part in &mut script.flight {
        let mut body = match part {
            Part::Certificate => list.clone(),
            Part::Extensions => vec![0, 0],
            _ => continue,
        };
        if random(state).is_multiple_of(3) {
            let kind = if *part == Part::Certificate { 11 } else { 8 };
            spoil_bytes(&mut body, state);
            *part = Part::Message(kind, body);
        }
    }
    for _ in 0..random(state) % 4 {
        let mut text = message([4, 24, 11, 13][random(state) as usize % 4], &[0, 1, 0, 0, 0, 0]);
        spoil_bytes(&mut text, state);
        let kind = [20, 21, 22, 23][random(state) as usize % 4];
        script.later.insert(0, (kind, text));
    }
    script
}

fn spoil_bytes(bytes: &mut Vec<u8>, state: &mut u64) {
    for _ in 0..=random(state) % 3 {
        let at = random(state) as usize % (bytes.len() + 1);
        match random(state) % 4 {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random(state) as u8),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = [0, 1, 0x7F, 0xFF, random(state) as u8][random(state) as usize % 5];
                }
            }
        }
    }
}

/// Changes what is on the wire, every other time.
struct Spoiler(Cheat, u64);

impl Peer for Spoiler {
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut said = self.0.hear(bytes);
        if !said.is_empty() && random(&mut self.1).is_multiple_of(2) {
            spoil_bytes(&mut said, &mut self.1);
        }
        said
    }
}
