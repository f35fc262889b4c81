//! The network that an address belongs to, as coarse as addresses are handed out: an IPv4 address by itself, the /64 of an
//! IPv6 one. Throttles, bounds and logs count by it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where a call comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The first address of the network.
    Network(IpAddr),
    /// Not known.
    Unknown,
}

impl Origin {
    /// The origin of an address, where that is known.
    pub fn from_address(address: Option<IpAddr>) -> Origin {
        address.map_or(Origin::Unknown, |address| Origin::Network(network(address)))
    }

    /// The site of an address, where that is known: what one home or one small office has, an IPv4 /24 or an IPv6 /56 (RFC
    /// 6177).
    pub fn site_from_address(address: Option<IpAddr>) -> Origin {
        address.map_or(Origin::Unknown, |address| Origin::Network(site(address)))
    }
}

/// The first address of the network that `address` belongs to. Canonical: IPv4 is never mapped into IPv6.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        other => other,
    }
}

fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        loopback if loopback.is_loopback() => loopback,
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << 8)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 72)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_an_ipv4_address_or_an_ipv6_network() {
        let from = |text: &str| Origin::from_address(Some(text.parse().unwrap()));
        assert_eq!(from("2001:db8:1:2::1"), from("2001:db8:1:2:ffff::9"));
        assert_ne!(from("2001:db8:1:2::1"), from("2001:db8:1:3::1"));
        assert_ne!(from("192.0.2.1"), from("192.0.2.2"));
        assert_eq!(from("::ffff:192.0.2.1"), from("192.0.2.1"));
        assert_eq!(from("::1"), Origin::Network(Ipv6Addr::LOCALHOST.into()), "loopback stays recognisable");
        assert_eq!(Origin::from_address(None), Origin::Unknown);
    }

    #[test]
    fn a_site_is_an_ipv4_slash_24_or_an_ipv6_slash_56() {
        let site = |text: &str| Origin::site_from_address(Some(text.parse().unwrap()));
        assert_eq!(site("2001:db8:1:200::1"), site("2001:db8:1:2ff:ffff::9"));
        assert_ne!(site("2001:db8:1:200::1"), site("2001:db8:1:300::1"));
        assert_eq!(site("192.0.2.1"), site("::ffff:192.0.2.254"));
        assert_ne!(site("192.0.2.1"), site("192.0.3.1"));
        assert_ne!(site("127.0.0.1"), site("127.0.0.2"), "loopback has no neighbours");
    }
}
