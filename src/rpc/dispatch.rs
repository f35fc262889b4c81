//! How a call gets from the poll thread to its handler and back.
//!
//! All calls are taken as streams of one message, which on the wire are the same: the C core hands on a fixed number of calls
//! at a time, and grpcio waits for the message of a unary call before it calls the handler. A thousand calls without a
//! message would then keep every other call out.

use std::sync::Arc;

use grpcio::{ClientStreamingSink, DuplexSink, GrpcSlice, Method, RequestStream, RpcContext, Service, ServiceBuilder};
use protobuf::Message;

use super::caller::Incoming;
use super::fair_share::{Cost, Owner};
use super::opening::{Opening, StreamRequest, open_stream};
use super::reply::{RefusesInResponse, Reply};
use super::shared::Shared;
use super::status::Failure;
use crate::app::refusal::Error;
use crate::base::fair_pool::FairPool;

/// Which pool works on a call, and what the call costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// The workers.
    Work,
    /// The workers, for a large answer.
    Large,
    /// The hashers: the call hashes a password.
    Hash,
    /// The administrator's own workers.
    Administrator,
}

impl Lane {
    /// Always the workers.
    pub(super) fn work<Q>(_: &Q) -> Lane {
        Lane::Work
    }

    /// Always the workers, for a large answer.
    pub(super) fn large<Q>(_: &Q) -> Lane {
        Lane::Large
    }

    /// Always the administrator's workers.
    pub(super) fn administrator<Q>(_: &Q) -> Lane {
        Lane::Administrator
    }

    fn cost(self) -> Cost {
        match self {
            Lane::Large => Cost::Large,
            Lane::Work | Lane::Hash | Lane::Administrator => Cost::Small,
        }
    }

    fn pool(self, shared: &Shared) -> &FairPool<Owner> {
        match self {
            Lane::Work | Lane::Large => &shared.work,
            Lane::Hash => &shared.hash,
            Lane::Administrator => &shared.administrator,
        }
    }

    fn owner(self, shared: &Shared, incoming: &Incoming) -> Owner {
        match self {
            Lane::Administrator => Owner::Administrator,
            Lane::Work | Lane::Large | Lane::Hash => shared.fair_share.owner(incoming),
        }
    }

    /// Always the hashers.
    pub(super) fn hash<Q>(_: &Q) -> Lane {
        Lane::Hash
    }
}

/// Adds the call to a service.
type Register = Box<dyn FnOnce(ServiceBuilder, &Arc<Shared>) -> ServiceBuilder>;

/// A row of the table of calls.
pub(super) struct CallRow {
    method: &'static str,
    register: Register,
}

impl CallRow {
    /// The path of the method.
    pub(super) fn method(&self) -> &'static str {
        self.method
    }
}

/// The service that serves these rows.
pub(super) fn service(rows: Vec<CallRow>, shared: &Arc<Shared>) -> Service {
    let register = |builder, row: CallRow| {
        log::trace!("serving {}", row.method());
        (row.register)(builder, shared)
    };
    rows.into_iter().fold(ServiceBuilder::new(), register).build()
}

/// What a row says of its call beside the handler.
struct Shape<Q, A> {
    lane: fn(&Q) -> Lane,
    /// The login that the request names, where it names one.
    login: Option<fn(&Q) -> &str>,
    /// The response that carries a refusal; without it the call fails with a status.
    refusing: Option<fn(&Failure) -> A>,
}

/// A call that fails with a status.
pub(super) fn call<Q: Message, A: Message>(
    method: &'static Method<Q, A>,
    lane: fn(&Q) -> Lane,
    handler: fn(&Shared, Incoming, Q) -> Result<A, Error>,
) -> CallRow {
    unary(method, Shape { lane, login: None, refusing: None }, answering(handler))
}

/// A call with a handler that hands the reply on: another thread answers it later.
pub(super) fn deferred<Q: Message, A: Message>(
    method: &'static Method<Q, A>,
    lane: fn(&Q) -> Lane,
    handler: fn(&Shared, Incoming, Q, Reply<A>),
) -> CallRow {
    unary(method, Shape { lane, login: None, refusing: None }, handler)
}

/// A call of the predecessor: its request names a login, and its response carries refusals.
pub(super) fn frozen<Q: Message, A: Message + RefusesInResponse>(
    method: &'static Method<Q, A>,
    lane: fn(&Q) -> Lane,
    login: fn(&Q) -> &str,
    handler: fn(&Shared, Incoming, Q) -> Result<A, Error>,
) -> CallRow {
    unary(method, Shape { lane, login: Some(login), refusing: Some(A::refusing) }, answering(handler))
}

/// A call that opens a stream.
pub(super) fn stream<Q: StreamRequest>(method: &'static Method<Q, GrpcSlice>) -> CallRow {
    let register = |builder: ServiceBuilder, shared: &Arc<Shared>| {
        builder.add_duplex_streaming_handler(method, streaming_handler(shared, method.name))
    };
    CallRow { method: method.name, register: Box::new(register) }
}

fn unary<Q: Message, A: Message>(
    method: &'static Method<Q, A>,
    shape: Shape<Q, A>,
    job: impl HandlerJob<Q, A>,
) -> CallRow {
    let register = move |builder: ServiceBuilder, shared: &Arc<Shared>| {
        builder.add_client_streaming_handler(method, unary_handler(shared, method.name, shape, job))
    };
    CallRow { method: method.name, register: Box::new(register) }
}

/// What a worker does for a call: it fills the reply, or hands it on.
trait HandlerJob<Q, A>: Fn(&Shared, Incoming, Q, Reply<A>) + Send + Copy + 'static {}

impl<Q, A, F: Fn(&Shared, Incoming, Q, Reply<A>) + Send + Copy + 'static> HandlerJob<Q, A> for F {}

/// The job of a handler that returns the answer.
fn answering<Q: Message, A: Message>(handler: fn(&Shared, Incoming, Q) -> Result<A, Error>) -> impl HandlerJob<Q, A> {
    move |shared: &Shared, incoming: Incoming, request: Q, reply: Reply<A>| {
        // Before the handler runs: it may end the session that the token names.
        let reply = reply.about(|| shared.login_of(&incoming));
        let result = handler(shared, incoming, request);
        reply.send(result);
    }
}

/// The poll thread's side of a call with one answer.
fn unary_handler<Q: Message, A: Message>(
    shared: &Arc<Shared>,
    method: &'static str,
    shape: Shape<Q, A>,
    job: impl HandlerJob<Q, A>,
) -> impl FnMut(RpcContext<'_>, RequestStream<Q>, ClientStreamingSink<A>) + Send + Clone + 'static {
    let Shape { lane, login, refusing } = shape;
    let shared = Arc::clone(shared);
    move |ctx, mut requests, sink| {
        let incoming = Incoming::read(&ctx, shared.legacy_clients, &shared.proxies);
        // Dropping the sink ends the call.
        let Some(pending) = shared.pending.begin(incoming.connection, incoming.header_bytes) else { return };
        let shared = Arc::clone(&shared);
        ctx.spawn(async move {
            let request = match pending.message(&mut requests).await {
                Ok(request) => request,
                Err(Some(status)) => return drop(sink.fail(status).await),
                Err(None) => return,
            };
            let account = login.map(|login| login(&request));
            let context = shared.context(method, &incoming, account);
            let unread = context.clone();
            let (reply, answer) = Reply::pair(context, refusing);
            let lane = lane(&request);
            let owner = lane.owner(&shared, &incoming);
            let mut place = match shared.fair_share.begin(owner, lane.cost()) {
                Ok(place) => place,
                Err(refusal) => {
                    reply.send(Err(refusal.into()));
                    return answer_without_a_place(answer, sink, requests).await;
                }
            };
            let working = Arc::clone(&shared);
            // A full pool drops the job, and with it the reply, which then says so. So does a panic, and it says that.
            let _ = lane.pool(&shared).try_run(owner, move || {
                working.learn_owner(&incoming, owner);
                job(&working, incoming, request, reply.started());
            });
            let answer = answer.await;
            let bytes =
                answer.as_ref().map_or(0, |response| usize::try_from(response.compute_size()).unwrap_or(usize::MAX));
            // The future of a write must be kept until it resolves: dropping it races with the write. An error means that the
            // caller is gone.
            let _ = match (answer, place.hold(bytes)) {
                (Ok(response), Ok(())) => place.written(sink.success(response)).await,
                (Ok(_), Err(refusal)) => {
                    place.written(sink.fail(Failure::from_error(&refusal.into(), &unread).status())).await
                }
                (Err(failure), _) => place.written(sink.fail(failure.status())).await,
            };
            // Dropped before, it would cancel the call. Now it cancels a call whose answer was not read.
            drop(requests);
        });
    }
}

/// Answers a call that was refused before it had a place: a refusal is short, and its caller is not waited for.
async fn answer_without_a_place<Q, A: Message>(
    answer: impl Future<Output = Result<A, Failure>>,
    sink: ClientStreamingSink<A>,
    requests: RequestStream<Q>,
) {
    let _ = match answer.await {
        Ok(refusing) => sink.success(refusing).await,
        Err(failure) => sink.fail(failure.status()).await,
    };
    drop(requests);
}

/// The poll thread's side of a call that opens a stream.
fn streaming_handler<Q: StreamRequest>(
    shared: &Arc<Shared>,
    method: &'static str,
) -> impl FnMut(RpcContext<'_>, RequestStream<Q>, DuplexSink<GrpcSlice>) + Send + Clone + 'static {
    let shared = Arc::clone(shared);
    move |ctx, mut requests, sink| {
        let incoming = Incoming::read(&ctx, shared.legacy_clients, &shared.proxies);
        let Some(pending) = shared.pending.begin(incoming.connection, incoming.header_bytes) else { return };
        let shared = Arc::clone(&shared);
        ctx.spawn(async move {
            let request = match pending.message::<Q>(&mut requests).await {
                Ok(request) => request,
                Err(Some(status)) => return drop(sink.fail(status).await),
                Err(None) => return,
            };
            let (opening, refusing) = Opening::pair(sink, requests, shared.context(method, &incoming, None));
            let owner = Lane::Large.owner(&shared, &incoming);
            match shared.fair_share.begin(owner, Cost::Large) {
                Ok(place) => {
                    let working = Arc::clone(&shared);
                    // A full pool drops the job, and with it the opening, which refuses.
                    let _ = shared.work.try_run(owner, move || {
                        working.learn_owner(&incoming, owner);
                        open_stream(&working, incoming, &request, opening);
                        // An open stream is bounded by itself.
                        drop(place);
                    });
                }
                Err(refusal) => opening.refuse(refusal.into()),
            }
            refusing.await;
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crossbeam_channel::bounded;
    use grpcio::{
        CallOption, ChannelBuilder, Client, EnvBuilder, RpcStatus, RpcStatusCode as Code, Server, ServerBuilder,
        ServerCredentials,
    };

    use super::*;
    use crate::proto::methods::{LOGOUT, SEND_MESSAGE};
    use crate::proto::{LogoutRequest, LogoutResponse, Message as ChatMessage, SendResponse};
    use crate::rpc::shared::testing::shared;

    const LIMIT: Duration = Duration::from_secs(30);

    fn serve(rows: Vec<CallRow>, shared: &Arc<Shared>) -> (Server, Client) {
        let environment = Arc::new(EnvBuilder::new().cq_count(1).build());
        let service = service(rows, shared);
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
        let rows = vec![
            call(&LOGOUT, Lane::work, |_, _, _| panic!("on purpose")),
            call(&SEND_MESSAGE, Lane::work, |_, _, _| Ok(SendResponse::new())),
        ];
        let (_server, client) = serve(rows, &shared);
        for _ in 0..3 {
            let status = failed(client.unary_call(&LOGOUT, &LogoutRequest::new(), options()));
            assert_eq!(status.code(), Code::INTERNAL);
            assert!(status.message().contains("incident id") && !status.message().contains("on purpose"));
        }
        client.unary_call(&SEND_MESSAGE, &ChatMessage::new(), options()).unwrap();
    }

    #[test]
    fn a_full_queue_answers_unavailable_at_once_and_serves_again_when_there_is_room() {
        let (_dir, shared) = shared();
        let (started, starts) = bounded::<()>(1);
        let (release, blocked) = bounded::<()>(0);
        shared
            .work
            .try_run(Owner::Administrator, move || {
                started.send(()).unwrap();
                let _ = blocked.recv();
            })
            .unwrap();
        starts.recv_timeout(LIMIT).unwrap();
        shared.work.try_run(Owner::Administrator, || ()).unwrap();
        let (_server, client) = serve(vec![call(&LOGOUT, Lane::work, |_, _, _| Ok(LogoutResponse::new()))], &shared);
        let status = failed(client.unary_call(&LOGOUT, &LogoutRequest::new(), options()));
        assert_eq!(status.code(), Code::UNAVAILABLE);
        drop(release);
        let answered = (0..1_000).any(|_| client.unary_call(&LOGOUT, &LogoutRequest::new(), options()).is_ok());
        assert!(answered);
    }
}
