//! The broker's allocator, and the one thing that it can do and Rust's trait for allocators has no
//! word for: to give back what is free.
//!
//! A crate of its own, since it is the only place with a line of `unsafe` in it: whoever uses it
//! needs none.

/// mimalloc; docs/DEPENDENCIES.md says why.
pub use mimalloc::MiMalloc as Heap;

/// Gives back to the system what this thread has allocated and anybody has freed.
///
/// Every thread has pages of its own. What another thread frees in them is noticed when their own
/// thread next allocates such sizes, and what it gives back itself waits for its next turn: a
/// thread that is done with much and then waits keeps all of that. It takes a look at each page of
/// 64 KiB that this thread has, so call it after a thousand things have been freed, not after each.
#[expect(unsafe_code, reason = "no crate wraps it")]
pub fn give_back() {
    // SAFETY: it takes no pointer and answers none, may be called by any thread at any time
    // (mimalloc.h), and frees only what was freed before. Where Rust's allocator is another one,
    // it finds nothing.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
