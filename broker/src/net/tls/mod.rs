//! TLS over a socket: the only room that knows rustls.

use std::sync::Arc;

use parking_lot::RwLock;
use rustls::pki_types::UnixTime;

use crate::access::peer::CertificateNames;
use crate::clock;
use crate::net::socket::Socket;
use crate::net::stream::Stream;
use crate::net::tls::session::{Failure, Refused, Session};
use crate::net::tls::terms::Terms;

pub mod ciphers;
mod der;
pub(crate) mod files;
mod hello;
mod names;
mod reason;
pub mod session;
pub mod settings;
pub mod terms;
mod verifier;

/// Who shakes hands for a listener, on terms that may be exchanged while clients come.
#[derive(Debug)]
pub struct Acceptor {
    /// `None`: nobody shakes hands there, and all is in the clear.
    terms: RwLock<Option<Arc<Terms>>>,
}

impl Acceptor {
    /// With these terms.
    pub fn new(terms: Option<Arc<Terms>>) -> Self {
        Self { terms: RwLock::new(terms) }
    }

    /// From now on these terms hold. Sessions go on with those that they began with.
    pub fn replace(&self, terms: Option<Arc<Terms>>) {
        *self.terms.write() = terms;
    }

    /// Puts TLS over a socket, where it is spoken; answers also with the names in the certificate
    /// of the client, if it has shown one.
    ///
    /// # Errors
    /// When there is nobody to shake hands with, or nobody we may.
    pub(super) async fn over(
        &self,
        socket: Socket,
    ) -> Result<(Stream, Option<Box<CertificateNames>>), Refused> {
        let Some(terms) = self.terms() else { return Ok((Stream::Clear(socket), None)) };
        let (session, names) = terms.accept(socket).await?;
        Ok((Stream::Tls(Box::new(session)), names))
    }

    /// The terms that hold now.
    pub(super) fn terms(&self) -> Option<Arc<Terms>> {
        self.terms.read().clone()
    }
}

impl Terms {
    /// Puts TLS over a socket; answers also with the names in the certificate of the client, if it
    /// has shown one.
    ///
    /// # Errors
    /// When there is nobody to shake hands with, or nobody we may.
    async fn accept(
        &self,
        socket: Socket,
    ) -> Result<(Session, Option<Box<CertificateNames>>), Refused> {
        let session = session::accept(socket, self).await?;
        let certificates = session.peer_certificates().unwrap_or_default();
        let Some(own) = certificates.first().and_then(der::certificate) else {
            return Ok((session, None));
        };
        // Whoever resumes a session shows nothing: its certificate was good when it began.
        if self.checks_dates
            && let Err(error) = verifier::in_time(&own, now())
        {
            return Err(session.refuse(Failure::Tls(error.into())));
        }
        let names = Some(Box::new(names::of(&own)));
        Ok((session, names))
    }
}

/// The time, as certificates are measured by it.
pub fn now() -> UnixTime {
    let since_epoch = clock::wall().duration_since(std::time::UNIX_EPOCH);
    UnixTime::since_unix_epoch(since_epoch.unwrap_or_default())
}
