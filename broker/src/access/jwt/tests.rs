use std::fs;
use std::path::Path;

use base64ct::{Base64UrlUnpadded, Encoding};
use ring::hmac;
use serde_json::{Value, json};

use super::*;
use crate::access::rules::{Question, Who};

/// The secret of the tokens of `tests/tokens.txt`.
const SECRET: &[u8; 64] = b"a secret of the tests, of 64 bytes, which no broker anywhere has";

/// A time between `nbf` and `exp` of those tokens.
const NOW_S: u64 = 1_800_000_000;

fn settings() -> Settings {
    Settings {
        secret: None,
        secret_file: None,
        key_file: None,
        place: Place::Password,
        user_claim: "sub".into(),
        publish_claim: "publish".into(),
        subscribe_claim: "subscribe".into(),
        issuer: None,
        audience: None,
        leeway_s: 10,
        expiry: Expiry::Close,
    }
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/access/jwt/tests").join(name)
}

fn with_secret(secret: &[u8]) -> Settings {
    Settings { secret: Some(Secret(secret.into())), ..settings() }
}

fn with_keys(name: &str) -> Settings {
    Settings { key_file: Some(file(name)), ..settings() }
}

fn load(settings: &Settings) -> Tokens {
    Tokens::load(settings).expect("good keys")
}

/// Algorithm, key id, token: by PyJWT.
fn foreign() -> Vec<(String, Option<String>, String)> {
    let text = fs::read_to_string(file("tokens.txt")).expect("a file of ours");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let rows = lines.map(|line| {
        let mut words = line.split(' ').map(str::to_owned);
        let mut next = || words.next().expect("three words");
        (next(), Some(next()).filter(|id| id != "-"), next())
    });
    rows.collect()
}

fn token(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let encode = |part: &[u8]| Base64UrlUnpadded::encode_string(part);
    let signed = [header, claims].map(|part| encode(part.to_string().as_bytes())).join(".");
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", encode(tag.as_ref()))
}

/// What a token with these claims is worth.
fn read(settings: &Settings, claims: &Value, now_s: u64) -> Result<Bearer, TokenFault> {
    load(settings).read(&token(&json!({"alg": "HS256"}), claims, SECRET), now_s)
}

#[test]
fn tokens_of_another_library_are_read_with_each_algorithm() {
    let [pem, json] = ["public.pem", "keys.json"].map(|name| load(&with_keys(name)));
    let secret = load(&with_secret(SECRET));
    let mut seen = 0;
    for (algorithm, id, token) in foreign() {
        let secrets = algorithm.starts_with("HS");
        let fits = |tokens: &Tokens| tokens.read(&token, NOW_S).map(|bearer| bearer.user);
        assert_eq!(fits(&secret).is_ok(), secrets, "{algorithm} {id:?}");
        assert_eq!(fits(&pem).is_ok(), !secrets, "{algorithm} {id:?}");
        // In the set the secret is for HS256 alone.
        let in_set = !matches!(&*algorithm, "HS384" | "HS512");
        assert_eq!(fits(&json).is_ok(), in_set, "{algorithm} {id:?}");
        assert_eq!(fits(if secrets { &secret } else { &pem }), Ok("ann".into()));
        seen += 1;
    }
    assert_eq!(seen, 17);
}

#[test]
fn no_character_of_a_token_can_be_changed() {
    let keys =
        load(&Settings { secret: Some(Secret(SECRET[..].into())), ..with_keys("public.pem") });
    for (algorithm, _, token) in foreign().into_iter().filter(|(_, id, _)| id.is_none()) {
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert!(keys.read(&changed, NOW_S).is_err(), "{algorithm} {at}");
            assert!(keys.read(&token[..at], NOW_S).is_err(), "{algorithm} {at}");
        }
        for more in ["A", "AAAA", ".", "=", " "] {
            assert!(keys.read(&format!("{token}{more}"), NOW_S).is_err(), "{algorithm} {more:?}");
        }
    }
}

#[test]
fn the_key_says_how_a_token_is_signed_and_never_the_token() {
    let claims = json!({"sub": "eve"});
    let pem = fs::read(file("public.pem")).expect("a file of ours");
    let public = load(&with_keys("public.pem"));
    let both =
        load(&Settings { secret: Some(Secret(SECRET[..].into())), ..with_keys("public.pem") });
    // The public key, which everybody has, in the place of a secret.
    let confused = token(&json!({"alg": "HS256"}), &claims, &pem);
    assert_eq!(public.read(&confused, NOW_S).err(), Some(TokenFault::Algorithm));
    assert_eq!(both.read(&confused, NOW_S).err(), Some(TokenFault::Signature));
    for algorithm in ["none", "None", "", "HS255", "hs256", "ES512", "ES256K"] {
        let unsigned = token(&json!({"alg": algorithm}), &claims, SECRET);
        let (start, _) = unsigned.rsplit_once('.').expect("three parts");
        for token in [&unsigned, &format!("{start}.")] {
            assert_eq!(both.read(token, NOW_S).err(), Some(TokenFault::Algorithm), "{algorithm}");
        }
    }
    let set = load(&with_keys("keys.json"));
    let named = token(&json!({"alg": "HS256", "kid": "another"}), &claims, SECRET);
    assert_eq!(set.read(&named, NOW_S).err(), Some(TokenFault::UnknownKey));
    assert!(both.read(&named, NOW_S).is_ok(), "a key without a name may have any");
    let critical = token(&json!({"alg": "HS256", "crit": ["b64"], "b64": false}), &claims, SECRET);
    assert_eq!(both.read(&critical, NOW_S).err(), Some(TokenFault::Malformed));
}

/// The examples of RFC 7515, A.1 and A.3, and RFC 8725's advice in rows.
#[test]
fn what_is_no_token_is_malformed() {
    let keys = load(&with_secret(SECRET));
    let long = format!("{}.e30.AAAA", "A".repeat(20_000));
    let rows = [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "eyJhbGciOiJIUzI1NiJ9",
        "eyJhbGciOiJIUzI1NiJ9.e30",
        "eyJhbGciOiJIUzI1NiJ9.e30.!",
        "eyJhbGciOiJIUzI1NiJ9.e30.AA==",
        "bnVsbA.e30.AAAA",
        "eyJhbGciOjF9.e30.AAAA",
        "eyJhbGciOiJIUzI1NiIsImFsZyI6Im5vbmUifQ.e30.AAAA",
        "eyJhbGciOiJIUzI1NiJ9.e30.AAAA.AAAA",
        " eyJhbGciOiJIUzI1NiJ9.e30.AAAA",
        &long,
    ];
    for text in rows {
        assert_eq!(keys.read(text, NOW_S).err(), Some(TokenFault::Malformed), "{text}");
        assert!(!is_token(text), "{text}");
    }
    // Signed, but no object.
    for claims in [json!(null), json!([]), json!("a"), json!(1)] {
        assert_eq!(read(&with_secret(SECRET), &claims, NOW_S).err(), Some(TokenFault::Malformed));
    }
    assert!(is_token("eyJhbGciOiJIUzI1NiJ9.e30.AAAA") && !is_token("correct.horse.battery"));
}

#[test]
fn the_token_of_rfc_7515_has_expired_and_was_good_before() {
    let secret = Base64UrlUnpadded::decode_vec(
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
    );
    let settings = with_secret(&secret.expect("base64"));
    let settings = Settings { user_claim: "iss".into(), ..settings };
    let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkz\
                 ODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1\
                 p1r_wW1gFWFOEjXk";
    for (now_s, expected) in [(1_300_819_379, Ok("joe")), (NOW_S, Err(TokenFault::Expired))] {
        let user = load(&settings).read(token, now_s).map(|bearer| bearer.user);
        assert_eq!(user, expected.map(Box::from));
    }
}

#[test]
fn claims_are_for_a_time_an_issuer_an_audience_and_somebody() {
    use TokenFault::{Audience, Expired, Issuer, Malformed, NoUser, TooEarly, Topics};
    let here = Settings {
        issuer: Some("issuer".into()),
        audience: Some("martlet".into()),
        ..with_secret(SECRET)
    };
    let with = |more: Value| {
        let mut claims = json!({"sub": "ann", "iss": "issuer", "aud": "martlet"});
        let Value::Object(more) = more else { panic!("an object") };
        claims.as_object_mut().expect("an object").extend(more);
        claims
    };
    let many: Vec<&str> = vec!["a"; 257];
    let rows: &[(Value, Option<TokenFault>)] = &[
        (json!({}), None),
        (json!({"exp": NOW_S + 1, "nbf": NOW_S, "iat": NOW_S + 99}), None),
        (json!({"exp": NOW_S - 9}), None),
        (json!({"exp": NOW_S - 10}), Some(Expired)),
        (json!({"exp": NOW_S as f64 + 0.5}), None),
        (json!({"exp": 0}), Some(Expired)),
        (json!({"exp": -1}), Some(Expired)),
        (json!({"exp": u64::MAX}), None),
        (json!({"exp": "4102444800"}), Some(Malformed)),
        (json!({"exp": null}), Some(Malformed)),
        (json!({"nbf": NOW_S + 10}), None),
        (json!({"nbf": NOW_S + 11}), Some(TooEarly)),
        (json!({"nbf": u64::MAX}), Some(TooEarly)),
        (json!({"iss": "another"}), Some(Issuer)),
        (json!({"iss": ["issuer"]}), Some(Issuer)),
        (json!({"aud": ["others", "martlet"]}), None),
        (json!({"aud": "others"}), Some(Audience)),
        (json!({"aud": []}), Some(Audience)),
        (json!({"aud": ["martlet", 1]}), Some(Audience)),
        (json!({"sub": ""}), Some(NoUser)),
        (json!({"sub": 7}), Some(NoUser)),
        (json!({"sub": "a\u{0}b"}), Some(NoUser)),
        (json!({"publish": ["a/#", "+/%c"]}), None),
        (json!({"publish": ["a/#/b"]}), Some(Topics)),
        (json!({"publish": [""]}), Some(Topics)),
        (json!({"publish": [1]}), Some(Topics)),
        (json!({"publish": {"a": 1}}), Some(Topics)),
        (json!({"subscribe": many}), Some(Topics)),
    ];
    for (more, fault) in rows {
        assert_eq!(read(&here, &with(more.clone()), NOW_S).err(), *fault, "{more}");
    }
    let missing = [("sub", NoUser), ("iss", Issuer), ("aud", Audience)];
    for (name, fault) in missing {
        let mut claims = with(json!({}));
        claims.as_object_mut().expect("an object").remove(name);
        assert_eq!(read(&here, &claims, NOW_S).err(), Some(fault), "{name}");
    }
}

#[test]
fn the_end_of_a_token_means_what_the_settings_say() {
    let exp = NOW_S - 100;
    let rows = [
        (Expiry::Close, exp - 1, Ok(Some(exp + 10))),
        (Expiry::Stay, exp - 1, Ok(None)),
        (Expiry::Ignore, exp - 1, Ok(None)),
        (Expiry::Close, NOW_S, Err(TokenFault::Expired)),
        (Expiry::Stay, NOW_S, Err(TokenFault::Expired)),
        (Expiry::Ignore, NOW_S, Ok(None)),
    ];
    for (expiry, now_s, expected) in rows {
        let settings = Settings { expiry, ..with_secret(SECRET) };
        let bearer = read(&settings, &json!({"sub": "ann", "exp": exp}), now_s);
        assert_eq!(bearer.map(|bearer| bearer.ends_at_s), expected, "{expiry:?} {now_s}");
    }
}

#[test]
fn topics_of_a_token_are_rights() {
    let nested = Settings {
        user_claim: "https://example.com/user".into(),
        publish_claim: "acl.pub".into(),
        subscribe_claim: "acl.sub".into(),
        ..with_secret(SECRET)
    };
    let claims = json!({
        "https://example.com/user": "ann",
        "acl": {"pub": ["from/%c/%u", "both"], "sub": "to/#"},
    });
    let bearer = read(&nested, &claims, NOW_S).expect("a good token");
    assert_eq!(&*bearer.user, "ann");
    let rules = bearer.rights.expect("it speaks of topics");
    let rows = [
        ("c1", Question::Publish("from/c1/ann"), true),
        ("c2", Question::Publish("from/c1/ann"), false),
        ("c1", Question::Publish("both"), true),
        ("c1", Question::Receive("both"), false),
        ("c1", Question::Receive("to/x/y"), true),
        ("c1", Question::Publish("to/x"), false),
        ("c1", Question::Receive("$SYS/broker/uptime"), false),
        ("c1", Question::Subscribe("#"), false),
        ("c1", Question::Subscribe("to/+"), true),
        ("+", Question::Publish("from/c1/ann"), false),
        ("+", Question::Publish("both"), true),
    ];
    for (client_id, question, allowed) in rows {
        let who = Who { client_id, user: Some("ann") };
        assert_eq!(rules.explain(who, question).allowed, allowed, "{client_id} {question:?}");
    }
    let silent = read(&with_secret(SECRET), &json!({"sub": "ann"}), NOW_S).expect("a good token");
    assert!(silent.rights.is_none());
    let nothing = json!({"sub": "ann", "publish": []});
    let nothing = read(&with_secret(SECRET), &nothing, NOW_S).expect("a good token");
    let rules = nothing.rights.expect("it speaks of topics");
    let who = Who { client_id: "c", user: Some("ann") };
    assert!(!rules.explain(who, Question::Receive("a")).allowed);
}

#[test]
fn a_token_is_found_where_it_should_be() {
    let token = "eyJhbGciOiJIUzI1NiJ9.e30.AAAA";
    let keys = load(&with_secret(SECRET));
    assert_eq!(keys.find(None, Some(token.as_bytes())), Some(token));
    assert_eq!(keys.find(Some(token), Some(b"secret")), None);
    assert_eq!(keys.find(Some("ann"), Some(b"\xff")), None);
    assert_eq!(keys.find(Some("ann"), None), None);
    let keys = load(&Settings { place: Place::UserName, ..with_secret(SECRET) });
    assert_eq!(keys.find(Some(token), None), Some(token));
    assert_eq!(keys.find(Some("ann"), Some(token.as_bytes())), None);
}

#[test]
fn bad_keys_are_refused_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys");
    let pem = fs::read_to_string(file("public.pem")).expect("a file of ours");
    let many = json!({"keys": vec![json!({"kty": "oct", "k": "AAAA"}); 65]}).to_string();
    let rows: &[(&str, &str)] = &[
        ("", "has no key"),
        ("secret", "has no key"),
        ("{", "keys:1: is no JSON Web Key"),
        ("{}", "key 1: missing field `kty`"),
        ("{\"keys\": 1}", "\"keys\" is no list"),
        ("{\"keys\": []}", "has no key"),
        ("{\"kty\": \"EC\", \"crv\": \"P-521\", \"x\": \"AA\", \"y\": \"AA\"}", "has no key"),
        ("{\"kty\": \"RSA\", \"n\": \"AQAB\", \"e\": \"AQAB\"}", "at least 2048 bits"),
        ("{\"kty\": \"EC\", \"crv\": \"P-256\", \"x\": \"AA\", \"y\": \"AA\"}", "length"),
        ("{\"kty\": \"OKP\", \"crv\": \"Ed25519\"}", "is missing"),
        ("{\"kty\": \"oct\", \"k\": \"a+b\"}", "no base64"),
        ("{\"kty\": \"oct\", \"k\": \"\"}", "is empty"),
        ("{\"kty\": \"oct\", \"k\": \"AAAA\", \"alg\": \"RS256\"}", "does not go with"),
        ("{\"kty\": \"OKP\", \"crv\": \"Ed25519\", \"x\": \"AA\", \"d\": \"AA\"}", "private"),
        (&many, "has over 64 keys"),
        (&pem[..200], "cut off"),
        (&pem.replace("PUBLIC KEY", "CERTIFICATE"), "openssl x509"),
        (&pem.replace("PUBLIC KEY", "PRIVATE KEY"), "openssl pkey"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "garbled"),
    ];
    for (text, words) in rows {
        fs::write(&path, text).expect("a folder of ours");
        let settings = Settings { key_file: Some(path.clone()), ..settings() };
        let faults = Tokens::load(&settings).expect_err(text);
        assert!(faults[0].to_string().contains(words), "{text}: {faults:?}");
    }
    for (name, words) in [("weak.pem", "2048 bits"), ("other.pem", "not supported")] {
        let faults = Tokens::load(&with_keys(name)).expect_err(name);
        assert!(faults[0].to_string().contains(words), "{name}: {faults:?}");
    }
}

#[test]
fn a_secret_in_a_file_ends_before_the_line_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secret");
    let settings = Settings { secret_file: Some(path.clone()), ..settings() };
    let claims = json!({"sub": "ann"});
    let token = token(&json!({"alg": "HS256"}), &claims, SECRET);
    for (end, fits) in [("", true), ("\n", true), ("\r\n", true), ("\n\n", false), (" ", false)] {
        fs::write(&path, [SECRET, end.as_bytes()].concat()).expect("a folder of ours");
        assert_eq!(load(&settings).read(&token, NOW_S).is_ok(), fits, "{end:?}");
    }
    assert!(!load(&settings).is_guessable());
    fs::write(&path, "short\n").expect("a folder of ours");
    assert!(load(&settings).is_guessable());
    fs::write(&path, "\n").expect("a folder of ours");
    assert!(Tokens::load(&settings).is_err());
    assert_eq!(format!("{:?}", with_secret(SECRET).secret), "Some(Secret)");
}

/// JSON Web Keys with any byte changed are read or refused, and nothing else happens.
#[test]
fn garbled_keys_are_survived() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys");
    let settings = Settings { key_file: Some(path.clone()), ..settings() };
    for name in ["keys.json", "public.pem"] {
        let text = fs::read(file(name)).expect("a file of ours");
        let (mut good, mut bad) = (0, 0);
        for at in (0..text.len()).step_by(3) {
            let mut changed = text.clone();
            changed[at] ^= 1 << (at % 8);
            fs::write(&path, &changed).expect("a folder of ours");
            match Tokens::load(&settings) {
                Ok(_) => good += 1,
                Err(faults) => {
                    assert!(!faults.is_empty());
                    bad += 1;
                }
            }
        }
        assert!(good > 0 && bad > 0, "{name}: {good} {bad}");
    }
}
