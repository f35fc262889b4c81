//! Guessing codes and passwords, one by one and in parallel, from many connections; and what an honest user notices of it.

use std::time::Duration;

use grpc_otp_chat::proto::{ResponseCheckOtp, SessionState};
use grpc_otp_chat::security::throttle::Rate;

use crate::house::{House, Member, PASSWORD, Peer, at_once};

const DAY: Duration = Duration::from_secs(86_400);

/// Codes that are wrong now, and in the steps on either side.
pub(super) fn wrong_codes(house: &House, member: &Member) -> impl Iterator<Item = String> + use<> {
    let near: Vec<String> = (-2..=2).map(|steps| house.code(&member.secret, steps)).collect();
    (0..1_000_000).map(|n| format!("{n:06}")).filter(move |code| !near.contains(code))
}

/// An attacker that knows the password, on a connection of its own.
pub(super) fn attacker(house: &House, member: &Member) -> Peer {
    let peer = house.peer();
    let token = peer.log_in(&member.login, PASSWORD, "").token;
    peer.with_token(Some(&token))
}

#[test]
fn sixty_parallel_guesses_count_as_two_and_then_one_after_each_delay() {
    let house = House::with(|settings| settings.app.waiting_sessions_per_user = 100);
    let member = house.member("victim");
    let attackers: Vec<(Peer, String)> =
        wrong_codes(&house, &member).take(60).map(|code| (attacker(&house, &member), code)).collect();
    let answers = at_once(attackers.iter().map(|(peer, code)| move || peer.check_otp("victim", code)));
    let count = |reason: &str| answers.iter().filter(|answer| answer.reason == reason).count();
    assert_eq!((count("INVALID_CODE"), count("THROTTLED")), (2, 58));
    assert!(answers.iter().filter(|a| a.reason == "THROTTLED").all(|a| a.retry_after_seconds == 1));
    // The delay holds for all connections, and for the right code as well.
    assert_eq!(attackers[7].0.check_otp("victim", &house.code(&member.secret, 0)).reason, "THROTTLED");
    house.clock.advance(Duration::from_secs(1));
    assert!(attackers[7].0.check_otp("victim", &house.code(&member.secret, 0)).valid);
}

#[test]
fn sixty_guesses_one_by_one_count_as_thirty_and_then_one_a_day() {
    let house = House::open();
    let member = house.member("victim");
    let mut codes = wrong_codes(&house, &member);
    let mut tested = 0;
    let mut last = ResponseCheckOtp::new();
    for n in 0..60 {
        house.clock.advance(Duration::from_secs(300));
        // Each guess has a new connection.
        last = attacker(&house, &member).check_otp("victim", &codes.next().expect("a code"));
        if last.reason == "INVALID_CODE" {
            tested += 1;
        }
        // The owner logs in now and then: that clears the delay, and returns no guess.
        if n % 7 == 0 && last.reason == "INVALID_CODE" {
            house.clock.advance(Duration::from_secs(300));
            let opened = house.peer().log_in("victim", PASSWORD, &house.code(&member.secret, 0));
            assert!(opened.success, "{}", opened.error);
            assert!(opened.wrong_codes > 0, "he is told");
        }
    }
    assert_eq!(tested, 30);
    assert_eq!(last.reason, "GUESSES_SPENT");
    assert!(last.retry_after_seconds > 0 && Duration::from_secs(last.retry_after_seconds.into()) <= DAY);
    // Now not even a right code is accepted, and a restart does not change that.
    let mut house = house;
    house.stop();
    house.start_again();
    let code = house.code(&member.secret, 0);
    assert_eq!(house.peer().log_in("victim", PASSWORD, &code).reason, "GUESSES_SPENT");
    // A day later one guess is allowed: a right code passes, and is not counted.
    house.clock.advance(DAY);
    assert!(house.peer().log_in("victim", PASSWORD, &house.code(&member.secret, 0)).success);
    house.next_step();
    assert!(house.peer().log_in("victim", PASSWORD, &house.code(&member.secret, 0)).success);
}

#[test]
fn a_spent_budget_leaves_recovery_codes_and_a_new_factor_restores_it() {
    let house = House::with(|settings| settings.app.guesses.budget = 3);
    let member = house.member("victim");
    for code in wrong_codes(&house, &member).take(3) {
        house.clock.advance(Duration::from_secs(300));
        assert_eq!(attacker(&house, &member).check_otp("victim", &code).reason, "INVALID_CODE");
    }
    house.clock.advance(Duration::from_secs(300));
    assert_eq!(house.peer().log_in("victim", PASSWORD, &house.code(&member.secret, 0)).reason, "GUESSES_SPENT");
    let opened = house.peer().recover("victim", &member.recovery_codes[0]);
    assert_eq!(opened.state.enum_value(), Ok(SessionState::NEEDS_ENROLMENT), "{}", opened.error);
    let peer = house.peer().with_token(Some(&opened.token));
    let secret = crate::house::secret_of(&peer.init_otp("victim", "", "").secret);
    // This session has been shown the secret, so its wrong codes are not guesses.
    for code in ["000000", "000001", "000002", "000003", "000004"] {
        assert_eq!(peer.check_otp("victim", code).reason, "INVALID_CODE");
    }
    assert!(peer.check_otp("victim", &house.code(&secret, 0)).valid);
    house.next_step();
    assert!(house.peer().log_in("victim", PASSWORD, &house.code(&secret, 0)).success);
    assert_eq!(house.peer().log_in("victim", PASSWORD, &house.code(&member.secret, 1)).reason, "INVALID_CREDENTIALS");
}

#[test]
fn used_and_malformed_codes_are_not_guesses_and_a_wrong_password_counts_nothing() {
    let house = House::with(|settings| settings.app.guesses.budget = 1);
    let member = house.member("victim");
    let used = house.code(&member.secret, -1);
    for _ in 0..20 {
        assert_eq!(attacker(&house, &member).check_otp("victim", &used).reason, "CODE_ALREADY_USED");
        assert_eq!(attacker(&house, &member).check_otp("victim", "12345").reason, "INVALID_CODE");
        assert_eq!(house.peer().log_in("victim", "wrong password", "123456").reason, "INVALID_CREDENTIALS");
        // A complete session has no code to check.
        assert_eq!(member.peer.check_otp("victim", "123456").reason, "INVALID_CODE");
    }
    assert!(house.peer().log_in("victim", PASSWORD, &house.code(&member.secret, 0)).success);
}

#[test]
fn a_complete_session_cannot_be_used_to_guess_beyond_the_budget() {
    let house = House::with(|settings| settings.app.guesses.budget = 2);
    let member = house.member("victim");
    let mut codes = wrong_codes(&house, &member);
    let mut next = || codes.next().expect("a code");
    assert_eq!(member.peer.init_otp("victim", PASSWORD, &next()).reason, "INVALID_CODE");
    assert_eq!(attacker(&house, &member).check_otp("victim", &next()).reason, "INVALID_CODE");
    house.clock.advance(Duration::from_secs(1));
    let refused = member.peer.init_otp("victim", PASSWORD, &house.code(&member.secret, 0));
    assert_eq!(refused.reason, "GUESSES_SPENT");
    assert!(refused.secret.is_empty());
}

#[test]
fn wrong_passwords_are_throttled_and_right_ones_do_not_count() {
    let house = House::with(|settings| {
        settings.app.throttles.passwords = Rate { burst: 3, refill: Duration::from_secs(30) };
    });
    let (victim, other) = (house.member("victim"), house.member("other"));
    for _ in 0..10 {
        assert!(!house.peer().log_in("victim", PASSWORD, "").token.is_empty(), "right ones do not count");
    }
    let tries: Vec<_> = (0..5).map(|n| house.peer().log_in("Victim", &format!("wrong password {n}"), "")).collect();
    let reasons: Vec<_> = tries.iter().map(|t| t.reason.as_str()).collect();
    let (wrong, wait) = ("INVALID_CREDENTIALS", "THROTTLED");
    assert_eq!(reasons, [wrong, wrong, wrong, wait, wait]);
    assert_eq!(tries[4].retry_after_seconds, 30);
    assert_eq!(house.peer().log_in("VICTIM", PASSWORD, "").reason, wait, "however it is spelt");
    assert_eq!(house.peer().log_in("nobody", PASSWORD, "").reason, wrong, "an unknown login looks the same");
    // The same throttle holds for another call.
    assert_eq!(victim.peer.init_otp("victim", PASSWORD, &house.code(&victim.secret, 0)).reason, wait);
    assert!(house.peer().log_in("other", PASSWORD, &house.code(&other.secret, 0)).success);
    house.clock.advance(Duration::from_secs(30));
    assert!(house.peer().log_in("victim", PASSWORD, &house.code(&victim.secret, 0)).success, "it is no lock");
}

#[test]
fn an_address_is_throttled_over_all_accounts() {
    let house = House::with(|settings| {
        settings.app.throttles.hashes = Rate { burst: 5, refill: Duration::from_secs(10) };
        settings.app.throttles.registrations = Rate { burst: 2, refill: Duration::from_secs(60) };
    });
    let reasons: Vec<_> = (0..6).map(|n| house.peer().log_in(&format!("user{n}"), "x", "").reason).collect();
    assert_eq!(reasons.iter().filter(|r| *r == "INVALID_CREDENTIALS").count(), 5);
    assert_eq!(reasons[5], "THROTTLED");
    for (n, reason) in ["", "", "THROTTLED"].into_iter().enumerate() {
        assert_eq!(house.peer().register(&format!("user{n}"), PASSWORD).reason, reason);
    }
    assert_eq!(house.peer().register("user9", PASSWORD).retry_after_seconds, 60);
    house.clock.advance(Duration::from_secs(60));
    assert_eq!(house.peer().register("user9", PASSWORD).reason, "");
}
