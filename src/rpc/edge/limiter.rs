//! Bounds the connections, which the C core does not.
//!
//! It accepts whoever comes, up to the limit on open files, and offers no way to refuse. So a thread looks some times a
//! second who is connected, and hangs up on those beyond the bounds: on the newest ones of whoever has most. The system's
//! list has the sockets; for a moment, each one to be closed is duplicated (`pidfd_getfd`, since Linux 5.6), which takes no
//! `unsafe` and cannot hit a descriptor that has become another's meanwhile.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;
use rustix::process::{self, PidfdFlags, PidfdGetfdFlags, Resource, Rlimit};

use crate::base::clock::Stopwatch;
use crate::base::threads::Thread;
use crate::rpc::edge::pending::{Pending, Wake};
use crate::rpc::edge::proxy::TrustedProxies;
use crate::rpc::edge::pulse::Pulse;
use crate::rpc::limits::RpcLimits;
use crate::rpc::{Front, Shared};
use crate::security::origin::network;

/// How often to look who is connected.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Who comes and goes without a change in their number is seen this much later.
const LOOK_ANYWAY: Duration = Duration::from_secs(1);
/// A poll thread that answers later is held up. While somebody may be at fault, looks follow each other as fast.
const HELD_UP: Duration = Duration::from_millis(50);
/// A transport that copes leaves no more than this unread, and not for so many looks.
const UNREAD_BYTES: u32 = 32 * 1024;
const STUCK_LOOKS: u32 = 5;
/// A trusted proxy, by whose connection many people may come, may leave it for so many times as many.
const PROXY_FACTOR: u32 = 5;
/// With very many connections a look takes longer; then the pause is so many times as long.
const PAUSE_FACTOR: u32 = 20;
/// The same while somebody may be at fault.
const HURRIED_PAUSE_FACTOR: u32 = 4;
/// How often to log who was cut off, and how many of them by name, so that nobody fills the disk by knocking.
const LOG_EVERY: Duration = Duration::from_secs(10);
const LOGGED_AT_ONCE: usize = 8;
/// Open files that are not connections: the database, keys, logs, the C core's own.
const OTHER_FILES: usize = 256;
/// As few connections are allowed whatever the system says.
const LEAST: usize = 16;

/// The thread that bounds the connections.
pub struct Limiter {
    pending: Arc<Pending>,
    thread: Option<Thread>,
}

impl Limiter {
    /// Bounds the connections to these ports; makes room for as many open files as that takes, or says what is missing for it
    /// and for `streams`.
    ///
    /// # Errors
    /// The system refuses another thread.
    pub fn start(front: &Front, limits: &RpcLimits, streams: usize, shared: &Shared) -> io::Result<Limiter> {
        let files = room_for(limits.connections.max(streams) + OTHER_FILES);
        let room = files.saturating_sub(OTHER_FILES).max(LEAST);
        if room < streams.min(limits.connections) {
            log::warn!(
                "only {files} files may be open at once, which is enough for {room} connections: raise the limit (ulimit -n, or \
                 LimitNOFILE= of the service), or lower --max-streams and --max-connections"
            );
        }
        let bounds = Bounds {
            all: limits.connections.min(room),
            per_address: limits.connections_per_address,
            proxies: shared.proxies.clone(),
        };
        let hook = Hook::new();
        if let Err(error) = &hook {
            log::warn!(
                "connections are bounded by the number of open files alone, since this system lets no program see to its own: \
                 {error}"
            );
        }
        let pending = Arc::clone(&shared.pending);
        let mut watch = Watch {
            ports: front.ports().to_vec(),
            pulse: front.pulse(),
            bounds,
            hook: hook.ok(),
            open: 0,
            listed: Stopwatch::start(),
            asked: Stopwatch::start(),
            seen: HashMap::new(),
            looks: 0,
            unread: HashMap::new(),
        };
        let thread = Thread::spawn("limiter", {
            let pending = Arc::clone(&pending);
            move || {
                let mut report = Report::default();
                let mut pause = LOOK_EVERY;
                while matches!(pending.wakes().recv_timeout(pause), Ok(Wake::Look) | Err(RecvTimeoutError::Timeout)) {
                    let took = Stopwatch::start();
                    watch.hang_up_on(&pending.offenders(), &mut report);
                    watch.relieve(&mut report);
                    watch.look(&mut report);
                    report.log();
                    pause = if watch.unread.is_empty() {
                        LOOK_EVERY.max(took.elapsed() * PAUSE_FACTOR)
                    } else {
                        HELD_UP.max(took.elapsed() * HURRIED_PAUSE_FACTOR)
                    };
                }
            }
        })?;
        Ok(Limiter { pending, thread: Some(thread) })
    }

    /// Ends the thread, waiting at most `limit` for it.
    pub fn stop(&mut self, limit: Duration) {
        if let Some(thread) = self.thread.take() {
            self.pending.stop();
            thread.join_within(limit);
        }
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.pending.stop();
        }
    }
}

/// How many connections there may be.
struct Bounds {
    all: usize,
    per_address: usize,
    proxies: TrustedProxies,
}

impl Bounds {
    /// How many of this address. Loopback is where tunnels and proxies come from, many people at once.
    fn of(&self, address: IpAddr) -> usize {
        if address.is_loopback() || self.proxies.trusts(address) { self.all } else { self.per_address }
    }
}

/// A connection, as the system lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Socket {
    inode: u64,
    peer: SocketAddr,
    /// Bytes that have come and were not read yet.
    unread: u32,
}

struct Watch {
    ports: Vec<u16>,
    pulse: Pulse,
    bounds: Bounds,
    hook: Option<Hook>,
    /// How many files were open when the connections were listed last, and when that was.
    open: usize,
    listed: Stopwatch,
    /// At which look a connection was first seen, by its inode.
    seen: HashMap<u64, u64>,
    looks: u64,
    /// When the poll thread was asked last.
    asked: Stopwatch,
    /// For how many looks in a row, in which the poll thread was held up, a connection had much unread, by its inode.
    unread: HashMap<u64, u32>,
}

impl Watch {
    /// Hangs up on these connections, whatever the bounds.
    fn hang_up_on(&self, offenders: &[SocketAddr], report: &mut Report) {
        let Some(hook) = self.hook.as_ref().filter(|_| !offenders.is_empty()) else { return };
        let canonical = |peer: &SocketAddr| SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let offenders: HashSet<SocketAddr> = offenders.iter().map(canonical).collect();
        // Many people may share a proxy's connection: their calls are dropped, and it stays.
        let offends =
            |socket: &Socket| offenders.contains(&socket.peer) && !self.bounds.proxies.trusts(socket.peer.ip());
        let victims: Vec<_> = self.sockets().into_iter().filter(offends).collect();
        hook.hang_up(&victims).into_iter().for_each(|peer| report.add(peer, CALLS));
    }

    /// While the C core reads what one connection sends it serves nobody, and it reads on as long as something is there.
    /// Where for some looks it has got to anything else late or not at all, those are hung up on who had more unread all that
    /// time than anybody leaves to a transport that copes.
    fn relieve(&mut self, report: &mut Report) {
        // Whoever is in a hurry to have somebody hung up on does not make it beat faster.
        if self.asked.left_of(HELD_UP).is_some() {
            return;
        }
        self.asked = Stopwatch::start();
        if self.pulse.beats_within(HELD_UP) || self.hook.is_none() {
            self.unread.clear();
            return;
        }
        let busy: Vec<_> = self.sockets().into_iter().filter(|socket| socket.unread >= UNREAD_BYTES).collect();
        let looks = |socket: &Socket| (socket.inode, 1 + self.unread.get(&socket.inode).copied().unwrap_or(0));
        self.unread = busy.iter().map(looks).collect();
        let patience = |peer: IpAddr| STUCK_LOOKS * if self.bounds.proxies.trusts(peer) { PROXY_FACTOR } else { 1 };
        let at_fault =
            |socket: &Socket| self.unread.get(&socket.inode).is_some_and(|n| *n >= patience(socket.peer.ip()));
        let victims: Vec<_> = busy.into_iter().filter(at_fault).collect();
        if let Some(hook) = self.hook.as_ref().filter(|_| !victims.is_empty()) {
            hook.hang_up(&victims).into_iter().for_each(|peer| report.add(peer, FLOOD));
        }
    }

    fn sockets(&self) -> Vec<Socket> {
        ["/proc/self/net/tcp", "/proc/self/net/tcp6"]
            .iter()
            .flat_map(|list| established(&fs::read_to_string(list).unwrap_or_default(), &self.ports))
            .collect()
    }

    /// Looks who is connected, and hangs up on whoever is too many.
    fn look(&mut self, report: &mut Report) {
        let Some(hook) = &self.hook else { return };
        // Cheap, and on most days all there is to do: the system takes milliseconds for its list, however short it is.
        let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let is_due = open != self.open || self.listed.left_of(LOOK_ANYWAY).is_none();
        if open < self.bounds.all.min(self.bounds.per_address) || !is_due {
            return;
        }
        self.open = open;
        self.listed = Stopwatch::start();
        let mut sockets = self.sockets();
        self.looks += 1;
        let seen = |socket: &Socket| (socket.inode, *self.seen.get(&socket.inode).unwrap_or(&self.looks));
        self.seen = sockets.iter().map(seen).collect();
        sockets.sort_unstable_by_key(|socket| (self.seen.get(&socket.inode).copied(), socket.inode));
        sockets.dedup();
        let victims = beyond(&sockets, &self.bounds);
        if !victims.is_empty() {
            hook.hang_up(&victims).into_iter().for_each(|peer| report.add(peer, CONNECTIONS));
        }
    }
}

/// Those that are too many, of sockets in the order in which they came. Each address keeps its oldest ones, up to its own
/// bound and to a level that is the same for all and lets all of them together stay within theirs: who has few connections
/// is not crowded out by who has many.
fn beyond(sockets: &[Socket], bounds: &Bounds) -> Vec<Socket> {
    let mut held: HashMap<IpAddr, usize> = HashMap::new();
    for socket in sockets {
        *held.entry(network(socket.peer.ip())).or_default() += 1;
    }
    let kept_at = |level: usize| -> usize { held.iter().map(|(who, n)| level.min(*n).min(bounds.of(*who))).sum() };
    let (mut level, mut above) = (1, bounds.all + 1);
    while above - level > 1 {
        let middle = level.midpoint(above);
        if kept_at(middle) <= bounds.all { level = middle } else { above = middle }
    }
    let mut taken: HashMap<IpAddr, usize> = HashMap::new();
    let mut kept = 0;
    let is_beyond = |socket: &&Socket| {
        let who = network(socket.peer.ip());
        let n = taken.entry(who).or_default();
        *n += 1;
        // With more addresses than connections, the first ones stay.
        let stays = *n <= level.min(bounds.of(who)) && kept < bounds.all;
        kept += usize::from(stays);
        !stays
    };
    sockets.iter().filter(is_beyond).copied().collect()
}

/// The established connections to these ports in a list of the system's.
fn established(list: &str, ports: &[u16]) -> Vec<Socket> {
    let socket = |line: &str| {
        let mut columns = line.split_ascii_whitespace();
        let (local, remote, state) = (columns.nth(1)?, columns.next()?, columns.next()?);
        let unread = u32::from_str_radix(columns.next()?.split_once(':')?.1, 16).ok()?;
        let inode = columns.nth(4)?.parse().ok()?;
        // Those that wait to be accepted have no inode yet.
        let ours = state == "01" && inode != 0 && ports.contains(&address(local)?.port());
        ours.then_some(Socket { inode, peer: address(remote)?, unread })
    };
    list.lines().filter_map(socket).collect()
}

/// An address as the list writes it: groups of four bytes in the machine's own order, in hex.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(ip.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let bytes = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// Gets hold of this program's own sockets.
struct Hook {
    this: OwnedFd,
}

impl Hook {
    fn new() -> io::Result<Hook> {
        let this = process::pidfd_open(process::getpid(), PidfdFlags::empty())?;
        // To see that it is allowed: containers may forbid it.
        process::pidfd_getfd(&this, this.as_raw_fd(), PidfdGetfdFlags::empty())?;
        Ok(Hook { this })
    }

    /// Hangs up, and gives whom that reached. The C core finds the connection closed, as if the other end had done it.
    fn hang_up(&self, victims: &[Socket]) -> Vec<IpAddr> {
        let descriptors = descriptors();
        let hung_up = |victim: &Socket| {
            let descriptor = *descriptors.get(&victim.inode)?;
            let stream = TcpStream::from(process::pidfd_getfd(&self.this, descriptor, PidfdGetfdFlags::empty()).ok()?);
            // The number may be another's by now.
            let peer = stream.peer_addr().ok()?;
            let same = peer.ip().to_canonical() == victim.peer.ip() && peer.port() == victim.peer.port();
            (same && stream.shutdown(Shutdown::Both).is_ok()).then_some(victim.peer.ip())
        };
        victims.iter().filter_map(hung_up).collect()
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

/// Why somebody was hung up on, for the log.
const CONNECTIONS: &str = "TOO_MANY_CONNECTIONS";
/// More than the transport can read.
const FLOOD: &str = "FLOOD";
/// Calls without their message, or taken back.
const CALLS: &str = "TOO_MANY_UNFINISHED_CALLS";

/// Who was cut off, for the log: each once in [`LOG_EVERY`] with the number until then, and not more than
/// [`LOGGED_AT_ONCE`] of them.
#[derive(Default)]
struct Report {
    cut_off: HashMap<(IpAddr, &'static str), usize>,
    logged: HashSet<(IpAddr, &'static str)>,
    since: Option<Stopwatch>,
}

impl Report {
    fn add(&mut self, peer: IpAddr, reason: &'static str) {
        *self.cut_off.entry((network(peer), reason)).or_default() += 1;
    }

    fn log(&mut self) {
        if self.since.as_ref().is_none_or(|since| since.left_of(LOG_EVERY).is_none()) {
            if self.cut_off.len() > LOGGED_AT_ONCE {
                log::warn!("connections of {} addresses were cut off", self.cut_off.len());
                self.cut_off.clear();
            }
            self.logged.clear();
            self.since = Some(Stopwatch::start());
        }
        let logged = &mut self.logged;
        self.cut_off.retain(|who, count| {
            let waits = logged.len() >= LOGGED_AT_ONCE || !logged.insert(*who);
            if !waits {
                let (address, reason) = who;
                log::warn!(target: "refused", "refused address={address} reason={reason} method=- account=\"\" count={count}");
            }
            waits
        });
    }
}

/// Raises the limit on open files to what is wanted, as far as the system lets it, and gives what it is then.
fn room_for(wanted: usize) -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let Some((soft, hard)) = open_files(&limits) else { return wanted };
    let new = wanted.min(hard);
    if soft >= new {
        return soft;
    }
    let limit = |n: usize| (n != usize::MAX).then_some(n as u64);
    match process::setrlimit(Resource::Nofile, Rlimit { current: limit(new), maximum: limit(hard) }) {
        Ok(()) => new,
        Err(_) => soft,
    }
}

/// The soft and the hard limit on open files, in the system's words.
fn open_files(limits: &str) -> Option<(usize, usize)> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let number = |text: &str| if text == "unlimited" { Some(usize::MAX) } else { text.parse().ok() };
    let mut columns = line.split_ascii_whitespace();
    Some((number(columns.next()?)?, number(columns.next()?)?))
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
        beyond(&sockets(peers), &bounds).iter().map(|socket| socket.inode).collect()
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
            String::new(),
        ];
        let found = established(&list.join("\n"), &[8080]);
        assert!(found.iter().all(|socket| socket.unread == 19_000));
        let texts: Vec<_> = found.iter().map(|socket| (socket.inode, socket.peer.to_string())).collect();
        let want = [(7, "127.0.0.2:80"), (10, "127.0.0.3:84"), (11, "[2001:db8::2]:85")];
        assert_eq!(texts, want.map(|(inode, peer)| (inode, peer.to_owned())));
    }

    #[test]
    fn the_limit_on_open_files_is_read() {
        let text = "Limit                     Soft Limit           Hard Limit           Units\n\
                    Max open files            1024                 524288               files\n";
        assert_eq!(open_files(text), Some((1024, 524_288)));
        assert_eq!(open_files("Max open files  1024  unlimited  files"), Some((1024, usize::MAX)));
        assert_eq!(open_files(""), None);
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
            let cut = beyond(&sockets, &bounds);
            let of = |who: &u8| sockets.iter().filter(|s| !cut.contains(s) && s.peer.ip() == IpAddr::from([192, 0, 2, *who])).count();
            let kept: Vec<usize> = (0..6).map(|who| of(&who)).collect();
            prop_assert!(kept.iter().sum::<usize>() <= all && kept.iter().all(|n| *n <= per_address));
            let all_have = |n: usize| (0..6u8).all(|who| peers.iter().filter(|p| **p == who).count() <= n);
            prop_assert!(!cut.is_empty() || (peers.len() <= all && all_have(per_address)));
            prop_assert!(cut.is_empty() || peers.len() > all || !all_have(per_address));
        }
    }
}
