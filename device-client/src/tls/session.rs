//! TLS without a network: bytes go in and out, and a read or write that is given up in between
//! loses nothing.

use core::ops::Range;

use embedded_io_async::ErrorKind;

use super::fault::Fault;
use super::handshake::Handshake;
use super::messages;
use super::record::{Incoming, OVERHEAD, Outgoing, Record, kind};
use super::settings::{Buffers, Platform, Settings};

/// A connection, from hello to its end, and the next one after it.
pub(super) struct Session<'b> {
    incoming: Incoming<'b>,
    outgoing: Outgoing<'b>,
    handshake: Handshake,
    /// What was asked for of RFC 6066, section 4, which holds for both sides.
    max_fragment: Option<u8>,
    /// What came for the program and was not taken.
    text: Range<usize>,
    /// So many bytes of a ticket are still to come, and of no use.
    skip: usize,
    /// So much came in a row that held nothing for anybody.
    idle: u8,
    /// The broker has said that nothing more comes.
    closed: bool,
}

/// Records without text, tickets and new keys may come; so many in a row are an attack.
const IDLE_MAX: u8 = 32;

/// Alerts have a level, which says nothing, and a number.
const FATAL: u8 = 2;
const CLOSE_NOTIFY: u8 = 0;

impl<'b> Session<'b> {
    pub(super) fn new(buffers: Buffers<'b>) -> Self {
        Self {
            incoming: Incoming::new(buffers.receive),
            outgoing: Outgoing::new(buffers.transmit),
            handshake: Handshake::new(),
            max_fragment: None,
            text: 0..0,
            skip: 0,
            idle: 0,
            closed: false,
        }
    }

    /// As if there had been no connection.
    pub(super) fn clear(&mut self) {
        self.incoming.clear();
        self.outgoing.clear();
        self.handshake = Handshake::new();
        (self.text, self.skip, self.idle, self.closed) = (0..0, 0, 0, false);
    }

    /// Says hello.
    pub(super) fn begin(
        &mut self,
        settings: &Settings<'_>,
        platform: &mut impl Platform,
    ) -> Result<(), Fault> {
        self.clear();
        if self.outgoing.room() + OVERHEAD < settings.transmit_min() {
            return Err(Fault::TransmitTooSmall);
        }
        let ours = settings.transmit_min() - OVERHEAD;
        self.max_fragment = max_fragment(self.incoming.capacity(), ours);
        self.handshake.begin(settings, platform, self.max_fragment, &mut self.outgoing)
    }

    pub(super) fn is_shaking_hands(&self) -> bool {
        self.handshake.is_under_way()
    }

    /// The broker has proved who it is, and what is written goes to it alone.
    pub(super) fn is_open(&self) -> bool {
        self.handshake.is_proved()
    }

    /// Where bytes of the network go, as many as fit.
    pub(super) fn space(&mut self) -> Result<&mut [u8], Fault> {
        self.incoming.space()
    }

    /// So many bytes came into [`space`](Self::space).
    pub(super) fn fill(&mut self, settings: &Settings<'_>, len: usize) -> Result<(), Fault> {
        self.incoming.fill(len);
        if !self.incoming.is_whole() {
            return Ok(());
        }
        let record = self.incoming.open()?;
        match record.kind {
            kind::HANDSHAKE => {
                self.incoming.hold(record);
                self.take_messages(settings)
            }
            kind::APPLICATION_DATA => self.take_text(record),
            kind::ALERT => self.take_alert(record),
            // It keeps middleboxes quiet, and says nothing (appendix D.4).
            kind::CHANGE_CIPHER_SPEC if self.is_shaking_hands() => {
                let says = self.incoming.text(record.text) == [1];
                self.incoming.forget();
                if says { self.count_idle() } else { Err(Fault::Malformed) }
            }
            kind => Err(Fault::UnexpectedRecord(kind)),
        }
    }

    /// What came for the program.
    pub(super) fn text(&self) -> &[u8] {
        self.incoming.text(self.text.clone())
    }

    /// So many bytes of it were taken.
    pub(super) fn take(&mut self, len: usize) {
        self.text.start = self.text.start.saturating_add(len).min(self.text.end);
        if self.text.is_empty() {
            self.incoming.forget();
        }
    }

    /// Nothing more comes.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// What is to go to the network.
    pub(super) fn waiting(&self) -> &[u8] {
        self.outgoing.waiting()
    }

    /// So many bytes of it have gone.
    pub(super) fn sent(&mut self, len: usize) {
        self.outgoing.sent(len);
    }

    /// Seals as much of this text as one record holds; says how much. Nothing else should wait.
    pub(super) fn write(&mut self, text: &[u8]) -> Result<usize, Fault> {
        if !self.is_open() {
            return Err(Fault::Network(ErrorKind::NotConnected));
        }
        let longest = self.max_fragment.map_or(usize::MAX, fragment_len);
        let room = self.outgoing.room().min(longest);
        let (text, _) = text.split_at_checked(room).unwrap_or((text, &[]));
        self.outgoing.record(kind::APPLICATION_DATA, |writer| writer.put(text))?;
        Ok(text.len())
    }

    /// Tells the broker that nothing more comes, if there is room to say so.
    pub(super) fn say_goodbye(&mut self) {
        self.alert(CLOSE_NOTIFY);
    }

    /// Tells the broker why we go, if there is room to say so. Nothing is accepted from here on.
    pub(super) fn refuse(&mut self, fault: Fault) {
        if let Some(number) = fault.alert() {
            self.alert(number);
        }
        self.handshake = Handshake::new();
    }

    fn alert(&mut self, number: u8) {
        let level = if number == CLOSE_NOTIFY { 1 } else { FATAL };
        // Without room there is nobody to hear it.
        let _ = self.outgoing.record(kind::ALERT, |writer| writer.put(&[level, number]));
    }

    fn take_messages(&mut self, settings: &Settings<'_>) -> Result<(), Fault> {
        while self.is_shaking_hands() {
            let Some(len) = self.whole_message()? else { return Ok(()) };
            let (incoming, outgoing) = (&mut self.incoming, &mut self.outgoing);
            self.handshake.take(settings, len, incoming, outgoing)?;
            self.incoming.release(len);
        }
        self.take_later_messages()
    }

    /// What may come when all hands are shaken.
    fn take_later_messages(&mut self) -> Result<(), Fault> {
        loop {
            let skipped = self.skip.min(self.incoming.held().len());
            self.incoming.release(skipped);
            self.skip -= skipped;
            match self.incoming.held().first() {
                None => return Ok(()),
                // Nothing is resumed here, and a ticket may be longer than the buffer.
                Some(&messages::kind::NEW_SESSION_TICKET) => {
                    let Some(len) = messages::len(self.incoming.held()) else { return Ok(()) };
                    self.skip = len;
                    self.count_idle()?;
                }
                Some(&messages::kind::KEY_UPDATE) => {
                    let Some(len) = self.whole_message()? else { return Ok(()) };
                    self.update_keys(len)?;
                    self.count_idle()?;
                }
                Some(kind) => return Err(Fault::Unexpected(*kind)),
            }
        }
    }

    fn update_keys(&mut self, len: usize) -> Result<(), Fault> {
        let held = self.incoming.held();
        let body = held.get(messages::HEADER..).unwrap_or_default();
        if len != held.len() {
            return Err(Fault::Malformed);
        }
        let ours_too = messages::key_update(body)?;
        self.incoming.release(len);
        self.incoming.keys = self.incoming.keys.as_ref().map(|keys| keys.updated());
        if ours_too {
            self.outgoing.record(kind::HANDSHAKE, messages::write_key_update)?;
            self.outgoing.keys = self.outgoing.keys.as_ref().map(|keys| keys.updated());
        }
        Ok(())
    }

    /// Something came that is allowed and holds nothing.
    fn count_idle(&mut self) -> Result<(), Fault> {
        self.idle += 1;
        if self.idle < IDLE_MAX { Ok(()) } else { Err(Fault::Idle) }
    }

    /// How long the first message is, if all of it is here.
    fn whole_message(&self) -> Result<Option<usize>, Fault> {
        match messages::len(self.incoming.held()) {
            Some(len) if len > self.incoming.capacity() => Err(Fault::MessageTooLong(len)),
            Some(len) if len <= self.incoming.held().len() => Ok(Some(len)),
            _ => Ok(None),
        }
    }

    /// Between the parts of a message nothing else may come (section 5.1).
    fn take_text(&mut self, record: Record) -> Result<(), Fault> {
        if !self.is_open() || !self.incoming.held().is_empty() || self.skip > 0 {
            return Err(Fault::UnexpectedRecord(record.kind));
        }
        if record.text.is_empty() {
            self.incoming.forget();
            return self.count_idle();
        }
        self.text = record.text;
        self.idle = 0;
        Ok(())
    }

    fn take_alert(&mut self, record: Record) -> Result<(), Fault> {
        let number = self.incoming.text(record.text).last().copied().unwrap_or_default();
        self.incoming.forget();
        if number == CLOSE_NOTIFY && self.is_open() {
            self.closed = true;
            return Ok(());
        }
        Err(Fault::Alert(number))
    }
}

/// Which records are asked for, in the code of RFC 6066, section 4: the longest that leave as much
/// room again for what a message has before them. None where there is room for any, or where our
/// own longest text would not fit into them.
fn max_fragment(capacity: usize, ours: usize) -> Option<u8> {
    if capacity >= LONGEST {
        return None;
    }
    let fits = |code: &u8| 2 * fragment_len(*code) + OVERHEAD <= capacity;
    let code = (1..=4).rev().find(fits).unwrap_or(1);
    (ours <= fragment_len(code)).then_some(code)
}

/// 1 is 512 bytes, 4 is 4,096.
fn fragment_len(code: u8) -> usize {
    1 << (8 + u32::from(code))
}

/// A record can be no longer: 2^14 bytes of text, and 256 besides.
const LONGEST: usize = 5 + (1 << 14) + 256;

#[cfg(test)]
mod tests {
    use super::max_fragment;

    #[test]
    fn shorter_records_are_asked_for_where_the_buffer_is_small() {
        let table = [
            (500, 200, Some(1)),
            (1_045, 512, Some(1)),
            (1_045, 513, None),
            (2_069, 513, None),
            (2_070, 513, Some(2)),
            (4_118, 2_048, Some(3)),
            (8_214, 4_096, Some(4)),
            (8_214, 4_097, None),
            (16_644, 600, Some(4)),
            (16_645, 600, None),
        ];
        for (capacity, ours, code) in table {
            assert_eq!(max_fragment(capacity, ours), code, "{capacity} {ours}");
        }
    }
}
