//! martlet-device with its asynchronous driver and TLS, with a certificate of its own.

#![no_std]
#![no_main]

use core::sync::atomic::AtomicU8;

use embassy_futures::block_on;
use embassy_futures::select::{Either, select};
use embassy_time::{Instant, Timer};
use embedded_io_async::{ErrorType, Read, Write};
use martlet_codec::reason::QoS;
use martlet_device::client::Client;
use martlet_device::event::Event;
use martlet_device::io::asynchronous::{Clock, Driver, Network};
use martlet_device::settings::{Memory, Publication, Settings, Subscription};
use martlet_device::tls::asynchronous::Tls;
use martlet_device::tls::settings::{
    Authority, Buffers, Identity, Platform, Settings as TlsSettings, Trust,
};
use panic_halt as _;
use size::{Wire, measure, obey, recorded};

#[cortex_m_rt::entry]
fn main() -> ! {
    let memory = Memory { receive: &mut [0; 1024], outbox: &mut [0; 1024] };
    let commands = [Subscription { filter: "lamp", qos: QoS::AtLeastOnce }];
    let settings = Settings { subscriptions: &commands, ..Settings::new("device") };
    let Ok(client) = Client::new(settings, memory) else { loop {} };
    let Ok(authority) = Authority::from_certificate(recorded::AUTHORITY) else { loop {} };
    let Ok(identity) = Identity::new(recorded::CERTIFICATE, recorded::KEY) else { loop {} };
    let trust = Trust { authorities: &[authority], ..Trust::default() };
    let tls = TlsSettings { name: recorded::NAME.into(), trust, identity: Some(&identity) };
    let buffers = Buffers { receive: &mut [0; RECEIVE], transmit: &mut [0; TRANSMIT] };
    let mut driver = Driver::new(client, Tls::new(Line(Wire), Chip, tls, buffers), Ticks);
    block_on(async {
        let mut due = 0;
        loop {
            match select(driver.next(), Timer::at(Instant::from_millis(due))).await {
                Either::First(Ok(Event::Message(message))) => obey(message.payload),
                Either::First(_) => {}
                Either::Second(()) => {
                    due += 1_000;
                    let reading = measure();
                    let reading = Publication::new("sensor", &reading).qos(QoS::AtLeastOnce);
                    let _ = driver.client().publish(&reading);
                }
            }
        }
    })
}

/// What records need, with a broker whose records hold 1 KiB.
const RECEIVE: usize = 2_100;
const TRANSMIT: usize = 1_024;

/// What client, driver and TLS take besides the buffers for MQTT, for the table.
#[used]
static STATE: [AtomicU8; LEN] = [const { AtomicU8::new(0) }; LEN];
const LEN: usize = RECEIVE + TRANSMIT + size_of::<Driver<'static, Tls<Line, Chip>, Ticks>>();

struct Chip;

impl Platform for Chip {
    /// The sensor is as good as any register here.
    fn random(&mut self, bytes: &mut [u8]) {
        bytes.fill_with(|| measure()[0]);
    }

    fn unix_time(&mut self) -> Option<u64> {
        Some(Instant::now().as_secs())
    }
}

struct Line(Wire);

impl ErrorType for Line {
    type Error = core::convert::Infallible;
}

impl Read for Line {
    async fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Self::Error> {
        self.0.read(bytes).await
    }
}

impl Write for Line {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        self.0.write(bytes).await
    }

    async fn flush(&mut self) -> Result<(), Self::Error> {
        self.0.flush().await
    }
}

impl Network for Line {
    async fn open(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    fn close(&mut self) {}
}

struct Ticks;

impl Clock for Ticks {
    fn now_ms(&mut self) -> u64 {
        Instant::now().as_millis()
    }

    async fn sleep_until(&mut self, ms: u64) {
        Timer::at(Instant::from_millis(ms)).await;
    }

    fn entropy(&mut self) -> u32 {
        u32::from_le_bytes(measure())
    }
}
