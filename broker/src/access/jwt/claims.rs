//! What a token says, once its signature is known to be good.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::access::jwt::{Bearer, Expiry, Settings, TokenFault};
use crate::access::rules::Rules;

/// The claims of a token.
#[derive(Debug)]
pub(super) struct Claims(Map<String, Value>);

/// Topic filters that one claim may have. Beyond them: the token is refused.
const FILTERS_MAX: usize = 256;

/// The longest user name of MQTT, in bytes.
const USER_BYTES_MAX: usize = 65_535;

impl Claims {
    pub(super) fn new(claims: Map<String, Value>) -> Self {
        Self(claims)
    }

    pub(super) fn bearer(&self, settings: &Settings, now_s: u64) -> Result<Bearer, TokenFault> {
        let ends_at_s = self.hold_now(settings, now_s)?;
        self.are_meant_for_us(settings)?;
        let user = self.user(&settings.user_claim)?;
        let rights = self.rights(settings, user)?;
        Ok(Bearer { user: user.into(), rights, ends_at_s })
    }

    /// Whether it is their time; and when they end, if somebody is to be disconnected then.
    fn hold_now(&self, settings: &Settings, now_s: u64) -> Result<Option<u64>, TokenFault> {
        let Settings { leeway_s, expiry, .. } = *settings;
        if self.time("nbf")?.is_some_and(|begin| now_s.saturating_add(leeway_s) < begin) {
            return Err(TokenFault::TooEarly);
        }
        let end = self.time("exp")?.map(|end| end.saturating_add(leeway_s));
        match end.filter(|_| expiry != Expiry::Ignore) {
            Some(end) if end <= now_s => Err(TokenFault::Expired),
            end => Ok(end.filter(|_| expiry == Expiry::Close)),
        }
    }

    fn are_meant_for_us(&self, settings: &Settings) -> Result<(), TokenFault> {
        let issuer = self.0.get("iss").and_then(Value::as_str);
        if settings.issuer.as_deref().is_some_and(|wanted| issuer != Some(wanted)) {
            return Err(TokenFault::Issuer);
        }
        let audience = self.texts("aud").unwrap_or_default();
        if settings.audience.as_deref().is_some_and(|wanted| !audience.contains(&wanted)) {
            return Err(TokenFault::Audience);
        }
        Ok(())
    }

    fn user(&self, claim: &str) -> Result<&str, TokenFault> {
        let user = self.find(claim).and_then(Value::as_str);
        let is_name = |user: &&str| {
            !user.is_empty() && user.len() <= USER_BYTES_MAX && !user.contains(char::is_control)
        };
        user.filter(is_name).ok_or(TokenFault::NoUser)
    }

    /// What the token gives; `None`: it does not speak of topics.
    fn rights(&self, settings: &Settings, user: &str) -> Result<Option<Arc<Rules>>, TokenFault> {
        let [publish, subscribe] = [&settings.publish_claim, &settings.subscribe_claim];
        if self.find(publish).is_none() && self.find(subscribe).is_none() {
            return Ok(None);
        }
        let filters = |claim: &str| match self.find(claim) {
            None => Ok(Vec::new()),
            Some(_) => self
                .texts(claim)
                .filter(|filters| filters.len() <= FILTERS_MAX)
                .ok_or(TokenFault::Topics),
        };
        let rules = Rules::granted(user, &filters(publish)?, &filters(subscribe)?);
        rules.map(|rules| Some(Arc::new(rules))).ok_or(TokenFault::Topics)
    }

    /// Seconds since 1970.
    fn time(&self, name: &str) -> Result<Option<u64>, TokenFault> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        // Fractions are allowed, and mean nothing to a leeway of seconds.
        let seconds = value.as_u64().or_else(|| value.as_f64().map(|seconds| seconds as u64));
        seconds.map(Some).ok_or(TokenFault::Malformed)
    }

    /// A text, or a list of nothing but texts.
    fn texts(&self, name: &str) -> Option<Vec<&str>> {
        match self.find(name)? {
            Value::String(text) => Some(vec![text]),
            Value::Array(values) => values.iter().map(Value::as_str).collect(),
            _ => None,
        }
    }

    /// The claim of that name, or at the end of that path (`acl.publish`).
    fn find(&self, name: &str) -> Option<&Value> {
        self.0.get(name).or_else(|| {
            let (first, rest) = name.split_once('.')?;
            rest.split('.').try_fold(self.0.get(first)?, |value, part| value.get(part))
        })
    }
}
