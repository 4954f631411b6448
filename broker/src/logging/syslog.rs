//! The system's log: one datagram for each line, as RFC 3164 has it and every syslog takes it.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use jiff::tz::TimeZone;
use serde::Deserialize;

use crate::clock;
use crate::logging::queue::{Line, Sink};
use crate::logging::time::zoned;

/// Where every Unix has its syslog.
const SOCKET: &str = "/dev/log";

/// What syslog files a line under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Facility {
    /// As other services.
    Daemon = 3,
    /// One of those that a machine's owner may use.
    Local0 = 16,
    /// As above.
    Local1 = 17,
    /// As above.
    Local2 = 18,
    /// As above.
    Local3 = 19,
    /// As above.
    Local4 = 20,
    /// As above.
    Local5 = 21,
    /// As above.
    Local6 = 22,
    /// As above.
    Local7 = 23,
}

/// The way to the system's log. It is looked for anew as long as it is not there.
pub(super) struct Syslog {
    path: PathBuf,
    facility: Facility,
    socket: Option<UnixDatagram>,
}

impl Syslog {
    pub(super) fn new(facility: Facility) -> Self {
        Self { path: SOCKET.into(), facility, socket: None }
    }

    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(&self.path)?;
                socket
            }
        };
        socket.send(datagram)?;
        self.socket = Some(socket);
        Ok(())
    }
}

impl Sink for Syslog {
    fn write(&mut self, lines: &[Line]) -> io::Result<()> {
        let now = zoned(clock::wall(), TimeZone::system());
        let (date, id) = (now.strftime("%b %e %H:%M:%S"), std::process::id());
        for line in lines {
            let priority = self.facility as u8 * 8 + line.kind.severity();
            let datagram = format!("<{priority}>{date} martlet[{id}]: {}", line.text);
            // It may have been started again since the last line.
            self.send(datagram.as_bytes()).or_else(|_| self.send(datagram.as_bytes()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logging::kinds::Kind;

    #[test]
    fn a_line_is_a_datagram_with_facility_and_severity() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut syslog = Syslog { path: path.clone(), facility: Facility::Daemon, socket: None };
        let line = |kind| Line { kind, text: "Client a disconnected.".into() };
        assert!(syslog.write(&[line(Kind::Notice)]).is_err(), "there is no syslog yet");
        for (facility, kind, priority) in [
            (Facility::Daemon, Kind::Error, 27),
            (Facility::Daemon, Kind::Debug, 31),
            (Facility::Local3, Kind::Notice, 157),
        ] {
            // It is started again between the lines.
            let _ = std::fs::remove_file(&path);
            let system = UnixDatagram::bind(&path).unwrap();
            syslog.facility = facility;
            syslog.write(&[line(kind)]).unwrap();
            let mut bytes = [0; 200];
            let len = system.recv(&mut bytes).unwrap();
            let text = str::from_utf8(&bytes[..len]).unwrap();
            assert!(text.starts_with(&format!("<{priority}>")), "{text}");
            let tag = format!(" martlet[{}]: Client a disconnected.", std::process::id());
            let date = &text[text.find('>').unwrap() + 1..text.find(&tag).unwrap()];
            assert_eq!(date.len(), "Nov 30 00:22:21".len(), "{text}");
        }
    }
}
