//! TLS over a socket: the only room that knows rustls.

use std::sync::Arc;

use parking_lot::RwLock;
use rustls::ServerConfig;

use crate::access::peer::CertificateNames;
use crate::net::socket::Socket;
use crate::net::tls::session::{Failure, Reader, Writer};

mod names;
mod reason;
pub mod session;

/// Who shakes hands for a listener, on terms that may be exchanged while clients come.
#[derive(Debug)]
pub struct Acceptor {
    terms: RwLock<Arc<ServerConfig>>,
}

impl Acceptor {
    /// With these terms.
    pub fn new(terms: Arc<ServerConfig>) -> Self {
        Self { terms: RwLock::new(terms) }
    }

    /// From now on these terms hold. Sessions go on with those that they began with.
    pub fn replace(&self, terms: Arc<ServerConfig>) {
        *self.terms.write() = terms;
    }

    /// Puts TLS over a socket; answers also with the names in the certificate of the client, if it
    /// has shown one.
    ///
    /// # Errors
    /// When there is nobody to shake hands with, or nobody we may.
    pub(super) async fn accept(
        &self,
        socket: Socket,
    ) -> Result<(Reader, Writer, Option<Box<CertificateNames>>), Failure> {
        let terms = Arc::clone(&self.terms.read());
        let (reader, writer) = session::accept(socket, terms).await?;
        let certificates = reader.peer_certificates().unwrap_or_default();
        let names = certificates.first().and_then(names::of).map(Box::new);
        Ok((reader, writer, names))
    }
}
