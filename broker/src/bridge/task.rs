//! One bridge, for as long as the broker runs.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use martlet_codec::reason::ConnectReturnCode;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::bridge::backoff::Backoff;
use crate::bridge::conversation::{Account, Conversation, End};
use crate::bridge::relay::Fault;
use crate::bridge::relay::opening::Opening;
use crate::bridge::tls::Connector;
use crate::bridge::tolerance::Tolerance;
use crate::bridge::{Remote, Settings, Start, local, remote};
use crate::driver::Driver;
use crate::driver::client::nonce;
use crate::logging::NOTICE;

/// A bridge that is ready to run.
#[derive(Debug)]
pub struct Bridge {
    settings: Settings,
    driver: Arc<Driver>,
    orders: watch::Receiver<Orders>,
    /// Where the last connection that was accepted went, if it ran before with other settings.
    accepted_at: Option<Remote>,
}

/// What a bridge is told while it runs.
#[derive(Clone, Debug, Default)]
pub struct Orders {
    /// To say goodbye and end.
    pub stop: bool,
    /// TLS for its next connection, with files as they are now.
    pub tls: Option<Connector>,
}

/// What one attempt after the other goes by.
struct Course {
    backoff: Backoff,
    /// Which address is next.
    at: usize,
    tolerance: Tolerance,
    /// Where the last connection that was accepted went.
    accepted_at: Option<Remote>,
    /// The session there has all subscriptions that are wanted.
    subscribed: bool,
}

/// How an attempt ended.
enum Outcome {
    /// The broker stops.
    Stopped,
    /// Another one is to be made; at once, or after a while.
    Again { at_once: bool },
}

/// How long making the session may take. At the bound: nobody else is held up by it.
const PREPARE_MAX: Duration = Duration::from_secs(10);

/// How long the goodbye may take.
const LEAVE_MAX: Duration = Duration::from_secs(2);

/// How often the first address is looked for while another one is in use.
const RETURN_EVERY: Duration = Duration::from_secs(30);

impl Bridge {
    /// A bridge of this broker; its session was last connected to `accepted_at`, if that is known.
    pub fn new(
        settings: Settings,
        driver: &Arc<Driver>,
        orders: watch::Receiver<Orders>,
        accepted_at: Option<Remote>,
    ) -> Self {
        driver.traffic.bridges.lock().add(&settings.name, &settings.local_client_id);
        driver.own_bridge(&settings.local_client_id, true);
        Self { settings, driver: Arc::clone(driver), orders, accepted_at }
    }

    /// Makes its session, so that nothing is missed that is published from here on.
    pub async fn prepare(&self) {
        let Settings { name, local_client_id, .. } = &self.settings;
        let prepared = local::prepare(&self.settings, &self.driver);
        let why = match timeout(PREPARE_MAX, prepared).await {
            Ok(Ok(())) => return,
            Ok(Err(farewell)) => format!("{farewell:?}"),
            Err(_) => "the store does not answer".to_owned(),
        };
        tracing::error!(
            bridge = %name,
            "Bridge {name} has no session {local_client_id} here yet ({why}): what is published \
             before it is connected may not go out."
        );
    }

    /// Runs until it is told to stop; where its last connection that was accepted went.
    pub async fn run(self) -> Option<Remote> {
        let settings = &self.settings;
        let tolerance = Tolerance::new(settings.try_private);
        let backoff = Backoff::new(settings.backoff);
        let accepted_at = self.accepted_at.clone();
        let mut course = Course { backoff, at: 0, tolerance, accepted_at, subscribed: false };
        self.go_on(&mut course).await;
        course.accepted_at
    }

    async fn go_on(&self, course: &mut Course) {
        let settings = &self.settings;
        loop {
            match self.attempt(course).await {
                Outcome::Stopped => return,
                Outcome::Again { at_once: true } => {}
                Outcome::Again { .. } if settings.start == Start::Once => {
                    return release(settings, &self.driver, false).await;
                }
                Outcome::Again { at_once: false } => {
                    let wait = course.backoff.next(nonce());
                    if self.stops_within(wait).await {
                        return;
                    }
                }
            }
        }
    }

    async fn attempt(&self, course: &mut Course) -> Outcome {
        let settings = &self.settings;
        let addresses = &settings.addresses;
        let tls = self.orders.borrow().tls.clone();
        let at = course.at % addresses.len();
        let address = &addresses[at];
        let name = &settings.name;
        tracing::info!(
            target: NOTICE, bridge = %name, %address,
            "Connecting bridge {name} ({address})"
        );
        course.at = at + 1;
        let opened = tokio::select! {
            opened = remote::connect(settings, address, tls.as_ref()) => opened,
            () = self.stop() => return Outcome::Stopped,
        };
        let stream = match opened {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(
                    bridge = %name, %address,
                    "Error creating bridge: {error} (bridge {name}, {address})."
                );
                course.tolerance.fail();
                // The other addresses have their turn before anybody waits.
                return Outcome::Again { at_once: course.at < addresses.len() };
            }
        };
        let opening = Opening {
            private: course.tolerance.private(),
            probes: course.tolerance.probes(),
            asks: course.tolerance.asks(),
            elsewhere: is_elsewhere(course.accepted_at.as_ref(), addresses, address),
            subscribed: course.subscribed,
            broker_id: self.driver.broker_id(),
        };
        let conversation = Conversation::new(settings, &self.driver, stream, opening);
        self.converse(conversation, course, at).await
    }

    /// Relays until the connection or the broker ends.
    async fn converse(
        &self,
        mut conversation: Conversation<'_>,
        course: &mut Course,
        at: usize,
    ) -> Outcome {
        let name = &self.settings.name;
        let address = &self.settings.addresses[at];
        let opened = poll_fn(|cx| match conversation.poll(cx) {
            std::task::Poll::Pending if conversation.is_open() => std::task::Poll::Ready(None),
            polled => polled.map(Some),
        });
        let ended = tokio::select! {
            ended = opened => ended,
            () = self.stop() => return self.leave(conversation).await,
        };
        let end = match ended {
            Some(end) => end,
            None => {
                tracing::info!(
                    target: NOTICE, bridge = %name, %address,
                    "Bridge {name} is connected to {address} as {}.",
                    self.settings.remote.client_id
                );
                course.backoff.reset();
                course.accepted_at = Some(address.clone());
                tokio::select! {
                    end = poll_fn(|cx| conversation.poll(cx)) => end,
                    () = self.first_is_back(address) => {
                        tracing::info!(
                            target: NOTICE, bridge = %name,
                            "Bridge {name} goes back to {}.", self.settings.addresses[0]
                        );
                        (course.at, course.subscribed) = (0, false);
                        self.leave(conversation).await;
                        return Outcome::Again { at_once: true };
                    }
                    () = self.stop() => return self.leave(conversation).await,
                }
            }
        };
        if matches!(end, End::Fault(Fault::TakenWithoutBit)) {
            say_goodbye(&mut conversation).await;
        }
        let account = conversation.finish(&end);
        self.log_end(&end, address, &account);
        if account.accepted {
            course.accepted_at = Some(address.clone());
            course.subscribed = account.subscribed;
        }
        let otherwise = course.tolerance.learn(&end, &account);
        if account.accepted && !self.settings.round_robin {
            course.at = 0;
        }
        if otherwise {
            course.at -= 1; // the same address once more
        }
        Outcome::Again { at_once: otherwise }
    }

    /// An orderly end on both sides.
    async fn leave(&self, mut conversation: Conversation<'_>) -> Outcome {
        say_goodbye(&mut conversation).await;
        conversation.finish(&End::Closed);
        Outcome::Stopped
    }

    /// Waits until the first address answers, if another one is in use and it is to be preferred.
    async fn first_is_back(&self, address: &Remote) {
        let first = &self.settings.addresses[0];
        if self.settings.round_robin || first == address {
            std::future::pending::<()>().await;
        }
        loop {
            sleep(RETURN_EVERY).await;
            if remote::answers(&self.settings, first).await {
                return;
            }
        }
    }

    async fn stop(&self) {
        let mut orders = self.orders.clone();
        // Without a sender the server is gone.
        let _ = orders.wait_for(|orders| orders.stop).await;
    }

    async fn stops_within(&self, wait: Duration) -> bool {
        timeout(wait, self.stop()).await.is_ok()
    }

    fn log_end(&self, end: &End, address: &Remote, account: &Account) {
        let Account { tally, unsent, .. } = account;
        let name = &self.settings.name;
        let reason = end.words();
        tracing::warn!(
            bridge = %name, %address, reason, sent = tally.sent, received = tally.received,
            lost = tally.lost, unsent,
            "Bridge {name} ({address}) disconnected: {reason}."
        );
    }
}

/// Gives a bridge's session up: it may expire as any other, and takes nothing new if it is
/// `unwanted`.
pub async fn release(settings: &Settings, driver: &Arc<Driver>, unwanted: bool) {
    if unwanted {
        // A store that does not answer keeps the session as it is: that loses nothing.
        let _ = timeout(PREPARE_MAX, local::unsubscribe(settings, driver)).await;
    }
    driver.own_bridge(&settings.local_client_id, false);
}

/// Whether the session at this address is none that the last connection was to: or may be none,
/// where it is not known to which of several that was.
fn is_elsewhere(before: Option<&Remote>, addresses: &[Remote], address: &Remote) -> bool {
    before.map_or(addresses.len() > 1, |before| before != address)
}

async fn say_goodbye(conversation: &mut Conversation<'_>) {
    conversation.leave();
    // Who does not take the goodbye publishes the Will.
    let _ = timeout(LEAVE_MAX, poll_fn(|cx| conversation.poll_leave(cx))).await;
}

impl End {
    /// For the log, in mosquitto's words where it has some.
    fn words(&self) -> String {
        match self {
            Self::Closed => "the other broker closed the connection".to_owned(),
            Self::Socket(error) => error.to_string(),
            Self::Malformed(error) => format!("the other broker sent no packet: {error}"),
            Self::Fault(Fault::Refused(code)) => {
                let words = match code {
                    ConnectReturnCode::Accepted => "accepted",
                    ConnectReturnCode::UnacceptableProtocolVersion => {
                        "unacceptable protocol version"
                    }
                    ConnectReturnCode::IdentifierRejected => "identifier rejected",
                    ConnectReturnCode::ServerUnavailable => "broker unavailable",
                    ConnectReturnCode::BadUserNameOrPassword => "bad user name or password",
                    ConnectReturnCode::NotAuthorized => "not authorised",
                };
                format!("Connection Refused: {words}")
            }
            Self::Fault(Fault::TakenWithoutBit) => {
                "it takes connections that do not say that they are bridges".to_owned()
            }
            Self::Fault(Fault::Silent(what)) => format!("no {what} within 30 s"),
            Self::Fault(Fault::Unexpected(what)) => format!("the other broker sent {what}"),
            Self::Farewell(farewell) => {
                format!("this broker ended the bridge's link: {farewell:?}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_another_broker_is_taken_for_one() {
        let [one, two] = [1, 2].map(|port| Remote { host: "h".into(), port });
        let both = [one.clone(), two.clone()];
        for (before, addresses, elsewhere) in [
            (None, &both[..1], false),
            (None, &both, true),
            (Some(&one), &both, false),
            (Some(&two), &both, true),
            (Some(&two), &both[..1], true),
        ] {
            assert_eq!(
                is_elsewhere(before, addresses, &one),
                elsewhere,
                "{before:?} {addresses:?}"
            );
        }
    }
}
