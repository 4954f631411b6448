//! `martlet why`: what a policy answers, in words.

use crate::access::ask::{Access, Asked, Service};
use crate::access::permit::Subscribing;
use crate::access::rules::{Because, Question, Rules, Who};
use crate::access::{Candidate, Policy};

/// An answer in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Yes or no.
    pub allowed: bool,
    /// Others would be asked, and have the last word.
    pub asks: bool,
    /// The rule, with its file and line.
    pub text: String,
}

/// What this policy says to a client, once its password is right.
pub fn why(policy: &Policy, who: Who<'_>, question: Question<'_>) -> Reason {
    let settings = policy.settings();
    if let Err(refusal) = policy.expects(who) {
        return no(format!("the client cannot connect: {refusal}"));
    }
    let user = who.user.filter(|_| settings.use_user_name_as_client_id);
    let who = Who { client_id: user.unwrap_or(who.client_id), ..who };
    decide(policy, policy.rules(), who, question)
}

/// What this policy says to the bearer of a token. `now_s` is Unix time.
pub fn why_bearer(
    policy: &Policy,
    client_id: &str,
    token: &str,
    now_s: u64,
    question: Question<'_>,
) -> Reason {
    if policy.tokens().is_none() {
        return no("tokens are not asked for here: \"backends\" has no \"jwt\"".to_owned());
    }
    // Wherever it is looked for, there it stands.
    let candidate = Candidate {
        client_id: client_id.into(),
        user_name: Some(token.into()),
        password: Some(token.as_bytes().into()),
        certificate: None,
        came_at_s: now_s,
    };
    let admission = match policy.admit(&candidate) {
        Ok(admission) => admission,
        Err(refusal) => return no(format!("the client cannot connect: {refusal}")),
    };
    let who = Who { client_id: &admission.client_id, user: admission.user_name.as_deref() };
    let rights = admission.bearer.as_ref().and_then(|bearer| bearer.rights.as_deref());
    decide(policy, rights.or(policy.rules()), who, question)
}

/// What these services would be asked, in this order, until one says yes.
pub fn questions(
    services: &[&Service],
    ask_read: bool,
    who: Who<'_>,
    question: Question<'_>,
) -> Vec<String> {
    let (user, client_id) = (who.user.unwrap_or_default(), who.client_id);
    let about = |topic, access| Asked::Topic { user, client_id, topic, access };
    let mut asked = vec![Asked::Superuser { user }];
    match question {
        Question::Publish(topic) => asked.push(about(topic, Access::Write)),
        Question::Receive(topic) | Question::Subscribe(topic) => {
            asked.push(about(topic, Access::Subscribe));
            asked.extend(ask_read.then(|| about(topic, Access::Read)));
        }
    }
    let all = asked.iter().flat_map(|asked| services.iter().map(move |one| (one, asked)));
    let said = all.filter_map(|(service, asked)| {
        let request = service.request(asked)?;
        let method = format!("{:?}", service.method).to_uppercase();
        Some(format!("{method} {service}{} {}", request.path, request.body))
    });
    said.collect()
}

fn decide(policy: &Policy, rules: Option<&Rules>, who: Who<'_>, question: Question<'_>) -> Reason {
    if let Question::Publish(topic) = question
        && topic.starts_with("$SYS/")
        && !is_state_of_bridge(topic)
    {
        return no("$SYS is the broker's own".to_owned());
    }
    let asks = policy.asks_about_rights();
    let Some(rules) = rules else {
        return match (asks, who.user) {
            (false, _) => yes("there is no ACL file: everybody may do everything".to_owned()),
            (true, Some(_)) => Reason { asks, ..no("there is no ACL file".to_owned()) },
            (true, None) => no("there is no ACL file, and nobody is asked about clients without \
                                a user name"
                .to_owned()),
        };
    };
    if asks {
        let reason = by_rules(rules, who, question);
        return Reason { asks: !reason.allowed && who.user.is_some(), ..reason };
    }
    if matches!(question, Question::Subscribe(_))
        && policy.settings().subscribing == Subscribing::Compat
    {
        return yes("every subscription is granted (access.subscribe = \"compat\"), and its \
                    messages are looked at one by one: ask about `receive` and a topic"
            .to_owned());
    }
    by_rules(rules, who, question)
}

fn by_rules(rules: &Rules, who: Who<'_>, question: Question<'_>) -> Reason {
    let answer = rules.explain(who, question);
    let file = rules.path().display();
    let text = match answer.because {
        Because::Rule(rule) if rule.line == 0 => format!("{file}: {rule}"),
        Because::Rule(rule) => format!("{file}:{}: {rule}", rule.line),
        Because::Nothing => match who.user {
            Some(user) => format!("{file}: no line for user {user:?} and no pattern speaks of it"),
            None => format!(
                "{file}: no line above the first \"user\" and no pattern speaks of it; the client \
                 has no user name"
            ),
        },
        Because::Dangerous => format!(
            "{file}: + and # in a client id or user name could be wildcards in its patterns"
        ),
    };
    Reason { allowed: answer.allowed, asks: false, text }
}

fn is_state_of_bridge(topic: &str) -> bool {
    let name = topic.strip_prefix("$SYS/broker/connection/");
    name.and_then(|rest| rest.strip_suffix("/state")).is_some_and(|name| !name.contains('/'))
}

fn yes(text: String) -> Reason {
    Reason { allowed: true, asks: false, text }
}

fn no(text: String) -> Reason {
    Reason { allowed: false, asks: false, text }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::access::ask::{Backend, Backends};
    use crate::access::{Settings, jwt};

    #[test]
    fn a_token_is_looked_at_as_at_the_door() {
        let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/src/access/jwt/tests/");
        let tokens = fs::read_to_string(format!("{keys}tokens.txt")).expect("a file of ours");
        let token = tokens.lines().find(|line| line.starts_with("EdDSA ")).expect("there is one");
        let token = token.rsplit(' ').next().unwrap_or_default();
        let settings = jwt::Settings {
            secret: None,
            secret_file: None,
            key_file: Some(format!("{keys}public.pem").into()),
            place: jwt::Place::UserName,
            user_claim: "sub".into(),
            publish_claim: "publish".into(),
            subscribe_claim: "subscribe".into(),
            issuer: None,
            audience: None,
            leeway_s: 0,
            expiry: jwt::Expiry::Close,
        };
        let with = Settings { tokens: Some(settings), ..Settings::default() };
        let without = Settings { allow_anonymous: true, ..Settings::default() };
        let rows = [
            (&with, 1_800_000_000, Question::Publish("from/c/ann"), true, "token: pattern write"),
            (&with, 1_800_000_000, Question::Publish("both"), true, "token: topic write both"),
            (&with, 1_800_000_000, Question::Receive("both"), false, "token: no line for user"),
            (&with, 5_000_000_000, Question::Publish("both"), false, "the token has expired"),
            (&without, 1_800_000_000, Question::Publish("both"), false, "no \"jwt\""),
        ];
        for (settings, now_s, question, allowed, words) in rows {
            let policy = Policy::load(settings).expect("good files");
            let reason = why_bearer(&policy, "c", token, now_s, question);
            assert_eq!(reason.allowed, allowed, "{question:?}: {}", reason.text);
            assert!(reason.text.contains(words), "{question:?}: {}", reason.text);
        }
    }

    #[test]
    fn where_others_are_asked_the_files_alone_say_no_more_than_yes() {
        let folder = tempfile::tempdir().expect("a folder");
        let acl = folder.path().join("acl");
        fs::write(&acl, "topic read news\nuser ann\ntopic a/#\n").expect("a folder of ours");
        let backends = Backends::default().with(Backend::Http);
        let asking = Settings { allow_anonymous: true, backends, ..Settings::default() };
        let ruled = Settings { acl_file: Some(acl), ..asking.clone() };
        use Question::{Publish, Subscribe};
        let rows = [
            (&asking, Some("ann"), Publish("a/b"), false, true),
            (&asking, None, Publish("a/b"), false, false),
            (&ruled, Some("ann"), Publish("a/b"), true, false),
            (&ruled, Some("ann"), Publish("b"), false, true),
            (&ruled, Some("ann"), Subscribe("#"), false, true),
            (&ruled, Some("ann"), Publish("$SYS/a"), false, false),
            (&ruled, None, Subscribe("news"), true, false),
            (&ruled, None, Subscribe("#"), false, false),
        ];
        for (settings, user, question, allowed, asks) in rows {
            let policy = Policy::load(settings).expect("good files");
            let reason = why(&policy, Who { client_id: "c", user }, question);
            assert_eq!((reason.allowed, reason.asks), (allowed, asks), "{user:?} {question:?}");
        }
    }

    #[test]
    fn the_file_and_the_line_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let (acl, users) = (folder.path().join("acl"), folder.path().join("users"));
        fs::write(
            &acl,
            "topic read news\nuser ann\ntopic deny a/b\ntopic write a/#\npattern read %c\n",
        )
        .expect("a folder of ours");
        fs::write(&users, "ann:$7$1$AAAA$AAAA\n").expect("a folder of ours");
        let open = Settings { allow_anonymous: true, ..Settings::default() };
        let ruled = Settings { acl_file: Some(acl.clone()), ..open.clone() };
        let strict = Settings { subscribing: Subscribing::Strict, ..ruled.clone() };
        let known = Settings { password_file: Some(users), ..ruled.clone() };
        let bound = Settings { use_user_name_as_client_id: true, ..ruled.clone() };
        use Question::{Publish, Receive, Subscribe};
        let rows: &[(&Settings, Option<&str>, Question<'_>, bool, &str)] = &[
            (&open, None, Publish("a"), true, "there is no ACL file"),
            (&open, None, Publish("$SYS/a"), false, "$SYS is"),
            (&open, None, Publish("$SYS/broker/connection/a/state"), true, "there is no ACL"),
            (&ruled, Some("ann"), Publish("a/c"), true, "acl:4: topic write a/#"),
            (&ruled, Some("ann"), Publish("a/b"), false, "acl:3: topic deny a/b"),
            (&ruled, Some("ann"), Receive("c"), true, "acl:5: pattern read %c"),
            (&ruled, Some("ann"), Receive("news"), false, "acl: no line for user \"ann\""),
            (&ruled, None, Receive("x"), false, "acl: no line above the first \"user\""),
            (&ruled, Some("+"), Receive("x"), false, "acl: + and # in"),
            (&ruled, None, Subscribe("#"), true, "every subscription is granted"),
            (&strict, None, Subscribe("#"), false, "acl: no line above"),
            (&strict, None, Subscribe("news"), true, "acl:1: topic read news"),
            (&known, Some("bob"), Receive("c"), false, "cannot connect: not authorised, unknown"),
            (&known, Some("ann"), Receive("c"), true, "acl:5: "),
            (&bound, Some("ann"), Receive("ann"), true, "acl:5: "),
            (&bound, Some("ann"), Receive("c"), false, "acl: no line"),
            (&bound, None, Receive("news"), false, "no user name"),
            (&Settings::default(), None, Receive("x"), false, "anonymous clients"),
        ];
        for (settings, user, question, allowed, words) in rows {
            let policy = Policy::load(settings).expect("good files");
            let reason = why(&policy, Who { client_id: "c", user: *user }, *question);
            assert_eq!(reason.allowed, *allowed, "{question:?} {user:?}: {}", reason.text);
            assert!(reason.text.contains(words), "{question:?} {user:?}: {}", reason.text);
        }
    }
}
