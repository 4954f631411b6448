//! Members of JSON objects: found by a path, all else is skipped and not kept.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::telemetry::columns::{Column, ColumnKind};

/// A value of a column.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Scalar {
    Number(f64),
    String(String),
    Bool(bool),
}

/// The value of a column in a payload.
pub(super) fn find(column: &Column, payload: &[u8]) -> Option<Scalar> {
    if payload.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    // What is skipped in bytes is not checked to be UTF-8.
    let mut json = serde_json::Deserializer::from_str(std::str::from_utf8(payload).ok()?);
    let found = Member { path: &column.name }.deserialize(&mut json).ok()?;
    json.end().ok()?;
    match (column.kind, &found) {
        (ColumnKind::Number, Some(Scalar::Number(_)))
        | (ColumnKind::String, Some(Scalar::String(_)))
        | (ColumnKind::Bool, Some(Scalar::Bool(_))) => found,
        _ => None,
    }
}

/// Finds what a path leads to, and skips the rest without keeping it. An empty path: it is here.
#[derive(Clone, Copy)]
struct Member<'a> {
    path: &'a str,
}

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = Option<Scalar>;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Self::Value, D::Error> {
        input.deserialize_any(self)
    }
}

impl Member<'_> {
    fn here(self, value: Scalar) -> Option<Scalar> {
        self.path.is_empty().then_some(value)
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<Scalar>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(self.here(Scalar::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(self.here(Scalar::Number(value as f64)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(self.here(Scalar::Number(value as f64)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(self.here(Scalar::Number(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(self.path.is_empty().then(|| Scalar::String(value.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let (first, rest) = self.path.split_once('.').unwrap_or((self.path, ""));
        let mut found = None;
        while let Some(is_it) = members.next_key_seed(Is(first))? {
            if is_it && !self.path.is_empty() {
                found = members.next_value_seed(Member { path: rest })?;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Whether a key is this one.
struct Is<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<bool, D::Error> {
        input.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_by_name_path_and_type() {
        let number = |value| Some(Scalar::Number(value));
        let text = |value: &str| Some(Scalar::String(value.to_owned()));
        let rows = [
            ("t", ColumnKind::Number, r#"{"t": 20.5, "h": 40}"#, number(20.5)),
            ("h", ColumnKind::Number, r#"{"t": 20.5, "h": 40}"#, number(40.0)),
            ("t", ColumnKind::Number, r#" {"h": [1, {"t": 9}], "t": -1e3}"#, number(-1000.0)),
            ("gps.lat", ColumnKind::Number, r#"{"gps": {"lat": 1, "lon": 2}}"#, number(1.0)),
            ("gps.lat", ColumnKind::Number, r#"{"gps": 3, "lat": 1}"#, None),
            ("gps", ColumnKind::Number, r#"{"gps": {"lat": 1}}"#, None),
            ("s", ColumnKind::String, r#"{"s": "a\"b\u00e4"}"#, text("a\"bä")),
            ("s", ColumnKind::String, r#"{"s": 1}"#, None),
            ("t", ColumnKind::Number, r#"{"t": "1"}"#, None),
            ("t", ColumnKind::Number, r#"{"t": null}"#, None),
            ("b", ColumnKind::Bool, r#"{"b": true}"#, Some(Scalar::Bool(true))),
            ("t", ColumnKind::Number, r#"{"t": 1, "t": 2}"#, number(2.0)),
            ("t", ColumnKind::Number, r#"{"t": 1"#, None),
            ("t", ColumnKind::Number, r#"{"t": 1} x"#, None),
            ("t", ColumnKind::Number, "20.5", None),
            ("t", ColumnKind::Number, "", None),
        ];
        for (name, kind, payload, expected) in rows {
            let column = Column { name: name.into(), kind };
            assert_eq!(find(&column, payload.as_bytes()), expected, "{name} of {payload}");
        }
        let column = Column { name: "t".into(), kind: ColumnKind::Number };
        assert_eq!(find(&column, b"{\"t\": 1, \"x\": \"\xFF\"}"), None, "no UTF-8, no JSON");
    }
}
