//! What streams write: messages encoded once, and shared by reference between all of them.

use std::slice;
use std::sync::{Arc, OnceLock};

use grpcio::{Error, GrpcSlice, Marshaller, Method, MethodType, pb_ser};

use crate::hub::{self, Frame};
use crate::model::event::{self, Audience, EventKind};
use crate::model::ids::{Cursor, RoomId};
use crate::proto::methods;
use crate::proto::{Empty, Event, EventBatch, Happened, Message, SubscribeRequest, timestamp};

/// A stream whose answers are slices: cloning one counts a reference, it copies nothing.
const fn written<Q: protobuf::Message>(name: &'static str) -> Method<Q, GrpcSlice> {
    Method {
        ty: MethodType::ServerStreaming,
        name,
        req_mar: Marshaller { ser: pb_ser, de: methods::decode_request },
        resp_mar: Marshaller {
            ser: |slice, buffer| {
                *buffer = slice.clone();
                Ok(())
            },
            de: |_| Err(Error::Codec("slices are only written".into())),
        },
    }
}

/// `Messaging.MessageStream` as the server writes it.
pub static MESSAGE_STREAM: Method<Empty, GrpcSlice> = written(methods::MESSAGE_STREAM.name);
/// `Messaging.Subscribe` as the server writes it.
pub static SUBSCRIBE: Method<SubscribeRequest, GrpcSlice> = written(methods::SUBSCRIBE.name);

/// Messages in order, encoded when the first stream asks for it, in either form.
#[derive(Debug)]
pub struct Batch {
    messages: Vec<event::Event>,
    each: OnceLock<Vec<GrpcSlice>>,
    events: OnceLock<GrpcSlice>,
}

/// A frame of messages, as the hub carries it.
pub type BatchFrame = Frame<Arc<Batch>>;

impl Batch {
    /// Events, of which there is at least one, as a frame. Its body has the events that streams carry.
    pub fn frame(mut messages: Vec<event::Event>) -> Option<BatchFrame> {
        let (first, last) = (messages.first()?.id, messages.last()?.id);
        messages.retain(is_carried);
        // They are kept as they came, and encoded in one form or both.
        let bytes = 2 * event_bytes(&messages);
        let body = Arc::new(Batch { messages, each: OnceLock::new(), events: OnceLock::new() });
        Some(Frame { first, last, audience: hub::Audience::Everyone, bytes, body })
    }

    /// Frames of a commit: together, but none beyond `bytes` unless a single message is.
    pub fn frames(messages: Vec<event::Event>, bytes: usize) -> Vec<BatchFrame> {
        let (mut frames, mut next, mut size) = (Vec::new(), Vec::new(), 0);
        for message in messages {
            let more = event_bytes(slice::from_ref(&message));
            if size + more > bytes && !next.is_empty() {
                frames.extend(Batch::frame(std::mem::take(&mut next)));
                size = 0;
            }
            size += more;
            next.push(message);
        }
        frames.extend(Batch::frame(next));
        frames
    }

    /// Each message after a cursor, by itself.
    pub fn each_after(&self, after: Cursor) -> impl Iterator<Item = GrpcSlice> {
        let each = filled(&self.each, || self.messages.iter().map(|m| encoded(&message(m))).collect());
        let from = self.messages.partition_point(|m| !m.id.is_after(after));
        each.get(from..).unwrap_or_default().iter().cloned()
    }

    /// The messages after a cursor as events of one batch; `None` if there is none.
    pub fn events_after(&self, after: Cursor) -> Option<GrpcSlice> {
        let from = self.messages.partition_point(|m| !m.id.is_after(after));
        match (from, self.messages.get(from..).unwrap_or_default()) {
            (_, []) => None,
            (0, all) => Some(filled(&self.events, || events(all)).clone()),
            (_, rest) => Some(events(rest)),
        }
    }
}

/// Whether streams carry an event: they do messages of the common room. They pass over every other event.
fn is_carried(event: &event::Event) -> bool {
    match (event.kind, event.audience) {
        (EventKind::Message, Audience::Room(room) | Audience::RoomAndPerson(room, _)) => room == RoomId::COMMON,
        (EventKind::Message, Audience::Person(_)) => false,
    }
}

/// The content of a cell. An empty one is filled with what is made outside of it, so that no thread waits for another.
fn filled<T>(cell: &OnceLock<T>, make: impl FnOnce() -> T) -> &T {
    match cell.get() {
        Some(made) => made,
        None => {
            let made = make();
            cell.get_or_init(|| made)
        }
    }
}

/// About what an event takes beside author and text.
const EVENT_BYTES: usize = 40;

/// How many bytes messages take as events, about.
pub fn event_bytes(messages: &[event::Event]) -> usize {
    messages.iter().map(|message| message.author.len() + message.text.len() + EVENT_BYTES).sum()
}

fn events(messages: &[event::Event]) -> GrpcSlice {
    let mut batch = EventBatch::new();
    batch.events = messages
        .iter()
        .map(|m| Event { cursor: m.id.to_wire(), event: Some(Happened::Message(message(m))), ..Default::default() })
        .collect();
    encoded(&batch)
}

/// Something that is no message, as a batch of its own.
pub fn event(cursor: Cursor, happened: Happened) -> GrpcSlice {
    let event = Event { cursor: cursor.to_wire(), event: Some(happened), ..Default::default() };
    encoded(&EventBatch { events: vec![event], ..Default::default() })
}

/// Batches as one: the encodings of a message with nothing but a repeated field may be joined (Protocol Buffers, "Last One
/// Wins").
pub fn joined(batches: &[GrpcSlice]) -> GrpcSlice {
    match batches {
        [batch] => batch.clone(),
        batches => GrpcSlice::from(batches.iter().map(GrpcSlice::as_slice).collect::<Vec<_>>().concat()),
    }
}

/// A message as the wire has it.
pub fn message(stored: &event::Event) -> Message {
    Message {
        author: stored.author.clone(),
        text: stored.text.clone(),
        send_time: Some(timestamp(stored.at)).into(),
        id: stored.id.to_wire(),
        ..Default::default()
    }
}

fn encoded(message: &impl protobuf::Message) -> GrpcSlice {
    // It fails for no message of ours: nothing in them is required, and none is beyond 2 GiB.
    let mut bytes = message.write_to_bytes().unwrap_or_default();
    // A vector without spare room becomes a slice without a copy.
    bytes.shrink_to_fit();
    GrpcSlice::from(bytes)
}

#[cfg(test)]
mod tests {
    use protobuf::Message as _;

    use super::*;
    use crate::base::clock::Time;
    use crate::model::event::EventKind;
    use crate::model::ids::testing::{cursor, event as id};
    use crate::model::ids::{RoomId, UserId};

    fn stored(ids: std::ops::RangeInclusive<i64>) -> Vec<event::Event> {
        let message = |number| event::Event {
            id: id(number),
            kind: EventKind::Message,
            audience: event::Audience::Room(RoomId::COMMON),
            author_id: UserId::from_number(1),
            author: "user1".into(),
            text: "Привет!".into(),
            at: Time::from_micros(1_500_001),
        };
        ids.map(message).collect()
    }

    fn cursors(slice: &GrpcSlice) -> Vec<u64> {
        EventBatch::parse_from_bytes(slice.as_slice()).unwrap().events.iter().map(|event| event.cursor).collect()
    }

    #[test]
    fn a_message_by_itself_is_what_clients_read() {
        let frame = Batch::frame(stored(7..=8)).unwrap();
        assert_eq!((frame.first, frame.last), (id(7), id(8)));
        let each: Vec<GrpcSlice> = frame.body.each_after(Cursor::START).collect();
        let read = Message::parse_from_bytes(each[0].as_slice()).unwrap();
        assert_eq!((read.id, read.author.as_str(), read.text.as_str()), (7, "user1", "Привет!"));
        assert_eq!((read.send_time.seconds, read.send_time.nanos), (1, 500_001_000));
        assert_eq!(frame.body.each_after(cursor(7)).count(), 1);
        assert_eq!(frame.body.each_after(cursor(8)).count(), 0);
        assert!(Batch::frame(Vec::new()).is_none());
    }

    #[test]
    fn events_come_together_from_wherever_and_may_be_joined() {
        let one = Batch::frame(stored(1..=3)).unwrap().body;
        assert_eq!(cursors(&one.events_after(Cursor::START).unwrap()), [1, 2, 3]);
        assert_eq!(cursors(&one.events_after(cursor(2)).unwrap()), [3]);
        let two = Batch::frame(stored(4..=5)).unwrap().body;
        let caught_up = event(cursor(5), Happened::CaughtUp(crate::proto::CaughtUp::new()));
        assert_eq!(
            cursors(&joined(&[
                one.events_after(cursor(1)).unwrap(),
                two.events_after(Cursor::START).unwrap(),
                caught_up
            ])),
            [2, 3, 4, 5, 5]
        );
    }

    #[test]
    fn events_for_others_than_the_common_room_are_passed_over() {
        let mut all = stored(1..=4);
        all[1].audience = Audience::Person(UserId::from_number(7));
        all[3].audience = Audience::Room(RoomId::from_number(2));
        let frame = Batch::frame(all).unwrap();
        assert_eq!((frame.first, frame.last), (id(1), id(4)), "the cursor moves over them");
        assert_eq!(cursors(&frame.body.events_after(Cursor::START).unwrap()), [1, 3]);
        assert_eq!(frame.body.each_after(cursor(1)).count(), 1);
        assert!(frame.body.events_after(cursor(3)).is_none());
    }

    #[test]
    fn a_commit_is_cut_into_frames_by_bytes_and_nothing_is_lost() {
        for bytes in [1, 100, 200, 100_000] {
            let frames = Batch::frames(stored(1..=9), bytes);
            let ids: Vec<u64> =
                frames.iter().flat_map(|frame| cursors(&frame.body.events_after(Cursor::START).unwrap())).collect();
            assert_eq!(ids, (1..=9).collect::<Vec<u64>>(), "{bytes}");
            assert!(
                frames
                    .iter()
                    .all(|f| f.body.messages.len() == 1 || f.body.events_after(Cursor::START).unwrap().len() <= bytes)
            );
            assert!(frames.windows(2).all(|w| w[0].last < w[1].first));
        }
    }
}
