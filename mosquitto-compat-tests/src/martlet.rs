//! Where Martlet's binary comes from.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::broker::BrokerError;

const PREFIX: &[u8] = b"MARTLET_";

/// The `martlet` binary that belongs to the sources: `MARTLET` where that is set, otherwise
/// what Cargo builds now, once per process, in the profile of the running program.
///
/// Cargo does not tell one package's tests where another package's binary is, and one that merely
/// lies beside the test may be older than the sources.
///
/// # Errors
/// When Cargo cannot build it.
pub fn binary() -> Result<PathBuf, BrokerError> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = BINARY.get_or_init(|| match env::var_os("MARTLET") {
        Some(path) => Ok(PathBuf::from(path)),
        None => build(),
    });
    found.clone().map_err(BrokerError::Build)
}

/// A command that runs `program` without any `MARTLET_...` of our own environment, which it would
/// take for its configuration.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(PREFIX))
    {
        command.env_remove(name);
    }
    command
}

fn build() -> Result<PathBuf, String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--quiet", "--package", "martlet", "--bin", "martlet"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .stderr(Stdio::inherit());
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.output().map_err(|error| format!("cannot run cargo: {error}"))?;
    if !output.status.success() {
        return Err("`cargo build --package martlet` failed; its errors are above".to_owned());
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(executable)
        .next_back()
        .ok_or_else(|| "`cargo build --package martlet` named no executable".to_owned())
}

/// The path in one of Cargo's messages, where it tells of a finished executable.
fn executable(message: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    message["executable"].as_str().map(PathBuf::from)
}
