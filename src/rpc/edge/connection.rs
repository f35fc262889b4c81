//! Which connection a call came in on.
//!
//! Clients of the predecessor are recognised by their connection where others send a token. The address of the other end is
//! not enough for that: once a connection is closed, its port is free, and a stranger on this machine may get it. The
//! server's own socket is enough: the system gives each one an inode number of its own.

use std::net::SocketAddr;
use std::time::Duration;

use super::sockets;
use crate::app::ConnectionId;

/// How often to look for a socket that is not listed.
const LOOKS: usize = 20;
/// The pause between looks, once the first few have not found it.
const LOOK_PAUSE: Duration = Duration::from_millis(2);

/// The connection with its other end at `peer`. `None` if there is none, or more than one, or the system does not tell.
///
/// Not for poll threads: it reads the system's list of sockets.
pub fn from_peer(peer: SocketAddr) -> Option<ConnectionId> {
    let canonical = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let look = || {
        let listed = sockets::established(|ports| ports.remote == canonical.port());
        let mut inodes: Vec<u64> =
            listed.iter().filter(|socket| socket.peer == canonical).map(|socket| socket.inode).collect();
        // While others come and go, the list may name a socket twice.
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
        [inode] => Some(ConnectionId(format!("{peer} socket {inode}"))),
        // The other end has a connection to another of our addresses from the same port: it could be either.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_port_that_is_used_again_is_another_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, peer) = listener.accept().unwrap();
        let first = from_peer(peer).expect("it is established");
        assert_eq!(from_peer(peer), Some(first.clone()));
        let mapped = peer.to_string().replace("127.0.0.1", "[::ffff:127.0.0.1]").parse().unwrap();
        let inode = |connection: ConnectionId| connection.0.rsplit(' ').next().map(str::to_owned);
        assert_eq!(from_peer(mapped).and_then(inode), inode(first), "the same socket, as an IPv6 listener names it");
        // The server closes first, so that the client's port is free at once.
        drop(server);
        drop(client);
        assert_eq!(from_peer(peer), None, "it is closed");
    }
}
