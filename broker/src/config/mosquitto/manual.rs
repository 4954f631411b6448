//! The chapter of mosquitto's options, printed from the rows.

use std::fmt::Write;

use crate::config::mosquitto::CHAPTERS;
use crate::config::mosquitto::plugins::{PLUGINS, PluginStanding};
use crate::config::mosquitto::row::{Row, Scope, Standing};
use crate::config::rows;

/// Every option with what becomes of it, as Markdown.
pub(crate) fn manual() -> String {
    let mut out = String::new();
    for (title, rows) in CHAPTERS {
        let _ = writeln!(out, "### {title}\n");
        rows.iter().for_each(|row| entry(&mut out, "", row));
        out.push('\n');
    }
    out.push_str("### Plug-ins\n");
    for plugin in PLUGINS {
        let files: Vec<String> = plugin.files.iter().map(|name| format!("`{name}.so`")).collect();
        let _ = writeln!(out, "\n{}, the plug-in {}.", files.join(" or "), plugin.is);
        match plugin.standing {
            PluginStanding::BuiltIn => {
                out.push_str("*Built in*; its options:\n\n");
                plugin.options.iter().for_each(|row| entry(&mut out, "plugin_opt_", row));
            }
            PluginStanding::Refused { because, instead } => {
                let _ = writeln!(out, "*Refused*: {because}. Instead: {instead}.");
            }
        }
    }
    out
}

fn entry(out: &mut String, prefix: &str, row: &Row) {
    let _ = write!(out, "- **`{prefix}{}`**: {}", row.name, row.kind);
    if !row.default.is_empty() {
        let _ = write!(out, "; default `{}`", row.default);
    }
    if row.scope == Scope::Either {
        out.push_str("; of a listener with `per_listener_settings true`");
    }
    if let Some(version) = row.since {
        let _ = write!(out, "; since {version}");
    }
    if row.deprecated.is_some() {
        out.push_str("; deprecated by mosquitto");
    }
    if row.reload {
        out.push_str("; mosquitto reads it again on SIGHUP");
    }
    let _ = writeln!(out, ".\n  {}", row.help);
    let _ = writeln!(out, "  Example: `{prefix}{} {}`.", row.name, row.example);
    let _ = match row.standing {
        Standing::Kept { section, name, .. } => {
            writeln!(out, "  *Kept*: `{name}` in `{}`.", rows::header(section))
        }
        Standing::Shape(becomes) => writeln!(out, "  *Kept*: {becomes}"),
        Standing::NoEffect(because) => writeln!(out, "  *No effect*: {because}."),
        Standing::Refused { because, instead } => {
            writeln!(out, "  *Refused*: {because}. Instead: {instead}.")
        }
    };
}
