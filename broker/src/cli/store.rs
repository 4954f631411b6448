//! `martlet store`: what operators do with a store that no broker works on.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};

use crate::cli::FAILED;
use crate::clock;
use crate::logging;
use crate::store::StoreError;
use crate::store::damage::Damage;
use crate::store::disk::Real;
use crate::store::tools::check::{Verdict, check};
use crate::store::tools::compact::compact;
use crate::store::tools::export::{Wanted, export};
use crate::store::tools::stats::Stats;
use crate::store::tools::{Look, look};
use crate::telemetry::log::{self, Log};

/// The exit code for a store of which something cannot be read.
pub const DAMAGED: u8 = 3;
/// The exit code of a check that found the store sound, and files beside it that were set aside.
pub const SET_ASIDE: u8 = 4;

const EXIT_CODES: &str = "\
Exit codes: 0 done, and nothing is wrong with the store; 1 it could not be done (no store there, \
in use by a broker, written by a newer one, or the machine's own reason); 2 wrong usage of the \
command line; 3 the store is damaged: what can be read was used; 4 (check only) the store is \
sound, but files that were set aside earlier, and hold what could not be read then, are still \
there.

DIR is the state directory of a broker that does not run, or a copy of it: of one that was \
stopped, or a snapshot of the file system. Without DIR it is data.dir of the configuration.";

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub(super) enum StoreCommand {
    /// Read all of it and say what is damaged; nothing is changed.
    #[command(after_help = EXIT_CODES)]
    Check(Place),
    /// Say what is in there, in numbers; nothing is changed.
    #[command(after_help = EXIT_CODES)]
    Stats {
        #[command(flatten)]
        place: Place,
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Print sessions, their messages and retained messages, one JSON object per line; nothing is
    /// changed.
    #[command(after_help = EXIT_CODES)]
    Export {
        #[command(flatten)]
        place: Place,
        /// Sessions, what waits for them, and wills; not retained messages.
        #[arg(long)]
        sessions: bool,
        /// Retained messages; not sessions.
        #[arg(long)]
        retained: bool,
        /// Write to this file instead of standard output.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Make its files as small as they can be; safe to interrupt.
    #[command(after_help = EXIT_CODES)]
    Compact(Place),
}

#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(super) struct Place {
    /// The folder of the store [default: data.dir of the configuration].
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// A chore with a store.
#[derive(Debug)]
pub struct Chore {
    command: StoreCommand,
    folder: PathBuf,
}

/// Why a chore was not done.
enum Stopped {
    Store(StoreError),
    /// Where the answer should go.
    Output(io::Error),
}

impl StoreCommand {
    /// The folder that was named.
    pub(super) fn folder(&self) -> Option<PathBuf> {
        let (Self::Check(place)
        | Self::Stats { place, .. }
        | Self::Export { place, .. }
        | Self::Compact(place)) = self;
        place.dir.clone()
    }
}

impl Chore {
    pub(super) fn new(command: StoreCommand, folder: PathBuf) -> Self {
        Self { command, folder }
    }

    /// Does it. The exit code.
    pub fn run(self) -> u8 {
        // Whoever waits in front of it reads how far it is.
        let waits = io::stderr().is_terminal();
        let log = waits.then(|| logging::init(logging::Settings::for_people(), clock::wall));
        let code = self.seen_to();
        if let Some(Ok(log)) = log {
            log.flush();
        }
        code
    }

    fn seen_to(self) -> u8 {
        self.answer().unwrap_or_else(|stopped| match stopped {
            // Whoever closes the pipe has read enough.
            Stopped::Output(error) if error.kind() == ErrorKind::BrokenPipe => 0,
            Stopped::Output(error) => {
                complain(&format!("Cannot write what was asked for: {error}."));
                FAILED
            }
            Stopped::Store(StoreError::Locked { folder, holder }) => {
                let holder = holder.as_deref().unwrap_or("another process");
                complain(&format!(
                    "{} is in use by {holder}: stop it first, or look at a snapshot of the file \
                     system.",
                    folder.display()
                ));
                FAILED
            }
            Stopped::Store(error) => {
                complain(&format!("{error}."));
                FAILED
            }
        })
    }

    fn answer(self) -> Result<u8, Stopped> {
        let folder = &self.folder;
        match self.command {
            StoreCommand::Check(_) => {
                let check = check(&look(folder)?)?;
                print(&check.to_string())?;
                Ok(match check.verdict() {
                    Verdict::Sound => 0,
                    Verdict::SetAside => SET_ASIDE,
                    Verdict::Damaged => DAMAGED,
                })
            }
            StoreCommand::Stats { json, .. } => {
                let look = look(folder)?;
                let stats = Stats::of(&look)?;
                match json {
                    true => print(&format!("{}\n", stats.json()))?,
                    false => print(&format!("{}\n{stats}", folder.display()))?,
                }
                Ok(told(look.damage(), "is not counted"))
            }
            StoreCommand::Export { sessions, retained, output, .. } => {
                let all = sessions == retained;
                let wanted = Wanted { sessions: sessions || all, retained: retained || all };
                write_export(&look(folder)?, wanted, output.as_deref())
            }
            StoreCommand::Compact(_) => {
                let date = clock::date(clock::wall());
                let settings = log::Settings::new(folder, Vec::new());
                let log = Arc::new(Log::new(Arc::new(Real), settings));
                let compacted = compact(folder, date, log)?;
                print(&format!("{}: {compacted}", folder.display()))?;
                Ok(told(&compacted.damage, "is lost; all else is kept"))
            }
        }
    }
}

fn write_export(look: &Look, wanted: Wanted, output: Option<&Path>) -> Result<u8, Stopped> {
    match output {
        None => export(look, wanted, &mut BufWriter::new(io::stdout().lock())),
        Some(file) => File::create(file).and_then(|mut file| {
            let lines = export(look, wanted, &mut BufWriter::new(&mut file))?;
            file.sync_all()?;
            Ok(lines)
        }),
    }
    .map_err(Stopped::Output)?;
    Ok(told(look.damage(), "is not among what was written"))
}

/// Says what cannot be read. The exit code.
fn told(damage: &[Damage], so: &str) -> u8 {
    for damage in damage {
        complain(&format!("The store is damaged: {}. That {so}.", damage.missing));
    }
    if damage.is_empty() { 0 } else { DAMAGED }
}

fn print(text: &str) -> Result<(), Stopped> {
    io::stdout().write_all(text.as_bytes()).map_err(Stopped::Output)
}

fn complain(words: &str) {
    // Where standard error is gone there is nobody to tell.
    let _ = writeln!(io::stderr(), "{words}");
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
