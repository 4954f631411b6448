//! `martlet config show`: the resolved configuration as a file that would give the same one.

use std::fmt::Write;

use config::{Map, Value as Layered, ValueKind};

use crate::config::rows::{self, LISTENER, SECTIONS};
use crate::config::value::Value;

/// Prints every option with the origin of its value.
pub(crate) fn show(merged: &config::Config, local_only: bool) -> String {
    let mut out = String::new();
    for (section, _) in SECTIONS {
        if rows::is_repeated(section) {
            if *section == LISTENER && local_only {
                out.push_str("# Local only mode: no listener is configured.\n");
            }
            for one in merged.get_array(section).unwrap_or_default() {
                let one = one.into_table().unwrap_or_default();
                show_section(&mut out, section, &one);
            }
        } else {
            let values = merged.get_table(section).unwrap_or_default();
            show_section(&mut out, section, &values);
        }
    }
    out
}

fn show_section(out: &mut String, section: &str, values: &Map<String, Layered>) {
    let lines: Vec<(String, &str)> = rows::of(section)
        .filter_map(|row| {
            let layered = values.get(row.name)?;
            let line = format!("{} = {}", row.name, row.shown(value(&layered.kind)?));
            Some((line, layered.origin().unwrap_or_default()))
        })
        .collect();
    let width = lines.iter().map(|(line, _)| line.chars().count()).max().unwrap_or(0);
    let blank = if out.is_empty() { "" } else { "\n" };
    let _ = writeln!(out, "{blank}{}", rows::header(section));
    for (line, origin) in lines {
        let _ = writeln!(out, "{line:width$}  # {origin}");
    }
}

/// Nothing but these kinds was put in.
fn value(kind: &ValueKind) -> Option<Value> {
    match kind {
        ValueKind::Boolean(value) => Some(Value::Bool(*value)),
        ValueKind::I64(value) => Some(Value::Integer(*value)),
        ValueKind::String(text) => Some(Value::Text(text.clone().into())),
        ValueKind::Array(items) => {
            let texts = items.iter().map(|item| match &item.kind {
                ValueKind::String(text) => Some(text.clone()),
                _ => None,
            });
            Some(Value::List(texts.collect::<Option<_>>()?))
        }
        ValueKind::Table(items) => {
            let texts = items.iter().map(|(name, item)| match &item.kind {
                ValueKind::String(text) => Some((name.clone(), text.clone())),
                _ => None,
            });
            Some(Value::Table(texts.collect::<Option<_>>()?))
        }
        _ => None,
    }
}
