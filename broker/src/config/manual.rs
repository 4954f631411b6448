//! The chapter of all options, printed from the rows.

use std::fmt::Write;

use crate::config::rows::{self, Row, SECTIONS};

/// Every section with its options, as Markdown.
pub(crate) fn manual() -> String {
    let mut out = String::new();
    for (section, introduction) in SECTIONS {
        let _ = writeln!(out, "### `{}`\n\n{introduction}\n", rows::header(section));
        for row in rows::of(section) {
            entry(&mut out, row);
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn entry(out: &mut String, row: &Row) {
    let default = match &row.default {
        Some(value) => format!("default `{value}`"),
        None => "no default".to_owned(),
    };
    let _ = write!(out, "- **`{}`**: {}; {default}", row.name, row.kind);
    if let Some(name) = row.mosquitto {
        let _ = write!(out, "; mosquitto: `{name}`");
    }
    let live = if row.is_live() { "; a reload is enough" } else { "" };
    let _ = writeln!(out, "{live}.\n  {}", row.help);
}
