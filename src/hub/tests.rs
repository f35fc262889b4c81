use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::ids::EventId;

/// An outlet that records the ids that are written, and answers as a test tells it.
#[derive(Clone, Debug, Default)]
struct Recorder {
    written: Arc<Mutex<Vec<i64>>>,
    answer: Arc<AtomicU8>,
}

impl Recorder {
    fn written(&self) -> Vec<i64> {
        self.written.lock().unwrap().clone()
    }

    fn record(&self, frame: &Frame<()>, after: Cursor) {
        self.written.lock().unwrap().extend(frame.first.to_db().max(after.to_db() + 1)..=frame.last.to_db());
    }

    /// What a reader takes from the store: everything after a cursor up to an id.
    fn record_stored(&self, after: Cursor, last: i64) {
        self.written.lock().unwrap().extend(after.to_db() + 1..=last);
    }

    fn answers(&self, answer: Offered) {
        self.answer.store(answer as u8, Ordering::SeqCst);
    }
}

impl Deliver for Recorder {
    type Body = ();

    fn offer(&mut self, frame: &Frame<()>, after: Cursor) -> Offered {
        let answer = self.answer.load(Ordering::SeqCst);
        if answer == Offered::Taken as u8 {
            self.record(frame, after);
            return Offered::Taken;
        }
        if answer == Offered::Busy as u8 { Offered::Busy } else { Offered::Gone }
    }
}

const FRAME_BYTES: usize = 1_000;
/// Room for four frames in a mailbox.
const LIMITS: HubLimits =
    HubLimits { mailbox_bytes: 4 * (FRAME_BYTES + 100), waiting_bytes: 1_000_000, streams: 3, streams_per_user: 2 };

fn hub() -> Arc<Hub<Recorder>> {
    hub_with(LIMITS)
}

fn hub_with(limits: HubLimits) -> Arc<Hub<Recorder>> {
    Arc::new(Hub::new(limits, at(100)))
}

fn at(number: i64) -> Cursor {
    Cursor::from_db(number).unwrap()
}

fn user(number: i64) -> UserId {
    UserId::from_number(number)
}

fn session() -> SessionId {
    SessionId::random().unwrap()
}

fn frame(ids: RangeInclusive<i64>) -> Frame<()> {
    let id = |number: &i64| EventId::from_db(*number).unwrap();
    let (first, last) = (id(ids.start()), id(ids.end()));
    Frame { first, last, audience: Audience::Everyone, bytes: FRAME_BYTES, body: () }
}

/// One frame for each id.
fn frames(ids: RangeInclusive<i64>) -> Vec<Frame<()>> {
    ids.map(|id| frame(id..=id)).collect()
}

fn take_all(reader: &mut Subscription<Recorder>) -> Vec<i64> {
    std::iter::from_fn(|| match reader.take_next() {
        Next::Frame(frame, _) => Some(frame.last.to_db()),
        _ => None,
    })
    .collect()
}

#[test]
fn a_subscriber_gets_what_is_published_after_it_came_in_order() {
    let hub = hub();
    let mut first = hub.subscribe(user(1), session(), at(100)).unwrap();
    hub.publish(&frames(101..=102));
    let mut second = hub.subscribe(user(2), session(), at(102)).unwrap();
    hub.publish(&frames(103..=103));
    assert_eq!(take_all(&mut first), [101, 102, 103]);
    assert_eq!(take_all(&mut second), [103]);
    assert!(matches!(first.take_next(), Next::Idle));
}

#[test]
fn a_reader_with_a_full_mailbox_falls_behind_catches_up_and_rejoins_without_a_gap_or_a_double() {
    let hub = hub();
    let mut slow = hub.subscribe(user(1), session(), at(100)).unwrap();
    hub.publish(&frames(101..=110));
    assert_eq!(take_all(&mut slow), [101, 102, 103, 104], "what the mailbox held");
    assert!(matches!(slow.take_next(), Next::Behind));
    hub.publish(&frames(111..=111));
    // The store gives a first page; more is published meanwhile.
    slow.skip_to(at(110));
    assert!(!slow.rejoin(), "111 was published and is not delivered");
    // The store gives 112 before it is published.
    slow.skip_to(at(112));
    assert!(slow.rejoin());
    hub.publish(&frames(112..=113));
    assert_eq!(take_all(&mut slow), [113]);
}

#[test]
fn all_mailboxes_together_hold_no_more_than_their_bound() {
    let hub = hub_with(HubLimits { waiting_bytes: 2 * FRAME_BYTES, ..LIMITS });
    let mut readers = [1, 2].map(|n| hub.subscribe(user(n), session(), at(100)).unwrap());
    hub.publish(&frames(101..=104));
    let taken: Vec<i64> = readers.iter_mut().flat_map(take_all).collect();
    assert_eq!(taken, [101, 102], "in one of the two mailboxes, which comes first");
    assert_eq!(hub.waiting.load(Ordering::SeqCst), 0, "a frame that was taken out waits no longer");
    for reader in &mut readers {
        assert!(matches!(reader.take_next(), Next::Behind));
        reader.skip_to(at(104));
        assert!(reader.rejoin());
    }
    hub.publish(&frames(105..=105));
    assert_eq!(
        hub.waiting.load(Ordering::SeqCst),
        FRAME_BYTES + 2 * subscriber::SLOT_BYTES,
        "the frame once, two slots"
    );
    drop(readers);
    assert_eq!(hub.waiting.load(Ordering::SeqCst), 0, "a reader that goes leaves nothing");
}

#[test]
fn a_reader_that_starts_in_the_past_reads_from_the_store_until_it_has_caught_up() {
    let hub = hub();
    let mut past = hub.subscribe(user(1), session(), at(90)).unwrap();
    assert!(!past.has_caught_up());
    hub.publish(&frames(101..=101));
    assert!(matches!(past.take_next(), Next::Behind));
    past.skip_to(at(100));
    assert!(past.has_caught_up(), "101 came later");
    assert!(!past.rejoin());
    past.skip_to(at(101));
    assert!(past.rejoin());
    assert!(matches!(past.take_next(), Next::Idle));
    // A cursor may be ahead of the publisher: those events do not come again.
    let mut ahead = hub.subscribe(user(2), session(), at(102)).unwrap();
    hub.publish(&frames(102..=103));
    assert_eq!(take_all(&mut ahead), [103]);
}

#[test]
fn ids_may_jump_by_a_million_and_a_reader_rejoins_all_the_same() {
    let hub = hub();
    let mut reader = hub.subscribe(user(1), session(), at(90)).unwrap();
    hub.publish(&frames(1_000_101..=1_000_101));
    assert!(matches!(reader.take_next(), Next::Behind));
    reader.skip_to(at(1_000_101));
    assert!(reader.rejoin());
    hub.publish(&frames(2_000_500..=2_000_500));
    assert_eq!(take_all(&mut reader), [2_000_500]);
}

#[test]
fn the_rest_of_a_frame_that_was_delivered_in_part_is_delivered() {
    let hub = hub();
    let mut reader = hub.subscribe(user(1), session(), at(102)).unwrap();
    hub.publish(&[frame(101..=105)]);
    let Next::Frame(frame, after) = reader.take_next() else { panic!("a frame") };
    assert_eq!((frame.last.to_db(), after), (105, at(102)));
    assert_eq!(reader.cursor(), at(105));
}

#[test]
fn a_reader_passes_what_was_published_also_where_nothing_came_by_its_mailbox() {
    let hub = hub();
    let mut reader = hub.subscribe(user(1), session(), at(100)).unwrap();
    // As if the frames had been for others.
    hub.registry.raise_published_to(at(150));
    assert!(matches!(reader.take_next(), Next::Idle));
    assert_eq!(reader.cursor(), at(150), "a heartbeat tells the client this cursor");
}

#[test]
fn the_number_of_streams_is_bounded_and_a_stream_that_ends_frees_its_place() {
    let hub = hub();
    let first = hub.subscribe(user(1), session(), at(100)).unwrap();
    let _second = hub.subscribe(user(1), session(), at(100)).unwrap();
    assert_eq!(hub.subscribe(user(1), session(), at(100)).err(), Some(SubscribeError::PerUser));
    let _third = hub.subscribe(user(2), session(), at(100)).unwrap();
    assert_eq!(hub.subscribe(user(3), session(), at(100)).err(), Some(SubscribeError::Total));
    drop(first);
    hub.subscribe(user(1), session(), at(100)).unwrap();
    assert_eq!(hub.len(), 2);
}

#[test]
fn an_ended_session_gets_nothing_more_and_its_neighbour_everything() {
    let hub = hub();
    let revoked = session();
    let mut ended = hub.subscribe(user(1), revoked, at(100)).unwrap();
    let mut stays = hub.subscribe(user(1), session(), at(100)).unwrap();
    hub.publish(&frames(101..=101));
    hub.end_sessions(&[revoked]);
    assert!(matches!(ended.take_next(), Next::Ended(Ended::Session)));
    assert_eq!(take_all(&mut stays), [101]);
}

#[test]
fn a_drain_delivers_what_is_in_the_mailbox_and_refuses_new_streams() {
    let hub = hub();
    let mut last = hub.subscribe(user(1), session(), at(100)).unwrap();
    hub.publish(&frames(101..=102));
    hub.drain(Cursor::START);
    assert_eq!(take_all(&mut last), [101, 102]);
    assert!(matches!(last.take_next(), Next::Ended(Ended::Draining)));
    assert_eq!(hub.subscribe(user(2), session(), at(100)).err(), Some(SubscribeError::Draining));
}

#[test]
fn a_drain_waits_for_what_is_stored_and_not_published_yet() {
    let hub = hub();
    let mut last = hub.subscribe(user(1), session(), at(100)).unwrap();
    hub.publish(&frames(101..=101));
    hub.drain(at(103));
    assert_eq!(take_all(&mut last), [101]);
    assert!(matches!(last.take_next(), Next::Idle), "no read from the store");
    hub.publish(&frames(102..=102));
    assert_eq!(take_all(&mut last), [102]);
    hub.publish(&frames(103..=103));
    assert_eq!(take_all(&mut last), [103]);
    assert!(matches!(last.take_next(), Next::Ended(Ended::Draining)));
}

#[test]
fn a_stream_ends_at_the_drain_also_while_more_is_published() {
    let hub = hub();
    let mut mailbox = hub.subscribe(user(1), session(), at(100)).unwrap();
    let mut behind = hub.subscribe(user(2), session(), at(90)).unwrap();
    hub.publish(&frames(101..=101));
    hub.drain(at(101));
    hub.publish(&frames(102..=103));
    assert!(matches!(mailbox.take_next(), Next::Frame(..)));
    assert_eq!(mailbox.cursor(), at(101));
    assert!(matches!(mailbox.take_next(), Next::Ended(Ended::Draining)));
    assert!(matches!(behind.take_next(), Next::Behind));
    behind.skip_to(at(101));
    assert!(matches!(behind.take_next(), Next::Ended(Ended::Draining)));
}

#[test]
fn a_drain_lets_a_reader_that_is_behind_catch_up_first() {
    let hub = hub();
    let mut behind = hub.subscribe(user(1), session(), at(90)).unwrap();
    hub.drain(at(101));
    assert!(matches!(behind.take_next(), Next::Behind));
    behind.skip_to(at(101));
    assert!(behind.rejoin());
    hub.publish(&frames(101..=101));
    assert!(matches!(behind.take_next(), Next::Ended(Ended::Draining)), "101 does not come twice");
}

#[test]
fn nothing_is_written_to_an_idle_stream_whose_session_has_ended() {
    let hub = hub();
    let recorder = Recorder::default();
    let ended = session();
    let mut reader = hub.subscribe(user(1), ended, at(100)).unwrap();
    reader.lend(recorder.clone()).unwrap();
    hub.end_sessions(&[ended]);
    hub.publish(&frames(101..=101));
    assert_eq!(recorder.written(), [0i64; 0]);
    assert!(reader.take_back().is_some() && matches!(reader.take_next(), Next::Ended(Ended::Session)));
}

#[test]
fn a_panic_while_writing_ends_that_stream_and_no_other() {
    let hub = hub();
    let (torn, recorder) = (Recorder::default(), Recorder::default());
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let _poisons = torn.written.lock().unwrap();
        panic!("on purpose");
    }));
    let mut first = hub.subscribe(user(1), session(), at(100)).unwrap();
    let mut second = hub.subscribe(user(2), session(), at(100)).unwrap();
    first.lend(torn).unwrap();
    second.lend(recorder.clone()).unwrap();
    hub.publish(&frames(101..=102));
    assert!(first.take_back().is_none(), "its outlet is gone");
    assert_eq!(recorder.written(), [101, 102]);
    assert!(second.take_back().is_some());
}

#[test]
fn readers_that_join_idle_and_fall_behind_meanwhile_get_everything_once_and_in_order() {
    const LAST: i64 = 3_000;
    let limits =
        HubLimits { mailbox_bytes: 2 * (FRAME_BYTES + 100), waiting_bytes: 1_000_000, streams: 9, streams_per_user: 9 };
    let hub = Arc::new(Hub::new(limits, Cursor::START));
    // What the store holds: everything that is about to be published.
    let stored = Arc::new(AtomicI64::new(0));
    let read = |busy: u8| {
        let mut reader = hub.subscribe(user(1), session(), Cursor::START).unwrap();
        reader.attach();
        let recorder = Recorder::default();
        let mut outlet = Some(recorder.clone());
        for n in (0..4).cycle() {
            // Now and then the publisher finds that the write before is not over.
            recorder.answers(if n < busy { Offered::Busy } else { Offered::Taken });
            match reader.take_next() {
                Next::Frame(frame, after) => recorder.record(&frame, after),
                Next::Idle => outlet = reader.rest(outlet.take().unwrap(), Some(Duration::from_secs(30))),
                Next::Behind if reader.rejoin() => {}
                Next::Behind => {
                    let last = stored.load(Ordering::SeqCst);
                    recorder.record_stored(reader.cursor(), last);
                    reader.skip_to(at(last));
                }
                Next::Ended(_) => break,
            }
        }
        recorder.written()
    };
    thread::scope(|scope| {
        let readers: Vec<_> = (0..6).map(|n| scope.spawn(move || read(n % 4))).collect();
        scope.spawn(|| {
            for id in 1..=LAST {
                // By the half all readers have joined.
                while id == LAST / 2 && hub.len() < 6 {
                    thread::yield_now();
                }
                stored.store(id, Ordering::SeqCst);
                hub.publish(&[frame(id..=id)]);
            }
            hub.drain(at(LAST));
        });
        for reader in readers {
            assert_eq!(reader.join().unwrap(), (1..=LAST).collect::<Vec<_>>());
        }
    });
}

#[test]
fn the_publisher_itself_writes_to_an_idle_stream() {
    let hub = hub();
    let recorder = Recorder::default();
    let mut reader = hub.subscribe(user(1), session(), at(101)).unwrap();
    reader.lend(recorder.clone()).unwrap();
    hub.publish(&[frame(101..=103)]);
    hub.publish(&frames(104..=104));
    assert_eq!(recorder.written(), [102, 103, 104], "the reader had 101");
    assert!(reader.take_back().is_some());
    assert_eq!(reader.cursor(), at(104));
    assert!(matches!(reader.take_next(), Next::Idle));
    hub.publish(&frames(105..=105));
    assert_eq!(recorder.written().len(), 3, "the outlet is with its reader");
    assert_eq!(take_all(&mut reader), [105]);
}

#[test]
fn a_frame_that_cannot_be_written_at_once_waits_in_the_mailbox_and_nothing_overtakes_it() {
    let hub = hub();
    let recorder = Recorder::default();
    let mut reader = hub.subscribe(user(1), session(), at(100)).unwrap();
    reader.lend(recorder.clone()).unwrap();
    recorder.answers(Offered::Busy);
    hub.publish(&frames(101..=101));
    recorder.answers(Offered::Taken);
    hub.publish(&frames(102..=102));
    assert_eq!(recorder.written(), [0i64; 0]);
    assert!(reader.take_back().is_some());
    assert!(reader.lend(recorder).is_err(), "there is something to do");
    assert_eq!(take_all(&mut reader), [101, 102]);
}

#[test]
fn an_idle_reader_is_woken_by_what_its_own_thread_has_to_do() {
    let hub = hub();
    let ended = session();
    let recorder = Recorder::default();
    let rests = |reader: &mut Subscription<Recorder>| reader.rest(recorder.clone(), Some(Duration::from_secs(30)));
    let mut reader = hub.subscribe(user(1), ended, at(100)).unwrap();
    reader.attach();
    thread::scope(|scope| {
        scope.spawn(|| hub.end_sessions(&[ended]));
        while matches!(reader.take_next(), Next::Idle) {
            assert!(rests(&mut reader).is_some());
        }
    });
    assert!(matches!(reader.take_next(), Next::Ended(Ended::Session)));
    let mut reader = hub.subscribe(user(1), session(), at(100)).unwrap();
    reader.attach();
    recorder.answers(Offered::Gone);
    let client_is_gone = AtomicBool::new(false);
    thread::scope(|scope| {
        // A reader may wake early: then it is not idle, and finds the frame in its mailbox.
        scope.spawn(|| {
            for id in 101.. {
                while no_reader_is_idle(&hub) {
                    if client_is_gone.load(Ordering::SeqCst) {
                        return;
                    }
                    thread::yield_now();
                }
                hub.publish(&frames(id..=id));
            }
        });
        let mut outlet = Some(recorder.clone());
        while let Some(lent) = outlet.take() {
            let _ = take_all(&mut reader);
            outlet = reader.rest(lent, Some(Duration::from_secs(30)));
        }
        client_is_gone.store(true, Ordering::SeqCst);
    });
}

#[test]
fn an_idle_reader_is_woken_when_the_publisher_reaches_the_end_of_a_drain() {
    let hub = hub();
    let recorder = Recorder::default();
    let mut reader = hub.subscribe(user(1), session(), at(100)).unwrap();
    reader.attach();
    hub.drain(at(101));
    thread::scope(|scope| {
        scope.spawn(|| {
            while no_reader_is_idle(&hub) {
                thread::yield_now();
            }
            hub.publish(&frames(101..=101));
        });
        let mut outlet = Some(recorder.clone());
        loop {
            match reader.take_next() {
                Next::Frame(frame, after) => recorder.record(&frame, after),
                Next::Ended(Ended::Draining) => break,
                _ => outlet = reader.rest(outlet.take().unwrap(), None),
            }
        }
    });
    assert_eq!(recorder.written(), [101]);
}

fn no_reader_is_idle(hub: &Hub<Recorder>) -> bool {
    hub.registry.state().subscribers.values().all(|subscriber| subscriber.inbox().lent.is_none())
}

#[derive(Clone, Debug)]
enum Turn {
    Publish(i64),
    Rest,
    Work,
    Answer(Offered),
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = prop_oneof![
        (1..4i64).prop_map(Turn::Publish),
        Just(Turn::Rest),
        Just(Turn::Work),
        prop_oneof![Just(Offered::Taken), Just(Offered::Busy)].prop_map(Turn::Answer),
    ];
    prop::collection::vec(turn, 0..60)
}

proptest! {
    #[test]
    fn every_event_is_written_once_and_in_order_by_whichever_thread(turns in turns()) {
        let hub = hub();
        let mut reader = hub.subscribe(user(1), session(), at(100)).unwrap();
        // The reader and the publisher write to the same place.
        let recorder = Recorder::default();
        let mut outlet = Some(recorder.clone());
        let mut last = 100;
        let work = |reader: &mut Subscription<Recorder>, last: i64| {
            loop {
                match reader.take_next() {
                    Next::Frame(frame, after) => recorder.record(&frame, after),
                    Next::Behind => {
                        recorder.record_stored(reader.cursor(), last);
                        reader.skip_to(at(last));
                        assert!(reader.rejoin());
                    }
                    _ => break,
                }
            }
        };
        for turn in turns {
            match turn {
                Turn::Publish(count) => {
                    hub.publish(&[frame(last + 1..=last + count)]);
                    last += count;
                }
                Turn::Rest => outlet = outlet.take().and_then(|outlet| reader.lend(outlet).err()),
                Turn::Work => {
                    outlet = reader.take_back().or(outlet);
                    work(&mut reader, last);
                }
                Turn::Answer(answer) => recorder.answers(answer),
            }
        }
        let _ = reader.take_back();
        work(&mut reader, last);
        prop_assert_eq!(recorder.written(), (101..=last).collect::<Vec<_>>());
    }
}
