//! Bounds of the store.

use std::time::Duration;

/// Bounds of the store.
#[derive(Clone, Debug)]
pub struct StoreLimits {
    /// How many connections read at once.
    pub readers: u32,
    /// How many connections read for streams that catch up; calls do not wait for those.
    pub replayers: u32,
    /// How long a reader waits for a connection.
    pub reader_wait: Duration,
    /// How many writes may wait.
    pub write_queue: usize,
    /// How many writes share a transaction at most.
    pub write_batch: usize,
    /// How long SQLite waits for a lock that another process holds on the file.
    pub busy_wait: Duration,
}
