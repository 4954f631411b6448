//! Clients that are not mosquitto's tools: a browser, Python's paho-mqtt, Node's MQTT.js, a program
//! in C over libmosquitto; over TCP, WebSocket and unix sockets.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use mosquitto_compat_tests::broker::{Broker, Kind};
use mosquitto_compat_tests::martlet;
use mosquitto_compat_tests::ports::Port;
use mosquitto_compat_tests::tools::{Running, publish, subscribe};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clients");

/// Where `./test tools` puts what no distribution has.
const INSTALLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/clients");

/// How long a browser may take to start, load a page and finish: only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(120);

/// Martlet on TCP, on WebSocket for pages of one origin, and on a unix socket.
struct Open {
    broker: Broker,
    websockets: Port,
    socket: PathBuf,
}

impl Open {
    /// For clients that are no web pages, and pages of this origin.
    fn to(origin: &str) -> Self {
        Self::with(&format!("websockets_origins = {origin:?}\n"))
    }

    fn everybody() -> Self {
        Self::with("")
    }

    fn with(origins: &str) -> Self {
        let (port, websockets) = (Port::reserve().unwrap(), Port::reserve().unwrap());
        let folder = TempDir::with_prefix("martlet-test-").unwrap();
        let (file, socket) = (folder.path().join("martlet.toml"), folder.path().join("socket"));
        let text = format!(
            "[data]\ndir = {:?}\n\
             [[listener]]\naddress = \"127.0.0.1:{}\"\nallow_anonymous = true\n\
             [[listener]]\naddress = \"127.0.0.1:{}\"\nprotocol = \"websockets\"\n\
             {origins}allow_anonymous = true\n\
             [[listener]]\npath = {socket:?}\npath_mode = \"600\"\nallow_anonymous = true\n",
            folder.path().join("data"),
            port.number(),
            websockets.number(),
        );
        fs::write(&file, text).unwrap();
        let program = martlet::binary().unwrap();
        let broker = Broker::with_file(Kind::Martlet, &program, &file, port, folder).unwrap();
        Self { broker, websockets, socket }
    }
}

/// Says in one line that something is not there. Where everything must be, that is a failure.
fn skipped(what: &str) {
    let everything = std::env::var_os("TEST_ALL_CLIENTS").is_some();
    assert!(!everything, "{what} is not installed: ./test tools");
    // Past the harness, which shows what a test prints only if it fails.
    let line = format!("skipped: {what} is not installed (./test tools installs it)\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

#[track_caller]
fn assert_well(command: &mut Command) {
    let finished = Running::start(command.stdin(Stdio::null())).finish();
    assert!(finished.status.success() && finished.lines == ["well"], "{finished:?}");
}

#[test]
fn mosquittos_tools_over_a_unix_socket() {
    let open = Open::everybody();
    let socket = open.socket.to_str().unwrap();
    let tool = |name: &str| {
        let mut command = Command::new("stdbuf");
        command.args(["-oL", name, "--unix", socket]).stdin(Stdio::null());
        command
    };
    let mut local = Running::start(
        tool("mosquitto_sub")
            .args(["-d", "-F", ">%q %r %x %t"])
            .args(["-q", "1", "-t", "local/#", "-i", "local"]),
    );
    local.wait_for("Subscribed (mid:");
    let mut remote = subscribe(&open.broker, &["-t", "local/#"]);
    let sent =
        Running::start(tool("mosquitto_pub").args(["-q", "2", "-t", "local/a", "-m", "one"]));
    assert!(sent.finish().status.success());
    publish(&open.broker, &["-t", "local/b", "-m", "two"]);
    for subscriber in [&mut local, &mut remote] {
        assert_eq!(subscriber.texts(2), ["one", "two"]);
    }
    let log = open.broker.wait_for_log(|log| log.contains("as local")).unwrap();
    let coming = log.lines().find(|line| line.contains("as local")).unwrap_or_default();
    let who = format!("unix:pid={},uid=", local.pid().as_raw_nonzero());
    assert!(coming.contains(&who), "{coming} instead of {who}");
}

#[test]
fn libmosquitto_from_c() {
    let folder = TempDir::with_prefix("martlet-test-").unwrap();
    let client = folder.path().join("client");
    if !Path::new("/usr/include/mosquitto.h").exists() {
        return skipped("libmosquitto-dev");
    }
    let built = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&client)
        .arg(Path::new(CLIENTS).join("client.c"))
        .arg("-lmosquitto")
        .status();
    assert!(built.unwrap().success(), "a C compiler makes it");
    let open = Open::everybody();
    assert_well(Command::new(&client).args(["127.0.0.1", &open.broker.port().to_string()]));
    assert_well(Command::new(&client).arg(&open.socket).arg("0"));
    assert_well(Command::new(&client).args(["127.0.0.1", &Broker::mosquitto().port().to_string()]));
}

#[test]
fn paho_from_python() {
    let python = Path::new(INSTALLED).join("python/bin/python3");
    if !python.exists() {
        return skipped("paho-mqtt for Python");
    }
    let open = Open::everybody();
    for (transport, port) in [("tcp", open.broker.port()), ("websockets", open.websockets.number())]
    {
        let client = Path::new(CLIENTS).join("client.py");
        assert_well(Command::new(&python).arg(client).args([transport, &port.to_string()]));
    }
}

#[test]
fn mqttjs_from_node() {
    let modules = Path::new(INSTALLED).join("node/node_modules");
    let (Some(node), true) = (program("node"), modules.join("mqtt").exists()) else {
        return skipped("mqtt for Node");
    };
    let open = Open::everybody();
    for url in [
        format!("mqtt://127.0.0.1:{}", open.broker.port()),
        format!("ws://127.0.0.1:{}/any/path", open.websockets.number()),
    ] {
        let client = Path::new(CLIENTS).join("client.cjs");
        assert_well(Command::new(&node).arg(client).arg(url).env("NODE_PATH", &modules));
    }
}

/// A browser, which is ended with all its processes.
struct Browser(Child);

impl Browser {
    fn open(program: &Path, profile: &Path, url: &str) -> Self {
        let mut command = Command::new(program);
        command
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-sync"])
            .args(["--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        Self(command.spawn().expect("it is installed"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Fails only when it has ended already, and then there is nothing to end.
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

/// Serves the page, and hands out what it reports.
fn serve(listener: TcpListener) -> Receiver<String> {
    let (sender, reports) = sync_channel(16);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            if let Some(report) = answer(stream)
                && sender.send(report).is_err()
            {
                return;
            }
        }
    });
    reports
}

/// Answers one request; what it reports, if it does.
fn answer(mut stream: TcpStream) -> Option<String> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut request = String::new();
    reader.read_line(&mut request).ok()?;
    let (mut len, mut line) = (0, String::new());
    while reader.read_line(&mut line).ok()? > 2 {
        let lower = line.to_lowercase();
        len = lower.strip_prefix("content-length:").map_or(len, |n| n.trim().parse().unwrap_or(0));
        line.clear();
    }
    let mut body = vec![0; len];
    reader.read_exact(&mut body).ok()?;
    let page = fs::read_to_string(Path::new(CLIENTS).join("page.html")).ok()?;
    let (status, page) = match request.split(' ').nth(1)?.split('?').next()? {
        "/" => ("200 OK", page.as_str()),
        "/result" => ("200 OK", "thank you"),
        _ => ("404 Not Found", "nothing"),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        page.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(page.as_bytes()).ok()?;
    request.starts_with("POST ").then(|| String::from_utf8_lossy(&body).into_owned())
}

#[test]
fn a_web_page_in_a_browser() {
    let Some(chromium) = program("chromium").or_else(|| program("chromium-browser")) else {
        return skipped("chromium");
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let reports = serve(listener);
    let profile = TempDir::with_prefix("martlet-browser-").unwrap();
    let open = Open::to(&origin);
    let mut watcher = subscribe(&open.broker, &["-t", "page/out"]);
    let url = format!("{origin}/?{}", open.websockets.number());
    let browser = Browser::open(&chromium, &profile.path().join("one"), &url);
    assert_eq!(watcher.message().text(), "from the page");
    publish(&open.broker, &["-q", "1", "-t", "page/in", "-m", "to the page"]);
    let said = reports.recv_timeout(PATIENCE).expect("the page finishes");
    drop(browser);
    assert_eq!(
        said,
        "connack 0; suback 1 1; in to the page; puback 2; puback 3; large true; close 1000 true"
    );
    let elsewhere = Open::to("https://elsewhere.example");
    let url = format!("{origin}/?{}", elsewhere.websockets.number());
    let _browser = Browser::open(&chromium, &profile.path().join("two"), &url);
    let said = reports.recv_timeout(PATIENCE).expect("the page finishes");
    assert_eq!(
        said, "large undefined; close 1006 false",
        "a page of another origin is turned away"
    );
    elsewhere.broker.wait_for_log(|log| log.contains("may not connect")).unwrap();
}
