//! A service that knows who may, as mosquitto-go-auth asks it: HTTP/1.1, one thread for each
//! connection.

#![allow(dead_code, reason = "each test uses its part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// One request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// Method and path.
    pub line: String,
    pub body: String,
    pub authorization: Option<String>,
    pub content_type: String,
}

/// What it is answered with.
#[derive(Clone, Copy)]
pub enum Reply {
    Status(u16),
    /// A status with this body.
    Says(u16, &'static str),
    /// Nothing, until somebody lets go; then this status.
    Held(u16),
    /// The end of the connection.
    Gone,
}

/// A running service. Dropped, it takes no connections any more.
pub struct Service {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    answer: Box<dyn Fn(&Asked) -> Reply + Send + Sync>,
    asked: Mutex<Vec<Asked>>,
    let_go: (Mutex<bool>, Condvar),
    stopped: AtomicBool,
    held: AtomicUsize,
    held_max: AtomicUsize,
    tls: Option<Arc<ServerConfig>>,
}

impl Service {
    pub fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), None, answer)
    }

    /// The same at an address, and with TLS over it if that is wanted.
    pub fn start_at(
        address: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).expect("a free port of the loopback");
        let address = listener.local_addr().expect("a socket of ours");
        let state = Arc::new(State {
            answer: Box::new(answer),
            asked: Mutex::default(),
            let_go: Default::default(),
            stopped: AtomicBool::new(false),
            held: AtomicUsize::new(0),
            held_max: AtomicUsize::new(0),
            tls,
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.serve(stream));
            }
        });
        Self { address, state }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it was asked since the last time.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state.asked.lock().expect("nobody panics with it"))
    }

    /// The same, as lines and bodies.
    pub fn heard(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| format!("{} {}", asked.line, asked.body)).collect()
    }

    /// Waits until so many are held at once.
    pub fn wait_for_held(&self, count: usize) {
        while self.state.held.load(Ordering::SeqCst) < count {
            thread::yield_now();
        }
    }

    /// How many it has held at once, at the most.
    pub fn held_max(&self) -> usize {
        self.state.held_max.load(Ordering::SeqCst)
    }

    /// Answers all that is held, and holds nothing more.
    pub fn let_go(&self) {
        let (flag, waiting) = &self.state.let_go;
        *flag.lock().expect("nobody panics with it") = true;
        waiting.notify_all();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        self.let_go();
        // Wakes it.
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    fn serve(&self, stream: TcpStream) {
        match &self.tls {
            None => self.converse(stream),
            Some(config) => {
                let tls = ServerConnection::new(Arc::clone(config)).expect("a good configuration");
                self.converse(StreamOwned::new(tls, stream));
            }
        }
    }

    fn converse(&self, stream: impl Read + Write) {
        let mut stream = BufReader::new(stream);
        while let Some(asked) = read(&mut stream) {
            if self.stopped.load(Ordering::SeqCst) {
                return;
            }
            let reply = (self.answer)(&asked);
            self.asked.lock().expect("nobody panics with it").push(asked);
            let (status, body) = match reply {
                Reply::Gone => return,
                Reply::Status(status) => (status, ""),
                Reply::Says(status, body) => (status, body),
                Reply::Held(status) => {
                    self.hold();
                    (status, "")
                }
            };
            let length = body.len();
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}");
            if stream.get_mut().write_all(head.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn hold(&self) {
        let now = self.held.fetch_add(1, Ordering::SeqCst) + 1;
        self.held_max.fetch_max(now, Ordering::SeqCst);
        let (flag, waiting) = &self.let_go;
        let mut free = flag.lock().expect("nobody panics with it");
        while !*free {
            free = waiting.wait(free).expect("nobody panics with it");
        }
        self.held.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One request; `None`: there is none any more.
fn read(stream: &mut impl BufRead) -> Option<Asked> {
    let mut next = || {
        let mut line = String::new();
        let read = stream.read_line(&mut line).ok()?;
        (read > 0).then(|| line.trim_end().to_owned())
    };
    let line = next()?;
    let mut headers = Vec::new();
    while let Some((name, value)) = next()?.split_once(": ") {
        headers.push((name.to_lowercase(), value.to_owned()));
    }
    let header = |name: &str| {
        let found = headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.clone())
    };
    let length = header("content-length").map_or(0, |length| length.parse().unwrap_or(0));
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Asked {
        line: line.trim_end_matches(" HTTP/1.1").to_owned(),
        body: String::from_utf8(body).ok()?,
        authorization: header("authorization"),
        content_type: header("content-type").unwrap_or_default(),
    })
}
