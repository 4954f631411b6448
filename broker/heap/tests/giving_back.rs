//! What one thread allocates and another one frees goes back to the system.

use std::sync::mpsc;

use martlet_heap::{Heap, give_back};

#[global_allocator]
static HEAP: Heap = Heap;

const BLOCKS: usize = 64 << 10;
const BLOCK: usize = 1 << 10;

/// Bytes that this process has in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux says it");
    let pages = statm.split(' ').nth(1).expect("its second figure");
    pages.parse::<usize>().expect("a number") * rustix::param::page_size()
}

#[test]
#[cfg(target_os = "linux")]
fn what_another_thread_has_freed_goes_back() {
    let (to_free, freed) = mpsc::sync_channel::<Vec<Vec<u8>>>(0);
    let before = resident();
    let blocks: Vec<Vec<u8>> = (0..BLOCKS).map(|_| vec![1; BLOCK]).collect();
    let full = resident();
    assert!(full.saturating_sub(before) >= BLOCKS * BLOCK, "{before} to {full} bytes");
    let other = std::thread::spawn(move || drop(freed.recv().expect("blocks")));
    to_free.send(blocks).expect("it waits for them");
    other.join().expect("it frees them");

    let free = resident();
    give_back();
    let given_back = resident();

    // That it is not given back by itself is why there is the call.
    assert!(free.saturating_sub(before) > BLOCKS * BLOCK / 2, "{before} to {free} bytes");
    assert!(
        given_back.saturating_sub(before) < BLOCKS * BLOCK / 20,
        "{before} to {given_back} bytes"
    );
}
