//! Password files: `name:hash`, a line for each user.

use std::collections::HashMap;
use std::path::Path;

use crate::access::Refusal;
use crate::access::fault::{self, Fault};
use crate::access::hash::{Hash, Scheme};

/// The users of one password file.
#[derive(Debug)]
pub struct Users {
    by_name: HashMap<Box<str>, User>,
    /// Checked in place of a user who is not there, so that the time that it takes does not tell.
    decoy: Hash,
}

#[derive(Debug)]
struct User {
    hash: Hash,
    line: usize,
}

impl Users {
    /// Reads a file.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(path: &Path) -> Result<Self, Vec<Fault>> {
        Self::parse(path, &fault::read_text(path)?)
    }

    /// Takes the text of a file apart. Empty lines, and lines that begin with `#`, say nothing.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Vec<Fault>> {
        let mut by_name: HashMap<Box<str>, User> = HashMap::new();
        let mut faults = Vec::new();
        for (line, text) in (1..).zip(text.lines()).filter(|(_, text)| is_entry(text)) {
            let parsed = parse_entry(text).and_then(|(name, hash)| match by_name.get(name) {
                Some(first) => Err(format!("user {name:?} stands in line {} already", first.line)),
                None => {
                    by_name.insert(name.into(), User { hash, line });
                    Ok(())
                }
            });
            faults.extend(parsed.err().map(|text| Fault::at(path, line, text)));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let hashes = by_name.values().map(|user| &user.hash);
        let slowest = hashes.max_by_key(|hash| hash.cost()).cloned();
        let decoy = slowest.unwrap_or_else(|| Hash::new(Scheme::PBKDF2, b"", b"decoy".to_vec()));
        Ok(Self { by_name, decoy })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Whether there is a user of this name.
    pub fn knows(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Whether this is the user's password. Takes the time that a hash takes, also when there is no
    /// such user.
    ///
    /// # Errors
    /// When it is not.
    pub fn check(&self, name: &str, password: &[u8]) -> Result<(), Refusal> {
        match self.by_name.get(name) {
            Some(user) if user.hash.verify(password) => Ok(()),
            Some(_) => Err(Refusal::WrongPassword),
            None => {
                self.decoy.verify(password);
                Err(Refusal::UnknownUser)
            }
        }
    }
}

pub(super) fn is_entry(line: &str) -> bool {
    !line.trim().is_empty() && !line.starts_with('#')
}

fn parse_entry(text: &str) -> Result<(&str, Hash), String> {
    let Some((name, hash)) = text.split_once(':') else {
        return Err("is no `name:hash`: there is no colon".to_owned());
    };
    let name = name.trim();
    if name.is_empty() {
        return Err("there is no user name in front of the colon".to_owned());
    }
    match hash.trim().parse() {
        Ok(hash) => Ok((name, hash)),
        Err(why) => Err(format!("user {name:?}: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: &str = "ann:$7$1$AAAA$AAAA";

    fn parse(text: &str) -> Result<Users, Vec<String>> {
        Users::parse(Path::new("users"), text)
            .map_err(|faults| faults.iter().map(Fault::to_string).collect())
    }

    #[test]
    fn a_file_is_read_whatever_its_line_ends() {
        let bob = format!("bob:{}", Hash::new(Scheme::Sha512, b"secret", b"salt".to_vec()));
        for text in [format!("{ANN}\n# bob\n\n{bob}\n"), format!("{ANN}\r\n\r\n{bob}")] {
            let users = parse(&text).expect("a good file");
            assert_eq!(users.len(), 2);
            assert_eq!(users.check("bob", b"secret"), Ok(()));
            assert_eq!(users.check("bob", b"Secret"), Err(Refusal::WrongPassword));
            assert_eq!(users.check("# bob", b"secret"), Err(Refusal::UnknownUser));
            assert_eq!(users.check("Bob", b"secret"), Err(Refusal::UnknownUser));
        }
        assert!(parse("").expect("nobody").is_empty());
    }

    #[test]
    fn all_mistakes_come_with_their_lines() {
        let text = format!("{ANN}\nbob\n:x\n#\ncid:secret\n{ANN}\n");
        let said = parse(&text).expect_err("four mistakes");
        let begins = [
            "users:2: is no `name:hash`",
            "users:3: there is no user name",
            "users:5: user \"cid\": the password is not hashed",
            "users:6: user \"ann\" stands in line 1 already",
        ];
        assert_eq!(said.len(), begins.len(), "{said:#?}");
        for (said, begin) in said.iter().zip(begins) {
            assert!(said.starts_with(begin), "{said}");
        }
    }

    #[test]
    fn an_unknown_user_costs_as_much_as_the_slowest_known_one() {
        let slow = format!("{ANN}\nbob:$7$5$AAAA$AAAA\ncid:$6${}\n", "AAAA$".to_owned() + &hash());
        let users = parse(&slow).expect("a good file");
        assert_eq!(users.decoy.cost(), 5);
        assert_eq!(parse("").expect("nobody").decoy.cost(), 20_000);
    }

    fn hash() -> String {
        Hash::new(Scheme::Sha512, b"", Vec::new())
            .to_string()
            .split('$')
            .next_back()
            .map_or_else(String::new, str::to_owned)
    }
}
