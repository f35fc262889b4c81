//! End to end: real processes, real terminals, a real wire.
//!
//! Everything here waits for what it expects, with a limit that only a fault can reach. Nothing sleeps.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that fails says so by a panic"
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
mod history;
mod house;
mod own_account;
mod readme;
mod screen;
mod sources;
mod start;
mod streams;
mod subscribe;
mod tls;
mod upgrade;
mod watch;

use std::time::Duration;

/// How long anything may take before it counts as a fault.
const LIMIT: Duration = Duration::from_secs(60);
