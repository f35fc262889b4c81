//! Subscriptions, history, and messages with a client id.

use std::time::Duration;

use grpc_otp_chat::proto::methods;
use grpc_otp_chat::proto::{Happened, HistoryFrom, HistoryRequest, Message, Start};
use grpc_otp_chat::store::messages::Retention;
use grpcio::RpcStatusCode as Code;

use crate::house::{Events, House, Member, Peer, eventually, open_streams, reason};

/// Sends `texts` and returns their ids.
fn say(peer: &Peer, texts: impl IntoIterator<Item = String>) -> Vec<u64> {
    texts.into_iter().map(|text| peer.send(&text).expect("sent").id.parse().expect("an id")).collect()
}

fn numbered(from: usize, to: usize) -> impl Iterator<Item = String> {
    (from..to).map(|n| format!("message {n}"))
}

/// The next event, which is a message.
fn message(events: &mut Events) -> Message {
    match events.next() {
        (_, Happened::Message(message)) => message,
        (_, other) => panic!("not a message: {other:?}"),
    }
}

fn messages(events: &mut Events, count: usize) -> Vec<u64> {
    (0..count).map(|_| message(events).id).collect()
}

fn caught_up(events: &mut Events) -> u64 {
    match events.next() {
        (cursor, Happened::CaughtUp(_)) => cursor,
        (_, other) => panic!("not caught up: {other:?}"),
    }
}

fn house_with_member() -> (House, Member) {
    let house = House::open();
    let member = house.member("user1");
    (house, member)
}

#[test]
fn a_subscription_gets_stored_messages_first_then_live_ones_without_gap_or_double() {
    let house = House::with(|settings| settings.rpc.catch_up_page = 7);
    let member = house.member("user1");
    let old = say(&member.peer, numbered(0, 40));
    for (start, first) in [(Start::After(0), 0), (Start::After(old[9]), 10), (Start::Last(5), 35), (Start::Last(99), 0)]
    {
        let mut events = member.peer.subscribe(Some(start.clone()));
        assert_eq!(messages(&mut events, 40 - first), old[first..], "{start:?}");
        assert_eq!(caught_up(&mut events), old[39]);
    }
    let mut last = old[39];
    for n in 0..4 {
        let start = [None, Some(Start::Now(true)), Some(Start::Last(0)), Some(Start::After(last))][n].clone();
        let mut events = member.peer.subscribe(start);
        assert_eq!(caught_up(&mut events), last);
        last = say(&member.peer, ["hello".to_owned()])[0];
        let told = message(&mut events);
        assert_eq!((told.id, told.author.as_str(), told.text.as_str()), (last, "user1", "hello"));
    }
}

#[test]
fn subscribers_that_join_during_a_burst_get_everything_once_in_order() {
    let (house, member) = house_with_member();
    let writers: Vec<Peer> = (0..3).map(|_| house.another_session(&member)).collect();
    let old = say(&member.peer, numbered(0, 50));
    std::thread::scope(|scope| {
        for writer in &writers {
            scope.spawn(move || say(writer, numbered(0, 200)));
        }
        let readers: Vec<_> = (0..6u64)
            .map(|n| {
                let peer = member.peer.clone();
                let from = old[usize::try_from(n).expect("small") * 8];
                scope.spawn(move || {
                    let mut events = peer.subscribe(Some(Start::After(from)));
                    let mut ids = Vec::new();
                    while ids.last() != Some(&650) {
                        if let (cursor, Happened::Message(message)) = events.next() {
                            assert_eq!(cursor, message.id);
                            ids.push(message.id);
                        }
                    }
                    assert_eq!(ids, (from + 1..=650).collect::<Vec<_>>());
                })
            })
            .collect();
        readers.into_iter().for_each(|reader| reader.join().expect("no panic"));
    });
}

#[test]
fn a_subscriber_whose_mailbox_overflows_catches_up_from_the_store() {
    let house = House::with(|settings| {
        settings.hub.mailbox_bytes = 1;
        settings.rpc.catch_up_page = 3;
        settings.rpc.batch_bytes = 64;
    });
    let member = house.member("user1");
    let mut events = member.peer.subscribe(None);
    caught_up(&mut events);
    let ids = say(&member.peer, numbered(0, 300));
    assert_eq!(messages(&mut events, 300), ids);
    let more = say(&member.peer, numbered(0, 3));
    assert_eq!(messages(&mut events, 3), more);
}

#[test]
fn a_subscription_resumes_at_its_cursor_after_a_lost_connection_and_a_restart() {
    let (mut house, member) = house_with_member();
    let mut events = member.peer.subscribe(None);
    caught_up(&mut events);
    let first = say(&member.peer, numbered(0, 3));
    assert_eq!(messages(&mut events, 2), first[..2]);
    drop(events);
    let missed = say(&member.peer, numbered(3, 5));
    house.stop();
    house.start_again();
    let peer = house.again(&member.peer);
    let mut events = peer.subscribe(Some(Start::After(first[1])));
    assert_eq!(messages(&mut events, 3), [&first[2..], &missed[..]].concat());
    caught_up(&mut events);
    let next = say(&peer, ["next".to_owned()]);
    assert_eq!(messages(&mut events, 1), next);
}

#[test]
fn a_future_cursor_is_refused_and_a_purged_one_gets_a_gap() {
    let house = House::with(|settings| settings.app.retention = Retention { age: None, count: Some(10) });
    let member = house.member("user1");
    let ids = say(&member.peer, numbered(0, 30));
    for future in [ids[29] + 1, u64::MAX] {
        let refused = member.peer.subscribe(Some(Start::After(future))).end();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::INVALID_ARGUMENT, "CURSOR_IN_FUTURE"));
    }
    let page = |from| history(&member.peer, Some(from), 500).0;
    eventually("the rest is purged", || page(HistoryFrom::After(0)).len() == 10);
    let mut events = member.peer.subscribe(Some(Start::After(ids[4])));
    assert!(matches!(events.next(), (cursor, Happened::Gap(_)) if cursor == ids[19]));
    assert_eq!(messages(&mut events, 10), ids[20..]);
    caught_up(&mut events);
    // A subscription to the last messages, or from a cursor that nothing was purged after, gets no gap.
    for start in [Start::Last(100), Start::After(ids[19])] {
        let mut events = member.peer.subscribe(Some(start));
        assert_eq!(messages(&mut events, 10), ids[20..]);
    }
}

#[test]
fn old_messages_are_purged() {
    let house = House::with(|settings| {
        settings.app.retention = Retention { age: Some(Duration::from_secs(3600)), count: None };
    });
    let member = house.member("user1");
    say(&member.peer, numbered(0, 3));
    house.clock.advance(Duration::from_secs(1800));
    let kept = say(&member.peer, numbered(3, 5));
    house.clock.advance(Duration::from_secs(1801));
    eventually("the old ones are gone", || history(&member.peer, Some(HistoryFrom::After(0)), 9).0 == kept);
}

#[test]
fn an_idle_subscription_gets_heartbeats_with_its_cursor() {
    let house = House::with(|settings| settings.rpc.heartbeat = Duration::from_millis(50));
    let member = house.member("user1");
    let id = say(&member.peer, ["one".to_owned()])[0];
    let mut events = member.peer.subscribe(None);
    caught_up(&mut events);
    for _ in 0..3 {
        assert!(matches!(events.next(), (cursor, Happened::Heartbeat(_)) if cursor == id));
    }
}

#[test]
fn a_subscription_ends_with_its_session_with_the_server_and_when_it_is_not_read() {
    let mut house = House::with(|settings| settings.rpc.stream_stall = Duration::from_millis(200));
    let member = house.member("user1");
    let other = house.another_session(&member);
    let mut gone = other.subscribe(None);
    let mut stays = member.peer.subscribe(None);
    caught_up(&mut gone);
    caught_up(&mut stays);
    other.log_out().expect("out");
    assert_eq!(reason(&gone.end()), "SESSION_ENDED");
    // The unread stream takes as much as the transport buffers, and no more.
    let unread = member.peer.unread_subscription();
    open_streams(&house, 2);
    let text = "x".repeat(4096);
    eventually("it is ended", || {
        say(&member.peer, [text.clone()]);
        house.running().streams() == 1
    });
    drop(unread);
    let refused = member.peer.with_token(None).subscribe(None).end();
    assert_eq!(reason(&refused), "TOKEN_MISSING");
    house.stop();
    loop {
        match stays.try_next() {
            Ok(_) => {}
            Err(status) => {
                assert_eq!(reason(&status), "DRAINING");
                break;
            }
        }
    }
}

fn history(peer: &Peer, from: Option<HistoryFrom>, limit: u32) -> (Vec<u64>, bool) {
    let request = HistoryRequest { from, limit, ..Default::default() };
    let page = peer.call(&methods::HISTORY, &request).expect("a page");
    (page.messages.iter().map(|message| message.id).collect(), page.has_more)
}

#[test]
fn history_has_pages_in_both_directions() {
    let (house, member) = house_with_member();
    assert_eq!(history(&member.peer, None, 10), (Vec::new(), false));
    let ids = say(&member.peer, numbered(0, 120));
    let page = |from, limit| history(&member.peer, from, limit);
    assert_eq!(page(None, 0), (ids[70..].to_vec(), true));
    assert_eq!(page(None, 120), (ids.clone(), false));
    assert_eq!(page(Some(HistoryFrom::Before(0)), 2), (ids[118..].to_vec(), true));
    assert_eq!(page(Some(HistoryFrom::Before(ids[10])), 4), (ids[6..10].to_vec(), true));
    assert_eq!(page(Some(HistoryFrom::Before(ids[4])), 4), (ids[..4].to_vec(), false));
    assert_eq!(page(Some(HistoryFrom::Before(ids[0])), 4), (Vec::new(), false));
    assert_eq!(page(Some(HistoryFrom::After(0)), 4), (ids[..4].to_vec(), true));
    assert_eq!(page(Some(HistoryFrom::After(ids[115])), 4), (ids[116..].to_vec(), false));
    assert_eq!(page(Some(HistoryFrom::After(u64::MAX)), 4), (Vec::new(), false));
    assert_eq!(page(Some(HistoryFrom::Before(u64::MAX)), u32::MAX), (ids.clone(), false));
    let waiting = house.peer().log_in("user1", crate::house::PASSWORD, "").token;
    let refused = house.peer().with_token(Some(&waiting)).call(&methods::HISTORY, &HistoryRequest::new());
    assert_eq!(reason(&refused.expect_err("refused")), "SECOND_FACTOR_MISSING");
}

fn send_as_client(peer: &Peer, text: &str, client_id: &str) -> Result<u64, String> {
    let message = Message { text: text.into(), client_id: client_id.into(), ..Default::default() };
    peer.call(&methods::SEND_MESSAGE, &message).map(|answer| answer.id.parse().expect("an id")).map_err(|status| {
        assert_eq!(status.code(), Code::INVALID_ARGUMENT);
        reason(&status)
    })
}

#[test]
fn a_client_id_stores_one_message_from_any_session_and_after_a_restart() {
    let (mut house, member) = house_with_member();
    let stranger = house.member("user2");
    let mut events = member.peer.subscribe(None);
    caught_up(&mut events);
    let first = send_as_client(&member.peer, "hello", "id-1").expect("sent");
    let other = house.another_session(&member);
    assert_eq!(send_as_client(&other, "hello again", "id-1"), Ok(first));
    let theirs = send_as_client(&stranger.peer, "mine", "id-1").expect("sent");
    assert_ne!(theirs, first, "another user's is another message");
    assert_eq!(messages(&mut events, 2), [first, theirs], "nobody hears it twice");
    house.stop();
    house.start_again();
    assert_eq!(send_as_client(&house.again(&member.peer), "hello", "id-1"), Ok(first));
    for bad in ["x".repeat(65), "a\nb".to_owned()] {
        assert_eq!(send_as_client(&house.again(&member.peer), "hello", &bad), Err("CLIENT_ID_INVALID".into()));
    }
}

#[test]
fn parallel_sends_with_one_client_id_store_one_message() {
    let (house, member) = house_with_member();
    let start = std::sync::Barrier::new(16);
    let ids: Vec<u64> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..16)
            .map(|_| {
                let (peer, start) = (member.peer.clone(), &start);
                scope.spawn(move || {
                    start.wait();
                    send_as_client(&peer, "once", "the one").expect("sent")
                })
            })
            .collect();
        tries.into_iter().map(|t| t.join().expect("no panic")).collect()
    });
    assert!(ids.windows(2).all(|w| w[0] == w[1]));
    assert_eq!(history(&member.peer, None, 9).0.len(), 1);
    drop(house);
}
