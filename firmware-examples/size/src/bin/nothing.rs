//! No client at all: what wire, clock and start take by themselves, and what of the language's own
//! every program has: moving, clearing and comparing memory.

#![no_std]
#![no_main]

use core::hint::black_box;

use embassy_futures::block_on;
use embassy_futures::select::select;
use embassy_time::{Instant, Timer};
use embedded_io_async::{Read, Write};
use panic_halt as _;
use size::{Wire, measure, obey};

#[cortex_m_rt::entry]
fn main() -> ! {
    let (mut bytes, mut before) = ([0; 64], [0; 64]);
    loop {
        let next = Instant::from_millis(Instant::now().as_millis() + 1_000);
        block_on(async {
            let _ = Wire.write(&measure()).await;
            select(Wire.read(&mut bytes), Timer::at(next)).await;
        });
        let changed = black_box(&bytes[..]) != black_box(&before[..]);
        black_box(&mut before[..]).copy_from_slice(black_box(&bytes[..]));
        black_box(&mut bytes[..]).fill(u8::from(changed));
        obey(&bytes);
    }
}
