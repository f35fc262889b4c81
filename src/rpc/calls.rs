//! The calls: which there are, who works on them, and how a handler on the poll thread hands them on.

use std::sync::Arc;

use grpcio::{ClientStreamingSink, DuplexSink, GrpcSlice, Method, RequestStream, RpcContext, Service, ServiceBuilder};

use super::caller::Incoming;
use super::messaging::{Asks, Opening};
use super::reply::{Answer, Reply};
use super::{Shared, auth, messaging, otp, wire};
use crate::app::refusal::Error;
use crate::proto::admin::AdminRequest;
use crate::proto::methods;
use crate::proto::{
    ChangePasswordRequest, DeleteAccountRequest, EndSessionsRequest, HistoryRequest, ListSessionsRequest, LoginRequest,
    LogoutRequest, Message, NewRecoveryCodesRequest, RegisterRequest, RequestCheckOtp, RequestInitOtp, WhichSessions,
};

/// Which pool a call is for.
#[derive(Clone, Copy)]
pub(super) enum Lane {
    Work,
    Hash,
}

/// The calls that the network can make.
pub(super) fn services(shared: &Arc<Shared>) -> [Service; 3] {
    let auth = Calls::of(shared)
        .answered(&methods::REGISTER, |_| Lane::Hash, auth::register)
        .answered(&methods::LOGIN, |_| Lane::Hash, auth::login)
        .answered(&methods::LOGOUT, |_| Lane::Work, auth::logout)
        .answered(&methods::LIST_SESSIONS, |_| Lane::Work, auth::list_sessions)
        .answered(&methods::END_SESSIONS, end_lane, auth::end_sessions)
        .answered(&methods::CHANGE_PASSWORD, |_| Lane::Hash, auth::change_password)
        .answered(&methods::DELETE_ACCOUNT, |_| Lane::Hash, auth::delete_account);
    let otp = Calls::of(shared)
        .answered(&methods::INIT_OTP, init_lane, otp::init_otp)
        .answered(&methods::CHECK_OTP, |_| Lane::Work, otp::check_otp)
        .answered(&methods::NEW_RECOVERY_CODES, |_| Lane::Hash, otp::new_recovery_codes);
    let messaging = Calls::of(shared)
        .answered_later(&methods::SEND_MESSAGE, |_| Lane::Work, messaging::send_message)
        .answered(&methods::HISTORY, |_| Lane::Work, messaging::history)
        .streamed(&wire::MESSAGE_STREAM)
        .streamed(&wire::SUBSCRIBE);
    [auth.done(), otp.done(), messaging.done()]
}

/// One session is ended without a password.
fn end_lane(request: &EndSessionsRequest) -> Lane {
    match request.which.enum_value_or_default() {
        WhichSessions::ONE => Lane::Work,
        _ => Lane::Hash,
    }
}

/// Only the replacement of a factor comes with a password.
fn init_lane(request: &RequestInitOtp) -> Lane {
    if request.password.is_empty() { Lane::Work } else { Lane::Hash }
}

/// The calls of a service.
///
/// All handlers are those of streaming calls, which on the wire are the same: the C core hands on a fixed number of calls at a
/// time, and where grpcio waits for the message of a unary call before its handler, a thousand calls without one would keep
/// everybody out.
pub(super) struct Calls<'s> {
    shared: &'s Arc<Shared>,
    service: ServiceBuilder,
}

impl<'s> Calls<'s> {
    pub(super) fn of(shared: &'s Arc<Shared>) -> Calls<'s> {
        Calls { shared, service: ServiceBuilder::new() }
    }

    pub(super) fn done(self) -> Service {
        self.service.build()
    }

    /// A call whose job gives the answer.
    pub(super) fn answered<Q, A>(
        mut self,
        method: &'static Method<Q, A>,
        lane: fn(&Q) -> Lane,
        job: fn(&Shared, Incoming, Q) -> Result<A, Error>,
    ) -> Self
    where
        Q: Request + Send + 'static,
        A: Answer + Send + 'static,
    {
        let job = move |shared: &Shared, incoming: Incoming, request: Q, reply: Reply<A>| {
            // Before the job: it may end the session that the token names.
            let reply = reply.about(|| shared.login_of(&incoming));
            let result = job(shared, incoming, request);
            reply.send(result);
        };
        self.service = self.service.add_client_streaming_handler(method, handler(self.shared, method.name, lane, job));
        self
    }

    /// A call whose job hands the reply on.
    fn answered_later<Q, A>(
        mut self,
        method: &'static Method<Q, A>,
        lane: fn(&Q) -> Lane,
        job: fn(&Shared, Incoming, Q, Reply<A>),
    ) -> Self
    where
        Q: Request + Send + 'static,
        A: Answer + Send + 'static,
    {
        self.service = self.service.add_client_streaming_handler(method, handler(self.shared, method.name, lane, job));
        self
    }

    /// A call whose job opens a stream.
    fn streamed<Q: Asks>(mut self, method: &'static Method<Q, GrpcSlice>) -> Self {
        self.service = self.service.add_duplex_streaming_handler(method, stream(self.shared, method.name));
        self
    }
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

/// Requests that may name an account by themselves.
pub(super) trait Request {
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

/// A handler whose job fills a reply.
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
    use std::time::Duration;

    use super::*;
    use crate::app::audit_context::Keys;
    use crate::app::throttles::Throttles;
    use crate::app::{App, TokenKey};
    use crate::base::clock::{Clock, Time};
    use crate::base::threads::Pool;
    use crate::config::Flags;
    use crate::hub::Hub;
    use crate::proto::{LogoutResponse, SendResponse};
    use crate::rpc::edge::pending::Pending;
    use crate::rpc::stream::Streams;
    use crate::security::chain::Chain;
    use crate::security::codes::CodeHasher;
    use crate::security::passwords::Passwords;
    use crate::security::secret::SecretBytes;
    use crate::security::tokens::Tokens;
    use crate::security::vault::Vault;
    use crossbeam_channel::bounded;
    use grpcio::{
        CallOption, ChannelBuilder, Client, EnvBuilder, RpcStatus, RpcStatusCode as Code, Server, ServerBuilder,
        ServerCredentials,
    };

    const LIMIT: Duration = Duration::from_secs(30);

    /// One worker, and a queue of one.
    fn shared() -> (tempfile::TempDir, Arc<Shared>) {
        let settings = <Flags as clap::Parser>::try_parse_from(["otpchatd"]).unwrap().check().unwrap();
        let (dir, store) = crate::store::testing::store();
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
            hub: Arc::new(Hub::new(settings.hub, crate::model::ids::Cursor::START)),
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
        let service = Calls::of(&shared)
            .answered(&methods::LOGOUT, |_| Lane::Work, |_, _, _| panic!("on purpose"))
            .answered(&methods::SEND_MESSAGE, |_| Lane::Work, |_, _, _| Ok(SendResponse::new()))
            .done();
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
        let service =
            Calls::of(&shared).answered(&methods::LOGOUT, |_| Lane::Work, |_, _, _| Ok(LogoutResponse::new())).done();
        let (_server, client) = serve(service);
        let status = failed(client.unary_call(&methods::LOGOUT, &LogoutRequest::new(), options()));
        assert_eq!(status.code(), Code::UNAVAILABLE);
        drop(release);
        let answered =
            (0..1_000).any(|_| client.unary_call(&methods::LOGOUT, &LogoutRequest::new(), options()).is_ok());
        assert!(answered);
    }
}
