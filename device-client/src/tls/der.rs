//! DER, as far as certificates and keys need it: a walk over elements that borrows and copies
//! nothing. Nothing here can panic.

/// The tags that occur, in their short form.
pub(super) mod tag {
    pub(in crate::tls) const BOOLEAN: u8 = 0x01;
    pub(in crate::tls) const INTEGER: u8 = 0x02;
    pub(in crate::tls) const BIT_STRING: u8 = 0x03;
    pub(in crate::tls) const OCTET_STRING: u8 = 0x04;
    pub(in crate::tls) const OID: u8 = 0x06;
    pub(in crate::tls) const UTC_TIME: u8 = 0x17;
    pub(in crate::tls) const GENERALIZED_TIME: u8 = 0x18;
    pub(in crate::tls) const SEQUENCE: u8 = 0x30;
    /// Of a context: `[0]`, `[1]`, ... of simple types, and of those with others in them.
    pub(in crate::tls) const CONTEXT: u8 = 0x80;
    pub(in crate::tls) const CONTEXT_CONSTRUCTED: u8 = 0xA0;
}

/// Elements one behind the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Der<'a>(pub(super) &'a [u8]);

/// One of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    /// With its tag and length.
    pub(super) whole: &'a [u8],
    pub(super) content: &'a [u8],
}

impl<'a> Der<'a> {
    /// The next element, whatever it is.
    pub(super) fn element(&mut self) -> Option<Element<'a>> {
        let (tag, rest) = self.0.split_first()?;
        // Tags of more than one byte are in nothing that is read here.
        if tag & 0x1F == 0x1F {
            return None;
        }
        let (header, len) = length(rest)?;
        let (whole, rest) = self.0.split_at_checked(1 + header + len)?;
        self.0 = rest;
        Some(Element { tag: *tag, whole, content: whole.get(1 + header..)? })
    }

    /// The content of the next element, which must have this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.element().filter(|element| element.tag == tag).map(|element| element.content)
    }

    /// The elements in the next one, a SEQUENCE.
    pub(super) fn sequence(&mut self) -> Option<Self> {
        self.expect(tag::SEQUENCE).map(Self)
    }

    /// The content of the next element if it has this tag; otherwise it stays.
    pub(super) fn optional(&mut self, tag: u8) -> Option<Option<&'a [u8]>> {
        if self.0.first() == Some(&tag) { self.expect(tag).map(Some) } else { Some(None) }
    }

    /// The bytes of a BIT STRING that are whole.
    pub(super) fn bits(&mut self) -> Option<&'a [u8]> {
        self.expect(tag::BIT_STRING)?.strip_prefix(&[0])
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Option<()> {
        self.is_empty().then_some(())
    }
}

/// How many bytes the length takes, and what it says. Only the shortest form is DER, and nothing
/// here is longer than 65,535 bytes.
fn length(bytes: &[u8]) -> Option<(usize, usize)> {
    match *bytes {
        [len, ..] if len < 0x80 => Some((1, len.into())),
        [0x81, len, ..] if len >= 0x80 => Some((2, len.into())),
        [0x82, high, low, ..] if high > 0 => Some((3, u16::from_be_bytes([high, low]).into())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Der, length};

    #[test]
    fn only_the_shortest_form_of_a_length_is_one() {
        type Row = (&'static [u8], Option<(usize, usize)>);
        let table: &[Row] = &[
            (&[], None),
            (&[0x00], Some((1, 0))),
            (&[0x7F], Some((1, 127))),
            (&[0x80, 0, 0], None), // until the end comes: BER
            (&[0x81], None),
            (&[0x81, 0x7F], None),
            (&[0x81, 0x80], Some((2, 128))),
            (&[0x82, 0x00, 0xFF], None),
            (&[0x82, 0x01], None),
            (&[0x82, 0x01, 0x00], Some((3, 256))),
            (&[0x83, 0x01, 0x00, 0x00], None),
            (&[0xFF; 9], None),
        ];
        for (bytes, expected) in table {
            assert_eq!(length(bytes), *expected, "{bytes:?}");
        }
    }

    #[test]
    fn an_element_ends_where_its_length_says() {
        let mut der = Der(&[0x02, 0x01, 0x05, 0x30, 0x00, 0x04]);
        assert_eq!(der.optional(0x30), Some(None));
        assert_eq!(der.expect(0x02), Some(&[5][..]));
        assert_eq!(der.element().map(|element| element.whole), Some(&[0x30, 0x00][..]));
        assert_eq!(der.element(), None);
        assert_eq!(Der(&[0x1F, 0x01, 0x00]).element(), None);
        assert_eq!(Der(&[0x04, 0x02, 0x00]).element(), None);
    }
}
