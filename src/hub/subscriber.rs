//! One subscriber, as the hub and its reader share it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread::{self, Thread};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::frame::{Audience, Deliver, Frame, Offered};
use super::limits::HubLimits;
use crate::base::lock::lock;
use crate::model::ids::{Cursor, SessionId, UserId};

/// A frame that may wait in mailboxes. Its bytes count towards the hub's bound, once, from when the first mailbox takes it
/// until the last one lets go of it.
pub(super) struct Queued<B> {
    pub(super) frame: Frame<B>,
    counted: AtomicBool,
    waiting: Arc<AtomicUsize>,
}

impl<B: Clone> Queued<B> {
    pub(super) fn batch(frames: &[Frame<B>], waiting: &Arc<AtomicUsize>) -> Vec<Arc<Queued<B>>> {
        let queued = |frame: &Frame<B>| {
            Arc::new(Queued { frame: frame.clone(), counted: AtomicBool::new(false), waiting: Arc::clone(waiting) })
        };
        frames.iter().map(queued).collect()
    }
}

impl<B> Queued<B> {
    fn count(&self) {
        if !self.counted.swap(true, Ordering::AcqRel) {
            self.waiting.fetch_add(self.frame.bytes, Ordering::AcqRel);
        }
    }
}

impl<B> Drop for Queued<B> {
    fn drop(&mut self) {
        if *self.counted.get_mut() {
            self.waiting.fetch_sub(self.frame.bytes, Ordering::AcqRel);
        }
    }
}

/// About what a mailbox takes for each frame in it, beside the frame itself, which all mailboxes share. Counts towards the
/// hub's bound as well.
pub(super) const SLOT_BYTES: usize = 64;

/// The receiving end of a mailbox.
pub(super) type Mailbox<B> = Receiver<Arc<Queued<B>>>;

pub(super) struct Subscriber<O: Deliver> {
    user_id: UserId,
    session: SessionId,
    reader: OnceLock<Thread>,
    session_ended: AtomicBool,
    draining: AtomicBool,
    /// Bytes of the frames in the mailbox, slots included.
    queued_bytes: AtomicUsize,
    inbox: Mutex<Inbox<O>>,
}

/// How a reader gets its frames at the moment.
pub(super) struct Inbox<O: Deliver> {
    mailbox: Sender<Arc<Queued<O::Body>>>,
    /// The mailbox reached its bound: it takes nothing until the reader rejoins.
    pub(super) behind: bool,
    /// The outlet of an idle reader.
    pub(super) lent: Option<Lent<O>>,
}

pub(super) struct Lent<O> {
    pub(super) outlet: O,
    /// The end of the last frame that went through it.
    pub(super) cursor: Cursor,
}

impl<O: Deliver> Subscriber<O> {
    pub(super) fn open(user_id: UserId, session: SessionId, behind: bool) -> (Arc<Subscriber<O>>, Mailbox<O::Body>) {
        // The bound is kept where the mailbox is filled: a bounded channel allocates all its slots at once, for every
        // idle stream.
        let (mailbox, frames) = unbounded();
        let subscriber = Subscriber {
            user_id,
            session,
            reader: OnceLock::new(),
            session_ended: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            queued_bytes: AtomicUsize::new(0),
            inbox: Mutex::new(Inbox { mailbox, behind, lent: None }),
        };
        (Arc::new(subscriber), frames)
    }

    pub(super) fn user_id(&self) -> UserId {
        self.user_id
    }

    pub(super) fn session(&self) -> SessionId {
        self.session
    }

    pub(super) fn inbox(&self) -> MutexGuard<'_, Inbox<O>> {
        lock(&self.inbox)
    }

    pub(super) fn attach_this_thread(&self) {
        let _ = self.reader.set(thread::current());
    }

    pub(super) fn wake(&self) {
        if let Some(reader) = self.reader.get() {
            reader.unpark();
        }
    }

    pub(super) fn end_session(&self) {
        self.session_ended.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn is_revoked(&self) -> bool {
        self.session_ended.load(Ordering::Acquire)
    }

    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Notes that a frame left the mailbox.
    pub(super) fn took(&self, queued: &Queued<O::Body>) {
        self.queued_bytes.fetch_sub(queued.frame.bytes + SLOT_BYTES, Ordering::AcqRel);
        queued.waiting.fetch_sub(SLOT_BYTES, Ordering::AcqRel);
    }

    fn put(&self, inbox: &Inbox<O>, queued: &Arc<Queued<O::Body>>) {
        queued.count();
        queued.waiting.fetch_add(SLOT_BYTES, Ordering::AcqRel);
        self.queued_bytes.fetch_add(queued.frame.bytes + SLOT_BYTES, Ordering::AcqRel);
        // A reader that is gone removes itself from the hub.
        if inbox.mailbox.send(Arc::clone(queued)).is_err() {
            self.took(queued);
        }
    }

    fn sees(&self, audience: Audience) -> bool {
        match audience {
            Audience::Everyone => true,
        }
    }

    /// Writes frames through a lent outlet, and puts the rest into the mailbox.
    pub(super) fn deliver(&self, frames: &[Arc<Queued<O::Body>>], limits: &HubLimits) {
        let mut inbox = self.inbox();
        if inbox.behind {
            return;
        }
        // A busy reader drains its mailbox before it parks.
        let is_idle = inbox.lent.is_some();
        let left = match self.write_at_once(&mut inbox, frames) {
            [] => return,
            left => left,
        };
        let mut has_work = false;
        for queued in left.iter().filter(|queued| self.sees(queued.frame.audience)) {
            has_work = true;
            if !self.has_room_for(queued, limits) {
                inbox.behind = true;
                break;
            }
            self.put(&inbox, queued);
        }
        drop(inbox);
        if is_idle && has_work {
            self.wake();
        }
    }

    fn has_room_for(&self, queued: &Queued<O::Body>, limits: &HubLimits) -> bool {
        let (own, all) = (self.queued_bytes.load(Ordering::Acquire), queued.waiting.load(Ordering::Acquire));
        let fits = own == 0 || own + queued.frame.bytes + SLOT_BYTES <= limits.mailbox_bytes;
        fits && all <= limits.waiting_bytes
    }

    /// Writes frames through the outlet as long as it takes them. Returns the rest.
    fn write_at_once<'f>(
        &self,
        inbox: &mut Inbox<O>,
        frames: &'f [Arc<Queued<O::Body>>],
    ) -> &'f [Arc<Queued<O::Body>>] {
        // Frames in the mailbox go first.
        if !inbox.mailbox.is_empty() {
            return frames;
        }
        let Some(Lent { outlet, cursor }) = &mut inbox.lent else { return frames };
        for (n, queued) in frames.iter().enumerate() {
            // The reader was woken when its session ended.
            if self.is_revoked() {
                return &[];
            }
            let frame = &queued.frame;
            if !frame.last.is_after(*cursor) || !self.sees(frame.audience) {
                continue;
            }
            // A panic in there ends this stream alone, not the publisher.
            let offered = catch_unwind(AssertUnwindSafe(|| outlet.offer(frame, *cursor))).unwrap_or_else(|_| {
                log::error!("a stream is ended: writing to it panicked");
                Offered::Gone
            });
            match offered {
                Offered::Taken => *cursor = Cursor::behind(frame.last),
                Offered::Busy => return frames.get(n..).unwrap_or_default(),
                Offered::Gone => {
                    // The stream's thread wakes and finds no outlet.
                    inbox.lent = None;
                    return frames.get(n..).unwrap_or_default();
                }
            }
        }
        &[]
    }
}
