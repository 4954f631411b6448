//! A sensor on an STM32 with Ethernet: says every ten seconds at QoS 1 whether its button is
//! pressed, and switches a lamp at QoS 2. The broker is given when it is built.

#![no_std]
#![no_main]

use defmt::{info, warn};
use defmt_rtt as _;
use embassy_executor::Spawner;
use embassy_futures::join::join;
use embassy_futures::select::{Either, select};
use embassy_net::{Config as NetConfig, Stack, StackResources};
use embassy_stm32::eth::{self, Ethernet, PacketQueue};
use embassy_stm32::gpio::{Input, Level, Output, Pull, Speed};
use embassy_stm32::rcc::{
    AHBPrescaler, APBPrescaler, Hse, HseMode, Pll, PllMul, PllPDiv, PllPreDiv, PllQDiv, PllSource,
    Sysclk,
};
use embassy_stm32::rng::{self, Rng};
use embassy_stm32::time::Hertz;
use embassy_stm32::{Config, bind_interrupts, peripherals, uid};
use embassy_time::{Duration, Ticker};
use martlet_codec::reason::QoS;
use martlet_device::client::Client;
use martlet_device::event::Event;
use martlet_device::io::asynchronous::Driver;
use martlet_device::io::embassy::{EmbassyClock, Tcp};
use martlet_device::settings::{Memory, Publication, Settings, Subscription, WhenFull};
use panic_probe as _;
use static_cell::ConstStaticCell;

bind_interrupts!(struct Interrupts {
    ETH => eth::InterruptHandler;
    HASH_RNG => rng::InterruptHandler<peripherals::RNG>;
});

const BROKER: &str = match option_env!("BROKER") {
    Some(host) => host,
    None => "192.168.1.10",
};

/// Frames that come and go. The Ethernet controller writes to them by itself.
static FRAMES: ConstStaticCell<PacketQueue<4, 4>> = ConstStaticCell::new(PacketQueue::new());

#[embassy_executor::main]
async fn main(_spawner: Spawner) {
    let chip = embassy_stm32::init(clocks());
    let button = Input::new(chip.PC13, Pull::Down);
    let lamp = Output::new(chip.PB7, Level::Low, Speed::Low);
    let seed = Rng::new(chip.RNG, Interrupts).next_u64();

    // Locally administered, and as unique as the chip is.
    let [a, b, c, d, ..] = uid::uid();
    let device = Ethernet::new(
        FRAMES.take(),
        chip.ETH,
        Interrupts,
        chip.PA1,
        chip.PA7,
        chip.PC4,
        chip.PC5,
        chip.PG13,
        chip.PB13,
        chip.PG11,
        [2, 0, a, b, c, d],
        chip.ETH_SMA,
        chip.PA2,
        chip.PC1,
    );
    let mut resources = StackResources::<4>::new();
    let (stack, mut network) =
        embassy_net::new(device, NetConfig::dhcpv4(Default::default()), &mut resources, seed);
    join(network.run(), sensor(stack, button, lamp, seed as u32)).await;
}

async fn sensor(stack: Stack<'_>, button: Input<'_>, mut lamp: Output<'_>, seed: u32) {
    // All the memory that the client will ever use for packets, and for its socket.
    let memory = Memory { receive: &mut [0; 512], outbox: &mut [0; 2048] };
    let (mut from, mut to) = ([0; 1024], [0; 1024]);
    let commands = [Subscription { filter: "stm32/lamp", qos: QoS::ExactlyOnce }];
    let settings = Settings {
        subscriptions: &commands,
        will: Some(Publication::new("stm32/state", b"lost").retained()),
        when_full: WhenFull::DropOldest,
        ..Settings::new(uid::uid_hex())
    };
    let client = Client::new(settings, memory).expect("the settings above are legal");
    let tcp = Tcp::new(stack, (&mut from, &mut to), BROKER, 1883);
    let mut driver = Driver::new(client, tcp, EmbassyClock::new(seed));

    let mut ticker = Ticker::every(Duration::from_secs(10));
    loop {
        match select(driver.next(), ticker.next()).await {
            Either::First(Ok(Event::Connected { .. })) => info!("connected"),
            Either::First(Ok(Event::Message(message))) => {
                lamp.set_level(if message.payload == b"on" { Level::High } else { Level::Low });
            }
            Either::First(Ok(Event::Published(id))) => {
                info!("reading {} is with the broker", id.get());
            }
            Either::First(Ok(_)) => {}
            Either::First(Err(error)) => warn!("{}; trying again", defmt::Display2Format(&error)),
            Either::Second(()) => {
                let reading = if button.is_high() { "pressed" } else { "released" };
                let reading = Publication::new("stm32/button", reading.as_bytes());
                let published = driver.client().publish(&reading.qos(QoS::AtLeastOnce));
                published.expect("the topic is one, and what is full drops its oldest");
            }
        }
    }
}

/// 168 MHz, and the 48 MHz without which there are no random numbers, from the debugger's 8 MHz.
fn clocks() -> Config {
    let mut config = Config::default();
    config.rcc.hse = Some(Hse { freq: Hertz::mhz(8), mode: HseMode::Bypass });
    config.rcc.pll_src = PllSource::HSE;
    config.rcc.pll = Some(Pll {
        prediv: PllPreDiv::DIV4,
        mul: PllMul::MUL168,
        divp: Some(PllPDiv::DIV2),
        divq: Some(PllQDiv::DIV7),
        divr: None,
    });
    config.rcc.ahb_pre = AHBPrescaler::DIV1;
    config.rcc.apb1_pre = APBPrescaler::DIV4;
    config.rcc.apb2_pre = APBPrescaler::DIV2;
    config.rcc.sys = Sysclk::PLL1_P;
    config
}
