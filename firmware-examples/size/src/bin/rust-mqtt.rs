//! rust-mqtt, doing the same.

#![no_std]
#![no_main]

use core::num::NonZero;

use embassy_futures::block_on;
use embassy_futures::select::{Either, select};
use embassy_time::{Instant, Timer};
use panic_halt as _;
use rust_mqtt::Bytes;
use rust_mqtt::buffer::BumpBuffer;
use rust_mqtt::client::Client;
use rust_mqtt::client::event::Event;
use rust_mqtt::client::options::{
    ConnectOptions, PublicationOptions, SubscriptionOptions, TopicReference,
};
use rust_mqtt::config::KeepAlive;
use rust_mqtt::types::{MqttString, TopicFilter, TopicName};
use size::{Wire, measure, obey};

#[cortex_m_rt::entry]
fn main() -> ! {
    let mut memory = [0; 1024];
    let mut buffer = BumpBuffer::new(&mut memory);
    let text = |text| MqttString::from_str(text).ok();
    let (Some(id), Some(sensor), Some(lamp)) = (text("device"), text("sensor"), text("lamp"))
    else {
        loop {}
    };
    let Some(sensor) = TopicName::new(sensor) else { loop {} };
    let Some(lamp) = TopicFilter::new(lamp) else { loop {} };
    let reading_to = PublicationOptions::new(TopicReference::Name(sensor)).at_least_once();
    let mut client = Client::<'_, '_, _, _, 1, 4, 4, 0, 0, 0, 0>::new(&mut buffer);
    block_on(async {
        let mut due = 0;
        loop {
            let options = ConnectOptions::new().keep_alive(KEEP_ALIVE);
            if client.connect(Wire, &options, Some(id.as_borrowed())).await.is_err() {
                continue;
            }
            let _ = client.subscribe(lamp.as_borrowed(), &SubscriptionOptions::new()).await;
            loop {
                let next = Timer::at(Instant::from_millis(due));
                match select(client.poll_header(), next).await {
                    Either::First(Ok(header)) => match client.poll_body(header).await {
                        Ok(Event::Publish(publish)) => obey(publish.message.as_bytes()),
                        Ok(_) => {}
                        Err(_) => break,
                    },
                    Either::First(Err(_)) => break,
                    Either::Second(()) => {
                        due += 1_000;
                        let reading = measure();
                        let _ = client.publish(&reading_to, Bytes::from(&reading[..])).await;
                        let _ = client.ping().await;
                    }
                }
                // SAFETY: nothing of the last packet is held any more.
                unsafe { client.buffer_mut().reset() };
            }
            let _ = client.abort().await;
        }
    })
}

const KEEP_ALIVE: KeepAlive = match NonZero::new(60) {
    Some(seconds) => KeepAlive::Seconds(seconds),
    None => panic!("sixty is not zero"),
};
