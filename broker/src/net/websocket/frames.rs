//! Frames to bytes and bytes to frames, in pieces of any size.

use std::io::{self, Cursor, ErrorKind, IoSlice};

use smallvec::SmallVec;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use crate::net::websocket::Fault;

/// The longest header that a client sends: two bytes, eight of length, four of mask.
const HEADER_BYTES_MAX: usize = 14;

/// The longest payload of a control frame.
const CONTROL_BYTES_MAX: u64 = 125;

/// Close: everything was in order.
pub(super) const NORMAL: u16 = 1000;

/// A control frame that somebody must do something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request<'a> {
    /// A Pong with these bytes is owed.
    Ping(&'a [u8]),
    /// Nothing more comes, for the reason with this code; a Close with the same code is owed.
    Close(u16),
}

/// The way in: takes frames apart where they lie.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    /// The first bytes of a header that is not whole yet.
    header: [u8; HEADER_BYTES_MAX],
    header_len: usize,
    /// The frame whose payload comes now.
    frame: Option<Frame>,
    /// A message of several frames goes on.
    goes_on: bool,
    /// Payload of a control frame.
    control: Vec<u8>,
    closed: bool,
}

#[derive(Debug)]
struct Frame {
    opcode: OpCode,
    /// As it applies to the next byte.
    mask: [u8; 4],
    /// Bytes still to come.
    left: u64,
}

impl Inbound {
    /// Whether a Close has come: nothing behind it counts.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes what came, and leaves in front of `bytes` the data that was in it; answers how much.
    /// Packets of MQTT begin and end where they like [MQTT-6.0.0-2].
    pub(super) fn take(
        &mut self,
        bytes: &mut [u8],
        mut request: impl FnMut(Request<'_>),
    ) -> Result<usize, Fault> {
        let (mut at, mut kept) = (0, 0);
        while at < bytes.len() && !self.closed {
            let Some(frame) = &mut self.frame else {
                at += self.take_header(&bytes[at..])?;
                self.end_frame(&mut request)?;
                continue;
            };
            let rest = bytes.len() - at;
            let len = usize::try_from(frame.left).map_or(rest, |left| left.min(rest));
            if matches!(frame.opcode, OpCode::Control(_)) {
                let from = self.control.len();
                self.control.extend(&bytes[at..at + len]);
                frame.unmask(&mut self.control[from..]);
            } else {
                bytes.copy_within(at..at + len, kept);
                frame.unmask(&mut bytes[kept..kept + len]);
                kept += len;
            }
            at += len;
            self.end_frame(&mut request)?;
        }
        Ok(kept)
    }

    /// Takes a header, or the beginning of one, and answers how much of `bytes` it was.
    fn take_header(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let had = self.header_len;
        let more = bytes.len().min(HEADER_BYTES_MAX - had);
        self.header[had..had + more].copy_from_slice(&bytes[..more]);
        let mut cursor = Cursor::new(&self.header[..had + more]);
        let parsed = FrameHeader::parse(&mut cursor);
        let Some((header, left)) = parsed.map_err(|_| Fault::frame("a frame of no known kind"))?
        else {
            self.header_len = had + more;
            return Ok(more);
        };
        let len = usize::try_from(cursor.position()).expect("a header has 14 bytes at most");
        self.header_len = 0;
        self.check(&header, left, len)?;
        let mask = header.mask.ok_or(Fault::frame("a frame without a mask"))?;
        self.frame = Some(Frame { opcode: header.opcode, mask, left });
        Ok(len - had)
    }

    /// Whether the frame may come, and in this form.
    fn check(&mut self, header: &FrameHeader, payload: u64, len: usize) -> Result<(), Fault> {
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(Fault::frame("a frame with bits of an extension"));
        }
        if header.len(payload) != len || payload > i64::MAX as u64 {
            return Err(Fault::frame("a frame whose length is written in no way that it may be"));
        }
        match header.opcode {
            OpCode::Control(_) if !header.is_final || payload > CONTROL_BYTES_MAX => {
                return Err(Fault::frame("a control frame that is too long, or in pieces"));
            }
            OpCode::Control(_) => return Ok(()),
            OpCode::Data(Data::Text) => return Err(Fault::text()), // [MQTT-6.0.0-1]
            OpCode::Data(Data::Continue) if !self.goes_on => {
                return Err(Fault::frame("a frame that continues nothing"));
            }
            OpCode::Data(Data::Continue) => {}
            OpCode::Data(_) if self.goes_on => {
                return Err(Fault::frame("a message within another"));
            }
            OpCode::Data(_) => {}
        }
        self.goes_on = !header.is_final;
        Ok(())
    }

    /// Done with a frame, if all of it has come.
    fn end_frame(&mut self, request: &mut impl FnMut(Request<'_>)) -> Result<(), Fault> {
        let Some(frame) = self.frame.take_if(|frame| frame.left == 0) else { return Ok(()) };
        let payload = std::mem::take(&mut self.control);
        match frame.opcode {
            OpCode::Control(Control::Ping) => request(Request::Ping(&payload)),
            OpCode::Control(Control::Close) => {
                self.closed = true;
                request(Request::Close(close_code(&payload)?));
            }
            OpCode::Control(_) | OpCode::Data(_) => {}
        }
        Ok(())
    }
}

impl Frame {
    /// Takes the mask off the next bytes of the payload.
    fn unmask(&mut self, bytes: &mut [u8]) {
        let [a, b, c, d] = self.mask;
        let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
        let mut chunks = bytes.chunks_exact_mut(8);
        for chunk in &mut chunks {
            let chunk: &mut [u8; 8] = chunk.try_into().expect("chunks of eight");
            *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
        }
        for (byte, mask) in chunks.into_remainder().iter_mut().zip(self.mask.iter().cycle()) {
            *byte ^= mask;
        }
        self.mask.rotate_left(bytes.len() % 4);
        self.left -= bytes.len() as u64;
    }
}

fn close_code(payload: &[u8]) -> Result<u16, Fault> {
    let Some(code) = payload.first_chunk() else {
        let odd = Fault::frame("a Close with half a code");
        return if payload.is_empty() { Ok(NORMAL) } else { Err(odd) };
    };
    match u16::from_be_bytes(*code) {
        code @ (1000..=1003 | 1007..=1014 | 3000..=4999) => Ok(code),
        _ => Err(Fault::frame("a Close with a code that may not be sent")),
    }
}

/// The way out: one frame around whatever is written together. What the socket did not take of a
/// frame's payload stays with the writer, who owes it.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    /// Bytes that go before anything else: headers, control frames.
    front: SmallVec<[u8; 16]>,
    /// How much of them is written.
    written: usize,
    /// Bytes of payload that the header of the frame has announced, and that are not written.
    owed: usize,
    /// A control frame that waits for the end of the frame. The last one counts; nothing passes a
    /// Close.
    control: Option<Vec<u8>>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// A Close waits in `control`.
    Closing,
    /// A Close stands in `front`, or is written.
    Closed,
}

impl Outbound {
    /// Will answer what was asked for, between two frames.
    pub(super) fn answer(&mut self, request: Request<'_>) {
        match request {
            Request::Ping(payload) if self.state == State::Open => {
                self.control = Some(frame(OpCode::Control(Control::Pong), payload));
            }
            Request::Ping(_) => {}
            Request::Close(code) => self.close(code),
        }
    }

    /// Will say that nothing more comes, once.
    pub(super) fn close(&mut self, code: u16) {
        if self.state == State::Open {
            self.control = Some(frame(OpCode::Control(Control::Close), &code.to_be_bytes()));
            self.state = State::Closing;
        }
    }

    /// Writes payload in a frame of its own, or the rest of the frame that was begun: then `bytes`
    /// begins with what `write` did not take. Answers how much it took now. What `write` is given
    /// and does not take, it is given again, whatever asks for it.
    pub(super) fn write(
        &mut self,
        bytes: &[IoSlice<'_>],
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.owed == 0 {
            if !self.flush(&mut write)? {
                return Err(ErrorKind::WouldBlock.into());
            }
            if self.state == State::Closed {
                return Err(io::Error::new(ErrorKind::BrokenPipe, "the client has closed it"));
            }
            self.owed = bytes.iter().map(|slice| slice.len()).sum();
            put_header(OpCode::Data(Data::Binary), self.owed, &mut self.front);
        }
        let front = self.front.len() - self.written;
        let len = write(&self.slices(bytes))?;
        self.wrote_front(len.min(front));
        let payload = len - len.min(front);
        self.owed -= payload;
        if self.control.is_some() {
            self.flush(write)?;
        }
        if payload == 0 && len > 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(payload) }
    }

    /// What is to be written: what goes in front, and as much of `bytes` as is owed.
    fn slices<'a>(&'a self, bytes: &'a [IoSlice<'_>]) -> SmallVec<[IoSlice<'a>; 4]> {
        let front = Some(&self.front[self.written..]).filter(|front| !front.is_empty());
        let mut slices: SmallVec<_> = front.into_iter().map(IoSlice::new).collect();
        let mut room = self.owed;
        for slice in bytes {
            let len = slice.len().min(room);
            slices.push(IoSlice::new(&slice[..len]));
            room -= len;
        }
        slices
    }

    /// Writes what is owed to nobody but the peer, between two frames; `true` if there is nothing
    /// more of that now.
    pub(super) fn flush(
        &mut self,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<bool> {
        while self.waits() {
            if self.front.is_empty() {
                self.put_control();
            }
            match write(&[IoSlice::new(&self.front[self.written..])]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(len) => self.wrote_front(len),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Whether [`flush`](Self::flush) has something to do.
    pub(super) fn waits(&self) -> bool {
        self.owed == 0 && (self.control.is_some() || !self.front.is_empty())
    }

    fn put_control(&mut self) {
        self.front.extend(self.control.take().into_iter().flatten());
        if self.state == State::Closing {
            self.state = State::Closed;
        }
    }

    fn wrote_front(&mut self, len: usize) {
        self.written += len;
        if self.written == self.front.len() {
            self.front = SmallVec::new();
            self.written = 0;
        }
    }
}

/// A whole frame with a short payload.
fn frame(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut frame = SmallVec::new();
    put_header(opcode, payload.len(), &mut frame);
    [&frame[..], payload].concat()
}

/// The header of a server's frame, which has no mask.
fn put_header(opcode: OpCode, payload: usize, out: &mut SmallVec<[u8; 16]>) {
    let header = FrameHeader { is_final: true, opcode, ..FrameHeader::default() };
    let mut bytes = [0; HEADER_BYTES_MAX];
    let mut rest = &mut bytes[..];
    header.format(payload as u64, &mut rest).expect("the longest header fits");
    let len = HEADER_BYTES_MAX - rest.len();
    out.extend_from_slice(&bytes[..len]);
}

#[cfg(test)]
mod tests;
