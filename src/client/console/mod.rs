//! The console: asks, shows, sends.
//!
//! Four threads share the work. The main thread ([`main_loop`]) owns the line editor: it reads a line, handles it with blocking
//! calls, and reads the next. The thread `room` ([`room::printer`]) shows messages above the line that is being typed;
//! [`terminal::editor_gate`] keeps the two apart, and [`room::timeline`] knows which messages are on the screen. The thread
//! `stream` ([`crate::client::stream`]) reads the common room and reconnects. The thread `outbox` ([`room::outbox`]) sends lines,
//! and retries those without an answer. A fifth, `signals` ([`signals`]), puts the terminal back when the system ends the console.
//!
//! From the bottom up: [`text`] is every sentence in both languages; [`terminal`] reads lines and writes to the screen; [`room`]
//! reads, shows and sends messages; [`account_session`] is the connection and its session; [`context`] joins these for the
//! [`dialogues`], one file each; [`main_loop`] calls them by [`command`].

pub mod account_session;
pub mod args;
pub mod command;
pub mod context;
pub mod dialogues;
pub mod main_loop;
pub mod room;
pub mod signals;
pub mod terminal;
pub mod text;

use std::io;
use std::process::ExitCode;

use crate::base::escape::one_line;
use crate::base::terminal::{Output, echo_again};
use crate::client::console::args::Args;
use crate::client::console::command::DEFAULT_HISTORY;
use crate::client::console::context::ConsoleSettings;
use crate::client::console::signals::SignalGuard;
use crate::client::console::text::failures;
use crate::client::endpoint::Endpoint;
use crate::client::link::silence_core;
use crate::client::tls::Tls;
use crate::qr::file::remove_leftovers;

/// Runs the console to its end.
///
/// Exit code 0: `/quit` or the end of the input, and everything succeeded. Exit code 1: there is no such server, the terminal is
/// gone, or something failed that no person could put right.
pub fn run(args: &Args) -> ExitCode {
    let lang = args.language();
    let options = args.tls();
    let any_address = options.is_some() || args.plaintext_password_exposed_to_network;
    let endpoint = match Endpoint::resolve(&args.server, any_address) {
        Ok(endpoint) => endpoint,
        Err(error) => return cannot_start(&failures::endpoint(&error, lang)),
    };
    let tls = match options.map(|options| Tls::set_up(&options, &endpoint)).transpose() {
        Ok(tls) => tls,
        Err(error) => return cannot_start(&failures::tls_setup(&error, &endpoint.name().to_string(), lang)),
    };
    silence_core();
    let qr_dir = args.qr_directory();
    remove_leftovers(&qr_dir);
    let settings = ConsoleSettings { qr_dir, keep_qr: args.keep_qr, exposed: tls.is_none() && !endpoint.is_loopback() };
    let last = |is_terminal| args.history.unwrap_or(if is_terminal { DEFAULT_HISTORY } else { 0 });
    let ended = main_loop::start(&endpoint, tls, lang, settings, last).and_then(|cx| {
        let _signals = SignalGuard::start(cx.front.screen().is_terminal())?;
        main_loop::run(cx)
    });
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // The reader of our output has closed it, so there is nowhere to report this.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(error) => cannot_start(&error.to_string()),
    }
}

fn cannot_start(why: &str) -> ExitCode {
    echo_again();
    // If stderr is gone too, the exit code must be enough.
    let _ = Output::stderr().print_line(&format!("otpchat: {}", one_line(why)));
    ExitCode::FAILURE
}
