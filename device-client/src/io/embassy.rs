//! TCP of `embassy-net` for the [asynchronous driver](super::asynchronous).

use embassy_net::Stack;
use embassy_net::dns::DnsQueryType;
use embassy_net::tcp::{Error, State, TcpSocket};
use embassy_time::{Duration, Instant, Timer};
use embedded_io_async::{ErrorType, Read, Write};

use super::asynchronous::{Clock, Network};

/// How long bytes may wait for the broker's TCP to acknowledge them.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(30);

/// How often an attempt to connect is looked after that was left alone for a while.
const LOOKED_AFTER: Duration = Duration::from_millis(20);

/// One socket to one broker, which is looked up each time it is connected to.
pub struct Tcp<'a> {
    stack: Stack<'a>,
    socket: TcpSocket<'a>,
    host: &'a str,
    port: u16,
    /// An attempt was begun and nobody has heard how it ended.
    connecting: bool,
}

impl<'a> Tcp<'a> {
    /// To `host` (a name, or an address as text) on `port`. The buffers are the socket's; half a
    /// kilobyte each is enough for a sensor.
    pub fn new(
        stack: Stack<'a>,
        (receive, transmit): (&'a mut [u8], &'a mut [u8]),
        host: &'a str,
        port: u16,
    ) -> Self {
        let socket = TcpSocket::new(stack, receive, transmit);
        Self { stack, socket, host, port, connecting: false }
    }
}

/// No address for this name, or no connection to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unreachable;

impl core::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("no address for this name, or no connection to it")
    }
}

impl core::error::Error for Unreachable {}

impl embedded_io_async::Error for Unreachable {
    fn kind(&self) -> embedded_io_async::ErrorKind {
        embedded_io_async::ErrorKind::NotConnected
    }
}

impl From<Error> for Unreachable {
    fn from(_: Error) -> Self {
        Self
    }
}

impl ErrorType for Tcp<'_> {
    type Error = Unreachable;
}

impl Read for Tcp<'_> {
    /// Cancel-safe: dropped before it is ready, it has taken nothing.
    async fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Unreachable> {
        Ok(self.socket.read(bytes).await?)
    }
}

impl Write for Tcp<'_> {
    /// Cancel-safe: dropped before it is ready, it has sent nothing.
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Unreachable> {
        Ok(self.socket.write(bytes).await?)
    }

    /// TCP sends by itself; to wait until the broker has it would be to wait for nothing. It is
    /// ready at once.
    async fn flush(&mut self) -> Result<(), Unreachable> {
        Ok(())
    }
}

impl Network for Tcp<'_> {
    /// Waits for an address of our own, looks the broker up, and connects. Cancel-safe: an attempt
    /// that is under way goes on.
    async fn open(&mut self) -> Result<(), Unreachable> {
        self.stack.wait_config_up().await;
        if !self.connecting {
            let found = self.stack.dns_query(self.host, DnsQueryType::A).await;
            let address = found.ok().and_then(|all| all.first().copied()).ok_or(Unreachable)?;
            self.socket.set_timeout(Some(ACKNOWLEDGED_WITHIN));
            self.connecting = true;
            // How it ended is seen below, as for an attempt that was left alone for a while.
            let _ = self.socket.connect((address, self.port)).await;
        }
        while matches!(self.socket.state(), State::SynSent | State::SynReceived) {
            Timer::after(LOOKED_AFTER).await;
        }
        self.connecting = false;
        if self.socket.may_send() { Ok(()) } else { Err(Unreachable) }
    }

    /// Cancel-safe: what was written leaves all the same, and the next call waits for the rest.
    async fn finish(&mut self) -> Result<(), Unreachable> {
        self.socket.close();
        Ok(self.socket.flush().await?)
    }

    fn close(&mut self) {
        self.connecting = false;
        self.socket.abort();
    }
}

/// The clock of `embassy-time`, and numbers from a seed.
#[derive(Clone, Copy, Debug)]
pub struct EmbassyClock {
    random: u32,
}

impl EmbassyClock {
    /// `seed` differs from device to device: from a source of random numbers where there is one,
    /// else from the device's serial number.
    pub const fn new(seed: u32) -> Self {
        Self { random: seed | 1 }
    }
}

impl Clock for EmbassyClock {
    fn now_ms(&mut self) -> u64 {
        Instant::now().as_millis()
    }

    /// Cancel-safe: there is nothing to lose.
    async fn sleep_until(&mut self, ms: u64) {
        if ms < FOREVER_MS {
            Timer::at(Instant::from_millis(ms)).await;
        } else {
            core::future::pending::<()>().await;
        }
    }

    /// xorshift32.
    fn entropy(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random
    }
}

/// Beyond this a time in milliseconds does not fit into ticks.
const FOREVER_MS: u64 = u64::MAX / 1_000_000;
