//! minimq, doing the same.

#![no_std]
#![no_main]

use embassy_futures::block_on;
use embassy_futures::select::{Either, select};
use embassy_time::{Instant, Timer};
use minimq::{Buffers, ConfigBuilder, ConnectEvent, Publication, QoS, Session, TopicFilter};
use panic_halt as _;
use size::{Wire, measure, obey};

#[cortex_m_rt::entry]
fn main() -> ! {
    let (mut receive, mut transmit) = ([0; 1024], [0; 1024]);
    let buffers = Buffers::new(&mut receive, &mut transmit);
    let Ok(config) = ConfigBuilder::new(buffers).client_id("device") else { loop {} };
    let mut session = Session::new(config.session_expiry_interval(u32::MAX));
    block_on(async {
        let mut due = 0;
        loop {
            let Ok(mut connection) = session.connect(Wire).await else { continue };
            if connection.connect_event() == ConnectEvent::Connected {
                let _ = connection.subscribe(&[TopicFilter::new("lamp")], &[]).await;
            }
            loop {
                match select(connection.recv(), Timer::at(Instant::from_millis(due))).await {
                    Either::First(Ok(message)) => obey(message.payload()),
                    Either::First(Err(_)) => break,
                    Either::Second(()) => {
                        due += 1_000;
                        let reading = measure();
                        let reading = Publication::bytes("sensor", &reading);
                        let _ = connection.publish(reading.qos(QoS::AtLeastOnce)).await;
                    }
                }
            }
        }
    })
}
