//! The options of `[access]`, what a listener says of who is asked, and tokens.

use crate::config::rows::{LISTENER, Row};
use crate::config::value::{Kind, bool, integer, text};

/// Who may be asked, as `backends` names them.
pub(crate) const BACKENDS: &[&str] = &["files", "jwt", "http"];

const TEXT: Kind = Kind::Text { bytes_max: 1024 };

/// The rows.
pub(super) const ROWS: &[Row] = &[
    Row {
        section: LISTENER,
        name: "backends",
        kind: Kind::Words(BACKENDS),
        default: None,
        mosquitto: Some("auth_opt_backends"),
        help: "`access.backends` for this listener.",
    },
    Row {
        section: LISTENER,
        name: "acl_dialect",
        kind: Kind::Choice(&["mosquitto", "go-auth"]),
        default: text("mosquitto"),
        mosquitto: None,
        help: "How the ACL file is read. `go-auth`: as mosquitto-go-auth reads it, where lines \
               above the first `user` are for everybody, and `deny` counts before all else.",
    },
    Row {
        section: LISTENER,
        name: "acl_file_decides",
        kind: Kind::Bool,
        default: bool(false),
        mosquitto: None,
        help: "Whether the ACL file alone says what clients may do, and services that are asked \
               who comes in are not asked about that.",
    },
    Row {
        section: "access",
        name: "password_file",
        kind: Kind::Path,
        default: None,
        mosquitto: Some("password_file"),
        help: "User names and hashed passwords, as `martlet passwd` and every `mosquitto_passwd` \
               write them. Left out: there are no users, and only `allow_anonymous` lets anybody \
               in.",
    },
    Row {
        section: "access",
        name: "acl_file",
        kind: Kind::Path,
        default: None,
        mosquitto: Some("acl_file"),
        help: "Who may publish and receive which topics, as mosquitto reads it. Left out: all may \
               do everything.",
    },
    Row {
        section: "access",
        name: "backends",
        kind: Kind::Words(BACKENDS),
        default: text("files"),
        mosquitto: Some("auth_opt_backends"),
        help: "Who knows users and their rights: `files` are `password_file` and `acl_file`, `jwt` \
               takes tokens (`[auth_jwt]`), `http` asks a service (`[auth_http]`). Who is known \
               to one of them comes in, and what one of them allows is allowed. Without `files` \
               nobody comes in by the password file.",
    },
    Row {
        section: "access",
        name: "subscribe",
        kind: Kind::Choice(&["compat", "strict"]),
        default: text("compat"),
        mosquitto: None,
        help: "What a client gets that subscribes to more than it may receive. `compat`: the \
               subscription, and of its messages those that it may receive, as with mosquitto. \
               `strict`: SUBACK 0x80, unless one line of the ACL file covers the filter.",
    },
    Row {
        section: "access",
        name: "client_id_prefix",
        kind: Kind::Text { bytes_max: 1024 },
        default: None,
        mosquitto: Some("clientid_prefixes"),
        help: "What every client id must begin with; other clients are refused.",
    },
    Row {
        section: "access",
        name: "ban_after",
        kind: Kind::Integer { min: 0, max: 1_000_000 },
        default: integer(0),
        mosquitto: None,
        help: "Failed logins of one address within a minute after which it is banned. 0: never.",
    },
    Row {
        section: "access",
        name: "ban_s",
        kind: Kind::Integer { min: 1, max: 31_536_000 },
        default: integer(300),
        mosquitto: None,
        help: "Seconds that a ban holds. Connections of a banned address are closed at once.",
    },
    Row {
        section: "auth_jwt",
        name: "mode",
        kind: Kind::Choice(&["local", "remote"]),
        default: text("local"),
        mosquitto: Some("auth_opt_jwt_mode"),
        help: "`local`: the broker checks tokens itself, with the keys below. `remote`: a service \
               does, and says what their bearers may do; the options that begin with `remote_` \
               tell where it is, and the others of this section have no effect.",
    },
    Row {
        section: "auth_jwt",
        name: "key_file",
        kind: Kind::Path,
        default: None,
        mosquitto: None,
        help: "Public keys that tokens are checked with: `PUBLIC KEY` sections of PEM, or a JSON \
               Web Key (Set). RSA of at least 2048 bits (RS256 to RS512, PS256 to PS512), P-256 \
               (ES256), P-384 (ES384), Ed25519 (EdDSA), and in JSON secrets (`oct`). Each key \
               checks its own algorithms and no other.",
    },
    Row {
        section: "auth_jwt",
        name: "secret_file",
        kind: Kind::Path,
        default: None,
        mosquitto: None,
        help: "A file with the secret of HS256, HS384 and HS512 tokens, of at least 32 bytes; an \
               end of line behind it does not belong to it.",
    },
    Row {
        section: "auth_jwt",
        name: "secret",
        kind: Kind::Secret { bytes_max: 4096 },
        default: None,
        mosquitto: None,
        help: "That secret itself. A file of its own can be kept from more eyes. `martlet config \
               show` hides it.",
    },
    Row {
        section: "auth_jwt",
        name: "place",
        kind: Kind::Choice(&["password", "user_name"]),
        default: text("password"),
        mosquitto: None,
        help: "Where a client puts its token. In either case its user name is what the token says, \
               and the other field is not looked at.",
    },
    Row {
        section: "auth_jwt",
        name: "user_claim",
        kind: TEXT,
        default: text("sub"),
        mosquitto: None,
        help: "The claim with the user name; `a.b` is `b` inside of `a`. A token without it is \
               refused.",
    },
    Row {
        section: "auth_jwt",
        name: "publish_claim",
        kind: TEXT,
        default: text("publish"),
        mosquitto: None,
        help: "The claim with the topic filters that the bearer may publish to: a text or a list, \
               with `%c` for the client id and `%u` for the user. Where a token has neither this \
               claim nor that of `subscribe_claim`, the ACL file decides; where it has one, the \
               token alone.",
    },
    Row {
        section: "auth_jwt",
        name: "subscribe_claim",
        kind: TEXT,
        default: text("subscribe"),
        mosquitto: None,
        help: "The same for what the bearer may receive.",
    },
    Row {
        section: "auth_jwt",
        name: "issuer",
        kind: TEXT,
        default: None,
        mosquitto: None,
        help: "What a token's `iss` must be. Left out: anything, or nothing.",
    },
    Row {
        section: "auth_jwt",
        name: "audience",
        kind: TEXT,
        default: None,
        mosquitto: None,
        help: "What a token's `aud` must be or contain. Left out: anything, or nothing; say it \
               where the same keys sign tokens for others.",
    },
    Row {
        section: "auth_jwt",
        name: "leeway_s",
        kind: Kind::Integer { min: 0, max: 3600 },
        default: integer(30),
        mosquitto: None,
        help: "Seconds by which the clock of the issuer may differ: `nbf` counts so much earlier, \
               `exp` so much later.",
    },
    Row {
        section: "auth_jwt",
        name: "expiry",
        kind: Kind::Choice(&["close", "stay", "ignore"]),
        default: text("close"),
        mosquitto: None,
        help: "What a token's `exp` means. `close`: nobody comes in with it any more, and who came \
               in with it is disconnected. `stay`: nobody comes in with it any more. `ignore`: \
               nothing. A token without `exp` has no end.",
    },
];
