//! One pass over a text: is it ASCII, and which of MQTT's special characters does it hold?

/// What a text holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Scan {
    /// U+0000.
    pub(crate) null: bool,
    /// `+` or `#`.
    pub(crate) wildcard: bool,
}

/// Scans a text; `None` if it is not UTF-8. A microcontroller has more time than room.
#[inline]
pub(crate) fn scan(bytes: &[u8]) -> Option<Scan> {
    if cfg!(target_os = "none") { scan_plain(bytes) } else { scan_fast(bytes) }
}

/// Eight bytes at a time while they are ASCII: topics are short, so that setting up a vector loop
/// would cost more than the loop.
#[inline]
fn scan_fast(bytes: &[u8]) -> Option<Scan> {
    let (words, tail) = bytes.as_chunks::<8>();
    let mut found = Words::default();
    for word in words {
        found.add(u64::from_le_bytes(*word));
    }
    match bytes.last_chunk::<8>() {
        _ if tail.is_empty() => {}
        Some(last) => {
            // What was seen already goes out at the bottom, padding comes in at the top.
            let seen = 64 - 8 * tail.len();
            found.add(u64::from_le_bytes(*last) >> seen | (EACH * PADDING) << (64 - seen));
        }
        None => {
            found.add(tail.iter().fold(EACH * PADDING, |word, &byte| word << 8 | u64::from(byte)));
        }
    }
    if found.all & (EACH << 7) == 0 {
        return Some(Scan { null: found.null != 0, wildcard: found.wildcard != 0 });
    }
    scan_plain(bytes)
}

/// 1 in each byte: `EACH * b` is `b` in each byte.
const EACH: u64 = 0x0101_0101_0101_0101;
/// Fills the last word; neither special nor beyond ASCII.
const PADDING: u64 = b'_' as u64;

#[derive(Default)]
struct Words {
    all: u64,
    null: u64,
    wildcard: u64,
}

impl Words {
    #[inline]
    fn add(&mut self, word: u64) {
        self.all |= word;
        self.null |= zeros(word);
        // '#' is 0x23 and '+' is 0x2B: with bit 3 set, both are '+'.
        self.wildcard |= zeros((word | EACH << 3) ^ (EACH * u64::from(b'+')));
    }
}

/// The top bit of each byte that is zero; exact as long as no byte of the word is beyond ASCII.
#[inline]
fn zeros(word: u64) -> u64 {
    !word.wrapping_add(EACH * 0x7F) & (EACH << 7)
}

#[cold]
fn scan_plain(bytes: &[u8]) -> Option<Scan> {
    core::str::from_utf8(bytes).ok()?;
    let mut found = Scan { null: false, wildcard: false };
    for byte in bytes {
        found.null |= *byte == 0;
        found.wildcard |= matches!(byte, b'+' | b'#');
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_scan_finds_what_the_plain_one_finds() {
        let mut text = [b'a'; 40];
        for at in 0..text.len() {
            for byte in 0..=u8::MAX {
                text[at] = byte;
                for start in 0..9 {
                    for end in [start, start + 1, start + 7, start + 8, start + 17, 40] {
                        let slice = &text[start..end];
                        assert_eq!(scan_fast(slice), scan_plain(slice), "{slice:02x?}");
                    }
                }
                text[at] = b"a/\0+#"[at % 5];
            }
        }
    }
}
