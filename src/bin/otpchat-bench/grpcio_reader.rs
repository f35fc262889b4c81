//! Reads the streams as an ordinary client does: through grpcio, whose one thread decodes each gRPC message.

use std::fmt;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_channel::oneshot;
use futures_util::StreamExt as _;
use futures_util::future::{Either, select};
use grpcio::{
    CallOption, Channel, ChannelBuilder, Client, ClientSStreamReceiver, EnvBuilder, Environment, Error, GrpcSlice,
    Marshaller, Method, MethodType,
};

use crate::deliveries::SharedDeliveries;
use crate::error::BenchError;
use crate::plan::{StreamKind, StreamPlan};
use grpc_otp_chat::base::clock::Stopwatch;
use grpc_otp_chat::proto::methods::TOKEN_KEY;
use grpc_otp_chat::security::secret::SecretText;

/// Open streams. Dropping it closes them.
pub(crate) struct GrpcioReader {
    /// Dropped to end the streams.
    _ends: Vec<oneshot::Sender<()>>,
    _clients: Vec<Client>,
    /// Dropped last: its thread drives everything above.
    _environment: Arc<Environment>,
}

impl fmt::Debug for GrpcioReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcioReader").finish_non_exhaustive()
    }
}

impl GrpcioReader {
    /// Opens the streams.
    ///
    /// # Errors
    /// A call cannot be made.
    pub(crate) fn open(
        plan: &StreamPlan,
        deliveries: &SharedDeliveries,
        watch: Stopwatch,
    ) -> Result<GrpcioReader, BenchError> {
        let environment = Arc::new(EnvBuilder::new().cq_count(1).name_prefix("bench-poll").build());
        let method = raw_method(plan.kind);
        let (mut clients, mut ends) = (Vec::new(), Vec::new());
        for n in 0..plan.connections {
            let client = Client::new(connect(&environment, plan.address));
            for which in plan.streams_of(n) {
                let options = options(plan.token_of(n)).map_err(BenchError::from_machine)?;
                let request = plan.kind.request().to_vec();
                let stream = client.server_streaming(&method, &request, options).map_err(BenchError::from_machine)?;
                let (end, ended) = oneshot::channel();
                ends.push(end);
                client.spawn(read(stream, ended, which, plan.kind, deliveries.clone(), watch));
            }
            clients.push(client);
        }
        Ok(GrpcioReader { _ends: ends, _clients: clients, _environment: environment })
    }
}

/// Reads a stream until it ends, or `ended` is dropped.
async fn read(
    mut stream: ClientSStreamReceiver<Vec<u8>>,
    mut ended: oneshot::Receiver<()>,
    which: usize,
    kind: StreamKind,
    deliveries: SharedDeliveries,
    watch: Stopwatch,
) {
    while let Either::Left((item, _)) = select(stream.next(), &mut ended).await {
        let is_over = deliveries.update(|deliveries| match item {
            Some(Ok(message)) => {
                deliveries.take_message(which, kind, &message, watch.elapsed());
                false
            }
            end => {
                let why = end.and_then(Result::err).map(|error| format!(": {error}"));
                deliveries.fault(format!("stream {which} was ended{}", why.unwrap_or_default()));
                true
            }
        });
        if is_over {
            return;
        }
    }
}

/// The call without encoding and decoding.
fn raw_method(kind: StreamKind) -> Method<Vec<u8>, Vec<u8>> {
    Method {
        ty: MethodType::ServerStreaming,
        name: kind.method(),
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
