//! Asking services over HTTP who may: go-auth's back ends `http` and `jwt` (remote).
//!
//! Nobody but the task of the connection that wants to know waits for an answer. What was answered
//! is remembered for a while. No answer is no: whoever needs it does not get through.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::access::ask::{Access, Asked, Backend, Backends, NoAnswer, Service};
use crate::access::fault::Fault;
use crate::clock::Clock;
use crate::inquiry::answers::Answers;
pub use crate::inquiry::answers::Lifetime;
use crate::inquiry::client::Client;

mod answers;
mod client;
mod trust;

/// Who is asked, and within which bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The back end `http`.
    pub http: Option<Service>,
    /// The back end `jwt`, where somebody else reads the tokens.
    pub jwt: Option<Service>,
    /// Questions at a time. At the bound: the others wait in the order of coming, and with them the
    /// connections that want to know.
    pub questions_max: u32,
    /// How long it is remembered who may come in.
    pub logins: Lifetime,
    /// How long it is remembered who may do what.
    pub rights: Lifetime,
    /// Whether a subscription needs a yes to receiving (1) besides that to subscribing (4).
    pub ask_read: bool,
    /// Names with `+` or `#` get a no, and nobody is asked.
    pub deny_special_chars: bool,
}

/// Whoever wants to know something asks here.
#[derive(Debug)]
pub struct Inquiry {
    settings: Settings,
    services: Vec<(Backend, Client)>,
    answers: Mutex<Answers>,
    turns: Semaphore,
    clock: Clock,
    /// Questions that were sent.
    asked: AtomicU64,
    /// Questions that found no answer.
    unanswered: AtomicU64,
}

impl Settings {
    /// What the operator should know of it although nothing is wrong.
    pub fn warnings(&self) -> Vec<String> {
        let services = self.http.iter().chain(&self.jwt);
        let unverified = services.filter(|service| service.tls && !service.verify_peer);
        let warnings = unverified.map(|service| {
            format!(
                "The certificate of {service} is not looked at: whoever answers in its place is \
                 believed, and learns the passwords. Set verify_peer = true."
            )
        });
        warnings.collect()
    }
}

impl Inquiry {
    /// Reads the files that the services need. Opens nothing.
    ///
    /// # Errors
    /// All that is wrong with the files.
    pub fn load(settings: &Settings) -> Result<Self, Vec<Fault>> {
        let [http, jwt] = [&settings.http, &settings.jwt];
        let named = [(Backend::Http, http), (Backend::Jwt, jwt)];
        let (mut services, mut faults) = (Vec::new(), Vec::new());
        for (backend, service) in named {
            let Some(service) = service else { continue };
            match Client::load(service, settings.questions_max as usize) {
                Ok(client) => services.push((backend, client)),
                Err(fault) => faults.push(fault),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self {
            settings: settings.clone(),
            services,
            answers: Mutex::default(),
            turns: Semaphore::new(settings.questions_max as usize),
            clock: Clock::start(),
            asked: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
        })
    }

    /// What it was made from.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether somebody may come in, as one of these back ends says.
    ///
    /// # Errors
    /// When none says yes, and one says nothing.
    pub async fn login(
        &self,
        backends: Backends,
        user: &str,
        password: &[u8],
        client_id: &str,
    ) -> Result<bool, NoAnswer> {
        let asked = Asked::User { user, password, client_id };
        if let Some(known) = self.known(backends, &asked) {
            return Ok(known);
        }
        let answer = self.ask_all(backends, &asked).await?;
        self.remember(backends, &asked, answer, self.settings.logins);
        Ok(answer)
    }

    /// Whether a user may do everything.
    ///
    /// # Errors
    /// When nobody says yes, and one says nothing.
    pub async fn is_superuser(&self, backends: Backends, user: &str) -> Result<bool, NoAnswer> {
        let asked = Asked::Superuser { user };
        if let Some(known) = self.known(backends, &asked) {
            return Ok(known);
        }
        let answer = self.ask_all(backends, &asked).await?;
        self.remember(backends, &asked, answer, self.settings.rights);
        Ok(answer)
    }

    /// Whether a user may do something with a topic, if that was answered not long ago.
    pub fn known_right(&self, backends: Backends, right: &Right<'_>) -> Option<bool> {
        if self.is_denied_unasked(right) {
            return Some(false);
        }
        self.known(backends, &right.asked(right.access))
    }

    /// Whether a user may do something with a topic: a superuser may, and who may do this.
    ///
    /// # Errors
    /// When nobody says yes, and one says nothing.
    pub async fn right(&self, backends: Backends, right: &Right<'_>) -> Result<bool, NoAnswer> {
        if let Some(known) = self.known_right(backends, right) {
            return Ok(known);
        }
        let superuser = self.is_superuser(backends, right.user).await;
        let answer = match superuser {
            Ok(true) => Ok(true),
            Ok(false) => self.topic(backends, right).await,
            // Others may say yes all the same.
            Err(none) => match self.topic(backends, right).await {
                Ok(true) => Ok(true),
                _ => Err(none),
            },
        }?;
        self.remember(backends, &right.asked(right.access), answer, self.settings.rights);
        Ok(answer)
    }

    /// What was answered counts no more.
    pub fn forget(&self) {
        self.answers.lock().forget();
    }

    /// Questions that were sent, and of those the ones without an answer.
    pub fn totals(&self) -> (u64, u64) {
        (self.asked.load(Ordering::Relaxed), self.unanswered.load(Ordering::Relaxed))
    }

    fn is_denied_unasked(&self, right: &Right<'_>) -> bool {
        let special = |name: &str| name.contains(['+', '#']);
        self.settings.deny_special_chars && (special(right.user) || special(right.client_id))
    }

    fn known(&self, backends: Backends, asked: &Asked<'_>) -> Option<bool> {
        self.answers.lock().find((asked.key(), backends), self.clock.now())
    }

    fn remember(&self, backends: Backends, asked: &Asked<'_>, answer: bool, lifetime: Lifetime) {
        let key = (asked.key(), backends);
        self.answers.lock().remember(key, answer, self.clock.now(), lifetime);
    }

    /// Of a subscription both that and receiving what comes by it.
    async fn topic(&self, backends: Backends, right: &Right<'_>) -> Result<bool, NoAnswer> {
        let first = self.ask_all(backends, &right.asked(right.access)).await?;
        if !first || right.access != Access::Subscribe || !self.settings.ask_read {
            return Ok(first);
        }
        self.ask_all(backends, &right.asked(Access::Read)).await
    }

    /// One after the other, until one says yes.
    async fn ask_all(&self, backends: Backends, asked: &Asked<'_>) -> Result<bool, NoAnswer> {
        let mut missing = None;
        for (_, client) in self.services.iter().filter(|(backend, _)| backends.has(*backend)) {
            let Some(request) = client.service().request(asked) else { continue };
            let turn = self.turns.acquire().await.expect("nobody closes this semaphore");
            self.asked.fetch_add(1, Ordering::Relaxed);
            let answer = client.ask(request, self.clock).await;
            drop(turn);
            match answer {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(none) => {
                    self.unanswered.fetch_add(1, Ordering::Relaxed);
                    missing = Some(none);
                }
            }
        }
        missing.map_or(Ok(false), Err)
    }
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug)]
pub struct Right<'a> {
    /// Who.
    pub user: &'a str,
    /// With which client id.
    pub client_id: &'a str,
    /// With this topic, or with the topics of this filter.
    pub topic: &'a str,
    /// What.
    pub access: Access,
}

impl<'a> Right<'a> {
    fn asked(&self, access: Access) -> Asked<'a> {
        let Self { user, client_id, topic, .. } = *self;
        Asked::Topic { user, client_id, topic, access }
    }
}
