//! Bounds of the hub.

/// Bounds of the hub.
#[derive(Clone, Copy, Debug)]
pub struct HubLimits {
    /// How many bytes of frames a mailbox refers to at most; a single frame always fits.
    pub mailbox_bytes: usize,
    /// How many bytes may wait in all mailboxes together, each frame counted once: a frame beyond it goes past the mailboxes.
    pub waiting_bytes: usize,
    /// How many streams there may be in all.
    pub streams: usize,
    /// How many streams a user may have.
    pub streams_per_user: usize,
}
