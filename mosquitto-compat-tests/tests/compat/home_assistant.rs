//! Home Assistant's mosquitto.conf, with a service beside it that answers as the web server of its
//! add-on does.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Stdio;
use std::thread;

use mosquitto_compat_tests::broker::{Broker, Kind};
use mosquitto_compat_tests::martlet;
use mosquitto_compat_tests::ports::Port;
use mosquitto_compat_tests::tools::{self, tool};
use tempfile::TempDir;

const CONF: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/good/home-assistant.conf");

/// `secret`, as the add-on's own `pw` hashes it.
const HASH: &str = "PBKDF2$sha512$1000$BlwtSl/ubLqi+HT7w2pxoA==$MVMBmVRo1Wg/zC577qZ69L2RhIh2l1RQ69O\
                    uoksqfI4p/rx23yOxvFh/gsbhw/ZgMdWcGZKumNYhVKtGMZ/d2w==";

/// A user of Home Assistant, whom no file has.
const BOB: [&str; 4] = ["-u", "bob", "-P", "sesame"];
/// Home Assistant itself, from the file.
const HOME: [&str; 4] = ["-u", "homeassistant", "-P", "secret"];

/// What the add-on's web server answers: to paths, and to bodies where it looks at them. With
/// `enforced`, an option of the add-on, the ACL file decides for all but the add-on's own users.
fn answer(enforced: bool, path: &str, body: &str) -> u16 {
    let own = ["homeassistant", "addons"]
        .iter()
        .any(|user| body.contains(&format!("\"username\":\"{user}\"}}")));
    let bob = body.contains("\"password\":\"sesame\",\"username\":\"bob\"}");
    let yes = match (path, enforced) {
        ("/authentication", _) => bob && !(enforced && own),
        ("/superuser", true) => own,
        ("/superuser" | "/acl", false) => true,
        _ => false,
    };
    if yes { 200 } else { 403 }
}

/// Serves until the test ends. Its port.
fn serve(enforced: bool) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || converse(stream, enforced));
        }
    });
    port
}

fn converse(stream: TcpStream, enforced: bool) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut next = || {
            let mut line = String::new();
            let read = stream.read_line(&mut line).ok()?;
            (read > 0).then(|| line.trim_end().to_lowercase())
        };
        let first = next()?;
        let path = first.split(' ').nth(1)?.to_owned();
        let mut length = 0;
        loop {
            let line = next()?;
            if let Some(said) = line.strip_prefix("content-length: ") {
                length = said.parse().ok()?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;
        let status = answer(enforced, &path, &String::from_utf8_lossy(&body));
        let reply = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
        stream.get_mut().write_all(reply.as_bytes()).ok()?;
    }
}

/// Martlet with the file; only ports and folders are those of the test. `own` is a file with rights
/// as the add-on's manual tells people to write one.
fn broker(enforced: bool, acl: &str, own: Option<&str>) -> Broker {
    let (port, other) = (Port::reserve().unwrap(), Port::reserve().unwrap());
    let folder = TempDir::new().unwrap();
    let path = folder.path();
    for name in ["config", "conf.d", "data"] {
        fs::create_dir(path.join(name)).unwrap();
    }
    let users = format!("homeassistant:{HASH}\naddons:{HASH}\n");
    fs::write(path.join("config/pwfile"), users).unwrap();
    fs::write(path.join("config/acl"), format!("user homeassistant\nuser addons\n{acl}")).unwrap();
    if let Some(own) = own {
        let file = path.join("config/own");
        fs::write(&file, own).unwrap();
        let line = format!("acl_file {}\n", file.display());
        fs::write(path.join("conf.d/acl.conf"), line).unwrap();
    }
    let text = fs::read_to_string(CONF).unwrap();
    let text = text
        .replace("@DIR@", &path.display().to_string())
        .replace("@PORT@", &port.number().to_string())
        .replace("@PORT2@", &other.number().to_string())
        .replace("auth_opt_http_port 80", &format!("auth_opt_http_port {}", serve(enforced)));
    let file = path.join("mosquitto.conf");
    fs::write(&file, &text).unwrap();
    let binary = martlet::binary().unwrap();
    Broker::with_file(Kind::Martlet, &binary, &file, port, folder).unwrap()
}

/// Whether a publisher comes in.
fn comes_in(broker: &Broker, login: &[&str]) -> bool {
    let mut command = tool("mosquitto_pub", broker);
    let output = command.args(login).args(["-t", "x", "-m", "x"]).stdin(Stdio::null()).output();
    output.unwrap().status.success()
}

#[test]
fn users_of_home_assistant_and_of_the_file_come_in_and_may_do_everything() {
    let broker = broker(false, "", None);
    for (login, expected) in [
        (&HOME[..], true),
        (&BOB, true),
        (&["-u", "addons", "-P", "secret"], true),
        (&["-u", "bob", "-P", "secret"], false),
        (&["-u", "homeassistant", "-P", "sesame"], false),
        (&[], false),
    ] {
        assert_eq!(comes_in(&broker, login), expected, "{login:?}\n{}", broker.log());
    }
    let all = [&HOME[..], &["-t", "#", "-q", "1"]].concat();
    let mut listener = tools::subscribe(&broker, &all);
    let message = ["-t", "home/light", "-m", "on", "-q", "1"];
    tools::publish(&broker, &[&BOB[..], &message].concat());
    assert_eq!(listener.message().topic, "home/light");
}

#[test]
fn with_rights_enforced_the_file_decides_for_all_but_the_add_ons_own_users() {
    let acl = "user bob\ntopic read home/#\ntopic write from/bob\n";
    let broker = broker(true, acl, None);
    assert!(comes_in(&broker, &HOME) && comes_in(&broker, &BOB));
    assert!(!comes_in(&broker, &["-u", "homeassistant", "-P", "sesame"]), "{}", broker.log());
    let all = [&HOME[..], &["-t", "#", "-q", "1"]].concat();
    let mut home = tools::subscribe(&broker, &all);
    let own = [&BOB[..], &["-t", "home/+", "-q", "1"]].concat();
    let mut bob = tools::subscribe(&broker, &own);
    for topic in ["home/light", "from/bob"] {
        tools::publish(&broker, &[&BOB[..], &["-t", topic, "-m", "bob", "-q", "1"]].concat());
    }
    let message = home.message();
    assert_eq!((&*message.topic, &*message.text()), ("from/bob", "bob"), "home/light is not his");
    tools::publish(&broker, &[&HOME[..], &["-t", "home/light", "-m", "on", "-q", "1"]].concat());
    assert_eq!(bob.message().text(), "on");
}

#[test]
fn an_acl_file_of_ones_own_decides_what_everybody_may_do() {
    let own = "user homeassistant\ntopic #\nuser bob\ntopic read home/#\n";
    let broker = broker(false, "", Some(own));
    let mut bob = tools::subscribe(&broker, &[&BOB[..], &["-t", "#", "-q", "1"]].concat());
    let mut home = tools::subscribe(&broker, &[&HOME[..], &["-t", "#", "-q", "1"]].concat());
    tools::publish(&broker, &[&BOB[..], &["-t", "home/x", "-m", "bob", "-q", "1"]].concat());
    for topic in ["secret", "home/x"] {
        tools::publish(&broker, &[&HOME[..], &["-t", topic, "-m", "home", "-q", "1"]].concat());
    }
    assert_eq!(home.message().topic, "secret", "bob may not publish");
    assert_eq!(bob.message().topic, "home/x", "and not read everything");
}
