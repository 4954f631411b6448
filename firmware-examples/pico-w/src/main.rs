//! A sensor on a Raspberry Pi Pico W: publishes the chip's temperature every ten seconds at QoS 1,
//! and switches the lamp on the board at QoS 2. The Wi-Fi, its password and the broker are given
//! when it is built.

#![no_std]
#![no_main]

use cyw43::{Control, JoinOptions, aligned_bytes};
use cyw43_pio::{DEFAULT_CLOCK_DIVIDER, PioSpi};
use defmt::{info, warn};
use defmt_rtt as _;
use embassy_executor::Spawner;
use embassy_futures::join::join3;
use embassy_futures::select::{Either, select};
use embassy_net::{Config, Stack, StackResources};
use embassy_rp::adc::{self, Adc};
use embassy_rp::clocks::RoscRng;
use embassy_rp::gpio::{Level, Output};
use embassy_rp::peripherals::{DMA_CH0, PIO0};
use embassy_rp::pio::{self, Pio};
use embassy_rp::{bind_interrupts, dma};
use embassy_time::{Duration, Ticker, Timer};
use heapless::{String, format};
use martlet_codec::reason::QoS;
use martlet_device::client::Client;
use martlet_device::event::Event;
use martlet_device::io::asynchronous::Driver;
use martlet_device::io::embassy::{EmbassyClock, Tcp};
use martlet_device::settings::{Memory, Publication, Settings, Subscription, WhenFull};
use panic_probe as _;

bind_interrupts!(struct Interrupts {
    ADC_IRQ_FIFO => adc::InterruptHandler;
    DMA_IRQ_0 => dma::InterruptHandler<DMA_CH0>;
    PIO0_IRQ_0 => pio::InterruptHandler<PIO0>;
});

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

#[embassy_executor::main]
async fn main(_spawner: Spawner) {
    let chip = embassy_rp::init(Default::default());

    // The radio: power, and a bus of its own kind.
    let Pio { mut common, irq0, sm0, .. } = Pio::new(chip.PIO0, Interrupts);
    let dma = dma::Channel::new(chip.DMA_CH0, Interrupts);
    let select_radio = Output::new(chip.PIN_25, Level::High);
    let bus = PioSpi::new(
        &mut common,
        sm0,
        DEFAULT_CLOCK_DIVIDER,
        irq0,
        select_radio,
        chip.PIN_24,
        chip.PIN_29,
        dma,
    );
    let power = Output::new(chip.PIN_23, Level::Low);
    let firmware = aligned_bytes!(concat!(env!("CYW43_FIRMWARE"), "/43439A0.bin"));
    let regulations = include_bytes!(concat!(env!("CYW43_FIRMWARE"), "/43439A0_clm.bin"));
    let nvram = aligned_bytes!(concat!(env!("CYW43_FIRMWARE"), "/nvram_rp2040.bin"));
    let mut radio = cyw43::State::new();
    let (device, control, runner) = cyw43::new(&mut radio, power, bus, firmware, nvram).await;

    let mut resources = StackResources::<4>::new();
    let (stack, mut network) = embassy_net::new(
        device,
        Config::dhcpv4(Default::default()),
        &mut resources,
        RoscRng.next_u64(),
    );
    let thermometer = adc::Channel::new_temp_sensor(chip.ADC_TEMP_SENSOR);
    let adc = Adc::new(chip.ADC, Interrupts, adc::Config::default());
    join3(runner.run(), network.run(), async {
        let lamp = join_wifi(control, regulations).await;
        sensor(stack, lamp, adc, thermometer).await
    })
    .await;
}

/// Joins the Wi-Fi, which the radio joins again by itself. It has the lamp, too.
async fn join_wifi<'r>(mut radio: Control<'r>, regulations: &[u8]) -> Control<'r> {
    radio.init(regulations).await;
    while let Err(error) = radio.join(WIFI_NAME, JoinOptions::new(WIFI_PASSWORD.as_bytes())).await {
        warn!("{}: {}", WIFI_NAME, defmt::Debug2Format(&error));
        Timer::after_secs(1).await;
    }
    info!("in {}", WIFI_NAME);
    radio
}

async fn sensor(
    stack: Stack<'_>,
    mut lamp: Control<'_>,
    mut adc: Adc<'_, adc::Async>,
    mut thermometer: adc::Channel<'_>,
) {
    // All the memory that the client will ever use for packets, and for its socket.
    let memory = Memory { receive: &mut [0; 512], outbox: &mut [0; 2048] };
    let (mut from, mut to) = ([0; 1024], [0; 1024]);
    let commands = [Subscription { filter: "pico/lamp", qos: QoS::ExactlyOnce }];
    let settings = Settings {
        subscriptions: &commands,
        will: Some(Publication::new("pico/state", b"lost").retained()),
        when_full: WhenFull::DropOldest,
        ..Settings::new("pico-w")
    };
    let client = Client::new(settings, memory).expect("the settings above are legal");
    let tcp = Tcp::new(stack, (&mut from, &mut to), BROKER, 1883);
    let mut driver = Driver::new(client, tcp, EmbassyClock::new(RoscRng.next_u32()));

    let mut ticker = Ticker::every(Duration::from_secs(10));
    loop {
        match select(driver.next(), ticker.next()).await {
            Either::First(Ok(Event::Connected { .. })) => info!("connected"),
            Either::First(Ok(Event::Message(message))) => {
                let on = message.payload == b"on";
                lamp.gpio_set(0, on).await;
            }
            Either::First(Ok(Event::Published(id))) => {
                info!("reading {} is with the broker", id.get())
            }
            Either::First(Ok(_)) => {}
            Either::First(Err(error)) => warn!("{}; trying again", defmt::Display2Format(&error)),
            Either::Second(()) => {
                let Ok(measured) = adc.read(&mut thermometer).await else { continue };
                let reading: String<12> = format!("{:.1}", celsius(measured)).unwrap_or_default();
                let reading = Publication::new("pico/temperature", reading.as_bytes());
                let published = driver.client().publish(&reading.qos(QoS::AtLeastOnce));
                published.expect("the topic is one, and what is full drops its oldest");
            }
        }
    }
}

/// As the data sheet has it: 0.706 V at 27 degrees, 1.721 mV less for each more; 3.3 V are 4096.
fn celsius(measured: u16) -> f32 {
    27.0 - (f32::from(measured) * 3.3 / 4096.0 - 0.706) / 0.001_721
}
