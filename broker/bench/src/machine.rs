//! Cores, file descriptors, and what `/proc` tells about a process.

use std::fs;
use std::io;
use std::path::Path;

use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::error::BenchError;
use crate::scenario::{Scenario, Shape};

/// The kernel's unit of CPU time in `/proc/<pid>/stat`: `USER_HZ`, 100 on every Linux.
const TICKS_PER_S: f64 = 100.0;

/// The cores for the broker and those for the load.
#[derive(Clone, Copy)]
pub(crate) struct Cores {
    pub(crate) broker: CpuSet,
    pub(crate) load: CpuSet,
}

impl Cores {
    /// The first core that this process may use for the broker, and the last one for the load: the
    /// same on a machine with one.
    pub(crate) fn choose() -> Result<Self, BenchError> {
        let allowed = Self::all()?.broker;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
        let broker = cores.next().unwrap_or(0);
        let load = cores.next_back().unwrap_or(broker);
        Ok(Self { broker: only(broker), load: only(load) })
    }

    /// All that this process may use, for both: ask before it is pinned.
    pub(crate) fn all() -> Result<Self, BenchError> {
        let allowed = sched_getaffinity(None).map_err(io::Error::from);
        let allowed = allowed.map_err(BenchError::system("sched_getaffinity"))?;
        Ok(Self { broker: allowed, load: allowed })
    }
}

fn only(core: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(core);
    set
}

/// Keeps this process, and children started from now on, on these cores.
pub(crate) fn pin(cores: &CpuSet) -> Result<(), BenchError> {
    let pinned = sched_setaffinity(None, cores).map_err(io::Error::from);
    pinned.map_err(BenchError::system("sched_setaffinity"))
}

/// Open files besides the connections, of a broker or of ours.
const OTHER_FILES: u64 = 100;

/// Raises the limit of open files, ours and our children's, as far as it may be raised. Scenarios
/// of idle connections get as many as it allows, and say so; others must have what they need.
pub(crate) fn raise_open_files(scenarios: &mut [Scenario]) -> Result<(), BenchError> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Refused only above the maximum, which this is not.
    let _ = setrlimit(Resource::Nofile, limit);
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    for scenario in scenarios {
        let wanted = (scenario.publishers + scenario.subscribers) as u64 + OTHER_FILES;
        if wanted <= allowed {
            continue;
        }
        let name = &scenario.name;
        if !matches!(scenario.shape, Shape::Idle { .. }) || allowed <= OTHER_FILES {
            return Err(BenchError::Files { scenario: name.clone(), wanted, allowed });
        }
        let possible = allowed - OTHER_FILES;
        let asked = scenario.subscribers;
        eprintln!(
            "{name}: {possible} connections instead of {asked}, as a process may open {allowed} \
             files (ulimit -Hn)"
        );
        scenario.subscribers = possible as usize;
    }
    Ok(())
}

/// CPU seconds that a process has used, all its threads together.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct CpuTime {
    pub(crate) user_s: f64,
    pub(crate) system_s: f64,
}

impl CpuTime {
    /// From `/proc/<pid>/stat`, fields 14 and 15.
    pub(crate) fn of(pid: u32) -> Result<Self, BenchError> {
        let stat = read(pid, "stat")?;
        // The second field, the program's name in parentheses, may hold anything.
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        let mut ticks = fields.split(' ').skip(11).map(|field| field.parse::<f64>().unwrap_or(0.0));
        let mut next = || ticks.next().unwrap_or(0.0) / TICKS_PER_S;
        Ok(Self { user_s: next(), system_s: next() })
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { user_s: self.user_s - earlier.user_s, system_s: self.system_s - earlier.system_s }
    }

    pub(crate) fn total_s(self) -> f64 {
        self.user_s + self.system_s
    }
}

/// Memory and threads of a process, from `/proc/<pid>/status`.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Footprint {
    pub(crate) rss_kib: u64,
    /// Of that what is its own: pages of the program itself, which the system shares and takes
    /// back as it likes, come in when they are first used.
    pub(crate) own_kib: u64,
    pub(crate) rss_peak_kib: u64,
    pub(crate) threads: u64,
}

impl Footprint {
    pub(crate) fn of(pid: u32) -> Result<Self, BenchError> {
        let status = read(pid, "status")?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("");
            line.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
        };
        Ok(Self {
            rss_kib: number("VmRSS:"),
            own_kib: number("RssAnon:"),
            rss_peak_kib: number("VmHWM:"),
            threads: number("Threads:"),
        })
    }
}

/// Bytes that came to a disk.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Written {
    /// As the kernel charges a process, `write_bytes` in `/proc/<pid>/io`: pages that it made
    /// dirty. The file system's own blocks are not among them, and where pages lie in the page
    /// cache in larger pieces, a write to one of them may be charged as the whole piece.
    pub(crate) process: u64,
    /// As the device that holds a folder counts sectors, whoever wrote them; `None`: there is no
    /// such device.
    pub(crate) device: Option<u64>,
}

/// Bytes of a sector in the kernel's counts, whatever the device has.
const SECTOR_BYTES: u64 = 512;

impl Written {
    /// So far, by this process, and to the device of this folder.
    pub(crate) fn now(pid: Option<u32>, folder: &Path) -> Result<Self, BenchError> {
        let process = match pid {
            Some(pid) => number_after(&read(pid, "io")?, "\nwrite_bytes:"),
            None => 0,
        };
        let device = rustix::fs::stat(folder).map_err(io::Error::from);
        let device = device.map_err(BenchError::system("looking at the folder"))?.st_dev;
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let stat = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok();
        // The seventh number counts sectors written.
        let sectors = stat.and_then(|stat| stat.split_whitespace().nth(6)?.parse::<u64>().ok());
        Ok(Self { process, device: sectors.map(|sectors| sectors * SECTOR_BYTES) })
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        let device = self.device.zip(earlier.device).map(|(now, then)| now - then);
        Self { process: self.process - earlier.process, device }
    }
}

/// Sends everything that is in memory to the disks.
pub(crate) fn sync_all() {
    rustix::fs::sync();
}

/// How often the threads of a process have gone to sleep so far, and thus were woken.
pub(crate) fn wakes(pid: u32) -> Result<u64, BenchError> {
    let threads = threads(pid)?;
    let sleeps = threads.iter().map(|status| number_after(status, "\nvoluntary_ctxt_switches:"));
    Ok(sleeps.sum())
}

/// Whether a debugger, or strace, has every thread of a process.
pub(crate) fn is_traced(pid: u32) -> Result<bool, BenchError> {
    Ok(threads(pid)?.iter().all(|status| number_after(status, "\nTracerPid:") > 0))
}

/// What the kernel says of each thread of a process.
fn threads(pid: u32) -> Result<Vec<String>, BenchError> {
    let reading = BenchError::system("reading the broker's /proc");
    let mut threads = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task")).map_err(&reading)? {
        let status = thread.map_err(&reading)?.path().join("status");
        // A thread that has ended meanwhile counts no more.
        threads.extend(fs::read_to_string(status).ok());
    }
    Ok(threads)
}

/// How many files and sockets a process has open.
pub(crate) fn open_files(pid: u32) -> Result<usize, BenchError> {
    let files = fs::read_dir(format!("/proc/{pid}/fd"));
    Ok(files.map_err(BenchError::system("reading the broker's /proc"))?.count())
}

fn number_after(text: &str, name: &str) -> u64 {
    let rest = text.split_once(name).map_or("", |(_, rest)| rest);
    rest.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

fn read(pid: u32, file: &str) -> Result<String, BenchError> {
    fs::read_to_string(format!("/proc/{pid}/{file}"))
        .map_err(BenchError::system("reading the broker's /proc"))
}

#[cfg(test)]
mod tests {
    use super::{CpuTime, Footprint, is_traced, open_files, wakes};

    #[test]
    fn this_process_has_threads_memory_and_time() {
        let pid = std::process::id();
        let footprint = Footprint::of(pid).unwrap();
        assert!(footprint.threads >= 1);
        assert!(footprint.own_kib > 100 && footprint.rss_kib >= footprint.own_kib);
        assert!(footprint.rss_peak_kib >= footprint.rss_kib);
        let before = CpuTime::of(pid).unwrap();
        assert!(CpuTime::of(pid).unwrap().since(before).total_s() >= 0.0);
        assert!(wakes(pid).unwrap() > 0 && open_files(pid).unwrap() > 0);
        assert!(!is_traced(pid).unwrap(), "or a debugger looks at this test");
    }
}
