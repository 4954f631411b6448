//! Defaults, file, environment, command line: the later one wins, and each value remembers where
//! it came from. The `config` crate does the layering; what it is given is already typed and
//! checked, so none of its conversions ever happens.

use std::borrow::Cow;

use config::{ConfigError, Map, Source, Value as Layered};

use crate::config::Override;
use crate::config::origin::{Mistake, Origin};
use crate::config::rows::{self, BRIDGE, LISTENER, Row, TELEMETRY};
use crate::config::value::Value;
use crate::config::written::{Setting, Written};

/// Everything that was said, from the weakest voice to the strongest.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    pub(crate) written: Written,
    pub(crate) environment: Written,
    pub(crate) command_line: Vec<Setting>,
}

impl Layers {
    pub(crate) fn merge(&self) -> Result<config::Config, ConfigError> {
        let mut builder = config::Config::builder();
        for row in rows::all().filter(|row| !rows::is_repeated(row.section)) {
            if let Some(value) = &row.default {
                builder = builder.set_default(row.key(), layered(value, &Origin::Default))?;
            }
        }
        // Who says how many may be in flight says it of QoS 2 as well.
        if let Some(inflight) = self.last_word("limits", "inflight_max") {
            builder = builder.set_default("limits.inflight_qos2_max", inflight.layered())?;
        }
        builder = builder.add_source(self.written.clone()).add_source(self.environment.clone());
        for setting in &self.command_line {
            builder = builder.set_override(setting.row.key(), setting.layered())?;
        }
        builder.build()
    }

    /// Whoever names a directory to a broker whose mosquitto.conf keeps nothing wants it used.
    pub(crate) fn keep_where_asked(&mut self) {
        let names = |setting: &Setting| (setting.row.section, setting.row.name) == ("data", "dir");
        if self.environment.settings.iter().chain(&self.command_line).any(names) {
            let said = |setting: &Setting| !matches!(setting.origin, Origin::Unsaid { .. });
            self.written.settings.retain(said);
        }
    }

    /// Whether one option was said by a later voice than another of its section.
    pub(crate) fn is_later(&self, section: &str, name: &str, than: &str) -> bool {
        voice(&self.origin(section, name)) > voice(&self.origin(section, than))
    }

    /// What was said of a section outside of listeners, the last word last.
    pub(crate) fn said_of(&self, section: &str) -> Vec<Setting> {
        let voices = self.written.settings.iter().chain(&self.environment.settings);
        let of_it = voices.chain(&self.command_line).filter(|s| s.row.section == section);
        of_it.cloned().collect()
    }

    /// Who had the last word on an option outside of listeners.
    pub(crate) fn origin(&self, section: &str, name: &str) -> Origin {
        let said = self.last_word(section, name);
        said.map_or(Origin::Default, |setting| setting.origin.clone())
    }

    fn last_word(&self, section: &str, name: &str) -> Option<&Setting> {
        let voices = self.written.settings.iter().chain(&self.environment.settings);
        voices
            .chain(&self.command_line)
            .rfind(|setting| (setting.row.section, setting.row.name) == (section, name))
    }
}

/// How late a value was said: files, then the environment, then the command line.
fn voice(origin: &Origin) -> u8 {
    match origin {
        Origin::Default => 0,
        Origin::File { .. }
        | Origin::Unsaid { .. }
        | Origin::Place { .. }
        | Origin::Line { .. } => 1,
        Origin::Variable { .. } => 2,
        Origin::CommandLine { .. } => 3,
    }
}

/// What the command line overrides; what is wrong with it is added to `mistakes`.
pub(crate) fn overridden(overrides: &[Override], mistakes: &mut Vec<Mistake>) -> Vec<Setting> {
    let mut settings = Vec::new();
    for Override { option, section, name, value } in overrides {
        let row = rows::find(section, name).expect("the command line overrides options that exist");
        let origin = Origin::CommandLine { option };
        match row.parse(Cow::Owned(value.clone())) {
            Ok(value) => settings.push(Setting { row, value, origin }),
            Err(text) => mistakes.push(Mistake::new(origin, text)),
        }
    }
    settings
}

impl Source for Written {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Layered>, ConfigError> {
        let listeners = self.listeners.iter().map(|listener| one_of(LISTENER, &listener.settings));
        let listeners: Vec<Layered> = listeners.collect();
        let listeners = (!listeners.is_empty()).then(|| (LISTENER.to_owned(), listeners.into()));
        let streams = self.streams.iter().map(|stream| one_of(TELEMETRY, &stream.settings));
        let streams: Vec<Layered> = streams.collect();
        let streams = (!streams.is_empty()).then(|| (TELEMETRY.to_owned(), streams.into()));
        let bridges = self.bridges.iter().map(|bridge| one_of(BRIDGE, &bridge.settings));
        let bridges: Vec<Layered> = bridges.collect();
        let bridges = (!bridges.is_empty()).then(|| (BRIDGE.to_owned(), bridges.into()));
        let settings = self.settings.iter().map(|setting| (setting.row.key(), setting.layered()));
        Ok(settings.chain(listeners).chain(streams).chain(bridges).collect())
    }
}

impl Row {
    /// Its path in the layered configuration.
    fn key(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }
}

impl Setting {
    fn layered(&self) -> Layered {
        layered(&self.value, &self.origin)
    }
}

/// One of a list of sections. Lists are not merged, so each brings its defaults along.
fn one_of(section: &'static str, settings: &[Setting]) -> Layered {
    let defaults = rows::of(section).filter_map(|row| {
        let default = layered(row.default.as_ref()?, &Origin::Default);
        Some((row.name.to_owned(), default))
    });
    let set = settings.iter().map(|setting| (setting.row.name.to_owned(), setting.layered()));
    Layered::new(None, defaults.chain(set).collect::<Map<String, Layered>>())
}

fn layered(value: &Value, origin: &Origin) -> Layered {
    let origin = Some(origin.to_string());
    match value {
        Value::Bool(value) => Layered::new(origin.as_ref(), *value),
        Value::Integer(value) => Layered::new(origin.as_ref(), *value),
        Value::Text(text) => Layered::new(origin.as_ref(), text.clone().into_owned()),
        Value::List(texts) => Layered::new(origin.as_ref(), texts.clone()),
        Value::Table(texts) => {
            let texts = texts.iter().map(|(name, text)| (name.clone(), text.as_str().into()));
            Layered::new(origin.as_ref(), texts.collect::<Map<String, Layered>>())
        }
    }
}
