//! The database trusts its file and panics where that is broken: that is damage too, not a fault of
//! this program, and nobody wants to read about threads and source lines.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use crate::store::state::Failed;

thread_local! {
    /// Panics of this thread are words about a file.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs what works on the database's file. A panic becomes damage, in the panic's words; it prints
/// nothing.
pub(super) fn guarded<T>(run: impl FnOnce() -> Result<T, Failed>) -> Result<T, Failed> {
    static HUSHED: Once = Once::new();
    HUSHED.call_once(hush);
    let before = GUARDED.replace(true);
    let ran = catch_unwind(AssertUnwindSafe(run));
    GUARDED.set(before);
    ran.unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Failed::Damaged(words.unwrap_or("the database broke off").to_owned()))
    })
}

/// From here on a panic is reported as it was before, but for those that are guarded.
fn hush() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !GUARDED.get() {
            report(panic);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_damage_in_its_words() {
        let number = 7;
        let broken = guarded::<()>(|| panic!("page {number} is no page"));
        assert!(matches!(broken, Err(Failed::Damaged(words)) if words == "page 7 is no page"));
        assert!(!GUARDED.get(), "the next panic of this thread is reported again");
    }
}
