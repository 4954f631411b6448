//! What the client has none of on Linux: TCP of the standard library, TLS over it, and the time.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use embedded_io::ErrorType;
use martlet_device::io::blocking::{Clock, Network};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// How long the driver waits for bytes before it looks at the clock again.
pub const READ_FOR: Duration = Duration::from_millis(100);
/// How long a broker may refuse to take bytes, or take for its part of a handshake.
const WRITE_FOR: Duration = Duration::from_secs(20);

/// The way to a broker, opened again and again.
pub struct Link {
    /// `HOST:PORT`.
    address: String,
    tls: Option<Arc<ClientConfig>>,
    stream: Option<Stream>,
}

enum Stream {
    Plain(TcpStream),
    Secret(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Link {
    /// TCP, with nothing around it.
    pub fn plain(address: &str) -> Self {
        Self { address: address.to_owned(), tls: None, stream: None }
    }

    /// TLS. The broker's certificate must be signed by `authority` for the host of `address`;
    /// `own` are the certificate and the key that we show, if we have any. All are files of PEM.
    pub fn secret(
        address: &str,
        authority: &str,
        own: Option<(&str, &str)>,
    ) -> Result<Self, Box<dyn Error>> {
        let mut authorities = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(authority)? {
            authorities.add(certificate?)?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(authorities);
        let config = match own {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain =
                    CertificateDer::pem_file_iter(certificate)?.collect::<Result<_, _>>()?;
                config.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key)?)?
            }
        };
        Ok(Self { tls: Some(Arc::new(config)), ..Self::plain(address) })
    }

    fn stream(&mut self) -> io::Result<&mut Stream> {
        self.stream.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl ErrorType for Link {
    type Error = io::Error;
}

impl embedded_io::Read for Link {
    /// Gives up after [`READ_FOR`]; what of a record of TLS has come by then is not lost.
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let result = match self.stream()? {
            Stream::Plain(stream) => stream.read(bytes),
            Stream::Secret(stream) => stream.read(bytes),
        };
        result.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(), // So Linux says it.
            _ => error,
        })
    }
}

impl embedded_io::Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.stream()? {
            Stream::Plain(stream) => stream.write(bytes),
            Stream::Secret(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.stream()? {
            Stream::Plain(stream) => stream.flush(),
            Stream::Secret(stream) => stream.flush(),
        }
    }
}

impl Network for Link {
    fn open(&mut self) -> io::Result<()> {
        let mut tcp = TcpStream::connect(&self.address)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(WRITE_FOR))?;
        tcp.set_write_timeout(Some(WRITE_FOR))?;
        let secret = match &self.tls {
            None => None,
            Some(config) => {
                let host = self.address.rsplit_once(':').map_or(&*self.address, |(host, _)| host);
                let name = host.to_owned().try_into().map_err(io::Error::other)?;
                let connection = ClientConnection::new(Arc::clone(config), name);
                let mut connection = connection.map_err(io::Error::other)?;
                while connection.is_handshaking() {
                    connection.complete_io(&mut tcp)?;
                }
                Some(connection)
            }
        };
        tcp.set_read_timeout(Some(READ_FOR))?;
        self.stream = Some(match secret {
            None => Stream::Plain(tcp),
            Some(connection) => Stream::Secret(Box::new(StreamOwned::new(connection, tcp))),
        });
        Ok(())
    }

    fn close(&mut self) {
        self.stream = None;
    }
}

/// The time since the program started.
pub struct Started(Instant);

impl Started {
    /// It has started.
    pub fn now() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Started {
    fn now_ms(&mut self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }

    /// The nanoseconds at which something failed differ from machine to machine.
    fn entropy(&mut self) -> u32 {
        let nanoseconds = UNIX_EPOCH.elapsed().map_or(0, |time| time.subsec_nanos());
        nanoseconds.wrapping_mul(0x9E37_79B9)
    }
}
