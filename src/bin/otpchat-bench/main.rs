//! The load generator, `otpchat-bench`: it speaks the public protocol, checks every delivery, and says how fast the server was.
//!
//! # The tour
//!
//! [`args`] says what can be measured. A `test_bed` is a server with accounts that were registered and enrolled through the
//! real calls (`accounts`, by the console's own client), and streams that listen (`readers`). A round sends messages
//! ([`calls`], with a time stamp in each text: `text`) and waits until every stream has received every one of them once, all
//! in the same order (`deliveries`, [`check`]). `scenarios` makes figures of a round ([`report`]), with what the server used
//! for it ([`process`]).
//!
//! Calls and streams under load go through `connection`, which implements as much of HTTP/2 as that takes (`http2`): grpcio
//! takes many times longer to read a message than a fast server to send it, and the generator would measure itself.
//! `grpcio_reader` reads the streams by grpcio all the same, if asked to, to measure what ordinary clients notice.

mod accounts;
mod args;
mod calls;
mod check;
mod connection;
mod deliveries;
mod error;
mod grpcio_reader;
mod http2;
mod latency;
mod light_reader;
mod plan;
mod process;
mod readers;
mod report;
mod scenarios;
mod stop;
mod test_bed;
mod text;

use std::process::ExitCode;

use clap::Parser;

use self::args::Args;
use self::error::BenchError;
use self::stop::Stop;
use grpc_otp_chat::base::terminal::Output;
use grpc_otp_chat::client::link::silence_core;

/// Exit code 0 if everything that was sent arrived as it should, else 1.
fn main() -> ExitCode {
    let args = Args::parse();
    silence_core();
    let outcome = Stop::at_signals().map_err(BenchError::from_machine).and_then(|stop| {
        let figures = scenarios::run(&args, &stop)?;
        let text = if args.common.json { figures.json() } else { figures.table() };
        Output::stdout().print_line(&text).map_err(BenchError::from_machine)
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = Output::stderr().print_line(&format!("otpchat-bench: {error}"));
            ExitCode::FAILURE
        }
    }
}
