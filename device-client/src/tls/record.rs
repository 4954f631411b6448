//! Records (RFC 8446, section 5): they are gathered whole before anybody looks into one, so that a
//! read that is given up loses nothing, and what no record may be is refused by its header.

use core::ops::Range;

use super::bytes::Writer;
use super::fault::Fault;
use super::keys::{Keys, TAG};

/// The types that there are.
pub(super) mod kind {
    pub(in crate::tls) const CHANGE_CIPHER_SPEC: u8 = 20;
    pub(in crate::tls) const ALERT: u8 = 21;
    pub(in crate::tls) const HANDSHAKE: u8 = 22;
    pub(in crate::tls) const APPLICATION_DATA: u8 = 23;
}

/// Type, version, length.
const HEADER: usize = 5;
/// What a sealed record has besides its text: header, the text's own type, tag.
pub(super) const OVERHEAD: usize = HEADER + 1 + TAG;
/// Texts are no longer than this, and sealed ones not by more than 256.
const TEXT_MAX: usize = 1 << 14;
const SEALED_MAX: usize = TEXT_MAX + 256;

/// What comes: in front the bytes of messages that are not whole yet, behind them a record.
pub(super) struct Incoming<'b> {
    bytes: &'b mut [u8],
    held: usize,
    came: usize,
    /// `None` as long as records come in the clear.
    pub(super) keys: Option<Keys>,
}

/// A record that was opened: where its text lies.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Record {
    pub(super) kind: u8,
    pub(super) text: Range<usize>,
}

impl<'b> Incoming<'b> {
    pub(super) fn new(bytes: &'b mut [u8]) -> Self {
        Self { bytes, held: 0, came: 0, keys: None }
    }

    pub(super) fn clear(&mut self) {
        (self.held, self.came, self.keys) = (0, 0, None);
    }

    pub(super) fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// What is missing of the record, and nothing of the one behind it. Empty when it is whole.
    pub(super) fn space(&mut self) -> Result<&mut [u8], Fault> {
        let whole = match self.body_len()? {
            Some(body) => HEADER + body,
            None => HEADER,
        };
        let message = self.held > 0;
        let space = self.held + self.came..self.held + whole;
        self.bytes.get_mut(space).ok_or(match message {
            true => Fault::MessageTooLong(self.held + whole),
            false => Fault::RecordTooLong(whole),
        })
    }

    /// So many bytes came into [`space`](Self::space).
    pub(super) fn fill(&mut self, len: usize) {
        self.came = self.came.saturating_add(len).min(self.bytes.len().saturating_sub(self.held));
    }

    /// Whether there is a whole record to be opened.
    pub(super) fn is_whole(&self) -> bool {
        self.body_len().is_ok_and(|body| body.is_some_and(|body| self.came == HEADER + body))
    }

    /// Opens the record, which is whole. Its text is to be taken by [`hold`](Self::hold) or
    /// [`forget`](Self::forget) before anything else comes.
    pub(super) fn open(&mut self) -> Result<Record, Fault> {
        let record = self.bytes.get_mut(self.held..self.held + self.came).unwrap_or_default();
        let (header, body) = record.split_at_mut_checked(HEADER).ok_or(Fault::Malformed)?;
        let sealed = header.first() == Some(&kind::APPLICATION_DATA);
        let (kind, len) = match &mut self.keys {
            Some(keys) if sealed => unseal(keys, header, body)?,
            _ => (header.first().copied().unwrap_or_default(), body.len()),
        };
        let start = self.held + HEADER;
        Ok(Record { kind, text: start..start + len })
    }

    /// Keeps the text of the record behind those before it.
    pub(super) fn hold(&mut self, record: Record) {
        let len = record.text.len();
        self.bytes.copy_within(record.text, self.held);
        self.held += len;
        self.came = 0;
    }

    /// Nothing of the record is needed any more.
    pub(super) fn forget(&mut self) {
        self.came = 0;
    }

    /// The text of a record that was opened and neither held nor forgotten.
    pub(super) fn text(&self, text: Range<usize>) -> &[u8] {
        self.bytes.get(text).unwrap_or_default()
    }

    /// Texts that were held.
    pub(super) fn held(&self) -> &[u8] {
        self.bytes.get(..self.held).unwrap_or_default()
    }

    /// So many of the first bytes that are held are done with.
    pub(super) fn release(&mut self, len: usize) {
        let len = len.min(self.held);
        self.bytes.copy_within(len..self.held, 0);
        self.held -= len;
    }

    /// How long the record is behind its header, once that is here and good.
    fn body_len(&self) -> Result<Option<usize>, Fault> {
        if self.came < HEADER {
            return Ok(None);
        }
        let header = self.bytes.get(self.held..).and_then(|bytes| bytes.first_chunk());
        let [kind, major, _minor, high, low] = *header.ok_or(Fault::Malformed)?;
        let len = usize::from(u16::from_be_bytes([high, low]));
        check(kind, major, len, self.keys.is_some()).map(|()| Some(len))
    }
}

/// Whether a record may have this header, before anything else of it is looked at.
fn check(kind: u8, major: u8, len: usize, sealed: bool) -> Result<(), Fault> {
    let least_and_most = match kind {
        _ if major != 3 => return Err(Fault::NotTls),
        kind::CHANGE_CIPHER_SPEC => 1..=1,
        kind::ALERT | kind::HANDSHAKE if sealed => return Err(Fault::Unsealed),
        kind::ALERT => 2..=2,
        kind::HANDSHAKE => 1..=TEXT_MAX,
        // The type and the tag are there even where the text is empty.
        kind::APPLICATION_DATA if sealed => 1 + TAG..=SEALED_MAX,
        kind::APPLICATION_DATA => return Err(Fault::UnexpectedRecord(kind)),
        _ => return Err(Fault::NotTls),
    };
    if least_and_most.contains(&len) { Ok(()) } else { Err(Fault::Malformed) }
}

/// The type and the length of the text in a sealed record (section 5.4): behind the text stands its
/// type, and behind that any number of zeros.
fn unseal(keys: &mut Keys, header: &[u8], body: &mut [u8]) -> Result<(u8, usize), Fault> {
    if keys.is_worn() {
        return Err(Fault::Worn);
    }
    let len = keys.open(header, body).ok_or(Fault::Forged)?;
    let text = body.get(..len).unwrap_or_default();
    let end = text.iter().rposition(|byte| *byte != 0).ok_or(Fault::Malformed)?;
    let kind = text.get(end).copied().unwrap_or_default();
    if end > TEXT_MAX {
        return Err(Fault::Malformed);
    }
    match kind {
        // Only what a program says may be empty.
        kind::ALERT if end == 2 => Ok((kind, end)),
        kind::HANDSHAKE if end > 0 => Ok((kind, end)),
        kind::APPLICATION_DATA => Ok((kind, end)),
        kind::ALERT | kind::HANDSHAKE => Err(Fault::Malformed),
        _ => Err(Fault::UnexpectedRecord(kind)),
    }
}

/// What goes: records that wait until the network takes them.
pub(super) struct Outgoing<'b> {
    bytes: &'b mut [u8],
    start: usize,
    end: usize,
    /// `None` as long as records go in the clear.
    pub(super) keys: Option<Keys>,
}

impl<'b> Outgoing<'b> {
    pub(super) fn new(bytes: &'b mut [u8]) -> Self {
        Self { bytes, start: 0, end: 0, keys: None }
    }

    pub(super) fn clear(&mut self) {
        (self.start, self.end, self.keys) = (0, 0, None);
    }

    /// What waits.
    pub(super) fn waiting(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// So many of the first bytes have gone.
    pub(super) fn sent(&mut self, len: usize) {
        self.start = self.start.saturating_add(len).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// The longest text that the next record can hold.
    pub(super) fn room(&self) -> usize {
        self.bytes.len().saturating_sub(self.end + OVERHEAD).min(TEXT_MAX)
    }

    /// Puts a record of this type behind what waits. `write` writes its text.
    pub(super) fn record(
        &mut self,
        kind: u8,
        write: impl FnOnce(&mut Writer<'_>),
    ) -> Result<(), Fault> {
        let room = self.room();
        let record = self.bytes.get_mut(self.end..).unwrap_or_default();
        let (header, body) = record.split_at_mut_checked(HEADER).ok_or(Fault::TransmitTooSmall)?;
        let mut writer = Writer::new(body.get_mut(..room).unwrap_or_default());
        write(&mut writer);
        let len = writer.finish().ok_or(Fault::TransmitTooSmall)?;
        let len = match &mut self.keys {
            Some(keys) => seal(keys, kind, header, body, len)?,
            None => {
                header.copy_from_slice(&header_of(kind, len));
                len
            }
        };
        self.end += HEADER + len;
        Ok(())
    }
}

/// Seals the text at the beginning of `body`; says how long that is then.
fn seal(
    keys: &mut Keys,
    kind: u8,
    header: &mut [u8],
    body: &mut [u8],
    len: usize,
) -> Result<usize, Fault> {
    if keys.is_worn() {
        return Err(Fault::Worn);
    }
    let sealed = body.get_mut(..len + 1 + TAG).ok_or(Fault::TransmitTooSmall)?;
    let (text, tag) = sealed.split_last_chunk_mut::<TAG>().ok_or(Fault::TransmitTooSmall)?;
    if let Some(last) = text.last_mut() {
        *last = kind;
    }
    header.copy_from_slice(&header_of(kind::APPLICATION_DATA, len + 1 + TAG));
    *tag = keys.seal(header, text).ok_or(Fault::TransmitTooSmall)?;
    Ok(len + 1 + TAG)
}

fn header_of(kind: u8, len: usize) -> [u8; HEADER] {
    let [high, low] = u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
    [kind, 3, 3, high, low]
}

#[cfg(test)]
mod tests {
    use super::{Fault, Incoming, Keys, Outgoing, check, kind};

    #[test]
    fn a_header_says_what_cannot_be_a_record() {
        let table = [
            ((22, 3, 90, false), Ok(())),
            ((22, 3, 0, false), Err(Fault::Malformed)),
            ((22, 3, 1 << 14, false), Ok(())),
            ((22, 3, (1 << 14) + 1, false), Err(Fault::Malformed)),
            ((22, 3, 90, true), Err(Fault::Unsealed)),
            ((21, 3, 2, false), Ok(())),
            ((21, 3, 3, false), Err(Fault::Malformed)),
            ((21, 3, 2, true), Err(Fault::Unsealed)),
            ((20, 3, 1, true), Ok(())),
            ((20, 3, 2, true), Err(Fault::Malformed)),
            ((23, 3, 90, false), Err(Fault::UnexpectedRecord(23))),
            ((23, 3, 0, true), Err(Fault::Malformed)),
            ((23, 3, 16, true), Err(Fault::Malformed)),
            ((23, 3, 17, true), Ok(())),
            ((23, 3, (1 << 14) + 256, true), Ok(())),
            ((23, 3, (1 << 14) + 257, true), Err(Fault::Malformed)),
            ((0x20, 2, 0, false), Err(Fault::NotTls)), // CONNACK
            ((24, 3, 3, false), Err(Fault::NotTls)),
            ((22, 2, 90, false), Err(Fault::NotTls)),
        ];
        for ((kind, major, len, sealed), expected) in table {
            assert_eq!(check(kind, major, len, sealed), expected, "{kind} {major} {len} {sealed}");
        }
    }

    #[test]
    fn records_come_byte_by_byte_and_none_takes_of_the_next() {
        let mut wire = [0; 100];
        let mut outgoing = Outgoing::new(&mut wire);
        outgoing.keys = Some(Keys::new([1; 32]));
        outgoing.record(kind::APPLICATION_DATA, |text| text.put(b"one")).unwrap();
        outgoing.record(kind::APPLICATION_DATA, |_| {}).unwrap();
        let bytes = outgoing.waiting();

        let mut buffer = [0; 25];
        let mut incoming = Incoming::new(&mut buffer);
        incoming.keys = Some(Keys::new([1; 32]));
        let mut texts = [&b"one"[..], b""].into_iter();
        for byte in bytes {
            incoming.space().unwrap()[0] = *byte;
            incoming.fill(1);
            if incoming.is_whole() {
                assert!(incoming.space().unwrap().is_empty());
                let record = incoming.open().unwrap();
                assert_eq!(Some(incoming.text(record.text)), texts.next());
                incoming.forget();
            }
        }
        assert_eq!(texts.next(), None);
    }

    #[test]
    fn a_record_that_does_not_fit_says_how_long_it_is() {
        let mut buffer = [0; 40];
        let mut incoming = Incoming::new(&mut buffer);
        incoming.space().unwrap().copy_from_slice(&[22, 3, 3, 0, 36]);
        incoming.fill(5);
        assert_eq!(incoming.space(), Err(Fault::RecordTooLong(41)));
        assert!(!incoming.is_whole());
    }

    #[test]
    fn a_record_goes_whole_or_not_at_all() {
        for (size, fits) in [(27, false), (28, true)] {
            let mut wire = [0; 28];
            let mut outgoing = Outgoing::new(&mut wire[..size]);
            outgoing.keys = Some(Keys::new([1; 32]));
            let text = b"123456";
            let sealed = outgoing.record(kind::APPLICATION_DATA, |writer| writer.put(text));
            assert_eq!(sealed.is_ok(), fits);
            assert_eq!(outgoing.waiting().len(), if fits { 28 } else { 0 });
            outgoing.sent(27);
            outgoing.sent(1);
            assert!(outgoing.waiting().is_empty());
        }
    }
}
