//! What may stand behind mosquitto-go-auth. Its files are mosquitto's but for the hashes of
//! passwords, which Martlet reads too.

use crate::config::access_rows::BACKENDS;
use crate::config::mosquitto::row::How::By;
use crate::config::mosquitto::row::Kind::{Bool, Integer, Text, Word};
use crate::config::mosquitto::row::{Kind, Row, of_plugin};

/// The rows.
pub(super) const ROWS: &[Row] = &[
    of_plugin("backends", Text, "files", "files, http, jwt")
        .help("Whom to ask, in this order.")
        .kept_by("listener", "backends", By(backends)),
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
        .kept_by("auth_jwt", "mode", By(jwt_mode)),
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
        .help("Whether the broker reads tokens that a service is asked about.")
        .no_effect("with `files` it reads them in any case, with `remote` the service does"),
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
    of_plugin("http_host", Text, "", "127.0.0.1")
        .help("Name or address of the service that is asked.")
        .kept("auth_http", "host"),
    of_plugin("http_port", PORT, "", "80")
        .help("The port of the service.")
        .kept("auth_http", "port"),
    of_plugin("http_getuser_uri", Text, "", "/authentication")
        .help("Where it is asked whether a user may come in.")
        .kept("auth_http", "getuser_uri"),
    of_plugin("http_superuser_uri", Text, "", "/superuser")
        .help("Where it is asked whether a user may do everything.")
        .kept("auth_http", "superuser_uri"),
    of_plugin("http_aclcheck_uri", Text, "", "/acl")
        .help("Where it is asked whether a user may do something.")
        .kept("auth_http", "aclcheck_uri"),
    of_plugin("http_with_tls", Bool, "false", "true")
        .help("Whether it speaks TLS.")
        .kept("auth_http", "with_tls"),
    of_plugin("http_verify_peer", Bool, "false", "true")
        .help("Whether its certificate is looked at.")
        .kept("auth_http", "verify_peer"),
    of_plugin("http_params_mode", Word(&["json", "form"]), "json", "form")
        .help("What a question is.")
        .kept("auth_http", "params_mode"),
    of_plugin("http_response_mode", RESPONSE, "status", "json")
        .help("What an answer is.")
        .kept("auth_http", "response_mode"),
    of_plugin("http_method", METHOD, "POST", "PUT")
        .help("How it is asked.")
        .kept("auth_http", "method"),
    of_plugin("http_timeout", TIMEOUT, "5", "10")
        .help("Seconds that an answer may take.")
        .kept("auth_http", "timeout_s"),
    of_plugin("http_user_agent", Text, "mosquitto", "broker")
        .help("The header `User-Agent`.")
        .kept("auth_http", "user_agent"),
    of_plugin("jwt_host", Text, "", "tokens.example")
        .help("With `jwt_mode remote`: name or address of the service that reads tokens.")
        .kept("auth_jwt", "remote_host"),
    of_plugin("jwt_port", PORT, "", "3000")
        .help("The port of the service.")
        .kept("auth_jwt", "remote_port"),
    of_plugin("jwt_getuser_uri", Text, "", "/user")
        .help("Where it is asked whether a bearer may come in.")
        .kept("auth_jwt", "remote_getuser_uri"),
    of_plugin("jwt_superuser_uri", Text, "", "/superuser")
        .help("Where it is asked whether a bearer may do everything.")
        .kept("auth_jwt", "remote_superuser_uri"),
    of_plugin("jwt_aclcheck_uri", Text, "", "/acl")
        .help("Where it is asked whether a bearer may do something.")
        .kept("auth_jwt", "remote_aclcheck_uri"),
    of_plugin("jwt_with_tls", Bool, "false", "true")
        .help("Whether it speaks TLS.")
        .kept("auth_jwt", "remote_with_tls"),
    of_plugin("jwt_verify_peer", Bool, "false", "true")
        .help("Whether its certificate is looked at.")
        .kept("auth_jwt", "remote_verify_peer"),
    of_plugin("jwt_params_mode", Word(&["json", "form"]), "json", "form")
        .help("What a question is.")
        .kept("auth_jwt", "remote_params_mode"),
    of_plugin("jwt_response_mode", RESPONSE, "status", "json")
        .help("What an answer is.")
        .kept("auth_jwt", "remote_response_mode"),
    of_plugin("jwt_http_method", METHOD, "POST", "PUT")
        .help("How it is asked.")
        .kept("auth_jwt", "remote_method"),
    of_plugin("jwt_http_timeout", TIMEOUT, "5", "10")
        .help("Seconds that an answer may take.")
        .kept("auth_jwt", "remote_timeout_s"),
    of_plugin("jwt_user_agent", Text, "mosquitto", "broker")
        .help("The header `User-Agent`.")
        .kept("auth_jwt", "remote_user_agent"),
    of_plugin("disable_superuser", Bool, "false", "true")
        .help("Whether nobody is asked who may do everything.")
        .shape("`true` leaves `superuser_uri` out."),
    of_plugin("cache", Bool, "false", "true")
        .help("Whether answers of the back ends are remembered.")
        .shape("`false` sets `login_cache_s` and `right_cache_s` of `[auth_http]` to 0."),
    of_plugin("auth_cache_seconds", SECONDS, "30", "300")
        .help("Seconds that a login is remembered.")
        .kept("auth_http", "login_cache_s"),
    of_plugin("acl_cache_seconds", SECONDS, "30", "300")
        .help("Seconds that a right is remembered.")
        .kept("auth_http", "right_cache_s"),
    of_plugin("auth_jitter_seconds", SECONDS, "0", "30")
        .help("Seconds more or less that a login is remembered.")
        .kept("auth_http", "login_cache_jitter_s"),
    of_plugin("acl_jitter_seconds", SECONDS, "0", "30")
        .help("Seconds more or less that a right is remembered.")
        .kept("auth_http", "right_cache_jitter_s"),
    of_plugin("cache_type", Text, "go-cache", "go-store")
        .help("Where answers are remembered.")
        .no_effect("they are remembered in the broker's own memory"),
    of_plugin("cache_reset", Bool, "false", "true")
        .help("Whether they are forgotten at start.")
        .no_effect("they are forgotten in any case"),
    of_plugin("cache_refresh", Bool, "false", "true")
        .help("Whether an answer that is used counts longer.")
        .refused("an answer would count for ever where it is used often", "leave the line out"),
    of_plugin("retry_count", Integer { min: 0, max: 100 }, "0", "2")
        .help("How often a back end is asked again that fails.")
        .no_effect("the client comes again, and is asked about anew"),
    of_plugin("log_dest", Text, "stderr", "file")
        .help("Where the plug-in logs to.")
        .no_effect("the broker's own log has it all"),
    of_plugin("log_file", Text, "", "/var/log/mosquitto/go-auth.log")
        .help("The file for `log_dest file`.")
        .no_effect("the broker's own log has it all"),
    of_plugin("log_level", Text, "", "debug")
        .help("What the plug-in logs.")
        .no_effect("failed logins stand in the broker's own log"),
];

const HASH_SAYS: &str = "each hash says how it was made";

const PORT: Kind = Integer { min: 1, max: u16::MAX as i64 };
const SECONDS: Kind = Integer { min: 0, max: i32::MAX as i64 };
const TIMEOUT: Kind = Integer { min: 1, max: i32::MAX as i64 };
const RESPONSE: Kind = Word(&["status", "json", "text"]);
const METHOD: Kind = Word(&["POST", "PUT", "GET"]);

/// `files, http`, if these are back ends that Martlet has.
fn backends(said: &str) -> Result<Option<String>, String> {
    let mut words = said.split(',').map(str::trim);
    match words.find(|word| !BACKENDS.contains(word)) {
        Some(other) => Err(format!(
            "names {other:?}, and Martlet has {}: keep the users in a file",
            BACKENDS.join(", ")
        )),
        None => Ok(Some(said.to_owned())),
    }
}

fn jwt_mode(said: &str) -> Result<Option<String>, String> {
    match said {
        "files" => Ok(Some("local".to_owned())),
        "remote" => Ok(Some("remote".to_owned())),
        "local" => Err("\"local\" looks users up in a database, and Martlet asks none: write \
                        `files`, and their rights in a file"
            .to_owned()),
        "js" => Err("\"js\" runs scripts, and Martlet runs none: write `files`".to_owned()),
        _ => Err(format!("takes files or remote, not {said:?}")),
    }
}

fn jwt_user_field(said: &str) -> Result<Option<String>, String> {
    Ok(Some(if said == "Username" { "username" } else { "sub" }.to_owned()))
}
