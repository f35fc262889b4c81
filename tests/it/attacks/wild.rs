//! Wild input, over the wire: always a proper answer, never a panic, and the server lives on.

use std::sync::{Mutex, OnceLock};

use grpcio::RpcStatusCode as Code;
use proptest::prelude::*;

use crate::house::{House, PASSWORD, Peer, reason};

/// One house for all cases; it goes with the process.
fn member() -> &'static Peer {
    static HOUSE: OnceLock<(Mutex<House>, Peer)> = OnceLock::new();
    let (_house, peer) = HOUSE.get_or_init(|| {
        let house = House::open();
        let member = house.member("member");
        (Mutex::new(house), member.peer)
    });
    peer
}

const METHODS: [&str; 6] =
    ["/Auth/Register", "/Auth/Login", "/Auth/Logout", "/Otp/InitOtp", "/Otp/CheckOtp", "/Messaging/SendMessage"];

fn is_alive() {
    member().send("still here").expect("the server lives");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn logins_passwords_and_codes(login in any::<String>(), password in any::<String>(), otp in any::<String>()) {
        let member = member();
        let stranger = member.with_token(None);
        let registered = stranger.register(&login, &password);
        prop_assert_eq!(registered.success, registered.reason.is_empty());
        prop_assert_ne!(&registered.reason, "INTERNAL", "{}", registered.error);
        let opened = stranger.log_in(&login, &password, &otp);
        prop_assert_ne!(&opened.reason, "INTERNAL", "{}", opened.error);
        prop_assert!(!stranger.check_otp(&login, &otp).valid);
        prop_assert!(!member.check_otp(&login, &otp).valid);
        prop_assert_ne!(member.init_otp(&login, &password, &otp).reason, "INTERNAL");
        prop_assert!(!stranger.log_in("member", PASSWORD, &otp).success || otp.is_empty());
    }

    #[test]
    fn texts_and_authors(author in any::<String>(), text in any::<String>()) {
        let member = member();
        if let Err(status) = member.send_as(&author, &text) {
            let known = [(Code::PERMISSION_DENIED, "AUTHOR_MISMATCH"), (Code::INVALID_ARGUMENT, "TEXT_INVALID")];
            prop_assert!(known.contains(&(status.code(), reason(&status).as_str())), "{:?}", status);
        }
    }

    #[test]
    fn tokens(token in "[ -~]{0,300}") {
        let member = member();
        let stranger = member.with_token(Some(&token));
        let status = stranger.send("hi").expect_err("refused");
        prop_assert_eq!(status.code(), Code::UNAUTHENTICATED);
        prop_assert_eq!(reason(&status), "TOKEN_INVALID");
        prop_assert_eq!(stranger.check_otp("member", "123456").reason, "TOKEN_INVALID");
        prop_assert_eq!(stranger.init_otp("member", "", "").reason, "TOKEN_INVALID");
    }

    #[test]
    fn bodies(method in prop::sample::select(&METHODS[..]), body in proptest::collection::vec(any::<u8>(), 0..600)) {
        // A changed message of ours as well as pure noise: `\x0a` opens the first string field.
        let framed = [&[0x0a, u8::try_from(body.len().min(100)).unwrap_or(0)][..], &body].concat();
        for body in [body, framed] {
            if let Some(status) = member().with_token(None).send_raw(method, body) {
                // Undecodable bodies are refused before our handlers, in the C core's own form.
                prop_assert!([Code::INTERNAL, Code::UNAUTHENTICATED, Code::INVALID_ARGUMENT].contains(&status.code()), "{:?}", status);
            }
        }
        is_alive();
    }
}

#[test]
fn a_request_beyond_the_limit_is_refused_and_the_server_lives() {
    let status = member().send_raw("/Auth/Login", vec![0x0a; 70_000]).expect("refused");
    assert_eq!(status.code(), Code::RESOURCE_EXHAUSTED);
    let status = member().send_raw("/Auth/NoSuchMethod", Vec::new()).expect("refused");
    assert_eq!(status.code(), Code::UNIMPLEMENTED);
    is_alive();
}
