//! A sensor on a Cortex-M3 with Ethernet: publishes a reading ten times a second at QoS 1, obeys
//! numbered commands at QoS 2, and loses and repeats none of them, whatever happens to the broker,
//! to the network, or to itself. With the argument `tls` it says all that over TLS. How it ended is
//! its exit status.

#![no_std]
#![no_main]

mod clock;
mod ethernet;
mod kept;
mod secret;

use core::cell::Cell;
use core::fmt::Write;

use embassy_executor::Spawner;
use embassy_futures::join::join;
use embassy_futures::select::{Either, select};
use embassy_net::{Config, Ipv4Address, Ipv4Cidr, Stack, StackResources, StaticConfigV4};
use embassy_time::{Duration, Ticker};
use heapless::{String, Vec};
use martlet_codec::reason::QoS;
use martlet_device::client::Client;
use martlet_device::event::Event;
use martlet_device::io::asynchronous::{Driver, Network};
use martlet_device::io::embassy::{EmbassyClock, Tcp};
use martlet_device::settings::{Backoff, Memory, Publication, Settings, Subscription};
use martlet_device::tls::asynchronous::Tls;
use martlet_device::tls::settings::Buffers;
use semihosting::{println, process};

use crate::ethernet::Ethernet;
use crate::kept::{Kept, Numbers};

/// This machine, as seen from QEMU's.
const BROKER: &str = "10.0.2.2";

#[embassy_executor::main]
async fn main(_spawner: Spawner) {
    clock::start();
    let address = Ipv4Cidr::new(Ipv4Address::new(10, 0, 2, 15), 24);
    let config = StaticConfigV4 { address, gateway: None, dns_servers: Vec::new() };
    let mut resources = StackResources::<2>::new();
    let (stack, mut network) =
        embassy_net::new(Ethernet::start(), Config::ipv4_static(config), &mut resources, 1);
    join(network.run(), connection(stack)).await;
}

/// The way to the broker, in the clear or not.
async fn connection(stack: Stack<'_>) {
    let (mut from, mut to) = ([0; 512], [0; 512]);
    let port = argument(|argument| argument.strip_prefix("port=")?.parse().ok());
    let tcp = Tcp::new(stack, (&mut from, &mut to), BROKER, port.unwrap_or(1883));
    if argument(|argument| (argument == "tls").then_some(())).is_some() {
        let flash = secret::Flash::read();
        let (authorities, identity) = (flash.authorities(), flash.identity());
        let memory = Buffers { receive: &mut [0; 2_100], transmit: &mut [0; 1_024] };
        let settings = secret::settings(&authorities, &identity);
        sensor(Tls::new(tcp, secret::Machine, settings, memory)).await;
    } else {
        sensor(tcp).await;
    }
}

async fn sensor(network: impl Network) {
    // All the memory that the client will ever use for packets.
    let memory = Memory { receive: &mut [0; 512], outbox: &mut [0; kept::OUTBOX] };
    let commands = [Subscription { filter: "board/command", qos: QoS::ExactlyOnce }];
    let settings = Settings {
        keep_alive_s: 2,
        response_ms: 1_000,
        subscriptions: &commands,
        will: Some(Publication::new("board/state", b"lost").retained()),
        backoff: Backoff { min_ms: 100, max_ms: 1_000 },
        ..Settings::new("emulated-board")
    };
    let mut client = Client::new(settings, memory).expect("the settings above are legal");

    let numbers = Cell::new(Numbers::default());
    let mut kept = Kept::new(&numbers);
    let restored = kept.restore(&mut client);
    println!("started, {}", if restored { "with the session of before" } else { "anew" });

    let mut driver = Driver::with_storage(client, network, EmbassyClock::new(1), kept);
    let mut ticker = Ticker::every(Duration::from_millis(100));
    let mut wish = Wish::GoOn;
    loop {
        match select(driver.next(), ticker.next()).await {
            Either::First(Ok(Event::Connected { session_present })) => {
                println!("connected, session present: {session_present}");
            }
            Either::First(Ok(Event::Message(message))) => {
                let text = core::str::from_utf8(message.payload).unwrap_or_default();
                let command = String::<32>::try_from(text).unwrap_or_default();
                wish = obey(driver.client(), &numbers, &command);
            }
            Either::First(Ok(Event::Disconnected)) => end(driver.client(), numbers.get()),
            Either::First(Ok(_)) => {}
            Either::First(Err(error)) => println!("{error}; trying again"),
            Either::Second(()) => match wish {
                Wish::GoOn => measure(driver.client(), &numbers),
                Wish::Reset => cortex_m::peripheral::SCB::sys_reset(),
                Wish::End if driver.client().outstanding() == 0 => driver.client().disconnect(),
                Wish::End => {}
            },
        }
    }
}

/// What the board is to do next.
enum Wish {
    GoOn,
    Reset,
    End,
}

/// Readings under way beyond which the sensor waits, so that the outbox has room for answers.
const READINGS_MAX: usize = 40;

/// One reading more, of a thermometer that the emulated board has not.
fn measure(client: &mut Client<'_>, numbers: &Cell<Numbers>) {
    let Numbers { reading, command } = numbers.get();
    let mut text = String::<24>::new();
    let written = write!(text, "{reading} {}.{}", 20 + reading / 10 % 5, reading % 10);
    let reading_text = Publication::new("board/reading", text.as_bytes()).qos(QoS::AtLeastOnce);
    if client.outstanding() < READINGS_MAX
        && written.is_ok()
        && client.publish(&reading_text).is_ok()
    {
        numbers.set(Numbers { reading: reading + 1, command });
    }
}

/// A command is a number, one more than that of the last one, and a word. It is answered in the
/// same breath: the answer and the number are kept together with the command's acknowledgement.
fn obey(client: &mut Client<'_>, numbers: &Cell<Numbers>, text: &str) -> Wish {
    let Numbers { reading, command } = numbers.get();
    println!("command {text}");
    let (number, word) = text.split_once(' ').unwrap_or_default();
    if number.parse() != Ok(command + 1) {
        println!("after command {command}: one was lost, or came twice");
        process::exit(2);
    }
    numbers.set(Numbers { reading, command: command + 1 });
    let answer = Publication::new("board/done", text.as_bytes()).qos(QoS::ExactlyOnce);
    client.publish(&answer).expect("readings leave room for answers");
    match word {
        "reset" => Wish::Reset,
        "end" => Wish::End,
        _ => Wish::GoOn,
    }
}

fn end(client: &mut Client<'_>, numbers: Numbers) -> ! {
    let Numbers { reading, command } = numbers;
    println!("ended after {reading} readings and {command} commands");
    let lost = client.counters().dropped + client.counters().unseen;
    process::exit(i32::from(lost > 0))
}

/// What the first of the arguments says that says something of it.
fn argument<T>(says: impl Fn(&str) -> Option<T>) -> Option<T> {
    let arguments = semihosting::experimental::env::args::<64>();
    let mut arguments = arguments.iter().flatten().filter_map(Result::ok);
    arguments.find_map(says)
}
