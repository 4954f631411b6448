//! An event's sentence and fields as text.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};

/// What an event says.
#[derive(Default)]
pub(super) struct Words {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

enum Value {
    Text(String),
    /// As it is written in JSON, too.
    Plain(String),
}

impl Words {
    /// The sentence, and the fields that it does not say.
    pub(super) fn write_human(&self, line: &mut String) {
        let mut line = OneLine(line);
        // Writing to text does not fail.
        let _ = match self.message.strip_prefix('\t') {
            // mosquitto's way to say that it goes on; no client chooses how a sentence begins.
            Some(rest) => line.0.write_char('\t').and_then(|()| line.write_str(rest)),
            None => line.write_str(&self.message),
        };
        for (name, value) in &self.fields {
            let value = value.text();
            if !self.message.contains(value) {
                let _ = write!(line, " {name}={value}");
            }
        }
    }

    /// Members of an object, each with a comma in front of it.
    pub(super) fn write_json(&self, line: &mut String) {
        let _ = write!(line, ",\"message\":{}", json(&self.message));
        for (name, value) in &self.fields {
            let _ = match value {
                Value::Text(text) => write!(line, ",{}:{}", json(name), json(text)),
                Value::Plain(plain) => write!(line, ",{}:{plain}", json(name)),
            };
        }
    }

    fn say(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::Text(text)) => self.message = text,
            (name, value) => self.fields.push((name, value)),
        }
    }
}

impl Value {
    fn text(&self) -> &str {
        let (Self::Text(text) | Self::Plain(text)) = self;
        text
    }
}

/// A text as JSON writes it.
pub(super) fn json(text: &str) -> serde_json::Value {
    text.into()
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.say(field, Value::Text(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.say(field, Value::Text(value.to_owned()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.say(field, Value::Plain(value.to_string()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.say(field, Value::Plain(value.to_string()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.say(field, Value::Plain(value.to_string()));
    }
}

/// Escapes control characters, so that no client can write log lines of its own with a clever
/// client id.
struct OneLine<'a>(&'a mut String);

impl Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(char::is_control) {
            let plain = part.trim_end_matches(char::is_control);
            self.0.write_str(plain)?;
            write!(self.0, "{}", part[plain.len()..].escape_default())?;
        }
        Ok(())
    }
}
