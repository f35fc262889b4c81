//! The server: parse, start, wait for a signal, stop, exit code.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use clap::Parser;
use grpc_otp_chat::clock::Clock;
use grpc_otp_chat::config::{Flags, Settings};
use grpc_otp_chat::server::{CHAT_TARGET, Progress, Running};
use indicatif::{ProgressBar, ProgressStyle};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

fn main() -> ExitCode {
    // Wrong flags end here with exit code 2.
    let flags = Flags::parse();
    let filter = flags.log.clone();
    let failed = |error: &dyn std::fmt::Display, code: u8| {
        let _ = writeln!(io::stderr(), "otpchatd: {error}");
        ExitCode::from(code)
    };
    match flags.check() {
        Err(error) => failed(&error, 2),
        Ok(settings) => match start_logging(&filter).and_then(|()| run(&settings)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&format!("{error:#}"), 1),
        },
    }
}

fn run(settings: &Settings) -> anyhow::Result<()> {
    // Before any thread is there, so that none misses it.
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("signals cannot be caught")?;
    let server = Running::start(settings, Clock::system(), &mut Bar::default())?;
    writeln!(io::stdout(), "Server started on port {}", server.port()).context("standard output")?;
    notify(&[NotifyState::Ready, NotifyState::Status(&format!("serving on port {}", server.port()))]);

    let first = signals.forever().next();
    log::info!("signal {}: stopping; a second one skips the grace period", first.unwrap_or(0));
    notify(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    let hurry = Arc::new(AtomicBool::new(false));
    let handle = signals.handle();
    let watcher = grpc_otp_chat::threads::Thread::spawn("signals", {
        let hurry = Arc::clone(&hurry);
        move || {
            if signals.forever().next().is_some() {
                hurry.store(true, Ordering::Relaxed);
            }
        }
    });
    server.stop(&|| hurry.load(Ordering::Relaxed));
    handle.close();
    drop(watcher);
    Ok(())
}

/// Tells systemd, where there is one.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::debug!("the service manager was not told: {error}");
    }
}

/// Log lines go to standard error; chat lines are bare, so that they read as the predecessor's.
fn start_logging(filter: &str) -> anyhow::Result<()> {
    let mut builder = env_logger::Builder::new();
    builder.parse_filters(filter);
    builder.format(|out, record| {
        if record.target() == CHAT_TARGET {
            return writeln!(out, "{}", record.args());
        }
        let style = out.default_level_style(record.level());
        writeln!(out, "{} {style}{:5}{style:#} {}", out.timestamp(), record.level(), record.args())
    });
    builder.try_init()?;
    std::panic::set_hook(Box::new(|info| {
        let thread = std::thread::current();
        log::error!("panic on {}: {info}", thread.name().unwrap_or("a thread"));
    }));
    Ok(())
}

/// Shows how far an upgrade is: a bar on a terminal, a log line every tenth elsewhere.
#[derive(Default)]
struct Bar {
    bar: Option<ProgressBar>,
}

impl Progress for Bar {
    fn upgraded(&mut self, done: usize, all: usize) {
        if io::stderr().is_terminal() {
            let bar = self.bar.get_or_insert_with(|| {
                let style = ProgressStyle::with_template("upgrading accounts {bar:40} {pos}/{len}, {eta} left");
                ProgressBar::new(all as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
            });
            bar.set_position(done as u64);
            if done == all {
                bar.finish_and_clear();
            }
        } else if done == all || done.is_multiple_of((all / 10).max(1)) {
            log::info!("upgrading accounts: {done} of {all}");
        }
    }
}
