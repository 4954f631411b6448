//! What all programs here have alike: a wire and a clock, which are a few registers.

#![no_std]

pub mod recorded;

use core::convert::Infallible;
use core::task::Waker;

use embassy_futures::yield_now;
use embedded_io_async::{ErrorType, Read, Write};

/// Bytes that have come, and bytes that are to go.
const DATA: *mut u32 = 0x4000_4000 as *mut u32;
/// Whether there is one.
const READY: *mut u32 = 0x4000_4004 as *mut u32;
/// Milliseconds.
const TIME: *mut u32 = 0x4000_0000 as *mut u32;
/// What is measured, and what becomes of it.
const SENSOR: *mut u32 = 0x4000_8000 as *mut u32;
const LAMP: *mut u32 = 0x4000_8004 as *mut u32;

fn read(register: *mut u32) -> u32 {
    // SAFETY: the registers above, which are mapped and nobody's memory.
    unsafe { register.read_volatile() }
}

fn write(register: *mut u32, value: u32) {
    // SAFETY: as above.
    unsafe { register.write_volatile(value) }
}

/// A reading.
pub fn measure() -> [u8; 4] {
    read(SENSOR).to_le_bytes()
}

/// A command.
pub fn obey(payload: &[u8]) {
    payload.iter().for_each(|byte| write(LAMP, u32::from(*byte)));
}

/// A connection to a broker, which is always there.
pub struct Wire;

impl ErrorType for Wire {
    type Error = Infallible;
}

impl Read for Wire {
    async fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Infallible> {
        while read(READY) == 0 {
            yield_now().await;
        }
        Ok(take(bytes))
    }
}

impl Write for Wire {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        Ok(give(bytes))
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// What has come.
pub fn take(bytes: &mut [u8]) -> usize {
    let came = bytes.iter_mut().take_while(|_| read(READY) != 0);
    came.map(|byte| *byte = read(DATA) as u8).count()
}

/// Sends all of it.
pub fn give(bytes: &[u8]) -> usize {
    bytes.iter().for_each(|byte| write(DATA, u32::from(*byte)));
    bytes.len()
}

struct Ticks;

embassy_time_driver::time_driver_impl!(static TICKS: Ticks = Ticks);

impl embassy_time_driver::Driver for Ticks {
    fn now(&self) -> u64 {
        u64::from(read(TIME))
    }

    /// Everybody is polled all the time.
    fn schedule_wake(&self, _: u64, _: &Waker) {}
}
