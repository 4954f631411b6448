//! The bridges of a server: which run, and what a reload changes about that.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::bridge::task::{Bridge, Orders, release};
use crate::bridge::tls::{Connector, Fault};
use crate::bridge::{self, Remote, Start, tls};
use crate::driver::Driver;
use crate::server::Settings;
use crate::server::reload::{Change, Part};

/// Starts and ends bridges, so that those run that are wanted. One whose settings stay as they were
/// is not disturbed.
#[derive(Debug)]
pub(super) struct Bridges {
    driver: Arc<Driver>,
    wanted: watch::Receiver<Vec<Wanted>>,
    running: BTreeMap<Box<str>, Running>,
    /// Where sessions were connected last, by their client ids.
    accepted_at: BTreeMap<Box<str>, Remote>,
}

/// The same, as a part that takes new settings.
pub(super) struct Bridging(watch::Sender<Vec<Wanted>>);

/// A bridge that is to run, its files read.
#[derive(Clone, Debug)]
struct Wanted {
    settings: bridge::Settings,
    tls: Option<Connector>,
}

#[derive(Debug)]
struct Running {
    settings: bridge::Settings,
    orders: watch::Sender<Orders>,
    task: JoinHandle<Option<Remote>>,
}

/// The bridges of these settings, and the part that changes them.
///
/// # Errors
/// What is wrong with their files.
pub(super) fn bridges(
    settings: &[bridge::Settings],
    driver: &Arc<Driver>,
) -> Result<(Bridges, Bridging), Vec<Fault>> {
    let wanted = read(settings)?;
    for one in &wanted {
        // Before anything is due: what waits in its session may be older than others may become.
        driver.own_bridge(&one.settings.local_client_id, true);
    }
    let (sender, wanted) = watch::channel(wanted);
    let driver = Arc::clone(driver);
    Ok((
        Bridges { driver, wanted, running: BTreeMap::new(), accepted_at: BTreeMap::new() },
        Bridging(sender),
    ))
}

fn read(settings: &[bridge::Settings]) -> Result<Vec<Wanted>, Vec<Fault>> {
    let (mut wanted, mut faults) = (Vec::new(), Vec::new());
    for settings in settings {
        match settings.tls.as_ref().map(Connector::new).transpose() {
            Ok(tls) => wanted.push(Wanted { settings: settings.clone(), tls }),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(wanted) } else { Err(faults) }
}

impl Bridges {
    /// Runs until the server stops; then each says goodbye to its broker.
    pub(super) async fn run(mut self, mut stopping: watch::Receiver<bool>) {
        while self.changes_before(&mut stopping).await {
            self.settle().await;
        }
        end(std::mem::take(&mut self.running)).await;
    }

    /// Waits for other settings; or the server stops.
    async fn changes_before(&mut self, stopping: &mut watch::Receiver<bool>) -> bool {
        tokio::select! {
            // Without a sender the server is gone.
            _ = stopping.wait_for(|stopping| *stopping) => false,
            changed = self.wanted.changed() => changed.is_ok(),
        }
    }

    /// Lets those run that are wanted, and no others.
    pub(super) async fn settle(&mut self) {
        let wanted = self.wanted.borrow_and_update().clone();
        let (stay, leave) =
            std::mem::take(&mut self.running).into_iter().partition(|(_, running)| {
                // One that has panicked is not one that runs.
                let runs = running.settings.start == Start::Once || !running.task.is_finished();
                runs && wanted.iter().any(|one| one.settings == running.settings)
            });
        self.running = stay;
        for (settings, accepted_at) in end(leave).await {
            let traffic = &self.driver.traffic;
            traffic.bridges.lock().count(&settings.name, |count| count.connected = false);
            if let Some(address) = accepted_at {
                self.accepted_at.insert(settings.local_client_id.clone(), address);
            }
            self.part_with(settings, &wanted).await;
        }
        let mut begun = Vec::new();
        for Wanted { settings, tls } in wanted {
            match self.running.get(&settings.name) {
                Some(running) => running.orders.send_modify(|orders| orders.tls = tls),
                None => begun.push(self.prepare(settings, tls).await),
            }
        }
        for (settings, orders, bridge) in begun {
            let task = tokio::spawn(bridge.run());
            self.running.insert(settings.name.clone(), Running { settings, orders, task });
        }
    }

    /// Its session is there from here on, so that nothing is missed that is published.
    async fn prepare(
        &self,
        settings: bridge::Settings,
        tls: Option<Connector>,
    ) -> (bridge::Settings, watch::Sender<Orders>, Bridge) {
        let (orders, told) = watch::channel(Orders { stop: false, tls });
        let accepted_at = self.accepted_at.get(&settings.local_client_id).cloned();
        let bridge = Bridge::new(settings.clone(), &self.driver, told, accepted_at);
        bridge.prepare().await;
        (settings, orders, bridge)
    }

    /// What is left of a bridge that has ended.
    async fn part_with(&self, settings: bridge::Settings, wanted: &[Wanted]) {
        let name = settings.name.clone();
        let again = wanted.iter().any(|one| one.settings.name == name);
        let session = &settings.local_client_id;
        if !wanted.iter().any(|one| one.settings.local_client_id == *session) {
            release(&settings, &self.driver, true).await;
        }
        if !again {
            self.driver.traffic.bridges.lock().remove(&name);
            tracing::info!(bridge = %name, "Bridge {name} is no more.");
        }
    }
}

/// Ends all of these, at the same time; what they were.
async fn end(running: BTreeMap<Box<str>, Running>) -> Vec<(bridge::Settings, Option<Remote>)> {
    for one in running.values() {
        one.orders.send_modify(|orders| orders.stop = true);
    }
    let mut ended = Vec::new();
    for (_, Running { settings, task, .. }) in running {
        // A panic in there has been reported by the panic itself.
        let accepted_at = task.await.ok().flatten();
        ended.push((settings, accepted_at));
    }
    ended
}

impl Part for Bridging {
    fn name(&self) -> &'static str {
        "bridges"
    }

    fn prepare(&self, settings: &Settings) -> Result<Change, Vec<String>> {
        let wanted = read(&settings.bridges);
        let wanted =
            wanted.map_err(|faults| faults.iter().map(Fault::to_string).collect::<Vec<_>>())?;
        let sender = self.0.clone();
        Ok(Box::new(move || {
            sender.send_replace(wanted);
        }))
    }

    /// A connection keeps what it began with; the next one takes what is there then.
    fn watched(&self, settings: &Settings) -> Vec<PathBuf> {
        let tls = settings.bridges.iter().filter_map(|bridge| bridge.tls.as_ref());
        tls.flat_map(tls::Settings::files).collect()
    }
}
