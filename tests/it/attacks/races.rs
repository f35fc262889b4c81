//! Races between calls of which only one may succeed.

use std::time::Duration;

use grpc_otp_chat::security::secret::SecretBytes;
use rusqlite::Connection;

use super::confusion::recovering;
use crate::account::{change_password, delete_account};
use crate::house::{House, PASSWORD, Peer, at_once, eventually, secret_of};

const NEW_PASSWORD: &str = "another horse, another battery";

/// Confirms enrolments at the same moment: one wins, and its secret becomes the account's.
fn one_enrolment_wins(house: &House, login: &str, racers: &[(Peer, SecretBytes)]) {
    let confirm = |(peer, secret): &(Peer, SecretBytes)| {
        let code = house.code(secret, 0);
        let peer = peer.clone();
        move || peer.check_otp(login, &code)
    };
    let answers = at_once(racers.iter().map(confirm));
    let lost: Vec<_> = answers.iter().filter(|a| !a.valid).map(|a| a.reason.as_str()).collect();
    assert_eq!(lost.len(), racers.len() - 1, "{answers:?}");
    assert!(lost.iter().all(|reason| ["ENROLMENT_OVERTAKEN", "SESSION_ENDED"].contains(reason)), "{lost:?}");
    for ((_, secret), answer) in racers.iter().zip(&answers) {
        // The longest delay after wrong codes.
        house.clock.advance(Duration::from_secs(300));
        assert_eq!(house.peer().log_in(login, PASSWORD, &house.code(secret, 0)).success, answer.valid);
    }
}

#[test]
fn either_a_re_enrolment_or_a_recovery_wins() {
    let house = House::open();
    for n in 0..4 {
        let login = format!("user{n}");
        let member = house.member(&login);
        let recovering = recovering(&house, &member, 0);
        let theirs = secret_of(&recovering.init_otp(&login, "", "").secret);
        let mine = secret_of(&member.peer.init_otp(&login, PASSWORD, &house.code(&member.secret, 0)).secret);
        one_enrolment_wins(&house, &login, &[(member.peer, mine), (recovering, theirs)]);
    }
}

#[test]
fn one_of_many_parallel_recoveries_wins() {
    let house = House::open();
    let member = house.member("user1");
    let racers: Vec<_> = (0..4)
        .map(|n| {
            let peer = recovering(&house, &member, n);
            let secret = secret_of(&peer.init_otp("user1", "", "").secret);
            (peer, secret)
        })
        .collect();
    one_enrolment_wins(&house, "user1", &racers);
}

#[test]
fn the_last_of_many_parallel_secrets_counts() {
    let house = House::open();
    let peer = house.peer();
    peer.register("user1", PASSWORD);
    let waiting = peer.with_token(Some(&peer.log_in("user1", PASSWORD, "").token));
    let waiting = &waiting;
    let secrets = at_once((0..8).map(|_| move || secret_of(&waiting.init_otp("user1", "", "").secret)));
    let good = secrets.iter().filter(|secret| waiting.check_otp("user1", &house.code(secret, 0)).valid).count();
    assert_eq!(good, 1);
}

#[test]
fn one_waiting_session_of_an_old_client_is_completed_once() {
    let house = House::open();
    let member = house.member("user1");
    let old = house.peer();
    old.log_in("user1", PASSWORD, "");
    let (old, code) = (&old, &house.code(&member.secret, 0));
    let valid = at_once((0..8).map(|_| move || old.check_otp("user1", code).valid));
    assert_eq!(valid.into_iter().filter(|valid| *valid).count(), 1);
}

/// Logins with the old password race with its change.
#[test]
fn no_session_of_the_old_password_outlives_its_change() {
    let house = House::open();
    let member = house.member("user1");
    let code = house.code(&member.secret, 0);
    let mut racers: Vec<Box<dyn FnOnce() -> Option<String> + Send + '_>> = Vec::new();
    for n in 0..24 {
        let peer = house.peer();
        let recovery_code = &member.recovery_codes[n % 10];
        racers.push(Box::new(move || {
            let opened = if n < 10 { peer.recover("user1", recovery_code) } else { peer.log_in("user1", PASSWORD, "") };
            opened.success.then_some(opened.token)
        }));
    }
    racers.push(Box::new(|| {
        change_password(&member.peer, PASSWORD, &code, NEW_PASSWORD).expect("changed");
        None
    }));
    let tokens: Vec<String> = at_once(racers).into_iter().flatten().collect();
    house.next_step();
    for token in tokens {
        let survivor = house.peer().with_token(Some(&token));
        assert_eq!(survivor.check_otp("user1", &house.code(&member.secret, 0)).reason, "SESSION_ENDED");
        assert_eq!(survivor.init_otp("user1", "", "").reason, "SESSION_ENDED");
    }
    assert!(house.peer().log_in("user1", NEW_PASSWORD, &house.code(&member.secret, 0)).success);
}

/// Sends race with the deletion of their account.
#[test]
fn no_message_stays_under_the_name_of_a_deleted_account() {
    let house = House::open();
    let member = house.member("leaver");
    let code = house.code(&member.secret, 0);
    let mut racers: Vec<Box<dyn FnOnce() + Send + '_>> = Vec::new();
    for _ in 0..16 {
        let peer = house.peer().with_token(member.peer.token.as_deref());
        racers.push(Box::new(move || while peer.send("last words").is_ok() {}));
    }
    racers.push(Box::new(|| delete_account(&member.peer, PASSWORD, &code).expect("gone")));
    at_once(racers);
    let database = Connection::open(house.directory().join("users.db")).expect("the database");
    let count = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a count");
    eventually("all is renamed", || count("SELECT count(*) FROM departures") == 0);
    assert_eq!(count("SELECT count(*) FROM events WHERE author = 'leaver'"), 0);
}

#[test]
fn one_of_many_parallel_registrations_gets_a_login_in_any_spelling() {
    let house = House::open();
    // The last one has a Cyrillic letter of the same shape.
    let racers = ["ivan", "IVAN", "Ivan", "ｉｖａｎ", "іvan"].map(|login| (house.peer(), login));
    let taken = at_once(racers.map(|(peer, login)| move || peer.register(login, PASSWORD).success));
    assert_eq!(taken.iter().filter(|success| **success).count(), 1, "{taken:?}");
}
