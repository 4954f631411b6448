//! `martlet passwd`: mosquitto_passwd's options, which differ from those of the broker.

use std::ffi::OsString;
use std::io::{BufRead, IsTerminal, Write, stdin, stdout};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::access::edit;
use crate::access::hash::{Hash, Scheme};

/// Make and edit password files, as mosquitto_passwd does. The file is replaced as a whole; its
/// owner and permissions stay.
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(name = "martlet passwd", bin_name = "martlet passwd")]
pub struct Passwd {
    /// Make a new file, in place of an old one if there is one. `-` writes to standard output.
    #[arg(short, conflicts_with_all = ["delete", "update"])]
    create: bool,
    /// Take the password from the command line, where others may see it, instead of asking for it.
    #[arg(short, requires = "password", conflicts_with_all = ["delete", "update"])]
    batch: bool,
    /// Delete the user.
    #[arg(short = 'D', requires = "user")]
    delete: bool,
    /// Hash all passwords of a file that stand there in the clear.
    #[arg(short = 'U', conflicts_with_all = ["delete", "user"])]
    update: bool,
    /// How to hash. The default can be read by every mosquitto since 2.0, with `sha512` since 1.0,
    /// with `argon2id` (46 MiB and harder to guess) since 2.1.
    #[arg(short = 'H', value_enum, default_value = "sha512-pbkdf2", value_name = "HASH")]
    hash: HashName,
    /// Iterations of sha512-pbkdf2 [default: 20000].
    #[arg(short = 'I', value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    iterations: Option<u32>,
    /// The password file.
    file: PathBuf,
    /// The user.
    #[arg(required_unless_present = "update")]
    user: Option<String>,
    /// The password, with -b.
    #[arg(requires = "batch")]
    password: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum HashName {
    Argon2id,
    #[value(name = "sha512-pbkdf2")]
    Pbkdf2,
    Sha512,
}

impl Passwd {
    /// What the command line of this process asks for, if it begins with `passwd`. Wrong usage and
    /// `--help` end the process here.
    pub fn of_process() -> Option<Self> {
        let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
        let asked = arguments.first().is_some_and(|first| first == "passwd");
        if asked {
            arguments[0] = "martlet passwd".into();
        }
        asked.then(|| Self::parse_from(arguments))
    }

    /// Does it.
    ///
    /// # Errors
    /// In words, a line each.
    pub fn run(&self) -> Result<(), String> {
        let file = self.file.as_path();
        let user = self.user.as_deref().unwrap_or_default();
        if !self.update && !self.delete {
            edit::check_name(user)?;
        }
        let text = if self.create { String::new() } else { read(file)? };
        let text = if self.update {
            let hashed =
                edit::hash_all(file, &text, |password| edit::hash(self.scheme(), password));
            hashed.map_err(|faults| {
                faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
            })?
        } else if self.delete {
            let gone = edit::delete(&text, user);
            gone.ok_or_else(|| format!("{}: there is no user {user:?}", file.display()))?
        } else {
            edit::set(&text, user, &self.hash(self.ask()?.as_bytes())?)
        };
        let written = if self.create && file == Path::new("-") {
            stdout().write_all(text.as_bytes())
        } else {
            edit::replace(file, &text)
        };
        written.map_err(|error| format!("{}: cannot be written: {error}", file.display()))
    }

    fn scheme(&self) -> Scheme {
        match (self.hash, self.iterations) {
            (HashName::Argon2id, _) => Scheme::ARGON2ID,
            (HashName::Sha512, _) => Scheme::Sha512,
            (HashName::Pbkdf2, None) => Scheme::PBKDF2,
            (HashName::Pbkdf2, Some(iterations)) => Scheme::Pbkdf2 { iterations },
        }
    }

    fn hash(&self, password: &[u8]) -> Result<Hash, String> {
        edit::hash(self.scheme(), password).map_err(|error| format!("no random salt: {error}"))
    }

    /// The password: from the command line, from somebody who types it twice, or a line of a pipe.
    fn ask(&self) -> Result<String, String> {
        let password = match &self.password {
            Some(password) => password.clone(),
            None if stdin().is_terminal() => {
                let first = hidden("Password: ")?;
                if hidden("Reenter password: ")? != first {
                    return Err("the passwords are not the same".to_owned());
                }
                first
            }
            None => line()?,
        };
        if password.is_empty() { Err("the password is empty".to_owned()) } else { Ok(password) }
    }
}

fn read(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| {
        format!("{}: cannot be read: {error} (-c makes a new file)", file.display())
    })
}

fn line() -> Result<String, String> {
    let mut line = String::new();
    let read = stdin().lock().read_line(&mut line);
    read.map_err(|error| format!("cannot read a password: {error}"))?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// A line that the terminal does not show.
fn hidden(prompt: &str) -> Result<String, String> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot ask for a password: {error}");
    let (input, mut output) = (stdin(), stdout());
    let shown = tcgetattr(input.as_fd()).map_err(|error| failed(&error))?;
    let mut quiet = shown.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    write!(output, "{prompt}").and_then(|()| output.flush()).map_err(|error| failed(&error))?;
    tcsetattr(input.as_fd(), OptionalActions::Flush, &quiet).map_err(|error| failed(&error))?;
    let typed = line();
    // If it stays quiet its user will notice; nothing else can be done.
    let _ = tcsetattr(input.as_fd(), OptionalActions::Flush, &shown);
    let _ = writeln!(output);
    typed
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Passwd::command().debug_assert();
    }

    #[test]
    fn usage_is_mosquitto_passwds() {
        let rows: &[(&str, bool)] = &[
            ("-c f u", true),
            ("f u", true),
            ("-b f u p", true),
            ("-c -b f u p", true),
            ("-H sha512 -c f u", true),
            ("-H argon2id -b f u p", true),
            ("-H sha512-pbkdf2 -I 101 -b f u p", true),
            ("-D f u", true),
            ("-U f", true),
            ("f", false),
            ("-b f u", false),
            ("f u p", false),
            ("-D f", false),
            ("-D -c f u", false),
            ("-U f u", false),
            ("-H md5 f u", false),
            ("-I 0 f u", false),
        ];
        for (words, good) in rows {
            let arguments = ["martlet passwd"].into_iter().chain(words.split(' '));
            assert_eq!(Passwd::try_parse_from(arguments).is_ok(), *good, "{words}");
        }
    }
}
