//! The view of the common room: the reader of the session, and the thread that prints.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crossbeam_channel::Sender;

use crate::base::lock::lock;
use crate::base::threads::Thread;
use crate::client::console::room::printer::RoomPrinter;
use crate::client::console::room::screen_event::ScreenEvent;
use crate::client::console::room::timeline::Timeline;
use crate::client::link::Link;
use crate::client::read_cursor::{ReadCursor, StreamState};
use crate::client::stream::{ReaderPlan, StreamReader};
use crate::security::secret::SecretText;

/// How long a login waits for the room's stream before it continues without.
const OPEN_LIMIT: Duration = Duration::from_secs(2);

/// The view of the common room. The fields are dropped in this order: the printer ends when every sender is gone.
pub struct RoomView {
    reader: Option<StreamReader>,
    events: Sender<ScreenEvent>,
    cursor: ReadCursor,
    stream_state: Arc<StreamState>,
    timeline: Arc<Mutex<Timeline>>,
    /// How many of the last messages to show after a login.
    last: u32,
    /// Joined when dropped.
    _printer: Thread,
}

impl RoomView {
    /// Starts the printer; `events` puts events into its channel.
    ///
    /// # Errors
    /// The system refuses another thread.
    pub fn start(
        printer: RoomPrinter,
        events: Sender<ScreenEvent>,
        stream_state: Arc<StreamState>,
        last: u32,
    ) -> io::Result<RoomView> {
        let timeline = printer.timeline.clone();
        let printer = Thread::spawn("room", move || printer.run())?;
        let cursor = ReadCursor::default();
        Ok(RoomView { reader: None, events, cursor, stream_state, timeline, last, _printer: printer })
    }

    /// Reads the room with the session of `token` from now on. An earlier reader ends once the new one has started.
    ///
    /// # Errors
    /// The system refuses another thread.
    pub fn read_with(&mut self, link: Arc<Link>, token: SecretText, generation: u64) -> io::Result<()> {
        let plan = ReaderPlan {
            link,
            token,
            generation,
            cursor: self.cursor.clone(),
            last: self.last,
            state: self.stream_state.clone(),
        };
        let reader = StreamReader::start(plan, self.events.clone())?;
        // So that older messages appear before anything that is said next, for example by this person.
        reader.wait_until_caught_up(OPEN_LIMIT);
        self.reader = Some(reader);
        Ok(())
    }

    /// Stops reading.
    pub fn stop_reading(&mut self) {
        self.reader = None;
    }

    /// Whether new messages arrive as they are said.
    pub fn is_live(&self) -> bool {
        self.stream_state.is_live()
    }

    /// Which messages are on the screen.
    pub fn timeline(&self) -> MutexGuard<'_, Timeline> {
        lock(&self.timeline)
    }
}
