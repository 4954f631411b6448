//! # In the background
//!
//! `-d`: the broker runs in a second process, in a session of its own and without a terminal. The
//! first one stays until the broker runs, so that whoever started it knows whether it does: it ends
//! with 0 then, or with the code that the broker ended with.
//!
//! The second process is the same program with one more argument, since a program that has threads
//! cannot safely be copied.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use rustix::{process, stdio};

/// What the second process says once it runs.
const RUNS: &[u8] = b"runs";

/// Starts the second process, with `mark` behind the arguments of this one, and waits until it
/// runs: 0, or the code that it ended with.
///
/// # Errors
/// When it cannot be started.
pub fn start(mark: impl AsRef<OsStr>, failed: u8) -> io::Result<u8> {
    let (mut ours, theirs) = UnixStream::pair()?;
    let mut command = Command::new(env::current_exe()?);
    command.args(env::args_os().skip(1)).arg(mark);
    let mut child = command.stdin(Stdio::from(OwnedFd::from(theirs))).spawn()?;
    // It holds the other end, and so would we.
    drop(command);
    let mut said = Vec::new();
    ours.read_to_end(&mut said)?;
    if said == RUNS {
        return Ok(0);
    }
    let code = child.wait()?.code();
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(failed))
}

/// In the second process: leaves the session of the first, so that its end means nothing here.
///
/// # Errors
/// When the system refuses.
pub fn leave_session() -> io::Result<()> {
    process::setsid()?;
    Ok(())
}

/// In the second process: tells the first that it may end, and lets go of its terminal.
///
/// # Errors
/// When the system refuses.
pub fn let_go() -> io::Result<()> {
    // Where the first one is gone already there is nobody to tell.
    let _ = rustix::io::write(stdio::stdin(), RUNS);
    let null = File::options().read(true).write(true).open("/dev/null")?;
    stdio::dup2_stdin(&null)?;
    stdio::dup2_stdout(&null)?;
    stdio::dup2_stderr(&null)?;
    Ok(())
}
