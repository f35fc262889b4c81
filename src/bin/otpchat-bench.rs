//! The load generator.

use std::process::ExitCode;

use clap::Parser;
use grpc_otp_chat::bench::{self, args::Args};

fn main() -> ExitCode {
    bench::run(&Args::parse())
}
