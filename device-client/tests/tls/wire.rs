//! A network in memory with a peer at its other end, which answers on the spot, and what a device
//! has besides.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use embedded_io_async::{ErrorType, Read, Write};
use martlet_device::io::asynchronous::Network;
use martlet_device::tls::asynchronous::Tls;
use martlet_device::tls::fault::Fault;
use martlet_device::tls::settings::{Buffers, Platform, Settings};

/// Whoever is at the other end.
pub(crate) trait Peer {
    /// What it says to these bytes.
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8>;
}

/// How bytes come: so many at a time, with a pause in front of each part or not.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) step: usize,
    pub(crate) pauses: bool,
}

pub(crate) const AT_ONCE: Pace = Pace { step: usize::MAX, pauses: false };
pub(crate) const TRICKLE: Pace = Pace { step: 1, pauses: true };

pub(crate) struct Wire<P> {
    pub(crate) peer: P,
    pace: Pace,
    paused: bool,
    coming: Vec<u8>,
    /// The peer has gone: behind what comes is the end.
    pub(crate) ends: bool,
    pub(crate) opened: usize,
}

impl<P: Peer> Wire<P> {
    pub(crate) fn new(peer: P, pace: Pace) -> Self {
        Self { peer, pace, paused: false, coming: Vec::new(), ends: false, opened: 0 }
    }

    /// Pauses once in front of each part, so that whoever waits can be given up there.
    async fn pause(&mut self) {
        poll_fn(|context| {
            self.paused = self.pace.pauses && !self.paused;
            context.waker().wake_by_ref();
            if self.paused { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }
}

impl<P> ErrorType for Wire<P> {
    type Error = Infallible;
}

impl<P: Peer> Read for Wire<P> {
    async fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Infallible> {
        assert!(!bytes.is_empty(), "nothing is asked for");
        self.pause().await;
        let said = self.peer.hear(&[]);
        self.coming.extend(said);
        if self.coming.is_empty() && !self.ends {
            std::future::pending::<()>().await;
        }
        let len = bytes.len().min(self.pace.step).min(self.coming.len());
        bytes[..len].copy_from_slice(&self.coming[..len]);
        self.coming.drain(..len);
        Ok(len)
    }
}

impl<P: Peer> Write for Wire<P> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.pause().await;
        let len = bytes.len().min(self.pace.step);
        let said = self.peer.hear(&bytes[..len]);
        self.coming.extend(said);
        Ok(len)
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

impl<P: Peer> Network for &mut Wire<P> {
    async fn open(&mut self) -> Result<(), Infallible> {
        self.opened += 1;
        Ok(())
    }

    fn close(&mut self) {
        self.coming.clear();
    }
}

/// Numbers of a test's: not for anybody who has a secret.
pub(crate) struct Device {
    pub(crate) random: u64,
    pub(crate) now: Option<u64>,
}

/// 2026.
pub(crate) const NOW: u64 = 1_790_000_000;

impl Device {
    pub(crate) fn new() -> Self {
        Self { random: 0x9E37_79B9_7F4A_7C15, now: Some(NOW) }
    }
}

impl Platform for Device {
    fn random(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = random(&mut self.random) as u8;
        }
    }

    fn unix_time(&mut self) -> Option<u64> {
        self.now
    }
}

/// xorshift64.
pub(crate) fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state >> 11
}

pub(crate) type Client<'a, P> = Tls<'a, &'a mut Wire<P>, Device>;

/// A client on that wire, in buffers of these sizes.
pub(crate) fn client<'a, P: Peer>(
    wire: &'a mut Wire<P>,
    settings: Settings<'a>,
    (receive, transmit): (usize, usize),
) -> Client<'a, P> {
    let buffers = Buffers { receive: vec![0; receive].leak(), transmit: vec![0; transmit].leak() };
    Tls::new(wire, Device::new(), settings, buffers)
}

/// Enough for any record.
pub(crate) const AMPLE: (usize, usize) = (16_645, 2_048);

/// More than anything here takes.
const POLLS_MAX: usize = 1_000_000;

/// What becomes of it; `None` if it waits for what does not come.
pub(crate) fn wait_for<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..POLLS_MAX {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return Some(done);
        }
    }
    None
}

/// Polls it once, and gives it up if it is not ready.
pub(crate) fn try_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

/// So much, however many reads that takes.
pub(crate) async fn read_exactly<P: Peer>(
    client: &mut Client<'_, P>,
    len: usize,
) -> Result<Vec<u8>, Fault> {
    let mut all = vec![0; len];
    let mut came = 0;
    while came < len {
        let more = client.read(&mut all[came..]).await?;
        assert!(more > 0, "closed after {came} of {len}");
        came += more;
    }
    Ok(all)
}
