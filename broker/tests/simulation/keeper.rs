//! The real store on a simulated disk: the power goes at any operation, of a start too.

use std::sync::Arc;
use std::time::Duration;

use martlet::store::Store;
use martlet::store::durable::{self, Durable, Settings, Sync};
use martlet_engine::change::Change;
use martlet_engine::snapshot::Snapshot;

use crate::machine::Keeper;
use crate::simulated::dice::Dice;
use crate::simulated::{Simulated, Stop, difference, small_settings};

pub struct OnDisk {
    disk: Simulated,
    settings: Settings,
    dice: Dice,
    /// `None` only while it starts.
    store: Option<Durable>,
}

/// Starts that are cut off, one after another, before one is let through.
const STARTS_CUT_MAX: u64 = 3;

impl OnDisk {
    pub fn new(disk: Simulated, mut dice: Dice) -> Self {
        // What is synced now and then outlives a kill, and nothing else is asked of it here.
        let sync = match dice.chance(85) {
            true => Sync::Always,
            false => Sync::Interval(Duration::from_millis(9)),
        };
        let settings = small_settings(&mut dice, sync);
        let mut keeper = Self { disk, settings, dice, store: None };
        let store = keeper.open().expect("a disk that works");
        keeper.store = Some(store);
        keeper
    }

    /// Starts until a start gets through. The power may go a little later than it was to.
    fn open(&mut self) -> Result<Durable, String> {
        for starts in 0.. {
            if starts < STARTS_CUT_MAX && self.dice.chance(30) {
                let most = self.dice.pick(&[4, 40]);
                self.disk.power_goes_in(1 + self.dice.below(most));
            }
            match durable::open_on(Arc::new(self.disk.clone()), self.settings.clone()) {
                Ok(store) => return Ok(store),
                Err(_) if self.disk.is_without_power() => self.stop(),
                Err(error) => return Err(format!("the store cannot be opened: {error}")),
            }
        }
        unreachable!("a start that is not cut off gets through")
    }

    fn stop(&mut self) {
        let is_kill = self.settings.sync != Sync::Always || self.dice.chance(25);
        self.disk.restart(if is_kill { Stop::Kill } else { Stop::PowerCut });
    }
}

impl Keeper for OnDisk {
    fn commit(&mut self, changes: &[Change]) -> bool {
        let store = self.store.as_mut().expect("it has started");
        let is_kept = store.commit(changes).is_ok();
        if self.dice.chance(10) {
            let _ = store.tick(); // what it cannot do now, it does later
        }
        is_kept
    }

    fn restart(&mut self, kept: &Snapshot, perhaps: Option<&Snapshot>) -> Result<bool, String> {
        let mut store = self.store.take().expect("it has started");
        if self.dice.chance(15) {
            let _ = store.close(); // an orderly end, as far as the disk lets it
        }
        self.disk.power_goes_in(0); // nothing more is written by what goes out of scope
        drop(store);
        self.stop();
        let mut store = self.open()?;
        let damage = store.damage();
        if !damage.is_empty() {
            return Err(format!("a crash is no damage: {damage:?}"));
        }
        let found = store.load().map_err(|error| error.to_string())?;
        self.store = Some(store);
        match perhaps {
            _ if found == *kept => Ok(false),
            Some(perhaps) if found == *perhaps => Ok(true),
            _ => Err(difference(&found, kept)),
        }
    }
}
