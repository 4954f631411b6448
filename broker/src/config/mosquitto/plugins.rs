//! Plug-ins of mosquitto that people name by their file, and what stands for them here.

use crate::config::mosquitto::go_auth_rows;
use crate::config::mosquitto::row::Kind::{Integer, Text, Word};
use crate::config::mosquitto::row::{Row, of_plugin};
use crate::config::nearest::nearest;

/// A plug-in, known by the name of its file.
#[derive(Debug)]
pub(crate) struct Plugin {
    /// Names of the file, without `.so`, `.dll` or a version behind them.
    pub(crate) files: &'static [&'static str],
    /// What it is, to stand behind "the plug-in".
    pub(crate) is: &'static str,
    pub(crate) standing: PluginStanding,
    /// What may follow, without `plugin_opt_` or `auth_opt_`.
    pub(crate) options: &'static [Row],
}

/// What becomes of a plug-in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PluginStanding {
    /// It is built in: its options are mapped, each by its row.
    BuiltIn,
    /// It is a mistake, because ...; instead ...
    Refused { because: &'static str, instead: &'static str },
}

/// The plug-ins.
pub(crate) const PLUGINS: &[Plugin] = &[
    Plugin {
        files: &["mosquitto_password_file"],
        is: "that reads a password file",
        standing: PluginStanding::BuiltIn,
        options: &[of_plugin("password_file", Text, "", "/etc/mosquitto/passwd")
            .help("User names and hashed passwords.")
            .kept("listener", "password_file")],
    },
    Plugin {
        files: &["mosquitto_acl_file"],
        is: "that reads an ACL file",
        standing: PluginStanding::BuiltIn,
        options: &[of_plugin("acl_file", Text, "", "/etc/mosquitto/acl")
            .help("Who may publish and read which topics.")
            .kept("listener", "acl_file")],
    },
    Plugin {
        files: &["mosquitto_persist_sqlite"],
        is: "that keeps state in SQLite",
        standing: PluginStanding::BuiltIn,
        options: PERSIST_SQLITE,
    },
    Plugin {
        files: &["mosquitto_dynamic_security"],
        is: "for dynamic security",
        standing: PluginStanding::Refused {
            because: "Martlet has no dynamic security yet: its file and its topics under \
                      `$CONTROL/dynamic-security/` are not read",
            instead: "write users with `mosquitto_passwd` into a `password_file` and their rights \
                      into an `acl_file`",
        },
        options: &[of_plugin("config_file", Text, "", "/var/lib/mosquitto/dynamic-security.json")
            .help("Users, groups and roles.")
            .shape("The plug-in is refused as a whole.")],
    },
    Plugin {
        files: &["mosquitto_sparkplug_aware"],
        is: "that retains Sparkplug's certificates of birth",
        standing: PluginStanding::Refused {
            because: "Martlet knows nothing of Sparkplug yet",
            instead: "leave the plug-in out if nobody reads `$sparkplug/certificates/#`",
        },
        options: &[],
    },
    Plugin {
        files: &["go-auth", "mosquitto-go-auth"],
        is: "mosquitto-go-auth",
        standing: PluginStanding::BuiltIn,
        options: go_auth_rows::ROWS,
    },
];

const PERSIST_SQLITE: &[Row] = &[
    of_plugin("db_file", Text, "", "/var/lib/mosquitto/mosquitto.sqlite3")
        .help("The database.")
        .kept_by("data", "dir", crate::config::mosquitto::row::How::By(parent)),
    of_plugin("sync", Word(&["extra", "full", "normal", "off"]), "normal", "full")
        .help("How firmly SQLite keeps what it commits.")
        .no_effect("everything is on disk before it is acknowledged"),
    of_plugin("flush_period", Integer { min: 0, max: i32::MAX as i64 }, "5", "1")
        .help("Seconds between commits.")
        .no_effect("everything is on disk before it is acknowledged"),
    of_plugin("page_size", Integer { min: 0, max: i32::MAX as i64 }, "4096", "8192")
        .help("Bytes of a page.")
        .no_effect("there is no SQLite"),
];

/// The plug-in that a file is, if Martlet knows it.
pub(crate) fn known(path: &str) -> Option<&'static Plugin> {
    let file = path.rsplit(['/', '\\']).next().unwrap_or(path);
    let name = file.split_once(".so").or_else(|| file.split_once(".dll"));
    let name = name.map_or(file, |(name, _)| name);
    PLUGINS.iter().find(|plugin| plugin.files.contains(&name))
}

/// The directory of a database.
fn parent(path: &str) -> Result<Option<String>, String> {
    let parent = std::path::Path::new(path).parent().map(|parent| parent.display().to_string());
    Ok(parent.map(|parent| if parent.is_empty() { ".".to_owned() } else { parent }))
}

/// The option that a line is about, if it is one of a plug-in's.
pub(crate) fn option(name: &str) -> Option<&str> {
    name.strip_prefix("plugin_opt_").or_else(|| name.strip_prefix("auth_opt_"))
}

/// The files of those that are built in.
pub(crate) fn built_in() -> String {
    let built_in = PLUGINS.iter().filter(|plugin| plugin.standing.is_built_in());
    let files: Vec<String> =
        built_in.map(|plugin| format!("{}.so", plugin.files.join(".so, "))).collect();
    files.join(", ")
}

impl PluginStanding {
    /// Whether its options are mapped.
    pub(crate) const fn is_built_in(self) -> bool {
        matches!(self, Self::BuiltIn)
    }
}

impl Plugin {
    /// What is wrong with an option that it does not have.
    pub(crate) fn unknown_option(&self, name: &str, option: &str) -> String {
        let prefix = name.strip_suffix(option).unwrap_or_default();
        let names = self.options.iter().map(|row| (row.name, row.name));
        match nearest(option, names) {
            Some(meant) => format!("unknown option {name:?}; did you mean \"{prefix}{meant}\"?"),
            None => {
                let names: Vec<&str> = self.options.iter().map(|row| row.name).collect();
                let names = names.join(", ");
                format!("unknown option {name:?} of the plug-in {}; it has: {names}", self.is)
            }
        }
    }
}
