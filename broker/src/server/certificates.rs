//! What listeners and the window speak TLS with, as a part that takes new settings and new files.

use std::path::PathBuf;
use std::sync::Arc;

use crate::http;
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
    /// The window's.
    window: Option<Arc<Acceptor>>,
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
        self.desk_with(spoken(listener))
    }

    /// The desk of the window.
    pub(super) fn window_desk(
        &mut self,
        window: &http::Settings,
    ) -> Result<Arc<Acceptor>, StartError> {
        self.desk_with(http_of(window))
    }

    fn desk_with(
        &mut self,
        settings: Option<tls::settings::Settings>,
    ) -> Result<Arc<Acceptor>, StartError> {
        let terms = settings.map(|settings| self.terms(&settings)).transpose();
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
    let protocols: &[_] = if websocket { HTTP } else { &["mqtt"] };
    listener.tls.clone().map(|tls| tls::settings::Settings { protocols, ..tls })
}

/// The same for the window.
fn http_of(window: &http::Settings) -> Option<tls::settings::Settings> {
    window.tls.clone().map(|tls| tls::settings::Settings { protocols: HTTP, ..tls })
}

const HTTP: &[&str] = &["http/1.1"];

impl Certificates {
    pub(super) fn new(desks: Vec<(Address, Arc<Acceptor>)>, window: Option<Arc<Acceptor>>) -> Self {
        Self { desks, window }
    }

    /// Every desk with the settings of its listener, or of the window. Those that come or go wait
    /// for the next start.
    fn desks<'a>(
        &'a self,
        settings: &'a Settings,
    ) -> impl Iterator<Item = (&'a Arc<Acceptor>, Option<tls::settings::Settings>)> {
        let window = self.window.iter().zip(&settings.window);
        let window = window.map(|(desk, (window, _))| (desk, http_of(window)));
        let listeners = self.desks.iter().filter_map(|(address, desk)| {
            let mut listeners = settings.listeners.iter().map(|(listener, _)| listener);
            let listener = listeners.find(|listener| listener.address == *address)?;
            Some((desk, spoken(listener)))
        });
        listeners.chain(window)
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
