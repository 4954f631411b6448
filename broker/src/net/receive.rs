//! Bytes to inputs, as many packets as came.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use martlet_codec::decode::{DecodeError, Decoded, decode};
use martlet_codec::packet::Packet;
use martlet_codec::reason::ReasonCode;
use martlet_engine::input::{Input, LostCause};
use parking_lot::Mutex;
use tokio::time::{Sleep, sleep};

use crate::net::admission::Asking;
use crate::net::connection::{Connection, End};
use crate::net::rights::{self, Fate, Heard, Pending};
use crate::net::throttle::Throttle;
use crate::net::websocket::Fault;

/// What one read takes at the most; a packet that does not fit is gathered in a buffer of its own.
const READ_BYTES: usize = 64 * 1024;

/// By how much the buffer of a large packet grows at a time: doubled up to the second value. What a
/// peer has sent may take memory, but not what it has announced.
const GROW_BYTES: (usize, usize) = (4 * 1024, 256 * 1024);

thread_local! {
    /// One for each worker, so that idle connections own none.
    static BYTES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static INPUTS: RefCell<Vec<Input>> = const { RefCell::new(Vec::new()) };
}

/// What was read and not taken yet; of an idle connection, nothing.
#[derive(Debug, Default)]
pub(super) struct Incoming(Option<Box<Held>>);

#[derive(Debug, Default)]
struct Held {
    /// The first part of a packet whose rest has not come yet.
    bytes: Vec<u8>,
    /// How many bytes are still to come, as far as is known.
    missing: usize,
    /// A CONNECT that nobody has decided on yet.
    asking: Option<Box<Asking>>,
    /// The client publishes too fast: until then nothing is read. `bytes` may hold whole packets.
    pause: Option<Pin<Box<Sleep>>>,
    /// Others are asked about the packet that `bytes` begin with: until then nothing is read.
    pending: Option<Box<Pending>>,
}

/// What a read brought.
pub(super) enum Received {
    /// Packets, all handed on; whether the socket may hold more.
    Packets {
        /// The read filled its buffer.
        more: bool,
    },
    /// The end of the connection; the engine knows.
    End(End),
}

/// What was found in some bytes.
#[derive(Default)]
struct Taken {
    consumed: usize,
    /// How many bytes the next packet misses, at least.
    missing: usize,
    end: Option<End>,
    /// A CONNECT. Nothing behind it is looked at before it is decided on.
    asking: Option<Box<Asking>>,
    /// Nothing behind it is looked at before that time is over.
    pause: Option<Duration>,
    /// The next packet is to be asked about, and was not taken.
    pending: Option<Box<Pending>>,
}

/// What became of one packet.
enum Outcome {
    /// It goes to the engine; nothing behind it is looked at before that time is over.
    Taken(Option<Duration>),
    /// It is a CONNECT.
    Asking(Box<Asking>),
    /// It is the last.
    End(End),
    /// Others are asked about it.
    Pending(Box<Pending>),
}

/// Why a connection is lost whose stream failed.
pub(super) fn lost_by(error: &io::Error) -> LostCause {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Fault>()) {
        Some(Fault { rule, reason, .. }) => LostCause::Malformed { rule, reason },
        None => LostCause::Socket(error.to_string().into()),
    }
}

impl Taken {
    fn is_done(&self) -> bool {
        self.end.is_some() || self.asking.is_some() || self.pause.is_some()
    }
}

impl Incoming {
    /// The CONNECT that was found, once.
    pub(super) fn take_asking(&mut self) -> Option<Box<Asking>> {
        self.0.as_mut()?.asking.take()
    }

    fn bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |held| &held.bytes)
    }

    fn take_bytes(&mut self) -> Vec<u8> {
        self.0.as_mut().map(|held| std::mem::take(&mut held.bytes)).unwrap_or_default()
    }

    /// Keeps what was not taken of `bytes`. A new vector, exactly as long as needed: most
    /// connections stop between packets, and an idle one then holds nothing.
    fn keep(&mut self, bytes: &[u8], taken: Taken) -> Option<End> {
        let held = Held {
            bytes: bytes[taken.consumed..].to_vec(),
            missing: taken.missing,
            asking: taken.asking,
            pause: taken.pause.map(|time| Box::pin(sleep(time))),
            pending: taken.pending,
        };
        if held.is_nothing() {
            self.0 = None;
        } else {
            **self.0.get_or_insert_default() = held;
        }
        taken.end
    }
}

impl Held {
    fn is_large(&self) -> bool {
        self.bytes.len() + self.missing > READ_BYTES
    }

    fn is_nothing(&self) -> bool {
        let Self { bytes, missing: _, asking, pause, pending } = self;
        bytes.is_empty() && asking.is_none() && pause.is_none() && pending.is_none()
    }
}

impl Connection {
    /// Reads once and hands on what came.
    pub(super) fn poll_receive(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        incoming: &mut Incoming,
    ) -> Poll<io::Result<Received>> {
        match incoming.0.as_deref_mut() {
            Some(Held { pause: Some(pause), .. }) => {
                ready!(pause.as_mut().poll(cx));
                Poll::Ready(Ok(self.go_on(incoming, Heard::default())))
            }
            Some(Held { pending: Some(pending), .. }) => {
                let heard = ready!(pending.poll(cx));
                self.traffic().unanswered.fetch_add(heard.unanswered(), Ordering::Relaxed);
                Poll::Ready(Ok(self.go_on(incoming, heard)))
            }
            Some(held) if held.is_large() => match ready!(self.poll_receive_large(cx, held))? {
                None => Poll::Ready(Ok(Received::End(self.lose(LostCause::Closed)))),
                Some(0) => Poll::Ready(Ok(self.go_on(incoming, Heard::default()))),
                Some(_) => Poll::Ready(Ok(Received::Packets { more: true })),
            },
            _ => BYTES.with_borrow_mut(|bytes| self.poll_receive_many(cx, incoming, bytes)),
        }
    }

    /// Reads into the worker's buffer, behind what is left of the last read.
    fn poll_receive_many(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        incoming: &mut Incoming,
        bytes: &mut Vec<u8>,
    ) -> Poll<io::Result<Received>> {
        bytes.resize(READ_BYTES, 0);
        let kept = incoming.bytes().len();
        let len = ready!(self.stream.poll_read(cx, &mut bytes[kept..]))?;
        if len == 0 {
            return Poll::Ready(Ok(Received::End(self.lose(LostCause::Closed))));
        }
        self.traffic().count_read(len);
        bytes[..kept].copy_from_slice(incoming.bytes());
        let filled = &bytes[..kept + len];
        let taken = self.take_packets(None, filled, Heard::default());
        Poll::Ready(Ok(match incoming.keep(filled, taken) {
            Some(end) => Received::End(end),
            None => Received::Packets { more: kept + len == READ_BYTES },
        }))
    }

    /// Reads more of a large packet, and nothing behind it, into a buffer of its own. Says how much
    /// is still missing; `None`: the stream has ended.
    fn poll_receive_large(
        &self,
        cx: &mut Context<'_>,
        held: &mut Held,
    ) -> Poll<io::Result<Option<usize>>> {
        let kept = held.bytes.len();
        let grow = kept.clamp(GROW_BYTES.0, GROW_BYTES.1).min(held.missing);
        held.bytes.resize(kept + grow, 0);
        let read = self.stream.poll_read(cx, &mut held.bytes[kept..]);
        let len = if let Poll::Ready(Ok(len)) = read { len } else { 0 };
        held.bytes.truncate(kept + len);
        if ready!(read)? == 0 {
            return Poll::Ready(Ok(None));
        }
        self.traffic().count_read(len);
        held.missing -= len;
        Poll::Ready(Ok(Some(held.missing)))
    }

    /// Reads and forgets until the peer closes.
    pub(super) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; 512];
        loop {
            match ready!(self.stream.poll_read(cx, &mut bytes)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
    }

    /// Brings the input that opens the link, and what has come behind the CONNECT.
    pub(super) fn open(self: &Arc<Self>, open: Input, incoming: &mut Incoming) -> Result<(), End> {
        let bytes = incoming.take_bytes();
        let taken = self.take_packets(Some(open), &bytes, Heard::default());
        incoming.keep(&bytes, taken).map_or(Ok(()), Err)
    }

    /// A pause is over, an answer is there, or a large packet is whole: what has come is taken
    /// before anything is read.
    fn go_on(self: &Arc<Self>, incoming: &mut Incoming, heard: Heard) -> Received {
        let bytes = incoming.take_bytes();
        let taken = self.take_packets(None, &bytes, heard);
        match incoming.keep(&bytes, taken) {
            Some(end) => Received::End(end),
            None => Received::Packets { more: true },
        }
    }

    /// Decodes all packets that are whole and brings them to the engine in one batch. `heard` is
    /// what others have answered about the first of them.
    fn take_packets(self: &Arc<Self>, first: Option<Input>, bytes: &[u8], heard: Heard) -> Taken {
        let mut inputs = INPUTS.take();
        inputs.extend(first);
        let mut taken = self.decode_all(bytes, &mut inputs, heard);
        if let (Some(End::Lost(cause)), Some(link)) = (&taken.end, self.link.id()) {
            inputs.push(Input::Lost { link, cause: cause.clone() });
        }
        if !inputs.is_empty() {
            self.submit(&mut inputs);
        }
        inputs.clear();
        INPUTS.set(inputs);
        if taken.end.is_some() {
            taken.missing = 0;
        }
        taken
    }

    fn decode_all(&self, bytes: &[u8], inputs: &mut Vec<Input>, mut heard: Heard) -> Taken {
        let mut taken = Taken::default();
        while !taken.is_done() && taken.consumed < bytes.len() {
            let rest = &bytes[taken.consumed..];
            // A packet is large as a value, so it stays where it is.
            match &decode(rest, self.version(), &self.decode_limits()) {
                Ok(Decoded::NeedMore { at_least }) => {
                    taken.missing = *at_least;
                    break;
                }
                Ok(Decoded::Packet { packet, len, header_len }) => {
                    let bytes = &rest[..*len];
                    match self.take(packet, bytes, *header_len, inputs, std::mem::take(&mut heard))
                    {
                        Outcome::Taken(pause) => taken.pause = pause,
                        Outcome::Asking(asking) => taken.asking = Some(asking),
                        Outcome::End(end) => taken.end = Some(end),
                        Outcome::Pending(pending) => {
                            taken.pending = Some(pending);
                            break;
                        }
                    }
                    taken.consumed += *len;
                    self.log_packet("Received", "from", packet);
                }
                Err(error) => taken.end = Some(self.end_by(error, rest)),
            }
        }
        taken
    }

    /// Takes one packet, whose body stands behind a header of so many bytes.
    fn take(
        &self,
        packet: &Packet<'_>,
        bytes: &[u8],
        header_len: usize,
        inputs: &mut Vec<Input>,
        heard: Heard,
    ) -> Outcome {
        let Some(link) = self.link.id() else {
            return self.ask(packet).map_or_else(Outcome::End, Outcome::Asking);
        };
        let is_publish = matches!(packet, Packet::Publish(_));
        let pause = || self.pause_after(is_publish, bytes.len());
        let taken = self.shared.terms.take(packet, &bytes[header_len..]);
        let Some(rights) = self.guest.get().and_then(|guest| guest.rights.as_ref()) else {
            // Nobody looks at it on its way, so that it need not be put together twice.
            return match taken {
                Ok(packet) => {
                    inputs.push(Input::Packet { link, packet });
                    Outcome::Taken(pause())
                }
                Err(breach) => Outcome::End(End::Lost(breach.cause())),
            };
        };
        let packet = match taken {
            Ok(packet) => packet,
            Err(breach) => return Outcome::End(End::Lost(breach.cause())),
        };
        let (pause, packet) = match rights.judge(&packet, &heard) {
            Fate::Goes => (pause(), packet),
            Fate::GoesWith(permit) => {
                inputs.push(Input::Permit { link, permit });
                (None, packet)
            }
            Fate::Denied => (pause(), rights::denied(packet)),
            Fate::Unknown => return Outcome::End(rights::undecided()),
            Fate::Waits(questions) => return Outcome::Pending(Box::new(rights.ask(questions))),
        };
        inputs.push(Input::Packet { link, packet });
        Outcome::Taken(pause)
    }

    /// How long nothing is to be read behind this packet, because its client publishes too fast.
    fn pause_after(&self, is_publish: bool, len: usize) -> Option<Duration> {
        let rates = &self.shared.rates;
        if rates.are_free() || !is_publish {
            return None;
        }
        let throttle = self.seldom().throttle.get_or_init(|| {
            let keep_alive_s = self.asked.get().map_or(0, |asked| asked.keep_alive_s);
            Mutex::new(Throttle::new(keep_alive_s))
        });
        let wait = throttle.lock().charge(rates, len, self.shared.clock.now())?;
        if wait.first {
            self.traffic().publishers_slowed.fetch_add(1, Ordering::Relaxed);
            let (client, address) = (self.link.client_id(), self.peer_address());
            let limit = wait.bound;
            tracing::warn!(
                client, %address, limit,
                "Client {client} [{address}] publishes faster than {limit} and is read more slowly."
            );
        }
        Some(wait.time)
    }

    /// The end that bad bytes bring [MQTT-4.8.0-1].
    fn end_by(&self, error: &DecodeError, bytes: &[u8]) -> End {
        if self.link.id().is_none()
            && let Some(end) = self.turn_away(error, bytes)
        {
            return end;
        }
        End::Lost(if error.reason == ReasonCode::PacketTooLarge {
            LostCause::Oversize { packet_size_max: self.decode_limits().packet_size_max }
        } else {
            LostCause::Malformed { rule: error.rule, reason: error.text }
        })
    }
}
