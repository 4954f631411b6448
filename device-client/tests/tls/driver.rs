//! TLS below the driver, in a time of its own: a server that says nothing, or stops, holds up
//! nobody for ever.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::Poll;

use martlet_device::client::Client;
use martlet_device::error::{Error, TransportFault};
use martlet_device::io::OPEN_MS;
use martlet_device::io::asynchronous::{Clock, Driver};
use martlet_device::settings::{Backoff, Memory, Settings};
use martlet_device::tls::fault::{CertificateFault, Fault};
use martlet_device::tls::settings::{ServerName, Settings as TlsSettings, Trust};

use crate::cheat::{Cheat, Script};
use crate::pki::{NAME, Pair};
use crate::wire::{AMPLE, AT_ONCE, Wire, client, wait_for};

/// Goes on by a tenth of a second each time that somebody waits for it.
struct Ticks<'t>(&'t Cell<u64>);

impl Clock for Ticks<'_> {
    fn now_ms(&mut self) -> u64 {
        self.0.get()
    }

    async fn sleep_until(&mut self, ms: u64) {
        poll_fn(|_| {
            self.0.set(self.0.get() + 100);
            if self.0.get() < ms { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    fn entropy(&mut self) -> u32 {
        1
    }
}

/// What a driver says first, and when, of a server of which so many bytes are heard.
fn first_error(len: usize, pinned: &Pair, server: &Pair) -> (Error, Option<Fault>, u64) {
    let pins = [pinned.pin()];
    let trust = Trust { keys: &pins, ..Trust::default() };
    let tls = TlsSettings { name: ServerName::from(NAME), trust, identity: None };
    let mut wire = Wire::new(Cheat::new(Script { len, ..Script::good(server) }), AT_ONCE);
    let network = client(&mut wire, tls, AMPLE);
    let backoff = Backoff { min_ms: 10, max_ms: 10 };
    let settings = Settings { backoff, ..Settings::new("device") };
    let memory = Memory { receive: &mut [0; 128], outbox: &mut [0; 128] };
    let time = Cell::new(0);
    let client = Client::new(settings, memory).unwrap();
    let mut driver = Driver::new(client, network, Ticks(&time));
    let error = wait_for(driver.next()).expect("not for ever").expect_err("no broker");
    (error, driver.network().fault(), time.get())
}

#[test]
fn a_server_that_stops_in_a_handshake_is_given_up() {
    let authority = Pair::authority("ours");
    let server = authority.server();
    for len in [0, 3, 100, 400] {
        let (error, _, time) = first_error(len, &server, &server);
        assert_eq!(error, Error::Transport(TransportFault::Silent), "{len}");
        assert!((OPEN_MS..OPEN_MS + 10_000).contains(&time), "{time}");
    }
}

#[test]
fn a_server_that_is_refused_is_refused_at_once_and_the_network_says_why() {
    let authority = Pair::authority("ours");
    let (server, other) = (authority.server(), authority.server());
    let (error, fault, time) = first_error(usize::MAX, &other, &server);
    assert_eq!(error, Error::Transport(TransportFault::Failed));
    assert_eq!(fault, Some(Fault::Certificate(CertificateFault::NotPinned)));
    assert!(time < 1_000, "{time}");
}
