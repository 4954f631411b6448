use std::collections::VecDeque;
use std::io::{Read, Write};

use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
use tungstenite::{Error, Message};

use super::*;

const FINAL: u8 = 0x80;
const CONTINUE: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A client's frame, by hand.
fn masked(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ ..126 => bytes.push(0x80 | len as u8),
        len @ 126..65_536 => bytes.extend([&[0xfe][..], &(len as u16).to_be_bytes()].concat()),
        len => bytes.extend([&[0xff][..], &(len as u64).to_be_bytes()].concat()),
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

fn frame_of(first: u8, payload: &[u8]) -> Vec<u8> {
    masked(first, payload, [0xa1, 0x02, 0xff, 0x37])
}

/// What a stream of frames carries, and what it asks for, taken in pieces of `size`.
fn taken(stream: &[u8], size: usize) -> (Vec<u8>, Vec<String>, Option<Fault>) {
    let (mut inbound, mut data, mut asked) = (Inbound::default(), Vec::new(), Vec::new());
    for piece in stream.chunks(size) {
        let mut piece = piece.to_vec();
        let took = inbound.take(&mut piece, |request| asked.push(format!("{request:?}")));
        match took {
            Ok(len) => data.extend(&piece[..len]),
            Err(fault) => return (data, asked, Some(fault)),
        }
    }
    assert!(inbound.control.capacity() == 0 || inbound.frame.is_some(), "nothing is left behind");
    (data, asked, None)
}

/// Data may be spread over frames as anybody likes, with control frames in between
/// [MQTT-6.0.0-2].
#[test]
fn frames_may_be_cut_anywhere() {
    let long: Vec<u8> = (0..70_000_u32).map(|at| (at * 31 % 251) as u8).collect();
    let stream = [
        frame_of(FINAL | BINARY, b"\x10\x0d\0\x04MQ"),
        frame_of(FINAL | BINARY, b""),
        frame_of(BINARY, b"TT\x04"),
        frame_of(FINAL | PING, b"are you there?"),
        frame_of(CONTINUE, b""),
        frame_of(FINAL | PONG, &[7; 125]),
        frame_of(FINAL | CONTINUE, b"\x02\0\x3c\0\x01c\xc0\0"),
        frame_of(FINAL | BINARY, &long[..200]),
        masked(FINAL | BINARY, &long, [0, 1, 2, 3]),
        frame_of(FINAL | PING, b""),
        frame_of(FINAL | CLOSE, &[&1001_u16.to_be_bytes()[..], b"going away"].concat()),
        frame_of(FINAL | BINARY, b"too late"),
    ];
    let stream = stream.concat();
    let data = [b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01c\xc0\0", &long[..200], &long[..]].concat();
    let ping = format!("{:?}", Request::Ping(b"are you there?"));
    let asked = [ping, format!("{:?}", Request::Ping(b"")), format!("{:?}", Request::Close(1001))];
    for size in (1..40).chain([64, 125, 126, 127, 4096, 65_536, stream.len()]) {
        let (got, requests, fault) = taken(&stream, size);
        assert_eq!(fault, None, "in pieces of {size}");
        assert!(got == data, "in pieces of {size}");
        assert_eq!(requests, asked, "in pieces of {size}");
    }
}

#[test]
fn what_may_not_come_is_a_fault_however_it_is_cut() {
    let rows: &[(Vec<u8>, u16, &str)] = &[
        (frame_of(FINAL | TEXT, b"hello"), 1003, "MQTT-6.0.0-1"),
        (frame_of(TEXT, b"hel"), 1003, "MQTT-6.0.0-1"),
        (vec![FINAL | BINARY, 2, b'h', b'i'], 1002, "without a mask"),
        (vec![FINAL | PING, 0], 1002, "without a mask"),
        (frame_of(FINAL | 0x40 | BINARY, b"x"), 1002, "extension"),
        (frame_of(FINAL | 0x20 | BINARY, b"x"), 1002, "extension"),
        (frame_of(FINAL | 0x10 | PING, b"x"), 1002, "extension"),
        (frame_of(FINAL | 3, b"x"), 1002, "no known kind"),
        (frame_of(FINAL | 15, b"x"), 1002, "no known kind"),
        (frame_of(FINAL | CONTINUE, b"x"), 1002, "continues nothing"),
        ([frame_of(BINARY, b"x"), frame_of(FINAL | BINARY, b"y")].concat(), 1002, "within"),
        (frame_of(PING, b"x"), 1002, "control frame"),
        (frame_of(FINAL | PING, &[0; 126]), 1002, "control frame"),
        (frame_of(FINAL | CLOSE, &[3]), 1002, "half a code"),
        (frame_of(FINAL | CLOSE, &[0, 0]), 1002, "may not be sent"),
        (frame_of(FINAL | CLOSE, &1005_u16.to_be_bytes()), 1002, "may not be sent"),
        (vec![FINAL | BINARY, 0xfe, 0, 125, 0, 0, 0, 0], 1002, "length"),
        (vec![FINAL | BINARY, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0], 1002, "length"),
        (vec![FINAL | BINARY, 0xff, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], 1002, "length"),
    ];
    for (stream, code, words) in rows {
        for size in 1..=stream.len() {
            let (_, _, fault) = taken(stream, size);
            let fault = fault.unwrap_or_else(|| panic!("{stream:02x?} in pieces of {size}"));
            assert_eq!(fault.code, *code, "{stream:02x?}");
            assert!(fault.to_string().contains(words), "{fault} for {stream:02x?}");
        }
    }
}

#[test]
fn a_close_may_say_why() {
    let rows: &[(&[u8], u16)] = &[(b"", 1000), (b"\x03\xe9", 1001), (b"\x0f\xa0reason", 4000)];
    for (payload, code) in rows {
        let (_, asked, fault) = taken(&frame_of(FINAL | CLOSE, payload), 3);
        assert_eq!((asked, fault), (vec![format!("{:?}", Request::Close(*code))], None));
    }
}

/// A socket that takes `room` bytes at a time, and then nothing once.
#[derive(Default)]
struct Narrow {
    room: usize,
    full: bool,
    wire: Vec<u8>,
    /// What it was given and did not take: it must be given the same again.
    refused: Vec<u8>,
}

impl Narrow {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let given: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        assert!(!given.is_empty(), "nobody writes nothing");
        let same = given.len().min(self.refused.len());
        assert!(self.refused[..same] == given[..same], "the same again");
        self.full = !self.full;
        if self.full {
            assert!(same == self.refused.len(), "all of it");
            self.refused = given;
            return Err(ErrorKind::WouldBlock.into());
        }
        let len = given.len().min(self.room);
        self.wire.extend(&given[..len]);
        self.refused.clear();
        Ok(len)
    }
}

/// All of `bytes`, in two slices, as often as it takes.
fn write_all(outbound: &mut Outbound, bytes: &[u8], socket: &mut Narrow) {
    let mut at = 0;
    while at < bytes.len() {
        let (front, back) = bytes[at..].split_at((bytes.len() - at) / 3);
        let slices = [IoSlice::new(front), IoSlice::new(back)];
        match outbound.write(&slices, |slices| socket.write(slices)) {
            Ok(len) => {
                assert!(len > 0);
                at += len;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
}

#[test]
fn each_write_is_one_frame_however_little_the_socket_takes() {
    let payload: Vec<u8> = (0..70_000_u32).map(|at| (at * 31 % 251) as u8).collect();
    for room in [1, 2, 3, 5, 9, 10, 11, 1000, 100_000] {
        for len in [1, 2, 125, 126, 127, 65_535, 65_536, 70_000] {
            if len / room > 2000 {
                continue;
            }
            let mut socket = Narrow { room, ..Narrow::default() };
            let mut outbound = Outbound::default();
            write_all(&mut outbound, &payload[..len], &mut socket);
            assert!(!outbound.waits() && outbound.front.capacity() <= 16);
            let header = match len {
                ..126 => vec![0x82, len as u8],
                126..65_536 => [&[0x82, 126][..], &(len as u16).to_be_bytes()].concat(),
                _ => [&[0x82, 127][..], &(len as u64).to_be_bytes()].concat(),
            };
            assert!(socket.wire == [&header, &payload[..len]].concat(), "{len} by {room}");
        }
    }
}

/// Pongs go between frames, only the last one that is owed, and nothing behind a Close.
#[test]
fn answers_wait_for_the_end_of_a_frame() {
    let mut outbound = Outbound::default();
    let mut socket = Narrow { room: 4, full: true, ..Narrow::default() };
    let bytes = [IoSlice::new(b"abcdef")];
    assert_eq!(outbound.write(&bytes, |s| socket.write(s)).expect("two"), 2);
    outbound.answer(Request::Ping(b"first"));
    outbound.answer(Request::Ping(b"last"));
    assert!(!outbound.waits(), "the frame goes first");
    assert!(outbound.flush(|_| panic!("not now")).expect("nothing to do"));
    write_all(&mut outbound, b"cdef", &mut socket);
    while outbound.waits() {
        outbound.flush(|s| socket.write(s)).expect("it takes all in the end");
    }
    assert_eq!(socket.wire, b"\x82\x06abcdef\x8a\x04last");
    outbound.answer(Request::Close(1001));
    outbound.answer(Request::Ping(b"too late"));
    outbound.close(NORMAL);
    let error = loop {
        match outbound.write(&bytes, |s| socket.write(s)) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => break other.expect_err("nothing behind a Close"),
        }
    };
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    assert_eq!(socket.wire[14..], *b"\x88\x02\x03\xe9");
}

#[test]
fn what_the_socket_says_is_passed_on() {
    let bytes = [IoSlice::new(b"abc")];
    let mut outbound = Outbound::default();
    let reset = outbound.write(&bytes, |_| Err(ErrorKind::ConnectionReset.into()));
    assert_eq!(reset.expect_err("reset").kind(), ErrorKind::ConnectionReset);
    let mut outbound = Outbound::default();
    outbound.answer(Request::Ping(b""));
    let nothing = outbound.write(&bytes, |_| Ok(0));
    assert_eq!(nothing.expect_err("nothing").kind(), ErrorKind::WriteZero);
}

/// A stream that another implementation of WebSocket reads from and writes to.
struct Wire {
    incoming: VecDeque<u8>,
    outgoing: Vec<u8>,
}

impl Read for Wire {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.incoming.is_empty() {
            Err(ErrorKind::WouldBlock.into())
        } else {
            self.incoming.read(bytes)
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The data that tungstenite finds in a client's stream, or its verdict that the stream is bad.
fn second_opinion(stream: &[u8]) -> Option<Vec<u8>> {
    let wire = Wire { incoming: stream.iter().copied().collect(), outgoing: Vec::new() };
    let config = WebSocketConfig::default().max_message_size(None).max_frame_size(Some(1 << 20));
    let mut socket = WebSocket::from_raw_socket(wire, Role::Server, Some(config));
    let mut data = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Binary(bytes)) => data.extend(bytes),
            Ok(Message::Text(_)) => return None,
            Ok(_) => {}
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => return Some(data),
            // It will not gather what may well come.
            Err(Error::ConnectionClosed | Error::Capacity(_)) => return Some(data),
            Err(_) => return None,
        }
    }
}

#[test]
fn random_streams_mean_what_another_reader_takes_them_for() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut agreed = 0;
    for round in 0..4000 {
        let mut stream = Vec::new();
        for _ in 0..=random(4) {
            let frames = 1 + random(3);
            for number in 0..frames {
                let first = if number == 0 { BINARY } else { CONTINUE };
                let last = if number + 1 == frames { FINAL } else { 0 };
                let payload: Vec<u8> = (0..random(200)).map(|_| random(256) as u8).collect();
                let mask = [(); 4].map(|()| random(256) as u8);
                stream.extend(masked(first | last, &payload, mask));
                if random(4) == 0 {
                    stream.extend(frame_of(FINAL | (PING + random(2) as u8), b"ping or pong"));
                }
            }
        }
        let whole = round % 2 == 0;
        if !whole {
            let at = random(stream.len() as u64) as usize;
            stream[at] ^= 1 << random(8);
        }
        let size = 1 + random(300) as usize;
        let (data, _, fault) = taken(&stream, size);
        let other = second_opinion(&stream);
        if whole {
            assert_eq!(fault, None);
        }
        // The other reader gives messages out whole, and is no judge of lengths that are written
        // longer than they need to be; what it refuses for another reason is refused here.
        if let (None, Some(other)) = (fault, &other) {
            assert!(data.starts_with(other), "round {round}");
            agreed += u32::from(data == *other);
        }
        assert!(other.is_some() || fault.is_some(), "round {round}: refused there, taken here");
    }
    assert!(agreed > 2000, "{agreed}");
}
