//! `martlet why`: what a policy answers, in words.

use crate::access::Policy;
use crate::access::permit::Subscribing;
use crate::access::rules::{Because, Question, Rules, Who};

/// An answer in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Yes or no.
    pub allowed: bool,
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
    if let Question::Publish(topic) = question
        && topic.starts_with("$SYS/")
        && !is_state_of_bridge(topic)
    {
        return no("$SYS is the broker's own".to_owned());
    }
    let Some(rules) = policy.rules() else {
        return yes("there is no ACL file: everybody may do everything".to_owned());
    };
    if matches!(question, Question::Subscribe(_)) && settings.subscribing == Subscribing::Compat {
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
    Reason { allowed: answer.allowed, text }
}

fn is_state_of_bridge(topic: &str) -> bool {
    let name = topic.strip_prefix("$SYS/broker/connection/");
    name.and_then(|rest| rest.strip_suffix("/state")).is_some_and(|name| !name.contains('/'))
}

fn yes(text: String) -> Reason {
    Reason { allowed: true, text }
}

fn no(text: String) -> Reason {
    Reason { allowed: false, text }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::access::Settings;

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
