//! One session, token or account mistaken for another.

use std::time::Duration;

use grpc_otp_chat::base::clock::Clock;
use grpc_otp_chat::proto::methods;
use grpc_otp_chat::proto::{ListSessionsRequest, WhichSessions};
use grpcio::RpcStatusCode as Code;
use rusqlite::Connection;

use super::gate::refused;
use super::guessing::{attacker, wrong_codes};
use crate::account::{change_password, delete_account, end_sessions, new_recovery_codes};
use crate::house::{House, Member, PASSWORD, Peer, secret_of};

/// A session that a recovery code opened, on a connection of its own.
pub(super) fn recovering(house: &House, member: &Member, code: usize) -> Peer {
    let opened = house.peer().recover(&member.login, &member.recovery_codes[code]);
    assert!(opened.success, "{}", opened.error);
    house.peer().with_token(Some(&opened.token))
}

#[test]
fn every_call_refuses_two_tokens() {
    let house = House::open();
    let member = house.member("user1");
    let waiting = attacker(&house, &member).token.expect("a token");
    let mine = member.peer.token.clone().expect("a token");
    for (first, second) in [(&mine, &waiting), (&waiting, &mine), (&mine, &String::new())] {
        let both = member.peer.with_token(Some(first)).with_metadata(&[("token", second.as_bytes())]);
        refused(both.send("hi"), Code::UNAUTHENTICATED, "TOKEN_INVALID");
        refused(
            both.call(&methods::LIST_SESSIONS, &ListSessionsRequest::new()),
            Code::UNAUTHENTICATED,
            "TOKEN_INVALID",
        );
        refused(both.log_out(), Code::UNAUTHENTICATED, "TOKEN_INVALID");
        assert_eq!(both.check_otp("user1", &house.code(&member.secret, 0)).reason, "TOKEN_INVALID");
        assert_eq!(both.init_otp("user1", PASSWORD, &house.code(&member.secret, 0)).reason, "TOKEN_INVALID");
    }
    let twice = member.peer.with_metadata(&[("token", mine.as_bytes())]);
    assert!(twice.send("the same one twice").is_ok());
}

#[test]
fn a_token_is_valid_for_its_own_login_only() {
    let house = House::open();
    let (one, two) = (house.member("user1"), house.member("user2"));
    let code = house.code(&two.secret, 0);
    for peer in [&one.peer, &attacker(&house, &one), &recovering(&house, &one, 0)] {
        assert_eq!(peer.check_otp("user2", &code).reason, "INVALID_CODE");
        assert_eq!(peer.init_otp("user2", PASSWORD, &code).reason, "ENROLMENT_REFUSED");
    }
    assert!(house.peer().log_in("user2", PASSWORD, &code).success, "the code was not spent by that");
}

#[test]
fn a_recovery_session_is_not_completed_by_the_factor_that_it_replaces() {
    let house = House::open();
    let member = house.member("user1");
    let peer = recovering(&house, &member, 0);
    let code = house.code(&member.secret, 0);
    assert_eq!(peer.check_otp("user1", &code).reason, "ENROLMENT_NOT_STARTED");
    let secret = secret_of(&peer.init_otp("user1", "", "").secret);
    assert_eq!(peer.check_otp("user1", &code).reason, "INVALID_CODE");
    assert!(house.peer().log_in("user1", PASSWORD, &code).success, "it was not spent either");
    assert!(peer.check_otp("user1", &house.code(&secret, 0)).valid);
}

#[test]
fn a_recovery_session_ends_when_another_session_replaces_the_factor() {
    let house = House::open();
    let member = house.member("user1");
    let late = recovering(&house, &member, 0);
    let stolen = secret_of(&late.init_otp("user1", "", "").secret);
    let started = member.peer.init_otp("user1", PASSWORD, &house.code(&member.secret, 0));
    assert!(member.peer.check_otp("user1", &house.code(&secret_of(&started.secret), 0)).valid);
    assert_eq!(late.check_otp("user1", &house.code(&stolen, 0)).reason, "SESSION_ENDED");
    assert_eq!(late.init_otp("user1", "", "").reason, "SESSION_ENDED");
}

/// An attacker that knows only the password must not be able to use up the owner's recovery codes.
#[test]
fn a_flood_of_logins_does_not_end_a_recovery_session() {
    let house = House::open();
    let member = house.member("user1");
    let peer = recovering(&house, &member, 0);
    let secret = secret_of(&peer.init_otp("user1", "", "").secret);
    for _ in 0..20 {
        house.clock.advance(Duration::from_micros(1));
        attacker(&house, &member);
    }
    assert_eq!(peer.check_otp("user1", &house.code(&secret, 0)).reason, "");
}

#[test]
fn a_listed_session_id_opens_nothing_and_ends_no_session_of_another_account() {
    let house = House::open();
    let (one, two) = (house.member("user1"), house.member("user2"));
    let list = |peer: &Peer| peer.call(&methods::LIST_SESSIONS, &ListSessionsRequest::new()).expect("a list").sessions;
    let handle = list(&one.peer)[0].id.clone();
    refused(house.peer().with_token(Some(&handle)).send("hi"), Code::UNAUTHENTICATED, "TOKEN_INVALID");
    let (half, doubled) = (handle[..8].to_owned(), format!("{handle}{handle}"));
    for guess in ["", "%", "*", "0", "' OR 1=1 --", &half, &doubled, &handle] {
        let outcome = end_sessions(&two.peer, WhichSessions::ONE, guess, "", "");
        assert_eq!(outcome, Err("SESSION_NOT_FOUND".to_owned()), "{guess}");
    }
    assert!(one.peer.send("still here").is_ok());
}

/// The answer of each call that takes a code, to an attacker that knows the password and has a session.
fn answers_to_codes(house: &House, member: &Member, mut code: impl FnMut() -> String) -> Vec<String> {
    let mut wait = || {
        house.clock.advance(Duration::from_secs(300));
        code()
    };
    let me = &member.peer;
    let old_client = || {
        let old = house.peer();
        assert!(old.log_in("victim", PASSWORD, "").success);
        old
    };
    let why = |refused: Result<String, String>| refused.expect_err("refused");
    vec![
        house.peer().log_in("victim", PASSWORD, &wait()).reason,
        attacker(house, member).check_otp("victim", &wait()).reason,
        old_client().check_otp("victim", &wait()).reason,
        me.init_otp("victim", PASSWORD, &wait()).reason,
        why(change_password(me, PASSWORD, &wait(), "another horse").map(|_| String::new())),
        why(new_recovery_codes(me, PASSWORD, &wait()).map(|_| String::new())),
        why(end_sessions(me, WhichSessions::ALL, "", PASSWORD, &wait()).map(|_| String::new())),
        why(delete_account(me, PASSWORD, &wait()).map(|()| String::new())),
    ]
}

#[test]
fn every_call_that_takes_a_code_shares_one_budget() {
    let house = House::with(|settings| settings.app.guesses.budget = 8);
    let member = house.member("victim");
    let mut codes = wrong_codes(&house, &member);
    let mut said = answers_to_codes(&house, &member, || codes.next().expect("a code"));
    // A login does not say that the code was wrong.
    assert_eq!(said.remove(0), "INVALID_CREDENTIALS");
    assert_eq!(said, ["INVALID_CODE"; 7]);
    assert_eq!(
        answers_to_codes(&house, &member, || house.code(&member.secret, 0)),
        ["GUESSES_SPENT"; 8],
        "right ones, too late"
    );
    assert!(member.peer.send("still here").is_ok());
}

#[test]
fn a_locked_account_refuses_every_login_and_says_why_only_after_the_right_password() {
    let house = House::open();
    let member = house.member("user1");
    let database = Connection::open(house.directory().join("users.db")).expect("the database");
    let lock = |at: &str| database.execute(&format!("UPDATE users SET locked_at = {at}"), []).expect("an update");
    lock("1");
    let code = house.code(&member.secret, 0);
    assert_eq!(house.peer().log_in("user1", "wrong password", &code).reason, "INVALID_CREDENTIALS");
    assert_eq!(house.peer().log_in("user1", PASSWORD, "").reason, "ACCOUNT_LOCKED");
    assert_eq!(house.peer().log_in("user1", PASSWORD, &code).reason, "ACCOUNT_LOCKED");
    assert_eq!(house.peer().recover("user1", &member.recovery_codes[0]).reason, "ACCOUNT_LOCKED");
    lock("NULL");
    assert!(house.peer().recover("user1", &member.recovery_codes[0]).success, "not used up");
    assert!(house.peer().log_in("user1", PASSWORD, &code).success, "nor was the code");
}

#[test]
fn a_clock_set_back_revives_no_code_and_no_session() {
    let mut house = House::open();
    let member = house.member("user1");
    let used = house.code(&member.secret, 0);
    let ended = house.another_session(&member);
    ended.log_out().expect("logged out");
    house.stop();
    house.clock = Clock::manual(house.clock.now() - Duration::from_secs(30));
    house.start_again();
    let log_in = |code: &str| house.peer().log_in("user1", PASSWORD, code).reason;
    assert_eq!(house.code(&member.secret, 0), used, "the same step once more");
    assert_eq!(log_in(&used), "INVALID_CREDENTIALS");
    assert_eq!(log_in(&house.code(&member.secret, -1)), "INVALID_CREDENTIALS", "an earlier one neither");
    assert_eq!(log_in(&house.code(&member.secret, 1)), "", "the next one works");
    let revived = house.peer().with_token(ended.token.as_deref());
    refused(revived.send("hi"), Code::UNAUTHENTICATED, "SESSION_ENDED");
}

#[test]
fn all_spellings_of_a_login_share_one_throttle() {
    let house = House::with(|settings| settings.app.throttles.passwords.burst = 3);
    house.member("victim");
    house.clock.advance(Duration::from_secs(3600));
    let spellings = ["victim", "VICTIM", "ｖｉｃｔｉｍ", "ＶiCtIm", "victim"];
    let said: Vec<_> = spellings.iter().map(|login| house.peer().log_in(login, "wrong password", "").reason).collect();
    let wrong = "INVALID_CREDENTIALS";
    assert_eq!(said, [wrong, wrong, wrong, "THROTTLED", "THROTTLED"]);
}
