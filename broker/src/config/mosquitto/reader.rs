//! From lines to what they say: which option, which value, to whom it applies.

use std::borrow::Cow;
use std::path::Path;

use crate::bridge::topics::Topic;
use crate::config::mosquitto::plugins::{self, Plugin, PluginStanding};
use crate::config::mosquitto::row::{Kind, Row, Scope, Standing, Times};
use crate::config::mosquitto::{lines, rows};
use crate::config::nearest::nearest;
use crate::config::origin::{Mistake, Origin};

/// All that the files say.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) lines: Vec<Said>,
    /// Every `listener`.
    pub(super) listeners: Vec<Opened>,
    /// Every `connection`, with its name.
    pub(super) bridges: Vec<(Origin, String)>,
    /// Connections with a line that cannot be read and may be what they lack.
    pub(super) unread: Vec<Place>,
    /// The listener that options stand for which have no `listener` above them.
    pub(super) default: Option<Opened>,
    /// Whether a line opens a port; otherwise the broker is in local only mode.
    pub(super) opens: bool,
    /// What mosquitto would say of it, with the place.
    pub(super) notices: Vec<String>,
    /// Lines that stand below a plug-in that is refused.
    pub(super) passed_over: Vec<(Origin, String)>,
}

/// One line that is understood.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) row: &'static Row,
    /// As the row's kind writes it.
    pub(super) value: String,
    pub(super) origin: Origin,
    pub(super) place: Place,
}

/// To whom a line applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Everywhere,
    DefaultListener,
    /// The listener of this number.
    Listener(usize),
    /// The bridge of this number.
    Bridge(usize),
}

/// A listener as it is written.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) origin: Origin,
    pub(super) port: u16,
    /// An address, a name of this machine, or with port 0 a path.
    pub(super) host: Option<String>,
}

/// A plug-in with what its lines say.
#[derive(Debug)]
struct Loaded {
    /// As `plugin_load` names it.
    name: Option<String>,
    known: Option<&'static Plugin>,
    places: Vec<Place>,
    options: Vec<Said>,
}

/// What stands above a line in its file.
#[derive(Debug, Default)]
struct Above {
    listener: Option<Place>,
    bridge: Option<Place>,
    plugin: Option<usize>,
}

/// Whether a file may include others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Main,
    Included,
}

/// Reads a file and those that it includes.
pub(super) fn read(path: &str, text: &[u8], mistakes: &mut Vec<Mistake>) -> Read {
    let mut reader =
        Reader { mistakes, read: Read::default(), per_listener: None, plugins: Vec::new() };
    reader.file(path, text, Depth::Main);
    reader.finish()
}

struct Reader<'a> {
    mistakes: &'a mut Vec<Mistake>,
    read: Read,
    /// Where `per_listener_settings true` stands.
    per_listener: Option<Origin>,
    plugins: Vec<Loaded>,
}

/// Whether a connection must have it.
pub(super) fn is_vital(option: &str) -> bool {
    matches!(option, "connection" | "address" | "addresses" | "topic")
}

impl Reader<'_> {
    fn file(&mut self, path: &str, text: &[u8], depth: Depth) {
        let mut above = Above::default();
        for line in lines::of(text).filter(|line| !line.is_comment()) {
            let origin =
                |column| Origin::Place { path: path.to_owned(), line: line.number, column };
            let Ok(text) = std::str::from_utf8(line.bytes) else {
                let text = "is not UTF-8 text: save it as UTF-8";
                self.mistakes.push(Mistake::new(origin(1), text));
                continue;
            };
            let indent = text.len() - text.trim_start_matches(' ').len();
            let (name, rest) = text[indent..].split_once(' ').unwrap_or((&text[indent..], ""));
            let at = origin(text[..indent].chars().count() + 1);
            if let Err(text) = self.line(name, rest, &at, &mut above, depth) {
                let known = rows().any(|row| row.name == name) && !is_vital(name);
                self.read.unread.extend(above.bridge.filter(|_| !known));
                self.mistakes.push(Mistake::new(at, text));
            }
        }
    }

    fn line(
        &mut self,
        name: &str,
        rest: &str,
        at: &Origin,
        above: &mut Above,
        depth: Depth,
    ) -> Result<(), String> {
        if let Some(option) = plugins::option(name) {
            return self.plugin_option(name, option, rest, at, above);
        }
        let row = rows().find(|row| row.name == name).ok_or_else(|| unknown(name))?;
        let value = row.kind.read(rest).map_err(|text| format!("\"{name}\" {text}"))?;
        above.allow(row)?;
        if let Some(goes_on) = row.deprecated {
            self.deprecated(row, goes_on, at);
        }
        refusal(row, name, &value)?;
        let said =
            Said { row, value: value.into_owned(), origin: at.clone(), place: Place::Everywhere };
        match row.name {
            "include_dir" if depth == Depth::Included => {
                return Err("\"include_dir\" may stand in the main file only".to_owned());
            }
            "include_dir" => self.include(&said.value)?,
            "per_listener_settings" => self.per_listener(&said)?,
            "connection" => self.bridge(&said, above)?,
            "topic" => {
                let wrong = |wrong| format!("\"topic\" {wrong}");
                Topic::parse(&said.value).map_err(wrong)?;
            }
            "listener" => self.listener(&said, above)?,
            "port" | "bind_address" => self.default_listener(&said, above)?,
            "plugin" | "auth_plugin" => {
                let place = self.place(row, above, at);
                self.plugin(None, &said.value, Some(place), above)?;
            }
            "global_plugin" => self.plugin(None, &said.value, Some(Place::Everywhere), above)?,
            "plugin_load" => {
                let (name, path) = said.value.split_once(' ').ok_or("wants a name and a path")?;
                self.plugin(Some(name), path.trim(), None, above)?;
            }
            "plugin_use" => self.use_plugin(&said, above)?,
            _ => {}
        }
        let place = self.place(row, above, at);
        let said = Said { place, ..said };
        self.once(&said)?;
        self.read.lines.push(said);
        Ok(())
    }

    /// To whom the line applies; it may be the first that wants a default listener.
    fn place(&mut self, row: &Row, above: &Above, at: &Origin) -> Place {
        match row.scope {
            Scope::Global | Scope::Plugin => Place::Everywhere,
            Scope::Bridge => above.bridge.unwrap_or(Place::Everywhere),
            Scope::Either if self.per_listener.is_none() => Place::Everywhere,
            Scope::Either => above.listener.unwrap_or(Place::DefaultListener),
            Scope::Listener => above.listener.unwrap_or_else(|| {
                self.create_default(row, at);
                Place::DefaultListener
            }),
        }
    }

    fn create_default(&mut self, row: &Row, at: &Origin) {
        if self.read.default.is_none() {
            let text = format!("Creating default listener due to '{}' option.", row.name);
            self.read.notices.push(format!("{at}: {text}"));
            self.read.default = Some(Opened { origin: at.clone(), port: 1883, host: None });
        }
    }

    fn once(&mut self, said: &Said) -> Result<(), String> {
        let first = self.read.lines.iter().find(|other| {
            said.row.times == Times::Once
                && (other.row.name, other.place) == (said.row.name, said.place)
        });
        first.map_or(Ok(()), |first| {
            Err(format!("\"{}\" stands twice, first at {}", said.row.name, first.origin))
        })
    }

    fn deprecated(&mut self, row: &Row, goes_on: &str, at: &Origin) {
        let name = row.name;
        let text =
            format!("The '{name}' option is now deprecated and will be removed in version 3.0.");
        let space = if goes_on.is_empty() { "" } else { " " };
        self.read.notices.push(format!("{at}: {text}{space}{goes_on}"));
    }

    fn include(&mut self, directory: &str) -> Result<(), String> {
        let files = lines::included(Path::new(directory))
            .map_err(|error| format!("\"include_dir\" {directory} cannot be read: {error}"))?;
        for file in files {
            let path = file.display().to_string();
            match std::fs::read(&file) {
                Ok(text) => self.file(&path, &text, Depth::Included),
                Err(error) => {
                    let text = format!("cannot be read: {error}");
                    self.mistakes.push(Mistake::new(Origin::File { path }, text));
                }
            }
        }
        Ok(())
    }

    /// Once set it stays, as in mosquitto.
    fn per_listener(&mut self, said: &Said) -> Result<(), String> {
        if said.value != "true" || self.per_listener.is_some() {
            return Ok(());
        }
        self.per_listener = Some(said.origin.clone());
        match self.read.lines.iter().find(|line| line.row.scope == Scope::Either) {
            None => Ok(()),
            Some(line) => Err(format!(
                "\"per_listener_settings true\" must stand above every option that it is about, \
                 and \"{}\" stands at {}",
                line.row.name, line.origin
            )),
        }
    }

    fn listener(&mut self, said: &Said, above: &mut Above) -> Result<(), String> {
        self.read.opens = true;
        above.listener = Some(Place::Listener(self.read.listeners.len()));
        let mut words = said.value.split(' ').filter(|word| !word.is_empty());
        let port = Kind::Integer { min: 0, max: u16::MAX.into() };
        let opened = match (port.read(words.next().unwrap_or("")), words.next()) {
            (Ok(port), host) => {
                let host = host.filter(|word| !word.starts_with('#')).map(str::to_owned);
                Ok(Opened { origin: said.origin.clone(), port: port.parse().unwrap_or(0), host })
            }
            (Err(text), _) => Err(format!("the port of \"listener\" {text}")),
        };
        // Even without a good address it is there, so that what stands below finds it.
        let nowhere = Opened { origin: said.origin.clone(), port: 0, host: None };
        self.read.listeners.push(opened.clone().unwrap_or(nowhere));
        match opened {
            Ok(Opened { port: 0, host: None, .. }) => {
                Err("a listener with port 0 wants the path of a Unix socket".to_owned())
            }
            Ok(_) => Ok(()),
            Err(text) => Err(text),
        }
    }

    fn bridge(&mut self, said: &Said, above: &mut Above) -> Result<(), String> {
        above.bridge = Some(Place::Bridge(self.read.bridges.len()));
        let first = self.read.bridges.iter().find(|(_, name)| *name == said.value);
        let first = first.map(|(origin, _)| origin.clone());
        // Even a second one is there, so that what stands below finds it.
        self.read.bridges.push((said.origin.clone(), said.value.clone()));
        first.map_or(Ok(()), |first| {
            Err(format!("the connection \"{}\" stands twice, first at {first}", said.value))
        })
    }

    fn default_listener(&mut self, said: &Said, above: &mut Above) -> Result<(), String> {
        self.read.opens = true;
        above.listener = Some(Place::DefaultListener);
        let opened = self.read.default.get_or_insert(Opened {
            origin: said.origin.clone(),
            port: 1883,
            host: None,
        });
        match said.row.name {
            "port" => opened.port = said.value.parse().unwrap_or(opened.port),
            _ => opened.host = Some(said.value.clone()),
        }
        Ok(())
    }

    fn plugin(
        &mut self,
        name: Option<&str>,
        path: &str,
        place: Option<Place>,
        above: &mut Above,
    ) -> Result<(), String> {
        let path = path.split(' ').next().unwrap_or(path);
        let known = plugins::known(path);
        above.plugin = Some(self.plugins.len());
        self.plugins.push(Loaded {
            name: name.map(str::to_owned),
            known,
            places: place.into_iter().collect(),
            options: Vec::new(),
        });
        match known.map(|plugin| (plugin, plugin.standing)) {
            Some((_, PluginStanding::BuiltIn)) => Ok(()),
            Some((plugin, PluginStanding::Refused { because, instead })) => {
                Err(format!("the plug-in {}: {because}; {instead}", plugin.is))
            }
            None => Err(format!(
                "the plug-in {path} cannot be loaded: Martlet runs no foreign code; it knows {} by \
                 their names, and built in",
                plugins::built_in()
            )),
        }
    }

    fn use_plugin(&mut self, said: &Said, above: &mut Above) -> Result<(), String> {
        let named = |plugin: &Loaded| plugin.name.as_deref() == Some(&said.value);
        let Some(at) = self.plugins.iter().position(named) else {
            return Err(format!("no \"plugin_load\" above names {:?}", said.value));
        };
        let Some(place) = above.listener else {
            return Err("\"plugin_use\" wants a \"listener\" above it".to_owned());
        };
        above.plugin = Some(at);
        self.plugins[at].places.push(place);
        Ok(())
    }

    fn plugin_option(
        &mut self,
        name: &str,
        option: &str,
        rest: &str,
        at: &Origin,
        above: &Above,
    ) -> Result<(), String> {
        let Some(number) = above.plugin else {
            return Err(format!("\"{name}\" wants a \"plugin\" above it"));
        };
        let loaded = &mut self.plugins[number];
        // What stands below a plug-in that is refused says nothing by itself.
        let Some(plugin) = loaded.known.filter(|known| known.standing.is_built_in()) else {
            self.read.passed_over.push((at.clone(), name.to_owned()));
            return Ok(());
        };
        let row = plugin.options.iter().find(|row| row.name == option);
        let row = row.ok_or_else(|| plugin.unknown_option(name, option))?;
        let value = row.kind.read(rest).map_err(|text| format!("\"{name}\" {text}"))?;
        refusal(row, name, &value)?;
        let (origin, place) = (at.clone(), Place::Everywhere);
        loaded.options.push(Said { row, value: value.into_owned(), origin, place });
        Ok(())
    }

    fn finish(mut self) -> Read {
        for Loaded { places, options, .. } in self.plugins {
            for place in places {
                let there = options.iter().cloned().map(|said| Said { place, ..said });
                self.read.lines.extend(there);
            }
        }
        self.read
    }
}

impl Above {
    fn allow(&mut self, row: &Row) -> Result<(), String> {
        match row.scope {
            Scope::Bridge if row.name != "connection" && self.bridge.is_none() => {
                return Err(format!("\"{}\" wants a \"connection\" above it", row.name));
            }
            Scope::Plugin if self.plugin.is_none() => {
                return Err(format!("\"{}\" wants a \"plugin\" above it", row.name));
            }
            _ => {}
        }
        Ok(())
    }
}

/// What is refused, unless it says what holds anyway.
fn refusal(row: &Row, name: &str, value: &str) -> Result<(), String> {
    match row.standing {
        Standing::Refused { because, instead }
            if row.default.is_empty() || value != row.default =>
        {
            Err(format!("\"{name}\": {because}; {instead}"))
        }
        _ => Ok(()),
    }
}

fn unknown(name: &str) -> String {
    if name.starts_with('#') {
        return "a comment begins with # as the very first character of its line".to_owned();
    }
    if let Some((name, _)) = name.split_once('\t') {
        return format!("between \"{name}\" and its value stands a tab: mosquitto wants a space");
    }
    let names = rows().map(|row| (row.name, Cow::Borrowed(row.name)));
    match nearest(name, names) {
        Some(meant) => format!("unknown option {name:?}; did you mean \"{meant}\"?"),
        None => format!("unknown option {name:?}; docs/mosquitto-conf.md lists all of them"),
    }
}
