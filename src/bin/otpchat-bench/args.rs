//! The flags of `otpchat-bench`.

use clap::{Parser, Subcommand};

use crate::http2::FIRST_WINDOW;
use crate::plan::{ReaderKind, StreamKind};
use crate::text::LEAST_BYTES;
use grpc_otp_chat::client::endpoint::ServerName;

const EXAMPLES: &str = "\
Examples:
  otpchat-bench burst --server-pid PID             how many deliveries a second, 100 connections with 10 streams each
  otpchat-bench burst --stream-kind message-stream --no-login
                                                   the same of any server of the Messaging service
  otpchat-bench paced --rate 20 --connections 1000 --streams 1000
  otpchat-bench idle --streams 10000 --server-pid PID
  otpchat-bench send --in-flight 256 --messages 100000
  otpchat-bench send --rate 200 --messages 2000 --json

Start the server with limits and throttles for it; script/bench does, and compares with others. The accounts and messages that
it makes stay on the server: use a throw-away data directory.

Exit code: 0 every stream got every message once and all in the same order, and no call failed; 1 otherwise; 2 wrong flags.";

/// Measures how fast otpchatd is: it registers users, opens streams, sends messages, and checks every delivery
#[derive(Clone, Debug, Parser)]
#[command(name = "otpchat-bench", version, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What to measure.
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
    /// The server, and how to measure it.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// What every scenario takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CommonArgs {
    /// The server; its first address is used
    #[arg(long, global = true, env = "OTPCHAT_SERVER", value_name = "HOST:PORT", default_value = "127.0.0.1:50051")]
    pub(crate) server: ServerName,
    /// The server's process, to report what it used
    #[arg(long, global = true, value_name = "PID")]
    pub(crate) server_pid: Option<u32>,
    /// Register no accounts and send no token: for other servers of the Messaging service
    #[arg(long, global = true)]
    pub(crate) no_login: bool,
    /// The call that opens streams
    #[arg(long, global = true, value_enum, default_value_t = StreamKind::Subscribe)]
    pub(crate) stream_kind: StreamKind,
    /// What reads the streams: `light` does as little as it takes, so that the server is what is measured; `grpcio` reads as an
    /// ordinary client does, which costs more than a fast server's sending
    #[arg(long, global = true, value_enum, default_value_t = ReaderKind::Light)]
    pub(crate) reader: ReaderKind,
    /// Accounts, which share the connections
    #[arg(long, global = true, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) users: u32,
    /// Connections that send
    #[arg(long, global = true, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) senders: u32,
    /// Bytes of a text
    #[arg(long, global = true, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(LEAST_BYTES as i64..=4_096))]
    pub(crate) bytes: u32,
    /// HTTP/2 window of a stream: bytes that the server may send on it before they are acknowledged. Most clients begin with
    /// the default
    #[arg(long, global = true, value_name = "BYTES", default_value_t = FIRST_WINDOW, value_parser = clap::value_parser!(u32).range(1_024..=0x7fff_ffff))]
    pub(crate) window: u32,
    /// Give each message an id of its sender (client_id), as the console does
    #[arg(long, global = true)]
    pub(crate) client_ids: bool,
    /// How long a round may take
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) limit_seconds: u64,
    /// One line of JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Load a server on another machine; passwords and messages cross the network in the clear
    #[arg(long, global = true)]
    pub(crate) beyond_this_machine: bool,
}

/// What can be measured.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Scenario {
    /// Deliveries a second: messages to many streams, as fast as they are answered
    Burst {
        /// The streams that listen.
        #[command(flatten)]
        audience: AudienceArgs,
        /// How many calls are unanswered at once.
        #[command(flatten)]
        flight: FlightArgs,
        /// The number of messages.
        #[command(flatten)]
        messages: MessageArgs,
    },
    /// Latency and processor time of deliveries at a rate
    Paced {
        /// The streams that listen.
        #[command(flatten)]
        audience: AudienceArgs,
        /// The rate.
        #[command(flatten)]
        rate: RateArgs,
        /// The number of messages.
        #[command(flatten)]
        messages: MessageArgs,
    },
    /// Memory of open streams; then one round, to know that all are served
    Idle {
        /// The streams that listen.
        #[command(flatten)]
        audience: AudienceArgs,
        /// The number of messages.
        #[command(flatten)]
        messages: MessageArgs,
    },
    /// SendMessage alone, without streams: as fast as it is answered, or at a --rate
    Send {
        /// How many calls are unanswered at once.
        #[command(flatten)]
        flight: FlightArgs,
        /// The number of messages.
        #[command(flatten)]
        messages: MessageArgs,
        /// Messages a second, whether answered or not
        #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
        rate: Option<f64>,
    },
    /// The first step of Login alone: password checks a second
    Logins {
        /// How many calls are unanswered at once.
        #[command(flatten)]
        flight: FlightArgs,
        /// The number of messages.
        #[command(flatten)]
        messages: MessageArgs,
    },
    /// What other clients notice of streams that are not read: the same round without them and with them
    Stalled {
        /// The streams that listen.
        #[command(flatten)]
        audience: AudienceArgs,
        /// The rate.
        #[command(flatten)]
        rate: RateArgs,
        /// The number of messages.
        #[command(flatten)]
        messages: MessageArgs,
        /// Streams that are not read, each on a connection of its own
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        stalled: u32,
    },
    /// Processor time of a delivery with 10, 100, 1000 and so on streams, up to --streams
    Slope {
        /// The streams that listen.
        #[command(flatten)]
        audience: AudienceArgs,
        /// How many calls are unanswered at once.
        #[command(flatten)]
        flight: FlightArgs,
        /// Deliveries for each number of streams
        #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1_000..=20_000_000))]
        deliveries: u32,
    },
    /// Pages of the history, from all over it, one after the other
    History {
        /// How many
        #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        pages: u32,
        /// Messages of a page
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
        page: u32,
    },
}

/// The streams that listen.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct AudienceArgs {
    /// Connections that listen
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) connections: u32,
    /// Streams on them, in total
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=30_000))]
    pub(crate) streams: u32,
}

/// How many calls are unanswered at once.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct FlightArgs {
    /// The most unanswered calls: a call waits for the answer to the call this far before it
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    pub(crate) in_flight: u32,
}

/// The rate.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct RateArgs {
    /// Messages a second
    #[arg(long, value_name = "PER_SECOND", default_value = "20", value_parser = rate)]
    pub(crate) rate: f64,
}

/// The number of messages.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct MessageArgs {
    /// Messages, or logins
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) messages: u32,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.1..=100_000.0).contains(&rate) => Ok(rate),
        _ => Err("a number from 0.1 to 100000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_flags_are_well_formed_and_stay_on_this_machine() {
        Args::command().debug_assert();
        let args = Args::try_parse_from(["otpchat-bench", "burst"]).unwrap();
        assert_eq!(args.common.server.to_string(), "127.0.0.1:50051");
        assert!(!args.common.beyond_this_machine);
        for wrong in [&["otpchat-bench"][..], &["otpchat-bench", "paced", "--rate", "nan"]] {
            assert!(Args::try_parse_from(wrong).is_err(), "{wrong:?}");
        }
    }
}
