//! One connection to the other broker, driven: packets between its stream and our link.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use martlet_codec::decode::{DecodeError, DecodeLimits, Decoded, decode};
use martlet_codec::reason::ConnectReturnCode;
use martlet_engine::effects::{Farewell, OutPacket};
use martlet_engine::input::{InPacket, LostCause, Time};
use tokio::io::ReadBuf;
use tokio::time::{Sleep, sleep};

use crate::bridge::Settings;
use crate::bridge::local;
use crate::bridge::relay::opening::Opening;
use crate::bridge::relay::{Fault, Relay, Tally};
use crate::bridge::remote::Stream;
use crate::driver::Driver;
use crate::driver::client::Client;

/// A connection and a link, from CONNECT to the end.
pub(super) struct Conversation<'s> {
    settings: &'s Settings,
    driver: &'s Arc<Driver>,
    relay: Relay<'s>,
    stream: Box<dyn Stream>,
    /// Our side, once the other broker has accepted us.
    client: Option<Client>,
    /// For the engine.
    say: Vec<InPacket>,
    /// What has come, and is no whole packet yet or waits for the engine.
    bytes: Vec<u8>,
    flushed: bool,
    /// The engine was behind when it was last looked at: what comes is left unread.
    deaf: bool,
    /// Local subscribers know that it is connected.
    told: bool,
    /// What of the relay's tally the driver's counters have.
    counted: Tally,
    timer: Option<(Time, Pin<Box<Sleep>>)>,
}

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// The other broker closed it.
    Closed,
    /// The operating system, or TLS, has no more of it.
    Socket(io::Error),
    /// What came is no packet.
    Malformed(DecodeError),
    /// The other broker broke a rule.
    Fault(Fault),
    /// Our own engine ended the link.
    Farewell(Farewell),
}

/// How a connection was.
#[derive(Debug)]
pub(super) struct Account {
    /// Whether the other broker accepted us.
    pub(super) accepted: bool,
    /// Whether it had not answered yet who it is.
    pub(super) asking: bool,
    /// Whether the other broker's session has all subscriptions that are wanted.
    pub(super) subscribed: bool,
    /// Messages at QoS 0 that did not leave.
    pub(super) unsent: u64,
    /// What crossed.
    pub(super) tally: Tally,
}

/// Bytes that are read at a time.
const READ_BYTES: usize = 64 * 1024;

/// Levels of a topic name, as deep as its bytes allow: the other broker has its own bound.
const TOPIC_LEVELS_MAX: u16 = u16::MAX;

impl<'s> Conversation<'s> {
    pub(super) fn new(
        settings: &'s Settings,
        driver: &'s Arc<Driver>,
        stream: Box<dyn Stream>,
        opening: Opening,
    ) -> Self {
        Self {
            settings,
            driver,
            relay: Relay::begin(settings, opening, driver.now()),
            stream,
            client: None,
            say: Vec::new(),
            bytes: Vec::new(),
            flushed: true,
            deaf: false,
            told: false,
            counted: Tally::default(),
            timer: None,
        }
    }

    /// Relays until something ends it.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let end = loop {
            match self.turn(cx) {
                Ok(true) => {}
                Ok(false) => break Poll::Pending,
                Err(end) => break Poll::Ready(end),
            }
        };
        self.count();
        end
    }

    /// Tells the driver's counters what crossed since the last time.
    fn count(&mut self) {
        let now = self.relay.tally;
        let before = std::mem::replace(&mut self.counted, now);
        if now != before {
            self.driver.traffic.bridges.lock().count(&self.settings.name, |count| {
                count.sent += now.sent - before.sent;
                count.received += now.received - before.received;
                count.lost += now.lost - before.lost;
            });
        }
    }

    /// Whether messages go both ways.
    pub(super) fn is_open(&self) -> bool {
        self.relay.is_open()
    }

    /// Ends the link after the connection. What was not settled is sent again.
    pub(super) fn finish(mut self, end: &End) -> Account {
        self.count();
        let account = Account {
            accepted: self.client.is_some(),
            asking: self.relay.is_asking(),
            subscribed: self.relay.subscribed,
            unsent: self.relay.unsent(),
            tally: self.relay.tally,
        };
        let traffic = &self.driver.traffic;
        // A session that ends with its connection takes its numbers along.
        let ends = self.client.as_ref().filter(|_| self.settings.local_clean_session);
        let dropped = ends.map_or(0, |client| client.tally().dropped);
        traffic.bridges.lock().count(&self.settings.name, |count| {
            count.connected = false;
            count.unsent += account.unsent;
            count.dropped += dropped;
        });
        traffic.messages_unsent.fetch_add(account.unsent, Ordering::Relaxed);
        if let Some(mut client) = self.client {
            // It came whole, before the end.
            self.say.extend(self.relay.take_early());
            self.say.into_iter().for_each(|packet| client.say(packet));
            client.lose(end.cause());
        }
        account
    }

    /// Says goodbye to the other broker, as far as the stream takes it.
    pub(super) fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.relay.out.is_empty() || !self.flushed {
            match self.write(cx) {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(End::Socket(error)) => return Poll::Ready(Err(error)),
                Err(_) => return Poll::Ready(Ok(())),
            }
        }
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }

    /// Puts the goodbye behind what is on its way.
    pub(super) fn leave(&mut self) {
        self.relay.leave();
    }

    /// Everything once; whether anything moved.
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut moved = self.hear(cx)?;
        moved |= self.take()?;
        moved |= self.read(cx)?;
        // Also what cannot go makes room.
        moved |= self.relay.let_out(self.driver.now(), &mut self.say);
        moved |= self.write(cx)?;
        self.excuse();
        moved |= self.watch_time(cx)?;
        Ok(moved || (!self.say.is_empty() && self.client.is_some()))
    }

    /// Gives the engine what there is for it, and takes what it has to send, if there is room.
    fn hear(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let Some(client) = &mut self.client else { return Ok(false) };
        for packet in self.say.drain(..) {
            client.say(packet);
        }
        if !self.relay.has_room() {
            client.pass_on(cx);
            return Ok(false);
        }
        let mut heard = Vec::new();
        match client.poll_hear(cx, &mut heard) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Err(farewell)) => return Err(End::Farewell(farewell)),
            Poll::Ready(Ok(())) => {}
        }
        for packet in heard {
            match packet {
                OutPacket::ConnAck { code: ConnectReturnCode::Accepted, .. } => self.join(),
                packet => self.relay.on_local(packet, &mut self.say),
            }
        }
        Ok(true)
    }

    /// The engine has taken us in.
    fn join(&mut self) {
        let Some(client) = &self.client else { return };
        let anew = self.relay.accepted() == Some(false);
        self.relay.join(&client.ids(), self.driver.now(), &mut self.say);
        if anew || self.settings.local_clean_session {
            // It has what is retained here no more, or never had it.
            self.say.extend(local::subscribe(self.settings.topics.local()));
        }
    }

    /// Takes packets out of what has come, unless the engine is to be waited for.
    fn take(&mut self) -> Result<bool, End> {
        let limits = DecodeLimits {
            packet_size_max: self.settings.packet_size_max,
            topic_levels_max: TOPIC_LEVELS_MAX,
        };
        let mut taken = 0;
        while self.listens() {
            let rest = &self.bytes[taken..];
            match decode(rest, self.settings.version, &limits).map_err(End::Malformed)? {
                Decoded::NeedMore { .. } => break,
                Decoded::Packet { packet, len, header_len } => {
                    let body = &rest[header_len..len];
                    let heard = self.relay.on_remote(&packet, body, &mut self.say);
                    heard.map_err(End::Fault)?;
                    taken += len;
                }
            }
            if self.relay.accepted().is_some() && self.client.is_none() {
                self.client = Some(local::open(self.settings, self.driver));
            }
        }
        self.bytes.drain(..taken);
        self.tell();
        Ok(taken > 0)
    }

    /// Whether packets of the other broker are wanted: not before the engine has taken us in, and
    /// not while it is behind.
    fn listens(&self) -> bool {
        let Some(client) = &self.client else { return true };
        let behind = client.is_behind() || (client.was_pressed() && !self.relay.has_room());
        self.relay.accepted().is_none() && !behind
    }

    /// Tells local subscribers that it is connected; the Will of the link tells them the contrary.
    fn tell(&mut self) {
        if self.relay.is_open() && !std::mem::replace(&mut self.told, true) {
            self.driver.traffic.bridges.lock().count(&self.settings.name, |count| {
                count.connected = true;
                count.connections += 1;
            });
            self.say.extend(local::state(self.settings, true));
        }
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if !self.listens() {
            return Ok(false);
        }
        let before = self.bytes.len();
        self.bytes.resize(before + READ_BYTES, 0);
        let mut room = ReadBuf::new(&mut self.bytes[before..]);
        let read = Pin::new(&mut *self.stream).poll_read(cx, &mut room);
        let len = room.filled().len();
        self.bytes.truncate(before + len);
        match read {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(())) if len == 0 => Err(End::Closed),
            Poll::Ready(Ok(())) => Ok(true),
            Poll::Ready(Err(error)) => Err(End::Socket(error)),
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let stream = Pin::new(&mut *self.stream);
        if self.relay.out.is_empty() {
            if self.flushed {
                return Ok(false);
            }
            return match stream.poll_flush(cx) {
                Poll::Pending => Ok(false),
                Poll::Ready(Ok(())) => {
                    self.flushed = true;
                    Ok(true)
                }
                Poll::Ready(Err(error)) => Err(End::Socket(error)),
            };
        }
        match stream.poll_write(cx, self.relay.out.rest()) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(0)) => Err(End::Closed),
            Poll::Ready(Err(error)) => Err(End::Socket(error)),
            Poll::Ready(Ok(len)) => {
                self.flushed = false;
                self.relay.has_sent(len, self.driver.now());
                Ok(true)
            }
        }
    }

    /// While our own engine is behind, and so nothing is read, the other broker is not late; nor
    /// when that is over, before what has come meanwhile is read. (Nothing is read also where it
    /// takes nothing of us, and for that it has its time.)
    fn excuse(&mut self) {
        let deaf = self.client.as_ref().is_some_and(Client::is_behind);
        if std::mem::replace(&mut self.deaf, deaf) || deaf {
            self.relay.excuse(self.driver.now());
        }
    }

    fn watch_time(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let Some(deadline) = self.relay.deadline() else {
            self.timer = None;
            return Ok(false);
        };
        let timer = match &mut self.timer {
            Some((at, timer)) if *at == deadline => timer,
            timer => {
                let wait = self.driver.until(deadline);
                &mut timer.insert((deadline, Box::pin(sleep(wait)))).1
            }
        };
        if timer.as_mut().poll(cx).is_pending() {
            return Ok(false);
        }
        self.timer = None;
        self.relay.on_time(self.driver.now(), &mut self.say).map_err(End::Fault)?;
        Ok(true)
    }
}

impl End {
    /// What the engine's notice says of it.
    fn cause(&self) -> LostCause {
        match self {
            Self::Closed | Self::Farewell(_) => LostCause::Closed,
            Self::Socket(error) => LostCause::Socket(error.to_string().into()),
            Self::Malformed(error) => LostCause::Malformed { rule: error.rule, reason: error.text },
            Self::Fault(_) => LostCause::LetGo { reason: "the other broker broke a rule" },
        }
    }
}
