//! Who may: pure decisions over files that were read.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use martlet_codec::packet::Connect;
use martlet_engine::permit::Permission;

use crate::access::ask::Backends;
use crate::access::fault::Fault;
use crate::access::jwt::{Bearer, TokenFault, Tokens};
use crate::access::peer::{CertificateNames, Peer};
use crate::access::permit::{AskedPermit, Subscribing, UserPermit};
use crate::access::rules::{Dialect, Rules, Who};
use crate::access::users::Users;

pub mod ask;
pub mod edit;
pub mod fault;
mod grants;
pub mod guard;
pub mod hash;
pub mod jwt;
pub mod peer;
pub mod permit;
pub mod rules;
pub mod tokens;
mod topics;
pub mod users;
pub mod why;

/// What decides at a listener, before any file was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether a client without a User Name may connect. Where there is no password file, one with
    /// any User Name may too.
    pub allow_anonymous: bool,
    /// Users and the hashes of their passwords.
    pub password_file: Option<PathBuf>,
    /// Who may do what. `None`: everybody everything.
    pub acl_file: Option<PathBuf>,
    /// What happens to a SUBSCRIBE for more than the client may receive.
    pub subscribing: Subscribing,
    /// Take the User Name for the client id, whatever the client calls itself.
    pub use_user_name_as_client_id: bool,
    /// What every client id must begin with.
    pub client_id_prefix: Option<Box<str>>,
    /// Which name of the client's certificate is its User Name; a client without one is refused,
    /// and no password is asked for.
    pub user_from_certificate: Option<CertificateName>,
    /// What is asked of tokens. `None`: a token is a password like any other.
    pub tokens: Option<jwt::Settings>,
    /// Who is asked besides.
    pub backends: Backends,
    /// How the ACL file is read.
    pub acl_dialect: Dialect,
    /// It says alone what clients may do; nobody else is asked about that.
    pub acl_file_decides: bool,
}

/// A name in a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateName {
    /// The Common Name of the subject.
    CommonName,
    /// The whole subject.
    Subject,
}

/// Who may come in at a listener, and what they may do then.
#[derive(Clone, Debug)]
pub struct Policy {
    settings: Settings,
    users: Option<Arc<Users>>,
    rules: Option<Arc<Rules>>,
    tokens: Option<Tokens>,
}

/// Somebody who wants to come in, as its CONNECT and its connection show it.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Empty: it wants one assigned.
    pub client_id: Box<str>,
    /// User Name.
    pub user_name: Option<Box<str>>,
    /// Password.
    pub password: Option<Box<[u8]>>,
    /// The names in its certificate.
    pub certificate: Option<Box<CertificateNames>>,
    /// When it came, in Unix time.
    pub came_at_s: u64,
}

/// What somebody may who came in.
#[derive(Clone, Debug)]
pub struct Admission {
    /// The client id to go on with; empty: one is to be assigned.
    pub client_id: Box<str>,
    /// Who it is.
    pub user_name: Option<Box<str>>,
    /// What it may do.
    pub permit: Permission,
    /// What its token says, if it came in with one.
    pub bearer: Option<Box<Bearer>>,
    /// Its rights are to be asked for.
    pub asks: bool,
}

/// Who somebody has shown to be.
struct Identity {
    /// `None`: nobody in particular.
    user: Option<Box<str>>,
    bearer: Option<Box<Bearer>>,
}

/// Why somebody may not connect. The log says it; the peer is told no more than that it may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There was no User Name.
    #[error("not authorised, anonymous clients are not allowed")]
    Anonymous,
    /// There was a User Name that nobody knows.
    #[error("not authorised, unknown user")]
    UnknownUser,
    /// There was a User Name, and no password.
    #[error("not authorised, no password")]
    NoPassword,
    /// There was a User Name with another password.
    #[error("not authorised, wrong password")]
    WrongPassword,
    /// There was a token that is no good.
    #[error("not authorised, {0}")]
    Token(TokenFault),
    /// There was a bearer token that stands for nobody.
    #[error("not authorised, unknown token")]
    UnknownToken,
    /// There was no certificate, or not the name in it that is the User Name here.
    #[error("not authorised, no name in a certificate")]
    NoCertificateName,
    /// The User Name is the client id here, and there was none.
    #[error("not authorised, no user name to be the client id")]
    NoUserName,
    /// The client id begins with something else.
    #[error("not authorised, the client id lacks the prefix")]
    NoPrefix,
    /// Who would know does not say.
    #[error("server unavailable, nobody answers who may come in")]
    NoAnswer,
}

impl Refusal {
    /// Whether somebody tried a name and a password, or a token that was not his. One whose time is
    /// over was, and its bearer tries nothing but to come back.
    pub fn is_failed_login(self) -> bool {
        match self {
            Self::UnknownUser | Self::NoPassword | Self::WrongPassword | Self::UnknownToken => true,
            Self::Token(fault) => !matches!(fault, TokenFault::Expired | TokenFault::TooEarly),
            Self::Anonymous
            | Self::NoCertificateName
            | Self::NoUserName
            | Self::NoPrefix
            | Self::NoAnswer => false,
        }
    }
}

impl Policy {
    /// Reads the files.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn load(settings: &Settings) -> Result<Self, Vec<Fault>> {
        let users = settings.password_file.as_deref().map(Users::read).transpose();
        let read = |path| Rules::read(path, settings.acl_dialect);
        let rules = settings.acl_file.as_deref().map(read).transpose();
        let tokens = settings.tokens.as_ref().map(Tokens::load).transpose();
        match (users, rules, tokens) {
            (Ok(users), Ok(rules), Ok(tokens)) => {
                let (settings, rules) = (settings.clone(), rules.map(Arc::new));
                let users = users.map(Arc::new);
                Ok(Self { settings, users, rules, tokens })
            }
            (users, rules, tokens) => {
                let faults = [users.err(), rules.err(), tokens.err()];
                Err(faults.into_iter().flatten().flatten().collect())
            }
        }
    }

    /// Whether [`admit`](Self::admit) takes the time that checking a password takes: milliseconds
    /// to a second, and tens of MiB.
    pub fn is_slow(&self, candidate: &Candidate) -> bool {
        let asked = self.users.is_some() && self.settings.user_from_certificate.is_none();
        let tried = candidate.user_name.is_some() && candidate.password.is_some();
        asked && tried && self.token(candidate).is_none()
    }

    /// Decides on a CONNECT.
    ///
    /// # Errors
    /// When this client may not connect.
    pub fn admit(&self, candidate: &Candidate) -> Result<Admission, Refusal> {
        self.welcome(candidate, self.authenticate(candidate)?)
    }

    /// Whether somebody whom this policy refuses may be known to those who are asked besides.
    pub fn asks_about(&self, candidate: &Candidate, refusal: Refusal) -> bool {
        let tried = candidate.user_name.is_some() && candidate.password.is_some();
        let unknown = matches!(refusal, Refusal::UnknownUser | Refusal::WrongPassword);
        !self.settings.backends.is_empty() && tried && unknown
    }

    /// Lets somebody in whom another has said to be who it says.
    ///
    /// # Errors
    /// When this client may not connect all the same.
    pub fn vouched(&self, candidate: &Candidate) -> Result<Admission, Refusal> {
        self.welcome(candidate, Identity { user: candidate.user_name.clone(), bearer: None })
    }

    fn welcome(&self, candidate: &Candidate, who: Identity) -> Result<Admission, Refusal> {
        let Identity { user, bearer } = who;
        let client_id = self.client_id(&candidate.client_id, user.as_deref())?.into();
        let permit = self.permit(user.as_deref(), bearer.as_deref());
        let has_rights = bearer.as_ref().is_some_and(|bearer| bearer.rights.is_some());
        let asks = self.asks_about_rights() && user.is_some() && !has_rights;
        Ok(Admission { client_id, user_name: user, permit, bearer, asks })
    }

    /// What the clients of this user may do. `bearer` is what the token says that it came in with.
    pub fn permit(&self, user: Option<&str>, bearer: Option<&Bearer>) -> Permission {
        let rights = bearer.and_then(|bearer| bearer.rights.as_ref());
        let rules = rights.or(self.rules.as_ref()).or(self.unruled())?;
        Some(Arc::new(UserPermit::new(rules, user, self.settings.subscribing)))
    }

    /// The same for a client of whose rights others know, too. `before` is what it had until now.
    pub fn asked_permit(&self, user: &str, before: Option<&AskedPermit>) -> AskedPermit {
        let rules = self.rules.as_ref().unwrap_or(&NOTHING);
        let own = UserPermit::new(rules, Some(user), self.settings.subscribing);
        match before {
            Some(before) => before.renewed(own),
            None => AskedPermit::new(own),
        }
    }

    /// Without an ACL file everything is allowed, but where others know more.
    fn unruled(&self) -> Option<&Arc<Rules>> {
        self.asks_about_rights().then_some(&*NOTHING)
    }

    /// Whether others are asked what clients may do.
    pub fn asks_about_rights(&self) -> bool {
        !self.settings.backends.is_empty() && !self.settings.acl_file_decides
    }

    /// The same, asking those whom `before` asked: they are chosen when the broker starts.
    #[must_use]
    pub fn asking_as(&self, before: &Self) -> Self {
        let mut policy = self.clone();
        policy.settings.backends = before.settings.backends;
        policy.settings.acl_file_decides = before.settings.acl_file_decides;
        policy.tokens = match (&before.tokens, &self.tokens) {
            (None, _) => None,
            (Some(before), None) => Some(before.clone()),
            (Some(_), Some(new)) => Some(new.clone()),
        };
        policy.settings.tokens = policy.tokens.as_ref().map(|tokens| tokens.settings().clone());
        policy
    }

    /// The ACL file, if there is one.
    pub fn rules(&self) -> Option<&Rules> {
        self.rules.as_deref()
    }

    /// What tokens are checked with, if they are asked for.
    pub fn tokens(&self) -> Option<&Tokens> {
        self.tokens.as_ref()
    }

    /// Whether a User Name that was let in is known to be true.
    pub fn proves_users(&self) -> bool {
        let others = self.settings.user_from_certificate.is_some() || self.has_others();
        self.users.is_some() || others
    }

    /// What it was made from.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether nobody can come in.
    pub fn is_shut(&self) -> bool {
        let users = self.users.as_ref().is_some_and(|users| !users.is_empty());
        let others = self.settings.user_from_certificate.is_some() || self.has_others();
        !(self.settings.allow_anonymous || users || others)
    }

    /// What the operator should know of it although nothing is wrong.
    pub fn warning(&self) -> Option<&'static str> {
        let guessable = self.tokens.as_ref().is_some_and(Tokens::is_guessable);
        guessable.then_some(
            "A secret for tokens has fewer than 32 bytes: whoever has a token can guess it by \
             trying. `openssl rand -base64 48` makes a good one.",
        )
    }

    /// Whether this client could connect with the right password or token.
    ///
    /// # Errors
    /// Why it could not.
    pub fn expects(&self, who: Who<'_>) -> Result<(), Refusal> {
        let Settings { allow_anonymous, user_from_certificate, .. } = self.settings;
        match (who.user, &self.users) {
            (None, _) if user_from_certificate.is_some() => Err(Refusal::NoCertificateName),
            (Some(_), _) if user_from_certificate.is_some() || self.has_others() => Ok(()),
            (None, _) if !allow_anonymous => Err(Refusal::Anonymous),
            (Some(_), None) if !allow_anonymous => Err(Refusal::UnknownUser),
            (Some(user), Some(users)) if !users.knows(user) => Err(Refusal::UnknownUser),
            _ => Ok(()),
        }?;
        self.client_id(who.client_id, who.user).map(drop)
    }

    /// The warning about a client whose names keep it from what the patterns would give it, in
    /// mosquitto's words.
    pub fn distrust(&self, client_id: &str, user: Option<&str>) -> Option<String> {
        let distrusts = self.rules.as_ref()?.distrusts(Who { client_id, user });
        let user = user.unwrap_or_default();
        distrusts.then(|| {
            format!(
                "ACL denying access to client with dangerous username {user:?} or client id \
                 {client_id:?}: + and # are wildcards."
            )
        })
    }

    /// The client id to go on with.
    fn client_id<'a>(&self, asked: &'a str, user: Option<&'a str>) -> Result<&'a str, Refusal> {
        let client_id = match (self.settings.use_user_name_as_client_id, user) {
            (true, Some(user)) => user,
            (true, None) => return Err(Refusal::NoUserName),
            (false, _) => asked,
        };
        let prefix = self.settings.client_id_prefix.as_deref().unwrap_or_default();
        if client_id.starts_with(prefix) { Ok(client_id) } else { Err(Refusal::NoPrefix) }
    }

    /// Whether others know users whom no password file has.
    fn has_others(&self) -> bool {
        self.tokens.is_some() || !self.settings.backends.is_empty()
    }

    /// The token that a client has brought, where tokens are asked for.
    fn token<'a>(&self, candidate: &'a Candidate) -> Option<&'a str> {
        let password = candidate.password.as_deref();
        self.tokens.as_ref()?.find(candidate.user_name.as_deref(), password)
    }

    /// Who the client is: by its certificate, its token, its password, in this order. What comes
    /// first decides alone, so that nobody tries twice.
    fn authenticate(&self, candidate: &Candidate) -> Result<Identity, Refusal> {
        if let Some(name) = self.settings.user_from_certificate {
            let user = name.of(candidate).ok_or(Refusal::NoCertificateName)?;
            return Ok(Identity { user: Some(user.into()), bearer: None });
        }
        if let (Some(tokens), Some(token)) = (&self.tokens, self.token(candidate)) {
            let bearer = tokens.read(token, candidate.came_at_s).map_err(Refusal::Token)?;
            return Ok(Identity { user: Some(bearer.user.clone()), bearer: Some(bearer.into()) });
        }
        let user = self.by_password(candidate)?;
        Ok(Identity { user: user.map(Box::from), bearer: None })
    }

    fn by_password<'a>(&self, candidate: &'a Candidate) -> Result<Option<&'a str>, Refusal> {
        match (candidate.user_name.as_deref(), &candidate.password, &self.users) {
            (None, _, _) if self.settings.allow_anonymous => Ok(None),
            (None, _, _) => Err(Refusal::Anonymous),
            // Nobody keeps users: what a client calls itself is as good as nothing.
            (user, _, None) if self.settings.allow_anonymous && !self.has_others() => Ok(user),
            (_, _, None) => Err(Refusal::UnknownUser),
            (_, None, _) => Err(Refusal::NoPassword),
            (Some(user), Some(password), Some(users)) => {
                users.check(user, password).map(|()| Some(user))
            }
        }
    }
}

/// Where others know who may, no file says that everybody may.
static NOTHING: LazyLock<Arc<Rules>> =
    LazyLock::new(|| Arc::new(Rules::granted("", &[], &[]).expect("no filter is wrong")));

impl CertificateName {
    /// What it is in this client's certificate.
    fn of(self, candidate: &Candidate) -> Option<&str> {
        let names = candidate.certificate.as_deref()?;
        match self {
            Self::CommonName => names.common_name.as_deref(),
            Self::Subject => Some(&*names.subject),
        }
        .filter(|name| !name.is_empty())
    }
}

impl Candidate {
    /// The owned form of a CONNECT that came at this Unix time.
    pub fn new(connect: &Connect<'_>, peer: &Peer, came_at_s: u64) -> Self {
        Self {
            client_id: connect.client_id.into(),
            user_name: connect.user_name.map(Box::from),
            password: connect.password.map(Box::from),
            certificate: peer.certificate.clone(),
            came_at_s,
        }
    }
}

/// The warning for a broker that no client can enter.
pub fn nobody_may_come_in<'a>(policies: impl IntoIterator<Item = &'a Policy>) -> Option<String> {
    let warning = "No client can connect: no listener allows anonymous clients, and there are no \
                   users. Make a user with `martlet passwd -c FILE NAME` and set password_file, or \
                   set allow_anonymous = true on a listener where every client may come in.";
    policies.into_iter().all(Policy::is_shut).then(|| warning.to_owned())
}

#[cfg(test)]
mod tests;
