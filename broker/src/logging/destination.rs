//! Where lines go.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::logging::queue::{Line, Sink};
use crate::logging::syslog::{Facility, Syslog};

/// A place for lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The end of a file, which is made if it is not there.
    File(PathBuf),
    /// The system's log.
    Syslog,
    /// The broker's own topics, `$SYS/broker/log/...`.
    Topic,
}

/// Some of them, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destinations(pub Vec<Destination>);

/// What destinations are written as, to stand after "takes".
pub const DESTINATIONS_TAKES: &str = "words with commas between them, of stdout, stderr, syslog, \
                                      topic, `file PATH`, none";

impl FromStr for Destinations {
    type Err = &'static str;

    /// As mosquitto adds them up: `none` takes back what stands before it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Vec::new();
        for word in text.split(',').map(str::trim) {
            let file = word.strip_prefix("file ").map(str::trim);
            let one = match word {
                "none" => {
                    all.clear();
                    continue;
                }
                "stdout" => Destination::Stdout,
                "stderr" => Destination::Stderr,
                "syslog" => Destination::Syslog,
                "topic" => Destination::Topic,
                _ => Destination::File(
                    file.filter(|path| !path.is_empty()).ok_or(DESTINATIONS_TAKES)?.into(),
                ),
            };
            if !all.contains(&one) {
                all.push(one);
            }
        }
        Ok(Self(all))
    }
}

impl Destination {
    /// Opens it, unless it is the broker's own topics, which are not opened here.
    pub(super) fn open(&self, facility: Facility) -> Result<Box<dyn Sink>, String> {
        Ok(match self {
            Self::Stdout => Box::new(Stream(io::stdout())),
            Self::File(path) => Box::new(Stream(open_file(path)?)),
            Self::Syslog => Box::new(Syslog::new(facility)),
            Self::Stderr | Self::Topic => Box::new(Stream(io::stderr())),
        })
    }
}

/// What mosquitto gives a new log: nobody else may read who talks about what.
const FILE_MODE: u32 = 0o600;

fn open_file(path: &Path) -> Result<File, String> {
    let mut options = OpenOptions::new();
    let opened = options.append(true).create(true).mode(FILE_MODE).open(path);
    opened.map_err(|error| format!("Cannot open the log file {}: {error}.", path.display()))
}

/// Anything that takes bytes.
struct Stream<W>(W);

impl<W: Write + Send> Sink for Stream<W> {
    fn write(&mut self, lines: &[Line]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(lines.iter().map(|line| line.text.len() + 1).sum());
        for line in lines {
            bytes.extend_from_slice(line.text.as_bytes());
            bytes.push(b'\n');
        }
        self.0.write_all(&bytes)?;
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_add_up_and_a_path_may_have_spaces() {
        let file = |path: &str| Destination::File(path.into());
        let rows = [
            ("stderr", Ok(vec![Destination::Stderr])),
            (
                "stdout, file /var/log/a b.log",
                Ok(vec![Destination::Stdout, file("/var/log/a b.log")]),
            ),
            ("topic,syslog,topic", Ok(vec![Destination::Topic, Destination::Syslog])),
            ("stderr, none", Ok(vec![])),
            ("none, stderr", Ok(vec![Destination::Stderr])),
            ("file", Err(DESTINATIONS_TAKES)),
            ("file ", Err(DESTINATIONS_TAKES)),
            ("/var/log/a.log", Err(DESTINATIONS_TAKES)),
            ("dlt", Err(DESTINATIONS_TAKES)),
            ("", Err(DESTINATIONS_TAKES)),
        ];
        for (text, expected) in rows {
            assert_eq!(text.parse(), expected.map(Destinations), "{text}");
        }
    }
}
