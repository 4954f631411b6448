//! Batches that found the engine busy and stay with the worker that has brought them.
//!
//! The worker goes on to its other sockets, takes them along when it next finds the engine free,
//! and waits for it at the end of its turn, when it has nothing else to do. So no worker handles,
//! sends and frees what another one has read, and none has to be woken for it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use martlet_engine::input::Input;

use crate::driver::aftermath::AFTERMATH;
use crate::driver::link::Edge;
use crate::driver::{Batch, Driver};

thread_local! {
    /// In the order in which they came: one for each link of this worker, which bounds them.
    static LEFT: RefCell<VecDeque<Batch>> = RefCell::default();
}

/// Keeps the batch of a link for this worker's next visit of the engine.
pub(super) fn leave(batch: Batch) {
    LEFT.with_borrow_mut(|left| left.push_back(batch));
}

/// Puts inputs behind the batch of their link, if it is here: what its connection says of its end,
/// or of its rights, does not wait for what it brought before.
pub(super) fn append(edge: &Arc<dyn Edge>, inputs: &mut Vec<Input>) -> bool {
    let is_its =
        |batch: &&mut Batch| batch.from.as_ref().is_some_and(|from| Arc::ptr_eq(from, edge));
    edge.link().is_waiting()
        && LEFT.with_borrow_mut(|left| {
            let batch = left.iter_mut().find(is_its);
            batch.map(|batch| batch.inputs.append(inputs)).is_some()
        })
}

/// Whether there is any.
pub(super) fn is_any() -> bool {
    LEFT.with_borrow(|left| !left.is_empty())
}

/// The next one for this driver's engine.
pub(super) fn next(driver: &Driver) -> Option<Batch> {
    LEFT.with_borrow_mut(|left| {
        let at = left.iter().position(|batch| std::ptr::eq(driver, &**driver_of(batch)))?;
        left.remove(at)
    })
}

/// Waits for the engine and brings all of them.
pub(super) fn enter() {
    while let Some(driver) = first_driver() {
        if driver.commits.has_room() {
            driver.combine(driver.core.lock(), AFTERMATH.take());
        } else if let Some(batch) = next(&driver) {
            // Others go on with it when the store has room.
            driver.leave_to_others(batch);
        }
    }
}

fn first_driver() -> Option<Arc<Driver>> {
    LEFT.with_borrow(|left| left.front().map(|batch| Arc::clone(driver_of(batch))))
}

fn driver_of(batch: &Batch) -> &Arc<Driver> {
    batch.from.as_ref().expect("`leave` is given batches of links").link().driver()
}
