//! The wire: the only server-side folder that knows grpcio.
//!
//! Handlers run on poll threads, where nothing may block: they read the headers, hand a job to a bounded pool and return
//! (`calls`). The job proves the caller, does the work, and fills a [`reply`]. Streams have a thread each ([`stream`]).

pub mod admin;
mod auth;
pub mod caller;
mod calls;
pub mod edge;
pub mod limits;
pub mod listen;
mod messaging;
mod otp;
pub mod reply;
pub mod status;
pub mod stream;
pub mod wire;

use std::ffi::CString;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use grpcio::{ChannelBuilder, EnvBuilder, Environment, ResourceQuota, Server, ServerBuilder, ServerCredentials};

use self::caller::Incoming;
use self::edge::pending::Pending;
use self::edge::proxy::TrustedProxies;
use self::edge::pulse::Pulse;
use self::edge::tls::Tls;
use self::limits::RpcLimits;
use self::listen::{Listen, ListenError};
use self::status::Call;
use self::stream::{LOOK_AGAIN, Outlet, Streams};
use crate::app::App;
use crate::base::clock::Stopwatch;
use crate::base::threads::Pool;
use crate::base::wait::within;
use crate::hub::Hub;

/// What all handlers share.
pub struct Shared {
    /// What the system does.
    pub app: Arc<App>,
    /// Who listens.
    pub hub: Arc<Hub<Outlet>>,
    /// The open streams.
    pub streams: Streams,
    /// Works on calls.
    pub work: Pool,
    /// Works on calls that hash passwords: nothing else waits for those.
    pub hash: Pool,
    /// Whether clients of the predecessor are served their way.
    pub legacy_clients: bool,
    /// The calls whose message has not come yet.
    pub pending: Arc<Pending>,
    /// Who may say for whom he speaks.
    pub proxies: TrustedProxies,
    /// The bounds.
    pub limits: RpcLimits,
}

impl Shared {
    /// A call, for the log.
    fn call_of(&self, method: &'static str, incoming: &Incoming, account: Option<&str>) -> Call {
        let account = account.map(str::to_owned);
        Call { method, address: incoming.address, account, clock: self.app.clock.clone() }
    }

    /// The account that a token names, for the log.
    fn login_of(&self, incoming: &Incoming) -> Option<String> {
        let app = &self.app;
        let named = app.sessions.named(&incoming.credential, &app.tokens, app.clock.now());
        named.ok().map(|(_, person)| person.login.clone())
    }
}

/// The listening server. To be stopped by [`Front::stop`].
pub struct Front {
    server: Server,
    // Dropping it cancels its calls: the administrator's tool says so.
    _admin: Server,
    // Dropped last: the C core's threads end with it, the limiter having ended before.
    environment: Arc<Environment>,
    ports: Vec<u16>,
    plaintext_port: Option<u16>,
}

impl Front {
    /// Starts to listen, by TLS where an address says so and there is `tls` to do it with.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn start(
        shared: &Arc<Shared>,
        listen: &[Listen],
        tls: Option<&Tls>,
        data_dir: &Path,
    ) -> Result<Front, ListenError> {
        // One completion queue costs less per delivery than two on two cores.
        let environment = Arc::new(EnvBuilder::new().cq_count(1).name_prefix("grpc-poll").build());
        let builder = calls::services(shared)
            .into_iter()
            .fold(ServerBuilder::new(Arc::clone(&environment)), ServerBuilder::register_service)
            .channel_args(channel(&environment, &shared.limits).build_args());
        let core = |address, text: String| ListenError::Core { address, text };
        let first = listen.first().map_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)), |l| l.address);
        let mut server = builder.build().map_err(|error| core(first, error.to_string()))?;
        let (mut ports, mut plaintext_port): (Vec<u16>, _) = (Vec::new(), None);
        for Listen { mut address, optional, tls: encrypted } in listen.iter().copied() {
            // `localhost:0` means the same free port on both addresses.
            if address.port() == 0 && optional {
                address.set_port(ports.last().copied().unwrap_or(0));
            }
            let (credentials, how) = match tls.filter(|_| encrypted) {
                Some(tls) => (tls.credentials(), "by TLS"),
                None => (ServerCredentials::insecure(), "in plaintext"),
            };
            if let Err(source) = can_bind(address) {
                if optional && source.kind() == std::io::ErrorKind::AddrNotAvailable {
                    log::info!("not listening on {address}: this machine has no such address");
                    continue;
                }
                return Err(ListenError::Address { address, source });
            }
            let bound = server
                .add_listening_port(address.to_string(), credentials)
                .map_err(|error| core(address, error.to_string()))?;
            log::info!("listening on {} {how}", SocketAddr::new(address.ip(), bound));
            ports.push(bound);
            if !encrypted {
                plaintext_port = plaintext_port.or(Some(bound));
            }
        }
        let admin = admin::listen(shared, &environment, data_dir)?;
        server.start();
        Ok(Front { server, _admin: admin, environment, ports, plaintext_port })
    }

    /// The port of the first address.
    pub fn port(&self) -> u16 {
        self.ports.first().copied().unwrap_or(0)
    }

    /// The ports of all addresses.
    pub fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// Whether its poll thread gets to its work.
    fn pulse(&self) -> Pulse {
        Pulse::new(&self.environment)
    }

    /// The port of the first address that does not speak TLS, if there is one.
    pub fn plaintext_port(&self) -> Option<u16> {
        self.plaintext_port
    }

    /// Takes no more calls, gives the open ones `grace` to end (no longer once `hurry` says so), and cancels the rest.
    /// Returns whether all ended by themselves.
    pub fn stop(&mut self, grace: Duration, hurry: &dyn Fn() -> bool) -> bool {
        let mut shutdown = self.server.shutdown();
        let watch = Stopwatch::start();
        let mut by_themselves = within(Duration::ZERO, &mut shutdown).is_some();
        while !by_themselves && !hurry() {
            let Some(left) = watch.left_of(grace) else { break };
            by_themselves = within(left.min(LOOK_AGAIN), &mut shutdown).is_some();
        }
        if !by_themselves {
            self.server.cancel_all_calls();
            if within(Duration::from_secs(5), &mut shutdown).is_none() {
                log::warn!("cancelled calls did not end");
            }
        }
        by_themselves
    }
}

/// Has the C core write to the log, which has to be there.
pub fn redirect_log() {
    grpcio::redirect_log();
}

/// Tells a taken port in words of the system. The C core would say no more than that it failed, and would share a port that
/// another address family has.
fn can_bind(address: SocketAddr) -> std::io::Result<()> {
    std::net::TcpListener::bind(address).map(|_| ())
}

/// The system's buffer of a connection for what comes in.
const RECEIVE_BUFFER_BYTES: i32 = 64 * 1024;
/// What is read from a connection at once.
const READ_BYTES: i32 = 16 * 1024;

fn channel(environment: &Arc<Environment>, limits: &RpcLimits) -> ChannelBuilder {
    let clamp = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let millis = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
    let quota = ResourceQuota::new(Some("otpchatd")).resize_memory(limits.transport_bytes);
    ChannelBuilder::new(Arc::clone(environment))
        // Two servers must not share a port in silence.
        .reuse_port(false)
        .set_resource_quota(quota)
        .max_receive_message_len(clamp(limits.request_bytes))
        .max_concurrent_stream(clamp(limits.calls_per_connection))
        // What a connection may have sent before the server has looked at it, and what is looked at in one go: while it reads
        // one connection's calls, it serves nobody else.
        .raw_cfg_int(CString::from(c"grpc.tcp_receive_buffer_size"), RECEIVE_BUFFER_BYTES)
        .tcp_read_chunk_size(READ_BYTES)
        .tcp_max_read_chunk_size(READ_BYTES)
        // The soft limit is the hard one: between the two, the C core refuses at random. A client that never acknowledges
        // the server's settings is held to the soft limit and to the protocol's own (16 MiB).
        .raw_cfg_int(CString::from(c"grpc.max_metadata_size"), clamp(limits.header_bytes))
        .raw_cfg_int(CString::from(c"grpc.absolute_max_metadata_size"), clamp(limits.header_bytes))
        // For TLS, and for the client's first settings. The default of two minutes serves those who say nothing.
        .raw_cfg_int(CString::from(c"grpc.server_handshake_timeout_ms"), millis(limits.handshake))
        // A connection without any call. One that listens has a call, however quiet.
        .raw_cfg_int(CString::from(c"grpc.max_connection_idle_ms"), millis(limits.connection_idle))
        // Finds dead clients, also when nobody is talking.
        .keepalive_time(Duration::from_secs(60))
        .keepalive_timeout(Duration::from_secs(20))
        .keepalive_permit_without_calls(true)
        .http2_max_pings_without_data(0)
        // Clients of quiet streams ping every 30 s; the default would strike them out.
        .http2_min_recv_ping_interval_without_data(Duration::from_secs(10))
        // Nothing is unpacked: the bound on a request is that of its packed form, and it would be unpacked, a thousand times
        // as long, on the one poll thread. Identity is the lowest bit; who packs is told UNIMPLEMENTED.
        .raw_cfg_int(CString::from(c"grpc.compression_enabled_algorithms_bitset"), 1)
        .raw_cfg_int(CString::from(c"grpc.per_message_decompression"), 0)
        // Each saves a little on every call.
        .http2_bdp_probe(false)
        .raw_cfg_int(CString::from(c"grpc.enable_channelz"), 0)
}
