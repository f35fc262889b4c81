//! A user's own account over the wire: recovery codes, sessions, password, deletion; and what each of them revokes.

use grpc_otp_chat::proto::methods;
use grpc_otp_chat::proto::{
    ChangePasswordRequest, DeleteAccountRequest, EndSessionsRequest, ListSessionsRequest, NewRecoveryCodesRequest,
    SessionState, WhichSessions,
};
use grpcio::{RpcStatus, RpcStatusCode as Code};

use crate::LIMIT;
use crate::house::{House, Member, PASSWORD, Peer, at_once, open_streams, reason, secret_of};

const NEW_PASSWORD: &str = "another horse, another battery";

pub(crate) fn end_sessions(
    peer: &Peer,
    which: WhichSessions,
    id: &str,
    password: &str,
    otp: &str,
) -> Result<u32, String> {
    let request = EndSessionsRequest {
        which: which.into(),
        id: id.into(),
        password: password.into(),
        otp: otp.into(),
        ..Default::default()
    };
    peer.call(&methods::END_SESSIONS, &request).map(|answer| answer.ended).map_err(|status| reason(&status))
}

pub(crate) fn change_password(peer: &Peer, old: &str, otp: &str, new: &str) -> Result<u32, String> {
    let request =
        ChangePasswordRequest { password: old.into(), otp: otp.into(), new_password: new.into(), ..Default::default() };
    peer.call(&methods::CHANGE_PASSWORD, &request).map(|answer| answer.ended_sessions).map_err(|status| reason(&status))
}

pub(crate) fn new_recovery_codes(peer: &Peer, password: &str, otp: &str) -> Result<Vec<String>, String> {
    let request = NewRecoveryCodesRequest { password: password.into(), otp: otp.into(), ..Default::default() };
    peer.call(&methods::NEW_RECOVERY_CODES, &request)
        .map(|answer| answer.recovery_codes)
        .map_err(|status| reason(&status))
}

pub(crate) fn delete_account(peer: &Peer, password: &str, otp: &str) -> Result<(), String> {
    let request = DeleteAccountRequest { password: password.into(), otp: otp.into(), ..Default::default() };
    peer.call(&methods::DELETE_ACCOUNT, &request).map(|_| ()).map_err(|status| reason(&status))
}

fn refused<T: std::fmt::Debug>(result: Result<T, String>) -> String {
    result.expect_err("refused")
}

fn why<T: std::fmt::Debug>(result: Result<T, RpcStatus>) -> String {
    reason(&result.expect_err("refused"))
}

/// Enrols a session that needs it. Returns a peer with the complete session, and its recovery codes.
fn enrol(house: &House, peer: &Peer, login: &str) -> (Peer, Vec<String>) {
    let secret = secret_of(&peer.init_otp(login, "", "").secret);
    let checked = peer.check_otp(login, &house.code(&secret, 0));
    assert!(checked.valid, "{}", checked.error);
    (peer.with_token(Some(&checked.token)), checked.recovery_codes)
}

#[test]
fn a_recovery_code_opens_a_session_that_must_enrol_anew_and_nothing_else() {
    let house = House::open();
    let member = house.member("user1");
    assert_eq!(member.recovery_codes.len(), 10);
    let opened = house.peer().recover("user1", &member.recovery_codes[3].to_lowercase().replace('-', " "));
    assert_eq!(opened.state.enum_value(), Ok(SessionState::NEEDS_ENROLMENT), "{}", opened.error);
    assert_eq!(opened.recovery_codes_left, 9);
    let recovered = house.peer().with_token(Some(&opened.token));
    assert_eq!(why(recovered.send("hi")), "SECOND_FACTOR_MISSING");
    // The second factor still holds: the old phone works until the new one is confirmed.
    assert!(house.peer().log_in("user1", PASSWORD, &house.code(&member.secret, 0)).success);
    assert_eq!(house.peer().recover("user1", &member.recovery_codes[3]).reason, "INVALID_CREDENTIALS", "once");
    let (recovered, fresh) = enrol(&house, &recovered, "user1");
    assert!(recovered.send("hi").is_ok());
    assert_eq!(why(member.peer.send("hi")), "SESSION_ENDED", "a new second factor revokes the others");
    for old in &member.recovery_codes {
        assert_eq!(house.peer().recover("user1", old).reason, "INVALID_CREDENTIALS", "void at the next enrolment");
    }
    assert_eq!(fresh.len(), 10);
    assert!(house.peer().recover("user1", &fresh[0]).success);
}

#[test]
fn one_recovery_code_opens_one_of_many_sessions_at_once() {
    let house = House::open();
    let member = house.member("user1");
    let code = &member.recovery_codes[0];
    let opened = at_once((0..16).map(|_| house.peer()).map(|peer| move || peer.recover("user1", code).success));
    assert_eq!(opened.into_iter().filter(|success| *success).count(), 1);
}

#[test]
fn a_recovery_code_is_valid_with_the_password_of_its_own_account_and_never_beside_a_code() {
    let house = House::open();
    let (one, two) = (house.member("user1"), house.member("user2"));
    assert_eq!(house.peer().recover("user2", &one.recovery_codes[0]).reason, "INVALID_CREDENTIALS");
    let both = grpc_otp_chat::proto::LoginRequest {
        login: "user1".into(),
        password: PASSWORD.into(),
        otp: house.code(&one.secret, 0),
        recovery_code: one.recovery_codes[0].clone(),
        ..Default::default()
    };
    assert_eq!(house.peer().log_in_with(&both).reason, "REQUEST_INVALID");
    let stolen = grpc_otp_chat::proto::LoginRequest { password: "wrong password".into(), otp: String::new(), ..both };
    assert_eq!(house.peer().log_in_with(&stolen).reason, "INVALID_CREDENTIALS");
    assert!(house.peer().recover("user1", &one.recovery_codes[0]).success, "it was not used up by that");
    assert!(house.peer().recover("user2", &two.recovery_codes[0]).success);
}

#[test]
fn new_recovery_codes_need_password_and_a_fresh_code_and_void_the_old_ones() {
    let house = House::open();
    let member = house.member("user1");
    assert_eq!(
        refused(new_recovery_codes(&member.peer, "wrong", &house.code(&member.secret, 0))),
        "INVALID_CREDENTIALS"
    );
    assert_eq!(
        refused(new_recovery_codes(&member.peer, PASSWORD, &house.code(&member.secret, -1))),
        "CODE_ALREADY_USED"
    );
    let waiting = house.peer().log_in("user1", PASSWORD, "").token;
    let codes = new_recovery_codes(&member.peer, PASSWORD, &house.code(&member.secret, 0)).expect("ten codes");
    assert_eq!(codes.len(), 10);
    assert_eq!(house.peer().with_token(Some(&waiting)).check_otp("user1", "123456").reason, "SESSION_ENDED");
    assert!(member.peer.send("still here").is_ok());
    assert_eq!(house.peer().recover("user1", &member.recovery_codes[0]).reason, "INVALID_CREDENTIALS");
    let opened = house.peer().recover("user1", &codes[9]);
    assert_eq!((opened.success, opened.recovery_codes_left), (true, 9));
}

#[test]
fn a_waiting_session_may_not_touch_the_account() {
    let house = House::open();
    let member = house.member("user1");
    let code = house.code(&member.secret, 0);
    let waiting = house.peer().log_in("user1", PASSWORD, "").token;
    let recovering = house.peer().recover("user1", &member.recovery_codes[0]).token;
    for token in [waiting, recovering] {
        let peer = house.peer().with_token(Some(&token));
        let missing = "SECOND_FACTOR_MISSING";
        assert_eq!(why(peer.call(&methods::LIST_SESSIONS, &ListSessionsRequest::new())), missing);
        assert_eq!(refused(end_sessions(&peer, WhichSessions::ALL, "", PASSWORD, &code)), missing);
        assert_eq!(refused(end_sessions(&peer, WhichSessions::ONE, "x", "", "")), missing);
        assert_eq!(refused(change_password(&peer, PASSWORD, &code, NEW_PASSWORD)), missing);
        assert_eq!(refused(new_recovery_codes(&peer, PASSWORD, &code)), missing);
        assert_eq!(refused(delete_account(&peer, PASSWORD, &code)), missing);
    }
    let anonymous = house.peer();
    assert_eq!(refused(change_password(&anonymous, PASSWORD, &code, NEW_PASSWORD)), "TOKEN_MISSING");
    assert!(house.peer().log_in("user1", PASSWORD, &code).success, "the code was not used up by any of this");
}

#[test]
fn sessions_are_listed_and_one_is_ended_with_its_stream() {
    let house = House::open();
    let member = house.member("user1");
    let stranger = house.member("user2");
    let other = house.another_session(&member);
    let stream = other.stream();
    open_streams(&house, 1);
    let list = |peer: &Peer| peer.call(&methods::LIST_SESSIONS, &ListSessionsRequest::new()).expect("a list").sessions;
    let sessions = list(&member.peer);
    assert_eq!(sessions.len(), 2);
    assert_eq!(sessions.iter().map(|s| s.current).collect::<Vec<_>>(), [true, false]);
    assert!(sessions.iter().all(|s| s.address == "127.0.0.1" && s.state.enum_value() == Ok(SessionState::COMPLETE)));
    assert!(sessions[0].opened_at.seconds < sessions[1].opened_at.seconds);
    assert_eq!(refused(end_sessions(&stranger.peer, WhichSessions::ONE, &sessions[1].id, "", "")), "SESSION_NOT_FOUND");
    assert_eq!(end_sessions(&member.peer, WhichSessions::ONE, &sessions[1].id, "", ""), Ok(1));
    let end = stream.recv_timeout(LIMIT).expect("within the limit").expect_err("an end");
    assert_eq!(reason(&end), "SESSION_ENDED");
    assert_eq!(why(other.send("hi")), "SESSION_ENDED");
    assert_eq!(list(&member.peer).len(), 1);
    assert_eq!(refused(end_sessions(&member.peer, WhichSessions::ONE, &sessions[1].id, "", "")), "SESSION_NOT_FOUND");
    let unspecified = EndSessionsRequest::new();
    assert_eq!(why(member.peer.call(&methods::END_SESSIONS, &unspecified)), "REQUEST_INVALID");
}

#[test]
fn the_other_sessions_or_all_are_ended_with_password_and_a_fresh_code() {
    let house = House::open();
    let member = house.member("user1");
    let others = [house.another_session(&member), house.another_session(&member)];
    let waiting = house.peer().log_in("user1", PASSWORD, "").token;
    let code = house.code(&member.secret, 0);
    assert_eq!(refused(end_sessions(&member.peer, WhichSessions::OTHERS, "", "", "")), "INVALID_CREDENTIALS");
    assert_eq!(refused(end_sessions(&member.peer, WhichSessions::OTHERS, "", PASSWORD, "1")), "INVALID_CODE");
    assert_eq!(end_sessions(&member.peer, WhichSessions::OTHERS, "", PASSWORD, &code), Ok(3));
    for other in &others {
        assert_eq!(why(other.send("hi")), "SESSION_ENDED");
    }
    assert_eq!(member.peer.with_token(Some(&waiting)).check_otp("user1", "123456").reason, "SESSION_ENDED");
    assert!(member.peer.send("still here").is_ok());
    house.next_step();
    let code = house.code(&member.secret, 0);
    assert_eq!(end_sessions(&member.peer, WhichSessions::ALL, "", PASSWORD, &code), Ok(1));
    assert_eq!(why(member.peer.send("hi")), "SESSION_ENDED");
}

#[test]
fn a_new_password_needs_the_old_one_and_a_fresh_code_and_ends_the_other_sessions() {
    let house = House::open();
    let member = house.member("user1");
    let other = house.another_session(&member);
    let fresh = house.code(&member.secret, 0);
    let change = |old: &str, otp: &str, new: &str| change_password(&member.peer, old, otp, new);
    assert_eq!(refused(change("wrong password", &fresh, NEW_PASSWORD)), "INVALID_CREDENTIALS");
    assert_eq!(refused(change(PASSWORD, &house.code(&member.secret, -1), NEW_PASSWORD)), "CODE_ALREADY_USED");
    assert_eq!(refused(change(PASSWORD, &fresh, "short")), "WEAK_PASSWORD");
    let unread = member.peer.call(&methods::CHANGE_PASSWORD, &ChangePasswordRequest::new()).expect_err("refused");
    assert_eq!(unread.code(), Code::INVALID_ARGUMENT);
    assert_eq!(change(PASSWORD, &fresh, NEW_PASSWORD), Ok(1));
    assert_eq!(why(other.send("hi")), "SESSION_ENDED");
    assert!(member.peer.send("still here").is_ok());
    house.next_step();
    let code = house.code(&member.secret, 0);
    assert_eq!(house.peer().log_in("user1", PASSWORD, &code).reason, "INVALID_CREDENTIALS");
    assert!(house.peer().log_in("user1", NEW_PASSWORD, &code).success);
}

#[test]
fn a_code_makes_one_change_of_many_at_once() {
    let house = House::open();
    let member = house.member("user1");
    let code = house.code(&member.secret, 0);
    let (peer, code) = (&member.peer, &code);
    let done =
        at_once((0..8).map(|n| move || change_password(peer, PASSWORD, code, &format!("{NEW_PASSWORD} {n}")).is_ok()));
    assert_eq!(done.into_iter().filter(|done| *done).count(), 1);
}

/// The authors of the messages in the database after a member was deleted.
fn authors_after_leaving(keep: bool) -> Vec<String> {
    let house = House::with(|settings| settings.app.keep_messages_of_deleted = keep);
    let (leaver, stayer) = (house.member("leaver"), house.member("stayer"));
    for n in 0..3 {
        leaver.peer.send(&format!("mine {n}")).expect("sent");
        stayer.peer.send(&format!("theirs {n}")).expect("sent");
    }
    let stream = leaver.peer.stream();
    open_streams(&house, 1);
    let code = house.code(&leaver.secret, 0);
    assert_eq!(refused(delete_account(&leaver.peer, "wrong password", &code)), "INVALID_CREDENTIALS");
    assert_eq!(delete_account(&leaver.peer, PASSWORD, &code), Ok(()));
    let end = stream.recv_timeout(LIMIT).expect("within the limit").expect_err("an end");
    assert_eq!(reason(&end), "SESSION_ENDED");
    assert_eq!(why(leaver.peer.send("hi")), "SESSION_ENDED", "the token of a deleted user");
    assert_eq!(house.peer().log_in("leaver", PASSWORD, "").reason, "INVALID_CREDENTIALS");
    for taken in ["leaver", "LEAVER", "Ieaver"] {
        assert_eq!(house.peer().register(taken, PASSWORD).reason, "LOGIN_TAKEN", "never given out again");
    }
    let database = rusqlite::Connection::open(house.directory().join("users.db")).expect("the database");
    let count = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a count");
    crate::house::eventually("all is done", || count("SELECT count(*) FROM departures") == 0);
    for table in ["sessions", "second_factors", "one_time_codes"] {
        assert_eq!(count(&format!("SELECT count(*) FROM {table} WHERE user_id = 1")), 0, "{table}");
    }
    let mut authors = database.prepare("SELECT author FROM events ORDER BY id").expect("sql");
    authors.query_map([], |row| row.get(0)).expect("rows").collect::<Result<_, _>>().expect("authors")
}

#[test]
fn a_deleted_account_leaves_its_messages_under_a_neutral_name_or_none() {
    let neutral = "(deleted)";
    assert_eq!(authors_after_leaving(true), [neutral, "stayer", neutral, "stayer", neutral, "stayer"]);
    assert_eq!(authors_after_leaving(false), ["stayer", "stayer", "stayer"]);
}

#[test]
fn a_token_of_a_deleted_account_does_not_open_a_later_one() {
    let house = House::open();
    let Member { peer, secret, .. } = house.member("leaver");
    delete_account(&peer, PASSWORD, &house.code(&secret, 0)).expect("gone");
    let next = house.member("next");
    assert_eq!(why(peer.send("hi")), "SESSION_ENDED");
    assert!(next.peer.send("hi").is_ok());
}
