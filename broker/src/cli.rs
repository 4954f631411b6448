//! # The command line
//!
//! What was typed becomes sources of configuration and one thing to do.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::cli::cert::CertCommand;
use crate::cli::log::LogCommand;
use crate::cli::store::{Chore, StoreCommand};
use crate::cli::token::Token;
use crate::cli::why::Why;
use crate::config::{self, Config, Mistake, Mistakes, Override, Resolved, Sources};

pub mod cert;
pub mod log;
pub mod passwd;
pub mod store;
pub mod token;
mod why;

/// The exit code of a broker that stopped because something failed.
pub const FAILED: u8 = 1;
/// The exit code of a configuration with mistakes (EX_CONFIG of sysexits.h; systemd calls it so).
pub const BAD_CONFIGURATION: u8 = 78;

/// What the process that `-d` starts has behind its arguments.
pub const IN_BACKGROUND: &str = "--in-background";

/// Ports of the command line, as mosquitto has it. At the bound: wrong usage.
const PORTS_MAX: usize = 10;

const AFTER_HELP: &str = "\
Without a configuration the broker is in local only mode: it listens on 127.0.0.1 and ::1, port \
1883, and any client of this machine may connect. To let other machines in, write these lines into \
a file and start with -c FILE:

    [[listener]]
    port = 1883
    allow_anonymous = true

A file of mosquitto is read as it is: `martlet -c /etc/mosquitto/mosquitto.conf`. To see what \
becomes of each of its lines: `martlet compat-report FILE`; to have it as TOML: \
`martlet -c FILE config show`.

Options come from the configuration file, then from environment variables such as \
MARTLET_LIMITS__INFLIGHT_MAX=50, then from here; the later one wins.

Signals: SIGTERM and SIGINT stop the broker in order, a second one at once.

Exit codes: 0 done; 1 something failed (a port in use, a disk error); 2 wrong usage of the command \
line; 78 mistakes in the configuration.";

/// An MQTT broker for things that matter when they are acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(name = "martlet", version, after_help = AFTER_HELP)]
#[command(disable_help_subcommand = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
enum Command {
    /// Check a configuration file and say all that is wrong with it; nothing is started.
    Check {
        /// The configuration file; it may also stand behind -c.
        file: Option<PathBuf>,
    },
    /// Say what becomes of each line of a mosquitto.conf: honoured, without effect, or refused.
    CompatReport {
        /// The file; it may also stand behind -c.
        file: Option<PathBuf>,
        /// As one object for machines.
        #[arg(long)]
        json: bool,
    },
    /// Say by which rule, in which line of which file, a client may publish, subscribe or receive,
    /// or may not. Exit code 1: it may not.
    Why(Why),
    /// Make and edit password files, with mosquitto_passwd's options; see `martlet passwd --help`.
    Passwd,
    /// Make certificates for TLS: an authority, then for the broker and for each device; and revoke
    /// them.
    #[command(subcommand)]
    Cert(CertCommand),
    /// Make a bearer token for the HTTP window: its hash goes into the file, and the token is
    /// printed, once.
    Token(Token),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look after what a broker keeps on disk, while it does not run.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Read what was recorded, while the broker runs or not.
    #[command(subcommand)]
    Log(LogCommand),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
enum ConfigCommand {
    /// Print every option with its value and where the value comes from, as a file to start with.
    Show,
    /// Print the manual of all options, as Markdown.
    Manual,
    /// Print what becomes of every option of mosquitto.conf, as Markdown.
    Mosquitto,
}

#[derive(Clone, Debug, PartialEq, Eq, Args)]
struct Options {
    /// The configuration file: TOML, or a mosquitto.conf.
    #[arg(short, long, global = true, value_name = "FILE", alias = "config-file")]
    config: Option<PathBuf>,
    /// Listen on this port of the loopback addresses; may be given up to ten times. Ignored when
    /// the configuration defines a listener.
    #[arg(short, long = "port", global = true, value_name = "PORT")]
    port: Vec<u16>,
    /// Log each packet (log.level = "debug").
    #[arg(short, long, global = true)]
    verbose: bool,
    /// Log errors only (log.level = "error"), also with -v.
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Run in the background; this command ends once the broker runs.
    #[arg(short, long)]
    daemon: bool,
    /// Check the configuration file and start nothing, as `check` does.
    #[arg(long)]
    test_config: bool,
    /// The broker that -d started.
    #[arg(long, hide = true)]
    in_background: bool,
    /// The state directory (data.dir) [default: ./martlet-data].
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<String>,
    /// For whom to log (log.format).
    #[arg(long, global = true, value_enum)]
    log_format: Option<LogFormat>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// Lines like mosquitto's.
    Human,
    /// One object per line.
    Json,
}

/// What there is to do.
#[derive(Debug)]
pub enum Todo {
    /// Run the broker with this configuration, which came from these sources.
    Serve(Box<Resolved>, Sources),
    /// Run the broker in a process of its own, with [`IN_BACKGROUND`] behind the arguments.
    ServeInBackground,
    /// Print this to standard output; it is all that was asked for.
    Print(String),
    /// Print this to standard output, and end as for mistakes: it tells of some.
    PrintMistakes(String),
    /// Print this answer to standard output, and end with its yes or no.
    Answer(String, bool),
    /// See to a store.
    Store(Chore),
    /// Make or revoke a certificate.
    Certify(CertCommand),
    /// Make or delete a token.
    Token(Token),
    /// Read a log.
    Log(log::Chore),
}

impl Arguments {
    /// Reads the command line of this process. Wrong usage, `--help` and `--version` end it here.
    pub fn of_process() -> Self {
        let arguments = Self::parse();
        arguments.go_together().unwrap_or_else(|error| error.exit());
        arguments
    }

    /// Whether this is the process that `-d` started.
    pub const fn in_background(&self) -> bool {
        self.options.in_background
    }

    /// What the rows of options alone do not say.
    fn go_together(&self) -> Result<(), clap::Error> {
        let wrong = |kind, text: &str| Err(Self::command().error(kind, text));
        let file = self.options.config.is_some();
        match &self.command {
            Some(Command::Check { file: named } | Command::CompatReport { file: named, .. })
                if named.is_some() && file =>
            {
                wrong(ErrorKind::ArgumentConflict, "name the file once: with -c or without")
            }
            Some(Command::Check { file: None } | Command::CompatReport { file: None, .. })
                if !file =>
            {
                wrong(ErrorKind::MissingRequiredArgument, "which file? Name it at the end")
            }
            None if self.options.test_config && !file => {
                wrong(ErrorKind::MissingRequiredArgument, "--test-config wants -c FILE")
            }
            _ if self.options.port.len() > PORTS_MAX => {
                wrong(ErrorKind::TooManyValues, "-p may be given ten times at most")
            }
            _ => Ok(()),
        }
    }

    /// Loads the configuration and finds out what there is to do.
    ///
    /// # Errors
    /// All mistakes of the configuration.
    pub fn resolve(self, variables: Vec<(OsString, OsString)>) -> Result<Todo, Mistakes> {
        let Self { command, mut options } = self;
        match command {
            Some(Command::Config(ConfigCommand::Manual)) => Ok(Todo::Print(config::manual())),
            Some(Command::Config(ConfigCommand::Mosquitto)) => {
                Ok(Todo::Print(config::mosquitto_manual()))
            }
            Some(Command::Config(ConfigCommand::Show)) => {
                Ok(Todo::Print(options.load(variables)?.show()))
            }
            Some(Command::Why(why)) => {
                let (text, allowed) = why.answer(&options.load(variables)?.config)?;
                Ok(Todo::Answer(text, allowed))
            }
            Some(Command::Passwd) => {
                let text = "is the first word or none: its options are its own";
                Err(Mistakes(vec![Mistake::on_command_line("passwd", text)]))
            }
            Some(Command::Token(token)) => Ok(Todo::Token(token)),
            Some(Command::Check { file }) => {
                options.config = file.or(options.config);
                Ok(Todo::Print(checked(&options.load(variables)?.config)))
            }
            Some(Command::Cert(command)) => Ok(Todo::Certify(command)),
            Some(Command::Store(command)) => {
                let folder = command.folder().map_or_else(
                    || options.load(variables).map(|resolved| resolved.config.data_dir),
                    Ok,
                );
                Ok(Todo::Store(Chore::new(command, folder?)))
            }
            Some(Command::Log(command)) => {
                let Config { data_dir, streams, .. } = options.load(variables)?.config;
                Ok(Todo::Log(log::Chore::new(command, data_dir, streams)))
            }
            Some(Command::CompatReport { file, json }) => {
                options.config = file.or(options.config);
                let account = config::account(&options.sources(variables))?;
                let text = if json { account.json() } else { account.to_string() };
                let good = account.is_good();
                Ok(if good { Todo::Print(text) } else { Todo::PrintMistakes(text) })
            }
            None if options.test_config => {
                Ok(Todo::Print(checked(&options.load(variables)?.config)))
            }
            None if options.daemon && !options.in_background => {
                options.load(variables)?;
                Ok(Todo::ServeInBackground)
            }
            None => {
                let sources = options.sources(variables);
                Ok(Todo::Serve(Box::new(config::load(&sources)?), sources))
            }
        }
    }
}

fn checked(config: &Config) -> String {
    let file = config.file.as_deref().unwrap_or(Path::new("no file")).display();
    let notices = config.notices.iter().map(|text| format!("{text}\n"));
    let warnings = config.warnings.iter().map(|text| format!("{file}: warning: {text}\n"));
    notices.chain(warnings).chain([format!("{file}: ok\n")]).collect()
}

impl Options {
    fn load(self, variables: Vec<(OsString, OsString)>) -> Result<Resolved, Mistakes> {
        config::load(&self.sources(variables))
    }

    fn sources(self, variables: Vec<(OsString, OsString)>) -> Sources {
        let mut overrides = Vec::new();
        let mut set = |option, section, name, value: &str| {
            overrides.push(Override { option, section, name, value: value.to_owned() });
        };
        if self.verbose && !self.quiet {
            set("-v", "log", "level", "debug");
        }
        if self.quiet {
            set("-q", "log", "level", "error");
        }
        if let Some(dir) = &self.data {
            set("--data", "data", "dir", dir);
        }
        if let Some(format) = self.log_format {
            let word = match format {
                LogFormat::Human => "human",
                LogFormat::Json => "json",
            };
            set("--log-format", "log", "format", word);
        }
        Sources { file: self.config, variables, overrides, ports: self.port }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Arguments, clap::Error> {
        let arguments = Arguments::try_parse_from(arguments)?;
        arguments.go_together().map(|()| arguments)
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn options_stand_before_or_after_the_subcommand() {
        let before = parse(&["martlet", "-c", "a.toml", "config", "show"]);
        let after = parse(&["martlet", "config", "show", "-c", "a.toml"]);
        assert_eq!(before.unwrap(), after.unwrap());
    }

    #[test]
    fn the_file_to_check_may_stand_behind_c() {
        for row in [
            &["martlet", "check", "-c", "a.toml"][..],
            &["martlet", "-c", "a.toml", "check"],
            &["martlet", "--config-file", "a.toml", "--test-config"],
        ] {
            let said = parse(row).unwrap().resolve(Vec::new()).expect_err("no such file");
            assert!(said.to_string().starts_with("a.toml: cannot be read"), "{said}");
        }
    }

    #[test]
    fn what_does_not_parse() {
        let rows: &[&[&str]] = &[
            &["martlet", "-p", "65536"],
            &["martlet", "-p", "mqtt"],
            &["martlet", "--log-format", "xml"],
            &["martlet", "check"],
            &["martlet", "--test-config"],
            &[
                "martlet", "-p1", "-p2", "-p3", "-p4", "-p5", "-p6", "-p7", "-p8", "-p9", "-p10",
                "-p11",
            ],
            &["martlet", "check", "a.toml", "-c", "b.toml"],
            &["martlet", "config"],
            &["martlet", "--colour"],
            &["martlet", "-c"],
        ];
        for row in rows {
            assert!(parse(row).is_err(), "{row:?}");
        }
    }
}
