//! The expression that the papers give to fail2ban, against a log in which clients do what they can
//! to be taken for a refusal of somebody else.

#![allow(missing_docs, unreachable_pub, reason = "a test")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

mod raw;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use martlet::access::edit;
use martlet::access::hash::Scheme;
use regex_lite::Regex;
use rustix::process::{Pid, Signal, kill_process};

use crate::raw::client::Client;
use crate::raw::{Connect, Id, Packet, Publish};

/// What a client would have others believe.
const LIE: &str = "[192.0.2.9:1] refused: not authorised, wrong password";

struct Broker {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    address: SocketAddr,
}

impl Broker {
    fn start(folder: &Path, compat: &str) -> Self {
        let hash = edit::hash(Scheme::Sha512, b"secret").unwrap();
        fs::write(folder.join("users"), format!("ann:{hash}\n")).unwrap();
        let text = format!(
            "[[listener]]\naddress = '127.0.0.1:0'\nallow_anonymous = true\n\
             password_file = 'users'\n[log]\ntypes = 'all'\n{compat}"
        );
        fs::write(folder.join("martlet.toml"), text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_martlet"));
        command.current_dir(folder).env_clear().args(["-c", "martlet.toml"]);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let (mut said, mut address) = (String::new(), None);
        while !said.contains(" running\n") {
            said.clear();
            assert_ne!(log.read_line(&mut said).unwrap(), 0, "it ended");
            let found = said.split_once("address=").map(|(_, address)| address.trim());
            address = address.or(found.and_then(|address| address.parse().ok()));
        }
        Self { child, log, address: address.unwrap() }
    }

    /// The log from the start on, once all is over.
    fn end(mut self) -> Vec<String> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let lines = self.log.lines().collect::<Result<_, _>>().unwrap();
        self.child.wait().unwrap();
        lines
    }
}

/// The expression as fail2ban understands it.
fn documented() -> Regex {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/access.md");
    let paper = fs::read_to_string(path).unwrap();
    let line = paper.lines().find_map(|line| line.strip_prefix("failregex = ")).unwrap();
    Regex::new(&line.replace("<ADDR>", r"\[?(?<address>[0-9A-Fa-f:.]+)\]?")).unwrap()
}

/// What fail2ban leaves of a line: all but its date.
fn undated(line: &str) -> &str {
    line.trim_start_matches(|c: char| c.is_ascii_digit())
}

fn lie(address: SocketAddr, client_id: &str, filter: &str) {
    let will = Some(Publish::new("will", LIE));
    let connect = Connect { will, ..Connect::new(client_id) };
    let mut client = Client::connect_as(address, connect);
    let filters = vec![(filter.to_owned(), 1)];
    client.send(&Packet::Subscribe { id: Id::Number(1), filters });
    client.expect("suback 1 1");
    client.send(&Packet::Unsubscribe { id: Id::Number(2), filters: vec![filter.to_owned()] });
    client.expect("unsuback 2");
    client.send(&Packet::Publish(Publish::new(filter, LIE)));
    client.ping();
    client.send(&Packet::Disconnect);
    client.expect_closed();
}

fn fails_to_log_in(address: SocketAddr, client_id: &str, user: &str) {
    let (user, password) = (Some(user.to_owned()), Some("wrong".to_owned()));
    let mut client = Client::open(address);
    client.send(&Packet::Connect(Box::new(Connect { user, password, ..Connect::new(client_id) })));
    client.expect("connack 5");
    client.expect_closed();
}

#[test]
fn no_client_can_have_another_banned() {
    let regex = documented();
    for compat in ["", "compat = '2.0'\n"] {
        let folder = tempfile::tempdir().unwrap();
        let broker = Broker::start(folder.path(), compat);
        let address = broker.address;
        let failed = [
            ("c", "ann"),
            ("c", "nobody"),
            ("", "ann"),
            (&format!("c {LIE}."), &format!("u') {LIE}.")),
            (&format!("c\n: Warning: Client x {LIE}."), &format!("u\nWarning: Client x {LIE}.")),
        ];
        for (client_id, user) in failed {
            fails_to_log_in(address, client_id, user);
        }
        let half = LIE.rsplit_once(' ').unwrap().0;
        let lies = [
            ("c", &*format!("{LIE}.")),
            ("Warning:", &*format!("Client x {LIE}.")),
            ("host", &*format!("martlet[1]: Warning: Client x {LIE}.")),
            ("martlet[1]:", &*format!("Warning: Client x {LIE}.")),
            (&*format!("Warning: Client x {half}"), "password."),
            (&*format!("host martlet[1]: Warning: Client x {half}"), "password."),
            (&*format!("martlet[1]: Warning: Client x {half}"), "password."),
            (&*format!("\tWarning: Client x {LIE}."), &*format!("\tWarning: Client x {LIE}.")),
            (&*format!("Warning: Client x {LIE}."), "a"),
            (&*format!("Warning: Client x {LIE}"), "a"),
            (LIE, "a"),
            (&*format!("{LIE}."), "a"),
        ];
        for (client_id, filter) in lies {
            lie(address, client_id, filter);
        }
        let log = broker.end();
        let taken: Vec<_> = log.iter().filter_map(|line| regex.captures(undated(line))).collect();
        let banned = taken.iter().filter_map(|taken| taken.name("address"));
        let others: Vec<_> =
            taken.iter().filter(|taken| &taken["address"] != "127.0.0.1").collect();
        assert!(others.is_empty(), "{others:#?}");
        assert_eq!(banned.count(), failed.len(), "{log:#?}");
        let told = log.iter().filter(|line| line.contains("192.0.2.9")).count();
        assert!(told > 10 * lies.len(), "{told}: the lies are in the log");
    }
}

/// The system's log has the name of the machine in front, where no time stamp is asked for besides.
#[test]
fn the_lines_of_the_systems_log_are_taken_too() {
    let regex = documented();
    for (begins, taken) in
        [(" host martlet[12]: ", true), ("host martlet[12]: ", true), (": ", true), ("x ", false)]
    {
        for address in ["192.0.2.9:1", "[2001:db8::9]:1"] {
            let line =
                format!("{begins}Warning: Client c [{address}] refused: not authorised, a b.");
            assert_eq!(regex.is_match(&line), taken, "{line}");
        }
    }
}
