//! Lines of a mosquitto.conf, and the files of an `include_dir`.

use std::io;
use std::path::{Path, PathBuf};

/// One line, without its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// Counted from 1.
    pub(super) number: usize,
    pub(super) bytes: &'a [u8],
}

/// Every line. A byte order mark in front of the first is none of its bytes, since no editor shows
/// it.
pub(super) fn of(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    text.split(|byte| *byte == b'\n').zip(1..).map(|(bytes, number)| {
        let end = bytes.iter().rposition(|byte| *byte != b'\r').map_or(0, |at| at + 1);
        Line { number, bytes: &bytes[..end] }
    })
}

impl Line<'_> {
    /// Whether it says nothing: it is empty, or a comment, which begins with the very first
    /// character.
    pub(super) fn is_comment(&self) -> bool {
        self.bytes.starts_with(b"#") || self.bytes.iter().all(|byte| *byte == b' ')
    }
}

/// The files of a directory whose names end with `.conf`, in mosquitto's order: alphabetical, and
/// a capital letter before its small one.
pub(super) fn included(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        if name.len() > ".conf".len() && name.as_encoded_bytes().ends_with(b".conf") {
            names.push(name);
        }
    }
    names.sort_by_cached_key(|name| {
        let bytes = name.as_encoded_bytes().iter();
        bytes.map(|byte| (byte.to_ascii_uppercase(), *byte)).collect::<Vec<_>>()
    });
    Ok(names.into_iter().map(|name| directory.join(name)).collect())
}
