//! Closes connections of this program from outside the C core, which offers no way to.
//!
//! The system's list has the sockets; each one to be closed is duplicated for a moment (`pidfd_getfd`, since Linux 5.6). That
//! takes no `unsafe`, and cannot hit a descriptor that has been reused meanwhile.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};

use rustix::process::{self, PidfdFlags, PidfdGetfdFlags};

use super::sockets::Socket;

/// Closes this program's own sockets.
pub(super) struct SocketCloser {
    this: OwnedFd,
}

impl SocketCloser {
    /// # Errors
    /// The system does not allow it; containers may forbid it.
    pub(super) fn new() -> io::Result<SocketCloser> {
        let this = process::pidfd_open(process::getpid(), PidfdFlags::empty())?;
        // To see that it is allowed.
        process::pidfd_getfd(&this, this.as_raw_fd(), PidfdGetfdFlags::empty())?;
        Ok(SocketCloser { this })
    }

    /// Closes the sockets; returns the peers that were closed. To the C core it looks as if the other end had closed.
    pub(super) fn close(&self, victims: &[Socket]) -> Vec<IpAddr> {
        let descriptors = descriptors();
        let close = |victim: &Socket| {
            let descriptor = *descriptors.get(&victim.inode)?;
            let stream = TcpStream::from(process::pidfd_getfd(&self.this, descriptor, PidfdGetfdFlags::empty()).ok()?);
            // The descriptor may have been reused by now.
            let peer = stream.peer_addr().ok()?;
            let same = peer.ip().to_canonical() == victim.peer.ip() && peer.port() == victim.peer.port();
            (same && stream.shutdown(Shutdown::Both).is_ok()).then_some(victim.peer.ip())
        };
        victims.iter().filter_map(close).collect()
    }
}

/// The descriptors of this program's sockets, by inode.
fn descriptors() -> HashMap<u64, RawFd> {
    let socket = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.ok()?;
        let target = fs::read_link(entry.path()).ok()?;
        let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()?;
        Some((inode, entry.file_name().to_str()?.parse().ok()?))
    };
    fs::read_dir("/proc/self/fd").map_or_else(|_| HashMap::new(), |entries| entries.filter_map(socket).collect())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::super::sockets;
    use super::*;

    #[test]
    fn a_closed_socket_ends_for_both_sides_and_its_neighbour_lives() {
        let closer = SocketCloser::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connect = || {
            let client = TcpStream::connect(address).unwrap();
            (client, listener.accept().unwrap())
        };
        let ((mut client, (_server, peer)), (_other_client, (other, _))) = (connect(), connect());
        let listed = sockets::established(|ports| ports.local == address.port() && ports.remote == peer.port());
        assert_eq!(closer.close(&listed), [peer.ip()]);
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "the end of the connection");
        assert!(other.take_error().unwrap().is_none() && other.set_nonblocking(true).is_ok());
        assert_eq!((&other).read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
