//! The limits: a flag for each, and the bounds that each room gets from them.

use std::num::NonZero;
use std::thread;
use std::time::Duration;

use crate::app::throttles::ThrottleLimits;
use crate::hub::HubLimits;
use crate::rpc::limits::{RpcLimits, ShareLimits};
use crate::security::throttle::Rate;
use crate::store::StoreLimits;
use crate::store::guesses::GuessLimits;

/// How long a stream that ends waits for its client to take the status.
const STREAM_END: Duration = Duration::from_millis(500);
/// Threads that work for the administrator alone: one may wait for a commit or a hash.
const ADMINISTRATOR_WORKERS: usize = 2;
/// How many messages a stream that fell behind reads from the store at once.
const CATCH_UP_PAGE: usize = 256;
/// How long a database connection waits for a lock of another process.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// The limits, as flags.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitFlags {
    /// Streams in total; each has a thread.
    #[arg(long, env = "OTPCHAT_MAX_STREAMS", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=30_000))]
    pub max_streams: u32,
    /// Streams of one user.
    #[arg(long, env = "OTPCHAT_MAX_STREAMS_PER_USER", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=30_000))]
    pub max_streams_per_user: u32,
    /// Kibibytes of events queued in memory for one stream. A stream that falls further behind reads them from the database.
    #[arg(long, env = "OTPCHAT_MAILBOX_KIB", default_value_t = 8_192, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub mailbox_kib: u32,
    /// Mebibytes of events queued in memory for all streams together; each event counts once.
    #[arg(long, env = "OTPCHAT_MAILBOXES_MIB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub mailboxes_mib: u32,
    /// Seconds that a client may leave its stream unread before the stream is ended.
    #[arg(long, env = "OTPCHAT_STREAM_STALL_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub stream_stall_seconds: u64,
    /// Approximate bytes of events in one gRPC message.
    #[arg(long, env = "OTPCHAT_BATCH_BYTES", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1_024..=1_048_576))]
    pub batch_bytes: u32,
    /// Seconds of silence before a subscriber gets a heartbeat.
    #[arg(long, env = "OTPCHAT_HEARTBEAT_SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub heartbeat_seconds: u64,
    /// Most messages in a page of the history, and most stored messages that a subscription starts with.
    #[arg(long, env = "OTPCHAT_MAX_HISTORY_PAGE", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub max_history_page: u32,
    /// Most bytes of a message's text.
    #[arg(long, env = "OTPCHAT_MAX_TEXT_BYTES", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=32_768))]
    pub max_text_bytes: u32,
    /// Most lines of a message's text.
    #[arg(long, env = "OTPCHAT_MAX_TEXT_LINES", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=32_768))]
    pub max_text_lines: u32,
    /// Most bytes of a request.
    #[arg(long, env = "OTPCHAT_MAX_REQUEST_BYTES", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1_024..=4_194_304))]
    pub max_request_bytes: u32,
    /// Most bytes of a call's headers.
    #[arg(long, env = "OTPCHAT_MAX_HEADER_BYTES", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(4_096..=1_048_576))]
    pub max_header_bytes: u32,
    /// Connections in total; fewer if the system allows fewer open files.
    #[arg(long, env = "OTPCHAT_MAX_CONNECTIONS", default_value_t = 12_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,
    /// Connections of one address (IPv6: of one /64). Loopback and trusted proxies are not limited.
    #[arg(long, env = "OTPCHAT_MAX_CONNECTIONS_PER_ADDRESS", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections_per_address: u32,
    /// Seconds that a new connection may take for TLS and its first HTTP/2 settings, and a call for its message.
    #[arg(long, env = "OTPCHAT_HANDSHAKE_SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=300))]
    pub handshake_seconds: u64,
    /// Minutes that a connection may stay without a call; an open stream is a call. Always longer than --waiting-minutes.
    #[arg(long, env = "OTPCHAT_IDLE_CONNECTION_MINUTES", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=1_440))]
    pub idle_connection_minutes: u64,
    /// Concurrent calls on one connection, streams included.
    #[arg(long, env = "OTPCHAT_MAX_CALLS_PER_CONNECTION", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub max_calls_per_connection: u32,
    /// Mebibytes of memory for connections and their buffers.
    #[arg(long, env = "OTPCHAT_TRANSPORT_MEMORY_MIB", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(16..=65_536))]
    pub transport_memory_mib: u32,
    /// Sessions of an account that wait for a code or enrolment; one more ends the oldest.
    #[arg(long, env = "OTPCHAT_MAX_WAITING_SESSIONS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub max_waiting_sessions: u32,
    /// Complete sessions of an account; one more ends the oldest.
    #[arg(long, env = "OTPCHAT_MAX_SESSIONS", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub max_sessions: u32,
    /// Minutes that a session waits for its code or enrolment.
    #[arg(long, env = "OTPCHAT_WAITING_MINUTES", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub waiting_minutes: u64,
    /// Hours that a session lasts from its code on.
    #[arg(long, env = "OTPCHAT_SESSION_HOURS", default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=8_760))]
    pub session_hours: u64,
    /// Hours that tokens under the old key stay valid after `otpchatd rotate-token-key`.
    #[arg(long, env = "OTPCHAT_OLD_JWT_KEY_HOURS", default_value_t = 24, value_parser = clap::value_parser!(u64).range(0..=8_760))]
    pub old_jwt_key_hours: u64,
    /// Hours that an account may stay without a second factor before it is deleted.
    #[arg(long, env = "OTPCHAT_UNENROLLED_HOURS", default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=8_760))]
    pub unenrolled_hours: u64,
    /// Budget of wrong codes of an account; see --wrong-code-hours. Only a new second factor restores the whole budget.
    #[arg(long, env = "OTPCHAT_WRONG_CODES", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub wrong_codes: u32,
    /// Hours until the budget of wrong codes regains one.
    #[arg(long, env = "OTPCHAT_WRONG_CODE_HOURS", default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=8_760))]
    pub wrong_code_hours: u64,
    /// Longest delay, in seconds, after wrong codes in a row (1, 2, 4 and so on from the second one).
    #[arg(long, env = "OTPCHAT_MAX_CODE_DELAY_SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub max_code_delay_seconds: u64,
    /// Wrong passwords for one account from one address (IPv6: one /64) before that address has to wait.
    #[arg(long, env = "OTPCHAT_WRONG_PASSWORDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub wrong_passwords: u32,
    /// Seconds until one more of these wrong passwords is allowed.
    #[arg(long, env = "OTPCHAT_WRONG_PASSWORD_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub wrong_password_seconds: u64,
    /// Passwords from one address, right or wrong and for any account, before it has to wait: each costs a hash.
    #[arg(long, env = "OTPCHAT_PASSWORDS_PER_ADDRESS", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub passwords_per_address: u32,
    /// Milliseconds until one more of these passwords is allowed.
    #[arg(long, env = "OTPCHAT_PASSWORD_PER_ADDRESS_MILLIS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    pub password_per_address_millis: u64,
    /// Registrations from one address before it has to wait.
    #[arg(long, env = "OTPCHAT_REGISTRATIONS_PER_ADDRESS", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub registrations_per_address: u32,
    /// Seconds until one more of these registrations is allowed.
    #[arg(long, env = "OTPCHAT_REGISTRATION_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub registration_seconds: u64,
    /// Codes and enrolments that a session may try in a burst; one more is allowed each second.
    #[arg(long, env = "OTPCHAT_STEPS_PER_SESSION", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub steps_per_session: u32,
    /// Addresses, and pairs of account and address, whose tries are counted apart; all beyond them share one count.
    #[arg(long, env = "OTPCHAT_THROTTLE_BUCKETS", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(16..=10_000_000))]
    pub throttle_buckets: u32,
    /// Recovery codes that an enrolment gives.
    #[arg(long, env = "OTPCHAT_RECOVERY_CODES", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub recovery_codes: u32,
    /// Hours that the administrator's enrolment code is valid.
    #[arg(long, env = "OTPCHAT_ENROLMENT_CODE_HOURS", default_value_t = 72, value_parser = clap::value_parser!(u64).range(1..=8_760))]
    pub enrolment_code_hours: u64,
    /// Messages that one person may send in a second, over time; a faster one waits for its turn, up to five seconds. 0 for any
    /// number.
    #[arg(long, env = "OTPCHAT_MESSAGES_PER_SECOND", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub messages_per_second: u32,
    /// Messages that one person may send at once before that rate holds.
    #[arg(long, env = "OTPCHAT_MESSAGE_BURST", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub message_burst: u32,
    /// Calls that one person may have under way, in all sessions together; 0 for any number.
    #[arg(long, env = "OTPCHAT_MAX_CALLS_PER_PERSON", default_value_t = 64, value_parser = clap::value_parser!(u32).range(0..=65_536))]
    pub max_calls_per_person: u32,
    /// Of these, calls for a page of the history and calls that open a stream; 0 for any number.
    #[arg(long, env = "OTPCHAT_MAX_LARGE_CALLS_PER_PERSON", default_value_t = 8, value_parser = clap::value_parser!(u32).range(0..=65_536))]
    pub max_large_calls_per_person: u32,
    /// Calls under way from one network (an IPv4 /24, an IPv6 /56) without a token that was seen before; 0 for any number.
    #[arg(long, env = "OTPCHAT_MAX_CALLS_PER_NETWORK", default_value_t = 512, value_parser = clap::value_parser!(u32).range(0..=65_536))]
    pub max_calls_per_network: u32,
    /// Kibibytes of answers that one person, or one such network, may leave unread; 0 for any number. One answer always goes
    /// out. An answer that stays unread for --stream-stall-seconds ends its call.
    #[arg(long, env = "OTPCHAT_MAX_UNREAD_KIB", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(0..=1_048_576))]
    pub max_unread_kib: u32,
    /// Threads that carry out calls.
    #[arg(long, env = "OTPCHAT_WORKERS", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub workers: u32,
    /// Calls queued for these threads; a call beyond them is told to try again.
    #[arg(long, env = "OTPCHAT_WORK_QUEUE", default_value_t = 4_096, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub work_queue: u32,
    /// Threads that hash passwords [default: one a core].
    #[arg(long, env = "OTPCHAT_HASHERS", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub hashers: Option<u32>,
    /// Calls queued for a hash; a call beyond them is told to try again.
    #[arg(long, env = "OTPCHAT_HASH_QUEUE", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub hash_queue: u32,
    /// Database connections that read for calls.
    #[arg(long, env = "OTPCHAT_READERS", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub readers: u32,
    /// Database connections that read for streams that fell behind.
    #[arg(long, env = "OTPCHAT_REPLAYERS", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub replayers: u32,
    /// Seconds that a call waits for a database connection.
    #[arg(long, env = "OTPCHAT_READER_WAIT_SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=300))]
    pub reader_wait_seconds: u64,
    /// Writes queued for the one writer; a call beyond them is told to try again.
    #[arg(long, env = "OTPCHAT_WRITE_QUEUE", default_value_t = 8_192, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub write_queue: u32,
    /// Most writes in one commit.
    #[arg(long, env = "OTPCHAT_WRITE_BATCH", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub write_batch: u32,
    /// Seconds that open calls have to end when the server stops.
    #[arg(long, env = "OTPCHAT_GRACE_SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=300))]
    pub grace_seconds: u64,
}

impl LimitFlags {
    pub(super) fn throttles(&self) -> ThrottleLimits {
        ThrottleLimits {
            passwords: Rate { burst: self.wrong_passwords, refill: Duration::from_secs(self.wrong_password_seconds) },
            hashes: Rate {
                burst: self.passwords_per_address,
                refill: Duration::from_millis(self.password_per_address_millis),
            },
            registrations: Rate {
                burst: self.registrations_per_address,
                refill: Duration::from_secs(self.registration_seconds),
            },
            steps: Rate { burst: self.steps_per_session, refill: Duration::from_secs(1) },
            messages: (self.messages_per_second > 0)
                .then(|| Rate { burst: self.message_burst, refill: Duration::from_secs(1) / self.messages_per_second }),
            buckets: self.throttle_buckets as usize,
        }
    }

    pub(super) fn guesses(&self) -> GuessLimits {
        GuessLimits {
            budget: self.wrong_codes,
            refill: hours(self.wrong_code_hours),
            longest_delay: Duration::from_secs(self.max_code_delay_seconds),
        }
    }

    pub(super) fn hub(&self) -> HubLimits {
        HubLimits {
            mailbox_bytes: self.mailbox_kib as usize * 1024,
            waiting_bytes: self.mailboxes_mib as usize * 1024 * 1024,
            streams: self.max_streams as usize,
            streams_per_user: self.max_streams_per_user as usize,
        }
    }

    pub(super) fn store(&self) -> StoreLimits {
        StoreLimits {
            readers: self.readers,
            replayers: self.replayers,
            reader_wait: Duration::from_secs(self.reader_wait_seconds),
            write_queue: self.write_queue as usize,
            write_batch: self.write_batch as usize,
            busy_wait: BUSY_WAIT,
        }
    }

    pub(super) fn rpc(&self) -> RpcLimits {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        RpcLimits {
            workers: self.workers as usize,
            work_queue: self.work_queue as usize,
            hashers: self.hashers.map_or(cores, |count| count as usize),
            hash_queue: self.hash_queue as usize,
            administrator_workers: ADMINISTRATOR_WORKERS,
            share: ShareLimits {
                calls_per_person: self.max_calls_per_person as usize,
                large_calls_per_person: self.max_large_calls_per_person as usize,
                calls_per_network: self.max_calls_per_network as usize,
                unread_bytes: self.max_unread_kib as usize * 1024,
                answer_stall: Duration::from_secs(self.stream_stall_seconds),
            },
            request_bytes: self.max_request_bytes,
            header_bytes: self.max_header_bytes,
            connections: self.max_connections as usize,
            connections_per_address: self.max_connections_per_address as usize,
            handshake: Duration::from_secs(self.handshake_seconds),
            // An old client is recognised by its connection while its user looks for the code.
            connection_idle: minutes(self.idle_connection_minutes.max(self.waiting_minutes + 1)),
            calls_per_connection: self.max_calls_per_connection,
            transport_bytes: self.transport_memory_mib as usize * 1024 * 1024,
            stream_stall: Duration::from_secs(self.stream_stall_seconds),
            stream_end: STREAM_END,
            catch_up_page: CATCH_UP_PAGE,
            batch_bytes: self.batch_bytes as usize,
            heartbeat: Duration::from_secs(self.heartbeat_seconds),
        }
    }
}

pub(super) fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

pub(super) fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 3_600)
}
