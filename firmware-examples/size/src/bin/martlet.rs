//! martlet-device with its asynchronous driver.

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
use panic_halt as _;
use size::{Wire, measure, obey};

#[cortex_m_rt::entry]
fn main() -> ! {
    let memory = Memory { receive: &mut [0; 1024], outbox: &mut [0; 1024] };
    let commands = [Subscription { filter: "lamp", qos: QoS::AtLeastOnce }];
    let settings = Settings { subscriptions: &commands, ..Settings::new("device") };
    let Ok(client) = Client::new(settings, memory) else { loop {} };
    let mut driver = Driver::new(client, Line(Wire), Ticks);
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

/// What client and driver take besides the buffers, for the table.
#[used]
static STATE: [AtomicU8; size_of::<Driver<'static, Line, Ticks>>()] =
    [const { AtomicU8::new(0) }; size_of::<Driver<'static, Line, Ticks>>()];

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
