//! The thread that deletes what has expired, and looks for changed TLS files.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::base::threads::Thread;
use crate::rpc::edge::tls::CertificateWatch;
use crate::rpc::shared::Shared;

/// How often it looks for expired sessions, codes, accounts and messages.
const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// How many sweeps lie between two looks at the TLS files: 3 s.
const SWEEPS_PER_LOOK: u32 = 6;

/// The running janitor.
pub(super) struct Janitor {
    /// A message makes it read the TLS files at once; without a sender it ends.
    reload: Option<Sender<()>>,
    thread: Option<Thread>,
}

impl Janitor {
    pub(super) fn start(shared: Arc<Shared>, watch: Option<CertificateWatch>) -> io::Result<Janitor> {
        let (reload, asked) = bounded(1);
        let thread = Thread::spawn("janitor", move || run(&shared, watch, &asked))?;
        Ok(Janitor { reload: Some(reload), thread: Some(thread) })
    }

    /// Makes it read the TLS files again.
    pub(super) fn reload(&self) {
        if let Some(reload) = &self.reload {
            // A request that is already queued reads the present files as well.
            let _ = reload.try_send(());
        }
    }

    pub(super) fn stop(&mut self, limit: Duration) {
        self.reload = None;
        if let Some(thread) = self.thread.take() {
            thread.join_within(limit);
        }
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        // Before the thread is joined.
        self.reload = None;
    }
}

fn run(shared: &Shared, mut watch: Option<CertificateWatch>, asked: &Receiver<()>) {
    let mut sweeps: u32 = 0;
    loop {
        match (asked.recv_timeout(SWEEP_EVERY), &mut watch) {
            (Err(RecvTimeoutError::Disconnected), _) => return,
            (Ok(()), Some(watch)) => watch.read_again(shared.app.clock.now()),
            (Ok(()), None) => log::info!("there is no TLS certificate to read again"),
            (Err(RecvTimeoutError::Timeout), Some(watch)) if sweeps.is_multiple_of(SWEEPS_PER_LOOK) => {
                watch.look(shared.app.clock.now());
            }
            (Err(RecvTimeoutError::Timeout), _) => {}
        }
        sweeps = sweeps.wrapping_add(1);
        shared.streams.reap();
        shared.fair_share.end_unread_answers();
        if let Err(error) = shared.app.sweep() {
            log::warn!("what has expired could not be deleted yet: {error}");
        }
    }
}
