//! Who asks, and what they may: the users, passwords and rules of MQTT, or bearer tokens.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64ct::{Base64, Encoding};
use martlet_codec::topic::TopicName;
use martlet_engine::permit::Permission;
use parking_lot::{Mutex, RwLock};

use crate::access::jwt::{self, Bearer};
use crate::access::peer::{CertificateNames, PeerAddress};
use crate::access::tokens::Tokens;
use crate::access::{Candidate, Policy, Refusal};
use crate::clock;
use crate::http::link::nonce;
use crate::http::problem::Problem;
use crate::http::push::Publisher;
use crate::http::window::Places;
use crate::http::{Counted, Shared, origin};
use crate::net::door::Door;
use crate::telemetry::rights::Rights;

/// What decides on those who come to the window, which may be exchanged while they come.
#[derive(Debug)]
pub(super) struct Gate {
    door: Arc<Door>,
    keys: RwLock<Arc<Keys>>,
}

/// What HTTP has beside the users of MQTT.
#[derive(Debug, Default)]
pub struct Keys {
    /// Bearer tokens.
    pub tokens: Option<Tokens>,
    /// Users who may see and do everything here. Where there is no ACL file, everybody may.
    pub admins: Vec<Box<str>>,
    /// Origins of web pages, besides our own, that browsers may let in.
    pub origins: Vec<Box<str>>,
}

/// Who somebody is, and what that rests on.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) user: Option<Box<str>>,
    /// That it is this user was checked.
    proven: bool,
    /// What its token says, if that says something by itself.
    bearer: Option<Arc<Bearer>>,
}

/// Somebody who was let in.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) who: Identity,
    pub(super) permit: Permission,
    pub(super) address: PeerAddress,
    /// Of the links that its requests hold.
    pub(super) client_id: Box<str>,
    pub(super) is_admin: bool,
}

/// One connection of HTTP: where it comes from, and who it was the last time.
#[derive(Debug)]
pub(super) struct Visitor {
    pub(super) address: PeerAddress,
    /// The names in its certificate.
    certificate: Option<Box<CertificateNames>>,
    /// A password takes milliseconds to check; on one connection it is checked once.
    known: Mutex<Option<(HeaderValue, Known)>>,
    /// Who publishes what its requests bring.
    pub(super) publisher: tokio::sync::Mutex<Option<Publisher>>,
    /// They are another task's too, where it goes on as a WebSocket.
    pub(super) places: Arc<Places>,
}

/// What was decided, and by what.
#[derive(Debug)]
struct Known {
    policy: Arc<Policy>,
    keys: Arc<Keys>,
    caller: Caller,
}

/// What a request shows.
enum Shown {
    Nothing,
    Password { user: Box<str>, password: Box<[u8]> },
    Token(Box<str>),
}

impl Gate {
    pub(super) fn new(door: Arc<Door>, keys: Arc<Keys>) -> Self {
        Self { door, keys: RwLock::new(keys) }
    }

    pub(super) fn door(&self) -> &Door {
        &self.door
    }

    pub(super) fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read())
    }

    pub(super) fn replace(&self, keys: Arc<Keys>) {
        *self.keys.write() = keys;
    }

    /// What the links of this user may do by the rules that hold now.
    pub(super) fn permit(&self, caller: &Caller) -> Permission {
        permit(&self.door.policy(), &self.keys(), &caller.who)
    }

    /// From here on the caller may do what the rules that hold now say.
    pub(super) fn renew(&self, caller: &mut Caller) {
        caller.permit = self.permit(caller);
    }

    /// Decides on what a request shows.
    async fn admit(&self, visitor: &Visitor, shown: Shown) -> Result<Known, Refusal> {
        let address = visitor.address;
        let keys = self.keys();
        let (user, password) = match shown {
            // A token that says by itself whom it is for and until when.
            Shown::Token(token)
                if self.door.policy().tokens().is_some() && jwt::is_token(&token) =>
            {
                (Some(token.clone()), Some(token.into_boxed_bytes()))
            }
            Shown::Token(token) => {
                let user = keys.tokens.as_ref().and_then(|tokens| tokens.user(&token));
                let user = user.ok_or(Refusal::UnknownToken)?;
                let who = Identity { user: Some(user.into()), proven: true, bearer: None };
                return Ok(Known::new(self.door.policy(), Arc::clone(&keys), who, address));
            }
            Shown::Password { user, password } => (Some(user), Some(password)),
            Shown::Nothing => (None, None),
        };
        let client_id = client_id(&self.door.policy());
        let candidate = Candidate {
            client_id,
            user_name: user,
            password,
            certificate: visitor.certificate.clone(),
            came_at_s: clock::wall_s(),
        };
        let (policy, verdict) = self.door.admit(candidate).await;
        let admission = verdict?;
        let (user, bearer) = (admission.user_name, admission.bearer.map(Arc::from));
        let proven = user.is_some() && policy.proves_users();
        Ok(Known::new(policy, keys, Identity { user, proven, bearer }, address))
    }
}

impl Known {
    fn new(policy: Arc<Policy>, keys: Arc<Keys>, who: Identity, address: PeerAddress) -> Self {
        let permit = permit(&policy, &keys, &who);
        // Without any rules everybody may everything.
        let is_admin = keys.has_admin(&who) || (keys.admins.is_empty() && permit.is_none());
        let client_id = client_id(&policy);
        let caller = Caller { who, permit, is_admin, client_id, address };
        Self { policy, keys, caller }
    }

    /// Whether nothing was exchanged since.
    fn holds(&self, gate: &Gate) -> bool {
        let ended = self.caller.ends_after().is_some_and(|after| after.is_zero());
        !ended
            && Arc::ptr_eq(&self.policy, &gate.door.policy())
            && Arc::ptr_eq(&self.keys, &gate.keys())
    }
}

impl Keys {
    fn has_admin(&self, who: &Identity) -> bool {
        let user = who.user.as_deref().filter(|_| who.proven);
        user.is_some_and(|user| self.admins.iter().any(|admin| **admin == *user))
    }
}

/// What a user may do: an admin everything, the others what the rules of MQTT say.
fn permit(policy: &Policy, keys: &Keys, who: &Identity) -> Permission {
    match keys.has_admin(who) {
        true => None,
        false => policy.permit(who.user.as_deref(), who.bearer.as_deref()),
    }
}

/// A client id that is nobody else's, with the prefix that the listener's clients must have.
fn client_id(policy: &Policy) -> Box<str> {
    let prefix = policy.settings().client_id_prefix.as_deref().unwrap_or_default();
    format!("{prefix}http-{:016x}", nonce()).into()
}

impl Identity {
    /// Whether both may do the same by the same rules. What was read twice from tokens may differ.
    pub(super) fn is(&self, other: &Self) -> bool {
        let bearers = (&self.bearer, &other.bearer);
        let same_token = match bearers {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        same_token && self.user == other.user && self.proven == other.proven
    }
}

impl Visitor {
    pub(super) fn new(
        address: PeerAddress,
        certificate: Option<Box<CertificateNames>>,
        places: Places,
    ) -> Self {
        let (known, publisher) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { address, certificate, known, publisher, places: Arc::new(places) }
    }

    /// Who it was with the same credentials, if nothing was exchanged since.
    fn known(&self, credentials: &HeaderValue, gate: &Gate) -> Option<Caller> {
        let place = self.known.lock();
        let (shown, known) = place.as_ref()?;
        let same = shown == credentials && known.holds(gate);
        same.then(|| Caller { client_id: client_id(&known.policy), ..known.caller.clone() })
    }
}

impl Caller {
    /// What it may read of what was recorded.
    pub(super) fn rights(&self) -> Rights {
        Rights::new(self.client_id.clone(), self.permit.clone())
    }

    /// How long its token still holds, if that has an end.
    pub(super) fn ends_after(&self) -> Option<Duration> {
        let ends_at_s = self.who.bearer.as_ref()?.ends_at_s?;
        Some(Duration::from_secs(ends_at_s.saturating_sub(clock::wall_s())))
    }

    /// Refuses whoever may not see and do everything.
    pub(super) fn must_be_admin(&self) -> Result<(), Problem> {
        if self.is_admin {
            return Ok(());
        }
        Err(Problem::forbidden("this is for admins: name the user in http.admins"))
    }

    /// Refuses whoever may not read the broker's own topics.
    pub(super) fn must_read_sys(&self) -> Result<(), Problem> {
        let uptime = TopicName::from_validated(b"$SYS/broker/uptime");
        match &self.permit {
            Some(permit) if !permit.may_receive(&self.client_id, uptime) => {
                Err(Problem::forbidden("this is for those who may read $SYS/broker/uptime"))
            }
            _ => Ok(()),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(parts
            .extensions
            .get::<Self>()
            .expect("every route that asks lies behind `enter`")
            .clone())
    }
}

/// Lets a request in, or says why not: the log says more than the answer.
pub(super) async fn enter(
    State(shared): State<Arc<Shared>>,
    mut request: Request,
    next: Next,
) -> Response {
    let visitor = request.extensions().get::<Arc<Visitor>>().cloned();
    let visitor = visitor.expect("every connection brings its visitor");
    match let_in(&shared, &visitor, request.headers()).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => {
            shared.counted.refused(problem.status());
            let mut response = problem.into_response();
            // A browser would ask by itself, over our page, which asks too.
            let scripted = request.headers().get("sec-fetch-mode").is_some_and(|m| m != "navigate");
            if let (true, Some(challenge)) = (scripted, response.headers_mut().get_mut(CHALLENGE)) {
                *challenge = HeaderValue::from_static("Bearer realm=\"martlet\"");
            }
            response
        }
    }
}

const CHALLENGE: HeaderName = header::WWW_AUTHENTICATE;

async fn let_in(
    shared: &Shared,
    visitor: &Visitor,
    headers: &HeaderMap,
) -> Result<Caller, Problem> {
    let caller = identify(shared, visitor, headers.get(AUTHORIZATION)).await?;
    // Who has proven nothing is let in for being on this machine, and so may a page of others be,
    // with credentials that nobody checks.
    if shared.is_loopback && !caller.who.proven {
        origin::check_host(headers, &shared.gate.keys())?;
    }
    Ok(caller)
}

async fn identify(
    shared: &Shared,
    visitor: &Visitor,
    credentials: Option<&HeaderValue>,
) -> Result<Caller, Problem> {
    let gate = &shared.gate;
    if let Some(caller) = credentials.and_then(|shown| visitor.known(shown, gate)) {
        return Ok(caller);
    }
    if gate.door.is_banned(visitor.address) {
        Counted::one(&shared.driver.traffic.turned_away);
        return Err(banned());
    }
    let shown = credentials.map_or(Ok(Shown::Nothing), Shown::parse)?;
    let user = shown.user();
    let admitted = gate.admit(visitor, shown).await;
    let known = admitted.map_err(|refusal| turn_down(shared, visitor, user, refusal))?;
    let caller = known.caller.clone();
    *visitor.known.lock() = credentials.map(|shown| (shown.clone(), known));
    Ok(caller)
}

/// Counts, logs and remembers a refusal as MQTT's are.
fn turn_down(
    shared: &Shared,
    visitor: &Visitor,
    user: Option<Box<str>>,
    refusal: Refusal,
) -> Problem {
    let address = visitor.address;
    let named = user.as_ref().map(|user| format!(" (u'{user}')")).unwrap_or_default();
    let user = user.as_deref().unwrap_or_default();
    tracing::warn!(
        client = "<http>", %address, user, reason = %refusal,
        "Client <http>{named} [{address}] refused: {refusal}."
    );
    if refusal.is_failed_login() {
        shared.driver.traffic.logins_failed.fetch_add(1, Ordering::Relaxed);
    }
    if shared.gate.door.remember(address, refusal) {
        tracing::warn!(%address, "The address of [{address}] is banned after failed logins.");
        return banned();
    }
    match refusal {
        Refusal::Anonymous => Problem::who(
            "say who you are: a user and its password (Authorization: Basic), or a token \
             (Authorization: Bearer)",
        ),
        _ => Problem::who("these credentials are not accepted; the broker's log says why"),
    }
}

/// What a banned address is told, before its connection is closed.
fn banned() -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many failed logins: come later")
        .with(header::CONNECTION, HeaderValue::from_static("close"))
}

impl Shown {
    fn parse(value: &HeaderValue) -> Result<Self, Problem> {
        let text = value.to_str().map_err(|_| Problem::bad("Authorization is no ASCII text"))?;
        let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
        let rest = rest.trim();
        match scheme.to_ascii_lowercase().as_str() {
            "bearer" => Ok(Self::Token(rest.into())),
            "basic" => {
                let decoded = Base64::decode_vec(rest).ok();
                let decoded = decoded.and_then(|bytes| {
                    let colon = bytes.iter().position(|&byte| byte == b':')?;
                    let user = std::str::from_utf8(&bytes[..colon]).ok()?.into();
                    Some(Self::Password { user, password: bytes[colon + 1..].into() })
                });
                decoded.ok_or_else(|| {
                    Problem::bad("Authorization: Basic wants base64 of USER:PASSWORD behind it")
                })
            }
            _ => Err(Problem::who("Authorization is Basic or Bearer")),
        }
    }

    fn user(&self) -> Option<Box<str>> {
        match self {
            // A token that is refused here may be good elsewhere: no log shows it.
            Self::Password { user, .. } => Some(user.clone()).filter(|user| !jwt::is_token(user)),
            Self::Nothing | Self::Token(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_authorization_may_say() {
        let rows: &[(&str, Option<&str>)] = &[
            ("Bearer abc", Some("token abc")),
            ("bearer  abc ", Some("token abc")),
            ("Basic YW5uOnNlY3JldA==", Some("ann secret")),
            ("basic YW5uOmE6Yg==", Some("ann a:b")),
            ("Basic YW5u", None),
            ("Basic %%%", None),
            ("Basic", None),
            ("Digest x", None),
        ];
        for (value, expected) in rows {
            let shown =
                Shown::parse(&HeaderValue::from_static(value)).ok().map(|shown| match shown {
                    Shown::Token(token) => format!("token {token}"),
                    Shown::Password { user, password } => {
                        format!("{user} {}", String::from_utf8_lossy(&password))
                    }
                    Shown::Nothing => String::new(),
                });
            assert_eq!(shown.as_deref(), *expected, "{value}");
        }
    }
}
