//! The client on any network that reads and writes as `embedded-io-async` has it.

use embassy_futures::select::{Either, select};
use embedded_io_async::{Read, Write};

use crate::client::Client;
use crate::client::storage::{Forgetful, Storage};
use crate::error::{Bound, Error, Misuse, TransportFault};
use crate::event::Event;

use super::buffers::Buffer;
use super::{OPEN_MS, WRITE_MS};

/// A way to the broker that can be opened again and again.
///
/// For the driver to be cancel-safe, reading and writing must be: a future that was dropped before
/// it was ready has taken and sent nothing. TCP of embassy-net and tokio is, and so is TLS of this
/// crate around them.
#[allow(async_fn_in_trait, reason = "one task owns the driver; nobody sends its futures around")]
pub trait Network: Read + Write {
    /// Opens a new connection. Dropped before it is ready, the next call goes on or begins anew.
    async fn open(&mut self) -> Result<(), Self::Error>;

    /// Waits until what was written has left for good: nothing comes behind it.
    async fn finish(&mut self) -> Result<(), Self::Error> {
        self.flush().await
    }

    /// Gives the connection up, with all that has not left.
    fn close(&mut self);
}

/// What else the machine has.
#[allow(async_fn_in_trait, reason = "as above")]
pub trait Clock {
    /// Milliseconds since any moment; never goes backward.
    fn now_ms(&mut self) -> u64;

    /// Waits until [`now_ms`](Self::now_ms) says so. Cancel-safe.
    async fn sleep_until(&mut self, ms: u64);

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
    output: Buffer,
    /// When what was given to the network must have left.
    write_by: Option<u64>,
    /// When the connection that is being opened must be open.
    open_by: Option<u64>,
    flushed: bool,
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
        Self {
            client,
            network,
            clock,
            storage,
            input: Buffer::new(),
            output: Buffer::new(),
            write_by: None,
            open_by: None,
            flushed: true,
        }
    }

    /// The client, to publish, subscribe and disconnect. What is published leaves with the next
    /// [`next`](Self::next).
    pub fn client(&mut self) -> &mut Client<'m> {
        &mut self.client
    }

    /// The network, which may know more of why a connection was lost.
    pub fn network(&self) -> &N {
        &self.network
    }

    /// Waits for what happens next. Connects, keeps alive and connects again by itself, all while
    /// it is awaited, and only then.
    ///
    /// An error says why the connection was lost or could not be opened; the next call waits for
    /// the back-off and tries again. `Capacity(Storage)` is the only one after which nothing is
    /// lost: the next call tries to save again. After [`Event::Disconnected`] it is
    /// `Misuse(NotAttached)` until [`Client::connect`].
    ///
    /// Cancel-safe as far as the network is: dropped before it is ready, nothing is lost, and the
    /// next call goes on. Only an attempt to connect may begin anew: who drops this more often than
    /// a connection takes to open will never have one.
    pub async fn next(&mut self) -> Result<Event<'_>, Error> {
        while !self.client.has_event() || self.is_leaving() {
            self.step().await?;
        }
        self.client.event().ok_or(Error::Misuse(Misuse::NotAttached))
    }

    async fn step(&mut self) -> Result<(), Error> {
        let now = self.clock.now_ms();
        if self.is_leaving() {
            return self.leave(now).await;
        }
        if self.client.is_over() {
            self.close(now);
            return Ok(());
        }
        if !self.client.is_attached() {
            return self.open(now).await;
        }
        if !self.input.is_empty() {
            let received = self.client.receive(now, self.input.filled());
            let taken = received.map_err(|error| self.lose(now, error))?;
            self.input.take(taken);
            if self.client.has_event() {
                return Ok(());
            }
        }
        self.transmit(now)?;
        if !self.output.is_empty() {
            return self.write(now).await;
        }
        if self.input.is_empty() { self.wait(now).await } else { Ok(()) }
    }

    /// Whether DISCONNECT is on its way out. The program hears of it when it has left.
    fn is_leaving(&self) -> bool {
        self.client.is_over() && !(self.output.is_empty() && self.flushed)
    }

    async fn leave(&mut self, now: u64) -> Result<(), Error> {
        if !self.output.is_empty() {
            return self.write(now).await;
        }
        let write_by = now.saturating_add(WRITE_MS);
        // Whether it left or not: there is nothing more to be done about it.
        select(self.network.finish(), self.clock.sleep_until(write_by)).await;
        self.flushed = true;
        Ok(())
    }

    async fn open(&mut self, now: u64) -> Result<(), Error> {
        let due = self.client.next_deadline().ok_or(Error::Misuse(Misuse::NotAttached))?;
        if due > now {
            self.clock.sleep_until(due).await;
            return Ok(());
        }
        let open_by = *self.open_by.get_or_insert(now.saturating_add(OPEN_MS));
        match select(self.network.open(), self.clock.sleep_until(open_by)).await {
            Either::First(Ok(())) => {
                self.open_by = None;
                let now = self.clock.now_ms();
                self.client.attach(now)
            }
            Either::First(Err(_)) => Err(self.lose(now, Error::Transport(TransportFault::Failed))),
            Either::Second(()) => Err(self.lose(now, Error::Transport(TransportFault::Silent))),
        }
    }

    /// What is promised is kept before it is promised.
    fn transmit(&mut self, now: u64) -> Result<(), Error> {
        if self.output.is_empty() {
            if self.client.is_unsaved() {
                let saved = self.client.save(&mut self.storage);
                saved.map_err(|_| Error::Capacity(Bound::Storage))?;
            }
            let len = self.client.transmit(now, self.output.space());
            self.output.fill(len);
        }
        Ok(())
    }

    async fn write(&mut self, now: u64) -> Result<(), Error> {
        let write_by = *self.write_by.get_or_insert(now.saturating_add(WRITE_MS));
        let write = self.network.write(self.output.filled());
        self.flushed = false;
        match select(write, self.clock.sleep_until(write_by)).await {
            Either::First(Ok(len)) if len > 0 => {
                self.output.take(len);
                if self.output.is_empty() {
                    self.write_by = None;
                }
                Ok(())
            }
            Either::First(_) => Err(self.lose(now, Error::Transport(TransportFault::Failed))),
            Either::Second(()) => Err(self.lose(now, Error::Transport(TransportFault::Silent))),
        }
    }

    /// Nothing is to be done before bytes come or it is time for something.
    async fn wait(&mut self, now: u64) -> Result<(), Error> {
        if !self.flushed {
            return self.flush(now).await;
        }
        let deadline = self.client.next_deadline().unwrap_or(u64::MAX);
        let read = self.network.read(self.input.space());
        match select(read, self.clock.sleep_until(deadline)).await {
            Either::First(Ok(0)) => Err(self.lose(now, Error::Transport(TransportFault::Closed))),
            Either::First(Ok(len)) => {
                self.input.fill(len);
                Ok(())
            }
            Either::First(Err(_)) => Err(self.lose(now, Error::Transport(TransportFault::Failed))),
            Either::Second(()) => {
                let now = self.clock.now_ms();
                let received = self.client.receive(now, &[]);
                received.map(|_| ()).map_err(|error| self.lose(now, error))
            }
        }
    }

    /// A network that keeps what it is given for a while gives it away now.
    async fn flush(&mut self, now: u64) -> Result<(), Error> {
        let write_by = *self.write_by.get_or_insert(now.saturating_add(WRITE_MS));
        match select(self.network.flush(), self.clock.sleep_until(write_by)).await {
            Either::First(Ok(())) => {
                self.flushed = true;
                self.write_by = None;
                Ok(())
            }
            Either::First(Err(_)) => Err(self.lose(now, Error::Transport(TransportFault::Failed))),
            Either::Second(()) => Err(self.lose(now, Error::Transport(TransportFault::Silent))),
        }
    }

    fn lose(&mut self, now: u64, error: Error) -> Error {
        self.close(now);
        error
    }

    fn close(&mut self, now: u64) {
        self.network.close();
        self.input.clear();
        self.output.clear();
        self.flushed = true;
        (self.write_by, self.open_by) = (None, None);
        let entropy = self.clock.entropy();
        self.client.detach(now, entropy);
    }
}
