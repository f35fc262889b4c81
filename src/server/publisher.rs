//! The thread between writer and hub.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::{Arc, OnceLock};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::base::threads::Thread;
use crate::hub::Hub;
use crate::model::event::Event;
use crate::rpc::stream::Outlet;
use crate::rpc::wire::{self, Batch};

/// The hub of the streams of this server.
pub(super) type StreamHub = Arc<Hub<Outlet>>;

/// How many commits may wait for the publisher; after that the writer waits.
const QUEUE_COMMITS: usize = 256;

/// Publishes committed events on a thread of its own, so that a sender is answered before its message is written to a thousand
/// streams. Commits that queue up meanwhile are published together.
pub(super) struct Publisher {
    // Dropped first: the thread ends once its queue is empty.
    commits: Sender<Vec<Event>>,
    _thread: Thread,
}

impl Publisher {
    /// Starts the thread. The hub has to be set before the first commit; a write to the streams has about `batch_bytes`.
    pub(super) fn start(hub: Arc<OnceLock<StreamHub>>, batch_bytes: usize) -> io::Result<Publisher> {
        let (commits, committed) = bounded(QUEUE_COMMITS);
        let thread = Thread::spawn("publisher", move || {
            let publishing = AssertUnwindSafe(|| publish_all(&committed, &hub, batch_bytes));
            if catch_unwind(publishing).is_err() {
                // Streams that stay silent while messages are acknowledged are worse than no server: the service manager starts
                // another one, and every client resumes at its cursor.
                log::error!("publishing panicked: the server ends at once");
                process::abort();
            }
        })?;
        Ok(Publisher { commits, _thread: thread })
    }

    /// Queues a commit. Calls have to come in the order of the commits.
    pub(super) fn publish(&self, events: Vec<Event>) {
        // The thread lives as long as its sender.
        let _ = self.commits.send(events);
    }
}

fn publish_all(committed: &Receiver<Vec<Event>>, hub: &OnceLock<StreamHub>, batch_bytes: usize) {
    // A commit that did not fit into the write before it.
    let mut next = None;
    while let Some(mut events) = next.take().or_else(|| committed.recv().ok()) {
        let mut size = wire::event_bytes(&events);
        while let Ok(more) = committed.try_recv() {
            size += wire::event_bytes(&more);
            if size > batch_bytes {
                next = Some(more);
                break;
            }
            events.extend(more);
        }
        if let Some(hub) = hub.get() {
            hub.publish(&Batch::frames(events, batch_bytes));
        }
    }
}
