//! The fan-out: every stream gets every message, once and in order, and no stream waits for another.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::Receiver;
use grpc_otp_chat::proto::Message;
use grpcio::RpcStatus;

use crate::LIMIT;
use crate::house::{House, eventually, open_streams, reason};

fn take(stream: &Receiver<Result<Message, RpcStatus>>, count: usize) -> Vec<u64> {
    (0..count)
        .map(|n| match stream.recv_timeout(LIMIT) {
            Ok(Ok(message)) => message.id,
            other => panic!("instead of message {n} of {count}: {other:?}"),
        })
        .collect()
}

/// `messages` messages to `streams` streams, on connections of 100 streams each.
fn check_fan_out(streams: usize, messages: usize) {
    let house = House::with(|settings| settings.hub.streams_per_user = streams);
    let member = house.member("user1");
    let connections: Vec<_> =
        (0..streams.div_ceil(100)).map(|_| house.peer().with_token(member.peer.token.as_deref())).collect();
    let open: Vec<_> = (0..streams).map(|n| connections[n / 100].stream()).collect();
    open_streams(&house, streams);
    let sent: Vec<u64> =
        (0..messages).map(|n| member.peer.send(&n.to_string()).expect("sent").id.parse().expect("a number")).collect();
    assert!(sent.is_sorted_by(|a, b| a < b));
    for stream in &open {
        assert_eq!(take(stream, messages), sent);
        assert!(stream.is_empty(), "nothing twice");
    }
    drop(open);
    drop(connections);
    eventually("the threads end when the clients disconnect", || house.running().stream_threads() == 0);
}

#[test]
fn twelve_streams_get_every_message_once_in_order() {
    check_fan_out(12, 50);
}

#[test]
fn a_hundred_streams_get_every_message_once_in_order() {
    check_fan_out(100, 50);
}

#[test]
fn a_thousand_streams_get_every_message_once_in_order() {
    check_fan_out(1_000, 20);
}

#[test]
fn all_streams_get_messages_of_parallel_senders_in_one_order() {
    let house = House::open();
    let members: Vec<_> = (0..4).map(|n| house.member(&format!("user{n}"))).collect();
    let open: Vec<_> = members.iter().map(|m| m.peer.stream()).collect();
    open_streams(&house, 4);
    std::thread::scope(|scope| {
        for member in &members {
            scope.spawn(|| (0..100).for_each(|n| drop(member.peer.send(&n.to_string()).expect("sent"))));
        }
    });
    let first = take(&open[0], 400);
    assert!(first.is_sorted_by(|a, b| a < b));
    for stream in &open[1..] {
        assert_eq!(take(stream, 400), first);
    }
}

#[test]
fn a_stream_that_falls_behind_catches_up_without_gap_or_double() {
    // A mailbox of one message: nearly everything goes by way of the store.
    let house = House::with(|settings| {
        settings.hub.mailbox_bytes = 1;
        settings.rpc.catch_up_page = 3;
    });
    let member = house.member("user1");
    let stream = member.peer.stream();
    open_streams(&house, 1);
    let highest = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for n in 0..100 {
                    let id = member.peer.send(&n.to_string()).expect("sent").id.parse().expect("a number");
                    highest.fetch_max(id, Ordering::Relaxed);
                }
            });
        }
    });
    let ids = take(&stream, 800);
    assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1), "a gap or a double");
    assert_eq!(ids.last(), Some(&highest.into_inner()));
}

#[test]
fn a_client_that_reads_nothing_delays_no_other_and_is_cut_off() {
    let house = House::with(|settings| {
        settings.hub.mailbox_bytes = 16 * 8_192;
        settings.rpc.stream_stall = std::time::Duration::from_millis(300);
    });
    let reader = house.member("reader");
    let sleeper = house.member("sleeper");
    let stream = reader.peer.stream();
    let unread = sleeper.peer.unread_stream();
    open_streams(&house, 2);
    // Far more than the windows of a connection hold.
    let text = "x".repeat(4096);
    let mut sent = 0;
    while house.running().streams() == 2 {
        reader.peer.send(&text).expect("sent");
        sent += 1;
        assert!(sent < 100_000, "the stream that nobody reads is never ended");
    }
    assert_eq!(take(&stream, sent).len(), sent, "the other got everything");
    eventually("its thread has ended", || house.running().stream_threads() == 1);
    drop(unread);
}

#[test]
fn a_client_that_disconnects_frees_its_thread_at_once() {
    let house = House::open();
    let member = house.member("user1");
    let stream = member.peer.unread_stream();
    open_streams(&house, 1);
    drop(stream);
    open_streams(&house, 0);
    eventually("its thread has ended", || house.running().stream_threads() == 0);
}

#[test]
fn a_user_has_at_most_sixteen_streams() {
    let house = House::open();
    let member = house.member("user1");
    let open: Vec<_> = (0..16).map(|_| member.peer.stream()).collect();
    open_streams(&house, 16);
    let refused = member.peer.stream().recv_timeout(LIMIT).expect("an answer").expect_err("refused");
    assert_eq!(reason(&refused), "TOO_MANY_STREAMS");
    drop(open);
}

#[test]
fn a_stopping_server_sends_streams_their_last_messages_and_a_status() {
    let mut house = House::open();
    let member = house.member("user1");
    let stream = member.peer.stream();
    open_streams(&house, 1);
    for n in 0..20 {
        member.peer.send(&n.to_string()).expect("sent");
    }
    house.stop();
    assert_eq!(take(&stream, 20).len(), 20);
    let end = stream.recv_timeout(LIMIT).expect("an end").expect_err("a status");
    assert_eq!((end.code(), reason(&end).as_str()), (grpcio::RpcStatusCode::UNAVAILABLE, "DRAINING"));
}

/// The messages that a stream missed may be deleted before it catches up: it continues with those that exist.
#[test]
fn a_stream_that_missed_deleted_messages_goes_on() {
    let house = House::with(|settings| settings.hub.mailbox_bytes = 1);
    let member = house.member("user1");
    // Deletes each message in the transaction that stores it: it is published, and not in the database.
    let database = rusqlite::Connection::open(house.directory().join("users.db")).expect("the database");
    let purge = "CREATE TRIGGER purge AFTER INSERT ON events WHEN new.text LIKE 'gone%'
                 BEGIN DELETE FROM events WHERE id = new.id; END";
    database.execute_batch(purge).expect("a trigger");
    let stream = member.peer.stream();
    open_streams(&house, 1);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..50).for_each(|n| drop(member.peer.send(&format!("gone {n}")).expect("sent"))));
        }
    });
    member.peer.send("the end").expect("sent");
    let last = stream.iter().map(|item| item.expect("no end").text).find(|text| text == "the end");
    assert!(last.is_some());
}
