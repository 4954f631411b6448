//! The way to the other broker: an address, a socket, perhaps TLS over it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;

use crate::bridge::tls::Connector;
use crate::bridge::{Remote, Settings};

/// Bytes both ways.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// How long all of it may take for one address.
const CONNECT_MAX: Duration = Duration::from_secs(30);

/// Opens a connection.
///
/// # Errors
/// In words for the log.
pub(super) async fn connect(
    settings: &Settings,
    remote: &Remote,
    tls: Option<&Connector>,
) -> io::Result<Box<dyn Stream>> {
    let open = async {
        let socket = open(remote, settings.bind).await?;
        match tls {
            None => Ok(Box::new(socket) as Box<dyn Stream>),
            Some(tls) => tls.connect(&remote.host, socket).await,
        }
    };
    let late = || io::Error::new(io::ErrorKind::TimedOut, "no connection within 30 s");
    timeout(CONNECT_MAX, open).await.map_err(|_| late())?
}

/// The first of its addresses that answers.
async fn open(remote: &Remote, bind: Option<IpAddr>) -> io::Result<TcpStream> {
    let addresses = lookup_host((remote.host.as_str(), remote.port)).await?;
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses.filter(|to| bind.is_none_or(|ip| ip.is_ipv4() == to.is_ipv4())) {
        match open_one(address, bind).await {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                return Ok(socket);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

async fn open_one(address: SocketAddr, bind: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(ip) = bind {
        socket.bind(SocketAddr::new(ip, 0))?;
    }
    socket.connect(address).await
}

/// Whether somebody answers there: for who would rather have that address.
pub(super) async fn answers(settings: &Settings, remote: &Remote) -> bool {
    matches!(timeout(CONNECT_MAX, open(remote, settings.bind)).await, Ok(Ok(_)))
}
