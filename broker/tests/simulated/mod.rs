//! A disk that forgets. What was synced survives a power cut; of what was not, any part may, torn
//! at any byte, in any order between writes; names survive in the order they were made, up to a
//! point, or all of them if their folder was synced. Every operation that changes something can be
//! the one at which the power goes.

#![allow(dead_code, reason = "each test uses its part")]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use martlet::store::disk::{Disk, File, Lock};
use martlet::store::durable::{Settings, Sync};
use martlet_engine::snapshot::Snapshot;
use parking_lot::Mutex;

use dice::Dice;

pub mod dice;

/// The disk. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct Simulated(Arc<Mutex<World>>);

#[derive(Debug, Default)]
struct World {
    inodes: Vec<Inode>,
    /// What programs see.
    names: BTreeMap<PathBuf, usize>,
    /// What a power cut leaves for sure.
    safe_names: BTreeMap<PathBuf, usize>,
    /// Changes of names since, by folder.
    renamings: BTreeMap<PathBuf, Vec<Renaming>>,
    locked: BTreeMap<PathBuf, u32>,
    /// Handles of before a crash are dead.
    generation: u32,
    operations: u64,
    power_goes_at: Option<u64>,
    faults: Faults,
    /// Bytes that go onto it; `None`: any.
    capacity: Option<u64>,
    /// Files stay, whoever removes them.
    keeps_all: bool,
    /// What it says is free, whatever is.
    told_free: Option<u64>,
    /// Bytes of a file that cannot be read.
    unreadable: Option<(PathBuf, std::ops::Range<u64>)>,
    dice: Dice,
    counts: Counts,
    cuts: Cuts,
}

/// How often the power went, by what was being done and to which files.
pub type Cuts = BTreeMap<(Doing, &'static str), u64>;

/// An operation that changes something.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Doing {
    Write,
    Sync,
    /// Making, renaming or removing a file.
    Naming,
    SyncFolder,
}

impl Doing {
    pub const ALL: [Self; 4] = [Self::Write, Self::Sync, Self::Naming, Self::SyncFolder];
}

#[derive(Debug, Default)]
struct Inode {
    live: Vec<u8>,
    safe: Vec<u8>,
    unsafe_writes: Vec<Write>,
}

#[derive(Clone, Debug)]
enum Write {
    Bytes { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

#[derive(Clone, Debug)]
enum Renaming {
    Name(PathBuf, usize),
    Unname(PathBuf),
    Rename(PathBuf, PathBuf),
}

/// What the disk refuses, in percent of the operations.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Writes that would make a file grow, and new files, for want of space; a part is written.
    pub full: u64,
    /// Any writes, after a part of them.
    pub write: u64,
    /// Syncs that fail; what they were to make safe may be lost.
    pub sync: u64,
}

/// What was done to files whose path contains a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub writes: u64,
    pub bytes: u64,
    pub syncs: u64,
    /// Files that were made with this name.
    pub made: u64,
    /// Files that were given this name.
    pub renamed: u64,
}

#[derive(Debug, Default)]
struct Counts(BTreeMap<PathBuf, Count>);

/// How a machine stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The process is killed: what it wrote is there.
    Kill,
    /// The power is cut: what was not synced may be there or not.
    PowerCut,
}

/// Bounds so small that everything happens often, and the same calls do the same things.
pub fn small_settings(dice: &mut Dice, sync: Sync) -> Settings {
    Settings {
        checkpoint_bytes: dice.pick(&[200, 2_000, 20_000]),
        checkpoint_every: Duration::from_secs(1),
        segment_bytes: dice.pick(&[100, 1_000, 10_000]),
        ahead_bytes: dice.pick(&[1, 512, 4096]),
        compact_waste_bytes: dice.pick(&[64 << 10, 16 << 20]),
        cache_bytes: dice.pick(&[1 << 20, 1 << 10]),
        spares_max: dice.pick(&[0, 1, 2, 2]),
        background: false,
        sync,
        ..Settings::new("data".into(), "2026-11-21".into())
    }
}

/// Where two snapshots begin to differ.
pub fn difference(found: &Snapshot, kept: &Snapshot) -> String {
    let (found, kept) = (format!("{found:#?}"), format!("{kept:#?}"));
    let lines = found.lines().zip(kept.lines()).enumerate();
    let first = lines.filter(|(_, (a, b))| a != b).map(|(at, _)| at).next().unwrap_or(0);
    let part = |text: &str| {
        text.lines().skip(first.saturating_sub(12)).take(24).collect::<Vec<_>>().join("\n")
    };
    format!("found:\n{}\nkept:\n{}", part(&found), part(&kept))
}

impl Simulated {
    pub fn new(seed: u64) -> Self {
        let world = World { dice: Dice(seed), ..World::default() };
        Self(Arc::new(Mutex::new(world)))
    }

    /// The power goes at so many operations from now.
    pub fn power_goes_in(&self, operations: u64) {
        let mut world = self.0.lock();
        world.power_goes_at = Some(world.operations + operations);
    }

    /// The power does not go after all.
    pub fn power_stays(&self) {
        self.0.lock().power_goes_at = None;
    }

    /// At which operations the power went so far.
    pub fn cuts(&self) -> Cuts {
        self.0.lock().cuts.clone()
    }

    pub fn is_without_power(&self) -> bool {
        let world = self.0.lock();
        world.power_goes_at.is_some_and(|at| world.operations >= at)
    }

    /// What the next process finds.
    pub fn restart(&self, stop: Stop) {
        let mut world = self.0.lock();
        world.generation += 1;
        world.power_goes_at = None;
        world.locked.clear();
        if stop == Stop::PowerCut {
            world.forget();
        }
    }

    pub fn set_faults(&self, faults: Faults) {
        self.0.lock().faults = faults;
    }

    /// From here on so many bytes go onto it; what would be more is refused.
    pub fn set_capacity(&self, bytes: u64) {
        self.0.lock().capacity = Some(bytes);
    }

    /// From here on no file can be removed, or any again.
    pub fn refuse_to_remove(&self, refuse: bool) {
        self.0.lock().keeps_all = refuse;
    }

    /// From here on it says that so much is free, whatever is.
    pub fn tell_free(&self, bytes: u64) {
        self.0.lock().told_free = Some(bytes);
    }

    /// From here on these bytes of a file cannot be read, or all again.
    pub fn refuse_to_read(&self, what: Option<(PathBuf, std::ops::Range<u64>)>) {
        self.0.lock().unreadable = what;
    }

    /// Bytes of all files.
    pub fn used(&self) -> u64 {
        self.0.lock().used()
    }

    /// What was done to files whose path contains `word`.
    pub fn count(&self, word: &str) -> Count {
        let world = self.0.lock();
        let files = world.counts.0.iter().filter(|(path, _)| path.to_string_lossy().contains(word));
        files.fold(Count::default(), |sum, (_, count)| Count {
            writes: sum.writes + count.writes,
            bytes: sum.bytes + count.bytes,
            syncs: sum.syncs + count.syncs,
            made: sum.made + count.made,
            renamed: sum.renamed + count.renamed,
        })
    }

    /// All files, by path.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let world = self.0.lock();
        let content = |inode: &usize| world.inodes[*inode].live.clone();
        world.names.iter().map(|(path, inode)| (path.clone(), content(inode))).collect()
    }

    /// Puts a file there, safely.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        let mut world = self.0.lock();
        let inode = world.inodes.len();
        world.inodes.push(Inode { safe: bytes.clone(), live: bytes, unsafe_writes: Vec::new() });
        world.names.insert(path.to_owned(), inode);
        world.safe_names.insert(path.to_owned(), inode);
    }
}

impl World {
    fn used(&self) -> u64 {
        self.names.values().map(|inode| self.inodes[*inode].live.len() as u64).sum()
    }

    /// Counts an operation that changes something; an error if the power is gone or goes now.
    fn operation(&mut self, generation: u32, doing: Doing, path: &Path) -> io::Result<bool> {
        let is_over = |at: u64| self.operations >= at;
        if generation != self.generation || self.power_goes_at.is_some_and(is_over) {
            return Err(io::Error::other("the power is off"));
        }
        self.operations += 1;
        let goes_now = self.power_goes_at.is_some_and(|at| self.operations >= at);
        if goes_now {
            *self.cuts.entry((doing, part(path))).or_default() += 1;
        }
        Ok(goes_now)
    }

    fn rename(&mut self, folder: &Path, renaming: Renaming) -> io::Result<()> {
        let goes_now = self.operation(self.generation, Doing::Naming, renaming.path())?;
        if goes_now && self.dice.chance(50) {
            return Err(io::Error::other("the power goes"));
        }
        apply(&mut self.names, &renaming);
        let count = self.counts.0.entry(renaming.path().to_owned()).or_default();
        match &renaming {
            Renaming::Name(..) => count.made += 1,
            Renaming::Rename(..) => count.renamed += 1,
            Renaming::Unname(_) => {}
        }
        self.renamings.entry(folder.to_owned()).or_default().push(renaming);
        if goes_now { Err(io::Error::other("the power goes")) } else { Ok(()) }
    }

    fn forget(&mut self) {
        for (_, renamings) in std::mem::take(&mut self.renamings) {
            let kept = self.dice.below(renamings.len() as u64 + 1) as usize;
            for renaming in &renamings[..kept] {
                apply(&mut self.safe_names, renaming);
            }
        }
        self.names = self.safe_names.clone();
        for inode in &mut self.inodes {
            let mut image = std::mem::take(&mut inode.safe);
            let style = self.dice.below(4);
            for write in std::mem::take(&mut inode.unsafe_writes) {
                match style {
                    0 => {}                                      // nothing of it
                    1 => write.apply(&mut image),                // all of it
                    _ => write.tear(&mut image, &mut self.dice), // in any order, any part
                }
            }
            inode.live = image.clone();
            inode.safe = image;
        }
    }
}

fn apply(names: &mut BTreeMap<PathBuf, usize>, renaming: &Renaming) {
    match renaming {
        Renaming::Name(path, inode) => {
            names.insert(path.clone(), *inode);
        }
        Renaming::Unname(path) => {
            names.remove(path);
        }
        Renaming::Rename(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
    }
}

impl Renaming {
    fn path(&self) -> &Path {
        match self {
            Self::Name(path, _) | Self::Unname(path) | Self::Rename(path, _) => path,
        }
    }
}

/// Which part of a store a file or folder belongs to.
pub fn part(path: &Path) -> &'static str {
    if path.components().any(|name| name.as_os_str() == "journal") { "journal" } else { "state" }
}

impl Write {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Bytes { offset, bytes } => {
                let end = offset + bytes.len();
                image.resize(image.len().max(end), 0);
                image[*offset..end].copy_from_slice(bytes);
            }
            Self::SetLen(len) => image.resize(*len, 0),
        }
    }

    fn tear(&self, image: &mut Vec<u8>, dice: &mut Dice) {
        match (self, dice.below(3)) {
            (_, 0) => {}
            (Self::SetLen(_), _) | (_, 1) => self.apply(image),
            (Self::Bytes { offset, bytes }, _) => {
                // A part at the front, one at the back, or one in between.
                let (a, b) = (dice.below(bytes.len() as u64), dice.below(bytes.len() as u64));
                let range = match dice.below(3) {
                    0 => 0..a as usize,
                    1 => a as usize..bytes.len(),
                    _ => a.min(b) as usize..a.max(b) as usize,
                };
                let part = bytes[range.clone()].to_vec();
                Self::Bytes { offset: offset + range.start, bytes: part }.apply(image);
            }
        }
    }
}

#[derive(Debug)]
struct Handle {
    world: Arc<Mutex<World>>,
    generation: u32,
    inode: usize,
    path: PathBuf,
}

#[derive(Debug)]
struct Held(Arc<Mutex<World>>, PathBuf, u32);

impl Lock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        let mut world = self.0.lock();
        if world.locked.get(&self.1) == Some(&self.2) {
            world.locked.remove(&self.1);
        }
    }
}

impl Simulated {
    fn handle(&self, world: &World, path: &Path, inode: usize) -> Box<dyn File> {
        let (world, generation) = (Arc::clone(&self.0), world.generation);
        Box::new(Handle { world, generation, inode, path: path.to_owned() })
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().expect("a file is in a folder")
}

impl Disk for Simulated {
    fn create_folder(&self, _: &Path) -> io::Result<()> {
        Ok(()) // folders are there, and safe
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let world = self.0.lock();
        let here = world.names.keys().filter(|path| path.parent() == Some(folder));
        Ok(here.map(|path| path.file_name().expect("named").to_string_lossy().into()).collect())
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let world = self.0.lock();
        let inode = *world.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(&world, path, inode))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut world = self.0.lock();
        let percent = world.faults.full;
        if world.dice.chance(percent) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let inode = world.inodes.len();
        world.inodes.push(Inode::default());
        world.rename(folder(path), Renaming::Name(path.to_owned(), inode))?;
        Ok(self.handle(&world, path, inode))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        assert_eq!(folder(from), folder(to), "the simulation knows no other way");
        let renaming = Renaming::Rename(from.to_owned(), to.to_owned());
        self.0.lock().rename(folder(from), renaming)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.0.lock();
        if !world.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if world.keeps_all {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        world.rename(folder(path), Renaming::Unname(path.to_owned()))
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut world = self.0.lock();
        let generation = world.generation;
        if world.operation(generation, Doing::SyncFolder, folder)? {
            return Err(io::Error::other("the power goes"));
        }
        let percent = world.faults.sync;
        let fails = world.dice.chance(percent);
        if !fails || world.dice.chance(50) {
            for renaming in world.renamings.remove(folder).unwrap_or_default() {
                apply(&mut world.safe_names, &renaming);
            }
        }
        if fails { Err(io::Error::other("input/output error")) } else { Ok(()) }
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let mut world = self.0.lock();
        let generation = world.generation;
        if world.locked.contains_key(path) {
            return Ok(None);
        }
        world.locked.insert(path.to_owned(), generation);
        Ok(Some(Box::new(Held(Arc::clone(&self.0), path.to_owned(), generation))))
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        let world = self.0.lock();
        if let Some(free) = world.told_free {
            return Ok(free);
        }
        Ok(world.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(world.used())))
    }
}

impl Handle {
    fn change(&self, write: &Write) -> io::Result<()> {
        let mut world = self.world.lock();
        let goes_now = world.operation(self.generation, Doing::Write, &self.path)?;
        let room = world.capacity.map(|capacity| capacity.saturating_sub(world.used()));
        let World { inodes, dice, counts, faults, .. } = &mut *world;
        let inode = &mut inodes[self.inode];
        let end = match write {
            Write::Bytes { offset, bytes } => offset + bytes.len(),
            Write::SetLen(len) => *len,
        };
        let more = end.saturating_sub(inode.live.len()) as u64;
        if room.is_some_and(|room| more > room) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let is_full = more > 0 && dice.chance(faults.full);
        if goes_now || is_full || dice.chance(faults.write) {
            let mut image = std::mem::take(&mut inode.live);
            if let Write::Bytes { offset, bytes } = write {
                let end = dice.below(bytes.len() as u64 + 1) as usize;
                let part = Write::Bytes { offset: *offset, bytes: bytes[..end].to_vec() };
                part.apply(&mut image);
                inode.unsafe_writes.push(part);
            }
            inode.live = image;
            return Err(match is_full {
                true => io::ErrorKind::StorageFull.into(),
                false => io::Error::other("the power goes"),
            });
        }
        write.apply(&mut inode.live);
        inode.unsafe_writes.push(write.clone());
        if let Write::Bytes { bytes, .. } = write {
            let count = counts.0.entry(self.path.clone()).or_default();
            count.writes += 1;
            count.bytes += bytes.len() as u64;
        }
        Ok(())
    }
}

impl File for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.world.lock().inodes[self.inode].live.len() as u64)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let world = self.world.lock();
        let start = offset as usize;
        let end = offset + out.len() as u64;
        let is_bad = |(path, bad): &(PathBuf, std::ops::Range<u64>)| {
            *path == self.path && offset < bad.end && bad.start < end
        };
        if world.unreadable.as_ref().is_some_and(is_bad) {
            return Err(io::Error::other("a sector cannot be read"));
        }
        let bytes = world.inodes[self.inode].live.get(start..start + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(&Write::Bytes { offset: offset as usize, bytes: bytes.to_vec() })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(&Write::SetLen(len as usize))
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = self.world.lock();
        let goes_now = world.operation(self.generation, Doing::Sync, &self.path)?;
        let percent = world.faults.sync;
        let fails = world.dice.chance(percent);
        // A sync that is cut short has made safe some of it, or all.
        let is_made = !goes_now && !fails || world.dice.chance(50);
        let inode = &mut world.inodes[self.inode];
        if is_made {
            for write in std::mem::take(&mut inode.unsafe_writes) {
                write.apply(&mut inode.safe);
            }
        }
        if fails || goes_now {
            return Err(io::Error::other("input/output error"));
        }
        world.counts.0.entry(self.path.clone()).or_default().syncs += 1;
        Ok(())
    }
}
