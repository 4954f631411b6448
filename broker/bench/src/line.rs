//! What carries a client's bytes: TCP, TLS or WebSocket, blocking or not as its socket is.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned};
use tungstenite::ClientRequestBuilder;
use tungstenite::client::client_with_config;
use tungstenite::protocol::{Message, WebSocket, WebSocketConfig};

use crate::error::BenchError;
use crate::peer;

/// Bytes that a WebSocket client reads at once, and has a buffer for.
const WEBSOCKET_READ_BYTES: usize = 32 << 10;

/// The way to a broker.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) address: SocketAddr,
    pub(crate) layer: Layer,
}

/// What lies between TCP and MQTT.
#[derive(Clone)]
pub(crate) enum Layer {
    /// Nothing.
    Tcp,
    /// TLS on these terms.
    Tls(Arc<ClientConfig>),
    /// WebSocket.
    WebSocket,
}

/// One connection.
pub(crate) enum Line {
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    WebSocket(Box<Frames>),
}

impl Line {
    /// Connects client `n`, subscribes it if it has a SUBSCRIBE, and waits for the answers.
    pub(crate) fn connect(
        route: &Route,
        n: usize,
        clean_session: bool,
        subscribe: Option<&[u8]>,
    ) -> Result<Self, BenchError> {
        let mut line = Self::open(route, n)?;
        peer::greet(&mut line, n, clean_session, subscribe)?;
        Ok(line)
    }

    /// Client `n`'s connection, up to where MQTT begins; TLS shakes hands with its first bytes.
    pub(crate) fn open(route: &Route, n: usize) -> Result<Self, BenchError> {
        let socket = peer::open(route.address, n)?;
        match &route.layer {
            Layer::Tcp => Ok(Self::Tcp(socket)),
            Layer::Tls(terms) => {
                let name = ServerName::try_from("localhost").expect("it is a name");
                let tls = ClientConnection::new(Arc::clone(terms), name);
                Ok(Self::Tls(Box::new(StreamOwned::new(tls.map_err(BenchError::Tls)?, socket))))
            }
            Layer::WebSocket => Ok(Self::WebSocket(Box::new(Frames::open(route, socket)?))),
        }
    }

    /// Sends what it can without an answer: of a TLS handshake the first flight.
    pub(crate) fn start(&mut self) -> Result<(), BenchError> {
        if let Self::Tls(stream) = self {
            while stream.conn.wants_write() {
                let sent = stream.conn.write_tls(&mut stream.sock);
                sent.map_err(BenchError::system("sending ClientHello"))?;
            }
        }
        Ok(())
    }

    /// Whether TLS went on from where an earlier connection was.
    pub(crate) fn is_resumed(&self) -> bool {
        match self {
            Self::Tls(stream) => stream.conn.handshake_kind() == Some(HandshakeKind::Resumed),
            Self::Tcp(_) | Self::WebSocket(_) => false,
        }
    }

    /// The socket below.
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Tcp(socket) => socket,
            Self::Tls(stream) => &stream.sock,
            Self::WebSocket(frames) => frames.socket.get_ref(),
        }
    }

    /// Whether a read may answer less than there is: records and frames come one by one.
    pub(crate) const fn reads_in_pieces(&self) -> bool {
        !matches!(self, Self::Tcp(_))
    }
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
            Self::WebSocket(frames) => frames.read(buffer),
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
            Self::WebSocket(frames) => frames.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(_) => Ok(()),
            Self::Tls(stream) => stream.flush(),
            Self::WebSocket(frames) => frames.socket.flush().map_err(io_error),
        }
    }
}

/// A WebSocket as a stream of bytes.
pub(crate) struct Frames {
    socket: WebSocket<TcpStream>,
    /// Of the last frame, with how much of it has been read.
    frame: tungstenite::Bytes,
    read: usize,
}

impl Frames {
    fn open(route: &Route, socket: TcpStream) -> Result<Self, BenchError> {
        let uri = format!("ws://{}/mqtt", route.address).parse();
        let request = ClientRequestBuilder::new(uri.expect("an address makes a URI"))
            .with_sub_protocol("mqtt");
        let config = WebSocketConfig::default().read_buffer_size(WEBSOCKET_READ_BYTES);
        let (socket, _) = client_with_config(request, socket, Some(config))
            .map_err(|error| BenchError::Refused(format!("WebSocket: {error}")))?;
        Ok(Self { socket, frame: tungstenite::Bytes::new(), read: 0 })
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.frame.len() {
            match self.socket.read().map_err(io_error)? {
                Message::Binary(frame) => (self.frame, self.read) = (frame, 0),
                Message::Close(_) => return Ok(0),
                Message::Ping(_) | Message::Pong(_) => {}
                other @ (Message::Text(_) | Message::Frame(_)) => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{other:?}")));
                }
            }
        }
        let rest = &self.frame[self.read..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let frame = Message::binary(tungstenite::Bytes::copy_from_slice(bytes));
        match self.socket.write(frame).map_err(io_error) {
            // It is in the buffer all the same, and goes with the next flush.
            Err(error) if !peer::is_transient(&error) => Err(error),
            Ok(()) | Err(_) => Ok(bytes.len()),
        }
    }
}

fn io_error(error: tungstenite::Error) -> io::Error {
    match error {
        tungstenite::Error::Io(error) => error,
        error => io::Error::other(error),
    }
}
