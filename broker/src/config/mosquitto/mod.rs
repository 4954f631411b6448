//! # mosquitto.conf
//!
//! A second reader beside TOML's: it yields the same [`Written`] values, so that everything behind
//! it (layers, checks, `config show`, reports with file and line) is the same for both.
//!
//! ## The table
//! Every option of mosquitto 2.1 has a [`row::Row`] in one of `*_rows.rs`, or in `plugins.rs` what
//! may stand behind a plug-in. A row tells what mosquitto makes of the option and what
//! becomes of it here, its [`row::Standing`]. **To map an option** once Martlet has one for it, end
//! its row with
//!
//! - `.kept("section", "name")`: the value is written into that option of `config/rows.rs` as it
//!   stands (`true`/`false`, a number, text), and checked there;
//! - `.kept_by("section", "name", how)`: where it is written otherwise. `Words(&[("a", "b")])`
//!   translates word for word (a word that is missing there sets nothing), `By(function)` computes,
//!   `All(function)` computes from all lines of an option that may stand several times (`.each()`);
//! - `.no_effect("because ...")` or `.refused("because ...", "what to do instead")`.
//!
//! A row that ends with none of them is refused as not there yet. What a listener's section takes
//! is written into the listeners that the line applies to, whatever the line's scope.

mod access_rows;
mod account;
mod assemble;
mod bridge_rows;
mod broker_rows;
mod convert;
mod go_auth_rows;
mod lines;
mod listener_rows;
mod log_rows;
mod manual;
pub(crate) mod plugins;
mod reader;
pub(crate) mod row;

pub use crate::config::mosquitto::account::Account;
pub(crate) use crate::config::mosquitto::account::Entry;
pub(crate) use crate::config::mosquitto::manual::manual;
use crate::config::mosquitto::row::Row;
use crate::config::origin::Mistake;
use crate::config::written::Written;

/// Every option with the chapter that it belongs to, in the order of the manual.
pub(crate) const CHAPTERS: &[(&str, &[Row])] = &[
    ("The broker", broker_rows::ROWS),
    ("The log", log_rows::ROWS),
    ("Listeners", listener_rows::ROWS),
    ("Access", access_rows::ROWS),
    ("Bridges", bridge_rows::ROWS),
];

/// Every option, those of plug-ins aside.
pub(crate) fn rows() -> impl Iterator<Item = &'static Row> {
    CHAPTERS.iter().flat_map(|(_, rows)| rows.iter())
}

/// Whether a file is a mosquitto.conf: its first line with content has a name and a value with
/// nothing but a space between them. Where no line has content, the name of the file decides.
pub(crate) fn recognises(path: &str, text: &[u8]) -> bool {
    let first = lines::of(text).find(|line| !line.is_comment());
    first.map_or(path.ends_with(".conf"), |line| {
        let text = String::from_utf8_lossy(line.bytes);
        let (word, rest) = text.trim().split_once([' ', '\t']).unwrap_or((text.trim(), ""));
        !word.starts_with('[') && !word.contains('=') && !rest.trim_start().starts_with('=')
    })
}

/// Takes a mosquitto.conf apart, and the files that it includes; what is wrong with them is added
/// to `mistakes`.
pub(crate) fn read(path: &str, text: &[u8], mistakes: &mut Vec<Mistake>) -> Written {
    let said = reader::read(path, text, mistakes);
    assemble::written(path, &said, mistakes)
}

#[cfg(test)]
mod tests;
