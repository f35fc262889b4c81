//! The console client.

use std::process::ExitCode;

use clap::Parser;
use grpc_otp_chat::client::console::{self, args::Args};

fn main() -> ExitCode {
    console::run(&Args::parse())
}
