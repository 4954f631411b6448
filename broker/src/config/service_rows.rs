//! The options of the services that are asked who may: `[auth_http]`, and `[auth_jwt]` where
//! somebody else reads the tokens.

use crate::config::rows::Row;
use crate::config::value::{Kind, bool, integer, text};

const TEXT: Kind = Kind::Text { bytes_max: 1024 };

/// The rows of the service that is given names and passwords, and of what holds for both.
pub(super) const HTTP: &[Row] = &[
    Row {
        section: "auth_http",
        name: "host",
        kind: TEXT,
        default: None,
        mosquitto: Some("auth_opt_http_host"),
        help: "Name or address of the service.",
    },
    Row {
        section: "auth_http",
        name: "port",
        kind: Kind::Integer { min: 1, max: 65_535 },
        default: integer(80),
        mosquitto: Some("auth_opt_http_port"),
        help: "The port of the service.",
    },
    Row {
        section: "auth_http",
        name: "with_tls",
        kind: Kind::Bool,
        default: bool(false),
        mosquitto: Some("auth_opt_http_with_tls"),
        help: "Whether it speaks TLS.",
    },
    Row {
        section: "auth_http",
        name: "verify_peer",
        kind: Kind::Bool,
        default: bool(true),
        mosquitto: Some("auth_opt_http_verify_peer"),
        help: "Whether its certificate must be good for `host`. With `false` whoever answers in \
               its place is believed, and learns the passwords.",
    },
    Row {
        section: "auth_http",
        name: "ca_file",
        kind: Kind::Path,
        default: None,
        mosquitto: None,
        help: "Certificates of those who sign good certificates, in PEM. Left out: those whom the \
               system trusts.",
    },
    Row {
        section: "auth_http",
        name: "getuser_uri",
        kind: TEXT,
        default: None,
        mosquitto: Some("auth_opt_http_getuser_uri"),
        help: "The path where it is asked whether a user may come in.",
    },
    Row {
        section: "auth_http",
        name: "superuser_uri",
        kind: TEXT,
        default: None,
        mosquitto: Some("auth_opt_http_superuser_uri"),
        help: "The path where it is asked whether a user may do everything. Left out: nobody may.",
    },
    Row {
        section: "auth_http",
        name: "aclcheck_uri",
        kind: TEXT,
        default: None,
        mosquitto: Some("auth_opt_http_aclcheck_uri"),
        help: "The path where it is asked whether a user may publish or subscribe.",
    },
    Row {
        section: "auth_http",
        name: "method",
        kind: Kind::Choice(&["POST", "PUT", "GET"]),
        default: text("POST"),
        mosquitto: Some("auth_opt_http_method"),
        help: "The method of its requests.",
    },
    Row {
        section: "auth_http",
        name: "params_mode",
        kind: Kind::Choice(&["json", "form"]),
        default: text("json"),
        mosquitto: Some("auth_opt_http_params_mode"),
        help: "What a question is: a JSON object, or a form.",
    },
    Row {
        section: "auth_http",
        name: "response_mode",
        kind: Kind::Choice(&["status", "json", "text"]),
        default: text("status"),
        mosquitto: Some("auth_opt_http_response_mode"),
        help: "What an answer is. `status`: 200 to 299 is yes. `json`: and the body is `{\"ok\": \
               true}`. `text`: and the body is `ok`. 400 to 499 is no; anything else is no \
               answer.",
    },
    Row {
        section: "auth_http",
        name: "timeout_s",
        kind: Kind::Integer { min: 1, max: 60 },
        default: integer(5),
        mosquitto: Some("auth_opt_http_timeout"),
        help: "Seconds that an answer may take. Beyond them there is none, and what was asked for \
               is refused.",
    },
    Row {
        section: "auth_http",
        name: "user_agent",
        kind: TEXT,
        default: text("martlet"),
        mosquitto: Some("auth_opt_http_user_agent"),
        help: "The header `User-Agent`.",
    },
    Row {
        section: "auth_http",
        name: "login_cache_s",
        kind: Kind::Integer { min: 0, max: 86_400 },
        default: integer(30),
        mosquitto: Some("auth_opt_auth_cache_seconds"),
        help: "Seconds for which it is remembered who may come in, and who may not. 0: not at \
               all. A reload forgets all answers.",
    },
    Row {
        section: "auth_http",
        name: "login_cache_jitter_s",
        kind: Kind::Integer { min: 0, max: 3600 },
        default: integer(0),
        mosquitto: Some("auth_opt_auth_jitter_seconds"),
        help: "Seconds by which that may be more or less, drawn for each answer, so that not all \
               is asked again at once.",
    },
    Row {
        section: "auth_http",
        name: "right_cache_s",
        kind: Kind::Integer { min: 0, max: 86_400 },
        default: integer(30),
        mosquitto: Some("auth_opt_acl_cache_seconds"),
        help: "Seconds for which it is remembered who may publish and subscribe, and who may do \
               everything. 0: every message is asked about.",
    },
    Row {
        section: "auth_http",
        name: "right_cache_jitter_s",
        kind: Kind::Integer { min: 0, max: 3600 },
        default: integer(0),
        mosquitto: Some("auth_opt_acl_jitter_seconds"),
        help: "Seconds by which that may be more or less.",
    },
    Row {
        section: "auth_http",
        name: "questions_max",
        kind: Kind::Integer { min: 1, max: 1024 },
        default: integer(8),
        mosquitto: None,
        help: "Questions to all services at a time. At the bound: the others wait their turn, and \
               their clients with them; nobody else does.",
    },
    Row {
        section: "auth_http",
        name: "ask_read",
        kind: Kind::Bool,
        default: bool(true),
        mosquitto: None,
        help: "Whether a subscription needs a yes to receiving (`acc` 1) besides that to \
               subscribing (`acc` 4), both asked about its filter. Nobody is asked about single \
               messages on their way to a subscriber.",
    },
    Row {
        section: "auth_http",
        name: "deny_special_chars",
        kind: Kind::Bool,
        default: bool(true),
        mosquitto: Some("auth_plugin_deny_special_chars"),
        help: "Whether nobody is asked about clients whose id or user name has `+` or `#` in it, \
               and they get nothing but what the ACL file gives them.",
    },
];

/// The rows of the service that is given tokens.
pub(super) const JWT: &[Row] = &[
    Row {
        section: "auth_jwt",
        name: "remote_host",
        kind: TEXT,
        default: None,
        mosquitto: Some("auth_opt_jwt_host"),
        help: "Name or address of the service that reads tokens.",
    },
    Row {
        section: "auth_jwt",
        name: "remote_port",
        kind: Kind::Integer { min: 1, max: 65_535 },
        default: integer(80),
        mosquitto: Some("auth_opt_jwt_port"),
        help: "The port of the service.",
    },
    Row {
        section: "auth_jwt",
        name: "remote_with_tls",
        kind: Kind::Bool,
        default: bool(false),
        mosquitto: Some("auth_opt_jwt_with_tls"),
        help: "Whether it speaks TLS.",
    },
    Row {
        section: "auth_jwt",
        name: "remote_verify_peer",
        kind: Kind::Bool,
        default: bool(true),
        mosquitto: Some("auth_opt_jwt_verify_peer"),
        help: "Whether its certificate must be good for `host`. With `false` whoever answers in \
               its place is believed, and learns the passwords.",
    },
    Row {
        section: "auth_jwt",
        name: "remote_ca_file",
        kind: Kind::Path,
        default: None,
        mosquitto: None,
        help: "Certificates of those who sign good certificates, in PEM. Left out: those whom the \
               system trusts.",
    },
    Row {
        section: "auth_jwt",
        name: "remote_getuser_uri",
        kind: TEXT,
        default: None,
        mosquitto: Some("auth_opt_jwt_getuser_uri"),
        help: "The path where it is asked whether a user may come in.",
    },
    Row {
        section: "auth_jwt",
        name: "remote_superuser_uri",
        kind: TEXT,
        default: None,
        mosquitto: Some("auth_opt_jwt_superuser_uri"),
        help: "The path where it is asked whether a user may do everything. Left out: nobody may.",
    },
    Row {
        section: "auth_jwt",
        name: "remote_aclcheck_uri",
        kind: TEXT,
        default: None,
        mosquitto: Some("auth_opt_jwt_aclcheck_uri"),
        help: "The path where it is asked whether a user may publish or subscribe.",
    },
    Row {
        section: "auth_jwt",
        name: "remote_method",
        kind: Kind::Choice(&["POST", "PUT", "GET"]),
        default: text("POST"),
        mosquitto: Some("auth_opt_jwt_http_method"),
        help: "The method of its requests.",
    },
    Row {
        section: "auth_jwt",
        name: "remote_params_mode",
        kind: Kind::Choice(&["json", "form"]),
        default: text("json"),
        mosquitto: Some("auth_opt_jwt_params_mode"),
        help: "What a question is: a JSON object, or a form.",
    },
    Row {
        section: "auth_jwt",
        name: "remote_response_mode",
        kind: Kind::Choice(&["status", "json", "text"]),
        default: text("status"),
        mosquitto: Some("auth_opt_jwt_response_mode"),
        help: "What an answer is. `status`: 200 to 299 is yes. `json`: and the body is `{\"ok\": \
               true}`. `text`: and the body is `ok`. 400 to 499 is no; anything else is no \
               answer.",
    },
    Row {
        section: "auth_jwt",
        name: "remote_timeout_s",
        kind: Kind::Integer { min: 1, max: 60 },
        default: integer(5),
        mosquitto: Some("auth_opt_jwt_http_timeout"),
        help: "Seconds that an answer may take. Beyond them there is none, and what was asked for \
               is refused.",
    },
    Row {
        section: "auth_jwt",
        name: "remote_user_agent",
        kind: TEXT,
        default: text("martlet"),
        mosquitto: Some("auth_opt_jwt_user_agent"),
        help: "The header `User-Agent`.",
    },
];
