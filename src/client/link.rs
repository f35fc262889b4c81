//! One connection to a server and the calls over it. Every call blocks its thread and has a deadline.

use std::ffi::CString;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use grpcio::{
    CallOption, Channel, ChannelBuilder, Client, ClientSStreamReceiver, ConnectivityState, Deadline, EnvBuilder,
    Environment, MetadataBuilder, Method,
};
use zeroize::Zeroize;

use crate::base::clock::Time;
use crate::base::wait::{Alarm, Waited, wait};
use crate::client::endpoint::{Endpoint, ServerName};
use crate::client::error::{CallError, Refusal};
use crate::client::session::ServerClock;
use crate::client::tls::{self, Tls};
use crate::client::types::{AccountNews, Completed, Listed, Opened, Page, Proof, Said, Stored};
use crate::model::reason::Reason;
use crate::proto::methods::{self, TOKEN_KEY};
use crate::proto::{
    ChangePasswordRequest, DeleteAccountRequest, EndSessionsRequest, EventBatch, HistoryFrom, HistoryRequest,
    ListSessionsRequest, LoginRequest, LogoutRequest, Message, NewRecoveryCodesRequest, RegisterRequest,
    RequestCheckOtp, RequestInitOtp, Start, SubscribeRequest, Timestamp, WhichSessions, time_of,
};
use crate::security::secret::SecretText;

/// How long a person waits for a connection before being told that there is none.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// The same for a message: it can be sent again, and its sender waits without a prompt.
const SEND_CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Deadline of the calls that hash a password: there may be a queue before the hash.
const PASSWORD_LIMIT: Duration = Duration::from_secs(30);
/// Deadline of every other call.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// A quiet connection is tested this often; the server allows it every 10 s.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// A test that is not answered for this long means the connection has gone.
const KEEPALIVE_LIMIT: Duration = Duration::from_secs(10);
/// Pauses of the C core between attempts to connect: short, because a person waits.
const CORE_FIRST_PAUSE: Duration = Duration::from_millis(250);
const CORE_LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// No answer of this protocol is longer, whatever the server's settings: a batch of events has 1 MiB and a message at most,
/// and a page of the history [`PAGE`] messages.
const MAX_ANSWER_BYTES: i32 = 8 * 1024 * 1024;
/// How many messages are asked for at once.
pub const PAGE: u32 = 100;

/// A connection to one server. It connects by itself when it is first used, and again when it was lost.
pub struct Link {
    client: Client,
    endpoint: Endpoint,
    tls: Option<Tls>,
    clock: Arc<ServerClock>,
    /// Dropped last: its threads drive everything above.
    _env: Arc<Environment>,
}

impl Link {
    /// Makes a connection to `endpoint`, by `tls` where that is given. Nothing is sent before the first call. Answers that tell
    /// the server's time set `clock`.
    pub fn new(endpoint: &Endpoint, tls: Option<Tls>, clock: Arc<ServerClock>) -> Link {
        let env = Arc::new(EnvBuilder::new().cq_count(1).name_prefix("grpc-poll").build());
        let mut builder = ChannelBuilder::new(env.clone())
            // A proxy named by the environment would see the password, and is not what was judged to be loopback.
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
                // The C core takes the other name for that of the server only if the server's is written without a port.
                builder = builder.override_ssl_target(name).default_authority(endpoint.host());
            }
        }
        let client = Client::new(builder.connect(&endpoint.target()));
        Link { client, endpoint: endpoint.clone(), tls, clock, _env: env }
    }

    /// The server as it was named.
    pub fn server(&self) -> &ServerName {
        self.endpoint.name()
    }

    /// Waits until there is a connection.
    ///
    /// # Errors
    /// [`CallError::Unreachable`] after `limit`, or sooner when an attempt was refused or `alarm` rung; [`CallError::Tls`] if
    /// TLS is why.
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

    /// Creates an account, with an `invite` where the server asks for one.
    ///
    /// # Errors
    /// See [`CallError`], as with every call here.
    pub fn register(&self, login: &str, password: &SecretText, invite: Option<&SecretText>) -> Result<(), CallError> {
        let mut request = RegisterRequest {
            login: login.to_owned(),
            password: password.expose().to_owned(),
            invite: in_the_clear(invite),
            ..Default::default()
        };
        let answer = self.call(&methods::REGISTER, &request, None, PASSWORD_LIMIT);
        request.password.zeroize();
        request.invite.zeroize();
        let answer = answer?;
        if answer.success { Ok(()) } else { Err(refused(&answer.reason, &answer.error, answer.retry_after_seconds)) }
    }

    /// Opens a session by password. With a `recovery_code`, or the administrator's one-time enrolment code in its place,
    /// the session needs enrolment.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn login(
        &self,
        login: &str,
        password: &SecretText,
        recovery_code: Option<&SecretText>,
    ) -> Result<Opened, CallError> {
        self.open(LoginRequest {
            login: login.to_owned(),
            password: password.expose().to_owned(),
            recovery_code: in_the_clear(recovery_code),
            ..Default::default()
        })
    }

    /// Opens a session by password and code in one call: unlike one that waits for its code, nobody can push it out.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn login_at_once(&self, login: &str, password: &SecretText, code: &SecretText) -> Result<Opened, CallError> {
        self.open(LoginRequest {
            login: login.to_owned(),
            password: password.expose().to_owned(),
            otp: code.expose().to_owned(),
            ..Default::default()
        })
    }

    fn open(&self, mut request: LoginRequest) -> Result<Opened, CallError> {
        self.ready(CONNECT_LIMIT, &Alarm::default())?;
        let sent = self.clock.ours();
        let answer = self.call(&methods::LOGIN, &request, None, PASSWORD_LIMIT);
        request.password.zeroize();
        request.recovery_code.zeroize();
        request.otp.zeroize();
        let mut answer = answer?;
        self.heard(sent, answer.server_time.as_ref());
        if !answer.success {
            return Err(refused(&answer.reason, &answer.error, answer.retry_after_seconds));
        }
        Ok(Opened {
            token: SecretText::new(std::mem::take(&mut answer.token)),
            state: answer.state.enum_value_or_default(),
            expires_at: answer.expires_at.as_ref().map(time_of),
            account: AccountNews {
                recovery_codes: secrets(&mut answer.recovery_codes),
                recovery_codes_left: answer.recovery_codes_left,
                wrong_codes: answer.wrong_codes,
            },
        })
    }

    /// Starts an enrolment; answers the `otpauth://` URI of the new second factor. A session that is complete has to bring
    /// `proof` to replace the one it has.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn init_otp(&self, login: &str, token: &SecretText, proof: Option<&Proof>) -> Result<SecretText, CallError> {
        let mut request = RequestInitOtp {
            login: login.to_owned(),
            password: in_the_clear(proof.map(|proof| &proof.password)),
            otp: in_the_clear(proof.map(|proof| &proof.code)),
            ..Default::default()
        };
        let limit = if proof.is_some() { PASSWORD_LIMIT } else { CALL_LIMIT };
        let answer = self.call(&methods::INIT_OTP, &request, Some(token), limit);
        request.password.zeroize();
        let mut answer = answer?;
        let uri = SecretText::new(std::mem::take(&mut answer.secret));
        if uri.is_empty() { Err(refused(&answer.reason, &answer.error, answer.retry_after_seconds)) } else { Ok(uri) }
    }

    /// Gives a code: to complete a session, or to confirm an enrolment.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn check_otp(&self, login: &str, token: &SecretText, code: &SecretText) -> Result<Completed, CallError> {
        let request = RequestCheckOtp { login: login.to_owned(), otp: code.expose().to_owned(), ..Default::default() };
        self.ready(CONNECT_LIMIT, &Alarm::default())?;
        let sent = self.clock.ours();
        let mut answer = self.call(&methods::CHECK_OTP, &request, Some(token), CALL_LIMIT)?;
        self.heard(sent, answer.server_time.as_ref());
        if !answer.valid {
            return Err(refused(&answer.reason, &answer.error, answer.retry_after_seconds));
        }
        let renewed = SecretText::new(std::mem::take(&mut answer.token));
        Ok(Completed {
            token: if renewed.is_empty() { token.clone() } else { renewed },
            expires_at: answer.expires_at.as_ref().map(time_of),
            account: AccountNews {
                recovery_codes: secrets(&mut answer.recovery_codes),
                recovery_codes_left: answer.recovery_codes_left,
                wrong_codes: answer.wrong_codes,
            },
        })
    }

    /// Makes new recovery codes; the old ones are void.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn new_recovery_codes(&self, token: &SecretText, proof: &Proof) -> Result<Vec<SecretText>, CallError> {
        let mut request = NewRecoveryCodesRequest {
            password: proof.password.expose().to_owned(),
            otp: proof.code.expose().to_owned(),
            ..Default::default()
        };
        let answer = self.call(&methods::NEW_RECOVERY_CODES, &request, Some(token), PASSWORD_LIMIT);
        request.password.zeroize();
        Ok(secrets(&mut answer?.recovery_codes))
    }

    /// Replaces the password by `new`; answers how many other sessions that ended.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn change_password(&self, token: &SecretText, proof: &Proof, new: &SecretText) -> Result<u32, CallError> {
        let mut request = ChangePasswordRequest {
            password: proof.password.expose().to_owned(),
            otp: proof.code.expose().to_owned(),
            new_password: new.expose().to_owned(),
            ..Default::default()
        };
        let answer = self.call(&methods::CHANGE_PASSWORD, &request, Some(token), PASSWORD_LIMIT);
        request.password.zeroize();
        request.new_password.zeroize();
        Ok(answer?.ended_sessions)
    }

    /// Deletes the account of `token` for good.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn delete_account(&self, token: &SecretText, proof: &Proof) -> Result<(), CallError> {
        let mut request = DeleteAccountRequest {
            password: proof.password.expose().to_owned(),
            otp: proof.code.expose().to_owned(),
            ..Default::default()
        };
        let answer = self.call(&methods::DELETE_ACCOUNT, &request, Some(token), PASSWORD_LIMIT);
        request.password.zeroize();
        answer.map(drop)
    }

    /// The live sessions of the account, oldest first.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn list_sessions(&self, token: &SecretText) -> Result<Vec<Listed>, CallError> {
        let answer = self.call(&methods::LIST_SESSIONS, &ListSessionsRequest::new(), Some(token), CALL_LIMIT)?;
        Ok(answer.sessions.into_iter().map(Listed::from).collect())
    }

    /// Ends the session with `id`, as [`Link::list_sessions`] named it.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn end_session(&self, token: &SecretText, id: &str) -> Result<(), CallError> {
        let request = EndSessionsRequest { which: WhichSessions::ONE.into(), id: id.to_owned(), ..Default::default() };
        self.call(&methods::END_SESSIONS, &request, Some(token), CALL_LIMIT).map(drop)
    }

    /// Ends all other sessions of the account, or all; answers how many.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn end_sessions(&self, token: &SecretText, which: WhichSessions, proof: &Proof) -> Result<u32, CallError> {
        let mut request = EndSessionsRequest {
            which: which.into(),
            password: proof.password.expose().to_owned(),
            otp: proof.code.expose().to_owned(),
            ..Default::default()
        };
        let answer = self.call(&methods::END_SESSIONS, &request, Some(token), PASSWORD_LIMIT);
        request.password.zeroize();
        Ok(answer?.ended)
    }

    /// Ends the session of `token`.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn logout(&self, token: &SecretText) -> Result<(), CallError> {
        self.call(&methods::LOGOUT, &LogoutRequest::new(), Some(token), CALL_LIMIT).map(drop)
    }

    /// Sends `text` to the common room; it is stored when this returns, once, however often it is sent with the same
    /// `client_id`. Ringing `alarm` breaks it off.
    ///
    /// # Errors
    /// See [`CallError`]: after [`CallError::NoAnswer`] nobody here can tell whether it was stored.
    pub fn send(&self, token: &SecretText, text: &str, client_id: &str, alarm: &Alarm) -> Result<Stored, CallError> {
        let message = Message { text: text.to_owned(), client_id: client_id.to_owned(), ..Default::default() };
        let options = with_token(CallOption::default().timeout(CALL_LIMIT), Some(token))?;
        self.ready(SEND_CONNECT_LIMIT, alarm)?;
        let call = self.client.unary_call_async(&methods::SEND_MESSAGE, &message, options)?;
        let Waited::Ready(answer) = wait(call, alarm, None) else { return Err(CallError::NoAnswer) };
        let answer = answer?;
        if !answer.success {
            return Err(refused(Reason::StorageFailed.word(), "", 0));
        }
        Ok(Stored { server_time: answer.server_time.as_ref().map(time_of) })
    }

    /// The newest messages of the common room below the id `before`, or of all where that is 0: at most `limit` of them,
    /// which [`PAGE`] bounds.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn history(&self, token: &SecretText, before: u64, limit: u32) -> Result<Page, CallError> {
        let from = Some(HistoryFrom::Before(before));
        let request = HistoryRequest { from, limit: limit.min(PAGE), ..Default::default() };
        let answer = self.call(&methods::HISTORY, &request, Some(token), CALL_LIMIT)?;
        Ok(Page { messages: answer.messages.into_iter().map(Said::from).collect(), has_more: answer.has_more })
    }

    /// Opens the stream of the common room. It has no deadline.
    ///
    /// # Errors
    /// See [`CallError`].
    pub(super) fn subscribe(
        &self,
        token: &SecretText,
        start: Start,
    ) -> Result<ClientSStreamReceiver<EventBatch>, CallError> {
        let options = with_token(CallOption::default(), Some(token))?;
        let request = SubscribeRequest { start: Some(start), ..Default::default() };
        Ok(self.client.server_streaming(&methods::SUBSCRIBE, &request, options)?)
    }

    /// An answer to a call that was sent at `sent` told the server's time, or not.
    fn heard(&self, sent: Time, server_time: Option<&Timestamp>) {
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
    let Some(token) = token else { return Ok(options) };
    let mut metadata = MetadataBuilder::with_capacity(1);
    metadata.add_str(TOKEN_KEY, token.expose())?;
    Ok(options.headers(metadata.build()))
}

/// For a request, whose sender wipes it; empty where there is none.
fn in_the_clear(secret: Option<&SecretText>) -> String {
    secret.map(|secret| secret.expose().to_owned()).unwrap_or_default()
}

fn secrets(codes: &mut Vec<String>) -> Vec<SecretText> {
    std::mem::take(codes).into_iter().map(SecretText::new).collect()
}

fn refused(word: &str, sentence: &str, retry_after_seconds: u32) -> CallError {
    CallError::Refused(Refusal::in_response(word, sentence).after(retry_after_seconds))
}

/// Silences the C core, which would otherwise write about connections across the screen.
pub fn silence_core() {
    // With a level other than Off, grpcio hands the core's lines to `log`; and no logger is installed there.
    log::set_max_level(log::LevelFilter::Error);
    grpcio::redirect_log();
}
