//! What docs/http.md says can be typed is typed here.

use std::process::Command;

use martlet::access::tokens::{self, Tokens};
use martlet::http::Keys;
use martlet::server::Settings;

use crate::running::{self, Running};
use crate::window;

const PAPER: &str = include_str!("../../../docs/http.md");

#[test]
fn the_commands_of_the_paper_work() {
    if Command::new("curl").arg("--version").output().is_err() {
        let text = "skipped: there is no curl here; ./test tools installs it on Debian\n";
        std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()).expect("a terminal");
        return;
    }
    let (token, line) = tokens::make("grafana").expect("entropy");
    let tokens = Tokens::parse("tokens".as_ref(), &line).ok();
    let keys = Keys { tokens, ..Keys::default() };
    let settings = Settings { window: Some(window(running::open(), keys)), ..running::settings() };
    let broker = Running::start(settings);
    let folder = tempfile::tempdir().expect("a folder");
    let blocks = PAPER.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut tried = 0;
    for block in blocks {
        let script = block
            .replace("127.0.0.1:8080", &broker.window().to_string())
            .replace("martlet token", &format!("{} token", env!("CARGO_BIN_EXE_martlet")))
            .replace("/etc/martlet", &folder.path().display().to_string())
            // A stream has no end: a second of it shows that it comes.
            .replace("curl -N", "soon 28 curl -N --max-time 1")
            .replace("curl ", "curl -sS --fail-with-body ");
        let soon = "soon() { local code=$1; shift; \"$@\" || [ $? = \"$code\" ]; }";
        let script = format!("set -e -o pipefail; TOKEN={token}; {soon}; {script}");
        let output = Command::new("bash").args(["-c", &script]).output().expect("bash");
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{block}\n{out}\n{err}");
        tried += 1;
    }
    assert!(tried >= 5, "the paper has commands");
}
