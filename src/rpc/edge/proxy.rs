//! The real address behind a trusted proxy.
//!
//! A proxy writes the address of its client into `x-forwarded-for`, and so can any client. The header counts only when the
//! connection itself comes from a proxy that the administrator named, and only as far as such proxies wrote it: read from the
//! right, the first address that is not one of theirs. The address serves logs and throttles; it never gives a right.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// The metadata key in which proxies write the address of their client.
pub const FORWARDED_KEY: &str = "x-forwarded-for";

/// The proxies that we trust to forward the address of their client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Trusts these networks.
    pub fn new(networks: Vec<IpNet>) -> TrustedProxies {
        TrustedProxies(networks)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this is the address of one of them, also if it is an IPv4 address mapped into IPv6.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address.to_canonical()))
    }

    /// The address of the client: `connected`, unless that is a trusted proxy and names its client in the values of
    /// [`FORWARDED_KEY`] (in their order). Where an entry cannot be read, or all of them are trusted, it is the last address
    /// that was reached, which is a proxy's. The result is canonical: IPv4 is never mapped into IPv6.
    pub fn client_address<'a>(
        &self,
        connected: IpAddr,
        forwarded: impl DoubleEndedIterator<Item = &'a [u8]>,
    ) -> IpAddr {
        let mut reached = connected.to_canonical();
        let mut entries = forwarded.rev().flat_map(|value| value.rsplit(|byte| *byte == b','));
        while self.trusts(reached) {
            match entries.next().map(entry) {
                Some(Some(address)) => reached = address,
                Some(None) | None => break,
            }
        }
        reached
    }
}

/// One address of the header, with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn entry(bytes: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(bytes).ok()?.trim_matches([' ', '\t']);
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    text.parse().ok().or_else(bracketed).or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

/// The text of a setting as a network: an address, or a network as `10.0.0.0/8`.
///
/// # Errors
/// A sentence that says what to write. A network of all addresses is refused: any client could then claim any address.
pub fn parse_network(text: &str) -> Result<IpNet, String> {
    let network = match text.parse::<IpNet>() {
        Ok(network) => network,
        Err(_) => IpNet::from(text.parse::<IpAddr>().map_err(|_| "write an IP address, or a network as 10.0.0.0/8")?),
    };
    if network.prefix_len() == 0 {
        return Err("that is every address, and any client could then claim any address: name the proxies".to_owned());
    }
    if let IpNet::V6(v6) = network
        && v6.network().to_ipv4_mapped().is_some()
    {
        return Err("write it as IPv4".to_owned());
    }
    Ok(network.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn proxies(networks: &[&str]) -> TrustedProxies {
        TrustedProxies::new(networks.iter().map(|text| parse_network(text).unwrap()).collect())
    }

    fn real(trusted: &[&str], connected: &str, forwarded: &[&str]) -> String {
        let values = forwarded.iter().map(|value| value.as_bytes());
        proxies(trusted).client_address(connected.parse().unwrap(), values).to_string()
    }

    #[test]
    fn a_stranger_keeps_the_address_of_its_connection_whatever_it_sends() {
        for trusted in [&[][..], &["10.0.0.0/8"], &["192.0.2.2"], &["::1", "127.0.0.1"]] {
            for said in [&[][..], &["10.0.0.1"], &["127.0.0.1, ::1"], &["rubbish"], &["1.1.1.1", "2.2.2.2"]] {
                assert_eq!(real(trusted, "192.0.2.1", said), "192.0.2.1");
                assert_eq!(real(trusted, "::ffff:192.0.2.1", said), "192.0.2.1");
            }
        }
    }

    #[test]
    fn behind_a_proxy_the_rightmost_address_that_is_no_proxy_counts() {
        fn check(said: &[&str], want: &str) {
            assert_eq!(real(&["127.0.0.1", "10.0.0.0/8", "fd00::/8"], "127.0.0.1", said), want, "{said:?}");
        }
        check(&["192.0.2.1"], "192.0.2.1");
        check(&["2001:db8::1"], "2001:db8::1");
        check(&["::ffff:192.0.2.1"], "192.0.2.1");
        check(&["192.0.2.1:4711"], "192.0.2.1");
        check(&["[2001:db8::1]:4711"], "2001:db8::1");
        check(&["[2001:db8::1]"], "2001:db8::1");
        // What the caller wrote stands to the left, and does not count.
        check(&["198.51.100.7, 192.0.2.1"], "192.0.2.1");
        check(&["127.0.0.1, 192.0.2.1"], "192.0.2.1");
        check(&["rubbish,, 192.0.2.1"], "192.0.2.1");
        check(&["198.51.100.7", "192.0.2.1"], "192.0.2.1");
        // A chain of proxies.
        check(&["198.51.100.7, 192.0.2.1, 10.1.2.3,\tfd00::7"], "192.0.2.1");
        check(&["192.0.2.1", "10.1.2.3", "::ffff:10.1.2.4"], "192.0.2.1");
    }

    #[test]
    fn an_entry_that_cannot_be_read_leaves_the_proxys_own_address() {
        fn check(said: &[&str]) {
            assert_eq!(real(&["127.0.0.1"], "127.0.0.1", said), "127.0.0.1", "{said:?}");
        }
        check(&[]);
        check(&[""]);
        check(&[","]);
        check(&["192.0.2.1,"]);
        check(&["192.0.2.1, unknown"]);
        check(&["192.0.2.1", "_hidden"]);
        check(&["192.0.2.300"]);
        check(&["192.0.2.1 1"]);
        check(&["fe80::1%eth0"]);
        check(&["[192.0.2.1]"]);
        check(&["127.0.0.1, 127.0.0.1"]);
    }

    #[test]
    fn networks_are_taken_or_refused_by_rule() {
        fn check(text: &str, want: Option<&str>) {
            assert_eq!(parse_network(text).ok().map(|n| n.to_string()).as_deref(), want, "{text}");
        }
        check("127.0.0.1", Some("127.0.0.1/32"));
        check("10.1.2.3/8", Some("10.0.0.0/8"));
        check("::1", Some("::1/128"));
        check("fd00::/8", Some("fd00::/8"));
        check("0.0.0.0/0", None);
        check("::/0", None);
        check("::ffff:10.0.0.1", None);
        check("10.0.0.0/33", None);
        check("proxy.example.org", None);
        check("", None);
    }

    proptest! {
        #[test]
        fn wild_headers_neither_panic_nor_change_the_address_of_a_stranger(
            values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..5),
            connected in any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
        ) {
            let trusted = proxies(&["10.0.0.0/8"]);
            let real = trusted.client_address(connected, values.iter().map(Vec::as_slice));
            prop_assert!(trusted.trusts(connected) || real == connected);
        }

        #[test]
        fn whatever_a_caller_adds_the_address_that_the_proxy_adds_counts(
            said in proptest::collection::vec(any::<u8>(), 0..60),
            caller in any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
        ) {
            let trusted = proxies(&["127.0.0.1"]);
            prop_assume!(!trusted.trusts(caller));
            let appended = [&said[..], b", ", caller.to_string().as_bytes()].concat();
            prop_assert_eq!(trusted.client_address([127, 0, 0, 1].into(), [&appended[..]].into_iter()), caller);
            let beside = [&said[..], caller.to_string().as_bytes()].map(<[u8]>::to_vec);
            prop_assert_eq!(trusted.client_address([127, 0, 0, 1].into(), beside.iter().map(Vec::as_slice)), caller);
        }
    }
}
