//! # The command line
//!
//! What was typed becomes sources of configuration and one thing to do.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{self, Config, Mistakes, Override, Resolved, Sources};

/// The exit code of a broker that stopped because something failed.
pub const FAILED: u8 = 1;
/// The exit code of a configuration with mistakes (EX_CONFIG of sysexits.h; systemd calls it so).
pub const BAD_CONFIGURATION: u8 = 78;

const AFTER_HELP: &str = "\
Without a configuration the broker is in local only mode: it listens on 127.0.0.1 and ::1, port \
1883, and any client of this machine may connect. To let other machines in, write these lines into \
a file and start with -c FILE:

    [[listener]]
    port = 1883
    allow_anonymous = true

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
        /// The configuration file.
        #[arg(required_unless_present = "config", conflicts_with = "config")]
        file: Option<PathBuf>,
    },
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
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
    /// The configuration file.
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen on this port of the loopback addresses; may be given several times. Ignored when the
    /// configuration defines a listener.
    #[arg(short, long = "port", global = true, value_name = "PORT")]
    port: Vec<u16>,
    /// Log each packet (log.level = "debug").
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    verbose: bool,
    /// Log errors only (log.level = "error").
    #[arg(short, long, global = true)]
    quiet: bool,
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
    /// Print this to standard output; it is all that was asked for.
    Print(String),
}

impl Arguments {
    /// Reads the command line of this process. Wrong usage, `--help` and `--version` end it here.
    pub fn of_process() -> Self {
        Self::parse()
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
            Some(Command::Check { file }) => {
                options.config = file.or(options.config);
                Ok(Todo::Print(checked(&options.load(variables)?.config)))
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
    let warnings = config.warnings.iter().map(|text| format!("{file}: warning: {text}\n"));
    warnings.chain([format!("{file}: ok\n")]).collect()
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
        if self.verbose {
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
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn options_stand_before_or_after_the_subcommand() {
        let before = Arguments::try_parse_from(["martlet", "-c", "a.toml", "config", "show"]);
        let after = Arguments::try_parse_from(["martlet", "config", "show", "-c", "a.toml"]);
        assert_eq!(before.unwrap(), after.unwrap());
    }

    #[test]
    fn the_file_to_check_may_stand_behind_c() {
        let arguments = Arguments::try_parse_from(["martlet", "check", "-c", "a.toml"]).unwrap();
        let said = arguments.resolve(Vec::new()).expect_err("there is no such file");
        assert!(said.to_string().starts_with("a.toml: cannot be read"), "{said}");
    }

    #[test]
    fn what_does_not_parse() {
        let rows: &[&[&str]] = &[
            &["martlet", "-v", "-q"],
            &["martlet", "-p", "65536"],
            &["martlet", "-p", "mqtt"],
            &["martlet", "--log-format", "xml"],
            &["martlet", "check"],
            &["martlet", "check", "a.toml", "-c", "b.toml"],
            &["martlet", "config"],
            &["martlet", "--colour"],
            &["martlet", "-c"],
        ];
        for row in rows {
            assert!(Arguments::try_parse_from(*row).is_err(), "{row:?}");
        }
    }
}
