//! TLS around a network of the [asynchronous driver](crate::io::asynchronous).

use embedded_io_async::{Error as _, ErrorKind, ErrorType, Read, Write};

use crate::io::asynchronous::Network;

use super::fault::Fault;
use super::session::Session;
use super::settings::{Buffers, Platform, Settings};

/// A network whose bytes nobody else can read or change, to a broker that has proved who it is.
///
/// All its futures are cancel-safe if those of the network below are: a record of which a part has
/// come or gone is gone on with by the next call.
pub struct Tls<'a, N, P> {
    network: N,
    platform: P,
    settings: Settings<'a>,
    session: Session<'a>,
    fault: Option<Fault>,
}

impl<'a, N: Network, P: Platform> Tls<'a, N, P> {
    /// Around `network`, which is opened and closed by this.
    pub fn new(network: N, platform: P, settings: Settings<'a>, buffers: Buffers<'a>) -> Self {
        Self { network, platform, settings, session: Session::new(buffers), fault: None }
    }

    /// Why the last connection ended or did not come about, if it was TLS or the network below.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// A connection of the network below, and a hello on it.
    async fn start(&mut self) -> Result<(), Fault> {
        if self.session.is_shaking_hands() || self.session.is_open() {
            return Ok(());
        }
        // What was refused, and given up before the broker was told, is over.
        if self.fault.take().is_some() {
            self.close();
        }
        self.network.open().await.map_err(below)?;
        self.session.begin(&self.settings, &mut self.platform)
    }

    /// Until the broker has proved who it is and has our answer.
    async fn shake_hands(&mut self) -> Result<(), Fault> {
        loop {
            self.send().await?;
            if self.session.is_open() {
                return Ok(());
            }
            self.gather().await?;
        }
    }

    /// Some bytes of the record that is coming; takes it once it is whole.
    async fn gather(&mut self) -> Result<(), Fault> {
        let space = self.session.space()?;
        let len = match self.network.read(space).await {
            Ok(0) => return Err(Fault::Network(ErrorKind::ConnectionReset)),
            Ok(len) => len,
            Err(error) => return Err(Fault::Network(error.kind())),
        };
        self.session.fill(&self.settings, len)
    }

    /// All that waits.
    async fn send(&mut self) -> Result<(), Fault> {
        while !self.session.waiting().is_empty() {
            match self.network.write(self.session.waiting()).await {
                Ok(0) => return Err(Fault::Network(ErrorKind::WriteZero)),
                Ok(len) => self.session.sent(len),
                Err(error) => return Err(Fault::Network(error.kind())),
            }
        }
        self.network.flush().await.map_err(below)
    }

    async fn receive(&mut self, bytes: &mut [u8]) -> Result<usize, Fault> {
        while self.session.text().is_empty() {
            if self.session.is_closed() {
                return Ok(0);
            }
            if !self.session.is_open() {
                return Err(Fault::Network(ErrorKind::NotConnected));
            }
            // What it sent may have wanted an answer.
            if !self.session.waiting().is_empty() {
                self.send().await?;
            }
            self.gather().await?;
        }
        let text = self.session.text();
        let len = bytes.iter_mut().zip(text).map(|(byte, text)| *byte = *text).count();
        self.session.take(len);
        Ok(len)
    }

    /// Tells the broker why, so that its log knows, and remembers it.
    async fn refuse(&mut self, fault: Fault) -> Fault {
        self.fault = Some(fault);
        self.session.refuse(fault);
        if fault.alert().is_some() && self.send().await.is_ok() {
            // Whether it left or not: there is nothing more to be done about it.
            let _ = self.network.finish().await;
        }
        fault
    }
}

fn below(error: impl embedded_io_async::Error) -> Fault {
    Fault::Network(error.kind())
}

impl<N: Network, P: Platform> ErrorType for Tls<'_, N, P> {
    type Error = Fault;
}

impl<N: Network, P: Platform> Read for Tls<'_, N, P> {
    async fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Fault> {
        match self.receive(bytes).await {
            Ok(len) => Ok(len),
            Err(fault) => Err(self.refuse(fault).await),
        }
    }
}

impl<N: Network, P: Platform> Write for Tls<'_, N, P> {
    /// The bytes are sealed, and leave with the next `write`, `flush` or `read`.
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        if !self.session.waiting().is_empty() {
            self.flush().await?;
        }
        self.session.write(bytes).inspect_err(|fault| self.fault = Some(*fault))
    }

    async fn flush(&mut self) -> Result<(), Fault> {
        self.send().await.inspect_err(|fault| self.fault = Some(*fault))
    }
}

impl<N: Network, P: Platform> Network for Tls<'_, N, P> {
    /// Opens the network below, and returns when the broker has proved who it is. Cancel-safe: a
    /// handshake that is under way goes on.
    async fn open(&mut self) -> Result<(), Fault> {
        let opened = match self.start().await {
            Ok(()) => self.shake_hands().await,
            Err(fault) => Err(fault),
        };
        match opened {
            Ok(()) => Ok(()),
            Err(fault) => Err(self.refuse(fault).await),
        }
    }

    async fn finish(&mut self) -> Result<(), Fault> {
        self.session.say_goodbye();
        self.flush().await?;
        self.network.finish().await.map_err(below)
    }

    fn close(&mut self) {
        self.session.clear();
        self.network.close();
    }
}
