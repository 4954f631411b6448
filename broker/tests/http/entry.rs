//! Who is let in, and to what.

use std::path::Path;
use std::sync::Arc;

use base64ct::{Base64UrlUnpadded, Encoding};
use martlet::access::hash::Scheme;
use martlet::access::jwt::{self, Expiry, Place, Secret};
use martlet::access::tokens::{self, Tokens};
use martlet::access::{self, Policy, edit, guard};
use martlet::http::Keys;
use martlet::server;
use ring::hmac;
use serde_json::json;

use crate::client::{Fields, Lines};
use crate::running::{self, Running};
use crate::{open, policy, window};

const BASIC_ANN: (&str, &str) = ("Authorization", "Basic YW5uOnNlY3JldA==");
const BASIC_WRONG: (&str, &str) = ("Authorization", "Basic YW5uOndyb25n");

/// A password file with the user `ann`, whose password is `secret`.
fn ann() -> String {
    let hash = edit::hash(Scheme::Sha512, b"secret").expect("entropy");
    format!("ann:{hash}\n")
}

#[test]
fn without_credentials_only_what_says_nothing_is_shown() {
    let settings = server::Settings {
        window: Some(window(policy(false, Some(&ann()), None), Keys::default())),
        ..running::settings()
    };
    let broker = Running::start(settings);
    let mut http = open(&broker);
    for path in ["/", "/spec", "/spec/try", "/healthz", "/readyz", "/assets/dashboard.css"] {
        assert_eq!(http.get(path).status, 200, "{path}");
    }
    for path in ["/metrics", "/stats", "/clients", "/realtime/a"] {
        let answer = http.get(path);
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.header("www-authenticate").is_some_and(|c| c.starts_with("Basic realm=")));
        assert_eq!(http.ask(&format!("GET {path}"), &[BASIC_WRONG], b"").status, 401, "{path}");
    }
    assert_eq!(http.ask("GET /metrics", &[BASIC_ANN], b"").status, 200);
    let proxied = [("Host", "broker.example"), BASIC_ANN];
    assert_eq!(http.ask("GET /metrics", &proxied, b"").status, 200, "it is she, wherever");
    let refused = broker.log().with("Client <http> (u'ann') [127.0.0.1:");
    assert_eq!(refused.len(), 4, "{refused:?}");
    assert!(refused[0].contains("] refused: not authorised, wrong password."), "{refused:?}");
    let numbers = broker.driver().numbers();
    assert_eq!(numbers.counters.traffic.logins_failed, 4);
    let stats = http.ask("GET /stats", &[BASIC_ANN], b"").json();
    assert_eq!(stats["http"]["unauthorised"], 8);
}

#[test]
fn a_token_is_a_user_and_the_acl_file_is_theirs() {
    let (ann, ann_line) = tokens::make("ann").expect("entropy");
    let (eve, eve_line) = tokens::make("eve").expect("entropy");
    let text = format!("{ann_line}\n{eve_line}\n");
    let tokens = Some(Tokens::parse(Path::new("tokens"), &text).expect("good lines"));
    let acl = "user eve\ntopic read a/b\ntopic write e\n";
    let keys = Keys { tokens, admins: vec!["ann".into()], origins: Vec::new() };
    let settings = server::Settings {
        window: Some(window(policy(false, None, Some(acl)), keys)),
        ..running::settings()
    };
    let broker = Running::start(settings);
    let (ann, eve) = (format!("Bearer {ann}"), format!("bearer {eve}"));
    let rows: &[(&str, &str, u16)] = &[
        (&ann, "POST /push/anything", 200),
        (&ann, "GET /clients", 200),
        (&ann, "GET /metrics", 200),
        (&eve, "POST /push/e", 200),
        (&eve, "POST /push/a/b", 403),
        (&eve, "GET /clients", 403),
        (&eve, "GET /metrics", 403),
        ("Bearer nobody", "GET /clients", 401),
        ("Bearer", "GET /clients", 401),
        ("Digest x", "GET /clients", 401),
        ("Basic !", "GET /clients", 400),
    ];
    let mut http = open(&broker);
    for (credentials, line, status) in rows {
        let body: &[u8] = if line.starts_with("POST") { b"x" } else { b"" };
        let answer = http.ask(line, &[("Authorization", credentials)], body);
        assert_eq!(answer.status, *status, "{credentials} {line}: {}", answer.text());
    }
    // A tail brings what the user may receive, and nothing else.
    let headers = [("Authorization", eve.as_str()), ("Accept", "application/x-ndjson")];
    let mut tail = Lines::of(open(&broker), "/realtime/a/%23", &headers);
    for topic in ["a/c", "a/b"] {
        http.ask(&format!("POST /push/{topic}"), &[("Authorization", &ann)], b"x");
    }
    assert_eq!(tail.json()["topic"], "a/b");
    assert_eq!(broker.log().with("unknown token").len(), 2);
}

/// Where nobody keeps users, anybody can call themselves an admin.
#[test]
fn a_name_that_nobody_checks_is_no_admins() {
    let keys = Keys { admins: vec!["ann".into()], ..Keys::default() };
    let settings = server::Settings {
        window: Some(window(policy(true, None, None), keys)),
        ..running::settings()
    };
    let broker = Running::start(settings);
    assert_eq!(open(&broker).ask("GET /clients", &[BASIC_ANN], b"").status, 403);
}

/// Whoever has connections in store gains nothing by them; who is in stays in.
#[test]
fn a_ban_holds_for_connections_that_are_open_already() {
    let limits =
        guard::Limits { failures_max: 3, window_ms: 60_000, ban_ms: 60_000, connects_per_s: 0 };
    let settings = server::Settings {
        window: Some(window(policy(false, Some(&ann()), None), Keys::default())),
        guard: limits,
        ..running::settings()
    };
    let broker = Running::start(settings);
    let [mut guesser, mut early, mut known] = [(); 3].map(|()| open(&broker));
    assert_eq!(known.ask("GET /stats", &[BASIC_ANN], b"").status, 200);
    assert_eq!(early.get("/healthz").status, 200, "it is accepted");
    for status in [401, 401, 429] {
        assert_eq!(guesser.ask("GET /stats", &[BASIC_WRONG], b"").status, status);
    }
    assert_eq!(early.ask("GET /stats", &[BASIC_ANN], b"").status, 429, "right or not");
    assert!(early.is_closed());
    assert_eq!(known.ask("GET /stats", &[BASIC_ANN], b"").status, 200);
    assert_eq!(known.ask("GET /stats", &[BASIC_WRONG], b"").status, 429);
    let traffic = broker.driver().numbers().counters.traffic;
    assert_eq!((traffic.turned_away, traffic.logins_failed), (2, 3));
}

#[test]
fn failed_logins_ban_an_address() {
    let limits =
        guard::Limits { failures_max: 3, window_ms: 60_000, ban_ms: 60_000, connects_per_s: 0 };
    let settings = server::Settings {
        window: Some(window(policy(false, Some(&ann()), None), Keys::default())),
        guard: limits,
        ..running::settings()
    };
    let broker = Running::start(settings);
    let mut http = open(&broker);
    for status in [401, 401, 429] {
        assert_eq!(http.ask("GET /stats", &[BASIC_WRONG], b"").status, status);
    }
    assert!(http.is_closed());
    let mut later = open(&broker);
    later.send("GET /healthz", &[], b"");
    assert!(later.is_closed(), "banned: closed before it can say anything");
    assert_eq!(broker.driver().numbers().counters.traffic.turned_away, 1);
}

#[test]
fn pages_of_others_are_kept_out() {
    let keys = Keys { origins: vec!["https://wall.example".into()], ..Keys::default() };
    let settings =
        server::Settings { window: Some(window(running::open(), keys)), ..running::settings() };
    let broker = Running::start(settings);
    let own = format!("http://{}", broker.window());
    let rows: &[(&str, Fields<'_>, u16, &str)] = &[
        ("GET /stats", &[("Origin", &own)], 200, ""),
        ("GET /stats", &[("Origin", "https://evil.example")], 403, "http.origins"),
        ("POST /push/t", &[("Origin", "https://evil.example")], 403, "http.origins"),
        ("POST /push/t", &[("Origin", "null")], 403, "http.origins"),
        ("GET /stats", &[("Origin", "https://wall.example")], 200, ""),
        ("OPTIONS /push/t", &[("Origin", "https://wall.example")], 204, ""),
        // A name that leads here is not enough: anybody may have such a name.
        ("GET /stats", &[("Host", "evil.example")], 421, "http.origins"),
        // Nor are credentials that nobody checks: the page makes them up.
        ("GET /stats", &[("Host", "evil.example"), BASIC_ANN], 421, "http.origins"),
        (
            "POST /push/t",
            &[("Host", "evil.example"), ("Origin", "http://evil.example"), BASIC_ANN],
            421,
            "http.origins",
        ),
        ("GET /stats", &[BASIC_ANN], 200, ""),
        ("GET /stats", &[("Host", "wall.example"), BASIC_ANN], 200, ""),
        ("GET /stats", &[("Host", "wall.example")], 200, ""),
        ("GET /stats", &[("Host", "localhost:1")], 200, ""),
        ("GET /healthz", &[("Host", "evil.example")], 200, ""),
    ];
    for (line, headers, status, part) in rows {
        let answer = open(&broker).ask(line, headers, b"");
        assert_eq!(answer.status, *status, "{line} {headers:?}: {}", answer.text());
        assert!(answer.text().contains(part), "{line} {headers:?}: {}", answer.text());
        let granted = headers.contains(&("Origin", "https://wall.example"));
        assert_eq!(answer.header("access-control-allow-origin").is_some(), granted, "{headers:?}");
    }
    assert_eq!(open(&broker).get("/stats").json()["http"]["forbidden"], json!(6));
    // What was decided before for a connection was so for another name.
    let mut http = open(&broker);
    for (host, status) in [("localhost", 200), ("evil.example", 421)] {
        let answer = http.ask("GET /stats", &[("Host", host), BASIC_ANN], b"");
        assert_eq!(answer.status, status, "{host}");
    }
}

/// Among users who are checked, who names none has proven nothing.
#[test]
fn anonymous_clients_beside_users_are_kept_from_other_names_too() {
    let settings = server::Settings {
        window: Some(window(policy(true, Some(&ann()), None), Keys::default())),
        ..running::settings()
    };
    let broker = Running::start(settings);
    let evil = ("Host", "evil.example");
    let rows: &[(Fields<'_>, u16)] =
        &[(&[], 200), (&[evil], 421), (&[evil, BASIC_ANN], 200), (&[evil, BASIC_WRONG], 401)];
    for (headers, status) in rows {
        let answer = open(&broker).ask("GET /stats", headers, b"");
        assert_eq!(answer.status, *status, "{headers:?}: {}", answer.text());
    }
}

const SECRET: &[u8] = b"a secret of the tests, which no broker anywhere has";

/// A token with these claims, signed.
fn signed(claims: &str) -> String {
    let header = Base64UrlUnpadded::encode_string(br#"{"alg":"HS256"}"#);
    let signed = format!("{header}.{}", Base64UrlUnpadded::encode_string(claims.as_bytes()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), signed.as_bytes());
    format!("Bearer {signed}.{}", Base64UrlUnpadded::encode_string(tag.as_ref()))
}

/// Whose rights a request has, it shows itself: those before it on its connection do not count.
#[test]
fn each_token_has_its_own_rights_on_a_connection_that_many_share() {
    let tokens = jwt::Settings {
        secret: Some(Secret(SECRET.into())),
        secret_file: None,
        key_file: None,
        place: Place::Password,
        user_claim: "sub".into(),
        publish_claim: "publish".into(),
        subscribe_claim: "subscribe".into(),
        issuer: None,
        audience: None,
        leeway_s: 0,
        expiry: Expiry::Close,
    };
    let access = access::Settings { tokens: Some(tokens), ..access::Settings::default() };
    let policy = Arc::new(Policy::load(&access).expect("there are no files"));
    let (root, root_line) = tokens::make("ann").expect("entropy");
    let root = format!("Bearer {root}");
    let tokens = Some(Tokens::parse(Path::new("tokens"), &root_line).expect("a good line"));
    let keys = Keys { tokens, admins: vec!["ann".into()], origins: Vec::new() };
    let settings = server::Settings { window: Some(window(policy, keys)), ..running::settings() };
    let broker = Running::start(settings);
    let (wide, narrow) = (
        signed(r##"{"sub":"bob","publish":"#"}"##),
        signed(r#"{"sub":"bob","publish":"narrow/#"}"#),
    );
    let mut http = open(&broker);
    let rows = [
        (&root, "other", 200),
        (&wide, "other", 200),
        (&narrow, "other", 403),
        (&narrow, "narrow/a", 200),
        (&wide, "other", 200),
    ];
    for (token, topic, status) in rows {
        let headers = [("Authorization", token.as_str())];
        let answer = http.ask(&format!("POST /push/{topic}"), &headers, b"x");
        assert_eq!(answer.status, status, "{topic}: {}", answer.text());
    }
}
