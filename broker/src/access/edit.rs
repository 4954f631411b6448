//! Changes to a password file, as `mosquitto_passwd` makes them. Lines that are not meant stay as
//! they are, comments too.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use crate::access::fault::Fault;
use crate::access::hash::{Hash, Scheme};
use crate::access::users;

/// The longest user name, in bytes: MQTT's.
const NAME_BYTES_MAX: usize = 65_535;

/// Hashes a password with a salt from the operating system.
///
/// # Errors
/// When it has no entropy to give.
pub fn hash(scheme: Scheme, password: &[u8]) -> io::Result<Hash> {
    let mut salt = vec![0; Scheme::SALT_BYTES];
    getrandom::fill(&mut salt).map_err(io::Error::other)?;
    Ok(Hash::new(scheme, password, salt))
}

/// Whether a password file can hold a user of this name.
///
/// # Errors
/// Why it cannot.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("a user name must not be empty"),
        _ if name.contains(':') => Err("a user name must not contain a colon"),
        _ if name.contains(char::is_control) => Err("a user name has no control characters"),
        _ if name.trim() != name => Err("a user name must not begin or end with a space"),
        _ if name.starts_with('#') => Err("a user name must not begin with #"),
        _ if name.len() > NAME_BYTES_MAX => Err("a user name has at most 65535 bytes"),
        _ => Ok(()),
    }
}

/// The text with this user's hash, in its old place or as the last line.
pub fn set(text: &str, user: &str, hash: &Hash) -> String {
    let entry = format!("{user}:{hash}");
    let mut found = false;
    let mut lines: Vec<&str> = Vec::new();
    for line in text.lines() {
        if !names(line, user) {
            lines.push(line);
        } else if !std::mem::replace(&mut found, true) {
            lines.push(&entry);
        }
    }
    if !found {
        lines.push(&entry);
    }
    joined(&lines)
}

/// The text without this user; `None`: there is no such user.
pub fn delete(text: &str, user: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().filter(|line| !names(line, user)).collect();
    (lines.len() < text.lines().count()).then(|| joined(&lines))
}

/// The text with every password hashed that is not yet.
///
/// # Errors
/// Every line that is no `name:password`; what `hash` fails with.
pub fn hash_all(
    path: &Path,
    text: &str,
    hash: impl Fn(&[u8]) -> io::Result<Hash>,
) -> Result<String, Vec<Fault>> {
    let (mut lines, mut faults) = (Vec::new(), Vec::new());
    for (number, line) in (1..).zip(text.lines()) {
        if !users::is_entry(line) {
            lines.push(line.to_owned());
            continue;
        }
        let hashed = match line.split_once(':') {
            None => Err("is no `name:password`: there is no colon".to_owned()),
            Some((_, password)) if password.parse::<Hash>().is_ok() => Ok(line.to_owned()),
            Some((name, password)) => match hash(password.as_bytes()) {
                Ok(hash) => Ok(format!("{name}:{hash}")),
                Err(error) => Err(error.to_string()),
            },
        };
        match hashed {
            Ok(line) => lines.push(line),
            Err(text) => faults.push(Fault::at(path, number, text)),
        }
    }
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    if faults.is_empty() { Ok(joined(&lines)) } else { Err(faults) }
}

/// Puts the text in the place of the file, all of it or nothing. An old file's owner and
/// permissions stay; a new file is its owner's alone.
///
/// # Errors
/// The operating system's.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    // A link stays one: what it points to is replaced.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut draft = path.clone().into_os_string();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    let written = write_draft(&path, &draft, text).and_then(|()| fs::rename(&draft, &path));
    if written.is_err() {
        // It may not even be there.
        let _ = fs::remove_file(&draft);
    }
    written
}

fn write_draft(path: &Path, draft: &Path, text: &str) -> io::Result<()> {
    let mut file: File =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(draft)?;
    if let Ok(old) = fs::metadata(path) {
        fchown(&file, Some(old.uid()), Some(old.gid()))?;
        file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o777))?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn names(line: &str, user: &str) -> bool {
    let name = line.split_once(':').map(|(name, _)| name.trim());
    users::is_entry(line) && name == Some(user)
}

fn joined(lines: &[&str]) -> String {
    lines.iter().flat_map(|line| [*line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cheap(password: &[u8]) -> io::Result<Hash> {
        Ok(Hash::new(Scheme::Pbkdf2 { iterations: 1 }, password, b"salt".to_vec()))
    }

    const ANN: &str = "ann:$7$1$AAAA$AAAA";

    #[test]
    fn a_user_is_set_in_place_or_at_the_end() {
        let hash = cheap(b"x").expect("a hash");
        let rows = [
            (String::new(), format!("bob:{hash}\n")),
            (format!("# all\n{ANN}\n"), format!("# all\n{ANN}\nbob:{hash}\n")),
            (format!("bob:old\n{ANN}"), format!("bob:{hash}\n{ANN}\n")),
            ("#bob:old\nbob:a\nbob:b\n".to_owned(), format!("#bob:old\nbob:{hash}\n")),
        ];
        for (before, after) in rows {
            assert_eq!(set(&before, "bob", &hash), after);
        }
    }

    #[test]
    fn a_user_is_deleted_and_no_other() {
        assert_eq!(delete("bob:a\n#bob:b\nbobby:c\n", "bob").as_deref(), Some("#bob:b\nbobby:c\n"));
        assert_eq!(delete("bobby:c\n", "bob"), None);
    }

    #[test]
    fn plain_passwords_are_hashed_once() {
        let text = format!("# all\n{ANN}\nbob:with:colon\n");
        let once = hash_all(Path::new("f"), &text, cheap).expect("good lines");
        let bob = format!("bob:{}", cheap(b"with:colon").expect("a hash"));
        assert_eq!(once, format!("# all\n{ANN}\n{bob}\n"));
        assert_eq!(hash_all(Path::new("f"), &once, cheap).as_deref(), Ok(&*once));
        let said = hash_all(Path::new("f"), "a\n\nb\n", cheap).expect_err("two mistakes");
        assert_eq!(said.iter().map(|fault| fault.line).collect::<Vec<_>>(), [Some(1), Some(3)]);
    }

    #[test]
    fn names_that_no_file_can_hold() {
        for name in ["", "a:b", "a\nb", " a", "#a", &"a".repeat(65_536)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        assert_eq!(check_name("ann smith"), Ok(()));
    }

    #[test]
    fn a_file_is_replaced_with_its_permissions() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users");
        let mode = || fs::metadata(&path).expect("it is there").mode() & 0o777;
        replace(&path, "a\n").expect("a folder of ours");
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("ours");
        replace(&path, "b\n").expect("a folder of ours");
        assert_eq!((mode(), fs::read_to_string(&path).expect("text")), (0o640, "b\n".to_owned()));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("a folder of ours");
        replace(&link, "c\n").expect("a folder of ours");
        assert!(fs::symlink_metadata(&link).expect("it is there").is_symlink());
        assert_eq!(fs::read_to_string(&path).expect("text"), "c\n");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2, "no draft is left");
    }
}
