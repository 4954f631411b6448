//! The first message of a handshake, by which the terms for the rest are chosen.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::server::{Accepted, AcceptedAlert, Acceptor, ClientHello};
use rustls::{ServerConfig, ServerConnection};

use crate::net::socket::Socket;
use crate::net::tls::reason::Broken;
use crate::net::tls::session::{Failure, HANDSHAKE_READ_BYTES, Outgoing};
use crate::net::tls::terms::Terms;

/// Reads until the client's hello is there.
pub(super) fn poll_hello(
    cx: &mut Context<'_>,
    acceptor: &mut Acceptor,
    socket: &Socket,
) -> Poll<Result<Accepted, Failure>> {
    loop {
        let mut bytes = [0; HANDSHAKE_READ_BYTES];
        let len = ready!(socket.poll_read(cx, &mut bytes)).map_err(Failure::Socket)?;
        if len == 0 {
            return Poll::Ready(Err(Failure::Gone));
        }
        let mut rest = &bytes[..len];
        while !rest.is_empty() {
            acceptor.read_tls(&mut rest).map_err(Failure::Socket)?;
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => return Poll::Ready(Ok(accepted)),
            Ok(None) => {}
            Err((error, alert)) => {
                send(alert, socket);
                return Poll::Ready(Err(Failure::Tls(Broken::new(error, &bytes[..len]))));
            }
        }
    }
}

/// Answers a hello.
pub(super) fn answer(
    accepted: Accepted,
    terms: &Terms,
    socket: &Socket,
) -> Result<ServerConnection, Failure> {
    let config = terms.config_for(&accepted.client_hello());
    let mut tls = accepted.into_connection(config).map_err(|(error, alert)| {
        send(alert, socket);
        Failure::Tls(error.into())
    })?;
    // What came right behind the hello.
    tls.process_new_packets().map_err(|error| {
        // If the alert does not go out, the end of the stream has to tell.
        let _ = tls.write_tls(&mut Outgoing(socket));
        Failure::Tls(error.into())
    })?;
    Ok(tls)
}

impl Terms {
    fn config_for(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        let ours = |name: &[u8]| self.protocols.iter().any(|ours| ours.as_bytes() == name);
        let agreed = hello.alpn().is_some_and(|mut names| names.any(ours));
        Arc::clone(if agreed { &self.with_protocol } else { &self.config })
    }
}

fn send(mut alert: AcceptedAlert, socket: &Socket) {
    // If it does not go out, the end of the stream has to tell.
    let _ = alert.write(&mut Outgoing(socket));
}
