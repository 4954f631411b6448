//! What must never be, read from the sources. Each rule is a row that says why; a breach fails with
//! that sentence. What clippy and rustfmt can keep is theirs (`clippy.toml`), not ours.

#![allow(missing_docs, unreachable_pub, reason = "a test")]

mod sources;

use std::collections::BTreeSet;

use sources::{Line, Source, declaration, words};

/// Words of code that may not stand in the product code of some rooms.
struct Never {
    /// Path prefixes: where the rule holds.
    rooms: &'static [&'static str],
    /// Path prefixes below those where it does not.
    but: &'static [&'static str],
    code: &'static [&'static str],
    because: &'static str,
}

const EVERYWHERE: &[&str] = &["codec/", "broker/", "device-client/", "certs/"];

const NEVER: &[Never] = &[
    Never {
        rooms: &["codec/src/", "device-client/src/"],
        but: &[],
        code: &["std::", "alloc::", "extern crate", "martlet::", "martlet_engine::"],
        because: "it runs on a microcontroller: no std, no alloc, nothing of the broker",
    },
    Never {
        rooms: &["codec/src/"],
        but: &[],
        code: &["martlet_", "#[cfg(feature"],
        because: "the codec is fuzzed alone and is the same everywhere",
    },
    Never {
        rooms: &["broker/engine/src/"],
        but: &[],
        code: &[
            "tokio::",
            "redb::",
            "std::fs",
            "std::net",
            "std::thread",
            "std::env",
            "std::process",
            "std::io",
            "std::time",
            "Instant",
            "SystemTime",
            "rand::",
            "getrandom::",
            "martlet::",
            "RandomState",
            "thread_local!",
            "Mutex<",
            "RwLock<",
            "RefCell<",
        ],
        because: "I1: the engine is pure, so that the same inputs give the same effects",
    },
    Never {
        rooms: &["broker/src/store"],
        but: &[],
        code: &["driver::", "net::", "decode::", "encode::", "engine::input", "engine::effects"],
        because: "the store knows changes, not packets",
    },
    Never {
        rooms: &["broker/src/telemetry"],
        but: &[],
        code: &["tokio::", "driver::", "net::", "store::durable", "martlet_engine::Engine"],
        because: "the log knows records and a disk: who waits for more brings a waker",
    },
    Never {
        rooms: &["broker/src/net", "broker/src/bridge", "broker/src/http"],
        but: &[],
        code: &["store::", "Engine::", "martlet_engine::change", "martlet_engine::Engine"],
        because: "the Link is the only door: what one needs, a TCP client could also have",
    },
    Never {
        rooms: &["broker/src/net"],
        but: &[],
        code: &["bridge::", "http::"],
        because: "sockets, bridge and HTTP are siblings that do not know each other",
    },
    Never {
        rooms: &["broker/src/bridge"],
        but: &[],
        code: &["net::listener", "net::connection", "http::"],
        because: "sockets, bridge and HTTP are siblings that do not know each other",
    },
    Never {
        rooms: &["broker/src/http"],
        but: &[],
        code: &["net::connection", "bridge::"],
        because: "sockets, bridge and HTTP are siblings that do not know each other",
    },
    Never {
        rooms: &["broker/src/"],
        but: &[
            "broker/src/config",
            "broker/src/server",
            "broker/src/service",
            "broker/src/cli",
            "broker/src/main.rs",
        ],
        code: &["config::"],
        because: "I12: nobody imports config, so that a room can be tested without a file",
    },
    Never {
        rooms: EVERYWHERE,
        but: &["broker/src/store", "broker/src/telemetry"],
        code: &["redb::"],
        because: "I7: one wall per dependency; redb stands behind the store and the log",
    },
    Never {
        rooms: EVERYWHERE,
        but: &["broker/src/telemetry/columnar"],
        code: &["parquet::"],
        because: "I7: one wall per dependency; Parquet is written and read in one place",
    },
    Never {
        rooms: EVERYWHERE,
        but: &[
            "broker/src/net",
            "broker/src/bridge",
            "broker/src/http/socket.rs",
            "broker/src/inquiry",
            // Its clients stand at the other end.
            "broker/bench/src/certificate.rs",
            "broker/bench/src/error.rs",
            "broker/bench/src/line.rs",
            "broker/bench/src/storm.rs",
        ],
        code: &["rustls::", "tokio_rustls::", "tokio_tungstenite::", "tungstenite::"],
        because: "I7: one wall per dependency; TLS and WebSocket are streams of net",
    },
    Never {
        rooms: EVERYWHERE,
        but: &["broker/src/net/tls", "broker/src/cli/cert"],
        code: &["x509_parser::", "webpki::"],
        because: "I7: one wall per dependency; certificates are read where they count or are made",
    },
    Never {
        rooms: EVERYWHERE,
        but: &[
            "broker/src/cli/cert",
            "broker/bench/src/certificate.rs",
            "broker/bench/src/error.rs",
        ],
        code: &["rcgen::"],
        because: "I7: one wall per dependency; only an operator's command signs certificates",
    },
    Never {
        rooms: EVERYWHERE,
        but: &["broker/src/net/proxy"],
        code: &["proxy_header::", "ipnet::"],
        because: "I7: one wall per dependency; what proxies say is read in one place",
    },
    Never {
        rooms: EVERYWHERE,
        but: &["broker/src/machine.rs"],
        code: &["if_addrs::"],
        because: "I7: one wall per dependency; what the machine has, the machine's room says",
    },
    Never {
        rooms: EVERYWHERE,
        but: &["broker/src/http", "broker/src/inquiry"],
        code: &[
            "axum::",
            "hyper::",
            "hyper_util::",
            "hyper_rustls::",
            "utoipa::",
            "prometheus_client::",
        ],
        because: "I7: one wall per dependency; HTTP is the window's own, and theirs who ask",
    },
    Never {
        rooms: EVERYWHERE,
        but: &["broker/src/access", "device-client/src/tls"],
        code: &["argon2::", "pbkdf2::", "sha2::", "subtle::", "getrandom::"],
        because: "I7: one wall per dependency; passwords are hashed and compared in access",
    },
    Never {
        rooms: EVERYWHERE,
        but: &["device-client/src/tls"],
        code: &["p256::", "aes_gcm::"],
        because: "I7: one wall per dependency; the device's own TLS has its cryptography to itself",
    },
    Never {
        rooms: EVERYWHERE,
        but: &["broker/src/access/jwt"],
        code: &["ring::signature", "ring::hmac", "spki::"],
        because: "I7: one wall per dependency; signatures of tokens are checked in access",
    },
    Never {
        rooms: EVERYWHERE,
        but: &["broker/src/cli/log"],
        code: &["indicatif::"],
        because: "I7: one wall per dependency; progress is shown to whoever sits in front of it",
    },
    Never {
        rooms: EVERYWHERE,
        but: &[
            "broker/src/access",
            "broker/src/store/tools",
            "broker/src/http",
            "broker/src/telemetry/lines.rs",
        ],
        code: &["base64ct::"],
        because: "I7: one wall per dependency; base64 is for hashes, exported payloads and HTTP",
    },
    Never {
        rooms: &["broker/src/inquiry"],
        but: &[],
        code: &["net::", "driver::", "store::", "Engine"],
        because: "inquiry asks and remembers: who wants to know is none of its business",
    },
    Never {
        rooms: &["broker/src/access"],
        but: &[],
        code: &["tokio::", "net::", "driver::", "martlet_engine::Engine", "engine::input"],
        because: "access decides: it knows no socket and no task, and of the engine its questions",
    },
    Never {
        rooms: EVERYWHERE,
        but: &[
            "broker/src/config",
            "broker/src/cli",
            "broker/src/main.rs",
            "broker/bench/src/main.rs",
            "broker/bench/src/cli.rs",
        ],
        code: &["clap::", "toml::"],
        because: "I7: one wall per dependency; files and flags end in config and cli",
    },
    Never {
        rooms: EVERYWHERE,
        but: &["broker/src/privileges.rs"],
        code: &["nix::"],
        because: "I7: one wall per dependency; nobody else changes who the process is",
    },
    Never {
        rooms: EVERYWHERE,
        but: &["broker/src/supervisor.rs"],
        code: &["sd_notify::"],
        because: "I7: one wall per dependency; the supervisor is told in one place",
    },
    Never {
        rooms: EVERYWHERE,
        but: &["broker/src/logging"],
        code: &["jiff::", "tracing_subscriber::"],
        because: "I7: one wall per dependency; calendars are for the beginning of a log line",
    },
    Never {
        rooms: EVERYWHERE,
        but: &[
            "broker/src/clock.rs",
            "broker/bench/src/clock.rs",
            "device-client/src/io/embassy.rs",
        ],
        code: &["Instant::now", "SystemTime::now"],
        because: "time is an argument; only the clock reads a clock",
    },
    Never {
        rooms: EVERYWHERE,
        but: &[
            "broker/src/clock.rs",
            "broker/src/driver/turn.rs",
            "broker/bench/src/clock.rs",
            "device-client/src/io/embassy.rs",
        ],
        code: &["disallowed_methods"],
        because: "what clippy bans is done in one place, where the harm is seen to",
    },
    Never {
        rooms: EVERYWHERE,
        but: &[],
        code: &["unbounded(", "unbounded_channel", "LinkedList<"],
        because: "I3: every queue has a bound with a name",
    },
    Never {
        rooms: EVERYWHERE,
        but: &[],
        code: &["todo!", "unimplemented!", ".unwrap()", "Box<dyn Error", "anyhow::"],
        because: "what lands is finished: errors are named, and what cannot fail says why",
    },
    Never {
        rooms: EVERYWHERE,
        but: &[UNSAFE],
        code: &["unsafe "],
        because: "where the compiler cannot look is one small crate with a reason",
    },
];

/// The crate with `unsafe` in it.
const UNSAFE: &str = "broker/heap/src/lib.rs";

/// Words that may stand nowhere, neither in code nor in papers. In halves, so that they stand here.
const NOWHERE: &[(&str, &str, &str)] = &[
    ("TO", "DO", "an open end is finished or written down where work is planned"),
    ("FIX", "ME", "an open end is finished or written down where work is planned"),
    ("XX", "X", "an open end is finished or written down where work is planned"),
    ("/wo", "rk/", "the sources know no machine"),
    ("/ro", "ot/", "the sources know no machine"),
    ("index.", "crates.io", "which registry serves a build is the builder's choice"),
    ("registry.", "npmjs", "which registry serves a build is the builder's choice"),
    ("issue", " #", "a comment says why by itself"),
    ("HOU", "SE.md", "the project speaks of what it contains"),
];

/// Parts of names that say nothing.
const EMPTY_WORDS: &[&str] = &[
    "manager", "handler", "helper", "helpers", "util", "utils", "common", "context", "data",
    "info", "misc", "stuff",
];
/// Names that a dependency's trait gave.
const NAMED_ELSEWHERE: &[&str] = &["sync_data", "Data", "get_read", "get_bytes"];
const EMPTY_VERBS: &[&str] = &["get", "process", "do"];

/// Dependencies of the rooms that Cargo keeps apart: `[dependencies]` may hold these and no other.
const MAY_DEPEND: &[(&str, &[&str], &str)] = &[
    ("codec/Cargo.toml", &[], "the codec depends on nothing"),
    (
        "device-client/Cargo.toml",
        &[
            "martlet-codec",
            "heapless",
            "embassy-futures",
            "embassy-net",
            "embassy-time",
            "embedded-io",
            "embedded-io-async",
            "aes-gcm",
            "hmac",
            "p256",
            "sha2",
        ],
        "it runs on a microcontroller: nothing that allocates, nothing of the broker",
    ),
    (
        "broker/heap/Cargo.toml",
        &["libmimalloc-sys", "mimalloc"],
        "what is unsafe is one call of the allocator",
    ),
    (
        "broker/engine/Cargo.toml",
        &[
            "martlet-codec",
            "triomphe",
            "hashbrown",
            "foldhash",
            "smallvec",
            "slab",
            "bytes",
            "indexmap",
            "thiserror",
        ],
        "I1: the engine depends on words and small collections only",
    ),
];

const FILE_LINES_MAX: usize = 500;
const LINE_CHARS_MAX: usize = 100;

#[test]
fn no_room_knows_what_it_must_not_know() {
    let sources = sources::rust();
    assert!(sources.len() > 10, "the sources are where this test looks for them");
    verdict(sources.iter().flat_map(forbidden));
}

#[test]
fn the_engine_iterates_no_hash_map() {
    verdict(sources::rust().iter().flat_map(hash_iteration));
}

#[test]
fn names_mean_something() {
    verdict(sources::rust().iter().flat_map(empty_names));
}

#[test]
fn files_fit_in_a_head_and_lines_on_a_screen() {
    verdict(sources::rust().iter().flat_map(sizes));
}

#[test]
fn imports_stand_in_three_blocks() {
    verdict(sources::rust().iter().flat_map(import_blocks));
}

#[test]
fn every_crate_but_one_forbids_unsafe_code_and_takes_the_lints_of_the_workspace() {
    let others = crates().into_iter().filter(|(_, root)| root != UNSAFE);
    verdict(others.flat_map(|(manifest, root)| {
        let lints = sources::text(&manifest).unwrap_or_default();
        let lints = lints.contains("[lints]\nworkspace = true");
        let forbids = sources::text(&root).unwrap_or_default();
        let forbids = forbids.contains("#![forbid(unsafe_code)]");
        let lints = (!lints).then(|| format!("{manifest}: takes no lints of the workspace"));
        lints.into_iter().chain((!forbids).then(|| format!("{root}: forbids no unsafe code")))
    }));
}

#[test]
fn rooms_with_a_crate_of_their_own_depend_on_little() {
    verdict(MAY_DEPEND.iter().flat_map(|(manifest, may, because)| {
        let text = sources::text(manifest).expect("a manifest is UTF-8");
        dependencies(&text, may, because)
            .into_iter()
            .map(move |breach| format!("{manifest}: {breach}"))
    }));
}

#[test]
fn nothing_speaks_of_machines_registries_or_unfinished_work() {
    let papers = sources::files().into_iter().filter(|path| !path.ends_with("Cargo.lock"));
    verdict(papers.flat_map(|path| {
        let text = sources::text(&path).unwrap_or_default();
        nowhere(&path, &text)
    }));
}

/// Every rule fails on a sample that breaks it, and on nothing else.
#[test]
fn these_rules_can_fail() {
    for (path, sample, because) in samples() {
        let source = Source::new(path, &sample);
        let found: Vec<String> = forbidden(&source)
            .chain(hash_iteration(&source))
            .chain(empty_names(&source))
            .chain(sizes(&source))
            .chain(import_blocks(&source))
            .chain(nowhere(path, &sample))
            .collect();
        let kept = found.iter().filter(|breach| breach.contains(because)).count();
        assert_eq!(kept, found.len(), "{path}: {sample:?} breaks more: {found:#?}");
        assert_eq!(kept == 0, because.is_empty(), "{path}: {sample:?} gave {found:#?}");
    }
    let broken: BTreeSet<&str> = samples().iter().map(|(_, _, because)| *because).collect();
    for rule in NEVER {
        let shown = broken.iter().any(|b| !b.is_empty() && rule.because.contains(b));
        assert!(shown, "no sample breaks: {}", rule.because);
    }
    assert_eq!(dependencies("[dependencies]\ntokio = 1\n", &["bytes"], "pure").len(), 1);
    assert_eq!(dependencies("[dev-dependencies]\ntokio = 1\n", &[], "pure").len(), 0);
}

/// Path, text, and the sentence it must fail with (empty: it must pass).
fn samples() -> Vec<(&'static str, String, &'static str)> {
    let sample = |path, text: &str, because| (path, text.to_owned(), because);
    vec![
        sample("codec/src/a.rs", "fn a() -> std::string::String { b }", "no std, no alloc"),
        sample("codec/src/a.rs", "#[cfg(test)]\nmod t {\n    fn a() { std::b() }\n}", ""),
        sample("codec/src/a.rs", "// std::b is for tests", ""),
        sample("codec/src/a.rs", "use martlet_words::B;", "fuzzed alone"),
        sample("broker/engine/src/a.rs", "fn a() { tokio::spawn(b) }", "engine is pure"),
        sample("broker/engine/src/a.rs", "fn a() { b(\"tokio::spawn\") }", ""),
        sample("broker/engine/src/a.rs", "struct A { at: Instant }", "engine is pure"),
        sample("broker/src/store/a.rs", "use crate::driver::B;", "changes, not packets"),
        sample("broker/src/telemetry/a.rs", "use tokio::sync::B;", "records and a disk"),
        sample("broker/src/net/a.rs", "use crate::store::B;", "only door"),
        sample("broker/src/net/a.rs", "use crate::http::B;", "siblings"),
        sample("broker/src/driver/mod.rs", "use crate::config::B;", "I12"),
        sample("broker/src/cli.rs", "use crate::config::B;", ""),
        sample("broker/src/net/a.rs", "use redb::B;", "redb stands behind"),
        sample("broker/src/telemetry/a.rs", "use parquet::basic::A;", "Parquet is written"),
        sample("broker/src/store/redb.rs", "use redb::B;", ""),
        sample("broker/src/access/a.rs", "use rustls::B;", "TLS and WebSocket"),
        sample("broker/src/net/a.rs", "use x509_parser::B;", "count or are made"),
        sample("broker/src/net/tls/a.rs", "use x509_parser::B;", ""),
        sample("broker/src/net/tls/a.rs", "use rcgen::B;", "signs certificates"),
        sample("broker/src/access/a.rs", "use tungstenite::B;", "TLS and WebSocket"),
        sample("broker/src/net/a.rs", "use ipnet::B;", "what proxies say"),
        sample("broker/src/net/a.rs", "fn a() { unsafe { b() } }", "one small crate"),
        sample("broker/heap/src/lib.rs", "fn a() { unsafe { b() } }", ""),
        sample("broker/src/net/a.rs", "use if_addrs::B;", "what the machine has"),
        sample("broker/src/net/a.rs", "use hyper::B;", "window's own"),
        sample("broker/src/net/a.rs", "use argon2::B;", "hashed and compared"),
        sample("device-client/src/io/a.rs", "use p256::B;", "its cryptography to itself"),
        sample("device-client/src/tls/a.rs", "use p256::B;", ""),
        sample("broker/src/net/a.rs", "use ring::hmac;", "signatures of tokens"),
        sample("broker/src/access/jwt/a.rs", "use ring::hmac;", ""),
        sample("broker/src/net/a.rs", "use base64ct::B;", "exported payloads"),
        sample("broker/src/net/a.rs", "use indicatif::B;", "progress is shown"),
        sample("broker/src/access/a.rs", "use tokio::sync::B;", "access decides"),
        sample("broker/src/inquiry/a.rs", "use crate::driver::B;", "none of its business"),
        sample("broker/src/inquiry/a.rs", "use hyper::B;", ""),
        sample("broker/src/access/a.rs", "use argon2::B;\n\nuse crate::access::c;", ""),
        sample("broker/src/net/a.rs", "use nix::B;", "who the process is"),
        sample("broker/src/net/a.rs", "use sd_notify::B;", "told in one place"),
        sample("broker/src/net/a.rs", "use jiff::B;", "calendars are for"),
        sample("broker/src/logging/time.rs", "use jiff::B;", ""),
        sample("broker/src/net/a.rs", "use toml::B;", "files and flags"),
        sample("broker/src/net/a.rs", "fn a() { Instant::now() }", "reads a clock"),
        sample("broker/src/clock.rs", "fn a() { Instant::now() }", ""),
        sample("broker/src/net/a.rs", "#[expect(clippy::disallowed_methods)]", "what clippy bans"),
        sample("broker/src/net/a.rs", "fn a() { flume::unbounded() }", "every queue has a bound"),
        sample("broker/src/net/a.rs", "fn a() { b.unwrap() }", "finished"),
        sample(
            "broker/engine/src/a.rs",
            "struct A { b: HashMap<u8, u8> }\nfn c(a: A) { a.b.keys() }",
            "I11",
        ),
        sample(
            "broker/engine/src/a.rs",
            "struct A { b: HashMap<u8, u8> }\nfn c(a: A) { for _ in &a.b {} }",
            "I11",
        ),
        sample("broker/src/a.rs", "struct LinkManager;", "says nothing"),
        sample("broker/src/a.rs", "fn get_link() {}", "says nothing"),
        sample("broker/src/a.rs", "struct Metadata;\nfn get() {}", ""),
        sample("broker/src/a.rs", &"//\n".repeat(FILE_LINES_MAX + 1), "fits in a head"),
        sample("broker/src/a.rs", &format!("// {}", "a".repeat(LINE_CHARS_MAX)), "on a screen"),
        sample("broker/src/a.rs", "use crate::a;\nuse std::b;", "three blocks"),
        sample("broker/src/a.rs", "use std::b;\nuse bytes::Bytes;", "three blocks"),
        sample("broker/src/a.rs", "use std::b;\n\nuse bytes::Bytes;\n\nuse crate::a;", ""),
        sample("broker/src/a.rs", concat!("// TO", "DO: later"), "open end"),
        sample("docs/a.md", concat!("see /wo", "rk/x"), "no machine"),
    ]
}

#[track_caller]
fn verdict(breaches: impl Iterator<Item = String>) {
    let breaches: Vec<String> = breaches.collect();
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

/// The lines that are no test.
fn product(source: &Source) -> impl Iterator<Item = (usize, &Line)> {
    (1..).zip(&source.lines).filter(|(_, line)| !line.test)
}

fn forbidden(source: &Source) -> impl Iterator<Item = String> {
    let rules = NEVER.iter().filter(|rule| {
        rule.rooms.iter().any(|room| source.path.starts_with(room))
            && !rule.but.iter().any(|room| source.path.starts_with(room))
    });
    rules.flat_map(move |rule| {
        let hits = product(source).flat_map(move |(number, line)| {
            let words = rule.code.iter().filter(|word| holds_word(&line.code, word));
            words.map(move |word| (number, word))
        });
        hits.map(move |(number, word)| {
            format!("{}:{number}: `{word}`: {}", source.path, rule.because)
        })
    })
}

/// Whether `code` holds `word` where a word begins.
fn holds_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let letter = |c: char| c.is_alphanumeric() || c == '_';
        let joined = before.is_some_and(letter) && word.starts_with(letter);
        let own = before == Some(':') && word.ends_with("::");
        // `crate::store::` is the room, `other::store::` is somebody else's.
        let ours = ["crate::", "super::", "martlet::"].iter().any(|o| code[..at].ends_with(o));
        let behind = code[at + word.len()..].chars().next();
        let runs_on = behind.is_some_and(letter) && word.ends_with(char::is_alphanumeric);
        !joined && !runs_on && (!own || ours)
    })
}

fn hash_iteration(source: &Source) -> Vec<String> {
    if !source.path.starts_with("broker/engine/src/") {
        return Vec::new();
    }
    let mut tables = BTreeSet::new();
    for (_, line) in product(source) {
        for kind in ["HashMap<", "HashSet<", "HashTable<"] {
            if let Some((name, _)) = line.code.split_once(kind) {
                tables.extend(name.rsplit_once(':').and_then(|(n, _)| words(n).pop()));
            }
        }
    }
    const WALKS: [&str; 9] = [
        "iter(",
        "iter_mut(",
        "keys(",
        "values(",
        "values_mut(",
        "drain(",
        "retain(",
        "into_iter(",
        "extract_if(",
    ];
    let mut found = Vec::new();
    for (number, line) in product(source) {
        for table in &tables {
            let walked =
                WALKS.iter().any(|walk| holds_word(&line.code, &format!("{table}.{walk}")));
            let walks = line.code.split_once(" in &").is_some_and(|(_, what)| {
                words(what.split('{').next().unwrap_or(what)).last() == Some(table)
            });
            if walked || walks {
                found.push(format!(
                    "{}:{number}: `{table}`: I11: the order of a hash map is no order",
                    source.path
                ));
            }
        }
    }
    found
}

fn empty_names(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(&source.lines) {
        let Some((kind, name)) = declaration(&line.code) else { continue };
        if NAMED_ELSEWHERE.contains(&name.as_str()) {
            continue;
        }
        let parts = name_parts(&name);
        let verb = parts.first().map(String::as_str).unwrap_or_default();
        let named = parts.get(1).is_some_and(|part| part != "mut");
        let empty_verb = kind == "fn" && named && EMPTY_VERBS.contains(&verb);
        if empty_verb || (kind != "impl" && parts.iter().any(|p| EMPTY_WORDS.contains(&p.as_str())))
        {
            found.push(format!(
                "{}:{number}: `{name}`: a part of this name says nothing",
                source.path
            ));
        }
    }
    found
}

/// `LinkTable` and `link_table`: link, table.
fn name_parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for letter in name.chars() {
        if letter == '_' || letter.is_uppercase() {
            parts.push(String::new());
        }
        if letter != '_'
            && let Some(part) = parts.last_mut()
        {
            part.extend(letter.to_lowercase());
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn sizes(source: &Source) -> Vec<String> {
    let product = product(source).count();
    let long = (product > FILE_LINES_MAX).then(|| {
        format!("{}: {product} lines without its tests: a file fits in a head", source.path)
    });
    let wide = (1..).zip(&source.lines).filter(|(_, l)| l.raw.chars().count() > LINE_CHARS_MAX);
    let wide = wide.map(|(number, _)| format!("{}:{number}: a line fits on a screen", source.path));
    long.into_iter().chain(wide).collect()
}

/// The standard library's, then other crates', then our own crate's.
fn import_blocks(source: &Source) -> Vec<String> {
    let mut last = (0, 0);
    let mut found = Vec::new();
    for (number, line) in (1..).zip(&source.lines) {
        let import = line.code.strip_prefix("pub ").unwrap_or(&line.code);
        let Some(import) = import.strip_prefix("use ") else { continue };
        let block = match words(import).first() {
            Some(&"std" | &"core" | &"alloc") => 1,
            Some(&"crate" | &"super" | &"self" | &"sources") => 3,
            _ => 2,
        };
        let gap = source.lines[last.1..number - 1].iter().any(|line| line.raw.is_empty());
        if block < last.0 || (block > last.0 && last.0 > 0 && !gap) {
            found.push(format!(
                "{}:{number}: imports stand in three blocks: std, crates, ours",
                source.path
            ));
        }
        last = (block, number);
    }
    found
}

/// Manifest and root file of every crate of the workspace.
fn crates() -> Vec<(String, String)> {
    let manifests = sources::files().into_iter().filter(|path| path.ends_with("/Cargo.toml"));
    let ours = manifests
        .filter(|path| !path.contains("/fuzz/") && !path.starts_with("firmware-examples/"));
    let roots = ours.map(|path| {
        let folder = path.trim_end_matches("Cargo.toml").to_owned();
        let root = if sources::files().contains(&format!("{folder}src/lib.rs")) {
            format!("{folder}src/lib.rs")
        } else {
            format!("{folder}src/main.rs")
        };
        (path, root)
    });
    roots.collect()
}

fn dependencies(manifest: &str, may: &[&str], because: &str) -> Vec<String> {
    let mut section = "";
    let mut found = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section == "[dependencies]"
            && let Some((name, _)) = line.split_once(['=', '.'])
            && !may.contains(&name.trim())
        {
            found.push(format!("{}: {because}", name.trim()));
        }
    }
    found
}

fn nowhere(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for (start, end, because) in NOWHERE {
            let word = format!("{start}{end}");
            if holds_word(line, &word) {
                found.push(format!("{path}:{number}: `{word}`: {because}"));
            }
        }
    }
    found
}
