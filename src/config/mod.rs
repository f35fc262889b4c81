//! Settings: raw flags and environment variables become checked [`Settings`]. Every limit of the server is here, with its
//! reason.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use ipnet::IpNet;

use crate::admin::args::Command;
use crate::app::throttles::ThrottleLimits;
use crate::app::{AppLimits, Registration};
use crate::hub::HubLimits;
use crate::rpc::edge::proxy::{self, TrustedProxies};
use crate::rpc::edge::tls::TlsFiles;
use crate::rpc::limits::RpcLimits;
use crate::rpc::listen::Listen;
use crate::security::keys::KeyGuard;
use crate::security::passwords::Cost;
use crate::security::throttle::Rate;
use crate::store::StoreLimits;
use crate::store::guesses::GuessLimits;
use crate::store::messages::Retention;

/// The self-hosted group chat for the terminal whose second factor nobody can skip: the server.
///
/// It keeps everything in one directory, made at the first start: the database users.db, two key files, and beside them the
/// head of the audit and the socket of the administrator's commands. Stop it with
/// Ctrl-C or SIGTERM; a second signal skips the grace period.
#[derive(Debug, Parser)]
#[command(
    name = "otpchatd",
    version,
    after_help = "Examples:\n  otpchatd\n  otpchatd user list\n  otpchatd --data-dir /var/lib/otpchatd user reset-otp alice\n  otpchatd --data-dir /var/lib/otpchatd --chat-log off\n  otpchatd --listen localhost:50061 --log debug\n\nEvery flag has an environment variable; a flag goes before it. Exit codes: 0 stopped as asked, 1 could not start or failed, 2 wrong flags."
)]
pub struct Flags {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Where to listen, HOST:PORT; several with commas. `localhost` is IPv4 and IPv6 loopback; port 0 takes a free one.
    #[arg(long, env = "OTPCHAT_LISTEN", default_value = "localhost:50051", value_delimiter = ',')]
    pub listen: Vec<String>,

    /// The certificate of this server, PEM, with those that lead up to its authority behind it: every --listen address then
    /// speaks TLS. A changed file is taken up without a restart, at once on SIGHUP.
    #[arg(long, env = "OTPCHAT_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// The key of that certificate: PEM without a passphrase, mode 0600.
    #[arg(long, env = "OTPCHAT_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// The authorities of client certificates, PEM: each client then needs a certificate of one of them.
    #[arg(long, env = "OTPCHAT_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,

    /// Where to listen without TLS beside it, HOST:PORT on loopback; several with commas. For clients of the predecessor and
    /// for tools on this machine.
    #[arg(long, env = "OTPCHAT_LISTEN_PLAINTEXT", value_delimiter = ',')]
    pub listen_plaintext: Vec<String>,

    /// Let passwords and messages cross the network unencrypted: listen beyond loopback without TLS.
    #[arg(long, env = "OTPCHAT_PLAINTEXT_EXPOSED_TO_NETWORK")]
    pub plaintext_exposed_to_network: bool,

    /// The directory of users.db and, unless given elsewhere, the keys.
    #[arg(long, env = "OTPCHAT_DATA_DIR", global = true, default_value = ".")]
    pub data_dir: PathBuf,

    /// The key that signs tokens: 32 random bytes, mode 0600 [default: jwt.key in the data directory, made if missing].
    #[arg(long, env = "OTPCHAT_JWT_KEY", global = true, value_name = "FILE")]
    pub jwt_key: Option<PathBuf>,

    /// The key that seals second factors: 32 random bytes, mode 0600 [default: sealing.key in the data directory, made if
    /// missing].
    #[arg(long, env = "OTPCHAT_SEALING_KEY", global = true, value_name = "FILE")]
    pub sealing_key: Option<PathBuf>,

    /// Serve clients of the predecessor: on loopback, a code and the first enrolment may come without a token, on the
    /// connection that logged in or registered.
    #[arg(long, env = "OTPCHAT_LEGACY_CLIENTS", default_value = "on", value_name = "on|off")]
    pub legacy_clients: Switch,

    /// Proxies in front of the server, addresses or networks, several with commas: who comes through them is known by the
    /// last address in `x-forwarded-for` that is not theirs. Switches --legacy-clients off.
    #[arg(long, env = "OTPCHAT_TRUSTED_PROXY", value_name = "ADDRESS", value_delimiter = ',', value_parser = proxy::parse_network)]
    pub trusted_proxy: Vec<IpNet>,

    /// Who may register: everybody, whoever has an invitation, or nobody [default: open on loopback, invite beyond and behind a
    /// proxy].
    #[arg(long, env = "OTPCHAT_REGISTRATION", value_name = "open|invite|closed")]
    pub registration: Option<RegistrationFlag>,

    /// What happens to the messages of a deleted account: they stay under a neutral name, or go.
    #[arg(long, env = "OTPCHAT_DELETED_MESSAGES", default_value = "keep", value_name = "keep|delete")]
    pub deleted_messages: DeletedMessages,

    /// Days that messages are kept; 0 keeps them for ever.
    #[arg(long, env = "OTPCHAT_KEEP_DAYS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=36_500))]
    pub keep_days: u32,

    /// Messages that are kept, the newest ones; 0 keeps all.
    #[arg(long, env = "OTPCHAT_KEEP_MESSAGES", default_value_t = 0)]
    pub keep_messages: u32,

    /// Write chat lines to the log, as `[18:30:15] user1: ...`.
    #[arg(long, env = "OTPCHAT_CHAT_LOG", default_value = "on", value_name = "on|off")]
    pub chat_log: Switch,

    /// What to log: error, warn, info, debug, trace, or a filter by module.
    #[arg(long, env = "OTPCHAT_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,

    #[command(flatten)]
    /// The limits.
    pub limits: LimitFlags,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

impl Switch {
    /// Whether it is on.
    pub fn is_on(self) -> bool {
        self == Switch::On
    }
}

/// Who may register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RegistrationFlag {
    /// Everybody who can reach the port.
    Open,
    /// Whoever has an invitation (`otpchatd invite new`).
    Invite,
    /// Nobody; accounts are made with `otpchatd user add`.
    Closed,
}

/// What happens to the messages of a deleted account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DeletedMessages {
    /// They stay under a neutral name.
    Keep,
    /// They are deleted.
    Delete,
}

/// The limits, as flags.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitFlags {
    /// Streams in all; each has a thread.
    #[arg(long, env = "OTPCHAT_MAX_STREAMS", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=30_000))]
    pub max_streams: u32,
    /// Streams of one user.
    #[arg(long, env = "OTPCHAT_MAX_STREAMS_PER_USER", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=30_000))]
    pub max_streams_per_user: u32,
    /// Kibibytes of events that wait for a stream in memory; a stream that falls further behind reads on from the database.
    #[arg(long, env = "OTPCHAT_MAILBOX_KIB", default_value_t = 8_192, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub mailbox_kib: u32,
    /// Mebibytes of events that wait in memory for all streams together, each event counted once.
    #[arg(long, env = "OTPCHAT_MAILBOXES_MIB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub mailboxes_mib: u32,
    /// Seconds that a stream's client may leave a message unread before the stream is ended.
    #[arg(long, env = "OTPCHAT_STREAM_STALL_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub stream_stall_seconds: u64,
    /// Bytes of events that leave in one gRPC message, about.
    #[arg(long, env = "OTPCHAT_BATCH_BYTES", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1_024..=1_048_576))]
    pub batch_bytes: u32,
    /// Seconds of silence after which a subscriber is sent a heartbeat.
    #[arg(long, env = "OTPCHAT_HEARTBEAT_SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub heartbeat_seconds: u64,
    /// Messages of a page of the history at most, and of those that a subscriber begins with.
    #[arg(long, env = "OTPCHAT_MAX_HISTORY_PAGE", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub max_history_page: u32,
    /// Bytes of a text.
    #[arg(long, env = "OTPCHAT_MAX_TEXT_BYTES", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=32_768))]
    pub max_text_bytes: u32,
    /// Bytes of a request.
    #[arg(long, env = "OTPCHAT_MAX_REQUEST_BYTES", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1_024..=4_194_304))]
    pub max_request_bytes: u32,
    /// Bytes of a call's headers.
    #[arg(long, env = "OTPCHAT_MAX_HEADER_BYTES", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(4_096..=1_048_576))]
    pub max_header_bytes: u32,
    /// Connections in all; less if the system allows fewer open files.
    #[arg(long, env = "OTPCHAT_MAX_CONNECTIONS", default_value_t = 12_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,
    /// Connections of one address (of IPv6, of one /64). Not for loopback and trusted proxies.
    #[arg(long, env = "OTPCHAT_MAX_CONNECTIONS_PER_ADDRESS", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections_per_address: u32,
    /// Seconds that a new connection may take for TLS and the first settings of HTTP/2, and a call for its message.
    #[arg(long, env = "OTPCHAT_HANDSHAKE_SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=300))]
    pub handshake_seconds: u64,
    /// Minutes that a connection may stay without any call, longer than --waiting-minutes; an open stream is a call.
    #[arg(long, env = "OTPCHAT_IDLE_CONNECTION_MINUTES", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=1_440))]
    pub idle_connection_minutes: u64,
    /// Calls at once on one connection, streams included.
    #[arg(long, env = "OTPCHAT_MAX_CALLS_PER_CONNECTION", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub max_calls_per_connection: u32,
    /// Mebibytes that the transport may use for connections and buffers.
    #[arg(long, env = "OTPCHAT_TRANSPORT_MEMORY_MIB", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(16..=65_536))]
    pub transport_memory_mib: u32,
    /// Sessions of an account that wait for a code or enrolment; the oldest gives way.
    #[arg(long, env = "OTPCHAT_MAX_WAITING_SESSIONS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub max_waiting_sessions: u32,
    /// Sessions of an account that are logged in; the oldest gives way.
    #[arg(long, env = "OTPCHAT_MAX_SESSIONS", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub max_sessions: u32,
    /// Minutes that a session may wait for a code or enrolment.
    #[arg(long, env = "OTPCHAT_WAITING_MINUTES", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub waiting_minutes: u64,
    /// Hours that a session lasts, from its code.
    #[arg(long, env = "OTPCHAT_SESSION_HOURS", default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=8_760))]
    pub session_hours: u64,
    /// Hours that tokens under the last key are good after `otpchatd rotate-token-key`.
    #[arg(long, env = "OTPCHAT_OLD_JWT_KEY_HOURS", default_value_t = 24, value_parser = clap::value_parser!(u64).range(0..=8_760))]
    pub old_jwt_key_hours: u64,
    /// Hours that an account may stay without a second factor before it is deleted.
    #[arg(long, env = "OTPCHAT_UNENROLLED_HOURS", default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=8_760))]
    pub unenrolled_hours: u64,
    /// Wrong codes that an account may have in all; see --wrong-code-hours. Only a new second factor makes it whole.
    #[arg(long, env = "OTPCHAT_WRONG_CODES", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub wrong_codes: u32,
    /// Hours until one of the wrong codes comes back.
    #[arg(long, env = "OTPCHAT_WRONG_CODE_HOURS", default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=8_760))]
    pub wrong_code_hours: u64,
    /// Seconds that an account waits at most after wrong codes in a row (1, 2, 4 and so on from the second one).
    #[arg(long, env = "OTPCHAT_MAX_CODE_DELAY_SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub max_code_delay_seconds: u64,
    /// Wrong passwords for one account from one address (an IPv6 one is its /64) before it has to wait.
    #[arg(long, env = "OTPCHAT_WRONG_PASSWORDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub wrong_passwords: u32,
    /// Seconds until one of these wrong passwords comes back.
    #[arg(long, env = "OTPCHAT_WRONG_PASSWORD_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub wrong_password_seconds: u64,
    /// Passwords from one address, for any account and right or wrong, before it has to wait: each costs a hash.
    #[arg(long, env = "OTPCHAT_PASSWORDS_PER_ADDRESS", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub passwords_per_address: u32,
    /// Milliseconds until one of these passwords comes back.
    #[arg(long, env = "OTPCHAT_PASSWORD_PER_ADDRESS_MILLIS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    pub password_per_address_millis: u64,
    /// Registrations from one address before it has to wait.
    #[arg(long, env = "OTPCHAT_REGISTRATIONS_PER_ADDRESS", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub registrations_per_address: u32,
    /// Seconds until one of these registrations comes back.
    #[arg(long, env = "OTPCHAT_REGISTRATION_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub registration_seconds: u64,
    /// Codes and enrolments that a session may try at once; one comes back a second.
    #[arg(long, env = "OTPCHAT_STEPS_PER_SESSION", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub steps_per_session: u32,
    /// Addresses, and pairs of account and address, whose tries are counted apart; beyond that all others share.
    #[arg(long, env = "OTPCHAT_THROTTLE_BUCKETS", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(16..=10_000_000))]
    pub throttle_buckets: u32,
    /// Recovery codes that an enrolment gives.
    #[arg(long, env = "OTPCHAT_RECOVERY_CODES", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub recovery_codes: u32,
    /// Hours that the administrator's enrolment code is good.
    #[arg(long, env = "OTPCHAT_ENROLMENT_CODE_HOURS", default_value_t = 72, value_parser = clap::value_parser!(u64).range(1..=8_760))]
    pub enrolment_code_hours: u64,
    /// Threads that work on calls.
    #[arg(long, env = "OTPCHAT_WORKERS", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub workers: u32,
    /// Calls that wait for a worker; more are told to try again.
    #[arg(long, env = "OTPCHAT_WORK_QUEUE", default_value_t = 4_096, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub work_queue: u32,
    /// Threads that hash passwords [default: as many as there are cores].
    #[arg(long, env = "OTPCHAT_HASHERS", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub hashers: Option<u32>,
    /// Logins and registrations that wait for a hasher; more are told to try again.
    #[arg(long, env = "OTPCHAT_HASH_QUEUE", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub hash_queue: u32,
    /// Database connections that read at once.
    #[arg(long, env = "OTPCHAT_READERS", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub readers: u32,
    /// Database connections that read for streams that fell behind.
    #[arg(long, env = "OTPCHAT_REPLAYERS", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub replayers: u32,
    /// Seconds that a reader waits for a database connection.
    #[arg(long, env = "OTPCHAT_READER_WAIT_SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=300))]
    pub reader_wait_seconds: u64,
    /// Writes that wait for the writer; more are told to try again.
    #[arg(long, env = "OTPCHAT_WRITE_QUEUE", default_value_t = 8_192, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub write_queue: u32,
    /// Writes that share one commit at most.
    #[arg(long, env = "OTPCHAT_WRITE_BATCH", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub write_batch: u32,
    /// Seconds that open calls get to end when the server stops.
    #[arg(long, env = "OTPCHAT_GRACE_SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=300))]
    pub grace_seconds: u64,
}

/// Checked settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen. `localhost` has become two addresses.
    pub listen: Vec<Listen>,
    /// What TLS is served with.
    pub tls: Option<TlsFiles>,
    /// The data directory.
    pub data_dir: PathBuf,
    /// The key that signs tokens.
    pub jwt_key: PathBuf,
    /// The key that seals second factors.
    pub sealing_key: PathBuf,
    /// How long tokens under the key before are good.
    pub old_jwt_key: Duration,
    /// Where the service manager put credentials for this service alone.
    pub credentials_dir: Option<PathBuf>,
    /// Whether clients of the predecessor are served their way.
    pub legacy_clients: bool,
    /// Whom to believe for whom he speaks.
    pub trusted_proxies: TrustedProxies,
    /// Whether chat lines are logged.
    pub chat_log: bool,
    /// The cost of a password hash.
    pub password_cost: Cost,
    /// Bounds of what the system does.
    pub app: AppLimits,
    /// Bounds of the hub.
    pub hub: HubLimits,
    /// Bounds of the store.
    pub store: StoreLimits,
    /// Bounds of the wire.
    pub rpc: RpcLimits,
    /// How long open calls get to end when the server stops.
    pub grace: Duration,
}

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// Not an address.
    #[error(
        "{0} {1}: write HOST:PORT, where HOST is `localhost` or an IP address (IPv6 in brackets), as in localhost:50051"
    )]
    Listen(&'static str, String),
    /// Plaintext for strangers.
    #[error(
        "--listen {0} is beyond loopback, where passwords and messages would cross the network unencrypted: give a \
             certificate with --tls-cert and --tls-key, listen on localhost, or accept that in so many words with \
             --plaintext-exposed-to-network"
    )]
    Exposed(String),
    /// Plaintext for strangers, beside TLS.
    #[error("--listen-plaintext {0} is beyond loopback: it is for this machine alone, use localhost:PORT")]
    PlaintextExposed(String),
    /// Plaintext beside nothing.
    #[error(
        "--listen-plaintext is for a server with a certificate; without one, --listen is not encrypted either: use that"
    )]
    PlaintextAlone,
    /// One TLS file without another.
    #[error("{0} needs {1} beside it")]
    TlsHalf(&'static str, &'static str),
    /// A text that does not fit into a request.
    #[error("--max-text-bytes must be at least 512 below --max-request-bytes, or no such text could be sent")]
    TextBeyondRequest,
}

impl Flags {
    /// Checks the flags against each other.
    ///
    /// # Errors
    /// [`SettingError`], with what to do.
    pub fn check(self) -> Result<Settings, SettingError> {
        let tls = tls_files(self.tls_cert, self.tls_key, self.tls_client_ca)?;
        let mut listen = Vec::new();
        for text in &self.listen {
            let addresses = parse_listen("--listen", text, tls.is_some())?;
            if !self.plaintext_exposed_to_network && addresses.iter().any(Listen::exposes_plaintext) {
                return Err(SettingError::Exposed(text.clone()));
            }
            listen.extend(addresses);
        }
        if tls.is_none() && !self.listen_plaintext.is_empty() {
            return Err(SettingError::PlaintextAlone);
        }
        for text in &self.listen_plaintext {
            let addresses = parse_listen("--listen-plaintext", text, false)?;
            if addresses.iter().any(Listen::exposes_plaintext) {
                return Err(SettingError::PlaintextExposed(text.clone()));
            }
            listen.extend(addresses);
        }
        let limits = self.limits;
        if limits.max_text_bytes + 512 > limits.max_request_bytes {
            return Err(SettingError::TextBeyondRequest);
        }
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let on_loopback = listen.iter().all(|l| l.address.ip().is_loopback());
        let (minutes, hours) = (|n| Duration::from_secs(n * 60), |n| Duration::from_secs(n * 3600));
        Ok(Settings {
            jwt_key: self.jwt_key.unwrap_or_else(|| self.data_dir.join("jwt.key")),
            sealing_key: self.sealing_key.unwrap_or_else(|| self.data_dir.join("sealing.key")),
            data_dir: self.data_dir,
            old_jwt_key: hours(limits.old_jwt_key_hours),
            credentials_dir: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            // Where strangers can reach a plaintext port, or many people share a connection, something in between may make them
            // look like this machine. (That a call came in by plaintext on loopback is judged call by call, in `rpc::caller`.)
            legacy_clients: self.legacy_clients.is_on()
                && self.trusted_proxy.is_empty()
                && !listen.iter().any(Listen::exposes_plaintext),
            trusted_proxies: TrustedProxies::new(self.trusted_proxy.clone()),
            chat_log: self.chat_log.is_on(),
            password_cost: Cost::default(),
            app: AppLimits {
                waiting_session: minutes(limits.waiting_minutes),
                waiting_sessions_per_user: limits.max_waiting_sessions as usize,
                complete_session: hours(limits.session_hours),
                complete_sessions_per_user: limits.max_sessions as usize,
                unenrolled_account: hours(limits.unenrolled_hours),
                enrolment_without_token: minutes(limits.waiting_minutes),
                text_bytes: limits.max_text_bytes as usize,
                registration: match self.registration {
                    Some(RegistrationFlag::Open) => Registration::Open,
                    Some(RegistrationFlag::Invite) => Registration::Invite,
                    Some(RegistrationFlag::Closed) => Registration::Closed,
                    None if on_loopback && self.trusted_proxy.is_empty() => Registration::Open,
                    None => Registration::Invite,
                },
                throttles: ThrottleLimits {
                    passwords: Rate {
                        burst: limits.wrong_passwords,
                        refill: Duration::from_secs(limits.wrong_password_seconds),
                    },
                    hashes: Rate {
                        burst: limits.passwords_per_address,
                        refill: Duration::from_millis(limits.password_per_address_millis),
                    },
                    registrations: Rate {
                        burst: limits.registrations_per_address,
                        refill: Duration::from_secs(limits.registration_seconds),
                    },
                    steps: Rate { burst: limits.steps_per_session, refill: Duration::from_secs(1) },
                    buckets: limits.throttle_buckets as usize,
                },
                guesses: GuessLimits {
                    budget: limits.wrong_codes,
                    refill: hours(limits.wrong_code_hours),
                    longest_delay: Duration::from_secs(limits.max_code_delay_seconds),
                },
                retention: Retention {
                    age: (self.keep_days > 0).then(|| Duration::from_secs(u64::from(self.keep_days) * 86_400)),
                    count: Some(self.keep_messages).filter(|count| *count > 0),
                },
                history_page: limits.max_history_page as usize,
                recovery_codes: limits.recovery_codes as usize,
                enrolment_code: hours(limits.enrolment_code_hours),
                keep_messages_of_deleted: self.deleted_messages == DeletedMessages::Keep,
            },
            hub: HubLimits {
                mailbox_bytes: limits.mailbox_kib as usize * 1024,
                waiting_bytes: limits.mailboxes_mib as usize * 1024 * 1024,
                streams: limits.max_streams as usize,
                streams_per_user: limits.max_streams_per_user as usize,
            },
            store: StoreLimits {
                readers: limits.readers,
                replayers: limits.replayers,
                reader_wait: Duration::from_secs(limits.reader_wait_seconds),
                write_queue: limits.write_queue as usize,
                write_batch: limits.write_batch as usize,
                busy_wait: Duration::from_secs(5),
            },
            rpc: RpcLimits {
                workers: limits.workers as usize,
                work_queue: limits.work_queue as usize,
                hashers: limits.hashers.map_or(cores, |n| n as usize),
                hash_queue: limits.hash_queue as usize,
                request_bytes: limits.max_request_bytes,
                header_bytes: limits.max_header_bytes,
                connections: limits.max_connections as usize,
                connections_per_address: limits.max_connections_per_address as usize,
                handshake: Duration::from_secs(limits.handshake_seconds),
                // Old clients are known by their connection while they look for their code.
                connection_idle: minutes(limits.idle_connection_minutes.max(limits.waiting_minutes + 1)),
                calls_per_connection: limits.max_calls_per_connection,
                transport_bytes: limits.transport_memory_mib as usize * 1024 * 1024,
                stream_stall: Duration::from_secs(limits.stream_stall_seconds),
                stream_end: Duration::from_millis(500),
                catch_up_page: 256,
                batch_bytes: limits.batch_bytes as usize,
                heartbeat: Duration::from_secs(limits.heartbeat_seconds),
            },
            grace: Duration::from_secs(limits.grace_seconds),
            listen,
            tls,
        })
    }
}

impl Settings {
    /// What guards a key file: its place, where the service manager handed it in, else its mode.
    pub fn guard_of(&self, key: &Path) -> KeyGuard {
        let handed_in = |dir: &PathBuf| key.parent() == Some(dir);
        if self.credentials_dir.as_ref().is_some_and(handed_in) { KeyGuard::Place } else { KeyGuard::Mode }
    }
}

fn parse_listen(flag: &'static str, text: &str, tls: bool) -> Result<Vec<Listen>, SettingError> {
    let wrong = || SettingError::Listen(flag, text.to_owned());
    if let Some(port) = text.strip_prefix("localhost:") {
        let port = port.parse().map_err(|_| wrong())?;
        let on = |ip: IpAddr, optional| Listen { address: SocketAddr::new(ip, port), optional, tls };
        return Ok(vec![on(Ipv4Addr::LOCALHOST.into(), false), on(Ipv6Addr::LOCALHOST.into(), true)]);
    }
    Ok(vec![Listen { address: text.parse().map_err(|_| wrong())?, optional: false, tls }])
}

fn tls_files(
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    client_ca: Option<PathBuf>,
) -> Result<Option<TlsFiles>, SettingError> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles { certificate, key, client_ca })),
        (Some(_), None) => Err(SettingError::TlsHalf("--tls-cert", "--tls-key")),
        (None, Some(_)) => Err(SettingError::TlsHalf("--tls-key", "--tls-cert")),
        (None, None) if client_ca.is_some() => {
            Err(SettingError::TlsHalf("--tls-client-ca", "--tls-cert and --tls-key"))
        }
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(args: &[&str]) -> Result<Settings, SettingError> {
        Flags::try_parse_from([&["otpchatd"], args].concat()).unwrap().check()
    }

    #[test]
    fn every_flag_has_an_environment_variable_and_the_command_is_sound() {
        use clap::CommandFactory;
        let command = Flags::command();
        command.clone().debug_assert();
        for arg in command.get_arguments() {
            let name = arg.get_id().as_str();
            let want = format!("OTPCHAT_{}", name.to_uppercase());
            assert_eq!(arg.get_env().and_then(|v| v.to_str()), Some(want.as_str()), "--{name}");
        }
    }

    #[test]
    fn localhost_is_both_loopback_addresses() {
        let listen = settings(&[]).unwrap().listen;
        let texts: Vec<_> = listen.iter().map(|l| (l.address.to_string(), l.optional)).collect();
        assert_eq!(texts, [("127.0.0.1:50051".to_owned(), false), ("[::1]:50051".to_owned(), true)]);
    }

    #[test]
    fn addresses_are_taken_or_refused_by_rule() {
        fn check(listen: &str, ok: bool) {
            assert_eq!(settings(&["--listen", listen]).is_ok(), ok, "{listen}");
        }
        check("127.0.0.1:0", true);
        check("[::1]:50051", true);
        check("127.0.0.1:1,[::1]:1", true);
        check("localhost", false);
        check("localhost:99999", false);
        check("example.org:1", false);
        check("0.0.0.0:50051", false);
        check("[::]:50051", false);
        check("192.0.2.1:50051", false);
        let exposed = settings(&["--listen", "localhost:1,0.0.0.0:2", "--plaintext-exposed-to-network"]).unwrap();
        assert!(!exposed.legacy_clients, "old clients are for loopback alone");
        assert_eq!(exposed.app.registration, Registration::Invite, "strangers are invited");
        let local = settings(&[]).unwrap();
        assert!(local.legacy_clients);
        assert_eq!(local.app.registration, Registration::Open);
    }

    #[test]
    fn with_a_certificate_strangers_may_come_by_tls_and_this_machine_by_plaintext() {
        const TLS: [&str; 4] = ["--tls-cert", "c.pem", "--tls-key", "k.pem"];
        let with = |more: &[&str]| settings(&[&TLS, more].concat());
        let both = with(&["--listen", "0.0.0.0:50051", "--listen-plaintext", "127.0.0.1:50052"]).unwrap();
        let said: Vec<_> = both.listen.iter().map(|l| (l.address.to_string(), l.tls)).collect();
        assert_eq!(said, [("0.0.0.0:50051".to_owned(), true), ("127.0.0.1:50052".to_owned(), false)]);
        assert!(both.legacy_clients, "on the plaintext address");
        assert_eq!(with(&["--listen-plaintext", "localhost:1"]).unwrap().listen.len(), 4);
        for (args, refused) in [
            (&["--tls-cert", "c"][..], SettingError::TlsHalf("--tls-cert", "--tls-key")),
            (&["--tls-key", "k"], SettingError::TlsHalf("--tls-key", "--tls-cert")),
            (&["--tls-client-ca", "a"], SettingError::TlsHalf("--tls-client-ca", "--tls-cert and --tls-key")),
            (&["--listen-plaintext", "localhost:1"], SettingError::PlaintextAlone),
        ] {
            assert_eq!(settings(args).err(), Some(refused), "{args:?}");
        }
        let exposed = ["--plaintext-exposed-to-network", "--listen-plaintext", "0.0.0.0:1"];
        assert_eq!(with(&exposed).err(), Some(SettingError::PlaintextExposed("0.0.0.0:1".into())));
        assert!(with(&["--listen-plaintext", "x:1"]).err().unwrap().to_string().starts_with("--listen-plaintext x:1"));
    }

    #[test]
    fn a_trusted_proxy_switches_old_clients_off() {
        let behind = settings(&["--trusted-proxy", "127.0.0.1,10.0.0.0/8", "--legacy-clients", "on"]).unwrap();
        assert!(!behind.legacy_clients && !behind.trusted_proxies.is_empty());
        assert_eq!(behind.app.registration, Registration::Invite, "strangers come through it");
        assert!(settings(&[]).unwrap().trusted_proxies.is_empty());
    }

    #[test]
    fn only_what_lies_right_in_the_credentials_directory_is_judged_by_its_place() {
        let mut settings = settings(&[]).unwrap();
        assert_eq!(settings.guard_of(Path::new("/run/credentials/x/jwt.key")), KeyGuard::Mode);
        settings.credentials_dir = Some("/run/credentials/x".into());
        assert_eq!(settings.guard_of(Path::new("/run/credentials/x/jwt.key")), KeyGuard::Place);
        assert_eq!(settings.guard_of(Path::new("/run/credentials/x/../../../home/jwt.key")), KeyGuard::Mode);
        assert_eq!(settings.guard_of(Path::new("jwt.key")), KeyGuard::Mode);
    }

    #[test]
    fn limits_that_contradict_each_other_are_refused() {
        let refused = settings(&["--max-text-bytes", "4096", "--max-request-bytes", "4100"]);
        assert_eq!(refused.err(), Some(SettingError::TextBeyondRequest));
    }
}
