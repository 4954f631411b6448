//! Columns that a stream takes out of its payloads: members of JSON objects, with a type each.

/// Columns that every file has: the names of a record's parts.
pub const OWN: &[&str] = &[
    "offset",
    "time",
    "topic",
    "client_id",
    "user_name",
    "qos",
    "retain",
    "payload",
    "payload_binary",
];

/// Columns that one stream may have of its own.
pub const COLUMNS_MAX: usize = 64;

/// One column: a member of the JSON object that is a record's payload. A record that has none, or
/// one of another type, has no value there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column {
    /// The column's name, which is the member's: `t`; `gps.lat` is member `lat` of member `gps`.
    pub name: Box<str>,
    /// What it holds.
    pub kind: ColumnKind,
}

/// The type of a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ColumnKind {
    /// A number, as a 64-bit float.
    Number,
    /// Text.
    String,
    /// `true` or `false`.
    Bool,
}

impl ColumnKind {
    /// As the configuration calls it.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "number" => Some(Self::Number),
            "string" => Some(Self::String),
            "bool" => Some(Self::Bool),
            _ => None,
        }
    }
}

/// Whether a column may be called that, in words if not.
///
/// # Errors
/// The reason.
pub fn check_name(name: &str) -> Result<(), String> {
    if OWN.contains(&name) {
        return Err(format!("\"{name}\" is a column of every record already"));
    }
    match name.split('.').any(str::is_empty) || name.contains(char::is_control) {
        true => {
            Err(format!("{name:?} names no member: write \"t\", or \"gps.lat\" for one inside"))
        }
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_say_nothing_or_are_taken_are_refused() {
        for name in ["", ".", "a.", ".a", "a..b", "a\nb", "offset", "payload"] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        for name in ["t", "gps.lat", "größe", "a b", "Offset"] {
            assert_eq!(check_name(name), Ok(()), "{name:?}");
        }
    }
}
