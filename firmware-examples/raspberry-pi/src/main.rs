//! A sensor on Linux: publishes a temperature every second at QoS 1, and prints what comes to
//! `sensors/commands`.
//!
//! Usage: raspberry-pi [HOST:PORT [CLIENT-ID [CA.crt [OWN.crt OWN.key]]]]
//!
//! With an authority's certificate (`CA.crt`) it speaks TLS; with its own besides, it shows that.

mod network;

use std::error::Error;
use std::fs::read_to_string;
use std::thread::sleep;
use std::time::{Duration, Instant, UNIX_EPOCH};

use martlet_codec::reason::QoS;
use martlet_device::client::Client;
use martlet_device::event::Event;
use martlet_device::io::blocking::Driver;
use martlet_device::settings::{Memory, Publication, Settings, Subscription, WhenFull};

use crate::network::{Link, READ_FOR, Started};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |place: usize| arguments.get(place).map(String::as_str);
    let address = argument(0).unwrap_or("127.0.0.1:1883");
    let link = match argument(2) {
        None => Link::plain(address),
        Some(authority) => Link::secret(address, authority, argument(3).zip(argument(4)))?,
    };

    // All the memory that the client will ever use for packets.
    let (mut receive, mut outbox) = ([0; 1024], [0; 4096]);
    let memory = Memory { receive: &mut receive, outbox: &mut outbox };
    let commands = [Subscription { filter: "sensors/commands", qos: QoS::ExactlyOnce }];
    let settings = Settings {
        subscriptions: &commands,
        will: Some(Publication::new("sensors/state", b"lost").retained()),
        when_full: WhenFull::DropOldest,
        ..Settings::new(argument(1).unwrap_or("raspberry-pi"))
    };
    let mut driver = Driver::new(Client::new(settings, memory)?, link, Started::now());

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
            sleep(READ_FOR); // Connected, the driver itself waits as long for bytes.
        }
    }
}

/// The processor's temperature in degrees Celsius, or one that swings where Linux shows none.
fn temperature() -> f32 {
    let zone = read_to_string("/sys/class/thermal/thermal_zone0/temp");
    let measured = zone.ok().and_then(|text| text.trim().parse::<f32>().ok());
    let seconds = UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs() % 60);
    measured.map_or(20.0 + seconds as f32 / 10.0, |thousandths| thousandths / 1000.0)
}
