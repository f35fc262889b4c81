//! The streams as an ordinary client reads them: through grpcio, whose one thread takes each gRPC message apart.

use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use crossbeam_channel::Sender;
use futures_channel::oneshot;
use futures_util::StreamExt as _;
use futures_util::future::{Either, select};
use grpcio::{
    CallOption, Channel, ChannelBuilder, Client, EnvBuilder, Environment, Error, GrpcSlice, Marshaller, Method,
    MethodType,
};

use crate::BenchError;
use crate::readers::{Listening, State};
use grpc_otp_chat::base::clock::Stopwatch;
use grpc_otp_chat::base::lock::lock;
use grpc_otp_chat::proto::methods::TOKEN_KEY;
use grpc_otp_chat::security::secret::SecretText;

/// Open streams. Dropping it hangs up on all.
pub(super) struct Ordinary {
    _hang_up: Vec<oneshot::Sender<()>>,
    _clients: Vec<Client>,
    /// Dropped last: its thread drives everything above.
    _environment: Arc<Environment>,
}

impl std::fmt::Debug for Ordinary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ordinary").finish_non_exhaustive()
    }
}

impl Ordinary {
    /// Opens the streams; what they bring goes into `state`, and `changed` hears of it.
    ///
    /// # Errors
    /// A call cannot be made.
    pub(super) fn open(
        listening: &Listening,
        state: &Arc<Mutex<State>>,
        changed: &Sender<()>,
        watch: Stopwatch,
    ) -> Result<Ordinary, BenchError> {
        let environment = Arc::new(EnvBuilder::new().cq_count(1).name_prefix("bench-poll").build());
        let method = Method {
            ty: MethodType::ServerStreaming,
            name: listening.kind.method(),
            req_mar: Marshaller {
                ser: |bytes: &Vec<u8>, buffer: &mut GrpcSlice| {
                    *buffer = GrpcSlice::from(bytes.clone());
                    Ok(())
                },
                de: |_| Err(Error::Codec("requests are only written".into())),
            },
            resp_mar: Marshaller {
                ser: |_, _| Err(Error::Codec("answers are only read".into())),
                de: |mut reader| {
                    let mut bytes = Vec::with_capacity(reader.len());
                    reader.read_to_end(&mut bytes).map_err(|error| Error::Codec(error.into()))?;
                    Ok(bytes)
                },
            },
        };
        let machine = |error: &dyn std::fmt::Display| BenchError::Machine(error.to_string());
        let (mut clients, mut hang_up) = (Vec::new(), Vec::new());
        for n in 0..listening.connections {
            let client = Client::new(connect(&environment, listening.address));
            for which in listening.streams_of(n) {
                let token = &listening.tokens[n as usize % listening.tokens.len()];
                let options = options(token.as_ref()).map_err(|error| machine(&error))?;
                let request = listening.kind.request().to_vec();
                let mut stream =
                    client.server_streaming(&method, &request, options).map_err(|error| machine(&error))?;
                let (drop_to_end, mut ended) = oneshot::channel::<()>();
                hang_up.push(drop_to_end);
                let (state, changed, kind) = (Arc::clone(state), changed.clone(), listening.kind);
                client.spawn(async move {
                    while let Either::Left((item, _)) = select(stream.next(), &mut ended).await {
                        let mut state = lock(&state);
                        let before = state.progress();
                        let over = match item {
                            Some(Ok(message)) => {
                                state.take_message(which, kind, &message, watch.elapsed());
                                false
                            }
                            end => {
                                let why = end.and_then(Result::err).map(|error| format!(": {error}"));
                                state.fault(format!("stream {which} was ended{}", why.unwrap_or_default()));
                                true
                            }
                        };
                        if state.progress() != before {
                            let _ = changed.try_send(());
                        }
                        if over {
                            return;
                        }
                    }
                });
            }
            clients.push(client);
        }
        Ok(Ordinary { _hang_up: hang_up, _clients: clients, _environment: environment })
    }
}

fn connect(environment: &Arc<Environment>, address: SocketAddr) -> Channel {
    ChannelBuilder::new(Arc::clone(environment))
        .use_local_subchannel_pool(true)
        .enable_http_proxy(false)
        .connect(&address.to_string())
}

fn options(token: Option<&SecretText>) -> grpcio::Result<CallOption> {
    let mut metadata = grpcio::MetadataBuilder::with_capacity(1);
    if let Some(token) = token {
        metadata.add_str(TOKEN_KEY, token.expose())?;
    }
    Ok(CallOption::default().headers(metadata.build()))
}
