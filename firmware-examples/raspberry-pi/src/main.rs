//! A sensor on Linux: publishes a temperature every second at QoS 1, and prints what comes to
//! `sensors/commands`. Usage: raspberry-pi [HOST:PORT] [CLIENT-ID]

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use embedded_io::ErrorType;
use martlet_codec::reason::QoS;
use martlet_device::client::Client;
use martlet_device::event::Event;
use martlet_device::io::blocking::{Clock, Driver, Network};
use martlet_device::settings::{Memory, Publication, Settings, Subscription, WhenFull};

fn main() -> Result<(), martlet_device::error::Error> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:1883".into());
    let client_id = arguments.next().unwrap_or_else(|| "raspberry-pi".into());

    // All the memory that the client will ever use for packets.
    let (mut receive, mut outbox) = ([0; 1024], [0; 4096]);
    let memory = Memory { receive: &mut receive, outbox: &mut outbox };
    let commands = [Subscription { filter: "sensors/commands", qos: QoS::ExactlyOnce }];
    let settings = Settings {
        subscriptions: &commands,
        will: Some(Publication::new("sensors/state", b"lost").retained()),
        when_full: WhenFull::DropOldest,
        ..Settings::new(&client_id)
    };
    let client = Client::new(settings, memory)?;
    let mut driver = Driver::new(client, Tcp { address, stream: None }, Started::now());

    let mut reading_at = Instant::now();
    loop {
        if Instant::now() >= reading_at {
            reading_at += Duration::from_secs(1);
            let text = format!("{:.1}", temperature());
            let reading = Publication::new("sensors/temperature", text.as_bytes());
            driver.client().publish(&reading.qos(QoS::AtLeastOnce))?;
        }
        match driver.poll() {
            Ok(Some(Event::Connected { .. })) => {
                println!("connected");
                let state = Publication::new("sensors/state", b"here").retained();
                driver.client().publish(&state.qos(QoS::AtLeastOnce))?;
            }
            Ok(Some(Event::Message(message))) => {
                println!("command: {}", String::from_utf8_lossy(message.payload));
            }
            Ok(Some(Event::Published(id))) => println!("reading {id} is with the broker"),
            Ok(_) => {}
            Err(error) => println!("{error}; trying again"),
        }
        if !driver.client().is_attached() {
            std::thread::sleep(READ_FOR); // Connected, the driver itself waits as long for bytes.
        }
    }
}

/// The processor's temperature in degrees Celsius, or one that swings where Linux shows none.
fn temperature() -> f32 {
    let zone = std::fs::read_to_string("/sys/class/thermal/thermal_zone0/temp");
    let measured = zone.ok().and_then(|text| text.trim().parse::<f32>().ok());
    let seconds = std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs() % 60);
    measured.map_or(20.0 + seconds as f32 / 10.0, |thousandths| thousandths / 1000.0)
}

/// How long the driver waits for bytes before it looks at the clock again.
const READ_FOR: Duration = Duration::from_millis(100);
/// How long a broker may refuse to take bytes.
const WRITE_FOR: Duration = Duration::from_secs(20);

/// TCP of the standard library.
struct Tcp {
    address: String,
    stream: Option<TcpStream>,
}

impl Tcp {
    fn stream(&mut self) -> io::Result<&mut TcpStream> {
        self.stream.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl ErrorType for Tcp {
    type Error = io::Error;
}

impl embedded_io::Read for Tcp {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream()?.read(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(), // So Linux says it.
            _ => error,
        })
    }
}

impl embedded_io::Write for Tcp {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream()?.flush()
    }
}

impl Network for Tcp {
    fn open(&mut self) -> io::Result<()> {
        let stream = TcpStream::connect(&self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_FOR))?;
        stream.set_write_timeout(Some(WRITE_FOR))?;
        self.stream = Some(stream);
        Ok(())
    }

    fn close(&mut self) {
        self.stream = None;
    }
}

/// The time since the program started.
struct Started(Instant);

impl Started {
    fn now() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Started {
    fn now_ms(&mut self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }

    /// The nanoseconds at which something failed differ from machine to machine.
    fn entropy(&mut self) -> u32 {
        let nanoseconds = std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.subsec_nanos());
        nanoseconds.wrapping_mul(0x9E37_79B9)
    }
}
