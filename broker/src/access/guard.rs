//! Addresses that come too often, and addresses whose logins fail too often.
//!
//! Time is an argument: milliseconds of a clock that never goes backward. Two who look at it at the
//! same time may come in the other order.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

/// When an address is turned away. Zeros turn nobody away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Connections of one address per second; as many may come at once. At the bound: further ones
    /// are closed. 0: no bound.
    pub connects_per_s: u32,
    /// Failed logins of one address after which it is banned. 0: never.
    pub failures_max: u32,
    /// Milliseconds in which so many must fail.
    pub window_ms: u64,
    /// Milliseconds that a ban holds. Meanwhile its connections are closed before they can say
    /// anything.
    pub ban_ms: u64,
}

/// What is remembered of addresses.
#[derive(Debug, Default)]
pub struct Guard {
    limits: Limits,
    records: HashMap<IpAddr, Record>,
}

/// Why an address is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TurnedAway {
    /// Too many logins failed.
    #[error("the address is banned after failed logins (access.ban_after)")]
    Banned,
    /// Too many connections.
    #[error("too many connections of the address (limits.connects_per_address_per_s)")]
    TooFast,
}

#[derive(Debug)]
struct Record {
    /// Thousandths of connections that may still come, at `seen`.
    credit: u64,
    seen: u64,
    failures: u32,
    first_failure: u64,
    banned_until: u64,
}

/// Addresses that are remembered. At the bound those are forgotten that are not banned: some may
/// come sooner again than they should.
const ADDRESSES_MAX: usize = 65_536;

/// A connection, in the unit of `Record::credit`.
const ONE: u64 = 1000;

impl Guard {
    /// From now on these limits hold.
    pub fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// A connection comes.
    ///
    /// # Errors
    /// When it is to be closed.
    pub fn connect(&mut self, address: IpAddr, now: u64) -> Result<(), TurnedAway> {
        let Limits { connects_per_s, .. } = self.limits;
        if self.is_banned(address, now) {
            return Err(TurnedAway::Banned);
        }
        let address = subject(address);
        if connects_per_s == 0 {
            return Ok(());
        }
        let most = u64::from(connects_per_s) * ONE;
        let record = self.record(address, now);
        let earned = now.saturating_sub(record.seen).saturating_mul(u64::from(connects_per_s));
        record.credit = record.credit.saturating_add(earned).min(most);
        record.seen = record.seen.max(now);
        record.credit = record.credit.checked_sub(ONE).ok_or(TurnedAway::TooFast)?;
        Ok(())
    }

    /// Whether an address is banned.
    pub fn is_banned(&self, address: IpAddr, now: u64) -> bool {
        let record = self.records.get(&subject(address));
        self.limits.failures_max != 0 && record.is_some_and(|record| now < record.banned_until)
    }

    /// A login failed; says whether the address is banned for it, from now on.
    pub fn fail(&mut self, address: IpAddr, now: u64) -> bool {
        let Limits { failures_max, window_ms, ban_ms, .. } = self.limits;
        if failures_max == 0 {
            return false;
        }
        let record = self.record(subject(address), now);
        if now < record.banned_until {
            return false; // another of its connections was faster
        }
        if record.failures == 0 || now.saturating_sub(record.first_failure) > window_ms {
            (record.failures, record.first_failure) = (0, now);
        }
        record.failures += 1;
        if record.failures < failures_max {
            return false;
        }
        record.failures = 0;
        record.banned_until = now + ban_ms;
        true
    }

    fn record(&mut self, address: IpAddr, now: u64) -> &mut Record {
        if self.records.len() >= ADDRESSES_MAX && !self.records.contains_key(&address) {
            self.records.retain(|_, record| now < record.banned_until);
            if self.records.len() >= ADDRESSES_MAX {
                self.records.clear();
            }
        }
        let credit = u64::from(self.limits.connects_per_s) * ONE;
        self.records.entry(address).or_insert(Record {
            credit,
            seen: now,
            failures: 0,
            first_failure: now,
            banned_until: 0,
        })
    }
}

/// Whom an address stands for: of IPv6 a whole /64 is one customer's.
fn subject(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.into(),
            None => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(limits: Limits) -> Guard {
        Guard { limits, ..Guard::default() }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    const BANS: Limits =
        Limits { failures_max: 3, window_ms: 1000, ban_ms: 5000, connects_per_s: 0 };

    #[test]
    fn an_address_is_banned_after_so_many_failures_in_so_much_time() {
        let mut guard = guard(BANS);
        let (bad, good) = (ip("192.0.2.1"), ip("192.0.2.2"));
        // (time, banned by it)
        for (now, banned) in [(0, false), (500, false), (1600, false), (1700, false), (1800, true)]
        {
            assert_eq!(guard.connect(bad, now), Ok(()), "{now}");
            assert_eq!(guard.fail(bad, now), banned, "{now}");
        }
        assert_eq!(guard.connect(bad, 6799), Err(TurnedAway::Banned));
        assert_eq!(guard.connect(good, 6799), Ok(()));
        assert!(!guard.fail(bad, 6799), "once");
        assert_eq!(guard.connect(bad, 6800), Ok(()));
        assert!(!guard.fail(bad, 6800), "it begins anew");
    }

    #[test]
    fn an_address_has_so_many_connections_a_second() {
        let mut guard = guard(Limits { connects_per_s: 2, ..Limits::default() });
        let a = ip("192.0.2.1");
        let rows = [(0, true), (0, true), (0, false), (499, false), (500, true), (10_000, true)];
        for (now, comes_in) in rows {
            assert_eq!(guard.connect(a, now).is_ok(), comes_in, "{now}");
        }
        assert!(guard.connect(a, 10_000).is_ok() && guard.connect(a, 10_000).is_err());
        assert_eq!(guard.connect(ip("192.0.2.2"), 10_000), Ok(()));
    }

    #[test]
    fn whoever_looked_at_the_clock_first_may_come_second() {
        let mut guard = guard(Limits { connects_per_s: 2, ..BANS });
        let a = ip("192.0.2.1");
        for (now, comes_in) in [(1000, true), (999, true), (998, false), (1000, false)] {
            assert_eq!(guard.connect(a, now).is_ok(), comes_in, "{now}");
        }
        for (now, banned) in [(1000, false), (999, false), (998, true)] {
            assert_eq!(guard.fail(a, now), banned, "{now}");
        }
    }

    #[test]
    fn nobody_is_turned_away_by_default() {
        let mut guard = guard(Limits::default());
        for now in 0..1000 {
            assert!(!guard.fail(ip("::1"), now));
            assert_eq!(guard.connect(ip("::1"), now), Ok(()));
        }
        assert!(guard.records.is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one() {
        let mut guard = guard(Limits { failures_max: 1, ..BANS });
        assert!(guard.fail(ip("2001:db8::1"), 0));
        assert!(guard.connect(ip("2001:db8::2"), 1).is_err());
        assert!(guard.connect(ip("2001:db8:0:1::1"), 1).is_ok());
        assert!(guard.fail(ip("::ffff:192.0.2.1"), 0));
        assert!(guard.connect(ip("192.0.2.1"), 1).is_err());
        assert!(guard.connect(ip("192.0.2.2"), 1).is_ok());
    }

    #[test]
    fn the_table_is_bounded_and_keeps_the_banned() {
        let mut guard = guard(Limits { failures_max: 2, ..BANS });
        let bad = ip("192.0.2.1");
        assert!(!guard.fail(bad, 0) && guard.fail(bad, 0));
        for number in 0..ADDRESSES_MAX as u32 + 5 {
            guard.fail(IpAddr::from(number.to_be_bytes()), 0);
            assert!(guard.records.len() <= ADDRESSES_MAX);
        }
        assert!(guard.connect(bad, 1).is_err());
    }
}
