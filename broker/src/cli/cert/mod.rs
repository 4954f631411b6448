//! `martlet cert`: an authority of one's own, and certificates for a server and its devices.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::cert::authority::Authority;
use crate::cli::cert::folder::Folder;

mod authority;
mod folder;
mod words;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum CertCommand {
    /// Make an authority: who signs certificates for the broker and its devices. Do this first,
    /// once, on a machine that few people reach; the key of the authority never leaves it.
    Init {
        /// What it is called.
        #[arg(long, default_value = "Martlet's own authority")]
        name: String,
        /// Where its files are.
        #[command(flatten)]
        place: Place,
        /// Days that it is good for.
        #[arg(long, default_value_t = 3650, value_parser = days())]
        days: u32,
    },
    /// Make a certificate for the broker, and print the configuration that uses it.
    Server {
        /// Names and addresses by which clients call the broker. localhost, 127.0.0.1, ::1 and the
        /// name of this machine are added.
        names: Vec<String>,
        /// Where its files are.
        #[command(flatten)]
        place: Place,
        /// Days that it is good for, and no longer than the authority.
        #[arg(long, default_value_t = 825, value_parser = days())]
        days: u32,
    },
    /// Make a certificate for a device, and print how the device uses it.
    Device {
        /// The device's client id. It is the Common Name of the certificate, and thus the user
        /// name where use_identity_as_username is on.
        id: String,
        /// Where its files are.
        #[command(flatten)]
        place: Place,
        /// Days that it is good for, and no longer than the authority.
        #[arg(long, default_value_t = 3650, value_parser = days())]
        days: u32,
    },
    /// Put a device's certificate on the list of those that are refused, and set its files aside,
    /// so that the device can be given another one.
    Revoke {
        /// The device's client id.
        id: String,
        /// Where its files are.
        #[command(flatten)]
        place: Place,
    },
}

/// Where the files are.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Place {
    /// The folder of the authority.
    #[arg(long, value_name = "DIR", default_value = "martlet-certs")]
    dir: PathBuf,
}

/// The longest client id that has a place in a Common Name (RFC 5280, ub-common-name).
const ID_CHARS_MAX: usize = 64;

const DAYS_MAX: i64 = 36_500;

fn days() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=DAYS_MAX)
}

impl CertCommand {
    /// Does it. Answers with what to tell whoever asked.
    ///
    /// # Errors
    /// In words.
    pub fn run(&self) -> Result<String, String> {
        match self {
            Self::Init { name, place, days } => {
                let folder = Folder::make(&place.dir)?;
                let (authority, certificate, key) = Authority::make(name, *days)?;
                let list = authority.list(Vec::new(), 1)?;
                folder.write(&[
                    (folder.authority_key(), &key, true),
                    (folder.authority(), &certificate, false),
                    (folder.list(), &list, false),
                ])?;
                Ok(words::init(&folder))
            }
            Self::Server { names, place, days } => {
                let folder = Folder::find(&place.dir)?;
                if let Some(wrong) = names.iter().find(|name| !is_name(name)) {
                    return Err(format!("{wrong:?} is no name of a machine and no address"));
                }
                let names = all_names(names);
                let (certificate, key) = folder.open()?.server(&names, *days)?;
                folder.write(&[
                    (folder.server_key(), &key, true),
                    (folder.server(), &certificate, false),
                ])?;
                Ok(words::server(&folder, &names))
            }
            Self::Device { id, place, days } => {
                check_id(id)?;
                let folder = Folder::find(&place.dir)?;
                let (certificate, key) = folder.open()?.device(id, *days)?;
                folder.write(&[
                    (folder.device_key(id), &key, true),
                    (folder.device(id), &certificate, false),
                ])?;
                Ok(words::device(&folder, id))
            }
            Self::Revoke { id, place } => {
                let folder = Folder::find(&place.dir)?;
                let serial = folder.revoke(id)?;
                Ok(words::revoked(&folder, id, &serial))
            }
        }
    }
}

fn check_id(id: &str) -> Result<(), String> {
    if id.is_empty() || id.chars().count() > ID_CHARS_MAX || id.contains(char::is_control) {
        let most = ID_CHARS_MAX;
        return Err(format!("{id:?}: a certificate holds 1 to {most} characters, none of control"));
    }
    Ok(())
}

/// The names of a server: those that were given, and those by which this machine knows it.
fn all_names(given: &[String]) -> Vec<String> {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let own = [machine.trim(), "localhost", "127.0.0.1", "::1"];
    let own = own.into_iter().filter(|name| is_name(name));
    let mut names: Vec<String> = Vec::new();
    for name in given.iter().map(String::as_str).chain(own) {
        if !names.iter().any(|other| other == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// Whether a certificate can hold it.
fn is_name(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '*');
    name.parse::<IpAddr>().is_ok() || (!name.is_empty() && name.chars().all(letter))
}
