//! What the hub carries: frames, each for an audience, and where they are written.

use crate::model::ids::{Cursor, EventId};

/// Committed events on their way to the streams, which all share the body.
#[derive(Clone, Debug)]
pub struct Frame<B> {
    /// The id of the first event.
    pub first: EventId,
    /// The id of the last event.
    pub last: EventId,
    /// Which streams may see it.
    pub audience: Audience,
    /// About how many bytes the body takes in memory.
    pub bytes: usize,
    /// The events. Cloning it must be cheap.
    pub body: B,
}

/// Which streams may see a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Every stream: the common room.
    Everyone,
}

/// Where a stream is written.
pub trait Deliver: Send {
    /// The events of a frame.
    type Body: Clone + Send + Sync;

    /// Starts to write what a frame holds after a cursor, if that is possible at once. Must not block.
    fn offer(&mut self, frame: &Frame<Self::Body>, after: Cursor) -> Offered;
}

/// The result of [`Deliver::offer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// The write has started, or the frame holds nothing for this stream.
    Taken,
    /// Nothing was written: the stream's own thread must do it.
    Busy,
    /// The client is gone.
    Gone,
}
