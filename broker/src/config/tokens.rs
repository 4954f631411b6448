//! `[auth_jwt]`.

use std::path::PathBuf;

use serde::Deserialize;

use crate::access::ask::Service;
use crate::access::jwt::{Expiry, Place, Secret, Settings};
use crate::config::services;

/// `[auth_jwt]` with its defaults.
#[derive(Debug, Deserialize)]
pub(super) struct Section {
    mode: Mode,
    #[serde(flatten)]
    remote: services::Remote,
    secret: Option<Box<str>>,
    secret_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    place: Place,
    user_claim: Box<str>,
    publish_claim: Box<str>,
    subscribe_claim: Box<str>,
    issuer: Option<Box<str>>,
    audience: Option<Box<str>>,
    leeway_s: u64,
    expiry: Expiry,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Local,
    Remote,
}

impl Section {
    /// Whether somebody else reads the tokens.
    pub(super) fn is_remote(&self) -> bool {
        self.mode == Mode::Remote
    }

    /// Who that is, if all is said that it needs.
    pub(super) fn service(&self) -> Option<Service> {
        self.remote.service()
    }

    pub(super) fn settings(&self) -> Settings {
        Settings {
            secret: self.secret.as_ref().map(|secret| Secret(secret.as_bytes().into())),
            secret_file: self.secret_file.clone(),
            key_file: self.key_file.clone(),
            place: self.place,
            user_claim: self.user_claim.clone(),
            publish_claim: self.publish_claim.clone(),
            subscribe_claim: self.subscribe_claim.clone(),
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            leeway_s: self.leeway_s,
            expiry: self.expiry,
        }
    }

    /// What is missing, for somebody who wants tokens.
    pub(super) fn lack(&self) -> Option<String> {
        if self.is_remote() {
            let fault = services::fault(self.service().as_ref(), "auth_jwt", "remote_")?;
            return Some(format!("\"jwt\" {fault}"));
        }
        let nothing =
            self.secret.is_none() && self.secret_file.is_none() && self.key_file.is_none();
        nothing.then_some(
            "\"jwt\" wants something to check tokens with: set \"key_file\" or \"secret_file\" in \
             [auth_jwt]"
                .to_owned(),
        )
    }
}
