//! martlet-device with its blocking driver.

#![no_std]
#![no_main]

use core::sync::atomic::AtomicU8;

use embassy_time::Instant;
use embedded_io::{ErrorKind, ErrorType, Read, Write};
use martlet_codec::reason::QoS;
use martlet_device::client::Client;
use martlet_device::event::Event;
use martlet_device::io::blocking::{Clock, Driver, Network};
use martlet_device::settings::{Memory, Publication, Settings, Subscription};
use panic_halt as _;
use size::{give, measure, obey, take};

#[cortex_m_rt::entry]
fn main() -> ! {
    let memory = Memory { receive: &mut [0; 1024], outbox: &mut [0; 1024] };
    let commands = [Subscription { filter: "lamp", qos: QoS::AtLeastOnce }];
    let settings = Settings { subscriptions: &commands, ..Settings::new("device") };
    let Ok(client) = Client::new(settings, memory) else { loop {} };
    let mut driver = Driver::new(client, Line, Ticks);
    let mut due = 0;
    loop {
        if Instant::now().as_millis() >= due {
            due += 1_000;
            let reading = measure();
            let reading = Publication::new("sensor", &reading).qos(QoS::AtLeastOnce);
            let _ = driver.client().publish(&reading);
        }
        if let Ok(Some(Event::Message(message))) = driver.poll() {
            obey(message.payload);
        }
    }
}

/// What client and driver take besides the buffers, for the table.
#[used]
static STATE: [AtomicU8; size_of::<Driver<'static, Line, Ticks>>()] =
    [const { AtomicU8::new(0) }; size_of::<Driver<'static, Line, Ticks>>()];

struct Line;

impl ErrorType for Line {
    type Error = ErrorKind;
}

impl Read for Line {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize, ErrorKind> {
        let count = take(bytes);
        if count == 0 { Err(ErrorKind::TimedOut) } else { Ok(count) }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        Ok(give(bytes))
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl Network for Line {
    fn open(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }

    fn close(&mut self) {}
}

struct Ticks;

impl Clock for Ticks {
    fn now_ms(&mut self) -> u64 {
        Instant::now().as_millis()
    }

    fn entropy(&mut self) -> u32 {
        u32::from_le_bytes(measure())
    }
}
