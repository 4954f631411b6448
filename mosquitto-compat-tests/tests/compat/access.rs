//! The same mosquitto.conf, password file and ACL file under both brokers: who gets in, and who
//! gets what.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use mosquitto_compat_tests::broker::{Broker, Kind, mosquitto_binary};
use mosquitto_compat_tests::martlet;
use mosquitto_compat_tests::tools::{self, tool};
use tempfile::TempDir;

const ACL: &str = "\
topic read public/#
topic readwrite anonymous/#
topic deny public/secret
user ann
topic readwrite ann/#
topic deny ann/locked
topic read public/#
topic #
topic deny secret/#
user bob
topic write bob/+
topic read bob/out
topic read $SYS/broker/version
pattern write from/%c/%u
pattern read to/%c/#
pattern deny to/%c/never
pattern readwrite dev-%c/x
";

/// A broker with users that Debian's mosquitto_passwd has written, and these rules.
fn broker(kind: Kind, folder: &TempDir, allow_anonymous: bool) -> Broker {
    let (users, acl) = (folder.path().join("users"), folder.path().join("acl"));
    fs::write(&acl, ACL).unwrap();
    passwd(&["-c", "-b", path(&users), "ann", "secret"]);
    passwd(&["-H", "sha512", "-b", path(&users), "bob", "sesame"]);
    // mosquitto gives up being root before it reads them.
    for file in [folder.path(), &users, &acl] {
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let config = format!(
        "allow_anonymous {allow_anonymous}\npassword_file {}\nacl_file {}\n",
        path(&users),
        path(&acl)
    );
    let program = match kind {
        Kind::Martlet => martlet::binary().unwrap(),
        Kind::Mosquitto => mosquitto_binary(),
    };
    Broker::start_with_conf(kind, &program, &config).unwrap()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn passwd(arguments: &[&str]) {
    let output = Command::new("mosquitto_passwd").args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// `mosquitto_pub` with these arguments, which may be refused.
fn try_publish(broker: &Broker, arguments: &[&str]) -> Output {
    let mut command = tool("mosquitto_pub", broker);
    command.args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// (anonymous allowed, user, password, comes in)
const LOGINS: &[(bool, Option<&str>, Option<&str>, bool)] = &[
    (false, None, None, false),
    (false, Some("ann"), Some("secret"), true),
    (false, Some("bob"), Some("sesame"), true),
    (false, Some("ann"), Some("sesame"), false),
    (false, Some("ann"), None, false),
    (false, Some("eve"), Some("secret"), false),
    (true, None, None, true),
    (true, Some("ann"), Some("secret"), true),
    (true, Some("ann"), Some("wrong"), false),
    (true, Some("eve"), Some("x"), false),
];

fn logins(kind: Kind) {
    for allow_anonymous in [false, true] {
        let folder = TempDir::new().unwrap();
        let broker = broker(kind, &folder, allow_anonymous);
        for &(_, user, password, comes_in) in
            LOGINS.iter().filter(|(allowed, ..)| *allowed == allow_anonymous)
        {
            let mut arguments = vec!["-t", "x", "-m", "x", "-i", "client"];
            arguments.extend(user.iter().flat_map(|user| ["-u", *user]));
            arguments.extend(password.iter().flat_map(|password| ["-P", *password]));
            let output = try_publish(&broker, &arguments);
            assert_eq!(output.status.success(), comes_in, "{kind:?} {arguments:?} {output:?}");
        }
    }
}

#[test]
fn logins_are_as_with_mosquitto() {
    logins(Kind::Mosquitto);
    logins(Kind::Martlet);
}

/// Client id, user with password.
type Who = (&'static str, Option<(&'static str, &'static str)>);

const ANN: (&str, &str) = ("ann", "secret");
const BOB: (&str, &str) = ("bob", "sesame");

const CLIENTS: &[Who] =
    &[("c1", None), ("c2", Some(ANN)), ("c3", Some(BOB)), ("a/b", Some(BOB)), ("c+", Some(BOB))];

const TOPICS: &[&str] = &[
    "public/x",
    "public",
    "public/secret",
    "anonymous/x",
    "ann/x",
    "ann/locked",
    "secret/x",
    "bob/in",
    "bob/in/deeper",
    "from/c3/bob",
    "from/c2/ann",
    "from/c3/ann",
    "from/a/b/bob",
    "from/c+/bob",
    "to/c1/x",
    "to/c3/x",
    "to/c3/never",
    "to/a/b/x",
    "dev-c1/x",
    "dev-c3/x",
    "$SYS/x",
    "other",
];

fn login(client: &'static str, user: Option<(&'static str, &'static str)>) -> Vec<&'static str> {
    let mut arguments = vec!["-i", client, "-q", "1"];
    if let Some((user, password)) = user {
        arguments.extend(["-u", user, "-P", password]);
    }
    arguments
}

/// The topics that come before the message `end`.
fn heard(running: &mut tools::Running) -> Vec<String> {
    let mut heard = Vec::new();
    loop {
        let message = running.message();
        if message.payload == b"end" {
            return heard;
        }
        heard.push(message.topic);
    }
}

/// Who receives what ann publishes, and whose messages ann receives.
fn rights(kind: Kind) -> Vec<String> {
    let folder = TempDir::new().unwrap();
    let broker = broker(kind, &folder, true);
    let mut receivers: Vec<_> = CLIENTS
        .iter()
        .map(|(client, user)| {
            tools::subscribe(&broker, &[&login(client, *user)[..], &["-t", "#"]].concat())
        })
        .collect();
    let publish = |login: &[&str], topic: &str, payload: &str| {
        try_publish(&broker, &[login, &["-t", topic, "-m", payload]].concat());
    };
    let ann = login("publisher", Some(ANN));
    for topic in TOPICS {
        publish(&ann, topic, "x");
    }
    for topic in ["public/end", "ann/end", "bob/out"] {
        publish(&ann, topic, "end");
    }
    let mut rights = Vec::new();
    for ((client, user), receiver) in CLIENTS.iter().zip(&mut receivers) {
        rights.push(format!("{client} {user:?} receives {:?}", heard(receiver)));
    }
    drop(receivers);
    let all = [&login("listener", Some(ANN))[..], &["-t", "#"]].concat();
    let mut listener = tools::subscribe(&broker, &all);
    for (client, user) in CLIENTS {
        for topic in TOPICS {
            publish(&login(client, *user), topic, "x");
        }
        publish(&ann, "ann/end", "end");
        rights.push(format!("{client} {user:?} publishes {:?}", heard(&mut listener)));
    }
    rights
}

#[test]
fn rights_are_those_of_mosquitto() {
    let (ours, theirs) = (rights(Kind::Martlet), rights(Kind::Mosquitto));
    assert_eq!(ours, theirs);
    let yes: usize = theirs.iter().map(|right| right.matches("/x").count()).sum();
    assert!((10..60).contains(&yes), "{theirs:#?}");
}
