//! Which connection a call came in on.
//!
//! Clients of the predecessor are known by their connection where others show a token. The address of the other end is not
//! enough for that: once a connection is closed, its port is free, and a stranger on this machine may take it. The socket of
//! this server is: the system gives each one an inode number of its own, and lists it with the addresses of both ends.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use crate::app::Connection;

/// The state of an established connection in the system's list.
const ESTABLISHED: &str = "01";

/// How often to look for a socket that is not listed.
const LOOKS: usize = 20;
/// How long to wait in between, once the first few have not found it.
const LOOK_PAUSE: Duration = Duration::from_millis(2);

/// The connection whose other end is at `peer`. `None` if there is none, or more than one, or the system does not tell.
///
/// Reads a list as long as there are connections: not for poll threads.
pub fn of(peer: SocketAddr) -> Option<Connection> {
    // A listener on an IPv4 address may take its calls on an IPv6 socket, as mapped addresses.
    let mapped = match peer {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        SocketAddr::V6(_) => peer,
    };
    // Below the process's own directory, the lists are there also where a service sees nothing else of `/proc`.
    let listed = [("/proc/self/net/tcp", peer), ("/proc/self/net/tcp6", mapped)];
    let look = || {
        let mut inodes: Vec<u64> = Vec::new();
        for (list, address) in listed {
            inodes.extend(inodes_of(&fs::read_to_string(list).unwrap_or_default(), &hex(address)));
        }
        // The list may name a socket twice while others come and go.
        inodes.sort_unstable();
        inodes.dedup();
        inodes
    };
    // For the same reason it may leave one out.
    let look_again = |n: usize| {
        if n > LOOKS / 4 {
            std::thread::park_timeout(LOOK_PAUSE);
        }
        look()
    };
    match (0..LOOKS).map(look_again).find(|inodes| !inodes.is_empty())?.as_slice() {
        [inode] => Some(Connection(format!("{peer} socket {inode}"))),
        // Its port is used towards another of our addresses as well: it could be either.
        _ => None,
    }
}

/// The inodes of established sockets whose other end has this address, as the list writes it.
fn inodes_of(list: &str, other_end: &str) -> Vec<u64> {
    let inode = |line: &str| {
        let mut columns = line.split_ascii_whitespace();
        let (remote, state) = (columns.nth(2)?, columns.next()?);
        let inode = columns.nth(5)?.parse().ok()?;
        (remote == other_end && state == ESTABLISHED && inode != 0).then_some(inode)
    };
    list.lines().filter_map(inode).collect()
}

/// An address as the list writes it: groups of four bytes in the machine's own order, in hex.
fn hex(address: SocketAddr) -> String {
    let bytes = match address {
        SocketAddr::V4(v4) => v4.ip().octets().to_vec(),
        SocketAddr::V6(v6) => v6.ip().octets().to_vec(),
    };
    let mut text = String::new();
    for group in bytes.chunks_exact(4) {
        let word = u32::from_ne_bytes([group[0], group[1], group[2], group[3]]);
        // Writing to a string does not fail.
        let _ = write!(text, "{word:08X}");
    }
    let _ = write!(text, ":{:04X}", address.port());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn an_address_is_written_as_the_system_lists_it() {
        assert_eq!(hex("127.0.0.1:8080".parse().unwrap()).len(), "0100007F:1F90".len());
        #[cfg(target_endian = "little")]
        {
            assert_eq!(hex("127.0.0.1:8080".parse().unwrap()), "0100007F:1F90");
            assert_eq!(hex("[::1]:80".parse().unwrap()), "00000000000000000000000001000000:0050");
            assert_eq!(hex("[::ffff:127.0.0.1]:80".parse().unwrap()), "0000000000000000FFFF00000100007F:0050");
        }
    }

    #[test]
    fn a_port_that_is_used_again_is_another_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, peer) = listener.accept().unwrap();
        let first = of(peer).expect("it is established");
        assert_eq!(of(peer), Some(first.clone()));
        // The server closes first, so that the client's port is free at once.
        drop(server);
        drop(client);
        assert_eq!(of(peer), None, "it is closed");
        // Another socket with the same addresses: the inode alone tells them apart.
        let line = |inode: u64| format!("0: 0100007F:C383 {} 01 0:0 0:0 0 0 0 {inode} 1", hex(peer));
        assert_eq!(inodes_of(&line(11), &hex(peer)), [11]);
        assert_eq!(inodes_of(&line(12), &hex(peer)), [12]);
        assert_eq!(inodes_of("rubbish\n\n0: x", &hex(peer)), [0u64; 0]);
    }
}
