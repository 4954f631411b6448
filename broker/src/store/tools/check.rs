//! Is it sound?

use std::fmt;

use crate::store::StoreError;
use crate::store::damage::Damage;
use crate::store::tools::stats::Stats;
use crate::store::tools::{Look, Measured, size};

/// What a check found; as text, a report.
#[derive(Debug)]
pub struct Check {
    damage: Vec<Damage>,
    stats: Stats,
}

/// In one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// All that was kept is there.
    Sound,
    /// All that is there can be read; files that were set aside earlier hold what cannot.
    SetAside,
    /// A broker that starts here goes on without something.
    Damaged,
}

/// Finds out whether all of it can be read.
///
/// # Errors
/// When the machine refuses.
pub fn check(look: &Look) -> Result<Check, StoreError> {
    let mut damage = look.damage().to_vec();
    if damage.is_empty()
        && let Some(words) = look.store.state().verify()?
    {
        let file = look.files.state.iter().map(|state| state.file.clone());
        damage.push(Damage::new(file.collect(), words));
    }
    Ok(Check { damage, stats: Stats::of(look)? })
}

impl Check {
    /// In one word.
    pub fn verdict(&self) -> Verdict {
        match (self.damage.is_empty(), self.stats.set_aside.is_empty()) {
            (false, _) => Verdict::Damaged,
            (true, false) => Verdict::SetAside,
            (true, true) => Verdict::Sound,
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = self.stats.folder.display();
        match self.verdict() {
            Verdict::Sound => writeln!(f, "{folder}: sound")?,
            Verdict::SetAside => writeln!(f, "{folder}: sound, but see what was set aside")?,
            Verdict::Damaged => writeln!(f, "{folder}: DAMAGED")?,
        }
        for Damage { files, missing, .. } in &self.damage {
            let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
            let place = if files.is_empty() { "the journal".into() } else { files.join(", ") };
            writeln!(f, "  damaged: {place}: {missing}")?;
        }
        if !self.damage.is_empty() {
            writeln!(
                f,
                "  A broker that starts here sets damaged files aside and goes on with what is \
                 counted below.\n  To keep the chance of another way, copy the folder first."
            )?;
        }
        for Measured { file, bytes } in &self.stats.set_aside {
            let (file, size) = (file.display(), size(*bytes));
            writeln!(
                f,
                "  set aside earlier: {file} ({size}); move it away when it is dealt with"
            )?;
        }
        write!(f, "{}", self.stats)
    }
}
