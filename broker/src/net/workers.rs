//! The threads that serve connections, each with a runtime of its own.
//!
//! A connection is given to one of them when it is accepted, and stays there: what is allocated
//! for it is freed by the thread that did it, its socket is watched where it is read, and a worker
//! that has nothing to do is woken by nobody. What connections have in common is the engine.

use std::io;
use std::sync::{Arc, OnceLock};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Handle, Runtime};
use tokio::sync::oneshot;

use crate::driver::{AbortOnPanic, turn};
use crate::net::surplus::Surplus;

/// The workers beside the one that runs the server; they end when this is dropped.
#[derive(Debug, Default)]
pub struct Workers {
    others: Vec<Worker>,
    /// How many tasks each had of its own when the first connection came, this thread first.
    own_tasks: OnceLock<Box<[usize]>>,
}

#[derive(Debug)]
struct Worker {
    handle: Handle,
    /// Both are there until it ends.
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Workers {
    /// Starts so many, in which nothing waits longer than `wait_max` for the end of a turn. Each
    /// thread of theirs calls `begin` first, in its runtime.
    ///
    /// # Errors
    /// When the operating system has no thread or no files for one.
    pub fn start(
        count: usize,
        wait_max: Duration,
        begin: impl Fn() + Clone + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let start = |_| {
            let runtime = turn::runtime(wait_max).on_thread_start(begin.clone()).build()?;
            Worker::start(runtime, begin.clone())
        };
        let others = (0..count).map(start).collect::<Result<_, _>>()?;
        Ok(Self { others, own_tasks: OnceLock::new() })
    }

    /// Has each worker, this thread too, call `give_back` when `surplus` says that it is worth it.
    pub fn tend(&self, surplus: &Arc<Surplus>, give_back: fn()) {
        let here = Handle::current();
        for worker in self.all(&here) {
            worker.spawn(Arc::clone(surplus).tend(give_back));
        }
    }

    /// Gives a connection's task to the worker that has the fewest, this thread's among them.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let here = Handle::current();
        let own = self.own_tasks.get_or_init(|| self.all(&here).map(tasks).collect());
        let connections = |&(worker, own): &(&Handle, &usize)| tasks(worker).saturating_sub(*own);
        let fewest = self.all(&here).zip(own).min_by_key(connections);
        fewest.map_or(&here, |(worker, _)| worker).spawn(task);
    }

    fn all<'w>(&'w self, here: &'w Handle) -> impl Iterator<Item = &'w Handle> {
        std::iter::once(here).chain(self.others.iter().map(|worker| &worker.handle))
    }
}

fn tasks(worker: &Handle) -> usize {
    worker.metrics().num_alive_tasks()
}

impl Worker {
    fn start(runtime: Runtime, begin: impl Fn() + Send + 'static) -> io::Result<Self> {
        let (handle, (stop, stopped)) = (runtime.handle().clone(), oneshot::channel());
        let serve = move || {
            // What it was given would wait for ever.
            let _abort = AbortOnPanic;
            runtime.block_on(async {
                begin();
                // Whoever stops it says nothing.
                drop(stopped.await);
            });
        };
        let thread = Builder::new().name("martlet-worker".into()).spawn(serve)?;
        Ok(Self { handle, running: Some((stop, thread)) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let Some((stop, thread)) = self.running.take() else { return };
        drop(stop);
        // A panic would have ended the process.
        let _ = thread.join();
    }
}
