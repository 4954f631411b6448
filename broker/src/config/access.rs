//! `[access]`, what a listener says instead, and the files that they name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use crate::access::fault::Fault;
use crate::access::permit::Subscribing;
use crate::access::{Policy, Settings, guard};
use crate::config::listeners::Section as Listener;
use crate::config::origin::{Mistake, Origin};
use crate::config::tokens;
use crate::config::value::words_of;
use crate::config::written::WrittenListener;

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
        let asks = |backend| words_of(&access.backends).any(|word| word == backend);
        Settings {
            password_file: password_file.filter(|_| asks("files")).map(Path::to_owned),
            acl_file: acl_file.or(access.acl_file.as_deref()).map(Path::to_owned),
            tokens: asks("jwt").then(|| jwt.settings()),
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
            tokens: self.asks(listener, "jwt").then(|| jwt.settings()),
            ..self.shared()
        }
    }

    /// What a back end of this listener wants and nobody has said.
    pub(super) fn lack(&self, listener: &Listener, written: &WrittenListener) -> Option<Mistake> {
        let lack = self.jwt.lack().filter(|_| self.asks(listener, "jwt"))?;
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
