//! JSON Web Tokens: who a signed token says that its bearer is, and what it lets it do.
//!
//! - `keys`: what signatures are checked with, and what each key may check;
//! - `token`: the three parts of a token, and its signature;
//! - `claims`: until when it holds, for whom, who it speaks of, which topics.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use crate::access::fault::Fault;
use crate::access::jwt::keys::Keys;
use crate::access::jwt::token::Token;
use crate::access::rules::Rules;

mod claims;
mod keys;
mod token;

/// What a token must be, before any key was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The secret that HMAC tokens are signed with, where the configuration itself has it.
    pub secret: Option<Secret>,
    /// A file with nothing but that secret.
    pub secret_file: Option<PathBuf>,
    /// Public keys: PEM, or a JSON Web Key (Set).
    pub key_file: Option<PathBuf>,
    /// Where a client puts its token.
    pub place: Place,
    /// The claim with the user name.
    pub user_claim: Box<str>,
    /// The claim with the filters of topics that the bearer may publish to.
    pub publish_claim: Box<str>,
    /// The claim with the filters of topics that the bearer may receive.
    pub subscribe_claim: Box<str>,
    /// What `iss` must be.
    pub issuer: Option<Box<str>>,
    /// What `aud` must contain.
    pub audience: Option<Box<str>>,
    /// Seconds by which clocks may differ.
    pub leeway_s: u64,
    /// What the end of a token means.
    pub expiry: Expiry,
}

/// Where a token stands in a CONNECT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In the password; the user name is not looked at.
    #[default]
    Password,
    /// In the user name, as with go-auth; the password is not looked at.
    UserName,
}

/// What happens when a token's time is over (`exp`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expiry {
    /// Nobody comes in with it any more, and who came in with it is disconnected.
    #[default]
    Close,
    /// Nobody comes in with it any more.
    Stay,
    /// Nothing.
    Ignore,
}

/// A secret, which no log ever shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Box<[u8]>);

/// What tokens are checked with.
#[derive(Clone, Debug)]
pub struct Tokens {
    settings: Settings,
    keys: Keys,
}

/// What a good token says of its bearer.
#[derive(Clone, Debug)]
pub struct Bearer {
    /// Who it is.
    pub user: Box<str>,
    /// What it may do. `None`: the token does not say, and the ACL file does.
    pub rights: Option<Arc<Rules>>,
    /// Unix time at which it is to be disconnected.
    pub ends_at_s: Option<u64>,
}

/// What is wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// It is none, or has extensions that must be understood and are not.
    #[error("the token is malformed")]
    Malformed,
    /// No key may check what it calls its algorithm.
    #[error("no key checks tokens of this algorithm")]
    Algorithm,
    /// It names a key that is not there.
    #[error("the token is signed with an unknown key")]
    UnknownKey,
    /// Somebody else has signed it, or it was changed.
    #[error("the signature of the token is wrong")]
    Signature,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is still to come.
    #[error("the token is not valid yet")]
    TooEarly,
    /// `iss` is another.
    #[error("the token has another issuer")]
    Issuer,
    /// `aud` is another.
    #[error("the token is for another audience")]
    Audience,
    /// The claim with the user name is not there, or is no name.
    #[error("the token names no user")]
    NoUser,
    /// A claim with topics has something that is no topic filter.
    #[error("the topics of the token are no topic filters")]
    Topics,
}

impl Tokens {
    /// Reads the keys.
    ///
    /// # Errors
    /// All that is wrong with their files.
    pub fn load(settings: &Settings) -> Result<Self, Vec<Fault>> {
        Ok(Self { settings: settings.clone(), keys: Keys::load(settings)? })
    }

    /// The token that a client has brought, if it has brought something that looks like one.
    pub fn find<'a>(&self, user: Option<&'a str>, password: Option<&'a [u8]>) -> Option<&'a str> {
        let text = match self.settings.place {
            Place::Password => std::str::from_utf8(password?).ok()?,
            Place::UserName => user?,
        };
        is_token(text).then_some(text)
    }

    /// Who the bearer of a token is. `now_s` is Unix time.
    ///
    /// # Errors
    /// What is wrong with the token: first its form, then its signature, then its claims.
    pub fn read(&self, token: &str, now_s: u64) -> Result<Bearer, TokenFault> {
        let claims = Token::parse(token)?.verified(&self.keys)?;
        claims.bearer(&self.settings, now_s)
    }

    /// What it was made from.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether somebody who has one token could guess the secret by trying.
    pub fn is_guessable(&self) -> bool {
        self.keys.shortest_secret().is_some_and(|bytes| bytes < keys::SECRET_BYTES)
    }
}

/// Whether a text has the shape of a token, which no password has that anybody would choose.
pub fn is_token(text: &str) -> bool {
    Token::parse(text).is_ok()
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests;
