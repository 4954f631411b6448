//! `[access]`, what a listener says instead, and the files that they name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use crate::access::ask::{Backend, Backends};
use crate::access::fault::Fault;
use crate::access::permit::Subscribing;
use crate::access::{Policy, Settings, guard};
use crate::config::listeners::Section as Listener;
use crate::config::origin::{Mistake, Origin};
use crate::config::services;
use crate::config::tokens;
use crate::config::value::words_of;
use crate::config::written::WrittenListener;
use crate::inquiry::Inquiry;

/// `[access]` with its defaults.
#[derive(Debug, Deserialize)]
pub(super) struct Section {
    password_file: Option<PathBuf>,
    acl_file: Option<PathBuf>,
    backends: Box<str>,
    subscribe: Subscribe,
    client_id_prefix: Option<Box<str>>,
    ban_after: u32,
    ban_s: u64,
}

/// All sections that say who may what.
pub(super) struct Sections<'a> {
    pub(super) access: &'a Section,
    pub(super) jwt: &'a tokens::Section,
    pub(super) http: &'a services::Section,
    /// Where `access.backends` stands.
    pub(super) backends: Origin,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Subscribe {
    Compat,
    Strict,
}

/// The policies of all listeners. Listeners with the same settings share one, and each file is read
/// once.
#[derive(Debug, Default)]
pub(super) struct Policies {
    loaded: Vec<(Settings, Arc<Policy>)>,
    failed: Vec<Settings>,
}

/// Failed logins count together that come within this time.
const BAN_WINDOW_MS: u64 = 60_000;

impl Section {
    /// Which addresses are turned away.
    pub(super) fn guard(&self, connects_per_s: u32) -> guard::Limits {
        guard::Limits {
            connects_per_s,
            failures_max: self.ban_after,
            window_ms: BAN_WINDOW_MS,
            ban_ms: self.ban_s * 1000,
        }
    }
}

impl Sections<'_> {
    /// What holds wherever clients come in.
    fn shared(&self) -> Settings {
        Settings {
            subscribing: match self.access.subscribe {
                Subscribe::Compat => Subscribing::Compat,
                Subscribe::Strict => Subscribing::Strict,
            },
            client_id_prefix: self.access.client_id_prefix.clone(),
            ..Settings::default()
        }
    }

    /// What holds at the window, where these files stand in place of those of `[access]`.
    pub(super) fn at_window(
        &self,
        password_file: Option<&Path>,
        acl_file: Option<&Path>,
    ) -> Settings {
        let Self { access, jwt, .. } = self;
        let password_file = password_file.or(access.password_file.as_deref());
        let asks = |backend: &str| words_of(&access.backends).any(|word| word == backend);
        Settings {
            password_file: password_file.filter(|_| asks("files")).map(Path::to_owned),
            acl_file: acl_file.or(access.acl_file.as_deref()).map(Path::to_owned),
            tokens: (asks("jwt") && !jwt.is_remote()).then(|| jwt.settings()),
            // Nobody is asked there: where services have the say, no file means no rights.
            backends: self.named(asks),
            ..self.shared()
        }
    }

    /// What holds at this listener.
    pub(super) fn at(&self, listener: &Listener) -> Settings {
        let Self { access, jwt, .. } = self;
        let password_file = listener.password_file.as_ref().or(access.password_file.as_ref());
        Settings {
            allow_anonymous: listener.allow_anonymous,
            password_file: password_file.filter(|_| self.asks(listener, "files")).cloned(),
            acl_file: listener.acl_file.as_ref().or(access.acl_file.as_ref()).cloned(),
            use_user_name_as_client_id: listener.use_username_as_clientid,
            user_from_certificate: listener.tls.user_from_certificate(),
            tokens: self.reads_tokens(listener).then(|| jwt.settings()),
            backends: self.backends(listener),
            acl_dialect: listener.acl_dialect,
            acl_file_decides: listener.acl_file_decides,
            ..self.shared()
        }
    }

    /// Who is asked besides at a listener.
    fn backends(&self, listener: &Listener) -> Backends {
        self.named(|backend| self.asks(listener, backend))
    }

    /// The services among those who are named.
    fn named(&self, asks: impl Fn(&str) -> bool) -> Backends {
        let jwt = asks("jwt") && self.jwt.is_remote();
        let named = [(asks("http"), Backend::Http), (jwt, Backend::Jwt)].into_iter();
        let named = named.filter(|(asked, _)| *asked);
        named.fold(Backends::default(), |all, (_, backend)| all.with(backend))
    }

    fn reads_tokens(&self, listener: &Listener) -> bool {
        self.asks(listener, "jwt") && !self.jwt.is_remote()
    }

    /// Who asks, where anybody is asked; what is wrong with the files that this needs is added to
    /// `mistakes`.
    pub(super) fn inquiry(
        &self,
        listeners: &[Listener],
        mistakes: &mut Vec<Mistake>,
    ) -> Option<Arc<Inquiry>> {
        let is_asked = |backend| listeners.iter().any(|one| self.backends(one).has(backend));
        let http = is_asked(Backend::Http).then(|| self.http.service()).flatten();
        let jwt = is_asked(Backend::Jwt).then(|| self.jwt.service()).flatten();
        if http.is_none() && jwt.is_none() {
            return None;
        }
        match Inquiry::load(&self.http.settings(http, jwt)) {
            Ok(inquiry) => Some(Arc::new(inquiry)),
            Err(faults) => {
                mistakes.extend(faults.into_iter().map(Mistake::from));
                None
            }
        }
    }

    /// What a back end of this listener wants and nobody has said.
    pub(super) fn lack(&self, listener: &Listener, written: &WrittenListener) -> Option<Mistake> {
        let jwt = || self.asks(listener, "jwt").then(|| self.jwt.lack()).flatten();
        let http = || {
            let service = self.http.service();
            let fault = || services::fault(service.as_ref(), "auth_http", "");
            let fault = self.asks(listener, "http").then(fault).flatten()?;
            Some(format!("\"http\" {fault}"))
        };
        let lack = jwt().or_else(http)?;
        let own = written.settings.iter().rfind(|setting| setting.row.name == "backends");
        let origin = own.map_or(&self.backends, |setting| &setting.origin);
        Some(Mistake::new(origin.clone(), lack))
    }

    fn asks(&self, listener: &Listener, backend: &str) -> bool {
        let backends = listener.backends.as_deref().unwrap_or(&self.access.backends);
        words_of(backends).any(|word| word == backend)
    }
}

impl Policies {
    /// The policy for these settings; what is wrong with its files is added to `mistakes`, once.
    pub(super) fn load(
        &mut self,
        settings: Settings,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<Arc<Policy>> {
        if let Some((_, policy)) = self.loaded.iter().find(|(other, _)| *other == settings) {
            return Some(Arc::clone(policy));
        }
        if self.failed.contains(&settings) {
            return None;
        }
        match Policy::load(&settings) {
            Ok(policy) => {
                let policy = Arc::new(policy);
                self.loaded.push((settings, Arc::clone(&policy)));
                Some(policy)
            }
            Err(faults) => {
                let faults = faults.into_iter().map(Mistake::from);
                mistakes
                    .extend(faults.filter(|fault| !mistakes.contains(fault)).collect::<Vec<_>>());
                self.failed.push(settings);
                None
            }
        }
    }
}

impl From<Fault> for Mistake {
    fn from(fault: Fault) -> Self {
        let path = fault.file.display().to_string();
        let origin = match fault.line {
            Some(line) => Origin::Line { path, line },
            None => Origin::File { path },
        };
        Self::new(origin, fault.text)
    }
}
