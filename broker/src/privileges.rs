//! # Who the broker is
//!
//! Started by root, it opens its ports and files as root, and then becomes a user that may do
//! little, for good and with all of its threads. What root has made for it belongs to that user
//! from then on.

use std::ffi::CString;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use nix::unistd::{self, Gid, Uid};

/// Who to be, and what that user must be able to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The user to become when started by root. `None`: nobody else.
    pub user: Option<String>,
    /// Where to write the process id.
    pub pid_file: Option<PathBuf>,
    /// The folder for what is kept, if anything is.
    pub data_dir: Option<PathBuf>,
    /// Files of the log.
    pub log_files: Vec<PathBuf>,
    /// Sockets in the file system.
    pub sockets: Vec<PathBuf>,
}

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    name: String,
    uid: Uid,
    gid: Gid,
}

/// The file with the process id; gone with this.
#[derive(Debug)]
pub struct PidFile(PathBuf);

/// The user that mosquitto becomes where nobody says another.
pub const OF_MOSQUITTO: &str = "mosquitto";
/// Who takes the place of mosquitto's user on a machine without it.
const INSTEAD: &str = "nobody";
/// The one that may do everything.
const ROOT: &str = "root";

/// Whether this process may do everything.
pub fn is_root() -> bool {
    unistd::geteuid().is_root()
}

/// Looks a user up.
///
/// # Errors
/// What is wrong with the name, to stand behind the option's place.
pub fn find(name: &str) -> Result<User, String> {
    let found = unistd::User::from_name(name)
        .map_err(|error| format!("the user {name:?} cannot be looked up: {error}"))?;
    match found {
        Some(found) => Ok(User { name: name.to_owned(), uid: found.uid, gid: found.gid }),
        None if name == OF_MOSQUITTO => find(INSTEAD),
        None => Err(format!(
            "there is no user {name:?} on this machine: make it (adduser --system --group {name}), \
             or name another"
        )),
    }
}

impl Settings {
    /// Writes the process id and becomes the user, once everything is open that only root may open.
    ///
    /// # Errors
    /// What is not possible, in words: nothing may go on then.
    pub fn take_on(&self) -> Result<Option<PidFile>, String> {
        let user = match self.user.as_deref() {
            _ if !is_root() => None,
            None | Some(ROOT) => {
                tracing::warn!(
                    "Martlet runs as root, which it does not need: name a user for it with \
                     process.user."
                );
                None
            }
            Some(name) => Some(find(name)?),
        };
        let pid_file = self.pid_file.as_deref().map(PidFile::write).transpose()?;
        let Some(user) = user else { return Ok(pid_file) };
        let made = self.log_files.iter().chain(&self.pid_file).chain(&self.sockets).cloned();
        for path in made.chain(self.data_dir.iter().flat_map(|folder| within(folder))) {
            user.take_over(&path).map_err(|error| {
                format!("Cannot hand {} over to the user {}: {error}.", path.display(), user.name)
            })?;
        }
        user.become_for_good()
            .map_err(|error| format!("Cannot become the user {}: {error}.", user.name))?;
        tracing::info!("Running as the user {} from here on.", user.name);
        if let Some(folder) = &self.data_dir {
            user.try_to_write(folder)?;
        }
        Ok(pid_file)
    }
}

/// A folder and all that is in it. What a link points to is somewhere else.
fn within(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    let mut at = 0;
    while let Some(path) = found.get(at) {
        at += 1;
        if fs::symlink_metadata(path).is_ok_and(|there| there.is_dir()) {
            let entries = fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
            found.extend(entries.map(|entry| entry.path()).collect::<Vec<_>>());
        }
    }
    found
}

impl User {
    /// What belongs to root belongs to this user from here on; what belongs to others stays theirs.
    fn take_over(&self, path: &Path) -> io::Result<()> {
        let owner = fs::symlink_metadata(path)?.uid();
        if Uid::from_raw(owner).is_root() {
            lchown(path, Some(self.uid.as_raw()), Some(self.gid.as_raw()))?;
        }
        Ok(())
    }

    /// All threads, and never back: the C library tells each of them.
    fn become_for_good(&self) -> Result<(), nix::Error> {
        let name = CString::new(self.name.as_str()).map_err(|_| nix::Error::EINVAL)?;
        unistd::initgroups(&name, self.gid)?;
        unistd::setgid(self.gid)?;
        unistd::setuid(self.uid)
    }

    fn try_to_write(&self, folder: &Path) -> Result<(), String> {
        let probe = folder.join(".writable");
        let made = OpenOptions::new().write(true).create(true).truncate(true).open(&probe);
        made.and_then(|_| fs::remove_file(&probe)).map_err(|error| {
            let (name, folder) = (&self.name, folder.display());
            format!(
                "The user {name} cannot write in {folder} ({error}): give it the folder and a way \
                 there (chown -R {name} {folder}), or name another with process.user."
            )
        })
    }
}

impl PidFile {
    fn write(path: &Path) -> Result<Self, String> {
        let written = fs::write(path, std::process::id().to_string())
            .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o644)));
        written.map_err(|error| {
            format!("Cannot write the process id to {}: {error}.", path.display())
        })?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        match fs::remove_file(&self.0) {
            // The user may write the file and not the folder that root has made it in.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                let _ = fs::write(&self.0, "");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_mosquittos_has_a_stand_in() {
        let root = find("root").unwrap();
        assert!(root.uid.is_root() && root.gid.as_raw() == 0);
        assert!(find(OF_MOSQUITTO).is_ok());
        let said = find("no such user").expect_err("a name with spaces");
        assert!(said.starts_with("there is no user \"no such user\" on this machine"), "{said}");
    }

    #[test]
    fn what_is_handed_over_is_all_in_the_folder_and_nothing_behind_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("data/journal")).unwrap();
        fs::create_dir(path("elsewhere")).unwrap();
        for name in ["data/state", "data/journal/1", "elsewhere/secret"] {
            fs::write(path(name), "").unwrap();
        }
        std::os::unix::fs::symlink(path("elsewhere"), path("data/link")).unwrap();
        let mut found = within(&path("data"));
        found.sort();
        let expected = ["data", "data/journal", "data/journal/1", "data/link", "data/state"];
        assert_eq!(found, expected.map(path));
    }

    #[test]
    fn a_process_id_is_written_and_gone_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("martlet.pid");
        let file = PidFile::write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), std::process::id().to_string());
        drop(file);
        assert!(!path.exists());
        let said = PidFile::write(&folder.path().join("no/such")).expect_err("no such folder");
        assert!(said.starts_with("Cannot write the process id to "), "{said}");
    }
}
