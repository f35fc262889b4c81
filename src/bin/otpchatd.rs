//! The server, and the administrator's commands: parses the command line, runs, and ends with an exit code.

use std::fmt::Display;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Mutex;

use anyhow::Context;
use clap::Parser;
use grpc_otp_chat::admin::{
    self,
    args::{AdminCommand, CommandLine},
};
use grpc_otp_chat::base::clock::Clock;
use grpc_otp_chat::base::logging::{self, LogError};
use grpc_otp_chat::base::terminal::{Output, stderr_is_terminal};
use grpc_otp_chat::config::Settings;
use grpc_otp_chat::rpc;
use grpc_otp_chat::server::{NoProgress, Progress, Running};
use indicatif::{ProgressBar, ProgressStyle};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

fn main() -> ExitCode {
    // Wrong flags end here with exit code 2.
    let CommandLine { command, flags } = CommandLine::parse();
    // A command prints its own result, so that only warnings are worth a line.
    let filter = if command.is_some() { "warn".to_owned() } else { flags.log.clone() };
    let failed = |error: &dyn Display, code: u8| {
        let _ = Output::stderr().print_line(&format!("otpchatd: {error}"));
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
    // Writes the last lines of the log before the error.
    drop(log);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error, 1),
    }
}

/// Carries out an administrator's command.
fn administrate(settings: &Settings, command: AdminCommand) -> anyhow::Result<()> {
    if let AdminCommand::Rekey(_) = command {
        // Signals are caught, so that it stops where it may.
        let signals = Signals::new([SIGINT, SIGTERM]).context("signals cannot be caught")?;
        return Ok(admin::run(settings, command, &mut LongWork { signals, bar: None })?);
    }
    Ok(admin::run(settings, command, &mut NoProgress)?)
}

fn run(settings: &Settings) -> anyhow::Result<()> {
    // Before the server starts, so that no signal is missed meanwhile.
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("signals cannot be caught")?;
    let mut progress = LongWork { signals, bar: None };
    let server = Running::start(settings, Clock::system(), &mut progress)?;
    let mut signals = progress.signals;
    Output::stdout().print_line(&format!("Server started on port {}", server.port())).context("standard output")?;
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

/// Tells the service manager, if there is one.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::debug!("the service manager was not told: {error}");
    }
}

/// Shows how far long work is: with a bar on a terminal, else with a log line at every tenth. A signal stops the work.
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
        if stderr_is_terminal() {
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
