//! Where a listener listens, and the operating system's sockets for that.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::net::{SocketFlags, accept_with, acceptfrom_with};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

use crate::access::peer::{Peer, PeerAddress};
use crate::net::socket::Accepted;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An IP address; port 0 takes any free one.
    Ip(SocketAddr),
    /// A file of the file system, which is made.
    Unix(UnixAddress),
}

/// A socket in the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixAddress {
    /// Its file.
    pub path: PathBuf,
    /// Who may connect: those who may write the file.
    pub mode: u32,
}

/// A socket that listens. The runtime watches it as if it were a stream: its own listeners would
/// have the sockets that they accept watched where they are, and those belong to other workers.
#[derive(Debug)]
pub(super) enum Listening {
    Tcp(TcpStream),
    Unix { listener: UnixStream, _file: SocketFile },
}

/// The file of a socket, which goes with it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and number: somebody else's file of the same name stays.
    identity: Option<(u64, u64)>,
}

/// What may wait in the operating system to be accepted.
const BACKLOG: i32 = 4096;

impl Listening {
    /// Binds and listens, and says where, with the port that the system chose if it was to.
    pub(super) fn open(address: &Address) -> io::Result<(Self, Address)> {
        match address {
            Address::Ip(address) => {
                let socket = tcp(*address)?;
                let address = socket.local_addr()?;
                Ok((Self::Tcp(socket), Address::Ip(address)))
            }
            Address::Unix(place) => {
                let (listener, file) = unix(place)?;
                Ok((Self::Unix { listener, _file: file }, address.clone()))
            }
        }
    }

    pub(super) async fn accept(&self) -> io::Result<(Accepted, Peer)> {
        match self {
            Self::Tcp(listener) => {
                listener.async_io(Interest::READABLE, || accept_tcp(listener)).await
            }
            Self::Unix { listener, .. } => {
                listener.async_io(Interest::READABLE, || accept_unix(listener)).await
            }
        }
    }
}

/// What `accept` gives every socket, so that none needs calls of its own for it.
const ACCEPTED: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

fn accept_tcp(listener: &TcpStream) -> io::Result<(Accepted, Peer)> {
    let (socket, peer) = acceptfrom_with(listener, ACCEPTED)?;
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
    let peer = peer.ok_or(ErrorKind::ConnectionAborted)?;
    Ok((Accepted::Tcp(socket.into()), peer.into()))
}

fn accept_unix(listener: &UnixStream) -> io::Result<(Accepted, Peer)> {
    let socket = UnixStream::from_std(accept_with(listener, ACCEPTED)?.into())?;
    let who = socket.peer_cred()?;
    let address = PeerAddress::Unix { pid: who.pid(), uid: who.uid() };
    Ok((Accepted::Unix(socket.into_std()?), Peer { address, certificate: None }))
}

fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpStream::from_std(socket.into())
}

fn unix(place: &UnixAddress) -> io::Result<(UnixStream, SocketFile)> {
    let path = &place.path;
    make_way(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let identity = fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()));
    let file = SocketFile { path: path.clone(), identity: identity.ok() };
    fs::set_permissions(path, fs::Permissions::from_mode(place.mode))?;
    // Nobody can connect before this.
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok((UnixStream::from_std(socket.into())?, file))
}

/// Removes the file of a socket that nobody listens on any more, as a broker leaves it that was
/// killed. Whatever else is there stays.
fn make_way(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "a file that is no socket is there"));
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error),
        // Somebody accepts, or will once there is room.
        _ => Err(ErrorKind::AddrInUse.into()),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path).map(|found| (found.dev(), found.ino()));
        if found.ok() == self.identity {
            // Without permission it stays, and the next start makes way.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Address {
    /// The IP address and port, if it is one.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(place) => place.path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &Path, mode: u32) -> Address {
        Address::Unix(UnixAddress { path: path.to_owned(), mode })
    }

    #[tokio::test]
    async fn a_socket_comes_with_its_permissions_and_goes_with_its_listener() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("martlet.sock");
        let (listening, address) = Listening::open(&at(&path, 0o620)).expect("it is free");
        assert_eq!(address.to_string(), path.display().to_string());
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o620);
        let in_use = Listening::open(&at(&path, 0o600)).expect_err("it is in use");
        assert_eq!(in_use.kind(), ErrorKind::AddrInUse);
        drop(listening);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_socket_that_was_left_behind_makes_way_and_other_files_do_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("martlet.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
        assert!(path.exists(), "it was left behind");
        let (listening, _) = Listening::open(&at(&path, 0o600)).expect("it makes way");
        fs::remove_file(&path).expect("a file of ours");
        fs::write(&path, "precious").expect("a folder of ours");
        drop(listening);
        assert!(path.exists(), "somebody else's file stays");
        let refused = Listening::open(&at(&path, 0o600)).expect_err("a file is there");
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).expect("it stays"), b"precious");
    }
}
