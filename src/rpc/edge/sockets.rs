//! The system's list of sockets: the one reader of `/proc/self/net/tcp` and `tcp6`.
//!
//! The lists are below the process's own directory, where a service can read them even if it sees nothing else of `/proc`.
//! Reading them takes milliseconds, however short they are: not for poll threads.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const LISTS: [&str; 2] = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];

/// The state of an established connection in the list.
const ESTABLISHED: &str = "01";

/// An established connection, as the system lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Socket {
    /// The number that names this socket as long as the system runs.
    pub(super) inode: u64,
    /// The other end, in canonical form: a listener on an IPv4 address may take its connections on an IPv6 socket, where the
    /// list has them as mapped addresses.
    pub(super) peer: SocketAddr,
    /// Bytes that have come and were not read yet.
    pub(super) unread: u32,
}

/// The established connections with wanted ports.
///
/// While connections come and go, the list may name a socket twice, or leave one out.
pub(super) fn established(wanted: impl Fn(PortPair) -> bool) -> Vec<Socket> {
    LISTS.iter().flat_map(|list| parse(&fs::read_to_string(list).unwrap_or_default(), &wanted)).collect()
}

/// The two ports of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PortPair {
    /// The one on this machine.
    pub(super) local: u16,
    /// The one at the other end.
    pub(super) remote: u16,
}

fn parse(list: &str, wanted: impl Fn(PortPair) -> bool) -> Vec<Socket> {
    let socket = |line: &str| {
        let mut columns = line.split_ascii_whitespace();
        let (local, remote, state) = (columns.nth(1)?, columns.next()?, columns.next()?);
        // Addresses are parsed only where the ports are wanted: the list may be long.
        if state != ESTABLISHED || !wanted(PortPair { local: port(local)?, remote: port(remote)? }) {
            return None;
        }
        let unread = u32::from_str_radix(columns.next()?.split_once(':')?.1, 16).ok()?;
        let inode = columns.nth(4)?.parse().ok()?;
        // A connection that waits to be accepted has no inode yet.
        (inode != 0).then_some(Socket { inode, peer: address(remote)?, unread })
    };
    list.lines().filter_map(socket).collect()
}

fn port(text: &str) -> Option<u16> {
    u16::from_str_radix(text.split_once(':')?.1, 16).ok()
}

/// An address as the list writes it: groups of four bytes in the machine's own order, in hex.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, _) = text.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(ip.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let bytes = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port(text)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn the_systems_list_is_read() {
        let line = |local, remote, state, inode| format!("0: {local} {remote} {state} 0:4A38 0:0 0 0 0 {inode} 1");
        let here = "0100007F:1F90";
        let list = [
            "sl local_address".to_owned(),
            line(here, "0200007F:0050", "01", 7),
            line(here, "0200007F:0051", "06", 8),
            line(here, "0200007F:0052", "01", 0),
            line("0100007F:1F91", "0200007F:0053", "01", 9),
            line("0000000000000000FFFF00000100007F:1F90", "0000000000000000FFFF00000300007F:0054", "01", 10),
            line("B80D0120000000000000000001000000:1F90", "B80D0120000000000000000002000000:0055", "01", 11),
            "rubbish é :".to_owned(),
            "0: x".to_owned(),
            String::new(),
        ];
        let found = parse(&list.join("\n"), |ports| ports.local == 8080);
        assert!(found.iter().all(|socket| socket.unread == 19_000));
        let texts: Vec<_> = found.iter().map(|socket| (socket.inode, socket.peer.to_string())).collect();
        let want = [(7, "127.0.0.2:80"), (10, "127.0.0.3:84"), (11, "[2001:db8::2]:85")];
        assert_eq!(texts, want.map(|(inode, peer)| (inode, peer.to_owned())));
        let one = parse(&list.join("\n"), |ports| ports == PortPair { local: 8080, remote: 0x54 });
        assert_eq!(one.iter().map(|socket| socket.inode).collect::<Vec<_>>(), [10]);
    }
}
