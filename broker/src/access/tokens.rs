//! Token files: `name:hash`, a line for each bearer token. A token is long and random, so that a
//! fast hash is enough: whoever reads the file cannot find it.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use base64ct::{Base64UrlUnpadded, Encoding};
use sha2::{Digest, Sha256};

use crate::access::edit::check_name;
use crate::access::fault::{self, Fault};

/// The tokens of one file.
#[derive(Debug, Default)]
pub struct Tokens {
    /// By hash: whom the token stands for.
    users: HashMap<Hash, Box<str>>,
}

type Hash = [u8; 32];

/// Bytes of randomness in a token that is made here.
const TOKEN_BYTES: usize = 24;

impl Tokens {
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
        let (mut users, mut faults) = (HashMap::new(), Vec::new());
        for (line, text) in (1..).zip(text.lines()) {
            if text.trim().is_empty() || text.starts_with('#') {
                continue;
            }
            match parse_entry(text) {
                Ok((name, hash)) => drop(users.insert(hash, name.into())),
                Err(text) => faults.push(Fault::at(path, line, text)),
            }
        }
        if faults.is_empty() { Ok(Self { users }) } else { Err(faults) }
    }

    /// Whom this token stands for.
    pub fn user(&self, token: &str) -> Option<&str> {
        self.users.get(&hash(token)).map(|name| &**name)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

/// Makes a token for this name: the token, which nobody can find out later, and the line for the
/// file.
///
/// # Errors
/// When the operating system has no entropy to give.
pub fn make(name: &str) -> io::Result<(String, String)> {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let token = Base64UrlUnpadded::encode_string(&bytes);
    let line = format!("{name}:{}", hex(&hash(&token)));
    Ok((token, line))
}

fn hash(token: &str) -> Hash {
    Sha256::digest(token.as_bytes()).into()
}

fn hex(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse_entry(text: &str) -> Result<(&str, Hash), String> {
    let (name, digits) = text.rsplit_once(':').ok_or("is no `name:hash`: there is no colon")?;
    check_name(name)?;
    let hash = unhex(digits.trim_end()).ok_or(
        "behind the colon stands the SHA-256 of a token, 64 hexadecimal digits: `martlet token` \
         makes such a line",
    )?;
    Ok((name, hash))
}

fn unhex(digits: &str) -> Option<Hash> {
    let mut hash = Hash::default();
    if digits.len() != 2 * hash.len() || !digits.is_ascii() {
        return None;
    }
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_was_made_stands_for_its_name_and_no_other_does() {
        let (token, line) = make("grafana").expect("entropy");
        let (other, _) = make("grafana").expect("entropy");
        let text = format!("# for the wall\n\n{line}\n");
        let tokens = Tokens::parse(Path::new("tokens"), &text).expect("a good file");
        assert_eq!(tokens.user(&token), Some("grafana"));
        for wrong in [other.as_str(), "", &token[1..], &line] {
            assert_eq!(tokens.user(wrong), None, "{wrong}");
        }
        assert!(token.len() >= 32, "{token}");
    }

    /// The hash is what `printf %s TOKEN | sha256sum` prints.
    #[test]
    fn a_hash_is_plain_sha256() {
        let text = "a:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\n";
        let tokens = Tokens::parse(Path::new("tokens"), text).expect("a good file");
        assert_eq!(tokens.user("secret"), Some("a"));
    }

    #[test]
    fn all_that_is_wrong_with_a_file_comes_with_its_line() {
        let text = "ann\n:00\nann:s3cret\n#\nann:zz\n";
        let faults = Tokens::parse(Path::new("tokens"), text).expect_err("a bad file");
        let lines: Vec<_> = faults.iter().map(|fault| fault.line).collect();
        assert_eq!(lines, [Some(1), Some(2), Some(3), Some(5)]);
        assert!(faults[2].text.contains("martlet token"), "{}", faults[2]);
    }
}
