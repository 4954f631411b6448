//! The dashboard in a real browser without a window: clicked and typed at as people do, by the
//! DevTools protocol. `TEST_SCREENSHOTS=FOLDER` keeps pictures of what it looks like.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64ct::{Base64, Encoding};
use martlet::net::tls::settings::Settings as Tls;
use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::{Message, WebSocket};

use crate::open;
use crate::raw::client::Client;
use crate::raw::{Id, Packet, Publish};
use crate::recorded::Recording;
use crate::running::Running;
use crate::settings;

/// Whatever a page is to show, it shows within this time.
const PATIENCE: Duration = Duration::from_secs(30);

/// What Chromium is called.
const NAMES: &[&str] = &["chromium", "chromium-browser", "google-chrome"];

struct Browser {
    child: Child,
    socket: WebSocket<TcpStream>,
    session: String,
    last: u64,
    /// What went wrong in the page.
    complaints: Vec<String>,
    _folder: TempDir,
}

impl Browser {
    /// `None`: there is none on this machine.
    fn start() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut child = NAMES.iter().find_map(|name| spawn(name, &folder))?;
        let said = BufReader::new(child.stderr.take().expect("it was piped"));
        let url = said
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("DevTools listening on ").map(str::to_owned));
        let url = url.expect("it says where it listens");
        let place = url.trim_start_matches("ws://").split('/').next().expect("an address");
        let stream = TcpStream::connect(place).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket of ours");
        let (socket, _) = tungstenite::client(&url, stream).expect("a WebSocket");
        let (session, complaints) = (String::new(), Vec::new());
        let mut browser = Self { child, socket, session, last: 0, complaints, _folder: folder };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().expect("a session").to_owned();
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.size(1280, 860);
        Some(browser)
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut call = json!({"id": self.last, "method": method, "params": params});
        if !self.session.is_empty() {
            call["sessionId"] = json!(self.session);
        }
        self.socket.send(Message::text(call.to_string())).expect("it reads");
        loop {
            let text = self.socket.read().expect("it answers").into_text().expect("text");
            let mut said: Value = serde_json::from_str(&text).expect("JSON");
            if said["id"] == self.last {
                assert!(said["error"].is_null(), "{method}: {said}");
                return said["result"].take();
            }
            let params = &said["params"];
            match said["method"].as_str() {
                Some("Runtime.exceptionThrown") => self.complaints.push(params.to_string()),
                Some("Log.entryAdded") if params["entry"]["level"] == "error" => {
                    self.complaints.push(params.to_string());
                }
                _ => {}
            }
        }
    }

    /// What an expression of the page comes to.
    fn eval(&mut self, expression: &str) -> Value {
        let params = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true,
        });
        let mut answer = self.call("Runtime.evaluate", params);
        let failed = &answer["exceptionDetails"];
        assert!(failed.is_null(), "{expression}: {failed}\n{:#?}", self.complaints);
        answer["result"]["value"].take()
    }

    /// Waits until an expression of the page holds.
    #[track_caller]
    fn until(&mut self, expression: &str) {
        let millis = PATIENCE.as_millis() / 2;
        let holds = self.eval(&format!(
            "new Promise((done) => {{ const end = Date.now() + {millis}; const look = () => {{ \
             if ({expression}) done(true); else if (Date.now() > end) done(false); \
             else setTimeout(look, 50); }}; look(); }})"
        ));
        let page = self.eval("document.body.innerText.slice(0, 2000)");
        assert_eq!(holds, json!(true), "{expression}\n{page}\n{:#?}", self.complaints);
    }

    fn open(&mut self, address: SocketAddr, path: &str) {
        self.go_to(&format!("http://{address}{path}"));
    }

    fn go_to(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url}));
        self.until("document.readyState === 'complete'");
    }

    /// Clicks in the middle of an element.
    #[track_caller]
    fn click(&mut self, element: &str) {
        self.until(&format!("({element})?.getBoundingClientRect().width > 0"));
        let place = self.eval(&format!(
            "(() => {{ const e = {element}; e.scrollIntoView({{ block: 'center' }}); \
             const b = e.getBoundingClientRect(); \
             return [b.x + b.width / 2, b.y + b.height / 2]; }})()"
        ));
        for kind in ["mousePressed", "mouseReleased"] {
            let params = json!({
                "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1,
            });
            self.call("Input.dispatchMouseEvent", params);
        }
    }

    /// Types into an element, in place of what stands there.
    fn type_into(&mut self, element: &str, text: &str) {
        self.click(element);
        self.eval(&format!("({element}).select()"));
        self.call("Input.insertText", json!({"text": text}));
    }

    fn key(&mut self, key: &str, text: &str) {
        for kind in ["keyDown", "keyUp"] {
            let mut params = json!({"type": kind, "key": key});
            if kind == "keyDown" && !text.is_empty() {
                params["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", params);
        }
    }

    fn size(&mut self, width: u32, height: u32) {
        let params = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.call("Emulation.setDeviceMetricsOverride", params);
    }

    fn dark(&mut self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let feature = json!({"name": "prefers-color-scheme", "value": value});
        self.call("Emulation.setEmulatedMedia", json!({"features": [feature]}));
    }

    /// Keeps a picture, if somebody wants some.
    fn picture(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("TEST_SCREENSHOTS") else { return };
        let picture = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let text = picture["data"].as_str().expect("a picture");
        let path = PathBuf::from(folder).join(format!("{name}.png"));
        std::fs::write(path, Base64::decode_vec(text).expect("base64"))
            .expect("a folder of whoever wants pictures");
    }

    /// Nothing went wrong in the page.
    #[track_caller]
    fn end(self) {
        assert!(self.complaints.is_empty(), "{:#?}", self.complaints);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(name: &str, folder: &TempDir) -> Option<Child> {
    let mut command = Command::new(name);
    command
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .args(["--remote-debugging-port=0", "--no-first-run", "--disable-background-networking"])
        .arg(format!("--user-data-dir={}", folder.path().display()))
        .arg("about:blank")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command.spawn().ok()
}

/// A browser, or a line that says why this test is none here.
fn browser() -> Option<Browser> {
    let browser = Browser::start();
    if browser.is_none() {
        let text = "skipped: there is no Chromium here; ./test tools installs it on Debian";
        std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()).expect("a terminal");
    }
    browser
}

fn id(name: &str) -> String {
    format!("document.getElementById('{name}')")
}

fn node(name: &str) -> String {
    format!(
        "[...document.querySelectorAll('#tree .node')].find((n) => \
         n.querySelector('.name').textContent === '{name}')"
    )
}

fn push(broker: &Running, path: &str, payload: &str) {
    let answer = open(broker).ask(&format!("POST /push/{path}"), &[], payload.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn the_dashboard_shows_what_happens_and_publishes() {
    let Some(mut page) = browser() else { return };
    let broker = Running::start(settings());
    let mut subscriber = Client::connect(broker.address(), "watcher");
    subscriber.send(&Packet::Subscribe { id: Id::Number(1), filters: vec![("lamps/#".into(), 1)] });
    subscriber.expect("suback 1 1");
    page.open(broker.window(), "/");

    // Overview.
    page.until("document.getElementById('state').textContent === 'ready'");
    page.until("document.querySelectorAll('.card').length === 8");
    page.until(
        "[...document.querySelectorAll('.card')].some((c) => \
                c.textContent.includes('Clients connected') && c.textContent.includes('sessions'))",
    );
    page.until("document.querySelectorAll('.card svg polyline').length >= 4");
    page.picture("overview");

    // Topics: an object's numbers become a chart, field by field.
    page.click("document.querySelector('nav a[href=\"#topics\"]')");
    push(&broker, "sensors/garden/climate?retain=true", "{\"t\":20.5,\"h\":55}");
    page.click(&node("sensors"));
    page.click(&node("garden"));
    page.click(&node("climate"));
    page.until("document.getElementById('topic-value').textContent.includes('\"t\": 20.5')");
    for value in [21.0, 22.5, 21.8] {
        push(&broker, "sensors/garden/climate", &format!("{{\"t\":{value},\"h\":54}}"));
        page.until(&format!(
            "document.getElementById('topic-value').textContent.includes('\"t\": {value}')"
        ));
    }
    page.until("document.querySelector('#topic-chart .line')?.points.length >= 3");
    page.click(
        "[...document.querySelectorAll('#topic-fields button')].find((b) => \
                b.textContent === 'h')",
    );
    page.until(
        "document.querySelector('#topic-chart svg').getAttribute('aria-label').endsWith('h')",
    );
    page.picture("topics");

    // The live tail, paused and gone on.
    page.click("document.querySelector('nav a[href=\"#tail\"]')");
    page.type_into(&id("tail-filter"), "sensors/+/door");
    page.click(&id("tail-go"));
    page.until("document.getElementById('tail-note').textContent === 'following'");
    push(&broker, "sensors/cellar/door", "open");
    page.until("document.querySelector('#tail-rows .payload')?.textContent === 'open'");
    page.picture("tail");
    page.click(&id("tail-go"));
    page.until("document.getElementById('tail-go').textContent === 'Follow'");

    // Publishing reaches who subscribed.
    page.click("document.querySelector('nav a[href=\"#publish\"]')");
    page.type_into(&id("publish-topic"), "lamps/hall");
    page.click(&id("publish-payload"));
    page.call("Input.insertText", json!({"text": "on"}));
    page.click("document.querySelector('#publish-form button')");
    page.until("document.getElementById('publish-said').textContent.startsWith('Published and')");
    let Packet::Publish(heard) = subscriber.expect_packet() else { panic!("a message") };
    assert_eq!((heard.topic.as_str(), heard.payload.as_slice()), ("lamps/hall", b"on".as_slice()));
    page.type_into(&id("publish-topic"), "lamps/#");
    page.click("document.querySelector('#publish-form button')");
    page.until("document.getElementById('publish-said').textContent.includes('is no topic name')");
    page.picture("publish");

    // Sessions.
    page.click("document.querySelector('nav a[href=\"#sessions\"]')");
    page.type_into(&id("session-filter"), "watch");
    page.until("document.querySelectorAll('#session-rows tr').length === 1");
    page.until("document.querySelector('#session-rows .topic').textContent === 'watcher'");
    page.picture("sessions");
    page.complaints.retain(|text| !text.contains("400 (Bad Request)"));
    page.end();
}

/// A table of last values, which leads to a topic as the tree does.
#[test]
fn the_dashboard_shows_all_last_values() {
    let Some(mut page) = browser() else { return };
    let broker = Running::start(settings());
    push(&broker, "sensors/garden?retain=true", "20.5");
    page.open(broker.window(), "/#topics");
    page.click(&id("as-values"));
    page.until("document.querySelector('#value-rows .last')?.textContent === '20.5'");
    push(&broker, "sensors/attic?retain=true", "17.5");
    page.until("document.querySelectorAll('#value-rows tr').length === 2");
    page.until("document.querySelector('#value-rows .last').textContent === '17.5'");
    page.picture("values");
    page.click("document.querySelector('#value-rows button')");
    page.until("document.getElementById('topic-name').textContent === 'sensors/attic'");
    page.size(390, 800);
    page.dark(true);
    page.until("document.documentElement.scrollWidth <= window.innerWidth");
    page.picture("values-phone");
    page.click(&id("as-tree"));
    page.until("document.getElementById('values').hidden");
    page.end();
}

#[test]
fn the_dashboard_is_for_keyboards_phones_and_the_dark() {
    let Some(mut page) = browser() else { return };
    let broker = Running::start(settings());
    push(&broker, "a/b?retain=true", "1");
    page.open(broker.window(), "/");
    page.until("document.getElementById('state').textContent === 'ready'");
    for (key, part) in ["overview", "topics", "tail", "publish", "sessions"].iter().enumerate() {
        let key = (key + 1).to_string();
        page.key(&key, &key);
        page.until(&format!("!document.getElementById('{part}').hidden"));
        page.until("document.querySelectorAll('main > section:not([hidden])').length === 1");
    }
    page.key("?", "?");
    page.until("document.getElementById('keys').open");
    page.eval("document.getElementById('keys').close()");
    // The tree: arrows open, go in and choose.
    page.key("2", "2");
    page.until(&format!("{}?.getBoundingClientRect().width > 0", node("a")));
    page.eval("document.querySelector('#tree li').focus()");
    page.key("ArrowRight", "");
    page.until("document.querySelector('#tree li').getAttribute('aria-expanded') === 'true'");
    page.key("ArrowDown", "");
    page.key("Enter", "");
    page.until("document.getElementById('topic-name').textContent === 'a/b'");
    page.key("/", "/");
    page.until("document.activeElement.id === 'topic-filter'");
    page.eval("document.activeElement.blur()");
    for (dark, name) in [(false, "light"), (true, "dark")] {
        page.dark(dark);
        let ground = page.eval("getComputedStyle(document.body).backgroundColor");
        let light = ground.as_str().is_some_and(|color| color.starts_with("rgb(2"));
        assert_eq!(light, !dark, "{name}: {ground}");
    }
    page.key("t", "t");
    page.until("getComputedStyle(document.body).backgroundColor.startsWith('rgb(2')");
    page.key("t", "t");
    // Nothing sticks out of a narrow screen.
    for (width, height) in [(1280, 860), (768, 900), (390, 800)] {
        page.size(width, height);
        for part in 1..=5 {
            page.key(&part.to_string(), &part.to_string());
            page.until("document.documentElement.scrollWidth <= window.innerWidth");
            page.picture(&format!("{width}-{part}"));
        }
    }
    page.end();
}

#[test]
fn the_dashboard_shows_streams_and_how_far_cursors_are_behind() {
    let Some(mut page) = browser() else { return };
    let broker = Recording::start();
    let mut http = broker.open();
    let made = http.ask("PUT /cursors/plotter?filter=sensors/1/t&offset=earliest", &[], b"");
    assert_eq!(made.status, 200, "{}", made.text());
    broker.publish(0..7);
    page.open(broker.window(), "/");
    let cells = |n: u32| format!("document.querySelector('#cursor-rows td:nth-child({n})')");
    page.until(&format!("{}?.textContent === 'plotter'", cells(1)));
    page.until(&format!("{}.textContent === 'plant: sensors/1/t'", cells(2)));
    page.until(&format!("{}.textContent === '7'", cells(4)));
    for (width, name) in [(1280, "cursors"), (390, "cursors-phone")] {
        page.size(width, 860);
        page.until("document.documentElement.scrollWidth <= window.innerWidth");
        page.eval(&format!("{}.scrollIntoView({{ block: 'center' }})", cells(1)));
        page.picture(name);
    }
    let taken = http.ask("POST /cursors/plotter/take?commit=true", &[], b"");
    assert_eq!(taken.status, 200, "{}", taken.text());
    page.until(&format!("{}.textContent === '0'", cells(4)));
    page.end();
}

#[test]
fn every_path_can_be_tried_on_a_page() {
    let Some(mut page) = browser() else { return };
    let broker = Running::start(settings());
    page.open(broker.window(), "/spec/try");
    let of = |path: &str| {
        format!(
            "[...document.querySelectorAll('.operation')].find((o) => \
             o.querySelector('h3').textContent.endsWith(' {path}'))"
        )
    };
    page.click(&format!("{}?.querySelector('button')", of("/healthz")));
    page.until(&format!("{}.querySelector('pre').textContent.startsWith('200')", of("/healthz")));
    page.type_into(&format!("{}.querySelector('input')", of("/push/{topic}")), "a/b");
    page.click(&format!("{}.querySelector('button')", of("/push/{topic}")));
    page.until(&format!(
        "{}.querySelector('pre').textContent.includes('\"topic\": \"a/b\"')",
        of("/push/{topic}")
    ));
    page.picture("try");
    page.end();
}

/// A window that wants to know who asks tells the page, and a token opens it.
#[test]
fn the_dashboard_asks_for_a_token() {
    let Some(mut page) = browser() else { return };
    let (token, line) = martlet::access::tokens::make("ann").expect("entropy");
    let tokens = martlet::access::tokens::Tokens::parse("tokens".as_ref(), &line);
    let keys = martlet::http::Keys { tokens: tokens.ok(), ..Default::default() };
    let window = crate::window(crate::policy(false, None, None), keys);
    let broker = Running::start(martlet::server::Settings {
        window: Some(window),
        ..crate::running::settings()
    });
    page.open(broker.window(), "/");
    page.until("!document.getElementById('alert').hidden");
    page.click(&id("who"));
    page.type_into(&id("secret"), &token);
    page.click("document.querySelector('#login button[value=use]')");
    page.until("document.getElementById('state').textContent === 'ready'");
    page.until("document.getElementById('alert').hidden");
}

/// A window that speaks TLS, with a certificate of its own.
fn secure(folder: &TempDir) -> martlet::server::Settings {
    let names = vec!["localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("entropy");
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a folder of ours");
        path
    };
    let certificate = file("server.crt", made.cert.pem());
    let key = file("server.key", made.signing_key.serialize_pem());
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("ours");
    let mut settings = settings();
    let window = settings.window.as_mut().expect("it has one");
    window.0.tls = Some(Tls::new(certificate, key));
    settings
}

/// What the page asks for, follows and sends goes over TLS with it.
#[test]
fn the_dashboard_works_over_https() {
    let Some(mut page) = browser() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let broker = Running::start(secure(&folder));
    // Nobody has signed it whom the browser knows.
    page.call("Security.setIgnoreCertificateErrors", json!({"ignore": true}));
    page.go_to(&format!("https://localhost:{}/", broker.window().port()));
    page.until("location.protocol === 'https:'");
    page.until("document.getElementById('state').textContent === 'ready'");
    let mut client = Client::connect(broker.address(), "c");
    page.click("document.querySelector('nav a[href=\"#tail\"]')");
    page.type_into(&id("tail-filter"), "sensors/+/door");
    page.click(&id("tail-go"));
    page.until("document.getElementById('tail-note').textContent === 'following'");
    let publish = Publish { qos: 1, id: Id::Number(1), ..Publish::new("sensors/a/door", "open") };
    client.send(&Packet::Publish(publish));
    client.expect("puback 1");
    page.until("document.querySelector('#tail-rows .payload')?.textContent === 'open'");
    page.click("document.querySelector('nav a[href=\"#publish\"]')");
    page.type_into(&id("publish-topic"), "lamps/hall");
    page.click("document.querySelector('#publish-form button')");
    page.until("document.getElementById('publish-said').textContent.startsWith('Published and')");
    let insecure = "performance.getEntriesByType('resource')\
                    .filter((entry) => !entry.name.startsWith('https:')).length";
    assert_eq!(page.eval(insecure), json!(0));
    page.picture("https");
    page.end();
}
