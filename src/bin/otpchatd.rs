//! The server: parse, start, wait for a signal, stop, exit code.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Mutex;

use anyhow::Context;
use clap::Parser;
use grpc_otp_chat::admin::{self, args::Command};
use grpc_otp_chat::base::clock::Clock;
use grpc_otp_chat::base::logging::{self, LogError};
use grpc_otp_chat::config::{Flags, Settings};
use grpc_otp_chat::rpc;
use grpc_otp_chat::server::{NoProgress, Progress, Running};
use indicatif::{ProgressBar, ProgressStyle};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

fn main() -> ExitCode {
    // Wrong flags end here with exit code 2.
    let mut flags = Flags::parse();
    let command = flags.command.take();
    // The tool's own words are enough, unless something is wrong.
    let filter = if command.is_some() { "warn".to_owned() } else { flags.log.clone() };
    let failed = |error: &dyn Display, code: u8| {
        let _ = writeln!(io::stderr(), "otpchatd: {error}");
        ExitCode::from(code)
    };
    let settings = match flags.check() {
        Ok(settings) => settings,
        Err(error) => return failed(&error, 2),
    };
    let log = match logging::start(&filter) {
        Ok(log) => log,
        Err(error @ LogError::Filter { .. }) => return failed(&error, 2),
        Err(error) => return failed(&error, 1),
    };
    rpc::redirect_log();
    let outcome = match command {
        None => run(&settings),
        Some(command) => administrate(&settings, command),
    };
    // The last lines of the log go first.
    drop(log);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error, 1),
    }
}

/// The administrator's tool.
fn administrate(settings: &Settings, command: Command) -> anyhow::Result<()> {
    if let Command::Rekey(_) = command {
        // Caught, so that it stops where it may.
        let signals = Signals::new([SIGINT, SIGTERM]).context("signals cannot be caught")?;
        return Ok(admin::run(settings, command, &mut LongWork { signals, bar: None })?);
    }
    Ok(admin::run(settings, command, &mut NoProgress)?)
}

fn run(settings: &Settings) -> anyhow::Result<()> {
    // Before any thread of the server is there, so that none misses it.
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("signals cannot be caught")?;
    let mut progress = LongWork { signals, bar: None };
    let server = Running::start(settings, Clock::system(), &mut progress)?;
    let mut signals = progress.signals;
    writeln!(io::stdout(), "Server started on port {}", server.port()).context("standard output")?;
    notify(&[NotifyState::Ready, NotifyState::Status(&format!("serving on port {}", server.port()))]);

    let first = signals.forever().find(|signal| {
        if *signal == SIGHUP {
            log::info!("signal {SIGHUP}: reading the certificate again");
            server.reload();
        }
        ends(signal)
    });
    log::info!("signal {}: stopping; a second one skips the grace period", first.unwrap_or(0));
    notify(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    let second = Mutex::new((signals, false));
    server.stop(&|| {
        second.lock().is_ok_and(|mut second| {
            second.1 |= second.0.pending().any(|signal| ends(&signal));
            second.1
        })
    });
    Ok(())
}

/// Whether a signal asks the server to end.
fn ends(signal: &i32) -> bool {
    *signal != SIGHUP
}

/// Tells systemd, where there is one.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::debug!("the service manager was not told: {error}");
    }
}

/// Shows how far something is that takes long: a bar on a terminal, a log line every tenth elsewhere. A signal stops it.
struct LongWork {
    signals: Signals,
    bar: Option<ProgressBar>,
}

impl Progress for LongWork {
    fn upgraded(&mut self, done: usize, all: usize) -> ControlFlow<()> {
        self.show("upgrading accounts", done, all)
    }

    fn sealed(&mut self, done: usize, all: usize) -> ControlFlow<()> {
        self.show("sealing secrets", done, all)
    }
}

impl LongWork {
    fn show(&mut self, what: &str, done: usize, all: usize) -> ControlFlow<()> {
        if io::stderr().is_terminal() {
            let bar = self.bar.get_or_insert_with(|| {
                let style = ProgressStyle::with_template(&format!("{what} {{bar:40}} {{pos}}/{{len}}, {{eta}} left"));
                ProgressBar::new(all as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
            });
            bar.set_position(done as u64);
            if done == all {
                bar.finish_and_clear();
            }
        } else if done == all || done.is_multiple_of((all / 10).max(1)) {
            log::info!("{what}: {done} of {all}");
        }
        if self.signals.pending().any(|signal| ends(&signal)) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}
