//! No person can take the service from others: calls, answers and messages have bounds for each.

use std::time::Duration;

use grpc_otp_chat::proto::methods::{HISTORY, LOGIN};
use grpc_otp_chat::proto::{HistoryFrom, HistoryRequest, LoginRequest};
use grpc_otp_chat::security::throttle::Rate;
use grpcio::RpcStatusCode as Code;
use protobuf::Message as _;

use crate::test_server::{TestServer, eventually, reason};

fn history(before: u64) -> HistoryRequest {
    HistoryRequest { from: Some(HistoryFrom::Before(before)), limit: 500, ..Default::default() }
}

#[test]
fn a_page_of_the_history_is_bounded_in_bytes_and_pages_together_hold_everything() {
    let server = TestServer::open();
    let member = server.member("user1");
    let text = "x".repeat(4_096);
    for _ in 0..130 {
        member.peer.send(&text).expect("sent");
    }
    let (mut before, mut seen, mut pages) = (0, 0, 0);
    loop {
        let page = member.peer.call(&HISTORY, &history(before)).expect("a page");
        let bytes: usize = page.messages.iter().map(|message| message.text.len()).sum();
        assert!(bytes <= 256 * 1024, "{bytes}");
        seen += page.messages.len();
        pages += 1;
        before = page.messages.first().expect("a message").id;
        if !page.has_more {
            break;
        }
    }
    assert_eq!((seen, pages), (130, 3));
}

#[test]
fn a_request_with_fields_that_the_server_does_not_know_is_answered_as_without_them() {
    let server = TestServer::open();
    let mut request = LoginRequest { login: "alice".into(), password: "not a password".into(), ..Default::default() };
    request.mut_unknown_fields().add_length_delimited(1_000, vec![0; 60_000]);
    assert_eq!(server.peer().call(&LOGIN, &request).expect("an answer").reason, "INVALID_CREDENTIALS");
}

#[test]
fn a_member_that_sends_too_fast_is_slowed_down_and_then_refused_while_others_are_served() {
    let server = TestServer::with(|settings| {
        settings.app.throttles.messages = Some(Rate { burst: 3, refill: Duration::from_millis(50) });
    });
    let (fast, other) = (server.member("fast"), server.member("other"));
    // The clock of the test stands still: no turn comes back, and each message waits longer than the one before.
    let results: Vec<_> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..40)
            .map(|n| {
                scope.spawn({
                    let peer = &fast.peer;
                    move || peer.send(&n.to_string())
                })
            })
            .collect();
        senders.into_iter().map(|sender| sender.join().expect("no panic")).collect()
    });
    let refused: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert_eq!(refused.len(), 40 - 3 - 16, "a burst, and sixteen that waited for their turn");
    for status in refused {
        assert_eq!((status.code(), reason(status).as_str()), (Code::RESOURCE_EXHAUSTED, "MESSAGE_RATE"));
    }
    other.peer.send("hello").expect("others have rates of their own");
}

#[test]
fn messages_that_wait_for_their_turn_are_stored_when_the_server_stops() {
    let mut server = TestServer::with(|settings| {
        settings.app.throttles.messages = Some(Rate { burst: 1, refill: Duration::from_secs(2) });
    });
    let member = server.member("user1");
    member.peer.send("first").expect("sent");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| member.peer.send("second"));
        eventually("it waits", || server.running().paced() == 1);
        server.stop();
        waiting.join().expect("no panic").expect("stored, and answered");
    });
    server.start_again();
    let peer = server.again(&member.peer);
    let page = peer.call(&HISTORY, &history(0)).expect("a page");
    assert_eq!(page.messages.iter().map(|m| m.text.as_str()).collect::<Vec<_>>(), ["first", "second"]);
}

#[test]
fn a_member_has_so_many_calls_under_way_and_the_next_is_told_so() {
    let server = TestServer::with(|settings| settings.rpc.share.large_calls_per_person = 2);
    let (reader, other) = (server.member("reader"), server.member("other"));
    let text = "x".repeat(4_096);
    for _ in 0..60 {
        other.peer.send(&text).expect("sent");
    }
    // A call whose token is new is counted for its network.
    reader.peer.call(&HISTORY, &history(0)).expect("a page");
    let refused = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..200).map(|_| scope.spawn(|| reader.peer.call(&HISTORY, &history(0)))).collect();
        let results: Vec<_> = readers.into_iter().map(|reader| reader.join().expect("no panic")).collect();
        other.peer.call(&HISTORY, &history(0)).expect("others have places of their own");
        results.into_iter().filter_map(Result::err).collect::<Vec<_>>()
    });
    for status in &refused {
        assert_eq!((status.code(), reason(status).as_str()), (Code::RESOURCE_EXHAUSTED, "TOO_MANY_CALLS"));
    }
    assert!(!refused.is_empty(), "two hundred at once never were three at a time");
    eventually("every place is given back", || server.running().calls() == 0);
}
