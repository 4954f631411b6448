//! What is wrong with a file of access, for its operator.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// One thing to change in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; `None`: the file as a whole.
    pub line: Option<usize>,
    /// What is wrong, and what to write instead.
    pub text: String,
}

/// Password and ACL files of a hundred thousand users are smaller.
const FILE_BYTES_MAX: u64 = 64 << 20;

impl Fault {
    /// Something is wrong with this line.
    pub fn at(file: &Path, line: usize, text: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: Some(line), text: text.into() }
    }

    /// Something is wrong with the file as a whole.
    pub fn of(file: &Path, text: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: None, text: text.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match self.line {
            Some(line) => write!(f, "{file}:{line}: {}", self.text),
            None => write!(f, "{file}: {}", self.text),
        }
    }
}

/// The whole of a file.
pub(super) fn read_bytes(path: &Path) -> Result<Vec<u8>, Vec<Fault>> {
    let mut bytes = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        return Err(vec![Fault::of(path, format!("cannot be read: {error}"))]);
    }
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(vec![Fault::of(path, format!("has over {FILE_BYTES_MAX} bytes"))]);
    }
    Ok(bytes)
}

/// The whole of a text file.
pub(super) fn read_text(path: &Path) -> Result<String, Vec<Fault>> {
    String::from_utf8(read_bytes(path)?).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].split(|b| *b == b'\n');
        vec![Fault::at(path, line.count(), "is not UTF-8 text here")]
    })
}
