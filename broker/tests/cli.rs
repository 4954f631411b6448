//! The binary as its users meet it: exit codes, what it prints, signals.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::available_parallelism;

use martlet::machine;
use rustix::process::{Pid, Signal, kill_process};

/// What a run ended with.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

fn martlet(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_martlet"));
    command.current_dir(dir).env_clear().args(arguments);
    command
}

fn run(dir: &Path, arguments: &[&str]) -> Ended {
    end_of(&mut martlet(dir, arguments))
}

fn end_of(command: &mut Command) -> Ended {
    let output = command.output().unwrap();
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A broker that said it runs; killed when a test fails.
struct Running {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    said: String,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut running = Self { child, log, said: String::new() };
        running.wait_for(concat!("martlet version ", env!("CARGO_PKG_VERSION"), " running"));
        running
    }

    /// Reads the log up to the line that contains `words`.
    fn wait_for(&mut self, words: &str) {
        loop {
            let mut line = String::new();
            self.log.read_line(&mut line).unwrap();
            assert!(!line.is_empty(), "ended without saying {words:?}:\n{}", self.said);
            self.said.push_str(&line);
            if line.contains(words) {
                return;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    fn end(mut self) -> Ended {
        self.log.read_to_string(&mut self.said).unwrap();
        let code = self.child.wait().unwrap().code();
        Ended { code, out: String::new(), err: std::mem::take(&mut self.said) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn help_and_version_tell_what_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let help = run(dir.path(), &["--help"]);
    assert_eq!(help.code, Some(0));
    for words in [
        "--config <FILE>",
        "--port <PORT>",
        "--verbose",
        "--quiet",
        "--data <DIR>",
        "--log-format",
        "check",
        "127.0.0.1",
        "    [[listener]]\n    port = 1883\n    allow_anonymous = true\n",
        "Exit codes: 0 done; 1 something failed",
        "78 mistakes in the configuration",
    ] {
        assert!(help.out.contains(words), "{words}:\n{}", help.out);
    }
    let version = run(dir.path(), &["--version"]);
    assert_eq!(version.out, format!("martlet {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_usage_is_2_and_mistakes_are_78() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("bad.toml"), "[limits]\nmax_inflght = 5\n[log]\nlevel = 1\n")
        .unwrap();
    let rows: &[(&[&str], i32, &str)] = &[
        (&["--colour"], 2, "unexpected argument '--colour'"),
        (&["-p", "70000"], 2, "70000 is not in 0..=65535"),
        (&["check"], 2, "which file? Name it at the end"),
        (&["--test-config"], 2, "--test-config wants -c FILE"),
        (&["--test-config", "-c", "bad.toml"], 78, "bad.toml:4:9: \"level\" takes one of"),
        (&["-d", "-c", "bad.toml"], 78, "bad.toml:4:9: \"level\" takes one of"),
        (&["-c", "missing.toml"], 78, "missing.toml: cannot be read: No such file"),
        (&["check", "missing.toml"], 78, "missing.toml: cannot be read: No such file"),
        (&["-c", "bad.toml"], 78, "bad.toml:2:1: unknown option \"max_inflght\" in [limits]; did"),
        (&["config", "show", "-c", "bad.toml"], 78, "bad.toml:4:9: \"level\" takes one of"),
        (&["--data", ""], 78, "command line --data: takes a path, not \"\""),
    ];
    for (arguments, code, words) in rows {
        let ended = run(dir.path(), arguments);
        assert_eq!(ended.code, Some(*code), "{arguments:?} {ended:?}");
        assert!(ended.err.contains(words), "{arguments:?} {ended:?}");
        assert_eq!(ended.out, "", "{arguments:?}");
    }
}

#[test]
fn check_says_all_that_is_wrong_or_that_nothing_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("martlet.toml");
    fs::write(&file, "[limits]\nmax_inflght = 5\nreceived_max = 0\n[[listener]]\n").unwrap();
    let ended = end_of(martlet(dir.path(), &["check", "martlet.toml"]).env("MARTLET_LOGS", "1"));
    assert_eq!(ended.code, Some(78));
    let lines: Vec<&str> = ended.err.lines().collect();
    assert_eq!(
        lines[..3],
        [
            "martlet.toml:2:1: unknown option \"max_inflght\" in [limits]; did you mean \
             \"inflight_max\"?",
            "martlet.toml:3:16: \"received_max\" takes a whole number from 1 to 65535, not 0",
            "martlet.toml:4:1: this listener wants an \"address\", a \"port\" or a \"path\"",
        ]
    );
    assert!(lines[3].starts_with("environment variable MARTLET_LOGS: sets no option"), "{lines:?}");
    assert_eq!(lines.len(), 4);

    fs::write(&file, "[[listener]]\nport = 1883\n").unwrap();
    let ended = run(dir.path(), &["check", "martlet.toml"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.starts_with("martlet.toml: warning: No client can connect"), "{ended:?}");
    assert!(ended.out.ends_with("martlet.toml: ok\n"), "{ended:?}");
}

#[test]
fn the_file_to_check_is_named_once() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.conf"), "listener 1883\nallow_anonymous true\n").unwrap();
    for arguments in [
        &["-c", "a.conf", "check"][..],
        &["check", "a.conf"],
        &["--config-file", "a.conf", "--test-config"],
    ] {
        let ended = run(dir.path(), arguments);
        assert_eq!((ended.code, ended.out.as_str()), (Some(0), "a.conf: ok\n"), "{arguments:?}");
    }
    assert_eq!(run(dir.path(), &["check", "a.conf", "-c", "a.conf"]).code, Some(2));
}

/// An init script's `-d`: the command ends once the broker runs, and the broker stays.
#[test]
fn in_the_background_it_runs_before_the_command_ends() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let arguments = ["-d", "-p", &port.to_string()];
    let ended = run(dir.path(), &arguments);
    assert_eq!(ended.code, Some(1), "the port is in use: {ended:?}");
    assert!(ended.err.contains("is in use"), "{ended:?}");
    drop(taken);
    let ended = run(dir.path(), &arguments);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.err.contains(" running"), "{ended:?}");
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    // The only process that has this directory for its own.
    let broker = living_in(dir.path()).expect("a broker");
    assert_eq!(rustix::process::getsid(Some(broker)), Ok(broker), "a session of its own");
    kill_process(broker, Signal::TERM).unwrap();
    assert_eq!(client.read(&mut [0; 16]).unwrap_or(0), 0, "closed at the end");
}

fn living_in(dir: &Path) -> Option<Pid> {
    let dir = dir.canonicalize().unwrap();
    fs::read_dir("/proc").unwrap().filter_map(Result::ok).find_map(|entry| {
        let there = fs::read_link(entry.path().join("cwd")).ok()?;
        let number = entry.file_name().to_str()?.parse().ok()?;
        (there == dir).then(|| Pid::from_raw(number))?
    })
}

#[test]
fn config_show_names_the_place_of_each_value() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.toml"), "[limits]\ninflight_max = 5\n").unwrap();
    let mut command = martlet(dir.path(), &["config", "show", "-c", "a.toml", "-q", "-p", "1884"]);
    let ended = end_of(command.env("MARTLET_DATA__DIR", "/tmp/x"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines: Vec<String> =
        ended.out.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in [
        "address = \"127.0.0.1:1884\" # command line -p",
        "inflight_max = 5 # a.toml:2:16",
        "queue_messages_max = 1000 # default",
        "level = \"error\" # command line -q",
        "dir = \"/tmp/x\" # environment variable MARTLET_DATA__DIR",
    ] {
        assert!(lines.iter().any(|shown| shown == line), "{line}\n{}", ended.out);
    }
    fs::write(dir.path().join("shown.toml"), &ended.out).unwrap();
    assert_eq!(run(dir.path(), &["check", "shown.toml"]).code, Some(0));
}

#[test]
fn it_runs_in_local_only_mode_until_it_is_asked_to_stop() {
    let dir = tempfile::tempdir().unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let mut running = Running::start(&mut martlet(dir.path(), &["-p", "0"]));
        for (harmless, words) in [
            (Signal::HUP, "The configuration was reloaded."),
            (Signal::USR1, "Saving: a checkpoint of the store has begun."),
            (Signal::USR2, "Subscriptions: 0"),
        ] {
            running.signal(harmless);
            running.wait_for(words);
        }
        running.signal(signal);
        let ended = running.end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.err.contains(": Starting in local only mode. Connections"), "{ended:?}");
        assert!(ended.err.ends_with(" terminating\n"), "{ended:?}");
    }
}

#[test]
fn a_reload_takes_all_of_a_configuration_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.toml");
    let listener = "[[listener]]\naddress = '127.0.0.1:0'\nallow_anonymous = true\n";
    fs::write(&file, listener).unwrap();
    let mut running = Running::start(&mut martlet(dir.path(), &["-c", "a.toml"]));
    let address = running.said.split_once("address=").unwrap().1.lines().next().unwrap();
    let address = address.trim().to_owned();
    let connect = || TcpStream::connect(&address).unwrap();

    let bad = "[log]\nconnection_messages = false\n[limits]\ninflight_max = 0\ncolour = 1\n";
    fs::write(&file, format!("{listener}{bad}")).unwrap();
    running.signal(Signal::HUP);
    running.wait_for("Error: a.toml:7:16: \"inflight_max\" takes a whole number");
    running.wait_for("Error: a.toml:8:1: unknown option \"colour\"");
    running.wait_for("The configuration was not reloaded: the one before stays in use.");
    let _first = connect();
    running.wait_for("New connection from");

    let good = "[log]\nconnection_messages = false\n[data]\ndir = 'elsewhere'\n";
    fs::write(&file, format!("{listener}{good}")).unwrap();
    running.signal(Signal::HUP);
    running.wait_for("data.dir (a.toml:7:7) has changed, which takes effect at the next start");
    running.wait_for("The configuration was reloaded.");
    let mut second = connect();
    second.write_all(b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01c").unwrap();
    second.read_exact(&mut [0; 4]).unwrap();
    running.signal(Signal::TERM);
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.err.matches("New connection from").count(), 1, "{ended:?}");
}

/// Whoever rotates logs renames the file and sends SIGHUP, whatever the configuration says by then.
#[test]
fn a_reload_with_a_mistake_opens_the_log_anew() {
    let dir = tempfile::tempdir().unwrap();
    let listener = "[[listener]]\naddress = '127.0.0.1:0'\nallow_anonymous = true\n";
    let log = "[log]\ndestinations = 'stderr, file a.log'\n";
    fs::write(dir.path().join("a.toml"), format!("{listener}{log}")).unwrap();
    let mut running = Running::start(&mut martlet(dir.path(), &["-c", "a.toml"]));
    fs::rename(dir.path().join("a.log"), dir.path().join("a.log.1")).unwrap();
    fs::write(dir.path().join("a.toml"), "colour = 1\n").unwrap();
    running.signal(Signal::HUP);
    running.wait_for("The configuration was not reloaded: the one before stays in use.");
    assert!(dir.path().join("a.log").exists());
    running.signal(Signal::TERM);
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let line = "The configuration was not reloaded";
    assert!(fs::read_to_string(dir.path().join("a.log")).unwrap().contains(line));
}

#[test]
fn a_port_in_use_is_1_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = run(dir.path(), &["-p", &port]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains(&format!(": Error: 127.0.0.1:{port} is in use")), "{ended:?}");
    assert!(ended.err.ends_with("choose another port, with -p or in the configuration.\n"));
}

#[test]
fn the_log_is_json_on_request() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.toml"), "[[listener]]\naddress = '127.0.0.1:0'\n").unwrap();
    let arguments = ["-c", "a.toml", "-p", "1883", "--log-format", "json"];
    let running = Running::start(&mut martlet(dir.path(), &arguments));
    running.signal(Signal::TERM);
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines: Vec<&str> = ended.err.lines().collect();
    assert!(lines.iter().all(|line| line.starts_with('{') && line.ends_with('}')), "{ended:?}");
    assert!(ended.err.contains(r#""message":"Config loaded from a.toml.""#), "{ended:?}");
    let warning = r#""level":"WARN","message":"The configuration defines a listener: -p is"#;
    assert!(ended.err.contains(warning), "{ended:?}");
}

/// On this machine.
fn own_files() -> u64 {
    machine::own_files(available_parallelism().map_or(1, usize::from))
}

#[test]
fn more_connections_than_open_files_are_worth_a_warning_when_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    for (text, warned) in [("", false), ("[limits]\nconnections_max = 10_000_000\n", true)] {
        fs::write(dir.path().join("a.toml"), text).unwrap();
        let mut shell = Command::new("sh");
        shell.current_dir(dir.path()).env_clear();
        let most = 192;
        let limit = format!("ulimit -n {}; exec \"$@\"", own_files() + most);
        shell.args(["-c", &limit, "sh", env!("CARGO_BIN_EXE_martlet")]);
        let running = Running::start(shell.args(["-c", "a.toml", "-p", "0", "-v"]));
        running.signal(Signal::TERM);
        let ended = running.end();
        let warning =
            format!("connections_max is 10000000, but the system allows open files for {most}");
        assert_eq!(ended.err.contains(&warning), warned, "{ended:?}");
        let words = format!("At most {most} connections at a time.");
        assert!(ended.err.contains(&words), "{ended:?}");
    }
}

#[test]
fn one_connection_at_a_time_is_enough_for_each_of_two_listeners() {
    let dir = tempfile::tempdir().unwrap();
    let listener = "[[listener]]\naddress = '127.0.0.1:0'\nallow_anonymous = true\n";
    let text = format!("{listener}{listener}[limits]\nconnections_max = 1\n");
    fs::write(dir.path().join("a.toml"), text).unwrap();
    let mut running = Running::start(&mut martlet(dir.path(), &["-c", "a.toml"]));
    let addresses = running.said.lines().filter_map(|line| line.split_once("address="));
    let addresses: Vec<String> = addresses.map(|(_, address)| address.trim().to_owned()).collect();
    assert_eq!(addresses.len(), 2, "{}", running.said);
    for address in addresses.iter().rev() {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!(client.read_to_end(&mut Vec::new()).unwrap(), 0, "served, and turned away");
    }
    let _first = TcpStream::connect(&addresses[0]).unwrap();
    for _ in 0..3 {
        running.wait_for("New connection from");
    }
    let _second = TcpStream::connect(&addresses[1]).unwrap();
    running.wait_for("limits.connections_max is reached: new connections wait");
    running.signal(Signal::TERM);
    let ended = running.end();
    assert_eq!(ended.err.matches("this is HTTP or WebSocket").count(), 2, "{ended:?}");
}

#[test]
fn too_few_open_files_are_1_and_say_what_to_do() {
    for files in [own_files(), 10, 6] {
        let dir = tempfile::tempdir().unwrap();
        let mut shell = Command::new("sh");
        let script = format!("ulimit -n {files}; exec \"$@\"");
        shell.current_dir(dir.path()).env_clear();
        shell.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_martlet"), "-p", "0"]);
        let ended = end_of(&mut shell);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let needs = format!("Martlet needs {}", own_files());
        let words = format!(": Error: The system allows {files} open files, and {needs}");
        assert!(ended.err.contains(&words), "{ended:?}");
    }
}

#[test]
fn a_full_disk_under_what_is_printed_is_1() {
    let dir = tempfile::tempdir().unwrap();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = martlet(dir.path(), &["config", "show"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stderr.starts_with(b"Cannot write to standard output: "), "{output:?}");
}

#[test]
fn quiet_says_nothing_of_a_good_run_and_closed_pipes_are_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let mut show = martlet(dir.path(), &["config", "show"]);
    let mut child = show.stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = run(dir.path(), &["-q", "-p", &port]);
    assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
}

#[test]
fn passwd_makes_and_edits_a_file_that_only_its_owner_can_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("users");
    let passwd = |arguments: &[&str]| run(dir.path(), &[&["passwd"], arguments].concat());
    assert_eq!(passwd(&["-c", "-b", "users", "ann", "secret"]).code, Some(0));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(passwd(&["-H", "sha512", "-b", "users", "bob", "sesame"]).code, Some(0));
    let mut asked = martlet(dir.path(), &["passwd", "-I", "5", "users", "cid"]);
    let mut asked = asked.stdin(Stdio::piped()).spawn().unwrap();
    asked.stdin.take().unwrap().write_all(b"from a pipe\n").unwrap();
    assert!(asked.wait().unwrap().success());
    let text = fs::read_to_string(&file).unwrap();
    let begins = ["ann:$7$20000$", "bob:$6$", "cid:$7$5$"];
    assert_eq!(text.lines().count(), begins.len());
    for (line, begin) in text.lines().zip(begins) {
        assert!(line.starts_with(begin), "{line}");
    }
    assert_eq!(passwd(&["-D", "users", "bob"]).code, Some(0));
    assert!(!fs::read_to_string(&file).unwrap().contains("bob"));
    let rows: &[(&[&str], i32, &str)] = &[
        (&["-D", "users", "bob"], 1, "users: there is no user \"bob\""),
        (&["-b", "users", "a:b", "x"], 1, "must not contain a colon"),
        (&["-b", "users", "dan", ""], 1, "the password is empty"),
        (&["-b", "missing", "dan", "x"], 1, "missing: cannot be read: No such file"),
        (&["-b", "users"], 2, "Usage: martlet passwd"),
    ];
    for (arguments, code, words) in rows {
        let ended = passwd(arguments);
        assert_eq!(ended.code, Some(*code), "{arguments:?} {ended:?}");
        assert!(ended.err.contains(words), "{arguments:?} {ended:?}");
    }
    fs::write(&file, "dan:plain\n").unwrap();
    assert_eq!(passwd(&["-U", "users"]).code, Some(0));
    assert!(fs::read_to_string(&file).unwrap().starts_with("dan:$7$20000$"));
}

#[test]
fn why_names_the_line_and_ends_with_its_answer() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("acl"), "user ann\ntopic write a/#\n").unwrap();
    fs::write(dir.path().join("m.conf"), "listener 1\nallow_anonymous true\nacl_file acl\n")
        .unwrap();
    let rows: &[(&[&str], i32, &str)] = &[
        (&["--user", "ann", "publish", "a/b"], 0, "allowed: acl:2: topic write a/#\n"),
        (&["--user", "ann", "receive", "a/b"], 1, "refused: acl: no line for user \"ann\""),
        (&["--client", "c", "publish", "a/b"], 1, "refused: acl: no line above the first"),
        (&["--client", "c", "subscribe", "#"], 0, "allowed: every subscription is granted"),
    ];
    for (arguments, code, words) in rows {
        let ended = run(dir.path(), &[&["why", "--config", "m.conf"], *arguments].concat());
        assert_eq!(ended.code, Some(*code), "{arguments:?} {ended:?}");
        assert!(ended.out.contains(words), "{arguments:?} {ended:?}");
        assert_eq!(ended.out.lines().count(), 1, "both addresses have one policy: {ended:?}");
    }
    fs::write(
        dir.path().join("h.conf"),
        "listener 1\nauth_plugin /x/go-auth.so\nauth_opt_backends files,http\n\
         auth_opt_files_acl_path acl\nauth_opt_http_host h\nauth_opt_http_port 80\n\
         auth_opt_http_getuser_uri /u\nauth_opt_http_aclcheck_uri /a\n",
    )
    .unwrap();
    let asked = ["why", "--config", "h.conf", "--client", "c", "--user", "ann", "publish", "b"];
    let ended = run(dir.path(), &asked);
    let words = "would be asked: POST http://h:80/a {\"acc\":2,\"clientid\":\"c\",\"topic\":\"b\",\
                 \"username\":\"ann\"}\n";
    assert!(ended.code == Some(1) && ended.out.ends_with(words), "{ended:?}");
    let ended = run(dir.path(), &["why", "publish", "a/#"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(78), ""), "{ended:?}");
    assert!(ended.err.starts_with("command line TOPIC: \"a/#\" is no topic name"), "{ended:?}");
}

/// The return code of CONNACK for a user `ann` with this password, and the connection.
fn log_in(port: u16, password: &str) -> (u8, TcpStream) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let field = |bytes: &[u8]| [&[0, bytes.len() as u8], bytes].concat();
    let body = [
        field(b"MQTT"),
        vec![4, 0xc2, 0, 60],
        field(b"c"),
        field(b"ann"),
        field(password.as_bytes()),
    ]
    .concat();
    stream.write_all(&[&[0x10, body.len() as u8], &*body].concat()).unwrap();
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).unwrap();
    assert_eq!(connack[..2], [0x20, 2]);
    (connack[3], stream)
}

#[test]
fn a_reload_takes_new_passwords_and_rules_or_keeps_the_old_ones() {
    let dir = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (users, acl) = (dir.path().join("users"), dir.path().join("acl"));
    let set = |password| {
        let arguments = ["passwd", "-I", "5", "-c", "-b", "users", "ann", password];
        assert_eq!(run(dir.path(), &arguments).code, Some(0));
    };
    set("old");
    fs::write(&acl, "user ann\ntopic read other\n").unwrap();
    let config = format!(
        "[access]\npassword_file = \"users\"\nacl_file = \"acl\"\n[data]\nsync = \"off\"\n\
         [[listener]]\naddress = \"127.0.0.1:{port}\"\n"
    );
    fs::write(dir.path().join("m.toml"), config).unwrap();
    let mut running = Running::start(&mut martlet(dir.path(), &["-c", "m.toml"]));
    assert_eq!(log_in(port, "new").0, 5);
    running.wait_for("Client c (u'ann') [127.0.0.1:");
    assert!(running.said.ends_with("] refused: not authorised, wrong password.\n"));
    let (code, mut client) = log_in(port, "old");
    assert_eq!(code, 0);
    // SUBSCRIBE to `a`, granted as mosquitto does; PUBLISH of `a`, which nobody may.
    client.write_all(b"\x82\x06\0\x01\0\x01a\x00\x32\x06\0\x01a\0\x02x\xc0\0").unwrap();
    let mut answer = [0; 11];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, *b"\x90\x03\0\x01\x00\x40\x02\0\x02\xd0\0");

    set("new");
    fs::write(&acl, "user ann\ntopic\n").unwrap();
    running.signal(Signal::HUP);
    running.wait_for("acl:2: \"topic\" wants a topic filter");
    running.wait_for("The configuration was not reloaded");
    assert_eq!(log_in(port, "new").0, 5);

    fs::write(&acl, "user ann\ntopic a\n").unwrap();
    running.signal(Signal::HUP);
    running.wait_for("The configuration was reloaded.");
    client.write_all(b"\x32\x06\0\x01a\0\x03x\xc0\0").unwrap();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, *b"\x30\x04\0\x01ax\x40\x02\0\x03\xd0\0", "new rules hold at once");
    assert_eq!(log_in(port, "old").0, 5);
    assert_eq!(log_in(port, "new").0, 0);
    fs::remove_file(users).unwrap();
    running.signal(Signal::TERM);
    assert_eq!(running.end().code, Some(0));
}
