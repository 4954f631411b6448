//! What a long delivery does to others: how late messages come that a neighbour sends at a fixed
//! rate, while it goes on and while nothing else does.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use martlet_codec::packet::Packet;
use martlet_codec::reason::QoS;

use crate::clock::{now_ns, rest_until};
use crate::error::BenchError;
use crate::masses::receive;
use crate::{peer, wire};

const TOPIC: &str = "neighbour/clock";
/// Nanoseconds from one message to the next.
const EVERY_NS: u64 = 1_000_000;
/// Due at no time: the last message.
const LAST: u64 = u64::MAX;

/// How late a neighbour's messages came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delays {
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
}

/// Two neighbours of their own, while `work` goes on. A message's delay counts from when it was
/// due.
pub(crate) fn beside<T>(
    broker: SocketAddr,
    first_client: usize,
    work: impl FnOnce() -> Result<T, BenchError>,
) -> Result<(T, Delays), BenchError> {
    let subscribe = wire::subscribe(TOPIC, QoS::AtMostOnce);
    let mut subscriber = peer::connect(broker, first_client, true, Some(&subscribe))?;
    let mut publisher = peer::connect(broker, first_client + 1, true, None)?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let received = scope.spawn(|| receive_all(&mut subscriber));
        let sent = scope.spawn(|| send_until(&mut publisher, &over));
        let done = work();
        over.store(true, Ordering::Relaxed);
        sent.join().expect("it returns its errors")?;
        let delays = received.join().expect("it returns its errors")?;
        Ok((done?, of(delays)))
    })
}

fn send_until(publisher: &mut TcpStream, over: &AtomicBool) -> Result<(), BenchError> {
    let mut due_ns = now_ns();
    while !over.load(Ordering::Relaxed) {
        due_ns += EVERY_NS;
        rest_until(due_ns);
        send(publisher, due_ns)?;
    }
    send(publisher, LAST)
}

fn send(publisher: &mut TcpStream, due_ns: u64) -> Result<(), BenchError> {
    let packet = wire::publish_qos0(TOPIC, &due_ns.to_be_bytes(), false);
    publisher.write_all(&packet).map_err(BenchError::system("publishing"))
}

fn receive_all(subscriber: &mut TcpStream) -> Result<Vec<u64>, BenchError> {
    let mut delays = Vec::new();
    receive(subscriber, |packet| {
        let Packet::Publish(publish) = packet else { return true };
        let due_ns = publish.payload.try_into().map_or(LAST, u64::from_be_bytes);
        if due_ns != LAST {
            delays.push(now_ns().saturating_sub(due_ns) / 1000);
        }
        due_ns != LAST
    })?;
    Ok(delays)
}

fn of(mut delays: Vec<u64>) -> Delays {
    delays.sort_unstable();
    let at = |hundredths: usize| delays.get(delays.len() * hundredths / 100).copied();
    Delays { p50_us: at(50).unwrap_or_default(), p99_us: at(99).unwrap_or_default() }
}
