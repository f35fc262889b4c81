//! The wire: the only server-side folder that knows grpcio.
//!
//! Handlers run on poll threads, where nothing may block: they read the headers, hand a job to a bounded pool and return.
//! The job proves the caller, does the work, and fills a [`reply`]. Streams have a thread each ([`stream`]).

pub mod admin;
mod auth;
pub mod caller;
pub mod connection;
pub mod limiter;
mod messaging;
pub mod methods;
mod otp;
pub mod pending;
pub mod proxy;
mod pulse;
pub mod reply;
pub mod status;
pub mod stream;
pub mod tls;
pub mod wait;
pub mod wire;

use std::ffi::CString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use grpcio::{
    ChannelBuilder, ClientStreamingSink, DuplexSink, EnvBuilder, Environment, GrpcSlice, RequestStream, ResourceQuota,
    RpcContext, Server, ServerBuilder, ServerCredentials, Service, ServiceBuilder,
};

use self::caller::Incoming;
use self::messaging::{Asks, Opening};
use self::pending::Pending;
use self::proxy::TrustedProxies;
use self::pulse::Pulse;
use self::reply::{Answer, Reply};
use self::status::Call;
use self::stream::{LOOK_AGAIN, Outlet, Streams};
use self::tls::Tls;
use self::wait::within;
use crate::app::App;
use crate::app::refusal::Error;
use crate::clock::Stopwatch;
use crate::config::{Listen, RpcLimits};
use crate::hub::Hub;
use crate::proto::admin::AdminRequest;
use crate::proto::{
    ChangePasswordRequest, DeleteAccountRequest, EndSessionsRequest, HistoryRequest, ListSessionsRequest, LoginRequest,
    LogoutRequest, Message, NewRecoveryCodesRequest, RegisterRequest, RequestCheckOtp, RequestInitOtp, WhichSessions,
};
use crate::threads::Pool;

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

/// The server could not listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The port is taken, or the address is not this machine's.
    #[error(
        "cannot listen on {address}: {source}; stop the program that has the port, or choose another with --listen"
    )]
    Address {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The socket of the administrator's tool.
    #[error("cannot listen on {}: {text}", path.display())]
    Admin {
        /// Where.
        path: PathBuf,
        /// What went wrong.
        text: String,
    },
    /// The C core refused.
    #[error("cannot listen on {address}: {text}")]
    Core {
        /// Where.
        address: SocketAddr,
        /// What it said.
        text: String,
    },
}

/// The listening server. To be stopped by [`Front::stop`].
pub struct Front {
    server: Server,
    // Dropping it cancels its calls: the administrator's tool says so.
    _admin: Server,
    // Dropped last: the C core's threads end with it.
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
        let builder = services(shared)
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

/// Which pool a call is for.
#[derive(Clone, Copy)]
enum Lane {
    Work,
    Hash,
}

/// All handlers are those of streaming calls, which on the wire are the same: the C core hands on a fixed number of calls at a
/// time, and where grpcio waits for the message of a unary call before its handler, a thousand calls without one would keep
/// everybody out.
fn services(shared: &Arc<Shared>) -> [Service; 3] {
    // One session is ended without a password.
    let end_lane = |request: &EndSessionsRequest| match request.which.enum_value_or_default() {
        WhichSessions::ONE => Lane::Work,
        _ => Lane::Hash,
    };
    let auth = ServiceBuilder::new()
        .add_client_streaming_handler(
            &methods::REGISTER,
            call(shared, methods::REGISTER.name, |_| Lane::Hash, auth::register),
        )
        .add_client_streaming_handler(&methods::LOGIN, call(shared, methods::LOGIN.name, |_| Lane::Hash, auth::login))
        .add_client_streaming_handler(
            &methods::LOGOUT,
            call(shared, methods::LOGOUT.name, |_| Lane::Work, auth::logout),
        )
        .add_client_streaming_handler(
            &methods::LIST_SESSIONS,
            call(shared, methods::LIST_SESSIONS.name, |_| Lane::Work, auth::list_sessions),
        )
        .add_client_streaming_handler(
            &methods::END_SESSIONS,
            call(shared, methods::END_SESSIONS.name, end_lane, auth::end_sessions),
        )
        .add_client_streaming_handler(
            &methods::CHANGE_PASSWORD,
            call(shared, methods::CHANGE_PASSWORD.name, |_| Lane::Hash, auth::change_password),
        )
        .add_client_streaming_handler(
            &methods::DELETE_ACCOUNT,
            call(shared, methods::DELETE_ACCOUNT.name, |_| Lane::Hash, auth::delete_account),
        );
    // Only the replacement of a factor comes with a password.
    let init_lane =
        |request: &crate::proto::RequestInitOtp| if request.password.is_empty() { Lane::Work } else { Lane::Hash };
    let otp = ServiceBuilder::new()
        .add_client_streaming_handler(
            &methods::INIT_OTP,
            call(shared, methods::INIT_OTP.name, init_lane, otp::init_otp),
        )
        .add_client_streaming_handler(
            &methods::CHECK_OTP,
            call(shared, methods::CHECK_OTP.name, |_| Lane::Work, otp::check_otp),
        )
        .add_client_streaming_handler(
            &methods::NEW_RECOVERY_CODES,
            call(shared, methods::NEW_RECOVERY_CODES.name, |_| Lane::Hash, otp::new_recovery_codes),
        );
    let messaging = ServiceBuilder::new()
        .add_client_streaming_handler(
            &methods::SEND_MESSAGE,
            later(shared, methods::SEND_MESSAGE.name, |_| Lane::Work, messaging::send_message),
        )
        .add_client_streaming_handler(
            &methods::HISTORY,
            call(shared, methods::HISTORY.name, |_| Lane::Work, messaging::history),
        )
        .add_duplex_streaming_handler(&wire::MESSAGE_STREAM, stream(shared, wire::MESSAGE_STREAM.name))
        .add_duplex_streaming_handler(&wire::SUBSCRIBE, stream(shared, wire::SUBSCRIBE.name));
    [auth.build(), otp.build(), messaging.build()]
}

/// A handler whose job opens a stream.
fn stream<Q: Asks>(
    shared: &Arc<Shared>,
    method: &'static str,
) -> impl FnMut(RpcContext<'_>, RequestStream<Q>, DuplexSink<GrpcSlice>) + Send + Clone + 'static {
    let shared = Arc::clone(shared);
    move |ctx, mut requests, sink| {
        let incoming = Incoming::read(&ctx, shared.legacy_clients, &shared.proxies);
        let Some(awaited) = shared.pending.begin(incoming.connection, incoming.header_bytes) else { return };
        let shared = Arc::clone(&shared);
        ctx.spawn(async move {
            let request = match awaited.message::<Q>(&mut requests).await {
                Ok(request) => request,
                Err(Some(status)) => return drop(sink.fail(status).await),
                Err(None) => return,
            };
            let call = shared.call_of(method, &incoming, None);
            let (opening, refusing) = Opening::pair(sink, requests, call);
            let working = Arc::clone(&shared);
            // A full pool drops the job, and with it the opening, which refuses.
            let _ = shared.work.try_run(move || messaging::open_stream(&working, incoming, &request, opening));
            refusing.await;
        });
    }
}

/// Requests that name an account by themselves.
trait Request {
    /// The login as the caller wrote it.
    fn login(&self) -> Option<&str> {
        None
    }
}

macro_rules! names_a_login {
    ($($request:ty),+) => { $( impl Request for $request {
        fn login(&self) -> Option<&str> { Some(&self.login) }
    } )+ };
}
names_a_login!(RegisterRequest, LoginRequest, RequestInitOtp, RequestCheckOtp);

macro_rules! comes_with_a_token {
    ($($request:ty),+) => { $( impl Request for $request {} )+ };
}
comes_with_a_token!(
    LogoutRequest,
    ListSessionsRequest,
    EndSessionsRequest,
    ChangePasswordRequest,
    DeleteAccountRequest,
    NewRecoveryCodesRequest,
    AdminRequest,
    HistoryRequest,
    Message
);

/// A handler whose job gives the answer.
fn call<Q, A>(
    shared: &Arc<Shared>,
    method: &'static str,
    lane: fn(&Q) -> Lane,
    job: fn(&Shared, Incoming, Q) -> Result<A, Error>,
) -> impl FnMut(RpcContext<'_>, RequestStream<Q>, ClientStreamingSink<A>) + Send + Clone + 'static
where
    Q: Request + Send + 'static,
    A: Answer + Send + 'static,
{
    handler(shared, method, lane, move |shared, incoming, request, reply: Reply<A>| {
        // Before the job: it may end the session that the token names.
        let reply = reply.about(|| shared.login_of(&incoming));
        let result = job(shared, incoming, request);
        reply.send(result);
    })
}

/// A handler whose job hands the reply on.
fn later<Q, A>(
    shared: &Arc<Shared>,
    method: &'static str,
    lane: fn(&Q) -> Lane,
    job: fn(&Shared, Incoming, Q, Reply<A>),
) -> impl FnMut(RpcContext<'_>, RequestStream<Q>, ClientStreamingSink<A>) + Send + Clone + 'static
where
    Q: Request + Send + 'static,
    A: Answer + Send + 'static,
{
    handler(shared, method, lane, job)
}

fn handler<Q, A>(
    shared: &Arc<Shared>,
    method: &'static str,
    lane: fn(&Q) -> Lane,
    job: impl Fn(&Shared, Incoming, Q, Reply<A>) + Send + Copy + 'static,
) -> impl FnMut(RpcContext<'_>, RequestStream<Q>, ClientStreamingSink<A>) + Send + Clone + 'static
where
    Q: Request + Send + 'static,
    A: Answer + Send + 'static,
{
    let shared = Arc::clone(shared);
    move |ctx, mut requests, sink| {
        let incoming = Incoming::read(&ctx, shared.legacy_clients, &shared.proxies);
        // Dropping the sink ends the call.
        let Some(awaited) = shared.pending.begin(incoming.connection, incoming.header_bytes) else { return };
        let shared = Arc::clone(&shared);
        ctx.spawn(async move {
            let request = match awaited.message(&mut requests).await {
                Ok(request) => request,
                Err(Some(status)) => return drop(sink.fail(status).await),
                Err(None) => return,
            };
            let (reply, answer) = Reply::pair(shared.call_of(method, &incoming, request.login()));
            let pool = match lane(&request) {
                Lane::Work => &shared.work,
                Lane::Hash => &shared.hash,
            };
            let working = Arc::clone(&shared);
            // A full pool drops the job, and with it the reply, which says so. A panic drops it as well, and it says that.
            let _ = pool.try_run(move || job(&working, incoming, request, reply.started()));
            // The future must be kept until it resolves: dropping it races with the write. An error here means that the
            // caller has gone.
            let _ = match answer.await {
                Ok(response) => sink.success(response).await,
                Err(failure) => sink.fail(failure.status()).await,
            };
            // Dropped before, it would cancel the call.
            drop(requests);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::TokenKey;
    use crate::app::act::Keys;
    use crate::app::throttles::Throttles;
    use crate::clock::{Clock, Time};
    use crate::config::Flags;
    use crate::proto::{LogoutResponse, SendResponse};
    use crate::security::chain::Chain;
    use crate::security::codes::CodeHasher;
    use crate::security::passwords::Passwords;
    use crate::security::secret::SecretBytes;
    use crate::security::tokens::Tokens;
    use crate::security::vault::Vault;
    use crossbeam_channel::bounded;
    use grpcio::{CallOption, Client, RpcStatus, RpcStatusCode as Code};

    const LIMIT: Duration = Duration::from_secs(30);

    /// One worker, and a queue of one.
    fn shared() -> (tempfile::TempDir, Arc<Shared>) {
        let settings = <Flags as clap::Parser>::try_parse_from(["otpchatd"]).unwrap().check().unwrap();
        let (dir, store) = crate::store::testing::store(Box::new(|_| ()));
        let key = SecretBytes::new((0..32).collect());
        let app = Arc::new(App {
            clock: Clock::manual(Time::from_secs(0)),
            limits: settings.app.clone(),
            store,
            sessions: Arc::new(crate::app::sessions::Sessions::new(Box::new(|_| ()))),
            passwords: Passwords::new(settings.password_cost).unwrap(),
            keys: Arc::new(Keys {
                vault: Vault::new(&key).unwrap(),
                codes: CodeHasher::new(&key),
                audit: Chain::new(&key),
            }),
            throttles: Throttles::new(&settings.app.throttles, Clock::manual(Time::from_secs(0))),
            tokens: Tokens::new(&key),
            token_key: TokenKey {
                path: dir.path().join("jwt.key"),
                guard: crate::security::keys::Guard::Mode,
                grace: Duration::ZERO,
                rotating: std::sync::Mutex::default(),
            },
        });
        let shared = Shared {
            app,
            hub: Arc::new(Hub::new(settings.hub, 0)),
            streams: Streams::default(),
            work: Pool::new("test-work", 1, 1).unwrap(),
            hash: Pool::new("test-hash", 1, 1).unwrap(),
            legacy_clients: true,
            pending: Arc::new(Pending::new(100, 16_384, LIMIT)),
            proxies: settings.trusted_proxies,
            limits: settings.rpc,
        };
        (dir, Arc::new(shared))
    }

    fn serve(service: Service) -> (Server, Client) {
        let environment = Arc::new(EnvBuilder::new().cq_count(1).build());
        let mut server = ServerBuilder::new(Arc::clone(&environment)).register_service(service).build().unwrap();
        let port = server.add_listening_port("127.0.0.1:0", ServerCredentials::insecure()).unwrap();
        server.start();
        let channel = ChannelBuilder::new(environment).enable_http_proxy(false).connect(&format!("127.0.0.1:{port}"));
        (server, Client::new(channel))
    }

    fn options() -> CallOption {
        CallOption::default().timeout(LIMIT)
    }

    fn failed<T>(result: grpcio::Result<T>) -> RpcStatus {
        match result {
            Err(grpcio::Error::RpcFailure(status)) => status,
            _ => panic!("the call did not fail with a status"),
        }
    }

    #[test]
    fn a_panic_in_a_job_answers_internal_with_an_incident_and_the_server_lives_on() {
        let (_dir, shared) = shared();
        let service = ServiceBuilder::new()
            .add_client_streaming_handler(
                &methods::LOGOUT,
                call(&shared, methods::LOGOUT.name, |_| Lane::Work, |_, _, _| panic!("on purpose")),
            )
            .add_client_streaming_handler(
                &methods::SEND_MESSAGE,
                call(&shared, methods::SEND_MESSAGE.name, |_| Lane::Work, |_, _, _| Ok(SendResponse::new())),
            )
            .build();
        let (_server, client) = serve(service);
        for _ in 0..3 {
            let status = failed(client.unary_call(&methods::LOGOUT, &LogoutRequest::new(), options()));
            assert_eq!(status.code(), Code::INTERNAL);
            assert!(status.message().contains("incident id") && !status.message().contains("on purpose"));
        }
        client.unary_call(&methods::SEND_MESSAGE, &Message::new(), options()).unwrap();
    }

    #[test]
    fn a_full_queue_answers_unavailable_at_once_and_serves_again_when_there_is_room() {
        let (_dir, shared) = shared();
        let (started, starts) = bounded::<()>(1);
        let (release, blocked) = bounded::<()>(0);
        shared
            .work
            .try_run(move || {
                started.send(()).unwrap();
                let _ = blocked.recv();
            })
            .unwrap();
        starts.recv_timeout(LIMIT).unwrap();
        shared.work.try_run(|| ()).unwrap();
        let service = ServiceBuilder::new()
            .add_client_streaming_handler(
                &methods::LOGOUT,
                call(&shared, methods::LOGOUT.name, |_| Lane::Work, |_, _, _| Ok(LogoutResponse::new())),
            )
            .build();
        let (_server, client) = serve(service);
        let status = failed(client.unary_call(&methods::LOGOUT, &LogoutRequest::new(), options()));
        assert_eq!(status.code(), Code::UNAVAILABLE);
        drop(release);
        let answered =
            (0..1_000).any(|_| client.unary_call(&methods::LOGOUT, &LogoutRequest::new(), options()).is_ok());
        assert!(answered);
    }
}
