//! Who is asked beside the files: in which words, and what an answer means. Who asks, and waits for
//! answers, is `inquiry`.
//!
//! The words are those of mosquitto-go-auth's back ends `http` and `jwt` (remote), so that services
//! that were written for it need not be changed.

use std::fmt::{self, Write};
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// A service that knows users and their rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// A name or an address.
    pub host: Box<str>,
    /// Its port.
    pub port: u16,
    /// Speak TLS with it.
    pub tls: bool,
    /// Believe nobody whose certificate is not good for `host`.
    pub verify_peer: bool,
    /// Who signs good certificates; `None`: whom the system trusts.
    pub ca_file: Option<PathBuf>,
    /// Who is asked whether a user may come in.
    pub user_path: Box<str>,
    /// Who is asked whether a user may do everything. `None`: nobody may.
    pub superuser_path: Option<Box<str>>,
    /// Who is asked whether a user may do something with a topic.
    pub acl_path: Box<str>,
    /// How it is asked.
    pub method: Method,
    /// What a question looks like.
    pub params: Params,
    /// What an answer looks like.
    pub response: Response,
    /// The header of that name.
    pub user_agent: Box<str>,
    /// Seconds that an answer may take.
    pub timeout_s: u64,
    /// What a client calls its user name is a token, which goes along in a header.
    pub bearer: bool,
}

/// The method of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// POST.
    Post,
    /// PUT.
    Put,
    /// GET, with a body.
    Get,
}

/// What a question looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Params {
    /// An object.
    Json,
    /// As a page's form is sent.
    Form,
}

/// What an answer looks like. In any case it is a no beyond 299, and none beyond 499.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Response {
    /// The status says it all.
    Status,
    /// `{"ok": true}`.
    Json,
    /// `ok`.
    Text,
}

/// One of those who may be asked, as `backends` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// A service that is given names and passwords.
    Http = 1,
    /// A service that is given tokens.
    Jwt = 2,
}

/// Those who are asked at a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Backends(u8);

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub enum Asked<'a> {
    /// Whether somebody may come in.
    User {
        /// As whom.
        user: &'a str,
        /// With which password.
        password: &'a [u8],
        /// With which client id.
        client_id: &'a str,
    },
    /// Whether a user may do everything.
    Superuser {
        /// Who.
        user: &'a str,
    },
    /// Whether a user may do something.
    Topic {
        /// Who.
        user: &'a str,
        /// With which client id.
        client_id: &'a str,
        /// The topic, or a filter that is subscribed to.
        topic: &'a str,
        /// What.
        access: Access,
    },
}

/// What somebody wants to do with a topic, in the numbers of mosquitto's plug-ins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To receive it.
    Read = 1,
    /// To publish it.
    Write = 2,
    /// To subscribe.
    Subscribe = 4,
}

/// A request, but for where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The path.
    pub path: Box<str>,
    /// What the body is.
    pub content_type: &'static str,
    /// The question.
    pub body: String,
    /// The header `Authorization`.
    pub authorization: Option<String>,
}

/// Under which an answer is remembered. No password can be read from it.
pub type Key = [u8; 32];

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// It took too long.
    #[error("it does not answer in time")]
    Late,
    /// It could not be reached.
    #[error("{0}")]
    Unreached(String),
    /// It broke off.
    #[error("{0}")]
    Gone(String),
    /// It says itself that it cannot answer.
    #[error("it answers with status {0}")]
    Status(u16),
    /// It says something else than was asked for.
    #[error("its answer is not what `response_mode` says")]
    Garbled,
    /// It has failed just now, and is left in peace for a moment.
    #[error("it failed just now")]
    Failing,
}

impl Service {
    /// The question as it is sent. `None`: it is not to be asked, and the answer is no.
    pub fn request(&self, asked: &Asked<'_>) -> Option<Request> {
        if self.bearer && asked.user().contains(char::is_control) {
            return None; // no token, and no header can carry it
        }
        let path = match asked {
            Asked::User { .. } => &self.user_path,
            Asked::Superuser { .. } => self.superuser_path.as_ref()?,
            Asked::Topic { .. } => &self.acl_path,
        };
        let fields = asked.fields(self.bearer);
        let (content_type, body) = match self.params {
            Params::Json => ("application/json", json(fields)),
            Params::Form => ("application/x-www-form-urlencoded", form(&fields)),
        };
        let authorization = self.bearer.then(|| format!("Bearer {}", asked.user()));
        Some(Request { path: path.clone(), content_type, body, authorization })
    }

    /// What an answer means.
    ///
    /// # Errors
    /// When it is none.
    pub fn verdict(&self, status: u16, body: &[u8]) -> Result<bool, NoAnswer> {
        match status {
            200..=299 => {}
            400..=499 => return Ok(false),
            other => return Err(NoAnswer::Status(other)),
        }
        match self.response {
            Response::Status => Ok(true),
            Response::Text => Ok(body == b"ok"),
            Response::Json => {
                let answer = serde_json::from_slice::<Map<String, Value>>(body);
                let answer = answer.map_err(|_| NoAnswer::Garbled)?;
                let ok = answer.iter().find(|(name, _)| name.eq_ignore_ascii_case("ok"));
                ok.map_or(Ok(false), |(_, ok)| ok.as_bool().ok_or(NoAnswer::Garbled))
            }
        }
    }
}

impl fmt::Display for Service {
    /// Where it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl Backends {
    /// With this one too.
    #[must_use]
    pub const fn with(self, backend: Backend) -> Self {
        Self(self.0 | backend as u8)
    }

    /// Whether this one is asked.
    pub const fn has(self, backend: Backend) -> bool {
        self.0 & backend as u8 != 0
    }

    /// Whether nobody is asked.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl<'a> Asked<'a> {
    /// Who is asked about.
    pub const fn user(&self) -> &'a str {
        match self {
            Self::User { user, .. } | Self::Superuser { user } | Self::Topic { user, .. } => user,
        }
    }

    /// The same question has the same key, and no other has it.
    pub fn key(&self) -> Key {
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        match self {
            Self::User { user, password, client_id } => {
                add(b"user");
                [user.as_bytes(), password, client_id.as_bytes()].into_iter().for_each(add);
            }
            Self::Superuser { user } => {
                add(b"superuser");
                add(user.as_bytes());
            }
            Self::Topic { user, client_id, topic, access } => {
                add(&[*access as u8]);
                [user, client_id, topic].into_iter().for_each(|part| add(part.as_bytes()));
            }
        }
        hash.finalize().into()
    }

    /// The parameters, in the order of their names. With a token nobody is named.
    fn fields(&self, bearer: bool) -> Vec<(&'static str, Value)> {
        let text = |text: &str| Value::from(text);
        let mut fields = Vec::new();
        if let Self::Topic { access, .. } = self {
            fields.push(("acc", Value::from(*access as u8)));
        }
        match self {
            Self::Topic { client_id, .. } => fields.push(("clientid", text(client_id))),
            Self::User { client_id, .. } if !bearer => fields.push(("clientid", text(client_id))),
            _ => {}
        }
        match self {
            Self::User { password, .. } if !bearer => {
                fields.push(("password", text(&String::from_utf8_lossy(password))));
            }
            Self::Topic { topic, .. } => fields.push(("topic", text(topic))),
            _ => {}
        }
        if !bearer {
            fields.push(("username", text(self.user())));
        }
        fields
    }
}

fn json(fields: Vec<(&'static str, Value)>) -> String {
    if fields.is_empty() {
        return "null".to_owned(); // as go-auth writes it
    }
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
    Value::Object(fields.collect()).to_string()
}

/// As the URL standard has it.
fn form(fields: &[(&'static str, Value)]) -> String {
    let mut out = String::new();
    for (name, value) in fields {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let and = if out.is_empty() { "" } else { "&" };
        let _ = write!(out, "{and}{name}=");
        for byte in value.bytes() {
            match byte {
                b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' | b'.' | b'*' => {
                    out.push(byte.into());
                }
                b' ' => out.push('+'),
                _ => {
                    let _ = write!(out, "%{byte:02X}");
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: fn() -> Service = || Service {
        host: "127.0.0.1".into(),
        port: 80,
        tls: false,
        verify_peer: true,
        ca_file: None,
        user_path: "/user".into(),
        superuser_path: Some("/superuser".into()),
        acl_path: "/acl".into(),
        method: Method::Post,
        params: Params::Json,
        response: Response::Status,
        user_agent: "martlet".into(),
        timeout_s: 5,
        bearer: false,
    };

    const USER: Asked<'_> = Asked::User { user: "ann", password: b"a \"b\" & c", client_id: "c1" };
    const SUPERUSER: Asked<'_> = Asked::Superuser { user: "ann" };
    const TOPIC: Asked<'_> =
        Asked::Topic { user: "ann", client_id: "c1", topic: "a/b é", access: Access::Write };

    #[test]
    fn questions_are_in_the_words_of_go_auth() {
        let json = SERVICE();
        let form = Service { params: Params::Form, ..SERVICE() };
        let token = Service { bearer: true, ..SERVICE() };
        let token_form = Service { bearer: true, ..form.clone() };
        let rows = [
            (
                &json,
                USER,
                "/user",
                r#"{"clientid":"c1","password":"a \"b\" & c","username":"ann"}"#,
            ),
            (&json, SUPERUSER, "/superuser", r#"{"username":"ann"}"#),
            (&json, TOPIC, "/acl", r#"{"acc":2,"clientid":"c1","topic":"a/b é","username":"ann"}"#),
            (&form, USER, "/user", "clientid=c1&password=a+%22b%22+%26+c&username=ann"),
            (&form, TOPIC, "/acl", "acc=2&clientid=c1&topic=a%2Fb+%C3%A9&username=ann"),
            (&token, USER, "/user", "null"),
            (&token, TOPIC, "/acl", r#"{"acc":2,"clientid":"c1","topic":"a/b é"}"#),
            (&token_form, SUPERUSER, "/superuser", ""),
        ];
        for (service, asked, path, body) in rows {
            let request = service.request(&asked).expect("it is asked");
            assert_eq!((&*request.path, &*request.body), (path, body));
            let header = service.bearer.then(|| "Bearer ann".to_owned());
            assert_eq!(request.authorization, header);
        }
        let nobody = Service { superuser_path: None, ..SERVICE() };
        assert!(nobody.request(&SUPERUSER).is_none() && nobody.request(&TOPIC).is_some());
        for user in ["x\u{7}y", "x\ny", "\u{7f}", "\u{80}"] {
            let asked = Asked::Superuser { user };
            assert!(token.request(&asked).is_none(), "{user:?} in a header");
            assert!(json.request(&asked).is_some() && form.request(&asked).is_some());
        }
    }

    #[test]
    fn answers_mean_what_they_mean_to_go_auth() {
        use Response::{Json, Status, Text};
        let rows: &[(Response, u16, &str, Result<bool, NoAnswer>)] = &[
            (Status, 200, "", Ok(true)),
            (Status, 204, "anything", Ok(true)),
            (Status, 401, "", Ok(false)),
            (Status, 403, "ok", Ok(false)),
            (Status, 404, "", Ok(false)),
            (Status, 302, "", Err(NoAnswer::Status(302))),
            (Status, 500, "", Err(NoAnswer::Status(500))),
            (Text, 200, "ok", Ok(true)),
            (Text, 200, "OK", Ok(false)),
            (Text, 200, "ok\n", Ok(false)),
            (Text, 400, "ok", Ok(false)),
            (Json, 200, r#"{"ok":true,"error":""}"#, Ok(true)),
            (Json, 200, r#"{"Ok":true}"#, Ok(true)),
            (Json, 200, r#"{"ok":false,"error":"no"}"#, Ok(false)),
            (Json, 200, "{}", Ok(false)),
            (Json, 200, r#"{"ok":"true"}"#, Err(NoAnswer::Garbled)),
            (Json, 200, "[true]", Err(NoAnswer::Garbled)),
            (Json, 200, "", Err(NoAnswer::Garbled)),
            (Json, 401, "", Ok(false)),
            (Json, 503, r#"{"ok":true}"#, Err(NoAnswer::Status(503))),
        ];
        for (response, status, body, expected) in rows {
            let service = Service { response: *response, ..SERVICE() };
            let verdict = service.verdict(*status, body.as_bytes());
            assert_eq!(verdict, *expected, "{response:?} {status} {body}");
        }
    }

    #[test]
    fn no_two_questions_have_one_key() {
        let topic =
            |user, client_id, topic, access| Asked::Topic { user, client_id, topic, access };
        let all = [
            USER,
            Asked::User { user: "ann", password: b"", client_id: "c1" },
            Asked::User { user: "anna", password: b" \"b\" & c", client_id: "c1" },
            SUPERUSER,
            Asked::Superuser { user: "bob" },
            TOPIC,
            topic("ann", "c1", "a/b é", Access::Read),
            topic("ann", "c1", "a/b é", Access::Subscribe),
            topic("ann", "c1a", "/b é", Access::Write),
            topic("an", "nc1", "a/b é", Access::Write),
        ];
        for (at, one) in all.iter().enumerate() {
            assert_eq!(one.key(), one.key());
            for other in &all[at + 1..] {
                assert_ne!(one.key(), other.key(), "{one:?} {other:?}");
            }
        }
    }
}
