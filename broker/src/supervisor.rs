//! # The supervisor
//!
//! systemd, or whoever else speaks its protocol, is told when the broker runs, reads its
//! configuration again and stops; and, if it asks for that, again and again that the broker is
//! alive. Without one nothing is said to anybody.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::driver::Driver;

/// The broker serves clients.
pub fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("Serving clients.")]);
}

/// The configuration is being read again; [`ready`] follows.
pub fn reloading() {
    let mut states = vec![NotifyState::Reloading];
    states.extend(NotifyState::monotonic_usec_now().ok());
    tell(&states);
}

/// The broker stops.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("Stopping.")]);
}

/// As long as a batch gets through the engine, says so twice in the time that the supervisor gives.
/// Runs until it is dropped; without a supervisor that asks, ends at once.
pub async fn watch_over(driver: Arc<Driver>) {
    let Some(most) = sd_notify::watchdog_enabled() else { return };
    let pause = (most / 2).max(PAUSE_MIN);
    loop {
        let driver = Arc::clone(&driver);
        // Waits for the engine as long as that takes: a broker that hangs says nothing.
        if tokio::task::spawn_blocking(move || driver.pass_through()).await.is_ok() {
            tell(&[NotifyState::Watchdog]);
        }
        tokio::time::sleep(pause).await;
    }
}

/// However impatient the supervisor is.
const PAUSE_MIN: Duration = Duration::from_millis(10);

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("The supervisor cannot be told: {error}.");
    }
}
