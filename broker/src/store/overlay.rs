//! A file that is only looked at: it is read as it is, and what is written stays in memory and goes
//! with it. So a database can be opened by the very code that works with it, repairs and all, and
//! not a byte of its file is changed.

use std::collections::BTreeMap;
use std::io;

use parking_lot::Mutex;

use crate::store::disk::File;

/// The file. The default is an empty one, over nothing.
#[derive(Debug, Default)]
pub(super) struct Overlay(Mutex<Image>);

/// A file and what was written over it.
#[derive(Debug, Default)]
struct Image {
    below: Option<Box<dyn File>>,
    /// Bytes of `below` that still count.
    below_len: u64,
    len: u64,
    pages: BTreeMap<u64, Box<[u8; PAGE_BYTES]>>,
}

const PAGE_BYTES: usize = 4096;

impl Overlay {
    /// A file as it is now; it must not change meanwhile.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn over(below: Box<dyn File>) -> io::Result<Self> {
        let len = below.len()?;
        let image = Image { below: Some(below), below_len: len, len, ..Image::default() };
        Ok(Self(Mutex::new(image)))
    }
}

impl File for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().len)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.lock().read(offset, out)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.lock().write(offset, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().set_len(len);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Image {
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset + out.len() as u64 > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read_below(offset, out)?;
        let end = offset + out.len() as u64;
        let pages = offset / PAGE_BYTES as u64..=end / PAGE_BYTES as u64;
        for (number, page) in self.pages.range(pages) {
            let start = number * PAGE_BYTES as u64;
            let (from, to) = (start.max(offset), (start + PAGE_BYTES as u64).min(end));
            if from < to {
                let written = &page[(from - start) as usize..(to - start) as usize];
                out[(from - offset) as usize..(to - offset) as usize].copy_from_slice(written);
            }
        }
        Ok(())
    }

    /// What `below` has of it; zeros behind its end.
    fn read_below(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = self.below_len.saturating_sub(offset).min(out.len() as u64) as usize;
        let (there, behind) = out.split_at_mut(there);
        behind.fill(0);
        match &self.below {
            Some(below) => below.read_at(offset, there),
            None => Ok(()),
        }
    }

    fn write(&mut self, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        self.len = self.len.max(offset + bytes.len() as u64);
        while !bytes.is_empty() {
            let (number, at) = (offset / PAGE_BYTES as u64, (offset % PAGE_BYTES as u64) as usize);
            let (piece, rest) = bytes.split_at(bytes.len().min(PAGE_BYTES - at));
            if !self.pages.contains_key(&number) {
                let mut page = Box::new([0; PAGE_BYTES]);
                self.read_below(number * PAGE_BYTES as u64, &mut page[..])?;
                self.pages.insert(number, page);
            }
            if let Some(page) = self.pages.get_mut(&number) {
                page[at..at + piece.len()].copy_from_slice(piece);
            }
            offset += piece.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    fn set_len(&mut self, len: u64) {
        if len < self.len {
            let (whole, part) = (len / PAGE_BYTES as u64, (len % PAGE_BYTES as u64) as usize);
            self.pages.retain(|number, _| *number < whole + u64::from(part > 0));
            if let Some(page) = self.pages.get_mut(&whole) {
                page[part..].fill(0);
            }
            self.below_len = self.below_len.min(len);
        }
        self.len = len;
    }
}
