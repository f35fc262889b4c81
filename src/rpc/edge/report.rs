//! The log of closed connections, with a bound: an attacker must not be able to fill the disk by connecting.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::base::clock::Stopwatch;
use crate::security::origin::network;

/// How often the same network and cause are logged.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// How many networks are logged by name in that time.
const LOGGED_AT_ONCE: usize = 8;

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Cause {
    /// Beyond the bounds on connections.
    Connections,
    /// More bytes than the transport can read.
    Flood,
    /// Calls without their message, or cancelled before it came.
    UnfinishedCalls,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::Connections => "TOO_MANY_CONNECTIONS",
            Cause::Flood => "FLOOD",
            Cause::UnfinishedCalls => "TOO_MANY_UNFINISHED_CALLS",
        })
    }
}

/// The closed connections that are not logged yet.
#[derive(Default)]
pub(super) struct Report {
    closed: HashMap<(IpAddr, Cause), usize>,
    logged: HashSet<(IpAddr, Cause)>,
    since: Option<Stopwatch>,
}

impl Report {
    /// Notes closed connections.
    pub(super) fn add(&mut self, peers: Vec<IpAddr>, cause: Cause) {
        for peer in peers {
            *self.closed.entry((network(peer), cause)).or_default() += 1;
        }
    }

    /// Logs what may be logged now; the rest waits, and its numbers add up.
    pub(super) fn log(&mut self) {
        if self.since.as_ref().is_none_or(|since| since.left_of(LOG_EVERY).is_none()) {
            if self.closed.len() > LOGGED_AT_ONCE {
                log::warn!("connections of {} addresses were cut off", self.closed.len());
                self.closed.clear();
            }
            self.logged.clear();
            self.since = Some(Stopwatch::start());
        }
        let logged = &mut self.logged;
        self.closed.retain(|key, count| {
            let waits = logged.len() >= LOGGED_AT_ONCE || !logged.insert(*key);
            if !waits {
                let (address, cause) = key;
                log::warn!(target: "refused", "refused address={address} reason={cause} method=- account=\"\" count={count}");
            }
            waits
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_logged_once_with_its_number_and_a_crowd_in_one_line() {
        let mut report = Report::default();
        report.add(vec![[192, 0, 2, 1].into(); 3], Cause::Flood);
        report.log();
        assert!(report.closed.is_empty());
        report.add(vec![[192, 0, 2, 1].into(); 2], Cause::Flood);
        report.log();
        assert_eq!(report.closed.values().sum::<usize>(), 2, "they wait for the next time");
        report.add((0..100).map(|n| [198, 51, 100, n].into()).collect(), Cause::Connections);
        report.log();
        assert_eq!(report.logged.len(), LOGGED_AT_ONCE);
        report.since = None;
        report.log();
        assert!(report.closed.is_empty(), "too many to name");
    }
}
