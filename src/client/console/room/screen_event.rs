//! What the printer shows.

use crate::client::console::room::send_queue::LateOutcome;
use crate::client::stream::StreamEvent;

/// Something for the printer to show.
#[derive(Debug)]
pub enum ScreenEvent {
    /// From a stream reader, with the generation of its session.
    Stream(u64, StreamEvent),
    /// From the outbox.
    Outbox(LateOutcome),
}

impl From<(u64, StreamEvent)> for ScreenEvent {
    fn from((generation, event): (u64, StreamEvent)) -> ScreenEvent {
        ScreenEvent::Stream(generation, event)
    }
}
