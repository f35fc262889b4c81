//! One connection to a server, and the calls over it. Every call blocks its thread and has a deadline.

mod account;
pub mod room;

use std::ffi::CString;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use grpcio::{
    CallOption, Channel, ChannelBuilder, Client, ConnectivityState, Deadline, EnvBuilder, Environment, MetadataBuilder,
    Method,
};

use crate::NAME;
use crate::base::clock::Time;
use crate::base::wait::{Alarm, Waited, wait};
use crate::client::endpoint::{Endpoint, ServerName};
use crate::client::error::{CallError, ServerRefusal};
use crate::client::server_clock::ServerClock;
use crate::client::tls::{self, Tls};
use crate::proto::Timestamp;
use crate::proto::methods::{CLIENT_KEY, TOKEN_KEY};
use crate::proto::time_of;
use crate::security::secret::SecretText;

/// How long a call waits for a connection before it reports that there is none.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// The same for a message. It is shorter because a message can be sent again, and its author waits without a prompt.
const SEND_CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Deadline of the calls that hash a password: the server may queue them.
const PASSWORD_LIMIT: Duration = Duration::from_secs(30);
/// Deadline of every other call.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// Interval of keepalive pings on a quiet connection; the server allows one every 10 s.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// A ping that is not answered within this time means that the connection is lost.
const KEEPALIVE_LIMIT: Duration = Duration::from_secs(10);
/// Pauses of the C core between attempts to connect: short, because a person waits.
const CORE_FIRST_PAUSE: Duration = Duration::from_millis(250);
const CORE_LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// No answer of this protocol is longer, whatever the server's settings: a batch of events has at most 1 MiB and one message,
/// and a page of the history at most [`room::PAGE`] messages.
const MAX_ANSWER_BYTES: i32 = 8 * 1024 * 1024;

/// A connection to one server. It connects at its first use, and again whenever it was lost.
pub struct Link {
    client: Client,
    endpoint: Endpoint,
    tls: Option<Tls>,
    clock: Arc<ServerClock>,
    /// Dropped last: its threads drive all the fields above.
    _env: Arc<Environment>,
}

impl Link {
    /// Makes a connection to `endpoint`, with TLS if `tls` is given. It sends nothing before the first call. Answers that carry
    /// the server's time set `clock`.
    pub fn new(endpoint: &Endpoint, tls: Option<Tls>, clock: Arc<ServerClock>) -> Link {
        let env = Arc::new(EnvBuilder::new().cq_count(1).name_prefix("grpc-poll").build());
        let mut builder = ChannelBuilder::new(env.clone())
            // A proxy from the environment would see the password, and its address was not checked.
            .enable_http_proxy(false)
            .default_authority(endpoint.name().to_string())
            .primary_user_agent(concat!("otpchat/", env!("CARGO_PKG_VERSION")))
            .use_local_subchannel_pool(true)
            .max_receive_message_len(MAX_ANSWER_BYTES)
            .keepalive_time(KEEPALIVE)
            .keepalive_timeout(KEEPALIVE_LIMIT)
            .keepalive_permit_without_calls(true)
            .http2_max_pings_without_data(0)
            .initial_reconnect_backoff(CORE_FIRST_PAUSE)
            .max_reconnect_backoff(CORE_LONGEST_PAUSE)
            .raw_cfg_int(CString::from(c"grpc.min_reconnect_backoff_ms"), 3_000);
        if let Some(tls) = &tls {
            builder = builder.set_credentials(tls.credentials());
            if let Some(name) = tls.pinned_name() {
                // The C core accepts another name for the server's only if the server's own is written without a port.
                builder = builder.override_ssl_target(name).default_authority(endpoint.host());
            }
        }
        let client = Client::new(builder.connect(&endpoint.target()));
        Link { client, endpoint: endpoint.clone(), tls, clock, _env: env }
    }

    /// The server's name as it was given.
    pub fn server(&self) -> &ServerName {
        self.endpoint.name()
    }

    /// Waits until there is a connection.
    ///
    /// # Errors
    /// [`CallError::Unreachable`] after `limit`, or sooner if an attempt is refused or `alarm` rings; [`CallError::Tls`] if
    /// TLS is the cause.
    pub fn ready(&self, limit: Duration, alarm: &Alarm) -> Result<(), CallError> {
        let channel = self.client.channel();
        let deadline = Deadline::from(limit);
        let connected = async {
            let mut attempted = false;
            loop {
                let state = channel.check_connectivity_state(true);
                match state {
                    ConnectivityState::GRPC_CHANNEL_READY => return true,
                    ConnectivityState::GRPC_CHANNEL_SHUTDOWN => return false,
                    ConnectivityState::GRPC_CHANNEL_CONNECTING => attempted = true,
                    ConnectivityState::GRPC_CHANNEL_TRANSIENT_FAILURE if attempted => return false,
                    _ => {}
                }
                if !wait_for_change(channel, state, deadline).await {
                    return false;
                }
            }
        };
        match wait(connected, alarm, None) {
            Waited::Ready(true) => Ok(()),
            Waited::Ready(false) => {
                Err(tls::diagnose(&self.endpoint, self.tls.as_ref()).map_or(CallError::Unreachable, CallError::Tls))
            }
            _ => Err(CallError::Unreachable),
        }
    }

    /// Notes the server's time, if the answer to a call sent at `sent` carries it.
    fn note_time(&self, sent: Time, server_time: Option<&Timestamp>) {
        if let Some(time) = server_time {
            self.clock.answered(sent, time_of(time));
        }
    }

    fn call<Q, A: Unpin>(
        &self,
        method: &Method<Q, A>,
        request: &Q,
        token: Option<&SecretText>,
        limit: Duration,
    ) -> Result<A, CallError> {
        let options = with_token(CallOption::default().timeout(limit), token)?;
        self.ready(CONNECT_LIMIT, &Alarm::default())?;
        Ok(self.client.unary_call(method, request, options)?)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("server", self.server()).finish_non_exhaustive()
    }
}

async fn wait_for_change(channel: &Channel, state: ConnectivityState, deadline: Deadline) -> bool {
    channel.wait_for_state_change(state, deadline).await
}

fn with_token(options: CallOption, token: Option<&SecretText>) -> Result<CallOption, CallError> {
    let mut metadata = MetadataBuilder::with_capacity(2);
    metadata.add_str(CLIENT_KEY, NAME)?;
    if let Some(token) = token {
        metadata.add_str(TOKEN_KEY, token.expose())?;
    }
    Ok(options.headers(metadata.build()))
}

fn refusal(word: &str, sentence: &str, retry_after_seconds: u32) -> CallError {
    CallError::Refused(ServerRefusal::in_response(word, sentence).after(retry_after_seconds))
}

/// Silences the C core, which would otherwise log connection errors across the screen.
pub fn silence_core() {
    // At any level but Off, grpcio hands the core's lines to `log`, where no logger is installed.
    log::set_max_level(log::LevelFilter::Error);
    grpcio::redirect_log();
}
