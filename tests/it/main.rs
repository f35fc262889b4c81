//! End to end: real processes, real terminals, a real wire.
//!
//! Every test waits for the event that it expects, with a limit that only a fault can reach. No test sleeps.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a failing test panics"
)]

mod account;
mod admin;
mod attacks;
mod authenticator;
mod bench;
mod c_core;
mod certificates;
mod console;
mod crash;
mod daemon;
mod documents;
mod drawing;
mod fair_share;
mod history;
mod language;
mod own_account;
mod programs;
mod screen;
mod sources;
mod start;
mod streams;
mod subscribe;
mod terminal;
mod test_server;
mod tls;
mod upgrade;
mod watch;
mod written;

use std::time::Duration;

/// How long anything may take before it counts as a fault.
const LIMIT: Duration = Duration::from_secs(60);
