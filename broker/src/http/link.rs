//! The client of the broker that a request or a connection of HTTP is.

use std::fmt;
use std::sync::Arc;

use martlet_engine::input::Connect;
use martlet_engine::permit::Permission;

use crate::driver::Driver;
use crate::driver::client::Holder;
pub(super) use crate::driver::client::{Client, nonce};
use crate::http::login::{Caller, Gate};

/// A link for this caller, with a session that ends with it.
pub(super) fn open(driver: &Arc<Driver>, gate: &Arc<Gate>, caller: &Caller) -> Client {
    let connect = Connect {
        inside: true,
        user_name: caller.who.user.clone(),
        permit: caller.permit.clone(),
        nonce: nonce(),
        ..Connect::clean(caller.client_id.clone(), driver.outbox_bytes_max())
    };
    let holder = Visit { gate: Arc::clone(gate), caller: caller.clone() };
    Client::new(driver, Box::new(holder), connect)
}

/// Who holds the link.
struct Visit {
    gate: Arc<Gate>,
    caller: Caller,
}

impl Holder for Visit {
    fn permit(&self) -> Permission {
        self.gate.permit(&self.caller)
    }

    fn user_name(&self) -> Option<&str> {
        self.caller.who.user.as_deref()
    }

    fn peer(&self) -> &dyn fmt::Display {
        &self.caller.address
    }
}
