//! mosquitto's clients as child processes, read line by line.

use std::collections::VecDeque;
use std::env;
use std::io::{BufRead, BufReader, PipeReader, pipe};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use rustix::process::Pid;

use crate::broker::Broker;

/// How long a line, or the end, may take before the test has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Lines read ahead; then the tool waits.
const LINES_MAX: usize = 1 << 20;
/// What `subscribe` has mosquitto_sub print for a message: QoS, RETAIN, payload in hex, topic.
const FORMAT: &str = ">%q %r %x %t";

/// Runs `mosquitto_pub` with `args` to its end.
///
/// # Panics
/// When it fails.
pub fn publish(broker: &Broker, args: &[&str]) {
    let finished = Running::start(tool("mosquitto_pub", broker).args(args)).finish();
    assert!(finished.status.success(), "mosquitto_pub {args:?}: {finished:?}");
}

/// Starts `mosquitto_sub` with `args` and waits until its subscriptions are acknowledged.
pub fn subscribe(broker: &Broker, args: &[&str]) -> Running {
    let mut running =
        Running::start(tool("mosquitto_sub", broker).args(["-d", "-F", FORMAT]).args(args));
    running.wait_for("Subscribed (mid:");
    running
}

/// A tool of mosquitto's that is to connect to `broker`. `stdbuf` becomes the tool, which then
/// prints line by line into a pipe too.
pub fn tool(name: &str, broker: &Broker) -> Command {
    let mut command = Command::new("stdbuf");
    command.args(["-oL", name]);
    assert_installed(name);
    command.args(["-h", "127.0.0.1", "-p", &broker.port().to_string()]).stdin(Stdio::null());
    command
}

fn assert_installed(name: &str) {
    let path = env::var_os("PATH").unwrap_or_default();
    assert!(
        env::split_paths(&path).any(|folder| folder.join(name).is_file()),
        "{name} is not installed (Debian's package is mosquitto-clients: \
         apt-get install mosquitto-clients)"
    );
}

/// A message as mosquitto_sub got it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Received {
    /// The QoS of the delivery.
    pub qos: u8,
    /// Its RETAIN flag.
    pub retain: bool,
    /// Its topic.
    pub topic: String,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl Received {
    /// The payload as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix('>')?.splitn(4, ' ');
        let qos = words.next()?.parse().ok()?;
        let retain = words.next()? == "1";
        let payload = words.next()?.as_bytes().chunks_exact(2).map(byte).collect();
        Some(Self { qos, retain, topic: words.next()?.to_owned(), payload })
    }
}

fn byte(digits: &[u8]) -> u8 {
    let digits = str::from_utf8(digits).expect("mosquitto_sub prints hex digits for %x");
    u8::from_str_radix(digits, 16).expect("mosquitto_sub prints hex digits for %x")
}

/// Asserts that `got` is `expected`, and tells of the first difference alone.
///
/// # Panics
/// When it is not.
pub fn assert_same_order(got: &[String], expected: &[String]) {
    let same = got.iter().zip(expected).take_while(|(got, expected)| got == expected).count();
    let (next, wanted) = (got.get(same), expected.get(same));
    assert!(next.is_none() && wanted.is_none(), "at {same}: {next:?}, not {wanted:?}");
}

/// How a tool ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it printed and nobody had read yet.
    pub lines: Vec<String>,
}

/// A tool at work. Dropped, it is killed, by its process id.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    /// Came before the line that was waited for: a resumed session's, before the SUBACK.
    early: VecDeque<Received>,
    name: String,
}

impl Running {
    /// Starts `command`; its standard output and standard error are read as one.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(command: &mut Command) -> Self {
        let name = format!("{command:?}");
        let (reader, writer) = pipe().expect("the system has pipes");
        let error = writer.try_clone().expect("the system has file descriptors");
        let child = command
            .stdout(writer)
            .stderr(error)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {name}: {error}"));
        // The command keeps the pipe's other end, and with it the reader waiting, until told not
        // to.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self { child, lines: read_lines(reader), early: VecDeque::new(), name }
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Takes its standard input, which its command made a pipe.
    pub fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("the command said Stdio::piped, and it is taken once")
    }

    /// Reads on to a line that contains `text`. Messages before it are kept.
    ///
    /// # Panics
    /// When it ends before, or says nothing for a minute.
    pub fn wait_for(&mut self, text: &str) -> String {
        let mut before = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            if line.contains(text) {
                return line;
            }
            self.early.extend(Received::parse(&line));
            before.push(line);
        }
        panic!("{} never said {text:?}, only {before:#?}", self.name)
    }

    /// The next message that it receives.
    ///
    /// # Panics
    /// When it ends before, or receives none for a minute.
    pub fn message(&mut self) -> Received {
        if let Some(message) = self.early.pop_front() {
            return message;
        }
        let mut before = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            match Received::parse(&line) {
                Some(message) => return message,
                None => before.push(line),
            }
        }
        panic!("{} received no message; it said {before:#?}", self.name)
    }

    /// The next `count` messages, as text.
    ///
    /// # Panics
    /// As [`Running::message`].
    pub fn texts(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.message().text()).collect()
    }

    /// Ends it with SIGKILL: the connection closes without a DISCONNECT.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs until it is waited for");
        self.child.wait().expect("a child can be waited for");
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When it does not end and says nothing for a minute.
    pub fn finish(mut self) -> Finished {
        let mut lines = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => lines.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    panic!("{} does not end; it said {lines:#?}", self.name)
                }
            }
        }
        let status = self.child.wait().expect("a child can be waited for");
        Finished { status, lines }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only when it has ended already, and then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_lines(reader: PipeReader) -> Receiver<String> {
    let (sender, receiver) = sync_channel(LINES_MAX);
    thread::spawn(move || {
        for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::Received;

    #[test]
    fn a_message_may_be_empty_and_its_topic_may_have_spaces() {
        let message = Received::parse(">1 1  a b/c").unwrap();
        assert_eq!((message.qos, message.retain, message.topic.as_str()), (1, true, "a b/c"));
        assert!(message.payload.is_empty());
        assert_eq!(Received::parse(">0 0 00ff t").unwrap().payload, [0, 255]);
        assert!(Received::parse("Client x received PUBLISH").is_none());
    }
}
