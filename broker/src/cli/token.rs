//! `martlet token`: bearer tokens for the window.

use std::fmt::Write;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use clap::Args;

use crate::access::tokens::{self, Tokens};
use crate::access::{edit, fault::Fault};

/// What becomes of whose token.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Token {
    /// Delete the name's tokens instead of making one.
    #[arg(short = 'D', long)]
    delete: bool,
    /// The token file (http.token_file). It is made if it is not there, for its owner alone.
    file: PathBuf,
    /// Whom the token stands for: the user whose lines of the ACL file hold.
    name: String,
}

impl Token {
    /// Does it, and says what is to be printed.
    ///
    /// # Errors
    /// In words, a line each.
    pub fn run(&self) -> Result<String, String> {
        let Self { file, name, .. } = self;
        edit::check_name(name)?;
        let shown = file.display();
        let mut text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && !self.delete => String::new(),
            Err(error) => return Err(format!("{shown}: cannot be read: {error}")),
        };
        Tokens::parse(file, &text)
            .map_err(|faults| faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n"))?;
        let mut said = String::new();
        if self.delete {
            text = edit::delete(&text, name)
                .ok_or_else(|| format!("{shown}: {name:?} has no token there"))?;
        } else {
            let (token, line) = tokens::make(name).map_err(|e| format!("no entropy: {e}"))?;
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            text += &format!("{line}\n");
            // Writing to a string cannot fail.
            let _ = writeln!(said, "{token}");
        }
        edit::replace(file, &text)
            .map_err(|error| format!("{shown}: cannot be written: {error}"))?;
        Ok(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(file: &std::path::Path, name: &str, delete: bool) -> Token {
        Token { delete, file: file.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn tokens_are_made_and_deleted_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tokens");
        let make = |name| token(&file, name, false).run().expect("a folder of ours");
        let (ann, bob) = (make("ann"), make("bob"));
        let second = make("ann");
        let read = || Tokens::read(&file).expect("a good file");
        assert_eq!(read().user(ann.trim()), Some("ann"));
        assert_eq!(read().user(second.trim()), Some("ann"));
        assert!(!fs::read_to_string(&file).expect("text").contains(ann.trim()));
        assert_eq!(token(&file, "ann", true).run().as_deref(), Ok(""));
        assert_eq!((read().user(ann.trim()), read().user(bob.trim())), (None, Some("bob")));
        assert!(token(&file, "ann", true).run().is_err_and(|text| text.contains("has no token")));
        assert!(token(&file, "a:b", false).run().is_err());
    }

    #[test]
    fn a_file_that_is_none_stays_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tokens");
        fs::write(&file, "ann:secret\n").expect("a folder of ours");
        let said = token(&file, "bob", false).run().expect_err("no token file");
        assert!(said.contains("tokens:1: behind the colon stands"), "{said}");
        assert_eq!(fs::read_to_string(&file).expect("text"), "ann:secret\n");
    }
}
