//! The load generator, `otpchat-bench`: it speaks the public protocol, checks what it gets, and says how fast that was.
//!
//! # The tour
//!
//! [`args`] says what can be measured. A `scene` is a server with accounts that were registered and enrolled through the real
//! calls (`accounts`, by the console's own client), and streams that listen (`readers`). A round sends messages
//! ([`calls`], whose texts say when: `text`) and waits until every stream has every one of them once, all in the same order
//! ([`check`]). `scenarios` makes figures of that ([`report`]), with what the server used for it ([`process`]).
//!
//! Calls and streams under load go through `connection`, which knows as much of HTTP/2 as that takes (`http2`): grpcio takes
//! many times longer to read a message than a fast server to send it, and the generator would measure itself. What clients
//! notice that read as grpcio does is measured as well, when asked for (`ordinary`).

mod accounts;
mod args;
mod calls;
mod check;
mod connection;
mod http2;
mod latency;
mod ordinary;
mod process;
mod readers;
mod report;
mod scenarios;
mod scene;
mod text;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Parser, ValueEnum};
use signal_hook::consts::{SIGINT, SIGTERM};

use self::args::Args;
use grpc_otp_chat::client::endpoint::EndpointError;
use grpc_otp_chat::client::error::CallError;
use grpc_otp_chat::client::link::silence_core;

/// Which call streams are opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StreamKind {
    /// `Messaging.Subscribe`: many events in one gRPC message.
    Subscribe,
    /// `Messaging.MessageStream`: one gRPC message for each.
    MessageStream,
}

impl StreamKind {
    fn method(self) -> &'static str {
        match self {
            StreamKind::Subscribe => grpc_otp_chat::proto::methods::SUBSCRIBE.name,
            StreamKind::MessageStream => grpc_otp_chat::proto::methods::MESSAGE_STREAM.name,
        }
    }

    /// The message of the call.
    fn request(self) -> &'static [u8] {
        match self {
            // SubscribeRequest { now: true }
            StreamKind::Subscribe => &[0x08, 0x01],
            StreamKind::MessageStream => &[],
        }
    }
}

/// Who reads the streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Reader {
    /// As little as it takes, so that the server is what is measured.
    Light,
    /// grpcio, as an ordinary client.
    Grpcio,
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// What was asked for cannot be.
    #[error("{0}")]
    Asked(String),
    /// The server is not there, or not on this machine.
    #[error("{0}; load for another machine has to be asked for with --beyond-this-machine")]
    Endpoint(#[from] EndpointError),
    /// A user was not let in.
    #[error("{login} cannot {what}: {cause}; start the server as script/bench does, with throttles for many logins")]
    Account {
        /// Who.
        login: String,
        /// What he tried.
        what: &'static str,
        /// What the server said.
        cause: CallError,
    },
    /// A connection broke.
    #[error("a connection to the server failed: {0}")]
    Connection(#[source] io::Error),
    /// What the streams brought was wrong.
    #[error("wrong deliveries: {}", .0.join("; "))]
    Faults(Vec<String>),
    /// The limit was over before everything was there.
    #[error("{missing} {what} were missing when the time was over; see --limit-seconds")]
    TooSlow {
        /// Of what.
        what: &'static str,
        /// How many.
        missing: u32,
    },
    /// Calls failed.
    #[error("{0} calls failed; the server's log may say why")]
    Failed(u32),
    /// The process of the server.
    #[error("process {0} (--server-pid) cannot be looked at: {1}")]
    Process(u32, #[source] io::Error),
    /// This machine.
    #[error("this machine does not do its part: {0}")]
    Machine(String),
    /// Ctrl-C.
    #[error("stopped")]
    Stopped,
}

/// Whether somebody wants it stopped: Ctrl-C, or SIGTERM.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    fn at_signals() -> io::Result<Stop> {
        let stop = Stop::default();
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&stop.0))?;
        }
        Ok(stop)
    }

    fn check(&self) -> Result<(), BenchError> {
        if self.0.load(Ordering::SeqCst) { Err(BenchError::Stopped) } else { Ok(()) }
    }
}

/// Exit code 0 if everything that was sent arrived as it should, else 1.
fn main() -> ExitCode {
    let args = Args::parse();
    silence_core();
    let outcome = Stop::at_signals().map_err(|error| BenchError::Machine(error.to_string())).and_then(|stop| {
        let figures = scenarios::run(&args, &stop)?;
        let text = if args.common.json { figures.json() } else { figures.table() };
        writeln!(io::stdout(), "{text}").map_err(|error| BenchError::Machine(error.to_string()))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "otpchat-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
