//! How deep the client's calls go: a conversation with everything in it, on memory that was painted
//! before, in QEMU. The broker is a script.

#![no_std]
#![no_main]

use core::convert::Infallible;
use core::hint::black_box;

use cortex_m::register::msp;
use embassy_futures::{block_on, yield_now};
use embedded_io::{ErrorKind, ErrorType};
use martlet_codec::reason::QoS;
use martlet_device::client::Client;
use martlet_device::client::storage::Storage;
use martlet_device::event::Event;
use martlet_device::io::{asynchronous, blocking};
use martlet_device::settings::{Backoff, Memory, Publication, Settings, Subscription, WhenFull};
use martlet_device::tls::asynchronous::Tls;
use martlet_device::tls::settings::{
    Authority, Buffers, Identity, Platform, Settings as TlsSettings, Trust,
};
use panic_halt as _;
use semihosting::{println, process};
use size::recorded;

/// More than anybody needs.
const PAINTED: u32 = 32 * 1024;
const PAINT: u32 = 0xA5A5_5A5A;
/// How often something is published in a conversation, and the script is played.
const ROUNDS: usize = 400;

#[cortex_m_rt::entry]
fn main() -> ! {
    let mut memory = [[0; 160]; 2];
    let mut driver =
        blocking::Driver::with_storage(client(&mut memory), Script::new(), Ticks(0), Kept);
    let mut heard = 0;
    let polls = depth(&mut || {
        for _ in 0..ROUNDS {
            publish(driver.client());
            heard += u32::from(matches!(black_box(driver.poll()), Ok(Some(Event::Message(_)))));
        }
    });
    driver.client().disconnect();
    println!("blocking {polls}");

    let mut memory = [[0; 160]; 2];
    let client = client(&mut memory);
    let mut driver = asynchronous::Driver::with_storage(client, Script::new(), Ticks(0), Kept);
    let futures = depth(&mut || {
        for _ in 0..ROUNDS {
            publish(driver.client());
            let event = block_on(driver.next());
            heard += u32::from(matches!(black_box(event), Ok(Event::Message(_))));
        }
    });
    println!("asynchronous {futures}");
    println!("tls {}", handshake());
    // Pieces of a message are heard by both.
    process::exit(if heard > 20 { 0 } else { 1 })
}

/// A whole handshake with certificates on both sides, and a message behind it.
fn handshake() -> u32 {
    let mut memory = [[0; 160]; 2];
    let authority = Authority::from_certificate(recorded::AUTHORITY);
    let authorities = [authority.unwrap_or_else(|_| process::exit(3))];
    let identity = Identity::new(recorded::CERTIFICATE, recorded::KEY);
    let identity = identity.unwrap_or_else(|_| process::exit(3));
    let trust = Trust { authorities: &authorities, ..Trust::default() };
    let settings = TlsSettings { name: recorded::NAME.into(), trust, identity: Some(&identity) };
    let buffers = Buffers { receive: &mut [0; 2_100], transmit: &mut [0; 1_024] };
    let network = Tls::new(Tape(recorded::SERVER), Chip, settings, buffers);
    let mut driver =
        asynchronous::Driver::with_storage(client(&mut memory), network, Ticks(0), Kept);
    depth(&mut || {
        loop {
            match block_on(driver.next()) {
                Ok(Event::Message(_)) => break,
                Ok(_) => {}
                Err(_) => process::exit(4),
            }
        }
    })
}

/// Bytes of stack that this takes. What it works on lies above them.
#[inline(never)]
fn depth(talk: &mut dyn FnMut()) -> u32 {
    let top = msp::read();
    let bottom = top - PAINTED;
    for word in (bottom..top - 32).step_by(4) {
        // SAFETY: below the stack's end, and nobody interrupts.
        unsafe { (word as *mut u32).write_volatile(PAINT) };
    }
    talk();
    // SAFETY: as above.
    let painted = |word: &u32| unsafe { (*word as *const u32).read_volatile() } == PAINT;
    let untouched = (bottom..top).step_by(4).take_while(painted).count() as u32;
    top - bottom - 4 * untouched
}

const SETTINGS: Settings<'_> = Settings {
    subscriptions: &[Subscription { filter: "lamp/+", qos: QoS::ExactlyOnce }],
    when_full: WhenFull::DropOldest,
    will: Some(Publication::new("sensor/state", b"lost").retained()),
    user_name: Some("garden"),
    password: Some(b"secret"),
    backoff: Backoff { min_ms: 1, max_ms: 8 },
    ..Settings::new("device")
};

/// What the broker says, one part to a read: CONNACK, SUBACK, acknowledgements, a message in
/// pieces, nonsense; then, on the next connection, the rest, and nothing more.
const SCRIPT: &[&[u8]] = &[
    b"\x20\x02\x00\x00",
    b"\x90\x03\x00\x02\x02\x40\x02\x00\x03\x50\x02\x00\x04\x70\x02\x00\x04",
    b"\x34\xD2\x01\x00\x06lamp/a\x00\x09",
    &[b'.'; 100],
    &[b'.'; 100],
    b"\x62\x02\x00\x09\xD0\x00\x90\x03\x00\x05\x00\xB0\x02\x00\x06",
    b"\x00\x00",
    b"\x20\x02\x01\x00",
    b"\x50\x02\x00\x04\x30\x08\x00\x06lamp/b",
    b"",
];

/// Everything that a program may ask of a client.
fn publish(client: &mut Client<'_>) {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let _ = client.publish(&Publication::new("sensor", b"21.5 degrees").qos(qos));
        let _ = client.publish_lent(&Publication::new("sensor", &[7; 100]).qos(qos));
    }
    let _ = client.subscribe(&[Subscription { filter: "$share/a/b", qos: QoS::AtMostOnce }]);
    let _ = client.unsubscribe(&["lamp/+", "lamp/#"]);
    client.connect();
}

fn client(memory: &mut [[u8; 160]; 2]) -> Client<'_> {
    let [receive, outbox] = memory;
    Client::new(SETTINGS, Memory { receive, outbox }).unwrap_or_else(|_| process::exit(2))
}

/// Forgets, but only after it was given all.
struct Kept;

impl Storage for Kept {
    type Error = Infallible;

    fn save(&mut self, parts: &[&[u8]]) -> Result<(), Infallible> {
        black_box(parts);
        Ok(())
    }

    fn load(&mut self, _: usize, _: &mut [u8]) -> Result<usize, Infallible> {
        Ok(0)
    }
}

/// The script, over and over.
struct Script {
    parts: core::iter::Cycle<core::slice::Iter<'static, &'static [u8]>>,
}

impl Script {
    fn new() -> Self {
        Self { parts: SCRIPT.iter().cycle() }
    }

    fn next(&mut self, bytes: &mut [u8]) -> usize {
        let part = self.parts.next().copied().unwrap_or_default();
        bytes.iter_mut().zip(part).map(|(to, from)| *to = *from).count()
    }
}

impl ErrorType for Script {
    type Error = ErrorKind;
}

impl embedded_io::Read for Script {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize, ErrorKind> {
        Ok(self.next(bytes))
    }
}

impl embedded_io::Write for Script {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        Ok(black_box(bytes).len())
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl embedded_io_async::Read for Script {
    async fn read(&mut self, bytes: &mut [u8]) -> Result<usize, ErrorKind> {
        yield_now().await;
        Ok(self.next(bytes))
    }
}

impl embedded_io_async::Write for Script {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        yield_now().await;
        Ok(black_box(bytes).len())
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl blocking::Network for Script {
    fn open(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }

    fn close(&mut self) {}
}

impl asynchronous::Network for Script {
    async fn open(&mut self) -> Result<(), ErrorKind> {
        yield_now().await;
        Ok(())
    }

    fn close(&mut self) {}
}

/// What a server has said once.
struct Tape(&'static [u8]);

impl ErrorType for Tape {
    type Error = ErrorKind;
}

impl embedded_io_async::Read for Tape {
    async fn read(&mut self, bytes: &mut [u8]) -> Result<usize, ErrorKind> {
        let len = bytes.iter_mut().zip(self.0).map(|(to, from)| *to = *from).count();
        self.0 = self.0.get(len..).unwrap_or_default();
        Ok(len)
    }
}

impl embedded_io_async::Write for Tape {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        Ok(black_box(bytes).len())
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl asynchronous::Network for Tape {
    async fn open(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }

    fn close(&mut self) {}
}

/// The device to whom it was said.
struct Chip;

impl Platform for Chip {
    fn random(&mut self, bytes: &mut [u8]) {
        bytes.fill(recorded::RANDOM);
    }

    fn unix_time(&mut self) -> Option<u64> {
        Some(recorded::NOW)
    }
}

/// A tenth of a second each time that somebody looks.
struct Ticks(u64);

impl blocking::Clock for Ticks {
    fn now_ms(&mut self) -> u64 {
        self.0 += 100;
        self.0
    }

    fn entropy(&mut self) -> u32 {
        self.0 as u32
    }
}

impl asynchronous::Clock for Ticks {
    fn now_ms(&mut self) -> u64 {
        blocking::Clock::now_ms(self)
    }

    async fn sleep_until(&mut self, ms: u64) {
        while self.0 < ms {
            self.0 += 10;
            yield_now().await;
        }
    }

    fn entropy(&mut self) -> u32 {
        self.0 as u32
    }
}
