//! The files of an authority. Keys are for their owner alone, and nothing is ever overwritten but
//! the list of revoked certificates.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::access::edit;
use crate::cli::cert::authority::Authority;

/// The folder, by its whole path.
pub(super) struct Folder(PathBuf);

/// A file to write: where, what, and whether it is a secret.
type New<'a> = (PathBuf, &'a str, bool);

impl Folder {
    /// The folder, which may not be there yet.
    pub(super) fn make(path: &Path) -> Result<Self, String> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(path)
            .map_err(|error| format!("{}: cannot be made: {error}", path.display()))?;
        whole(path).map(Self)
    }

    /// The folder of an authority that is there.
    pub(super) fn find(path: &Path) -> Result<Self, String> {
        let none = || {
            let path = path.display();
            format!("{path}: there is no authority; `martlet cert init --dir {path}` makes one")
        };
        let folder = Self(whole(path).map_err(|_| none())?);
        if folder.authority().exists() { Ok(folder) } else { Err(none()) }
    }

    /// The authority.
    pub(super) fn open(&self) -> Result<Authority, String> {
        let (certificate, key) = (read(&self.authority())?, read(&self.authority_key())?);
        Authority::open(&certificate, &key)
            .map_err(|error| format!("{}: {error}", self.authority().display()))
    }

    pub(super) fn authority(&self) -> PathBuf {
        self.0.join("ca.crt")
    }

    pub(super) fn authority_key(&self) -> PathBuf {
        self.0.join("ca.key")
    }

    pub(super) fn list(&self) -> PathBuf {
        self.0.join("ca.crl")
    }

    pub(super) fn server(&self) -> PathBuf {
        self.0.join("server.crt")
    }

    pub(super) fn server_key(&self) -> PathBuf {
        self.0.join("server.key")
    }

    pub(super) fn device(&self, id: &str) -> PathBuf {
        self.0.join("devices").join(file_name(id) + ".crt")
    }

    pub(super) fn device_key(&self, id: &str) -> PathBuf {
        self.0.join("devices").join(file_name(id) + ".key")
    }

    /// Writes new files, all or none.
    pub(super) fn write(&self, files: &[New<'_>]) -> Result<(), String> {
        for (path, _, _) in files {
            if path.symlink_metadata().is_ok() {
                let path = path.display();
                return Err(format!("{path}: is there already, and nothing is overwritten"));
            }
        }
        let mut done: Vec<&Path> = Vec::new();
        for (path, text, secret) in files {
            if let Err(error) = write(path, text, *secret) {
                for path in done {
                    // It was written a moment ago; if it cannot go, it stays.
                    let _ = fs::remove_file(path);
                }
                return Err(format!("{}: cannot be written: {error}", path.display()));
            }
            done.push(path);
        }
        Ok(())
    }

    /// Puts the certificate of a device on the list, and its files aside; answers with its serial
    /// number.
    pub(super) fn revoke(&self, id: &str) -> Result<String, String> {
        let certificate = read(&self.device(id))?;
        let (list, serial) = self
            .open()?
            .revoke(&read(&self.list())?, &certificate)
            .map_err(|error| format!("{}: {error}", self.list().display()))?;
        edit::replace(&self.list(), &list)
            .map_err(|error| format!("{}: cannot be written: {error}", self.list().display()))?;
        for path in [self.device(id), self.device_key(id)] {
            let mut aside = path.clone().into_os_string();
            aside.push(format!(".revoked-{serial}"));
            match fs::rename(&path, aside) {
                // The key may be on the device alone.
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(format!("{}: cannot be set aside: {error}", path.display()));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(serial)
    }
}

fn whole(path: &Path) -> Result<PathBuf, String> {
    fs::canonicalize(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: cannot be read: {error}", path.display()))
}

fn write(path: &Path, text: &str, secret: bool) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    }
    let mode = if secret { 0o600 } else { 0o644 };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// A file name that no client id leads out of its folder by.
fn file_name(id: &str) -> String {
    let mut name = String::new();
    for (at, byte) in id.bytes().enumerate() {
        match byte {
            b'.' if at == 0 => name.push_str("%2E"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                name.push(char::from(byte));
            }
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_client_id_leads_out_of_the_folder() {
        for (id, name) in [
            ("sensor-7", "sensor-7"),
            ("../ca", "%2E.%2Fca"),
            ("..", "%2E."),
            ("a/b c", "a%2Fb%20c"),
            ("é", "%C3%A9"),
            ("50%", "50%25"),
        ] {
            assert_eq!(file_name(id), name);
        }
    }
}
