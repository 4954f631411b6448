//! The door of a listener: its policy, which may be exchanged while clients come, and what all
//! doors share: the bound of password checks, and whom they turn away.

use std::net::IpAddr;
use std::sync::Arc;

use martlet_engine::filter::Filter;
use martlet_engine::input::Connect;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::access::guard::{Guard, Limits, TurnedAway};
use crate::access::peer::PeerAddress;
use crate::access::{Admission, Candidate, Policy, Refusal};
use crate::clock::Clock;
use crate::inquiry::Inquiry;
use crate::net::rights::Rights;

/// Who decides on those who come to a listener.
#[derive(Debug)]
pub struct Door {
    policy: RwLock<Arc<Policy>>,
    porch: Arc<Porch>,
}

/// What all doors share.
#[derive(Debug)]
pub struct Porch {
    checks: Arc<Semaphore>,
    guard: Mutex<Guard>,
    clock: Clock,
    inquiry: Option<Arc<Inquiry>>,
}

impl Porch {
    /// `password_checks_max` bounds the passwords that are checked at the same time: each keeps a
    /// processor busy, and takes 46 MiB where the hash is argon2id. At the bound: whoever comes
    /// then waits, in the order of coming, until its time for CONNECT is over.
    pub fn new(password_checks_max: u32, limits: Limits, clock: Clock) -> Self {
        let checks = Arc::new(Semaphore::new(password_checks_max as usize));
        let porch = Self { checks, guard: Mutex::default(), clock, inquiry: None };
        porch.limit(limits);
        porch
    }

    /// The same, where others are asked besides.
    #[must_use]
    pub fn asking(self, inquiry: Option<Arc<Inquiry>>) -> Self {
        Self { inquiry, ..self }
    }

    /// What others have answered counts no more.
    pub fn forget_answers(&self) {
        if let Some(inquiry) = &self.inquiry {
            inquiry.forget();
        }
    }

    /// From now on these limits hold.
    pub fn limit(&self, limits: Limits) {
        self.guard.lock().limit(limits);
    }
}

impl Door {
    /// A door with this policy.
    pub fn new(policy: Arc<Policy>, porch: Arc<Porch>) -> Self {
        Self { policy: RwLock::new(policy), porch }
    }

    /// What decides now.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.read())
    }

    /// From now on this decides. Whoever is in stays in.
    pub fn replace(&self, policy: Arc<Policy>) {
        *self.policy.write() = policy;
    }

    /// Somebody comes. Processes of this machine at a unix socket are never turned away.
    pub(crate) fn meet(&self, address: PeerAddress) -> Result<(), TurnedAway> {
        let Some(ip) = ip(address) else { return Ok(()) };
        let now = self.porch.clock.now().0;
        self.porch.guard.lock().connect(ip, now)
    }

    /// Whether this address is banned, for connections that carry more than one login.
    pub(crate) fn is_banned(&self, address: PeerAddress) -> bool {
        let now = self.porch.clock.now().0;
        ip(address).is_some_and(|ip| self.porch.guard.lock().is_banned(ip, now))
    }

    /// Decides on a client, asking others if there are some who may know more. Says by which
    /// policy.
    pub(crate) async fn admit(
        &self,
        candidate: Candidate,
    ) -> (Arc<Policy>, Result<Admission, Refusal>) {
        let (policy, candidate, verdict) = self.check(candidate).await;
        let verdict = match verdict {
            Err(refusal) if policy.asks_about(&candidate, refusal) => {
                self.ask(&policy, &candidate, refusal).await
            }
            verdict => verdict,
        };
        (policy, verdict)
    }

    async fn ask(
        &self,
        policy: &Policy,
        candidate: &Candidate,
        refusal: Refusal,
    ) -> Result<Admission, Refusal> {
        let inquiry = self.porch.inquiry.as_ref().ok_or(Refusal::NoAnswer)?;
        let user = candidate.user_name.as_deref().unwrap_or_default();
        let password = candidate.password.as_deref().unwrap_or_default();
        let backends = policy.settings().backends;
        match inquiry.login(backends, user, password, &candidate.client_id).await {
            Ok(true) => policy.vouched(candidate),
            Ok(false) => Err(refusal),
            Err(_) => Err(Refusal::NoAnswer),
        }
    }

    /// Asks what must be known of the rights of a client before it is in, under this id.
    pub(super) async fn inquire(
        &self,
        policy: &Policy,
        connect: &Connect,
        client_id: &str,
        resumed: Vec<Filter>,
    ) -> Result<Rights, Refusal> {
        let inquiry = self.porch.inquiry.as_ref().ok_or(Refusal::NoAnswer)?;
        Rights::inquire(Arc::clone(inquiry), policy, connect, client_id, resumed).await
    }

    /// Decides on a client, away from the threads of the network if that takes long.
    async fn check(
        &self,
        candidate: Candidate,
    ) -> (Arc<Policy>, Candidate, Result<Admission, Refusal>) {
        let policy = self.policy();
        if !policy.is_slow(&candidate) {
            let verdict = policy.admit(&candidate);
            return (policy, candidate, verdict);
        }
        let check = Arc::clone(&self.porch.checks).acquire_owned().await;
        let check = check.expect("nobody closes this semaphore");
        // A client that goes away meanwhile takes nothing with it: the check holds its place.
        let verdict = spawn_blocking(move || {
            let verdict = policy.admit(&candidate);
            drop(check);
            (policy, candidate, verdict)
        });
        verdict.await.expect("a check does not panic")
    }

    /// Somebody was refused. Says whether its address is banned for it from now on.
    pub(crate) fn remember(&self, address: PeerAddress, refusal: Refusal) -> bool {
        let Some(ip) = ip(address).filter(|_| refusal.is_failed_login()) else { return false };
        let now = self.porch.clock.now().0;
        self.porch.guard.lock().fail(ip, now)
    }
}

fn ip(address: PeerAddress) -> Option<IpAddr> {
    match address {
        PeerAddress::Ip(address) => Some(address.ip()),
        PeerAddress::Unix { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::access::Settings;

    fn candidate(user: Option<&str>) -> Candidate {
        Candidate {
            client_id: "c".into(),
            user_name: user.map(Box::from),
            password: user.map(|_| b"secret".as_slice().into()),
            certificate: None,
            came_at_s: 0,
        }
    }

    /// A policy with the user `ann`, whose password is `secret`.
    fn policy() -> (tempfile::TempDir, Arc<Policy>) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users");
        let hash = crate::access::edit::hash(crate::access::hash::Scheme::Sha512, b"secret");
        let hash = hash.expect("entropy");
        std::fs::write(&path, format!("ann:{hash}\n")).expect("a folder of ours");
        let settings =
            Settings { allow_anonymous: true, password_file: Some(path), ..Settings::default() };
        (folder, Arc::new(Policy::load(&settings).expect("a good file")))
    }

    #[tokio::test]
    async fn so_many_passwords_are_checked_at_a_time_and_no_more() {
        let (_folder, policy) = policy();
        let porch = Arc::new(Porch::new(1, Limits::default(), Clock::start()));
        let door = Door::new(policy, Arc::clone(&porch));
        let busy = Arc::clone(&porch.checks).try_acquire_owned().expect("nobody is there");
        let anonymous = timeout(Duration::from_secs(60), door.admit(candidate(None))).await;
        assert!(anonymous.is_ok_and(|(_, verdict)| verdict.is_ok()), "it waits for nobody");
        // Whoever gives up leaves no trace; the others go on when there is room.
        let mut impatient = Box::pin(door.admit(candidate(Some("ann"))));
        let mut patient = Box::pin(door.admit(candidate(Some("ann"))));
        assert!(futures_pending(&mut impatient) && futures_pending(&mut patient));
        drop(impatient);
        drop(busy);
        let (_, verdict) = timeout(Duration::from_secs(60), patient).await.expect("its turn");
        assert_eq!(verdict.expect("the right password").user_name.as_deref(), Some("ann"));
        let (_, verdict) = door.admit(candidate(Some("eve"))).await;
        assert_eq!(verdict.err(), Some(Refusal::UnknownUser));
        assert_eq!(porch.checks.available_permits(), 1);
    }

    fn futures_pending<F: Future + Unpin>(future: &mut F) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        std::pin::Pin::new(future).poll(&mut context).is_pending()
    }
}
