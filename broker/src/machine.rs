//! # What the machine allows
//!
//! Open files and ports: asked for at start, and explained to the operator where they are refused.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::net::address::Address;

/// Files that the broker opens for itself: listeners, each with a connection that waits for others
/// to end; state, log.
const OWN_FILES: u64 = 56;

/// Files of each worker's runtime.
const FILES_OF_A_WORKER: u64 = 4;

/// Files that a broker with so many workers opens for itself.
pub const fn own_files(workers: usize) -> u64 {
    OWN_FILES + FILES_OF_A_WORKER * workers as u64
}

/// As `nice` counts.
#[cfg(any(target_os = "linux", target_os = "android"))]
const LOWEST_PRIORITY: i32 = 19;

/// The addresses of a network interface, those of one link alone aside.
///
/// # Errors
/// When there is no such interface, or the system does not tell.
pub fn interface_addresses(name: &str) -> Result<Vec<IpAddr>, String> {
    let all =
        if_addrs::get_if_addrs().map_err(|error| format!("the system does not tell: {error}"))?;
    let of_it: Vec<IpAddr> = all.iter().filter(|i| i.name == name).map(|i| i.ip()).collect();
    if of_it.is_empty() {
        let known: BTreeSet<&str> = all.iter().map(|interface| &*interface.name).collect();
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        return Err(format!(
            "this machine has no network interface {name} with an address: {known}"
        ));
    }
    let of_one_link = |ip: &IpAddr| match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    Ok(of_it.into_iter().filter(|ip| !of_one_link(ip)).collect())
}

/// Raises the limit of open files as far as this user may, and returns it; `None` is no limit.
pub fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

/// This thread leaves the processors to all others. Where priorities belong to whole processes,
/// nothing changes.
pub fn step_back() {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Err(error) = rustix::process::setpriority_process(None, LOWEST_PRIORITY) {
        tracing::debug!(%error, "A thread in the background keeps its priority.");
    }
}

/// A folder, and the disk that it is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes of the files in the folder and those below it.
    pub used_bytes: u64,
    /// Bytes that the disk still takes from this user.
    pub free_bytes: u64,
    /// Bytes of the disk.
    pub size_bytes: u64,
}

/// How much is in a folder, and how much still fits on its disk.
///
/// # Errors
/// The operating system's.
pub fn space(folder: &Path) -> io::Result<Space> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(Space {
        used_bytes: folder_bytes(folder)?,
        free_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
        size_bytes: disk.f_blocks.saturating_mul(disk.f_frsize),
    })
}

fn folder_bytes(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.metadata() {
            Ok(found) if found.is_dir() => bytes += folder_bytes(&entry.path())?,
            Ok(found) => bytes += found.len(),
            // Retention deletes files meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

/// How many connections the open files are enough for, if that is fewer than `connections_max`.
///
/// # Errors
/// When they are not enough for any, what to do.
pub fn fewer_connections(
    open_files: Option<u64>,
    own_files: u64,
    connections_max: u32,
) -> Result<Option<u32>, String> {
    let Some(open_files) = open_files else { return Ok(None) };
    if open_files <= own_files {
        return Err(format!(
            "The system allows {open_files} open files, and Martlet needs {own_files} and one for \
             each connection: allow more (ulimit -n; with systemd LimitNOFILE=)."
        ));
    }
    let possible = u32::try_from(open_files - own_files).ok();
    Ok(possible.filter(|possible| *possible < connections_max))
}

/// The warning for an operator who asked for more connections than are possible.
pub fn explain_fewer(possible: u32, own_files: u64, connections_max: u32) -> String {
    let wanted = u64::from(connections_max) + own_files;
    format!(
        "limits.connections_max is {connections_max}, but the system allows open files for \
         {possible} connections only: allow {wanted} files (ulimit -Hn {wanted}; with systemd \
         LimitNOFILE={wanted}) or lower limits.connections_max to {possible}."
    )
}

/// Where systems keep the certificates of those whom they trust.
const CERTIFICATES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The file with the certificates of those whom the system trusts, if it has one.
pub fn certificates() -> Option<&'static Path> {
    CERTIFICATES.iter().map(Path::new).find(|path| path.exists())
}

/// What this machine is called.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Bytes of memory that this process may use: the machine's, or less if its control group has less.
/// `None`: the system does not tell.
pub fn memory_bytes() -> Option<u64> {
    let read = |path: PathBuf| fs::read_to_string(path).ok();
    let group = read("/proc/self/cgroup".into()).unwrap_or_default();
    // The line of version 2. A group has no more than those above it.
    let group = group.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let groups = Path::new("/sys/fs/cgroup").join(group);
    let groups = groups.ancestors().take_while(|folder| folder.starts_with("/sys/fs/cgroup"));
    let groups = groups.filter_map(|folder| read(folder.join("memory.max")));
    memory(&read("/proc/meminfo".into())?, groups)
}

/// The least of what `/proc/meminfo` says and what is in the files `memory.max`.
fn memory(meminfo: &str, groups: impl Iterator<Item = String>) -> Option<u64> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let total_kib: u64 = total.trim().strip_suffix(" kB")?.parse().ok()?;
    // A group without a bound says "max".
    groups.filter_map(|max| max.trim().parse().ok()).chain([total_kib.checked_mul(1024)?]).min()
}

/// Bytes of memory that this process has and shares with no file. `None`: the system does not tell.
pub fn own_memory_bytes() -> Option<u64> {
    let pages = fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = pages.split(' ').skip(1).map_while(|number| number.parse::<u64>().ok());
    let (resident, shared) = (pages.next()?, pages.next()?);
    Some(resident.saturating_sub(shared) * rustix::param::page_size() as u64)
}

/// Whether sockets can be opened on that address of this machine.
pub fn has_address(ip: IpAddr) -> bool {
    TcpListener::bind((ip, 0)).err().is_none_or(|error| !lacks_address(&error))
}

/// Whether an address cannot be opened because this machine has no such kind of address, as where
/// IPv6 is switched off.
pub fn lacks_address(error: &io::Error) -> bool {
    error.kind() == ErrorKind::AddrNotAvailable
        || Errno::from_io_error(error) == Some(Errno::AFNOSUPPORT)
}

/// Says why an address could not be opened, and what to do.
pub fn diagnose_bind(address: &Address, error: &io::Error) -> String {
    match address {
        Address::Ip(address) => diagnose_bind_ip(*address, error),
        Address::Unix(place) => diagnose_bind_unix(&place.path, error),
    }
}

fn diagnose_bind_unix(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    match error.kind() {
        ErrorKind::AddrInUse => {
            format!(
                "{path} is in use: another broker listens there. Stop it or choose another path."
            )
        }
        ErrorKind::NotFound => {
            format!("Cannot listen on {path}: its directory does not exist. Make it first.")
        }
        ErrorKind::PermissionDenied => format!(
            "No permission to listen on {path}: its directory, or the socket that was left there, \
             belongs to somebody else."
        ),
        _ => format!("Cannot listen on {path}: {error}."),
    }
}

fn diagnose_bind_ip(address: SocketAddr, error: &io::Error) -> String {
    let port = address.port();
    match error.kind() {
        ErrorKind::AddrInUse => format!(
            "{address} is in use (another broker, e.g. mosquitto, may be running): stop it or \
             choose another port, with -p or in the configuration."
        ),
        ErrorKind::PermissionDenied if port < 1024 => format!(
            "No permission to listen on {address}: ports below 1024 are for root. Choose a port \
             above, or allow it (setcap cap_net_bind_service=+ep on the martlet binary; with \
             systemd AmbientCapabilities=CAP_NET_BIND_SERVICE)."
        ),
        ErrorKind::PermissionDenied => {
            format!("The system does not permit to listen on {address}: choose another port.")
        }
        _ if lacks_address(error) => format!(
            "{} is no address of this machine: choose one that `ip address` shows, or {} for all \
             of them.",
            address.ip(),
            if address.is_ipv6() { "[::]" } else { "0.0.0.0" },
        ),
        _ => format!("Cannot listen on {address}: {error}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_what_its_files_have() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("below")).expect("a folder of ours");
        fs::write(folder.path().join("a"), [0; 1000]).expect("a folder of ours");
        fs::write(folder.path().join("below/b"), [0; 24]).expect("a folder of ours");
        let space = space(folder.path()).expect("it is there");
        assert_eq!(space.used_bytes, 1024);
        assert!(0 < space.free_bytes && space.free_bytes <= space.size_bytes, "{space:?}");
        assert!(super::space(&folder.path().join("nowhere")).is_err());
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        let rows = [
            ("127.0.0.1:1883", Errno::ADDRINUSE, "127.0.0.1:1883 is in use (another broker, e.g."),
            ("0.0.0.0:83", Errno::ACCESS, "ports below 1024 are for root. Choose a port above"),
            ("0.0.0.0:1883", Errno::ACCESS, "does not permit to listen on 0.0.0.0:1883: choose"),
            ("192.0.2.1:1883", Errno::ADDRNOTAVAIL, "192.0.2.1 is no address of this machine"),
            ("[::1]:1883", Errno::AFNOSUPPORT, "or [::] for all of them."),
            ("[::1]:1883", Errno::NOMEM, "Cannot listen on [::1]:1883: "),
        ];
        for (address, errno, words) in rows {
            let error = io::Error::from(errno);
            let said = diagnose_bind_ip(address.parse().unwrap(), &error);
            assert!(said.contains(words), "{said}");
        }
        let rows = [
            (Errno::ADDRINUSE, "/run/m.sock is in use: another broker listens there."),
            (Errno::NOENT, "its directory does not exist"),
            (Errno::ACCESS, "No permission to listen on /run/m.sock"),
            (Errno::NOMEM, "Cannot listen on /run/m.sock: "),
        ];
        for (errno, words) in rows {
            let said = diagnose_bind_unix(Path::new("/run/m.sock"), &errno.into());
            assert!(said.contains(words), "{said}");
        }
    }

    #[test]
    fn the_systems_own_refusals_are_recognised() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = TcpListener::bind(address).expect_err("in use");
        assert!(diagnose_bind_ip(address, &error).contains("is in use"));
        assert!(!lacks_address(&error));
        assert!(has_address(address.ip()));
        let foreign: SocketAddr = "192.0.2.1:0".parse().unwrap();
        assert!(!has_address(foreign.ip()));
        let error = TcpListener::bind(foreign).expect_err("an address for documentation only");
        assert!(lacks_address(&error));
        assert!(diagnose_bind_ip(foreign, &error).contains("is no address of this machine"));
    }

    #[test]
    fn an_interface_has_addresses() {
        let loopback: IpAddr = [127, 0, 0, 1].into();
        assert!(interface_addresses("lo").expect("every machine has it").contains(&loopback));
        let error = interface_addresses("no-such-0").expect_err("it does not exist");
        assert!(error.starts_with("this machine has no network interface no-such-0"), "{error}");
        assert!(error.contains("lo"), "{error}");
    }

    #[test]
    fn memory_is_the_least_of_machine_and_groups() {
        let meminfo = "MemTotal:        1024000 kB\nMemFree: 1 kB\n";
        let rows: [(&[&str], u64); 3] = [
            (&[], 1_048_576_000),
            (&["max\n", "max\n"], 1_048_576_000),
            (&["max\n", "268435456\n", "max\n"], 268_435_456),
        ];
        for (groups, expected) in rows {
            let groups = groups.iter().map(|text| (*text).to_owned());
            assert_eq!(memory(meminfo, groups), Some(expected));
        }
        assert_eq!(memory("", std::iter::empty()), None);
        assert!(memory_bytes().is_some_and(|bytes| bytes > 1 << 20), "this is a Linux");
        let own = own_memory_bytes().expect("this is a Linux");
        assert!((1 << 18..1 << 34).contains(&own), "{own}");
    }

    #[test]
    fn open_files_against_connections() {
        let rows = [
            (None, 100_000, None),
            (Some(100_064), 100_000, None),
            (Some(u64::MAX), u32::MAX, None),
            (Some(100_063), 100_000, Some(99_999)),
            (Some(4096), 100_000, Some(4032)),
            (Some(65), 100_000, Some(1)),
        ];
        for (open_files, connections_max, expected) in rows {
            assert_eq!(fewer_connections(open_files, own_files(2), connections_max), Ok(expected));
        }
        let none = fewer_connections(Some(64), own_files(2), 1).expect_err("no connection");
        assert!(none.starts_with("The system allows 64 open files, and Martlet needs"), "{none}");
        let warning = explain_fewer(4032, own_files(2), 100_000);
        assert!(warning.contains("open files for 4032 connections only"), "{warning}");
        assert!(warning.contains("LimitNOFILE=100064"), "{warning}");
    }

    #[test]
    fn the_limit_is_raised_to_what_the_user_may_have() {
        let open_files = raise_open_files();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, open_files);
        assert_eq!(limit.current, limit.maximum);
    }
}
