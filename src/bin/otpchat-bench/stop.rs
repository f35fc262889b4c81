//! Stopping before the end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::error::BenchError;

/// Whether Ctrl-C or SIGTERM came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Catches the signals.
    pub(crate) fn at_signals() -> io::Result<Stop> {
        let stop = Stop::default();
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&stop.0))?;
        }
        Ok(stop)
    }

    /// # Errors
    /// A signal came.
    pub(crate) fn check(&self) -> Result<(), BenchError> {
        if self.0.load(Ordering::SeqCst) { Err(BenchError::Stopped) } else { Ok(()) }
    }
}
