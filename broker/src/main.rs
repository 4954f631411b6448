//! The binary `martlet`: reads the command line and the configuration, then runs the broker until
//! it is asked to stop.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use martlet::cli::passwd::Passwd;
use martlet::cli::{Arguments, BAD_CONFIGURATION, FAILED, IN_BACKGROUND, Todo};
use martlet::service::Program;
use martlet::{daemon, service};
use martlet_heap::Heap;

/// Gives memory back to the system when clients leave; docs/DEPENDENCIES.md has the figures.
#[global_allocator]
static HEAP: Heap = Heap;

fn main() -> ExitCode {
    if let Some(passwd) = Passwd::of_process() {
        return match passwd.run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(words) => {
                complain(&words);
                ExitCode::from(FAILED)
            }
        };
    }
    let arguments = Arguments::of_process();
    let in_background = arguments.in_background();
    match arguments.resolve(std::env::vars_os().collect()) {
        Ok(Todo::Serve(resolved, sources)) => {
            let program = Program { end_at_once, give_back: martlet_heap::give_back };
            match service::run(*resolved, sources, in_background, program) {
                Ok(()) => ExitCode::SUCCESS,
                // The log has it.
                Err(_) => ExitCode::from(FAILED),
            }
        }
        Ok(Todo::ServeInBackground) => {
            let code = daemon::start(IN_BACKGROUND, FAILED).unwrap_or_else(|error| {
                complain(&format!("Cannot start the broker in the background: {error}."));
                FAILED
            });
            ExitCode::from(code)
        }
        Ok(Todo::Print(text)) => print(&text, ExitCode::SUCCESS),
        Ok(Todo::Answer(text, true)) => print(&text, ExitCode::SUCCESS),
        Ok(Todo::Answer(text, false)) => print(&text, ExitCode::from(FAILED)),
        Ok(Todo::PrintMistakes(text)) => print(&text, ExitCode::from(BAD_CONFIGURATION)),
        Ok(Todo::Certify(command)) => said(command.run()),
        Ok(Todo::Token(token)) => said(token.run()),
        Ok(Todo::Store(chore)) => ExitCode::from(chore.run()),
        Ok(Todo::Log(chore)) => ExitCode::from(chore.run()),
        Err(mistakes) => {
            complain(&mistakes.to_string());
            ExitCode::from(BAD_CONFIGURATION)
        }
    }
}

/// Prints what a chore has to say, or complains.
fn said(done: Result<String, String>) -> ExitCode {
    match done {
        Ok(text) => print(&text, ExitCode::SUCCESS),
        Err(words) => {
            complain(&words);
            ExitCode::from(FAILED)
        }
    }
}

fn print(text: &str, code: ExitCode) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        // Whoever closes the pipe has read enough.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            complain(&format!("Cannot write to standard output: {error}."));
            ExitCode::from(FAILED)
        }
        Ok(()) | Err(_) => code,
    }
}

fn end_at_once(words: &str) {
    complain(words);
    std::process::exit(FAILED.into());
}

/// Says something where there is no log, or not any more.
fn complain(words: &str) {
    // Where standard error is gone there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{words}");
}
