//! What of a store could not be read.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::store::StoreError;
use crate::store::disk::Disk;

/// Something that was on disk once and cannot be read any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// The files that it was in, by the names they had.
    pub files: Vec<PathBuf>,
    /// What is missing.
    pub missing: String,
    /// The date in the names that the files have now.
    pub set_aside_on: Option<String>,
}

impl Damage {
    pub(super) fn new(files: Vec<PathBuf>, missing: String) -> Self {
        Self { files, missing, set_aside_on: None }
    }

    /// The name of a file that was set aside on this date.
    pub fn aside(file: &Path, date: &str) -> PathBuf {
        let mut name = file.as_os_str().to_owned();
        name.push(format!(".damaged-{date}"));
        name.into()
    }

    /// Whether a file has such a name.
    pub fn is_aside(file: &Path) -> bool {
        file.file_name().is_some_and(|name| name.to_string_lossy().contains(".damaged-"))
    }

    pub(super) fn set_aside(disk: &dyn Disk, file: &Path, date: &str) -> Result<(), StoreError> {
        disk.rename(file, &Self::aside(file, date))
            .map_err(|source| StoreError::io(format!("setting {} aside", file.display()), source))
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, missing, set_aside_on } = self;
        write!(f, "{missing}")?;
        if let Some(date) = set_aside_on {
            for file in files {
                write!(f, "; the file is kept as {}", Self::aside(file, date).display())?;
            }
        }
        Ok(())
    }
}
