//! A client of HTTP over a socket that blocks: it sends what it is told to, byte for byte, and
//! reads as slowly as a test wants.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// How long an answer may take. Only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Fields of a header.
pub type Fields<'a> = &'a [(&'a str, &'a str)];

/// One connection.
pub struct Http {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
}

/// An answer, and what of its body was read.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Http {
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the window is open");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket of ours");
        Self { address, stream: BufReader::new(stream) }
    }

    /// A request with the header fields that every client sends, and the whole answer.
    pub fn ask(&mut self, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.send(line, headers, body);
        self.answer()
    }

    /// As [`ask`](Self::ask), without a body.
    pub fn get(&mut self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), &[], b"")
    }

    /// Sends a request whose first line is `METHOD PATH`.
    pub fn send(&mut self, line: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut text = format!("{line} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            text += &format!("Host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        self.send_bytes(&[text.as_bytes(), b"\r\n", body].concat());
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("the window reads");
    }

    /// The status and header of an answer; its body is for [`line`](Self::line).
    pub fn head(&mut self) -> Answer {
        let first = self.raw_line().expect("an answer");
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status: {first:?}"));
        let mut headers = Vec::new();
        while let Some(line) = self.raw_line().filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").expect("a field of a header");
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        Answer { status, headers, body: Vec::new() }
    }

    pub fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        if let Some(len) = answer.header("content-length") {
            answer.body = vec![0; len.parse().expect("a length")];
            self.stream.read_exact(&mut answer.body).expect("a whole body");
        } else if answer.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk() {
                answer.body.extend(chunk);
            }
        }
        answer
    }

    /// The next chunk of a body; `None` is its end.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let len = self.raw_line().expect("a chunk");
        let len = usize::from_str_radix(&len, 16).unwrap_or_else(|_| panic!("no chunk: {len:?}"));
        let mut chunk = vec![0; len + 2];
        self.stream.read_exact(&mut chunk).expect("a whole chunk");
        chunk.truncate(len);
        (len > 0).then_some(chunk)
    }

    /// Whether the window closes the connection and says nothing more.
    pub fn is_closed(&mut self) -> bool {
        match self.stream.read(&mut [0]) {
            Ok(len) => len == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }

    /// Goes away in the middle of whatever there is.
    pub fn vanish(self) {
        self.stream.get_ref().shutdown(Shutdown::Both).expect("a socket of ours");
    }

    fn raw_line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("text");
        Some(line.strip_suffix("\r\n")?.to_owned())
    }
}

/// The lines of a body that comes in chunks.
pub struct Lines {
    http: Http,
    rest: Vec<u8>,
}

impl Lines {
    /// Asks for a stream, and reads its header.
    pub fn of(mut http: Http, path: &str, headers: &[(&str, &str)]) -> Self {
        http.send(&format!("GET {path}"), headers, b"");
        let head = http.head();
        assert_eq!(head.status, 200, "{head:?}");
        Self { http, rest: Vec::new() }
    }

    /// The next line; `None` is the end.
    pub fn next(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.rest.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=at).collect();
                return Some(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            self.rest.extend(self.http.chunk()?);
        }
    }

    /// The next line that is one of JSON.
    pub fn json(&mut self) -> Value {
        let line = self.next().expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.text()))
    }
}
