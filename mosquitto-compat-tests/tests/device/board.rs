//! A whole microcontroller with its network, in QEMU: `firmware-examples/emulated-board` from its
//! reset to its end, while the broker is killed, its network is cut, and it is reset itself. Each
//! of its messages is accounted for, and its own verdict is its exit status.

use std::collections::BTreeSet;
use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use mosquitto_compat_tests::broker::Broker;
use mosquitto_compat_tests::ports::Port;
use mosquitto_compat_tests::tools::{Running, publish, subscribe};
use tempfile::TempDir;

use crate::pki::{Authority, Flash};

/// Messages of the board that may be under way, and so be sent again, when something happens.
const WINDOW: usize = 4;
/// Readings that must have come before the next thing happens.
const READINGS: usize = 8;

#[test]
#[ignore = "wants QEMU and the board's firmware: ./test board"]
fn each_message_of_the_board_arrives_whatever_happens() {
    println!("{}", World::new().live_through(FAULTS));
}

#[test]
#[ignore = "wants QEMU and the board's firmware: ./test board"]
fn each_message_of_the_board_arrives_over_tls_too() {
    let faults = [World::broker_is_killed, World::network_is_cut, World::board_is_reset];
    println!("over TLS: {}", World::secret().live_through(&faults));
}

/// What happens to the board, one after the other.
const FAULTS: &[fn(&mut World)] = &[
    World::broker_is_killed,
    World::network_is_cut,
    World::board_is_reset,
    World::broker_is_killed,
    World::board_is_reset_while_the_network_is_cut,
];

struct World {
    broker: Broker,
    board: Running,
    switch: Switch,
    account: Account,
    commands: usize,
    _kept: (TempDir, Option<(Authority, Port)>),
}

impl World {
    fn new() -> Self {
        let broker = Broker::martlet();
        let port = broker.port();
        Self::with(broker, port, TempDir::with_prefix("martlet-board-").unwrap(), None)
    }

    /// Over TLS, with certificates on both sides and records that fit into the board.
    fn secret() -> Self {
        let authority = Authority::new("127.0.0.1");
        let (broker, port) = authority.durable_martlet(1_024);
        let folder = TempDir::with_prefix("martlet-board-").unwrap();
        Flash::of(&authority).write_to(folder.path());
        Self::with(broker, port.number(), folder, Some((authority, port)))
    }

    fn with(broker: Broker, port: u16, folder: TempDir, secret: Option<(Authority, Port)>) -> Self {
        let topics = ["-t", "board/reading", "-t", "board/done"];
        let account =
            subscribe(&broker, &[&["-c", "-i", "account", "-q", "2"], &topics[..]].concat());
        let socket = folder.path().join("switch");
        let mut board = Running::start(&mut board(port, secret.is_some(), &socket));
        let account = Account { messages: account, readings: Vec::new(), done: Vec::new() };
        board.wait_for("started, anew");
        let switch = Switch::connect(&socket);
        Self { broker, board, switch, account, commands: 0, _kept: (folder, secret) }
    }

    /// What became of all messages while all this happened.
    fn live_through(mut self, faults: &[fn(&mut Self)]) -> String {
        self.board.wait_for("connected, session present: false");
        for happens in faults {
            self.account.readings(READINGS);
            self.command("hello");
            happens(&mut self);
            self.board.wait_for("connected, session present: true");
            self.command("hello again");
        }
        self.account.readings(READINGS);
        self.end(faults.len())
    }

    fn broker_is_killed(&mut self) {
        self.broker.kill();
        self.board.wait_for("trying again");
        self.broker.start_again();
    }

    /// Nobody tells the board: nothing comes any more.
    fn network_is_cut(&mut self) {
        self.switch.network(false);
        self.command("while the network is cut");
        self.board.wait_for("the network failed: Silent");
        self.switch.network(true);
    }

    fn board_is_reset(&mut self) {
        self.command("reset");
        self.board.wait_for("started, with the session of before");
    }

    fn board_is_reset_while_the_network_is_cut(&mut self) {
        self.switch.network(false);
        self.board.wait_for("the network failed: Silent");
        self.switch.say(r#"{"execute": "system_reset"}"#);
        self.board.wait_for("started, with the session of before");
        self.command("while the network is cut");
        self.switch.network(true);
    }

    /// Commands are numbered: the board ends with 2 when one is missing or comes twice.
    fn command(&mut self, word: &str) {
        self.commands += 1;
        let command = format!("{} {word}", self.commands);
        publish(&self.broker, &["-q", "2", "-t", "board/command", "-m", &command]);
    }

    fn end(mut self, faults: usize) -> String {
        self.command("end");
        let ended = self.board.wait_for("ended after");
        let status = self.board.finish().status;
        assert!(status.success(), "{ended}: {status}");
        publish(&self.broker, &["-q", "2", "-t", "board/done", "-m", "0 over"]);
        let published = ended.split(' ').nth(2).and_then(|number| number.parse().ok());
        self.account.close(published.unwrap(), self.commands, faults)
    }
}

/// All that came from the board to a subscriber whose session outlives the broker's end.
struct Account {
    messages: Running,
    readings: Vec<usize>,
    done: Vec<usize>,
}

impl Account {
    /// So many more readings.
    fn readings(&mut self, count: usize) {
        let enough = self.readings.len() + count;
        while self.readings.len() < enough {
            self.message();
        }
    }

    fn message(&mut self) -> usize {
        let message = self.messages.message();
        let text = message.text();
        let number = text.split(' ').next().and_then(|number| number.parse().ok());
        let number = number.unwrap_or_else(|| panic!("no number: {text}"));
        match message.topic.as_str() {
            "board/reading" => self.readings.push(number),
            _ => self.done.push(number),
        }
        number
    }

    /// QoS 1: all of them, in order, again only what was under way when something happened. QoS 2:
    /// each of them once.
    fn close(mut self, published: usize, commands: usize, faults: usize) -> String {
        while self.done.last() != Some(&0) {
            self.message();
        }
        let mut seen = BTreeSet::new();
        let first: Vec<_> = self.readings.iter().filter(|number| seen.insert(**number)).collect();
        assert!(first.into_iter().copied().eq(0..published), "{:?}", self.readings);
        let again = self.readings.len() - published;
        assert!(again <= faults * WINDOW, "{again} came again: {:?}", self.readings);
        assert!(self.done.iter().copied().eq((1..=commands).chain([0])), "{:?}", self.done);
        format!("{published} readings and {commands} commands in order, {again} readings twice")
    }
}

/// QEMU's own control of its machine.
struct Switch {
    to: UnixStream,
    from: BufReader<UnixStream>,
}

impl Switch {
    fn connect(socket: &Path) -> Self {
        let to = UnixStream::connect(socket).unwrap();
        let from = BufReader::new(to.try_clone().unwrap());
        let mut switch = Self { to, from };
        switch.answer("its greeting");
        switch.say(r#"{"execute": "qmp_capabilities"}"#);
        switch
    }

    fn network(&mut self, up: bool) {
        self.say(&format!(
            r#"{{"execute": "set_link", "arguments": {{"name": "net", "up": {up}}}}}"#
        ));
    }

    /// Says something, and waits for the answer.
    fn say(&mut self, command: &str) {
        writeln!(self.to, "{command}").unwrap();
        self.answer(command);
    }

    /// Events come in between.
    fn answer(&mut self, to: &str) {
        let lines = self.from.by_ref().lines().map_while(Result::ok);
        let answer = lines.into_iter().find(|line| !line.contains("\"event\""));
        let answer = answer.expect("QEMU answers");
        assert!(!answer.contains("\"error\""), "{to}: {answer}");
    }
}

/// The machine, with the broker's port among its arguments, and its flash in the switch's folder.
fn board(port: u16, secret: bool, switch: &Path) -> Command {
    let firmware = env::var("TEST_BOARD").expect("`./test board` says where the firmware is");
    let mut command = Command::new("qemu-system-arm");
    let secret = if secret { ",arg=tls" } else { "" };
    let semihosting = format!("enable=on,target=native,arg=emulated-board,arg=port={port}{secret}");
    command
        .args(["-M", "lm3s6965evb", "-nographic", "-monitor", "none", "-serial", "none"])
        .args(["-semihosting-config", &semihosting])
        .args(["-netdev", "user,id=net", "-net", "nic,model=stellaris,netdev=net"])
        .args(["-qmp", &format!("unix:{},server=on,wait=off", switch.display())])
        .args(["-kernel", &firmware]);
    command.current_dir(switch.parent().expect("the switch lies in a folder"));
    command
}
