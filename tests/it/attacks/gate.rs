//! Logging in: the states of a session, and the holes that must stay closed.

use std::time::Duration;

use grpc_otp_chat::proto::SessionState;
use grpc_otp_chat::security::totp;
use grpcio::RpcStatusCode as Code;

use crate::LIMIT;
use crate::test_server::{PASSWORD, Peer, TestServer, at_once, open_streams, reason, secret_of};

pub(super) fn refused(result: Result<impl Sized, grpcio::RpcStatus>, code: Code, why: &str) {
    let status = result.err().expect("a refusal");
    assert_eq!((status.code(), reason(&status).as_str()), (code, why));
}

pub(super) fn stream_end(peer: &Peer) -> String {
    match peer.stream().recv_timeout(LIMIT).expect("the stream ends") {
        Err(status) => reason(&status),
        Ok(message) => panic!("a message: {}", message.text),
    }
}

#[test]
fn a_session_without_its_second_factor_cannot_chat() {
    let server = TestServer::open();
    let mut peer = server.peer();
    refused(peer.send("hi"), Code::UNAUTHENTICATED, "TOKEN_MISSING");
    assert_eq!(stream_end(&peer), "TOKEN_MISSING");
    peer.register("user1", PASSWORD);
    peer.token = Some(peer.log_in("user1", PASSWORD, "").token);
    refused(peer.send("hi"), Code::UNAUTHENTICATED, "SECOND_FACTOR_MISSING");
    assert_eq!(stream_end(&peer), "SECOND_FACTOR_MISSING");

    let member = server.member("user2");
    let waiting = member.peer.log_in("user2", PASSWORD, "");
    assert_eq!(waiting.state.enum_value(), Ok(SessionState::NEEDS_CODE));
    let waiting = member.peer.with_token(Some(&waiting.token));
    refused(waiting.send("hi"), Code::UNAUTHENTICATED, "SECOND_FACTOR_MISSING");
    assert_eq!(waiting.init_otp("user2", "", "").reason, "ENROLMENT_REFUSED", "it owes a code and can only give one");
    assert_eq!(waiting.init_otp("user2", PASSWORD, &server.code(&member.secret, 0)).reason, "ENROLMENT_REFUSED");
    member.peer.send("hi").expect("a complete session chats");
}

#[test]
fn a_login_never_says_what_was_wrong() {
    let server = TestServer::open();
    let member = server.member("user1");
    let code = server.code(&member.secret, 0);
    let peer = server.peer();
    let wrong = [
        peer.log_in("nobody", PASSWORD, &code),
        peer.log_in("user1", "wrong password", &code),
        peer.log_in("user1", PASSWORD, "000000"),
        peer.log_in("user1", PASSWORD, "not a code"),
        peer.log_in("user1", PASSWORD, &server.code(&member.secret, -1)),
    ];
    for answer in wrong {
        assert_eq!((answer.reason.as_str(), answer.token.as_str()), ("INVALID_CREDENTIALS", ""));
    }
    assert!(peer.log_in("USER1", PASSWORD, &code).success, "the code was not spent by those");
}

#[test]
fn one_of_64_parallel_logins_with_one_code_passes() {
    let server = TestServer::open();
    let member = server.member("user1");
    let code = server.code(&member.secret, 0);
    let code = &code;
    let passed =
        at_once((0..64).map(|_| server.peer()).map(|peer| move || peer.log_in("user1", PASSWORD, code).success));
    assert_eq!(passed.into_iter().filter(|passed| *passed).count(), 1);
}

#[test]
fn one_of_many_parallel_checks_of_a_code_passes() {
    let server = TestServer::open();
    let member = server.member("user1");
    let waiting: Vec<Peer> = (0..5)
        .map(|_| {
            let peer = server.peer();
            let token = peer.log_in("user1", PASSWORD, "").token;
            peer.with_token(Some(&token))
        })
        .collect();
    let code = server.code(&member.secret, 0);
    let code = &code;
    let answers = at_once(waiting.iter().map(|peer| move || peer.check_otp("user1", code)));
    assert_eq!(answers.iter().filter(|a| a.valid).count(), 1);
    assert!(answers.iter().filter(|a| !a.valid).all(|a| a.reason == "CODE_ALREADY_USED"));
}

#[test]
fn codes_two_steps_away_are_refused_and_one_step_away_accepted() {
    let server = TestServer::open();
    let member = server.member("user1");
    for _ in 0..4 {
        server.next_step();
    }
    let try_code = |steps| {
        let waiting = member.peer.log_in("user1", PASSWORD, "").token;
        member.peer.with_token(Some(&waiting)).check_otp("user1", &server.code(&member.secret, steps)).reason
    };
    assert_eq!(try_code(-2), "INVALID_CODE");
    assert_eq!(try_code(2), "INVALID_CODE");
    server.clock.advance(Duration::from_secs(1));
    assert_eq!(try_code(-1), "");
    assert_eq!(try_code(-1), "CODE_ALREADY_USED");
    assert_eq!(try_code(1), "");
    assert_eq!(try_code(0), "CODE_ALREADY_USED", "a later one was used");
}

#[test]
fn two_sessions_that_enrol_in_a_race_make_one_factor() {
    let server = TestServer::open();
    let peer = server.peer();
    peer.register("user1", PASSWORD);
    let racers: Vec<(Peer, totp::Code)> = (0..2)
        .map(|_| {
            let token = peer.log_in("user1", PASSWORD, "").token;
            let racer = server.peer().with_token(Some(&token));
            let secret = secret_of(&racer.init_otp("user1", "", "").secret);
            (racer, totp::code_at(&secret, server.clock.now().as_secs() / 30))
        })
        .collect();
    let answers = at_once(racers.iter().map(|(peer, code)| move || peer.check_otp("user1", code.as_str())));
    assert_eq!(answers.iter().filter(|a| a.valid).count(), 1, "{answers:?}");
    let lost = answers.iter().find(|a| !a.valid).expect("one lost");
    assert!(["ENROLMENT_OVERTAKEN", "SESSION_ENDED"].contains(&lost.reason.as_str()), "{}", lost.reason);
}

#[test]
fn a_session_that_enrolled_late_cannot_replace_the_factor() {
    let server = TestServer::open();
    let slow = server.peer();
    slow.register("user1", PASSWORD);
    let slow = slow.with_token(Some(&slow.log_in("user1", PASSWORD, "").token));
    let stolen = secret_of(&slow.init_otp("user1", "", "").secret);
    let quick = slow.with_token(Some(&slow.log_in("user1", PASSWORD, "").token));
    let secret = secret_of(&quick.init_otp("user1", "", "").secret);
    assert!(quick.check_otp("user1", &server.code(&secret, 0)).valid);
    let late = slow.check_otp("user1", &server.code(&stolen, 0));
    assert_eq!((late.valid, late.reason.as_str()), (false, "SESSION_ENDED"));
}

#[test]
fn old_clients_complete_their_one_session_on_their_connection_and_no_other() {
    let server = TestServer::open();
    let old = server.peer();
    assert!(old.register("user1", PASSWORD).success);
    assert_eq!(server.peer().init_otp("user1", "", "").reason, "ENROLMENT_REFUSED", "another connection");
    assert_eq!(old.init_otp("somebody", "", "").reason, "ENROLMENT_REFUSED");
    let secret = secret_of(&old.init_otp("user1", "", "").secret);
    let opened = old.log_in("user1", PASSWORD, "");
    let code = server.code(&secret, 0);
    assert_eq!(server.peer().check_otp("user1", &code).reason, "INVALID_CODE", "another connection");
    let bad = old.with_token(Some("bad.token.here"));
    assert_eq!(bad.check_otp("user1", &code).reason, "TOKEN_INVALID", "a bad token does not fall through");
    assert_eq!(bad.init_otp("user1", "", "").reason, "TOKEN_INVALID");
    assert!(old.check_otp("user1", &code).valid);
    old.with_token(Some(&opened.token)).send("hi").expect("the token of Login is complete now");
    assert_eq!(old.init_otp("user1", "", "").reason, "ENROLMENT_REFUSED", "enrolled");

    // With two waiting sessions on one connection it is unclear which one is meant: neither is completed.
    server.next_step();
    old.log_in("user1", PASSWORD, "");
    old.log_in("user1", PASSWORD, "");
    let code = server.code(&secret, 0);
    assert_eq!(old.check_otp("user1", &code).reason, "INVALID_CODE");
    assert!(server.peer().log_in("user1", PASSWORD, &code).success, "and the code was not spent");
}

#[test]
fn the_registering_connection_may_enrol_for_ten_minutes() {
    let server = TestServer::open();
    let old = server.peer();
    old.register("user1", PASSWORD);
    server.clock.advance(Duration::from_secs(600) - Duration::from_micros(1));
    assert_eq!(old.init_otp("user1", "", "").reason, "");
    server.clock.advance(Duration::from_micros(1));
    assert_eq!(old.init_otp("user1", "", "").reason, "ENROLMENT_REFUSED");
}

#[test]
fn with_old_clients_switched_off_every_step_needs_a_token() {
    let server = TestServer::with(|settings| settings.legacy_clients = false);
    let old = server.peer();
    assert!(old.register("user1", PASSWORD).success);
    assert_eq!(old.init_otp("user1", "", "").reason, "TOKEN_MISSING");
    let opened = old.log_in("user1", PASSWORD, "");
    assert_eq!(old.check_otp("user1", "123456").reason, "TOKEN_MISSING");
    assert_eq!(old.with_token(Some(&opened.token)).init_otp("user1", "", "").reason, "");
}

#[test]
fn a_complete_session_replaces_its_factor_with_password_and_fresh_code_only() {
    let server = TestServer::open();
    let member = server.member("user1");
    let other = server.another_session(&member);
    let stream = other.stream();
    open_streams(&server, 1);
    let me = &member.peer;
    let code = server.code(&member.secret, 0);
    assert_eq!(me.init_otp("user1", "", "").reason, "INVALID_CREDENTIALS");
    assert_eq!(me.init_otp("user1", "wrong password", &code).reason, "INVALID_CREDENTIALS");
    assert_eq!(me.init_otp("user1", PASSWORD, "000000").reason, "INVALID_CODE");
    assert_eq!(me.init_otp("somebody", PASSWORD, &code).reason, "ENROLMENT_REFUSED");
    assert_eq!(me.check_otp("user1", &code).reason, "INVALID_CODE", "there is nothing to confirm, and no way to guess");
    let fresh = me.init_otp("user1", PASSWORD, &code);
    assert_eq!(fresh.reason, "", "{}", fresh.error);
    let new_secret = secret_of(&fresh.secret);
    server.next_step();
    assert_eq!(me.check_otp("user1", &server.code(&member.secret, 0)).reason, "INVALID_CODE", "the old factor");
    assert!(me.check_otp("user1", &server.code(&new_secret, 0)).valid);

    me.send("still here").expect("this session stays");
    let end = stream.iter().find_map(Result::err).expect("the other session's stream ends");
    assert_eq!(reason(&end), "SESSION_ENDED");
    refused(other.send("hi"), Code::UNAUTHENTICATED, "SESSION_ENDED");
    server.next_step();
    assert!(
        !server.peer().log_in("user1", PASSWORD, &server.code(&member.secret, 0)).success,
        "the old factor is gone"
    );
    assert!(server.peer().log_in("user1", PASSWORD, &server.code(&new_secret, 0)).success);
}

#[test]
fn a_session_lasts_24_hours_from_its_code_and_its_stream_ends_with_it() {
    let server = TestServer::open();
    let member = server.member("user1");
    let stream = member.peer.stream();
    open_streams(&server, 1);
    server.clock.advance(Duration::from_secs(24 * 3600 - 30) - Duration::from_micros(1));
    member.peer.send("last words").expect("a microsecond is left");
    server.clock.advance(Duration::from_micros(1));
    refused(member.peer.send("too late"), Code::UNAUTHENTICATED, "SESSION_ENDED");
    let texts: Vec<_> = stream.iter().map(|item| item.map(|m| m.text).map_err(|s| reason(&s))).collect();
    assert_eq!(texts, [Ok("last words".into()), Err("SESSION_ENDED".into())]);
}

#[test]
fn a_waiting_session_lasts_ten_minutes() {
    let server = TestServer::open();
    let member = server.member("user1");
    let waiting = member.peer.with_token(Some(&member.peer.log_in("user1", PASSWORD, "").token));
    server.clock.advance(Duration::from_secs(600));
    let late = waiting.check_otp("user1", &server.code(&member.secret, 0));
    assert_eq!(late.reason, "SESSION_ENDED");
}

#[test]
fn at_most_five_sessions_of_an_account_wait() {
    let server = TestServer::open();
    let member = server.member("user1");
    let tokens: Vec<_> = (0..6)
        .map(|_| {
            server.clock.advance(Duration::from_micros(1));
            member.peer.log_in("user1", PASSWORD, "").token
        })
        .collect();
    let code = server.code(&member.secret, 0);
    let check = |n: usize| member.peer.with_token(Some(&tokens[n])).check_otp("user1", &code).reason;
    assert_eq!(check(0), "SESSION_ENDED", "the oldest gave way");
    assert_eq!(check(1), "");
    assert_eq!(check(5), "CODE_ALREADY_USED");
}

#[test]
fn an_unenrolled_account_is_deleted_after_a_day_and_its_login_is_free_again() {
    let server = TestServer::open();
    let peer = server.peer();
    let member = server.member("enrolled");
    peer.register("user1", PASSWORD);
    let waiting = peer.with_token(Some(&peer.log_in("user1", PASSWORD, "").token));
    assert_eq!(peer.register("USER1", PASSWORD).reason, "LOGIN_TAKEN");
    server.clock.advance(Duration::from_secs(24 * 3600));
    crate::test_server::eventually("the login is free", || peer.register("user1", PASSWORD).success);
    assert_eq!(waiting.check_otp("user1", "123456").reason, "SESSION_ENDED");
    assert!(peer.log_in(&member.login, PASSWORD, &server.code(&member.secret, 0)).success, "an enrolled one stays");
}

#[test]
fn logging_out_ends_the_session_and_its_streams_and_no_other() {
    let server = TestServer::open();
    let member = server.member("user1");
    let other = server.another_session(&member);
    let (mine, others) = (member.peer.stream(), other.stream());
    open_streams(&server, 2);
    member.peer.log_out().expect("logged out");
    let end = mine.recv_timeout(LIMIT).expect("the stream ends").expect_err("with a status");
    assert_eq!(reason(&end), "SESSION_ENDED");
    refused(member.peer.send("hi"), Code::UNAUTHENTICATED, "SESSION_ENDED");
    refused(member.peer.log_out(), Code::UNAUTHENTICATED, "SESSION_ENDED");
    other.send("still here").expect("the other session goes on");
    assert_eq!(others.recv_timeout(LIMIT).expect("a message").expect("no end").text, "still here");
}

#[test]
fn sessions_survive_a_restart() {
    let mut server = TestServer::open();
    let member = server.member("user1");
    server.peer().register("user2", PASSWORD);
    server.stop();
    server.start_again();
    let again = server.peer().with_token(member.peer.token.as_deref());
    again.send("back").expect("the session is still there");
}

#[test]
fn a_message_has_its_senders_name_and_a_valid_text() {
    let server = TestServer::open();
    let member = server.member("Вася");
    let me = &member.peer;
    for author in ["", "Вася", "ВАСЯ", "вася"] {
        assert!(me.send_as(author, "Привет!").expect("my own name").success, "{author}");
    }
    for author in ["user2", "Bася", " ", "Вася "] {
        refused(me.send_as(author, "Привет!"), Code::PERMISSION_DENIED, "AUTHOR_MISMATCH");
    }
    for text in ["", "bell\x07", &"x".repeat(4097), " \n\t", "\u{200b}\u{3164}", &format!("x{}", "\n".repeat(1900))] {
        refused(me.send(text), Code::INVALID_ARGUMENT, "TEXT_INVALID");
    }
}

#[test]
fn a_login_in_another_spelling_is_the_same_account() {
    let server = TestServer::open();
    let peer = server.peer();
    peer.register("ivan", PASSWORD);
    // A capital I looks like a small l, but counts as an i.
    let waiting = peer.with_token(Some(&peer.log_in("Ivan", PASSWORD, "").token));
    let secret = secret_of(&waiting.init_otp("IVAN", "", "").secret);
    assert!(waiting.check_otp("Ivan", &server.code(&secret, 0)).valid);
    assert_eq!(peer.register("ivanivan", "IVANIVAN").reason, "WEAK_PASSWORD");
}

#[test]
fn completing_a_session_never_ends_that_session() {
    let server = TestServer::with(|settings| {
        settings.app.complete_sessions_per_user = 1;
        settings.app.waiting_sessions_per_user = 2;
    });
    let member = server.member("user1");
    let open = || {
        server.clock.advance(Duration::from_micros(1));
        server.peer().with_token(Some(&member.peer.log_in("user1", PASSWORD, "").token))
    };
    let (first, second) = (open(), open());
    assert!(second.check_otp("user1", &server.code(&member.secret, 0)).valid);
    server.next_step();
    let checked = first.check_otp("user1", &server.code(&member.secret, 0));
    assert!(checked.valid);
    first.with_token(Some(&checked.token)).send("hi").expect("the one that was completed last stays");
    refused(second.send("hi"), Code::UNAUTHENTICATED, "SESSION_ENDED");
}

#[test]
fn a_code_without_a_token_gives_no_token() {
    let server = TestServer::open();
    let old = server.peer();
    old.register("user1", PASSWORD);
    let secret = secret_of(&old.init_otp("user1", "", "").secret);
    old.log_in("user1", PASSWORD, "");
    let checked = old.check_otp("user1", &server.code(&secret, 0));
    assert_eq!((checked.valid, checked.token.as_str()), (true, ""));
}

#[test]
fn a_code_before_the_enrolment_was_started_is_refused_with_that_reason() {
    let server = TestServer::open();
    let old = server.peer();
    old.register("user1", PASSWORD);
    old.log_in("user1", PASSWORD, "");
    assert_eq!(old.check_otp("user1", "123456").reason, "ENROLMENT_NOT_STARTED");
}
