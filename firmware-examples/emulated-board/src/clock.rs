//! Hundredths of a second, by the timer that every Cortex-M has. More of them would be lost, and
//! the board's clock be slow, where the machine that emulates it has other things to do.

use core::cell::{Cell, RefCell};
use core::task::Waker;

use cortex_m::Peripherals;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::exception;
use critical_section::Mutex;
use embassy_time_driver::Driver;
use embassy_time_queue_utils::Queue;

use crate::ethernet;

/// The processor runs at 12.5 MHz after a reset.
const CYCLES_PER_TICK: u32 = 125_000;

struct Clock {
    now: Mutex<Cell<u64>>,
    sleepers: Mutex<RefCell<Queue>>,
}

embassy_time_driver::time_driver_impl!(static CLOCK: Clock = Clock {
    now: Mutex::new(Cell::new(0)),
    sleepers: Mutex::new(RefCell::new(Queue::new())),
});

/// To be called once, before anybody waits.
pub fn start() {
    let mut timer = Peripherals::take().expect("nobody else takes them").SYST;
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(CYCLES_PER_TICK - 1);
    timer.clear_current();
    timer.enable_counter();
    timer.enable_interrupt();
}

impl Driver for Clock {
    fn now(&self) -> u64 {
        critical_section::with(|section| self.now.borrow(section).get())
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|section| {
            self.sleepers.borrow(section).borrow_mut().schedule_wake(at, waker);
        });
    }
}

/// A hundred times a second.
#[exception]
fn SysTick() {
    critical_section::with(|section| {
        let now = CLOCK.now.borrow(section);
        now.set(now.get() + 1);
        CLOCK.sleepers.borrow(section).borrow_mut().next_expiration(now.get());
    });
    ethernet::look();
}
