//! Bounds the connections, which the C core does not.
//!
//! It accepts every connection up to the limit on open files, and offers no way to refuse one. So a thread looks at the
//! connections some times a second and closes those beyond the bounds: the newest ones of the network that has most
//! (`bounds`), those that flood the transport, and those with too many unfinished calls ([`super::pending`]).

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;

use super::bounds::Bounds;
use super::hang_up::SocketCloser;
use super::open_files;
use super::pending::{LimiterSignal, PendingCalls};
use super::proxy::TrustedProxies;
use super::pulse::Pulse;
use super::report::{Cause, Report};
use super::sockets::{self, Socket};
use crate::base::clock::Stopwatch;
use crate::base::threads::Thread;
use crate::rpc::limits::RpcLimits;

/// How often to look at the connections.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Connections that come and go without a change in their number are seen this much later.
const LOOK_ANYWAY: Duration = Duration::from_secs(1);
/// A poll thread that takes longer to answer is held up. While a connection may be at fault, looks follow each other as fast.
const HELD_UP: Duration = Duration::from_millis(50);
/// While the transport keeps up, no connection has this many bytes unread for [`STUCK_LOOKS`] looks in a row.
const UNREAD_BYTES: u32 = 32 * 1024;
const STUCK_LOOKS: u32 = 5;
/// Multiplies [`STUCK_LOOKS`] for a trusted proxy, because many people may share its connection.
const PROXY_FACTOR: u32 = 5;
/// With very many connections a look takes longer; the pause is then so many times as long as the look.
const PAUSE_FACTOR: u32 = 20;
/// The same while a connection may be at fault.
const HURRIED_PAUSE_FACTOR: u32 = 4;
/// Open files that are not connections: the database, keys, logs, the C core's own.
const OTHER_FILES: usize = 256;
/// At least so many connections are allowed, whatever the system says.
const LEAST_CONNECTIONS: usize = 16;

/// What the limiter watches, and what it must know.
pub struct Watched {
    /// The ports that the server listens on.
    pub ports: Vec<u16>,
    /// Whether the poll thread gets to its work.
    pub pulse: Pulse,
    /// The calls without their message yet.
    pub pending: Arc<PendingCalls>,
    /// Proxies that many people come through.
    pub proxies: TrustedProxies,
}

/// The thread that bounds the connections.
pub struct Limiter {
    pending: Arc<PendingCalls>,
    thread: Option<Thread>,
}

impl Limiter {
    /// Bounds the connections to the watched ports. Makes room for as many open files as that takes, or logs what is missing
    /// for them and for `streams`.
    ///
    /// # Errors
    /// The system refuses another thread.
    pub fn start(watched: Watched, limits: &RpcLimits, streams: usize) -> io::Result<Limiter> {
        let bounds = Bounds {
            all: limits.connections.min(room_for_connections(limits, streams)),
            per_address: limits.connections_per_address,
            proxies: watched.proxies,
        };
        let closer = SocketCloser::new();
        if let Err(error) = &closer {
            log::warn!(
                "connections are bounded by the number of open files alone, since this system lets no program see to its own: \
                 {error}"
            );
        }
        let pending = Arc::clone(&watched.pending);
        let rounds = Rounds {
            ports: watched.ports,
            pulse: watched.pulse,
            bounds,
            closer: closer.ok(),
            report: Report::default(),
            open_files: 0,
            listed: Stopwatch::start(),
            asked: Stopwatch::start(),
            first_seen: HashMap::new(),
            looks: 0,
            stuck: HashMap::new(),
        };
        let thread = Thread::spawn("limiter", {
            let pending = Arc::clone(&pending);
            move || rounds.run(&pending)
        })?;
        Ok(Limiter { pending, thread: Some(thread) })
    }

    /// Ends the thread, waiting at most `limit` for it.
    pub fn stop(&mut self, limit: Duration) {
        if let Some(thread) = self.thread.take() {
            self.pending.stop_limiter();
            thread.join_within(limit);
        }
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.pending.stop_limiter();
        }
    }
}

/// How many connections the limit on open files leaves room for.
fn room_for_connections(limits: &RpcLimits, streams: usize) -> usize {
    let files = open_files::raise_to(limits.connections.max(streams) + OTHER_FILES);
    let room = files.saturating_sub(OTHER_FILES).max(LEAST_CONNECTIONS);
    if room < streams.min(limits.connections) {
        log::warn!(
            "only {files} files may be open at once, which is enough for {room} connections: raise the limit (ulimit -n, or \
             LimitNOFILE= of the service), or lower --max-streams and --max-connections"
        );
    }
    room
}

/// The state of the limiter's thread between two looks.
struct Rounds {
    ports: Vec<u16>,
    pulse: Pulse,
    bounds: Bounds,
    closer: Option<SocketCloser>,
    report: Report,
    /// How many files were open when the connections were last listed, and when that was.
    open_files: usize,
    listed: Stopwatch,
    /// The look at which a connection was first seen, by its inode.
    first_seen: HashMap<u64, u64>,
    looks: u64,
    /// When the poll thread was last asked.
    asked: Stopwatch,
    /// For how many looks in a row a connection had much unread while the poll thread was held up, by its inode.
    stuck: HashMap<u64, u32>,
}

impl Rounds {
    fn run(mut self, pending: &PendingCalls) {
        let mut pause = LOOK_EVERY;
        while matches!(pending.signals().recv_timeout(pause), Ok(LimiterSignal::Look) | Err(RecvTimeoutError::Timeout))
        {
            let took = Stopwatch::start();
            self.close_offenders(&pending.offenders());
            self.close_floods();
            self.close_excess();
            self.report.log();
            pause = if self.stuck.is_empty() {
                LOOK_EVERY.max(took.elapsed() * PAUSE_FACTOR)
            } else {
                HELD_UP.max(took.elapsed() * HURRIED_PAUSE_FACTOR)
            };
        }
    }

    /// The connections to the watched ports.
    fn sockets(&self) -> Vec<Socket> {
        sockets::established(|ports| self.ports.contains(&ports.local))
    }

    fn close(&mut self, victims: &[Socket], cause: Cause) {
        if let Some(closer) = self.closer.as_ref().filter(|_| !victims.is_empty()) {
            self.report.add(closer.close(victims), cause);
        }
    }

    /// Closes these connections, whatever the bounds.
    fn close_offenders(&mut self, offenders: &[SocketAddr]) {
        if self.closer.is_none() || offenders.is_empty() {
            return;
        }
        let canonical = |peer: &SocketAddr| SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let offenders: HashSet<SocketAddr> = offenders.iter().map(canonical).collect();
        // Many people may share the connection of a proxy: their calls are dropped, and it stays.
        let offends =
            |socket: &Socket| offenders.contains(&socket.peer) && !self.bounds.proxies.trusts(socket.peer.ip());
        let victims: Vec<_> = self.sockets().into_iter().filter(offends).collect();
        self.close(&victims, Cause::UnfinishedCalls);
    }

    /// Closes connections that keep the transport from its other work.
    ///
    /// While the C core reads from one connection it serves no other, and it reads on as long as something is there. Where
    /// it was late for some looks in a row, those connections are closed that had more unread all that time than any
    /// connection has where the transport copes.
    fn close_floods(&mut self) {
        // A look that was asked for must not speed this up.
        if self.asked.left_of(HELD_UP).is_some() {
            return;
        }
        self.asked = Stopwatch::start();
        if self.pulse.beats_within(HELD_UP) || self.closer.is_none() {
            self.stuck.clear();
            return;
        }
        let busy: Vec<_> = self.sockets().into_iter().filter(|socket| socket.unread >= UNREAD_BYTES).collect();
        let looks = |socket: &Socket| (socket.inode, 1 + self.stuck.get(&socket.inode).copied().unwrap_or(0));
        self.stuck = busy.iter().map(looks).collect();
        let patience = |peer: IpAddr| STUCK_LOOKS * if self.bounds.proxies.trusts(peer) { PROXY_FACTOR } else { 1 };
        let is_flood =
            |socket: &Socket| self.stuck.get(&socket.inode).is_some_and(|n| *n >= patience(socket.peer.ip()));
        let victims: Vec<_> = busy.into_iter().filter(is_flood).collect();
        self.close(&victims, Cause::Flood);
    }

    /// Closes the connections that are beyond the bounds.
    fn close_excess(&mut self) {
        if self.closer.is_none() {
            return;
        }
        // Cheap, and on most days all there is to do: the system takes milliseconds for its list, however short it is.
        let open = open_files::count();
        let is_due = open != self.open_files || self.listed.left_of(LOOK_ANYWAY).is_none();
        if open < self.bounds.all.min(self.bounds.per_address) || !is_due {
            return;
        }
        self.open_files = open;
        self.listed = Stopwatch::start();
        let mut sockets = self.sockets();
        self.looks += 1;
        let first_seen = |socket: &Socket| (socket.inode, *self.first_seen.get(&socket.inode).unwrap_or(&self.looks));
        self.first_seen = sockets.iter().map(first_seen).collect();
        sockets.sort_unstable_by_key(|socket| (self.first_seen.get(&socket.inode).copied(), socket.inode));
        sockets.dedup_by_key(|socket| socket.inode);
        let victims = self.bounds.excess(&sockets);
        self.close(&victims, Cause::Connections);
    }
}
