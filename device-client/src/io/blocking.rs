//! The client on any network that reads and writes as `embedded-io` has it: for programs that are
//! one loop.

use embedded_io::{Error as _, ErrorKind, Read, Write};

use crate::client::Client;
use crate::client::storage::{Forgetful, Storage};
use crate::error::{Bound, Error, TransportFault};
use crate::event::Event;

use super::buffers::Buffer;

/// A way to the broker that can be opened again and again.
///
/// `read` must give up after a while, with an error of kind `TimedOut` or `Interrupted` that loses
/// nothing: that while is how long [`Driver::poll`] waits at most. So must `write`, where the
/// broker may stop reading; then the connection counts as lost.
pub trait Network: Read + Write {
    /// Opens a new connection.
    fn open(&mut self) -> Result<(), Self::Error>;

    /// Gives the connection up.
    fn close(&mut self);
}

/// What else the machine has.
pub trait Clock {
    /// Milliseconds since any moment; never goes backward.
    fn now_ms(&mut self) -> u64;

    /// Any number that differs from device to device and from call to call: it spreads the devices
    /// that connect again after the same failure.
    fn entropy(&mut self) -> u32;
}

/// Owns the client and its network, and connects again and again.
#[derive(Debug)]
pub struct Driver<'m, N, C, S = Forgetful> {
    client: Client<'m>,
    network: N,
    clock: C,
    storage: S,
    input: Buffer,
}

impl<'m, N: Network, C: Clock> Driver<'m, N, C> {
    /// A driver whose session ends with a reset.
    pub fn new(client: Client<'m>, network: N, clock: C) -> Self {
        Self::with_storage(client, network, clock, Forgetful)
    }
}

impl<'m, N: Network, C: Clock, S: Storage> Driver<'m, N, C, S> {
    /// A driver that keeps the session in `storage` before it promises anything to the broker.
    /// [`Client::restore`] is to be called before.
    pub fn with_storage(client: Client<'m>, network: N, clock: C, storage: S) -> Self {
        Self { client, network, clock, storage, input: Buffer::new() }
    }

    /// The client, to publish, subscribe and disconnect. What is published leaves with the next
    /// [`poll`](Self::poll).
    pub fn client(&mut self) -> &mut Client<'m> {
        &mut self.client
    }

    /// Sends what is to be sent, takes what has come, and says what happened; `None` if nothing
    /// did. Waits no longer than the network's `read` does, and not at all while there is no
    /// connection and it is too early for one: sleep a little then.
    ///
    /// An error says why the connection was lost or could not be opened; a later call tries again.
    /// `Capacity(Storage)` is the only one after which nothing is lost.
    pub fn poll(&mut self) -> Result<Option<Event<'_>>, Error> {
        if !self.client.has_event() {
            self.step()?;
        }
        Ok(self.client.event())
    }

    fn step(&mut self) -> Result<(), Error> {
        let now = self.clock.now_ms();
        if self.client.is_over() {
            self.close(now);
        }
        if self.client.wants_connection(now) {
            if self.network.open().is_err() {
                return Err(self.lose(now, TransportFault::Failed));
            }
            let now = self.clock.now_ms();
            self.client.attach(now)?;
        }
        if !self.client.is_attached() {
            return Ok(());
        }
        self.transmit(now)?;
        if self.input.is_empty() && !self.client.is_over() {
            self.read(now)?;
        }
        while !self.client.has_event() && !self.client.is_over() {
            let now = self.clock.now_ms();
            let taken = match self.client.receive(now, self.input.filled()) {
                Ok(taken) => taken,
                Err(error) => {
                    self.close(now);
                    return Err(error);
                }
            };
            self.input.take(taken);
            self.transmit(now)?;
            if self.input.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// What is promised is kept before it is promised.
    fn transmit(&mut self, now: u64) -> Result<(), Error> {
        let mut out = Buffer::new();
        let mut sent = false;
        loop {
            if self.client.is_unsaved() {
                let saved = self.client.save(&mut self.storage);
                saved.map_err(|_| Error::Capacity(Bound::Storage))?;
            }
            let len = self.client.transmit(now, out.space());
            out.fill(len);
            if len == 0 {
                break;
            }
            if self.network.write_all(out.filled()).is_err() {
                return Err(self.lose(now, TransportFault::Failed));
            }
            sent = true;
        }
        if sent && self.network.flush().is_err() {
            return Err(self.lose(now, TransportFault::Failed));
        }
        Ok(())
    }

    fn read(&mut self, now: u64) -> Result<(), Error> {
        match self.network.read(self.input.space()) {
            Ok(0) => Err(self.lose(now, TransportFault::Closed)),
            Ok(len) => {
                self.input.fill(len);
                Ok(())
            }
            Err(error) if is_nothing(error.kind()) => Ok(()),
            Err(_) => Err(self.lose(now, TransportFault::Failed)),
        }
    }

    fn lose(&mut self, now: u64, fault: TransportFault) -> Error {
        self.close(now);
        Error::Transport(fault)
    }

    fn close(&mut self, now: u64) {
        self.network.close();
        self.input.clear();
        let entropy = self.clock.entropy();
        self.client.detach(now, entropy);
    }
}

/// Nothing came, and nothing is wrong.
fn is_nothing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::TimedOut | ErrorKind::Interrupted)
}
