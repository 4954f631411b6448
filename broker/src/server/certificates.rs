//! What listeners speak TLS with, as a part that takes new settings and new files.

use std::path::PathBuf;
use std::sync::Arc;

use crate::net::address::Address;
use crate::net::tls::terms::Terms;
use crate::net::tls::{self, Acceptor};
use crate::net::{listener, tls::settings::Fault};
use crate::server::reload::{Change, Part};
use crate::server::{Settings, StartError};

/// The desks at which hands are shaken.
pub(super) struct Certificates {
    /// By the address that the settings name.
    desks: Vec<(Address, Arc<Acceptor>)>,
}

/// Terms that were made. Listeners with the same settings share them, and each file is read once.
#[derive(Default)]
pub(super) struct Made(Vec<(tls::settings::Settings, Arc<Terms>)>);

impl Made {
    /// The desk of a listener.
    pub(super) fn desk(
        &mut self,
        listener: &listener::Settings,
    ) -> Result<Arc<Acceptor>, StartError> {
        let terms = spoken(listener).map(|settings| self.terms(&settings)).transpose();
        Ok(Arc::new(Acceptor::new(terms.map_err(StartError::Tls)?)))
    }

    /// Says what is worth a warning.
    pub(super) fn warn(&self) {
        for warning in self.0.iter().flat_map(|(_, terms)| &terms.warnings) {
            tracing::warn!("{warning}");
        }
    }

    fn terms(&mut self, settings: &tls::settings::Settings) -> Result<Arc<Terms>, Vec<Fault>> {
        if let Some((_, terms)) = self.0.iter().find(|(other, _)| other == settings) {
            return Ok(Arc::clone(terms));
        }
        let terms = Arc::new(Terms::load(settings, tls::now())?);
        self.0.push((settings.clone(), Arc::clone(&terms)));
        Ok(terms)
    }
}

/// How a listener speaks TLS, with the name of what is spoken in it.
fn spoken(listener: &listener::Settings) -> Option<tls::settings::Settings> {
    let websocket = listener.websocket.is_some();
    let protocols: &[_] = if websocket { &["http/1.1"] } else { &["mqtt"] };
    listener.tls.clone().map(|tls| tls::settings::Settings { protocols, ..tls })
}

impl Certificates {
    pub(super) fn new(desks: Vec<(Address, Arc<Acceptor>)>) -> Self {
        Self { desks }
    }

    /// Every desk with the settings of its listener. Listeners that come or go wait for the next
    /// start.
    fn desks<'a>(
        &'a self,
        settings: &'a Settings,
    ) -> impl Iterator<Item = (&'a Arc<Acceptor>, Option<tls::settings::Settings>)> {
        self.desks.iter().filter_map(|(address, desk)| {
            let mut listeners = settings.listeners.iter().map(|(listener, _)| listener);
            let listener = listeners.find(|listener| listener.address == *address)?;
            Some((desk, spoken(listener)))
        })
    }
}

impl Part for Certificates {
    fn name(&self) -> &'static str {
        "certificates"
    }

    fn prepare(&self, settings: &Settings) -> Result<Change, Vec<String>> {
        let (mut made, mut ready, mut mistakes) = (Made::default(), Vec::new(), Vec::new());
        for (desk, settings) in self.desks(settings) {
            match settings.map(|settings| made.terms(&settings)).transpose() {
                Ok(terms) => ready.push((Arc::clone(desk), terms)),
                Err(faults) => {
                    let faults = faults.iter().map(Fault::to_string);
                    mistakes.extend(faults.filter(|f| !mistakes.contains(f)).collect::<Vec<_>>());
                }
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok(Box::new(move || {
            made.warn();
            for (desk, terms) in ready {
                desk.replace(terms);
            }
        }))
    }

    fn watched(&self, settings: &Settings) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> =
            self.desks(settings).filter_map(|(_, tls)| tls).flat_map(|tls| tls.files()).collect();
        files.sort();
        files.dedup();
        files
    }
}
