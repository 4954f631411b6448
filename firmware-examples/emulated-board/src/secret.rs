//! What TLS wants of a board: certificates in its flash, the time, and random numbers. This one has
//! none of them and asks QEMU, which has those of the machine that it runs on.

use core::ffi::CStr;

use heapless::Vec;
use martlet_device::tls::settings::{Authority, Identity, Platform, Settings, Trust};
use semihosting::experimental::{random, time::SystemTime};
use semihosting::fs::File;
use semihosting::io::Read;

/// The name in the broker's certificate.
const NAME: &str = "localhost";

/// `ca.der`, `device.der` and `device.key.der` in the folder in which QEMU was started.
pub struct Flash {
    authority: Vec<u8, 1024>,
    certificate: Vec<u8, 1024>,
    key: Vec<u8, 256>,
}

impl Flash {
    pub fn read() -> Self {
        Self {
            authority: read(c"ca.der"),
            certificate: read(c"device.der"),
            key: read(c"device.key.der"),
        }
    }

    pub fn authorities(&self) -> [Authority; 1] {
        [Authority::from_certificate(&self.authority).expect("ca.der is a certificate on P-256")]
    }

    pub fn identity(&self) -> Identity<'_> {
        Identity::new(&self.certificate, &self.key).expect("the key is that of device.der")
    }
}

pub fn settings<'a>(authorities: &'a [Authority], identity: &'a Identity<'a>) -> Settings<'a> {
    let trust = Trust { authorities, ..Trust::default() };
    Settings { name: NAME.into(), trust, identity: Some(identity) }
}

fn read<const N: usize>(name: &CStr) -> Vec<u8, N> {
    let mut bytes = Vec::new();
    let mut file = File::open(name).expect("the file is there");
    let mut part = [0; 64];
    while let Ok(len @ 1..) = file.read(&mut part) {
        bytes.extend_from_slice(&part[..len]).expect("the file is no longer than its place");
    }
    bytes
}

pub struct Machine;

impl Platform for Machine {
    fn random(&mut self, bytes: &mut [u8]) {
        random::fill_bytes(bytes).expect("QEMU has random numbers");
    }

    fn unix_time(&mut self) -> Option<u64> {
        Some(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs())
    }
}
