//! Who may come in and what they may do. With `per_listener_settings true` most of these belong to
//! the listener above them.

use crate::config::mosquitto::listener_rows::{CERTIFICATES_INSTEAD, NO_PSK};
use crate::config::mosquitto::row::Kind::{Bool, Text};
use crate::config::mosquitto::row::{Row, Scope, global, listener, security};

/// The rows.
pub(super) const ROWS: &[Row] = &[
    global("per_listener_settings", Bool, "false", "true")
        .deprecated("Please see the documentation for how to achieve the same effect.")
        .help("Whether the options of this chapter apply to the listener above them alone.")
        .shape("What follows is read as mosquitto does; every listener gets its own values."),
    security("allow_anonymous", Bool, "false", "true")
        .help(
            "Whether clients may connect without a user name. Without any listener: true. The \
             last line counts for all listeners, wherever it stands.",
        )
        .kept("listener", "allow_anonymous"),
    listener("listener_allow_anonymous", Bool, "", "true")
        .since("2.1")
        .help("`allow_anonymous` for this listener alone.")
        .kept("listener", "allow_anonymous"),
    security("allow_zero_length_clientid", Bool, "true", "false")
        .help("Whether a client may leave its id empty and get one.")
        .kept("clients", "allow_zero_length_client_id"),
    security("auto_id_prefix", Text, "auto-", "anybody-")
        .once()
        .deprecated("Please use 'listener_auto_id_prefix' instead.")
        .help("What an id that the broker gives begins with.")
        .kept("clients", "auto_id_prefix"),
    listener("listener_auto_id_prefix", Text, "auto-", "anybody-")
        .since("2.1")
        .once()
        .help("`auto_id_prefix` for this listener.")
        .kept("clients", "auto_id_prefix"),
    global("clientid_prefixes", Text, "", "secure-")
        .deprecated("")
        .help("Only clients whose id begins with this may connect.")
        .kept("access", "client_id_prefix"),
    security("password_file", Text, "", "/etc/mosquitto/passwd")
        .help("User names and hashed passwords, as `mosquitto_passwd` writes them.")
        .kept("listener", "password_file"),
    security("acl_file", Text, "", "/etc/mosquitto/acl")
        .help("Who may publish and read which topics.")
        .kept("listener", "acl_file"),
    security("psk_file", Text, "", "/etc/mosquitto/psk")
        .help("Identities and their pre-shared keys.")
        .refused(NO_PSK, CERTIFICATES_INSTEAD),
    security("plugin", Text, "", "/usr/lib/mosquitto_password_file.so")
        .at_start()
        .each()
        .help("Loads a plug-in.")
        .shape("Plug-ins that Martlet knows by their file name are replaced; see below."),
    security("auth_plugin", Text, "", "/mosquitto/go-auth.so")
        .at_start()
        .each()
        .help("An older name of `plugin`.")
        .shape("As `plugin`."),
    global("global_plugin", Text, "", "/usr/lib/mosquitto_persist_sqlite.so")
        .since("2.1")
        .at_start()
        .each()
        .help("Loads a plug-in for all listeners, also with `per_listener_settings true`.")
        .shape("As `plugin`."),
    global("plugin_load", Text, "", "passwords /usr/lib/mosquitto_password_file.so")
        .since("2.1")
        .at_start()
        .each()
        .help("Loads a plug-in and gives it a name.")
        .shape("As `plugin`."),
    listener("plugin_use", Text, "", "passwords")
        .since("2.1")
        .each()
        .help("Uses a plug-in that `plugin_load` named, for this listener.")
        .shape("The plug-in's options apply to this listener."),
    Row {
        scope: Scope::Plugin,
        ..listener("auth_plugin_deny_special_chars", Bool, "true", "false")
    }
    .help(
        "Refuses `+` and `#` in names before the plug-in above is asked. Patterns of an ACL file \
         give such names nothing in any case.",
    )
    .kept("auth_http", "deny_special_chars"),
];
