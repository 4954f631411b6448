//! Milliseconds, by the timer that every Cortex-M has.

use core::cell::{Cell, RefCell};
use core::task::Waker;

use cortex_m::Peripherals;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::exception;
use critical_section::Mutex;
use embassy_time_driver::Driver;
use embassy_time_queue_utils::Queue;

use crate::ethernet;

/// What the processor runs at after a reset.
const TICKS_PER_MS: u32 = 12_500;

struct Clock {
    now_ms: Mutex<Cell<u64>>,
    sleepers: Mutex<RefCell<Queue>>,
}

embassy_time_driver::time_driver_impl!(static CLOCK: Clock = Clock {
    now_ms: Mutex::new(Cell::new(0)),
    sleepers: Mutex::new(RefCell::new(Queue::new())),
});

/// To be called once, before anybody waits.
pub fn start() {
    let mut timer = Peripherals::take().expect("nobody else takes them").SYST;
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(TICKS_PER_MS - 1);
    timer.clear_current();
    timer.enable_counter();
    timer.enable_interrupt();
}

impl Driver for Clock {
    fn now(&self) -> u64 {
        critical_section::with(|section| self.now_ms.borrow(section).get())
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|section| {
            self.sleepers.borrow(section).borrow_mut().schedule_wake(at, waker);
        });
    }
}

/// Every millisecond.
#[exception]
fn SysTick() {
    critical_section::with(|section| {
        let now_ms = CLOCK.now_ms.borrow(section);
        now_ms.set(now_ms.get() + 1);
        CLOCK.sleepers.borrow(section).borrow_mut().next_expiration(now_ms.get());
    });
    ethernet::look();
}
