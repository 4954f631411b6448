//! History between the engine and whoever reads the log; and in words why a client gets none.

use std::sync::Arc;

use martlet_engine::history::{
    Dialect, HISTORIES_MAX, HISTORIES_PER_SESSION_MAX, HistoryId, Order, Refusal,
};
use martlet_engine::input::Input;
use martlet_engine::message::Message;

use crate::driver::Driver;
use crate::telemetry::position;

/// Whoever reads the log for clients that ask for history.
pub trait Historian: Send + Sync {
    /// Does what the engine orders, without waiting: it is held meanwhile.
    fn take(&self, order: Order);
}

impl Driver {
    /// From here on history is granted, and this one reads it; how people write where it begins.
    pub fn serve_history(&self, historian: Arc<dyn Historian>, dialect: Dialect) {
        if self.historian.set(historian).is_ok() {
            self.submit_from_inside(vec![Input::ServeHistory(dialect)]);
        }
    }

    /// What a [`Historian`] read: the answer to one order, so that one batch of a history waits at
    /// the most.
    pub fn tell(&self, id: HistoryId, messages: Vec<Message>) {
        self.submit_from_inside(vec![Input::History { id, messages }]);
    }

    /// The engine is held meanwhile, so that orders stay in order.
    pub(super) fn pass_orders(&self, orders: &mut Vec<Order>) {
        for order in orders.drain(..) {
            if let Some(historian) = self.historian.get() {
                historian.take(order);
            }
        }
    }
}

/// What is wrong, and what would be right.
pub(super) fn explain(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Malformed => {
            format!("it is $replay/<from>/<filter>, and <from> takes {}", position::TAKES)
        }
        Refusal::Shared => "a history is for one client: it takes no $share".to_owned(),
        Refusal::NothingRecorded => {
            "nothing is recorded: a [[telemetry]] section says what is".to_owned()
        }
        Refusal::NoStream(known) => format!(
            "no stream records any of it; there are: {}. One that records no more is named \
             behind <from>, as in $replay/-1h@NAME/a",
            list(known)
        ),
        Refusal::UnknownStream(known) => {
            format!("there is no stream of the name behind @; there are: {}", list(known))
        }
        Refusal::SeveralStreams(found) => format!(
            "several streams record some of it: {}. Name one behind <from>, as in \
             $replay/-1h@NAME/a",
            list(found)
        ),
        Refusal::Beyond(end) => {
            format!("the offset has not come yet: the next one is {end}; \"latest\" begins there")
        }
        Refusal::Outdated => {
            "it is kept from a broker to which $replay meant nothing, and goes: subscribe again"
                .to_owned()
        }
        Refusal::TooMany => {
            format!("{HISTORIES_MAX} histories are being delivered already, which is the most")
        }
        Refusal::TooManyOfSession => {
            format!("it has {HISTORIES_PER_SESSION_MAX} histories already, which is the most")
        }
    }
}

fn list(streams: &[Arc<str>]) -> String {
    streams.join(", ")
}
