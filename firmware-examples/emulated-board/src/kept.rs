//! The session in memory that a reset leaves alone: what was written last, or, if a reset came in
//! between, what was written before.

use core::cell::Cell;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

use martlet_device::client::Client;
use martlet_device::client::storage::Storage;

/// Bytes for messages that wait.
pub const OUTBOX: usize = 4096;
/// And what stands in front of them.
const IMAGE_MAX: usize = OUTBOX + 128;
const NUMBERS: usize = 8;

/// What the program itself must not forget. It is kept in one piece with the session.
#[derive(Clone, Copy, Default)]
pub struct Numbers {
    /// How many readings were published.
    pub reading: u32,
    /// How many commands were obeyed.
    pub command: u32,
}

/// Two images, written in turns.
type Image = [AtomicU8; NUMBERS + IMAGE_MAX];

// `.uninit` is neither loaded nor cleared at the start. After power came on it holds anything, and
// the session's checksum says so.
#[unsafe(link_section = ".uninit.images")]
static IMAGES: [Image; 2] = [const { [const { AtomicU8::new(0) }; NUMBERS + IMAGE_MAX] }; 2];
/// Its lowest bit: which of the two was written last.
#[unsafe(link_section = ".uninit.latest")]
static LATEST: AtomicU8 = AtomicU8::new(0);

/// Keeps the session together with these numbers.
pub struct Kept<'n> {
    numbers: &'n Cell<Numbers>,
}

impl<'n> Kept<'n> {
    pub fn new(numbers: &'n Cell<Numbers>) -> Self {
        Self { numbers }
    }

    /// Gives what is kept to a new client; whether there was anything.
    pub fn restore(&mut self, client: &mut Client<'_>) -> bool {
        let restored = client.restore(self) == Ok(true);
        if !restored {
            self.numbers.take();
        }
        restored
    }
}

/// There is no room for so much.
#[derive(PartialEq, Debug)]
pub struct TooLarge;

impl Storage for Kept<'_> {
    type Error = TooLarge;

    fn save(&mut self, parts: &[&[u8]]) -> Result<(), TooLarge> {
        let next = (LATEST.load(Relaxed) + 1) & 1;
        let Numbers { reading, command } = self.numbers.get();
        let numbers = [reading.to_le_bytes(), command.to_le_bytes()];
        if parts.iter().map(|part| part.len()).sum::<usize>() > IMAGE_MAX {
            return Err(TooLarge);
        }
        let bytes = numbers.iter().flatten().chain(parts.iter().copied().flatten());
        for (to, from) in image(next).iter().zip(bytes) {
            to.store(*from, Relaxed);
        }
        LATEST.store(next, Relaxed);
        Ok(())
    }

    fn load(&mut self, offset: usize, out: &mut [u8]) -> Result<usize, TooLarge> {
        let image = image(LATEST.load(Relaxed));
        let number = |at: usize| {
            u32::from_le_bytes([at, at + 1, at + 2, at + 3].map(|at| image[at].load(Relaxed)))
        };
        self.numbers.set(Numbers { reading: number(0), command: number(4) });
        let kept = image.iter().skip(NUMBERS + offset);
        Ok(kept.zip(out).map(|(from, to)| *to = from.load(Relaxed)).count())
    }
}

fn image(which: u8) -> &'static Image {
    &IMAGES[usize::from(which & 1)]
}
