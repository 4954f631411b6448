//! WebSocket within TLS, with another implementation of WebSocket at the client's end.

use std::net::TcpStream;
use std::sync::Arc;

use martlet::net::websocket;
use rustls::{ClientConnection, StreamOwned};
use tungstenite::{ClientRequestBuilder, Message, WebSocket};

use crate::client::{Client, VERSIONS, config, connect_packet};
use crate::running::Running;
use crate::{World, settings};

struct Page {
    socket: WebSocket<StreamOwned<ClientConnection, TcpStream>>,
    bytes: Vec<u8>,
}

impl Page {
    fn connect(broker: &Running, client: Client, id: &str) -> Self {
        let uri = format!("wss://{}/mqtt", broker.address()).parse().expect("an address");
        let request = ClientRequestBuilder::new(uri).with_sub_protocol("mqtt");
        let (socket, _) = tungstenite::client(request, client.into_stream()).expect("it opens");
        let mut page = Self { socket, bytes: Vec::new() };
        page.send(&connect_packet(id));
        assert_eq!(page.packet(), [0x20, 2, 0, 0]);
        page
    }

    fn send(&mut self, packet: &[u8]) {
        self.socket.send(Message::binary(packet.to_vec())).expect("the broker reads");
    }

    /// The next packet, whatever frames it came in.
    fn packet(&mut self) -> Vec<u8> {
        loop {
            if let Some(len) = packet_len(&self.bytes) {
                let rest = self.bytes.split_off(len);
                return std::mem::replace(&mut self.bytes, rest);
            }
            match self.socket.read().expect("the broker writes") {
                Message::Binary(bytes) => self.bytes.extend(bytes),
                other => assert!(matches!(other, Message::Pong(_)), "{other:?}"),
            }
        }
    }
}

fn packet_len(bytes: &[u8]) -> Option<usize> {
    let last = bytes.iter().skip(1).take(4).position(|byte| byte & 0x80 == 0)?;
    let lengths = bytes[1..last + 2].iter().rev();
    let len = last + 2 + lengths.fold(0, |len, byte| len << 7 | usize::from(byte & 0x7f));
    (bytes.len() >= len).then_some(len)
}

/// PUBLISH at QoS 1 to `t`, with a payload of the number's own.
fn publish(number: u16) -> Vec<u8> {
    let size = usize::from(number % 11) * 4000 + 20;
    let payload = (0..size).map(|at| (at * 7 + usize::from(number)) as u8);
    let body: Vec<u8> =
        [0, 1, b't'].into_iter().chain(number.to_be_bytes()).chain(payload).collect();
    let mut packet = vec![0x32];
    let mut len = body.len();
    while len > 0x7f {
        packet.push((len & 0x7f) as u8 | 0x80);
        len >>= 7;
    }
    packet.push(len as u8);
    packet.extend(body);
    packet
}

/// What one layer could not give to the one below goes on exactly where it was cut off, with
/// answers of the WebSocket's own in between.
#[test]
fn a_slow_reader_of_websocket_within_tls_gets_every_byte_in_order() {
    const MESSAGES: u16 = 300;
    let world = World::new();
    for version in VERSIONS {
        let mut settings = settings(world.tls());
        settings.listeners[0].0.websocket = Some(websocket::Settings::default());
        let broker = Running::start(settings);
        let config = Arc::new(config(version, &world.own, None));
        let open = || Client::open(broker.address(), &config).expect("TLS");
        let mut sleeper = Page::connect(&broker, open(), "sleeper");
        sleeper.send(b"\x82\x06\0\x01\0\x01t\x01");
        assert_eq!(sleeper.packet(), [0x90, 3, 0, 1, 1]);
        let mut publisher = Page::connect(&broker, open(), "publisher");
        for number in 1..=MESSAGES {
            publisher.send(&publish(number));
            let [high, low] = number.to_be_bytes();
            assert_eq!(publisher.packet(), [0x40, 2, high, low]);
            if number % 20 == 0 {
                let ping = Message::Ping(number.to_be_bytes().to_vec().into());
                sleeper.socket.send(ping).expect("the broker reads");
            }
        }
        for number in 1..=MESSAGES {
            let mut got = sleeper.packet();
            let at = header_len(&got) + 3;
            let id = [got[at], got[at + 1]];
            got[at..at + 2].copy_from_slice(&number.to_be_bytes());
            assert!(got == publish(number), "message {number}");
            sleeper.send(&[0x40, 2, id[0], id[1]]);
        }
        sleeper.send(b"\xe0\0");
        let end = loop {
            match sleeper.socket.read() {
                Ok(Message::Close(close)) => break close.map(|close| u16::from(close.code)),
                Ok(Message::Pong(_)) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(end, Some(1000));
    }
}

/// Bytes of the fixed header.
fn header_len(packet: &[u8]) -> usize {
    packet.iter().skip(1).take_while(|byte| **byte & 0x80 != 0).count() + 2
}
