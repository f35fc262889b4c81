//! The server's addresses, and whether a password may go there in the clear.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// The default port of `otpchatd` and of its predecessor.
pub const DEFAULT_PORT: u16 = 50051;

/// A server's name as people write it: `host:port`, `host`, `[::1]:50051`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerName {
    host: String,
    port: u16,
}

/// Why a text is not a server's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerNameError {
    /// The host is missing, or has a character that no host name has.
    #[error("the host is missing or has a character no host name has: write host:port, such as chat.example.org:50051")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535: write host:port, such as localhost:50051")]
    Port,
    /// A web address.
    #[error("this is a web address: write host:port without {0}, and give --tls for an encrypted connection")]
    Scheme(&'static str),
    /// Something after the port.
    #[error("there is something after the host and port: write host:port, such as chat.example.org:50051")]
    Path,
    /// An IPv6 address with a zone.
    #[error("an IPv6 address with a zone (%...) cannot be used: give the server's name or another of its addresses")]
    Zone,
    /// Without brackets an IPv6 address looks like a host and a port.
    #[error("an IPv6 address needs brackets, such as [::1]:50051")]
    Brackets,
}

impl FromStr for ServerName {
    type Err = ServerNameError;

    fn from_str(text: &str) -> Result<ServerName, ServerNameError> {
        // People paste what they have: blanks around it, or an address for a browser.
        let text = text.trim();
        for scheme in ["https://", "http://", "grpcs://", "grpc://"] {
            if text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)) {
                return Err(ServerNameError::Scheme(scheme));
            }
        }
        if text.contains('/') {
            return Err(ServerNameError::Path);
        }
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or(ServerNameError::Brackets)?;
            let (address, zone) = host.split_once('%').map_or((host, None), |(address, zone)| (address, Some(zone)));
            address.parse::<std::net::Ipv6Addr>().map_err(|_| ServerNameError::Host)?;
            if zone.is_some() {
                return Err(ServerNameError::Zone);
            }
            match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if rest.is_empty() => (host, None),
                None => return Err(ServerNameError::Port),
            }
        } else {
            match text.split_once(':') {
                Some((_, port)) if port.contains(':') => return Err(ServerNameError::Brackets),
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        let strange = |c: char| c.is_control() || c.is_whitespace() || "/?#@,%\\".contains(c);
        if host.is_empty() || host.contains(strange) {
            return Err(ServerNameError::Host);
        }
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => port.parse().ok().filter(|&port| port > 0).ok_or(ServerNameError::Port)?,
        };
        Ok(ServerName { host: host.to_owned(), port })
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A server whose addresses were looked up and checked. The connection goes to these addresses and the name is not looked up
/// again, so that the client talks to the addresses that it checked.
#[derive(Clone, Debug)]
pub struct Endpoint {
    name: ServerName,
    addresses: Vec<SocketAddr>,
}

/// Why there is no address to connect to.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The name does not resolve.
    #[error("the address of {name} cannot be found: {cause}")]
    Unknown {
        /// The server.
        name: ServerName,
        /// The resolver's error.
        cause: io::Error,
    },
    /// The password would cross a network in the clear.
    #[error("{name} is {address}, which is not this machine: the password would cross the network in the clear")]
    Exposed {
        /// The server.
        name: ServerName,
        /// Its first address that is not a loopback address.
        address: IpAddr,
    },
}

impl Endpoint {
    /// Looks up the addresses of `name`. `any_address` permits addresses beyond loopback; it is for connections that TLS
    /// protects and for people who accept the risk.
    ///
    /// # Errors
    /// There is no address, or one that is not permitted.
    pub fn resolve(name: &ServerName, any_address: bool) -> Result<Endpoint, EndpointError> {
        let unknown = |cause| EndpointError::Unknown { name: name.clone(), cause };
        let found = (name.host.as_str(), name.port).to_socket_addrs().map_err(unknown)?;
        Endpoint::check(name, found.collect(), any_address)
    }

    fn check(name: &ServerName, addresses: Vec<SocketAddr>, any_address: bool) -> Result<Endpoint, EndpointError> {
        if addresses.is_empty() {
            return Err(EndpointError::Unknown { name: name.clone(), cause: io::ErrorKind::NotFound.into() });
        }
        let beyond = addresses.iter().map(SocketAddr::ip).find(|&address| !is_loopback(address));
        match beyond {
            Some(address) if !any_address => Err(EndpointError::Exposed { name: name.clone(), address }),
            _ => Ok(Endpoint { name: name.clone(), addresses }),
        }
    }

    /// The server's name as it was given.
    pub fn name(&self) -> &ServerName {
        &self.name
    }

    /// The host as it was given; an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.name.host
    }

    /// The addresses that were looked up and checked.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Whether all its addresses are loopback addresses.
    pub fn is_loopback(&self) -> bool {
        self.addresses.iter().all(|address| is_loopback(address.ip()))
    }

    /// The addresses as a target for the C core, which tries them in turn.
    ///
    /// A target takes addresses of one family only. If there are both, IPv4 addresses are written as mapped IPv6 addresses; the
    /// C core connects to those by plain IPv4 if the machine has no IPv6.
    pub fn target(&self) -> String {
        let only_v4 = self.addresses.iter().all(SocketAddr::is_ipv4);
        let written = self.addresses.iter().map(|address| match address.ip() {
            IpAddr::V4(ip) if only_v4 => format!("{ip}:{}", address.port()),
            IpAddr::V4(ip) => format!("[{}]:{}", ip.to_ipv6_mapped(), address.port()),
            IpAddr::V6(ip) => format!("[{ip}]:{}", address.port()),
        });
        let family = if only_v4 { "ipv4:" } else { "ipv6:" };
        format!("{family}{}", written.collect::<Vec<_>>().join(","))
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_name_is_read_as_people_write_it() {
        for (text, host, port) in [
            ("localhost:50051", "localhost", 50051),
            ("localhost", "localhost", 50051),
            ("127.0.0.1:1", "127.0.0.1", 1),
            ("[::1]:65535", "::1", 65535),
            ("[::1]", "::1", 50051),
            ("chat.example.org:443", "chat.example.org", 443),
            (" chat.example.org:443\n", "chat.example.org", 443),
        ] {
            let name: ServerName = text.parse().unwrap();
            assert_eq!((name.host.as_str(), name.port), (host, port), "{text}");
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        for (text, error) in [
            ("", ServerNameError::Host),
            (":50051", ServerNameError::Host),
            ("a b:1", ServerNameError::Host),
            ("http://x:1", ServerNameError::Scheme("http://")),
            ("https://host:50051", ServerNameError::Scheme("https://")),
            ("HTTPS://host", ServerNameError::Scheme("https://")),
            ("grpc://host:1", ServerNameError::Scheme("grpc://")),
            ("host/path", ServerNameError::Path),
            ("host:50051/", ServerNameError::Path),
            ("[fe80::1%eth0]:50051", ServerNameError::Zone),
            ("[fe80::1%1]", ServerNameError::Zone),
            ("[nonsense%eth0]:1", ServerNameError::Host),
            ("[nonsense]:1", ServerNameError::Host),
            ("host:0", ServerNameError::Port),
            ("host:65536", ServerNameError::Port),
            ("host:", ServerNameError::Port),
            ("[::1]50051", ServerNameError::Port),
            ("::1", ServerNameError::Brackets),
            ("[::1", ServerNameError::Brackets),
        ] {
            assert_eq!(text.parse::<ServerName>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_password_goes_in_the_clear_only_to_loopback_addresses_whatever_the_name() {
        let name: ServerName = "localhost:1".parse().unwrap();
        let check = |addresses: &[&str], any_address| {
            let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
            Endpoint::check(&name, addresses, any_address)
        };
        for fine in [&["127.0.0.1:1"][..], &["[::1]:1", "127.3.2.1:1"], &["[::ffff:127.0.0.1]:1"]] {
            assert!(check(fine, false).is_ok(), "{fine:?}");
        }
        for exposed in [&["192.0.2.1:1"][..], &["127.0.0.1:1", "192.0.2.1:1"], &["[::]:1"], &["[::ffff:192.0.2.1]:1"]] {
            assert!(matches!(check(exposed, false), Err(EndpointError::Exposed { .. })), "{exposed:?}");
            assert!(check(exposed, true).is_ok(), "{exposed:?}");
        }
        assert!(matches!(check(&[], true), Err(EndpointError::Unknown { .. })));
    }

    #[test]
    fn the_target_holds_the_checked_addresses_and_no_name() {
        let name: ServerName = "localhost:1".parse().unwrap();
        for (addresses, target) in [
            (&["127.0.0.1:1"][..], "ipv4:127.0.0.1:1"),
            (&["127.0.0.1:1", "127.0.0.2:1"], "ipv4:127.0.0.1:1,127.0.0.2:1"),
            (&["[::1]:1", "127.0.0.1:1"], "ipv6:[::1]:1,[::ffff:127.0.0.1]:1"),
        ] {
            let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
            assert_eq!(Endpoint::check(&name, addresses, false).unwrap().target(), target);
        }
    }
}
