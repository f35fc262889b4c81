//! A server in this process with a manual clock, and peers that speak to it over the wire.

use std::collections::VecDeque;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use clap::Parser as _;
use crossbeam_channel::Receiver;
use futures_channel::oneshot;
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use grpc_otp_chat::base::clock::{Clock, Time};
use grpc_otp_chat::config::{Flags, Settings};
use grpc_otp_chat::proto::methods::{self, TOKEN_KEY};
use grpc_otp_chat::proto::{
    Empty, Event, EventBatch, Happened, LoginRequest, LoginResponse, LogoutRequest, Message, RegisterRequest,
    RegisterResponse, RequestCheckOtp, RequestInitOtp, ResponseCheckOtp, ResponseInitOtp, SendResponse, SessionState,
    Start, SubscribeRequest, details,
};
use grpc_otp_chat::security::passwords::Cost;
use grpc_otp_chat::security::secret::SecretBytes;
use grpc_otp_chat::security::throttle::Rate;
use grpc_otp_chat::security::totp;
use grpc_otp_chat::server::{NoProgress, Running, StartError};
use grpc_otp_chat::store::{DirectoryLock, OpenError};
use grpcio::{
    CallOption, ChannelBuilder, ChannelCredentials, Client, CompressionAlgorithms, EnvBuilder, Environment, Error,
    GrpcSlice, Marshaller, MetadataBuilder, Method, MethodType, RpcStatus,
};
use protobuf::Message as _;
use tempfile::TempDir;

use crate::{LIMIT, watch};

pub(crate) const PASSWORD: &str = "correct horse battery";

/// A server, its clock and its directory.
pub(crate) struct TestServer {
    directory: TempDir,
    pub(crate) clock: Clock,
    settings: Settings,
    running: Option<Running>,
    environment: Arc<Environment>,
}

impl TestServer {
    pub(crate) fn open() -> TestServer {
        TestServer::with(|_| ())
    }

    /// A server with other settings.
    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> TestServer {
        TestServer::at(Time::from_secs(2_000_000_010), change)
    }

    /// A server whose clock starts at the present, for tests with programs that read the machine's clock.
    pub(crate) fn now(change: impl FnOnce(&mut Settings)) -> TestServer {
        TestServer::at(Clock::system().now(), change)
    }

    fn at(start: Time, change: impl FnOnce(&mut Settings)) -> TestServer {
        watch::begin();
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().to_str().expect("text");
        let args = ["otpchatd", "--listen", "127.0.0.1:0", "--data-dir", path];
        let mut settings = Flags::try_parse_from(args).expect("flags").check().expect("settings");
        // The cost of a hash does not matter here.
        settings.password_cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };
        // All peers share one address. Tests of the throttles set their own limits.
        let much = Rate { burst: 100_000, refill: Duration::from_millis(1) };
        (settings.app.throttles.passwords, settings.app.throttles.hashes, settings.app.throttles.steps) =
            (much, much, much);
        settings.app.throttles.registrations = much;
        settings.app.throttles.messages = None;
        (settings.rpc.share.calls_per_person, settings.rpc.share.large_calls_per_person) = (0, 0);
        change(&mut settings);
        let clock = Clock::manual(start);
        let running = Running::start(&settings, clock.clone(), &mut NoProgress).expect("a server");
        TestServer { directory, clock, settings, running: Some(running), environment: environment() }
    }

    pub(crate) fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs")
    }

    pub(crate) fn stop(&mut self) {
        self.running.take().expect("it runs").stop(&|| false);
        // A child process of another test holds copies of our open files, the lock included, until it has started its program.
        eventually("the lock is free", || !DirectoryLock::is_taken(self.directory.path()).expect("a lock"));
    }

    pub(crate) fn start_again(&mut self) {
        let start = || Running::start(&self.settings, self.clock.clone(), &mut NoProgress);
        let mut running = start();
        // As in `stop`.
        eventually("the lock is free", || {
            let in_use = matches!(running, Err(StartError::Open(OpenError::InUse { .. })));
            if in_use {
                running = start();
            }
            !in_use
        });
        self.running = Some(running.expect("a server"));
    }

    /// A new connection to the restarted server, with the token of an earlier peer.
    pub(crate) fn again(&self, before: &Peer) -> Peer {
        self.peer().with_token(before.token.as_deref())
    }

    /// Changes the settings of the next start.
    pub(crate) fn change_settings(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
    }

    pub(crate) fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// A peer on a connection of its own.
    pub(crate) fn peer(&self) -> Peer {
        Peer::connect(&self.environment, self.running().port())
    }

    /// A code of a secret, `steps` steps from now.
    pub(crate) fn code(&self, secret: &SecretBytes, steps: i64) -> String {
        totp::code_at(secret, self.clock.now().as_secs() / 30 + steps).as_str().to_owned()
    }

    /// A new account with a confirmed second factor, logged in. The clock moves on one step, so that its next code is fresh.
    pub(crate) fn member(&self, login: &str) -> Member {
        let mut peer = self.peer();
        assert!(peer.register(login, PASSWORD).success);
        let opened = peer.log_in(login, PASSWORD, "");
        assert_eq!(opened.state.enum_value(), Ok(SessionState::NEEDS_ENROLMENT));
        peer.token = Some(opened.token);
        let secret = secret_of(&peer.init_otp(login, "", "").secret);
        let checked = peer.check_otp(login, &self.code(&secret, 0));
        assert!(checked.valid, "{}", checked.error);
        peer.token = Some(checked.token);
        self.next_step();
        Member { login: login.to_owned(), secret, recovery_codes: checked.recovery_codes, peer }
    }

    /// Another session of a member, on a connection of its own.
    pub(crate) fn another_session(&self, member: &Member) -> Peer {
        let mut peer = self.peer();
        let opened = peer.log_in(&member.login, PASSWORD, &self.code(&member.secret, 0));
        assert!(opened.success, "{}", opened.error);
        peer.token = Some(opened.token);
        self.next_step();
        peer
    }

    pub(crate) fn next_step(&self) {
        self.clock.advance(Duration::from_secs(30));
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop(&|| true);
        }
        if !std::thread::panicking() {
            assert_eq!(watch::faults(), Vec::<String>::new());
        }
    }
}

pub(crate) struct Member {
    pub(crate) login: String,
    pub(crate) secret: SecretBytes,
    pub(crate) recovery_codes: Vec<String>,
    pub(crate) peer: Peer,
}

/// The secret in an `otpauth://` URI.
pub(crate) fn secret_of(uri: &str) -> SecretBytes {
    assert!(uri.starts_with("otpauth://totp/"), "{uri}");
    totp::secret_in_uri(uri).and_then(totp::secret_from_base32).expect("a secret in base32")
}

/// A client on a connection, with or without a token.
#[derive(Clone)]
pub(crate) struct Peer {
    client: Client,
    pub(crate) token: Option<String>,
    more_metadata: Vec<(String, Vec<u8>)>,
}

fn channel_builder(environment: &Arc<Environment>) -> ChannelBuilder {
    ChannelBuilder::new(Arc::clone(environment)).use_local_subchannel_pool(true).enable_http_proxy(false)
}

/// The gRPC environment of connections.
pub(crate) fn environment() -> Arc<Environment> {
    Arc::new(EnvBuilder::new().cq_count(1).name_prefix("test-grpc-").build())
}

impl Peer {
    /// A new connection to a port of this machine.
    pub(crate) fn connect(environment: &Arc<Environment>, port: u16) -> Peer {
        Peer::over(channel_builder(environment), port)
    }

    /// A new connection that compresses its requests.
    pub(crate) fn compressing(server: &TestServer) -> Peer {
        let gzip = CompressionAlgorithms::GRPC_COMPRESS_GZIP;
        let builder = channel_builder(&server.environment).default_compression_algorithm(gzip);
        Peer::over(builder, server.running().port())
    }

    fn over(builder: ChannelBuilder, port: u16) -> Peer {
        let channel = builder.connect(&format!("127.0.0.1:{port}"));
        Peer { client: Client::new(channel), token: None, more_metadata: Vec::new() }
    }

    /// A new connection by TLS to a port of this machine.
    pub(crate) fn connect_by_tls(environment: &Arc<Environment>, port: u16, credentials: ChannelCredentials) -> Peer {
        Peer::over(channel_builder(environment).set_credentials(credentials), port)
    }

    /// Sends raw bytes to a method, and returns the status of the answer; `None` if the call succeeded.
    pub(crate) fn send_raw(&self, method: &'static str, body: Vec<u8>) -> Option<RpcStatus> {
        let raw = Method {
            ty: MethodType::Unary,
            name: method,
            req_mar: Marshaller { ser: ser_raw, de: |_| unreachable!("requests are only written") },
            resp_mar: Marshaller { ser: ser_raw, de: |_| Ok(Vec::new()) },
        };
        self.client.unary_call(&raw, &body, self.options()).err().map(status)
    }

    fn options(&self) -> CallOption {
        let mut headers = MetadataBuilder::new();
        if let Some(token) = &self.token {
            headers.add_str(TOKEN_KEY, token).expect("a header");
        }
        for (key, value) in &self.more_metadata {
            // A key or value that grpcio refuses altogether is left out.
            if headers.add_bytes(key, value).is_err() {
                let _ = headers.add_str(key, &String::from_utf8_lossy(value));
            }
        }
        CallOption::default().timeout(LIMIT).headers(headers.build())
    }

    pub(crate) fn with_token(&self, token: Option<&str>) -> Peer {
        Peer { client: self.client.clone(), token: token.map(str::to_owned), more_metadata: Vec::new() }
    }

    /// The same peer with more metadata, such as further tokens.
    pub(crate) fn with_metadata(&self, more: &[(&str, &[u8])]) -> Peer {
        let more_metadata = more.iter().map(|(key, value)| ((*key).to_owned(), value.to_vec())).collect();
        Peer { more_metadata, ..self.clone() }
    }

    pub(crate) fn register(&self, login: &str, password: &str) -> RegisterResponse {
        let request = RegisterRequest { login: login.into(), password: password.into(), ..Default::default() };
        self.client.unary_call(&methods::REGISTER, &request, self.options()).expect("refusals come in the response")
    }

    pub(crate) fn log_in(&self, login: &str, password: &str, otp: &str) -> LoginResponse {
        let request =
            LoginRequest { login: login.into(), password: password.into(), otp: otp.into(), ..Default::default() };
        self.client.unary_call(&methods::LOGIN, &request, self.options()).expect("refusals come in the response")
    }

    pub(crate) fn init_otp(&self, login: &str, password: &str, otp: &str) -> ResponseInitOtp {
        let request =
            RequestInitOtp { login: login.into(), password: password.into(), otp: otp.into(), ..Default::default() };
        self.client.unary_call(&methods::INIT_OTP, &request, self.options()).expect("refusals come in the response")
    }

    pub(crate) fn check_otp(&self, login: &str, otp: &str) -> ResponseCheckOtp {
        let request = RequestCheckOtp { login: login.into(), otp: otp.into(), ..Default::default() };
        self.client.unary_call(&methods::CHECK_OTP, &request, self.options()).expect("refusals come in the response")
    }

    /// Makes a call whose refusals are statuses.
    pub(crate) fn call<Q, A: Unpin>(&self, method: &Method<Q, A>, request: &Q) -> Result<A, RpcStatus> {
        self.client.unary_call(method, request, self.options()).map_err(status)
    }

    /// Makes a login with any fields.
    pub(crate) fn log_in_with(&self, request: &LoginRequest) -> LoginResponse {
        self.client.unary_call(&methods::LOGIN, request, self.options()).expect("refusals come in the response")
    }

    /// Makes a login with a recovery code, or the administrator's enrolment code.
    pub(crate) fn recover(&self, login: &str, recovery_code: &str) -> LoginResponse {
        self.log_in_with(&LoginRequest {
            login: login.into(),
            password: PASSWORD.into(),
            recovery_code: recovery_code.into(),
            ..Default::default()
        })
    }

    pub(crate) fn log_out(&self) -> Result<(), RpcStatus> {
        self.client.unary_call(&methods::LOGOUT, &LogoutRequest::new(), self.options()).map(|_| ()).map_err(status)
    }

    pub(crate) fn send(&self, text: &str) -> Result<SendResponse, RpcStatus> {
        self.send_as("", text)
    }

    pub(crate) fn send_as(&self, author: &str, text: &str) -> Result<SendResponse, RpcStatus> {
        let message = Message { author: author.into(), text: text.into(), ..Default::default() };
        self.client.unary_call(&methods::SEND_MESSAGE, &message, self.options()).map_err(status)
    }

    /// Opens a message stream; its messages and its end arrive through a channel. Dropping it closes it.
    pub(crate) fn stream(&self) -> MessageStream {
        let (items, end) = self.read(&methods::MESSAGE_STREAM, &Empty::new());
        MessageStream { items, _end: end }
    }

    /// Opens a stream; its messages and its end arrive through a channel. Dropping the other part closes it.
    fn read<Q, A: Send + Unpin + 'static>(
        &self,
        method: &Method<Q, A>,
        request: &Q,
    ) -> (Receiver<Result<A, RpcStatus>>, oneshot::Sender<()>) {
        let (sender, items) = crossbeam_channel::unbounded();
        let (end, mut ended) = oneshot::channel();
        let options = self.options().timeout(LIMIT * 10);
        let mut stream = self.client.server_streaming(method, request, options).expect("a call");
        self.client.spawn(async move {
            while let Either::Left((Some(item), _)) = select(stream.next(), &mut ended).await {
                let over = item.is_err();
                if sender.send(item.map_err(status)).is_err() || over {
                    return;
                }
            }
        });
        (items, end)
    }

    /// Subscribes to events.
    pub(crate) fn subscribe(&self, start: Option<Start>) -> Events {
        let request = SubscribeRequest { start, ..Default::default() };
        let (batches, end) = self.read(&methods::SUBSCRIBE, &request);
        Events { batches, ready: VecDeque::new(), _end: end }
    }

    /// Subscribes, and reads nothing until it is dropped.
    pub(crate) fn unread_subscription(&self) -> impl Sized + use<> {
        let options = self.options().timeout(LIMIT * 10);
        self.client.server_streaming(&methods::SUBSCRIBE, &SubscribeRequest::new(), options).expect("a call")
    }

    /// Opens a message stream, and reads nothing until it is dropped.
    pub(crate) fn unread_stream(&self) -> impl Sized + use<> {
        self.client
            .server_streaming(&methods::MESSAGE_STREAM, &Empty::new(), self.options().timeout(LIMIT * 10))
            .expect("a call")
    }
}

/// Events of a subscription, one by one.
pub(crate) struct Events {
    batches: Receiver<Result<EventBatch, RpcStatus>>,
    ready: VecDeque<Event>,
    _end: oneshot::Sender<()>,
}

impl Events {
    /// The next event with its cursor, or how it ended.
    pub(crate) fn try_next(&mut self) -> Result<(u64, Happened), RpcStatus> {
        while self.ready.is_empty() {
            self.ready.extend(self.batches.recv_timeout(LIMIT).expect("within the limit")?.events);
        }
        let event = self.ready.pop_front().expect("one");
        Ok((event.cursor, event.event.expect("something happened")))
    }

    pub(crate) fn next(&mut self) -> (u64, Happened) {
        self.try_next().expect("an event")
    }

    /// How it ended, without another event.
    pub(crate) fn end(&mut self) -> RpcStatus {
        self.try_next().expect_err("an end")
    }
}

/// The messages of an open stream.
pub(crate) struct MessageStream {
    items: Receiver<Result<Message, RpcStatus>>,
    _end: oneshot::Sender<()>,
}

impl std::ops::Deref for MessageStream {
    type Target = Receiver<Result<Message, RpcStatus>>;
    fn deref(&self) -> &Self::Target {
        &self.items
    }
}

#[allow(clippy::ptr_arg, reason = "the shape that grpcio asks for")]
fn ser_raw(bytes: &Vec<u8>, buffer: &mut GrpcSlice) -> grpcio::Result<()> {
    *buffer = GrpcSlice::from(bytes.clone());
    Ok(())
}

fn status(error: Error) -> RpcStatus {
    match error {
        Error::RpcFailure(status) | Error::RpcFinished(Some(status)) => status,
        other => panic!("the call did not fail with a status: {other}"),
    }
}

/// The reason in a status's details.
pub(crate) fn reason(status: &RpcStatus) -> String {
    let parsed = details::Status::parse_from_bytes(status.details()).expect("google.rpc.Status");
    let info: details::ErrorInfo =
        parsed.details.first().expect("details").unpack().expect("readable").expect("ErrorInfo");
    assert_eq!(info.domain, "grpc-otp-chat");
    info.reason
}

/// Runs closures at the same moment, each on a thread of its own. Returns their results in order.
pub(crate) fn at_once<T: Send>(acts: impl IntoIterator<Item = impl FnOnce() -> T + Send>) -> Vec<T> {
    let acts: Vec<_> = acts.into_iter().collect();
    let start = Barrier::new(acts.len());
    std::thread::scope(|scope| {
        let start = &start;
        let begun: Vec<_> = acts
            .into_iter()
            .map(|act| {
                scope.spawn(move || {
                    start.wait();
                    act()
                })
            })
            .collect();
        begun.into_iter().map(|act| act.join().expect("no panic")).collect()
    })
}

/// Waits until a condition holds, and looks every 10 ms.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let (_never, tick) = crossbeam_channel::bounded::<()>(0);
    let rounds = LIMIT.as_millis() / 10;
    for _ in 0..rounds {
        if is_so() {
            return;
        }
        let _ = tick.recv_timeout(Duration::from_millis(10));
    }
    panic!("not within {LIMIT:?}: {what}");
}

/// Waits until the server has `count` open streams.
pub(crate) fn open_streams(server: &TestServer, count: usize) {
    eventually(&format!("{count} open streams"), || server.running().streams() == count);
}
