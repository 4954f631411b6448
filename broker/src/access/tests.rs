use std::fs;
use std::path::Path;

use martlet_codec::topic::TopicName;

use super::*;
use crate::access::ask::Backend;
use crate::access::hash::{Hash, Scheme};

fn candidate(client_id: &str, user: Option<&str>, password: Option<&str>) -> Candidate {
    Candidate {
        client_id: client_id.into(),
        user_name: user.map(Box::from),
        password: password.map(|password| password.as_bytes().into()),
        certificate: None,
        came_at_s: 0,
    }
}

/// A password file with the user `ann`, whose password is `secret`.
fn users(folder: &tempfile::TempDir) -> PathBuf {
    let path = folder.path().join("users");
    let hash = Hash::new(Scheme::Pbkdf2 { iterations: 2 }, b"secret", b"salt".to_vec());
    fs::write(&path, format!("ann:{hash}\n")).expect("a folder of ours");
    path
}

fn load(settings: Settings) -> Policy {
    Policy::load(&settings).expect("good files")
}

#[test]
fn who_may_connect_is_as_with_mosquitto() {
    use Refusal::{Anonymous, NoPassword, UnknownUser, WrongPassword};
    let folder = tempfile::tempdir().expect("a folder");
    let file = users(&folder);
    /// Anonymous allowed, a password file, user, password; and the refusal.
    type Row = (bool, bool, Option<&'static str>, Option<&'static str>, Option<Refusal>);
    let rows: &[Row] = &[
        (true, false, None, None, None),
        (true, false, Some("any"), Some("thing"), None),
        (true, false, Some("any"), None, None),
        (false, false, None, None, Some(Anonymous)),
        (false, false, Some("any"), Some("thing"), Some(UnknownUser)),
        (true, true, None, None, None),
        (true, true, Some("ann"), Some("secret"), None),
        (true, true, Some("ann"), Some("wrong"), Some(WrongPassword)),
        (true, true, Some("ann"), None, Some(NoPassword)),
        (true, true, Some("eve"), Some("secret"), Some(UnknownUser)),
        (false, true, None, None, Some(Anonymous)),
        (false, true, Some("ann"), Some("secret"), None),
        (false, true, Some("ann"), Some(""), Some(WrongPassword)),
        (false, true, Some(""), Some("secret"), Some(UnknownUser)),
    ];
    for (allow_anonymous, with_file, user, password, refusal) in rows {
        let policy = load(Settings {
            allow_anonymous: *allow_anonymous,
            password_file: with_file.then(|| file.clone()),
            ..Settings::default()
        });
        let candidate = candidate("c", *user, *password);
        let admitted = policy.admit(&candidate);
        assert_eq!(admitted.as_ref().err(), refusal.as_ref(), "{candidate:?}");
        assert_eq!(policy.is_slow(&candidate), *with_file && user.is_some() && password.is_some());
        if let Ok(admission) = admitted {
            assert_eq!(admission.user_name.as_deref(), *user);
            assert!(admission.permit.is_none());
        }
    }
}

#[test]
fn a_certificate_says_who_its_client_is() {
    let named = |common_name: Option<&str>, subject: &str| {
        let common_name = common_name.map(Box::from);
        Some(Box::new(CertificateNames { common_name, subject: subject.into() }))
    };
    let names = |common_name| named(common_name, "CN=ann,O=here");
    let of = |name| load(Settings { user_from_certificate: Some(name), ..Settings::default() });
    let (by_name, by_subject) = (of(CertificateName::CommonName), of(CertificateName::Subject));
    let rows = [
        (&by_name, names(Some("ann")), Ok("ann")),
        (&by_subject, names(Some("ann")), Ok("CN=ann,O=here")),
        (&by_name, names(None), Err(Refusal::NoCertificateName)),
        (&by_name, None, Err(Refusal::NoCertificateName)),
        (&by_name, names(Some("")), Err(Refusal::NoCertificateName)),
        (&by_subject, named(Some("ann"), ""), Err(Refusal::NoCertificateName)),
    ];
    for (policy, certificate, expected) in rows {
        let candidate = Candidate { certificate, ..candidate("c", Some("eve"), Some("x")) };
        assert!(!policy.is_slow(&candidate));
        let user = policy.admit(&candidate).map(|admission| admission.user_name);
        assert_eq!(user, expected.map(|name| Some(Box::from(name))));
        assert!(!policy.is_shut());
    }
}

/// A policy that takes tokens, and the user `ann` with her password besides.
fn with_tokens(folder: &tempfile::TempDir, allow_anonymous: bool, place: jwt::Place) -> Policy {
    let tokens = jwt::Settings {
        secret: None,
        secret_file: None,
        key_file: Some(Path::new(env!("CARGO_MANIFEST_DIR")).join(KEYS).join("keys.json")),
        place,
        user_claim: "sub".into(),
        publish_claim: "publish".into(),
        subscribe_claim: "subscribe".into(),
        issuer: None,
        audience: None,
        leeway_s: 0,
        expiry: jwt::Expiry::Close,
    };
    load(Settings {
        allow_anonymous,
        password_file: Some(users(folder)),
        tokens: Some(tokens),
        ..Settings::default()
    })
}

const KEYS: &str = "src/access/jwt/tests";

/// A token of `ann`, as good as any password.
fn token() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(KEYS).join("tokens.txt");
    let text = fs::read_to_string(path).expect("a file of ours");
    let line = text.lines().find(|line| line.starts_with("ES256 ")).expect("there is one");
    line.rsplit(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn tokens_stand_beside_passwords() {
    use Refusal::{Anonymous, UnknownUser, WrongPassword};
    let folder = tempfile::tempdir().expect("a folder");
    let token = &*token();
    let forged = &*(token[..token.len() - 4].to_owned() + "AAAA");
    let wrong = Refusal::Token(TokenFault::Signature);
    let (by_password, by_name) = (jwt::Place::Password, jwt::Place::UserName);
    /// Where the token stands, user, password; and who it is, and whether by a token.
    type Row<'a> =
        (jwt::Place, Option<&'a str>, Option<&'a str>, Result<(Option<&'a str>, bool), Refusal>);
    let rows: &[Row<'_>] = &[
        (by_password, Some("ann"), Some("secret"), Ok((Some("ann"), false))),
        (by_password, Some("any"), Some(token), Ok((Some("ann"), true))),
        (by_password, None, Some(token), Ok((Some("ann"), true))),
        (by_password, Some("ann"), Some(forged), Err(wrong)),
        (by_password, Some(token), Some("secret"), Err(UnknownUser)),
        (by_password, Some("ann"), Some("not.a.token"), Err(WrongPassword)),
        (by_password, Some("eve"), None, Err(Refusal::NoPassword)),
        (by_name, Some(token), None, Ok((Some("ann"), true))),
        (by_name, Some(token), Some("any"), Ok((Some("ann"), true))),
        (by_name, Some(forged), Some("secret"), Err(wrong)),
        (by_name, Some("ann"), Some("secret"), Ok((Some("ann"), false))),
        (by_name, Some("ann"), Some(token), Err(WrongPassword)),
    ];
    for allow_anonymous in [false, true] {
        for (place, user, password, expected) in rows {
            let policy = with_tokens(&folder, allow_anonymous, *place);
            let candidate =
                Candidate { came_at_s: 1_800_000_000, ..candidate("c", *user, *password) };
            let admitted = policy.admit(&candidate);
            let admitted = admitted.as_ref().map_err(|refusal| *refusal);
            let is = admitted.map(|a| (a.user_name.as_deref(), a.bearer.is_some()));
            assert_eq!(is, *expected, "{place:?} {candidate:?}");
            assert!(!policy.is_shut() && policy.tokens().is_some());
        }
        let policy = with_tokens(&folder, allow_anonymous, by_password);
        let nobody = policy.admit(&candidate("c", None, None)).err();
        assert_eq!(nobody, (!allow_anonymous).then_some(Anonymous));
    }
    let policy = with_tokens(&folder, false, by_password);
    let brought = |password| candidate("c", Some("ann"), Some(password));
    assert!(policy.is_slow(&brought("secret")) && !policy.is_slow(&brought(token)));
    assert!(wrong.is_failed_login() && !Refusal::Token(TokenFault::Expired).is_failed_login());
}

#[test]
fn a_name_is_checked_where_tokens_are_and_files_are_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let policy = with_tokens(&folder, true, jwt::Place::Password);
    let settings = Settings { password_file: None, ..policy.settings().clone() };
    let policy = load(settings);
    for password in [None, Some("secret")] {
        let named = policy.admit(&candidate("c", Some("ann"), password));
        assert_eq!(named.err(), Some(Refusal::UnknownUser), "{password:?}");
    }
    assert!(policy.admit(&candidate("c", None, None)).is_ok());
}

#[test]
fn client_ids_follow_the_settings() {
    let open = Settings { allow_anonymous: true, ..Settings::default() };
    let bound = load(Settings { use_user_name_as_client_id: true, ..open.clone() });
    let prefixed = load(Settings { client_id_prefix: Some("dev-".into()), ..open });
    type Row<'a> = (&'a Policy, &'a str, Option<&'a str>, Result<&'a str, Refusal>);
    let rows: [Row<'_>; 5] = [
        (&bound, "c", Some("ann"), Ok("ann")),
        (&bound, "c", None, Err(Refusal::NoUserName)),
        (&prefixed, "dev-1", None, Ok("dev-1")),
        (&prefixed, "1", None, Err(Refusal::NoPrefix)),
        (&prefixed, "", None, Err(Refusal::NoPrefix)),
    ];
    for (policy, client_id, user, expected) in rows {
        let admitted = policy.admit(&candidate(client_id, user, None));
        assert_eq!(admitted.as_ref().map(|a| &*a.client_id).map_err(|r| *r), expected);
    }
}

#[test]
fn an_acl_file_becomes_a_permit() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("acl");
    fs::write(&path, "topic read news\nuser ann\ntopic write a/#\npattern read to/%c\n")
        .expect("a folder of ours");
    let settings = Settings { allow_anonymous: true, acl_file: Some(path), ..Settings::default() };
    let topic = |text: &'static str| TopicName::new(text.as_bytes()).expect("a topic");
    let policy = load(settings.clone());
    let permit = |user| policy.permit(user, None).expect("there is an ACL file");
    assert!(permit(Some("ann")).may_publish("c", topic("a/b")));
    assert!(!permit(Some("bob")).may_publish("c", topic("a/b")));
    assert!(permit(Some("bob")).may_receive("c", topic("to/c")));
    assert!(!permit(Some("bob")).may_receive("d", topic("to/c")));
    assert!(permit(None).may_receive("c", topic("news")));
    assert!(policy.distrust("#", None).is_some_and(|text| text.contains("dangerous")));
    assert!(policy.distrust("c", Some("ann")).is_none());
    let all = martlet_engine::filter::Filter::parse("$share/g/#").expect("a filter");
    assert!(permit(None).may_subscribe("c", &all));
    let strict = load(Settings { subscribing: Subscribing::Strict, ..settings });
    assert!(!strict.permit(None, None).expect("rules").may_subscribe("c", &all));
    let news = martlet_engine::filter::Filter::parse("$share/g/news").expect("a filter");
    assert!(strict.permit(None, None).expect("rules").may_subscribe("c", &news));
}

#[test]
fn all_mistakes_of_all_files_come_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let (users, acl) = (folder.path().join("users"), folder.path().join("acl"));
    fs::write(&users, b"ann:plain\n\xff\n").expect("a folder of ours");
    fs::write(&acl, "topic\n").expect("a folder of ours");
    let settings = |users: &PathBuf| Settings {
        password_file: Some(users.clone()),
        acl_file: Some(acl.clone()),
        ..Settings::default()
    };
    let said = Policy::load(&settings(&users)).expect_err("mistakes");
    let lines: Vec<_> = said.iter().map(|fault| (fault.file.clone(), fault.line)).collect();
    assert_eq!(lines, [(users, Some(2)), (acl.clone(), Some(1))]);
    let missing = folder.path().join("missing");
    let said = Policy::load(&settings(&missing)).expect_err("mistakes");
    assert!(said[0].to_string().contains("missing: cannot be read: No such file"), "{said:?}");
}

/// Where others are asked whom no file knows, nobody is let in by a name alone.
#[test]
fn a_name_is_proven_where_somebody_keeps_users() {
    let open = load(Settings { allow_anonymous: true, ..Settings::default() });
    assert!(!open.proves_users());
    let backends = Backends::default().with(Backend::Http);
    let asked = load(Settings { allow_anonymous: true, backends, ..Settings::default() });
    assert!(asked.proves_users());
    assert!(asked.admit(&candidate("c", Some("ann"), None)).is_err());
}

#[test]
fn one_open_listener_is_a_way_in() {
    let open = load(Settings { allow_anonymous: true, ..Settings::default() });
    let shut = load(Settings::default());
    assert_eq!(nobody_may_come_in([&shut, &open]), None);
    assert!(nobody_may_come_in([&shut, &shut]).is_some());
    let folder = tempfile::tempdir().expect("a folder");
    let users = load(Settings { password_file: Some(users(&folder)), ..Settings::default() });
    assert_eq!(nobody_may_come_in([&shut, &users]), None);
}
