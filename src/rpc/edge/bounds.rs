//! How many connections there may be, and which ones are too many.

use std::collections::HashMap;
use std::net::IpAddr;

use super::proxy::TrustedProxies;
use super::sockets::Socket;
use crate::security::origin::network;

/// How many connections there may be.
pub(super) struct Bounds {
    /// In all.
    pub(super) all: usize,
    /// Of one network ([`network`]).
    pub(super) per_address: usize,
    /// Many people come through a proxy: it has no bound of its own.
    pub(super) proxies: TrustedProxies,
}

impl Bounds {
    /// The bound of a network. Loopback has none of its own: tunnels and proxies come from there, with many people at once.
    fn of_network(&self, address: IpAddr) -> usize {
        if address.is_loopback() || self.proxies.trusts(address) { self.all } else { self.per_address }
    }

    /// The sockets that are too many, of sockets in the order in which they were opened. Each network keeps its oldest ones,
    /// up to its own bound and up to a level that is the same for all networks and keeps the total within bounds. So a
    /// network with many connections cannot crowd out one with few.
    pub(super) fn excess(&self, sockets: &[Socket]) -> Vec<Socket> {
        let mut held: HashMap<IpAddr, usize> = HashMap::new();
        for socket in sockets {
            *held.entry(network(socket.peer.ip())).or_default() += 1;
        }
        let level = self.level(&held);
        let mut taken: HashMap<IpAddr, usize> = HashMap::new();
        let mut kept = 0;
        let is_excess = |socket: &&Socket| {
            let origin = network(socket.peer.ip());
            let n = taken.entry(origin).or_default();
            *n += 1;
            // With more networks than connections, the first ones stay.
            let stays = *n <= level.min(self.of_network(origin)) && kept < self.all;
            kept += usize::from(stays);
            !stays
        };
        sockets.iter().filter(is_excess).copied().collect()
    }

    /// The highest number of connections that every network may keep without exceeding the total; at least 1.
    fn level(&self, held: &HashMap<IpAddr, usize>) -> usize {
        let kept_at = |level: usize| -> usize {
            held.iter().map(|(origin, n)| level.min(*n).min(self.of_network(*origin))).sum()
        };
        let (mut level, mut above) = (1, self.all + 1);
        while above - level > 1 {
            let middle = level.midpoint(above);
            if kept_at(middle) <= self.all { level = middle } else { above = middle }
        }
        level
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sockets(peers: &[&str]) -> Vec<Socket> {
        let socket = |(n, ip): (usize, &&str)| Socket {
            inode: n as u64 + 1,
            peer: (ip.parse::<IpAddr>().unwrap(), 9).into(),
            unread: 0,
        };
        peers.iter().enumerate().map(socket).collect()
    }

    fn cut(all: usize, per_address: usize, peers: &[&str]) -> Vec<u64> {
        let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
        let bounds = Bounds { all, per_address, proxies };
        bounds.excess(&sockets(peers)).iter().map(|socket| socket.inode).collect()
    }

    const A: &str = "192.0.2.1";
    const B: &str = "192.0.2.2";

    #[test]
    fn within_the_bounds_nobody_is_cut_off() {
        assert_eq!(cut(4, 2, &[]), [0u64; 0]);
        assert_eq!(cut(4, 2, &[A, A, B, B]), [0u64; 0]);
    }

    #[test]
    fn the_newest_of_an_address_are_cut_off() {
        assert_eq!(cut(9, 2, &[A, A, B, A, B, A]), [4, 6]);
    }

    #[test]
    fn who_has_few_is_not_crowded_out_by_who_has_many() {
        assert_eq!(cut(4, 9, &[A, A, A, A, A, A, B]), [4, 5, 6], "three of A and one of B are four");
        assert_eq!(cut(3, 9, &[A, A, A, B, B, B]), [2, 3, 5, 6]);
        assert_eq!(cut(2, 9, &[A, B, "192.0.2.3", "192.0.2.4"]), [3, 4], "more addresses than connections");
    }

    #[test]
    fn loopback_and_proxies_have_no_bound_of_their_own() {
        assert_eq!(cut(9, 1, &["127.0.0.1", "127.0.0.1", "::1", "::1", "10.1.1.1", "10.1.1.1"]), [0u64; 0]);
        assert_eq!(cut(2, 1, &["127.0.0.1", "127.0.0.1", "127.0.0.1"]), [3]);
    }

    #[test]
    fn of_ipv6_a_network_counts_as_one() {
        assert_eq!(cut(9, 1, &["2001:db8::1", "2001:db8::2:1", "2001:db8:0:1::1"]), [2]);
        assert_eq!(cut(9, 1, &["192.0.2.1", "::ffff:192.0.2.1"]), [2]);
    }

    proptest! {
        #[test]
        fn no_bound_is_passed_and_nobody_is_cut_off_without_need(
            peers in proptest::collection::vec(0u8..6, 0..40), all in 1usize..20, per_address in 1usize..10,
        ) {
            let sockets: Vec<_> = peers.iter().enumerate()
                .map(|(n, who)| Socket { inode: n as u64 + 1, peer: ([192, 0, 2, *who], 9).into(), unread: 0 })
                .collect();
            let bounds = Bounds { all, per_address, proxies: TrustedProxies::default() };
            let cut = bounds.excess(&sockets);
            let of = |who: &u8| sockets.iter().filter(|s| !cut.contains(s) && s.peer.ip() == IpAddr::from([192, 0, 2, *who])).count();
            let kept: Vec<usize> = (0..6).map(|who| of(&who)).collect();
            prop_assert!(kept.iter().sum::<usize>() <= all && kept.iter().all(|n| *n <= per_address));
            let all_have = |n: usize| (0..6u8).all(|who| peers.iter().filter(|p| **p == who).count() <= n);
            prop_assert!(!cut.is_empty() || (peers.len() <= all && all_have(per_address)));
            prop_assert!(cut.is_empty() || peers.len() > all || !all_have(per_address));
        }
    }
}
