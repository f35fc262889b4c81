//! Named threads that their owner joins.

use std::io;
use std::thread::{Builder, JoinHandle};

/// A running thread. Dropping it joins the thread: whoever drops it must have told it to end before.
#[derive(Debug)]
pub(super) struct Thread(Option<JoinHandle<()>>);

impl Thread {
    /// Starts a thread; its name has at most 15 bytes, or Linux cuts it off.
    pub(super) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<Thread> {
        Builder::new().name(name.to_owned()).spawn(body).map(|handle| Thread(Some(handle)))
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            // Its panic has been printed by the panic hook; there is nobody to hand it on to.
            let _ = handle.join();
        }
    }
}
