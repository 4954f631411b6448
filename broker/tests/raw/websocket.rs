//! A client's side of WebSocket, written apart from the broker's: frames with masks, cut as a test
//! wants them.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::client::tcp;

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;
pub const FINAL: u8 = 0x80;

const MASK: [u8; 4] = [0x5a, 0x01, 0xfe, 0x93];

pub struct WebSocket {
    pub tcp: TcpStream,
    /// Bytes of frames that are not whole yet.
    raw: Vec<u8>,
    data: VecDeque<u8>,
    /// Control frames that came: the kind and what was in it.
    pub heard: Vec<(u8, Vec<u8>)>,
    /// How many data frames came.
    pub frames: usize,
    /// A message is cut into frames of so many bytes.
    pub cut: usize,
}

/// A request with these header lines in place of the sub-protocol's.
pub fn request(lines: &str) -> String {
    format!(
        "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
    )
}

pub const SUB_PROTOCOL: &str = "Sec-WebSocket-Protocol: mqtt\r\n";

/// A frame of a client.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ ..126 => bytes.push(0x80 | len as u8),
        len @ 126..65_536 => bytes.extend([&[0xfe][..], &(len as u16).to_be_bytes()].concat()),
        len => bytes.extend([&[0xff][..], &(len as u64).to_be_bytes()].concat()),
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

impl WebSocket {
    pub fn open(address: SocketAddr) -> Self {
        let stream = tcp(address).unwrap_or_else(|e| panic!("{address}: {e}"));
        Self::over(stream, &request(SUB_PROTOCOL))
    }

    /// Asks for a WebSocket, and gets it.
    pub fn over(mut tcp: TcpStream, request: &str) -> Self {
        tcp.write_all(request.as_bytes()).expect("a broker that listens");
        let answer = head(&mut tcp);
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.to_lowercase().contains("sec-websocket-protocol: mqtt\r\n"), "{answer}");
        Self::opened(tcp)
    }

    /// One whose request was answered.
    pub fn opened(tcp: TcpStream) -> Self {
        let (raw, data, heard) = (Vec::new(), VecDeque::new(), Vec::new());
        Self { tcp, raw, data, heard, frames: 0, cut: usize::MAX }
    }

    /// The same WebSocket, for a thread that only sends.
    pub fn mouth(&self) -> Self {
        let tcp = self.tcp.try_clone().expect("a socket of ours");
        Self { cut: self.cut, ..Self::opened(tcp) }
    }

    /// Sends bytes as they are, frames or not. A broker that has closed does not take them.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        let _ = self.tcp.write_all(bytes);
    }

    /// Takes the first frame apart, if all of it is there.
    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (first, second) = (*self.raw.first()?, *self.raw.get(1)?);
        assert!(second < 0x80, "a server masks nothing");
        assert!(first & 0xf0 == FINAL, "the broker sends whole messages, without extensions");
        let (from, len) = match second {
            126 => (4, usize::from(u16::from_be_bytes(*self.raw.get(2..)?.first_chunk()?))),
            127 => (10, u64::from_be_bytes(*self.raw.get(2..)?.first_chunk()?) as usize),
            len => (2, usize::from(len)),
        };
        let payload = self.raw.get(from..from + len)?.to_vec();
        self.raw.drain(..from + len);
        Some((first & 0xf, payload))
    }
}

/// An answer of HTTP, up to its body.
pub fn head(stream: &mut impl Read) -> String {
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).expect("an answer") == 0 {
            break;
        }
        answer.push(byte[0]);
    }
    String::from_utf8(answer).expect("HTTP is text")
}

impl Read for WebSocket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while self.data.is_empty() {
            match self.take_frame() {
                Some((BINARY, payload)) => {
                    self.frames += 1;
                    self.data.extend(payload);
                }
                Some((kind, payload)) => self.heard.push((kind, payload)),
                None => {
                    let mut chunk = [0; 16_384];
                    let len = self.tcp.read(&mut chunk)?;
                    if len == 0 {
                        return Ok(0);
                    }
                    self.raw.extend(&chunk[..len]);
                }
            }
        }
        self.data.read(bytes)
    }
}

impl Write for WebSocket {
    /// One message, in as many frames as it is to be cut into.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut first = BINARY;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(self.cut));
            let last = if later.is_empty() { FINAL } else { 0 };
            self.tcp.write_all(&frame(first | last, now))?;
            (first, rest) = (CONTINUATION, later);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
