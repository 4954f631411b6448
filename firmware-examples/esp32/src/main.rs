//! A sensor on an ESP32 with Wi-Fi: publishes the chip's uptime every ten seconds at QoS 1, and
//! switches a lamp at QoS 2. The Wi-Fi, its password and the broker are given when it is built.

#![no_std]
#![no_main]

use embassy_executor::Spawner;
use embassy_futures::join::join3;
use embassy_futures::select::{Either, select};
use embassy_net::{Config, Stack, StackResources};
use embassy_time::{Duration, Instant, Ticker, Timer};
use esp_backtrace as _;
use esp_hal::clock::CpuClock;
use esp_hal::efuse;
use esp_hal::gpio::{Level, Output, OutputConfig};
use esp_hal::rng::Rng;
use esp_hal::timer::timg::TimerGroup;
use esp_println::println;
use esp_radio::wifi::sta::StationConfig;
use esp_radio::wifi::{
    AuthenticationMethodConfig, Config as WifiConfig, Interface, WifiController,
};
use heapless::{String, format};
use martlet_codec::reason::QoS;
use martlet_device::client::Client;
use martlet_device::event::Event;
use martlet_device::io::asynchronous::Driver;
use martlet_device::io::embassy::{EmbassyClock, Tcp};
use martlet_device::settings::{Memory, Publication, Settings, Subscription, WhenFull};

const WIFI_NAME: &str = match option_env!("WIFI_NAME") {
    Some(name) => name,
    None => "home",
};
const WIFI_PASSWORD: &str = match option_env!("WIFI_PASSWORD") {
    Some(word) => word,
    None => "",
};
const BROKER: &str = match option_env!("BROKER") {
    Some(host) => host,
    None => "192.168.1.10",
};

esp_bootloader_esp_idf::esp_app_desc!();

#[esp_rtos::main]
async fn main(_spawner: Spawner) {
    let chip = esp_hal::init(esp_hal::Config::default().with_cpu_clock(CpuClock::max()));
    esp_alloc::heap_allocator!(size: 72 * 1024); // The radio's, not ours.
    esp_rtos::start(TimerGroup::new(chip.TIMG0).timer0, chip.FROM_CPU_INTR0);

    let wifi = WifiController::new(chip.WIFI, Default::default()).expect("the radio is there");
    let lamp = Output::new(chip.GPIO4, Level::Low, OutputConfig::default());
    let seed = Rng::new().random();

    let mut resources = StackResources::<4>::new();
    let (stack, mut network) = embassy_net::new(
        Interface::station(),
        Config::dhcpv4(Default::default()),
        &mut resources,
        u64::from(seed),
    );
    join3(network.run(), stay_in_range(wifi), sensor(stack, lamp, seed)).await;
}

/// Joins the Wi-Fi, and joins it again whenever it is lost.
async fn stay_in_range(mut wifi: WifiController<'_>) {
    let password = AuthenticationMethodConfig::Wpa2Personal(
        WIFI_PASSWORD.try_into().expect("a Wi-Fi password has at most 64 characters"),
    );
    let name = WIFI_NAME.try_into().expect("a Wi-Fi name has at most 32 characters");
    let station = StationConfig::default().with_ssid(name).with_authentication(password);
    wifi.set_config(&WifiConfig::Station(station)).expect("a name and a password will do");
    loop {
        match wifi.connect_async().await {
            Ok(_) => {
                println!("in {WIFI_NAME}");
                let _ = wifi.wait_for_disconnect_async().await;
                println!("out of {WIFI_NAME}");
            }
            Err(error) => println!("{WIFI_NAME}: {error:?}"),
        }
        Timer::after_secs(1).await;
    }
}

async fn sensor(stack: Stack<'_>, mut lamp: Output<'_>, seed: u32) {
    // All the memory that the client will ever use for packets, and for its socket.
    let memory = Memory { receive: &mut [0; 512], outbox: &mut [0; 2048] };
    let (mut from, mut to) = ([0; 1024], [0; 1024]);

    let mac = efuse::base_mac_address();
    let client_id: String<24> = format!("esp32-{mac}").unwrap_or_default();
    let commands = [Subscription { filter: "esp32/lamp", qos: QoS::ExactlyOnce }];
    let settings = Settings {
        subscriptions: &commands,
        will: Some(Publication::new("esp32/state", b"lost").retained()),
        when_full: WhenFull::DropOldest,
        ..Settings::new(&client_id)
    };
    let client = Client::new(settings, memory).expect("the settings above are legal");
    let tcp = Tcp::new(stack, (&mut from, &mut to), BROKER, 1883);
    let mut driver = Driver::new(client, tcp, EmbassyClock::new(seed));

    let mut ticker = Ticker::every(Duration::from_secs(10));
    loop {
        match select(driver.next(), ticker.next()).await {
            Either::First(Ok(Event::Connected { .. })) => {
                println!("connected");
                let state = Publication::new("esp32/state", b"here").retained();
                report(driver.client().publish(&state.qos(QoS::AtLeastOnce)));
            }
            Either::First(Ok(Event::Message(message))) => {
                lamp.set_level(if message.payload == b"on" { Level::High } else { Level::Low });
            }
            Either::First(Ok(Event::Published(id))) => println!("reading {id} is with the broker"),
            Either::First(Ok(_)) => {}
            Either::First(Err(error)) => println!("{error}; trying again"),
            Either::Second(()) => {
                let uptime: String<20> =
                    format!("{}", Instant::now().as_secs()).unwrap_or_default();
                let reading = Publication::new("esp32/uptime", uptime.as_bytes());
                report(driver.client().publish(&reading.qos(QoS::AtLeastOnce)));
            }
        }
    }
}

/// An outbox that is full drops its oldest message; only a topic that is none ends here.
fn report<T>(published: Result<T, martlet_device::error::Error>) {
    if let Err(error) = published {
        println!("not published: {error}");
    }
}
