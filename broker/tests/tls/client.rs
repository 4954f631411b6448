//! MQTT over a TLS connection that blocks.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::{ClientSessionMemoryCache, Resumption, Tls12Resumption};
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};

use crate::authority::{Authority, Identity};

/// Longer than anything takes unless it is broken.
const PATIENCE: Duration = Duration::from_secs(30);

pub const VERSIONS: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

pub struct Client(StreamOwned<ClientConnection, TcpStream>);

/// What a client trusts and shows.
pub fn config(
    version: &'static SupportedProtocolVersion,
    trusts: &Authority,
    shows: Option<&Identity>,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(trusts.certificate()).expect("a certificate");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .expect("a version of the provider")
        .with_root_certificates(roots);
    match shows {
        None => builder.with_no_client_auth(),
        Some(Identity { chain, key, .. }) => {
            builder.with_client_auth_cert(chain.clone(), key.clone_key()).expect("its key")
        }
    }
}

/// Remembers sessions; those of TLS 1.2 in this way.
pub fn resumes(mut config: ClientConfig, tls12: Tls12Resumption) -> Arc<ClientConfig> {
    let memory = Arc::new(ClientSessionMemoryCache::new(32));
    config.resumption = Resumption::store(memory).tls12_resumption(tls12);
    Arc::new(config)
}

pub fn connect_packet(client_id: &str) -> Vec<u8> {
    let len = client_id.len() as u8;
    let mut packet = vec![0x10, 12 + len];
    packet.extend(b"\0\x04MQTT\x04\x02\0\x3c\0");
    packet.push(len);
    packet.extend(client_id.as_bytes());
    packet
}

impl Client {
    /// Shakes hands and sends CONNECT; the CONNACK's code is the answer.
    pub fn connect(address: SocketAddr, config: &Arc<ClientConfig>, id: &str) -> io::Result<Self> {
        let mut client = Self::open(address, config)?;
        client.send(&connect_packet(id))?;
        let answer = client.read(4)?;
        match *answer {
            [0x20, 2, 0, 0] => Ok(client),
            _ => Err(io::Error::other(format!("{answer:?}"))),
        }
    }

    pub fn open(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = ClientConnection::new(Arc::clone(config), name).expect("good terms");
        Ok(Self(StreamOwned::new(tls, socket)))
    }

    /// What it speaks over, for those who speak something else.
    pub fn into_stream(self) -> StreamOwned<ClientConnection, TcpStream> {
        self.0
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)?;
        self.0.flush()
    }

    pub fn read(&mut self, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// The broker is there and answers.
    pub fn ping(&mut self) {
        self.send(b"\xc0\0").expect("the broker reads");
        assert_eq!(self.read(2).expect("the broker answers"), b"\xd0\0");
    }

    pub fn tls(&self) -> &ClientConnection {
        &self.0.conn
    }

    pub fn resumed(&self) -> bool {
        self.0.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    pub fn socket(&self) -> &TcpStream {
        &self.0.sock
    }
}
