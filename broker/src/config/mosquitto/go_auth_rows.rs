//! What may stand behind mosquitto-go-auth. Its files are mosquitto's but for the hashes of
//! passwords, which Martlet reads too.

use crate::config::access_rows::BACKENDS;
use crate::config::mosquitto::row::How::By;
use crate::config::mosquitto::row::Kind::{Bool, Text};
use crate::config::mosquitto::row::{Row, of_plugin};

/// The rows.
pub(super) const ROWS: &[Row] = &[
    of_plugin("backends", Text, "files", "files, jwt").help("Whom to ask, in this order.").kept_by(
        "listener",
        "backends",
        By(backends),
    ),
    of_plugin("files_password_path", Text, "", "/etc/mosquitto/passwords")
        .help("User names and hashed passwords.")
        .kept("listener", "password_file"),
    of_plugin("password_path", Text, "", "/etc/mosquitto/passwords")
        .help("An older name of `files_password_path`.")
        .kept("listener", "password_file"),
    of_plugin("files_acl_path", Text, "", "/etc/mosquitto/acls")
        .help("Who may publish and read which topics.")
        .kept("listener", "acl_file"),
    of_plugin("acl_path", Text, "", "/etc/mosquitto/acls")
        .help("An older name of `files_acl_path`.")
        .kept("listener", "acl_file"),
    of_plugin("jwt_mode", Text, "", "files")
        .help("Who knows what the bearers of tokens may do.")
        .kept_by("auth_jwt", "place", By(jwt_mode)),
    of_plugin("jwt_secret", Text, "", "nobody guesses these forty bytes of text")
        .help("The secret that tokens are signed with.")
        .kept("auth_jwt", "secret"),
    of_plugin("jwt_userfield", Text, "Subject", "Username")
        .help("`Username`: the claim `username` names the user; otherwise `sub` does.")
        .kept_by("auth_jwt", "user_claim", By(jwt_user_field)),
    of_plugin("jwt_skip_user_expiration", Bool, "false", "true")
        .help("Whether tokens whose time is over are accepted.")
        .kept_by("auth_jwt", "expiry", By(|said| Ok((said == "true").then(|| "ignore".into())))),
    of_plugin("jwt_skip_acl_expiration", Bool, "false", "true")
        .help("Whether somebody who is in keeps its rights when its token's time is over.")
        .kept_by("auth_jwt", "expiry", By(|said| Ok((said == "true").then(|| "stay".into())))),
    of_plugin("jwt_parse_token", Bool, "false", "true")
        .help("Whether the broker reads the tokens, too.")
        .no_effect("it reads them in any case"),
    of_plugin("jwt_files_acl_path", Text, "", "/etc/mosquitto/acls")
        .help("With `jwt_mode files`: what the bearers of tokens may do.")
        .kept("listener", "acl_file"),
    of_plugin("jwt_acl_path", Text, "", "/etc/mosquitto/acls")
        .help("Another name of `jwt_files_acl_path`.")
        .kept("listener", "acl_file"),
    of_plugin("hasher", Text, "", "pbkdf2").help("How passwords are hashed.").no_effect(HASH_SAYS),
    of_plugin("hasher_algorithm", Text, "", "sha512")
        .help("The hash that PBKDF2 is made of.")
        .no_effect(HASH_SAYS),
    of_plugin("hasher_iterations", Text, "", "100000")
        .help("How many rounds PBKDF2 takes.")
        .no_effect(HASH_SAYS),
    of_plugin("hasher_keylen", Text, "", "64")
        .help("How many bytes a hash has.")
        .no_effect(HASH_SAYS),
    of_plugin("hasher_salt_size", Text, "", "16")
        .help("How many bytes a salt has.")
        .no_effect(HASH_SAYS),
    of_plugin("cache", Text, "", "true")
        .help("Whether answers of the back ends are remembered.")
        .no_effect(NOTHING_SLOW),
    of_plugin("cache_type", Text, "", "go-cache")
        .help("Where answers are remembered.")
        .no_effect(NOTHING_SLOW),
    of_plugin("cache_reset", Text, "", "true")
        .help("Whether they are forgotten at start.")
        .no_effect(NOTHING_SLOW),
    of_plugin("auth_cache_seconds", Text, "", "30")
        .help("Seconds that a login is remembered.")
        .no_effect(NOTHING_SLOW),
    of_plugin("acl_cache_seconds", Text, "", "30")
        .help("Seconds that a right is remembered.")
        .no_effect(NOTHING_SLOW),
    of_plugin("auth_jitter_seconds", Text, "", "3")
        .help("Seconds more or less that a login is remembered.")
        .no_effect(NOTHING_SLOW),
    of_plugin("acl_jitter_seconds", Text, "", "3")
        .help("Seconds more or less that a right is remembered.")
        .no_effect(NOTHING_SLOW),
    of_plugin("log_level", Text, "", "debug")
        .help("What the plug-in logs.")
        .no_effect("failed logins stand in the broker's own log"),
];

const HASH_SAYS: &str = "each hash says how it was made";
const NOTHING_SLOW: &str = "rights are looked up in memory";

/// `files, http`, if these are back ends that Martlet has.
fn backends(said: &str) -> Result<Option<String>, String> {
    let mut words = said.split(',').map(str::trim);
    match words.find(|word| !BACKENDS.contains(word)) {
        Some(other) => Err(format!(
            "names {other:?}, and Martlet has {}: keep the users in a file",
            BACKENDS.join(" and ")
        )),
        None => Ok(Some(said.to_owned())),
    }
}

/// Tokens come as user names, whatever the mode.
fn jwt_mode(said: &str) -> Result<Option<String>, String> {
    match said {
        "files" => Ok(Some("user_name".to_owned())),
        "local" => Err("\"local\" looks users up in a database, and Martlet asks none: write \
                        `files`, and their rights in a file"
            .to_owned()),
        "js" => Err("\"js\" runs scripts, and Martlet runs none: write `files`".to_owned()),
        _ => Err(format!("takes files, not {said:?}")),
    }
}

fn jwt_user_field(said: &str) -> Result<Option<String>, String> {
    Ok(Some(if said == "Username" { "username" } else { "sub" }.to_owned()))
}
