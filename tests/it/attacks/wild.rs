//! Wild input over the wire: the server always answers properly, never panics, and goes on.
//!
//! `PROPTEST_CASES` sets the number of cases; `script/fuzz MINUTES` runs rounds of them for that time.

use std::sync::{Mutex, OnceLock};

use grpc_otp_chat::proto::methods;
use grpc_otp_chat::proto::{LoginRequest, RegisterRequest, WhichSessions};
use grpcio::{RpcStatus, RpcStatusCode as Code};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::account::{change_password, delete_account, end_sessions, new_recovery_codes};
use crate::test_server::{PASSWORD, Peer, TestServer, reason};
use crate::watch;

/// A server for all cases, with a member; it ends with the process.
struct SharedServer {
    server: Mutex<TestServer>,
    member: Peer,
    recovery_codes: Vec<String>,
}

fn shared() -> &'static SharedServer {
    static SERVER: OnceLock<SharedServer> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = TestServer::open();
        let member = server.member("member");
        SharedServer { server: Mutex::new(server), member: member.peer, recovery_codes: member.recovery_codes }
    })
}

fn member() -> &'static Peer {
    &shared().member
}

const UNARY: [&str; 12] = [
    "/Auth/Register",
    "/Auth/Login",
    "/Auth/Logout",
    "/Auth/ListSessions",
    "/Auth/EndSessions",
    "/Auth/ChangePassword",
    "/Auth/DeleteAccount",
    "/Otp/InitOtp",
    "/Otp/CheckOtp",
    "/Otp/NewRecoveryCodes",
    "/Messaging/SendMessage",
    "/Messaging/History",
];

/// Checks that the server still answers and has logged no fault.
fn is_well() {
    member().send("still here").expect("the server lives");
    assert_eq!(watch::faults(), Vec::<String>::new());
}

/// Whether a refusal comes from the server, or from the C core, whose refusals have no details.
fn is_proper(status: &RpcStatus) -> bool {
    status.details().is_empty() || status.code() != Code::INTERNAL && !reason(status).is_empty()
}

/// A field of a message: a number from 1 to 15, any wire type, groups included, and any content, with a true or a false
/// length.
fn field() -> impl Strategy<Value = Vec<u8>> {
    let lying = prop_oneof![4 => Just(0u8), 1 => any::<u8>()];
    (1u8..16, 0u8..8, vec(any::<u8>(), 0..60), lying).prop_map(|(number, kind, content, lie)| {
        let mut bytes = vec![number << 3 | kind];
        if kind == 2 {
            bytes.push(u8::try_from(content.len()).unwrap_or(0).wrapping_add(lie));
        }
        bytes.extend(content);
        bytes
    })
}

/// A real text with a few characters changed, removed or inserted.
fn mutated(text: &str, changes: &[(Index, u8, char)]) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    for (at, how, letter) in changes {
        let at = at.index(letters.len().max(1)).min(letters.len());
        match how % 3 {
            0 if at < letters.len() => letters[at] = *letter,
            1 if at < letters.len() => drop(letters.remove(at)),
            _ => letters.insert(at, *letter),
        }
    }
    letters.into_iter().collect()
}

fn changes(letters: &'static str) -> impl Strategy<Value = Vec<(Index, u8, char)>> {
    vec((any::<Index>(), any::<u8>(), select(letters.chars().collect::<Vec<_>>())), 1..5)
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(96);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn logins_passwords_and_codes(login in any::<String>(), password in any::<String>(), otp in any::<String>()) {
        let stranger = member().with_token(None);
        let registered = stranger.register(&login, &password);
        prop_assert_eq!(registered.success, registered.reason.is_empty());
        prop_assert_ne!(&registered.reason, "INTERNAL", "{}", registered.error);
        let opened = stranger.log_in(&login, &password, &otp);
        prop_assert_ne!(&opened.reason, "INTERNAL", "{}", opened.error);
        prop_assert!(!stranger.check_otp(&login, &otp).valid);
        prop_assert!(!member().check_otp(&login, &otp).valid);
        prop_assert_ne!(member().init_otp(&login, &password, &otp).reason, "INTERNAL");
        is_well();
    }

    #[test]
    fn codes(otp in "[0-9０-９٠-٩ \\-]{0,10}") {
        // Six random digits are right three times in a million.
        prop_assume!(!otp.bytes().all(|b| b.is_ascii_digit()) || otp.len() != 6);
        let opened = member().log_in("member", PASSWORD, &otp);
        prop_assert!(!opened.success || otp.is_empty());
        prop_assert!(!member().check_otp("member", &otp).valid);
        is_well();
    }

    #[test]
    fn recovery_codes_and_invitations(any_text in any::<String>(), which in 0usize..10, changes in changes("ABCXYZ234567abc01 -ß")) {
        let right = &shared().recovery_codes[which];
        let typed = |code: &str| code.to_uppercase().replace(['-', ' '], "");
        let changed = mutated(right, &changes);
        for code in [&any_text, &changed] {
            prop_assume!(!code.is_empty() && typed(code) != typed(right));
            let request = LoginRequest {
                login: "member".into(), password: PASSWORD.into(), recovery_code: code.clone(), ..Default::default()
            };
            prop_assert_eq!(member().log_in_with(&request).reason, "INVALID_CREDENTIALS");
            let request = RegisterRequest {
                login: "x".into(), password: PASSWORD.into(), invite: code.clone(), ..Default::default()
            };
            prop_assert_eq!(member().call(&methods::REGISTER, &request).expect("in the response").reason, "LOGIN_INVALID");
        }
        is_well();
    }

    #[test]
    fn what_a_session_sends(a in any::<String>(), b in any::<String>(), c in any::<String>()) {
        let me = member();
        prop_assert_eq!(end_sessions(me, WhichSessions::ONE, &a, "", ""), Err("SESSION_NOT_FOUND".to_owned()));
        prop_assert!(end_sessions(me, WhichSessions::ALL, &a, &b, &c).is_err());
        prop_assert!(change_password(me, &a, &b, &c).is_err());
        prop_assert!(new_recovery_codes(me, &a, &b).is_err());
        prop_assert!(delete_account(me, &a, &b).is_err());
        if let Err(status) = me.send_as(&a, &b) {
            let known = [(Code::PERMISSION_DENIED, "AUTHOR_MISMATCH"), (Code::INVALID_ARGUMENT, "TEXT_INVALID")];
            prop_assert!(known.contains(&(status.code(), reason(&status).as_str())), "{:?}", status);
        }
        is_well();
    }

    #[test]
    fn tokens(token in "[ -~]{0,300}") {
        let stranger = member().with_token(Some(&token));
        let status = stranger.send("hi").expect_err("refused");
        prop_assert_eq!(status.code(), Code::UNAUTHENTICATED);
        prop_assert_eq!(reason(&status), "TOKEN_INVALID");
        prop_assert_eq!(stranger.check_otp("member", "123456").reason, "TOKEN_INVALID");
        prop_assert_eq!(stranger.init_otp("member", "", "").reason, "TOKEN_INVALID");
    }

    #[test]
    fn tokens_that_were_changed(changes in changes("ABXYZabxyz019-_=.+/")) {
        let right = member().token.as_deref().expect("a token");
        let changed = mutated(right, &changes);
        prop_assume!(changed != right);
        let status = member().with_token(Some(&changed)).send("hi").expect_err("refused");
        prop_assert_eq!(reason(&status), "TOKEN_INVALID");
        is_well();
    }

    #[test]
    fn metadata(
        names in vec(select(vec!["token", "token-bin", "Token", "TOKEN", "tokens", "x-forwarded-for", "forwarded", "te", "grpc-timeout"]), 0..20),
        values in vec(vec(any::<u8>(), 0..700), 20),
        signed_in in any::<bool>(),
    ) {
        let more: Vec<(&str, &[u8])> = names.iter().copied().zip(values.iter().map(Vec::as_slice)).collect();
        let peer = if signed_in { member().clone() } else { member().with_token(None) };
        if let Err(status) = peer.with_metadata(&more).send("hi") {
            prop_assert!(is_proper(&status), "{:?}", status);
        }
        is_well();
    }

    #[test]
    fn bodies(method in select(&UNARY[..]), noise in vec(any::<u8>(), 0..600), fields in vec(field(), 0..12)) {
        // On a connection of its own: the server may close one whose calls are all broken off.
        let stranger = shared().server.lock().expect("no panic").peer();
        let me = stranger.with_token(member().token.as_deref());
        for body in [noise, fields.concat()] {
            // An empty request with a member's token would be a logout.
            let peers = if method == "/Auth/Logout" { vec![&stranger] } else { vec![&stranger, &me] };
            for peer in peers {
                if let Some(status) = peer.send_raw(method, body.clone()) {
                    prop_assert!(is_proper(&status), "{:?}", status);
                }
            }
        }
        is_well();
    }
}

#[test]
fn a_request_beyond_the_limit_is_refused() {
    let status = member().send_raw("/Auth/Login", vec![0x0a; 70_000]).expect("refused");
    assert_eq!(status.code(), Code::RESOURCE_EXHAUSTED);
    let status = member().send_raw("/Auth/NoSuchMethod", Vec::new()).expect("refused");
    assert_eq!(status.code(), Code::UNIMPLEMENTED);
    is_well();
}

/// Nested groups overflow the stack of a parser without a depth limit (RUSTSEC-2024-0437).
#[test]
fn deeply_nested_groups_are_refused() {
    for method in UNARY {
        for opening in [0x0b, 0x7b] {
            if let Some(status) = member().with_token(None).send_raw(method, vec![opening; 60_000]) {
                assert!(is_proper(&status), "{status:?}");
            }
        }
    }
    is_well();
}

#[test]
fn fields_as_long_as_a_request_may_be_are_refused() {
    let stranger = member().with_token(None);
    // The second one grows to eighteen times its length in normalisation.
    for long in ["x".repeat(60_000), "\u{fdfa}".repeat(20_000), "\u{301}".repeat(30_000)] {
        assert_eq!(stranger.register(&long, PASSWORD).reason, "LOGIN_INVALID");
        assert_eq!(stranger.register("user1", &long).reason, "WEAK_PASSWORD");
        assert_eq!(stranger.log_in(&long, PASSWORD, "").reason, "INVALID_CREDENTIALS");
        assert_eq!(stranger.log_in("member", &long, "").reason, "INVALID_CREDENTIALS");
        assert_eq!(stranger.log_in("member", PASSWORD, &long).reason, "INVALID_CREDENTIALS");
        assert_eq!(stranger.recover("member", &long).reason, "INVALID_CREDENTIALS");
        assert_eq!(member().check_otp("member", &long).reason, "INVALID_CODE");
        assert_eq!(member().check_otp(&long, "123456").reason, "INVALID_CODE");
        assert_eq!(end_sessions(member(), WhichSessions::ONE, &long, "", ""), Err("SESSION_NOT_FOUND".to_owned()));
        assert_eq!(change_password(member(), PASSWORD, "123456", &long), Err("WEAK_PASSWORD".to_owned()));
        assert_eq!(reason(&member().send_as(&long, "hi").expect_err("refused")), "AUTHOR_MISMATCH");
        assert_eq!(reason(&member().send(&long).expect_err("refused")), "TEXT_INVALID");
    }
    is_well();
}

/// Sixty megabytes of zeros are sixty kilobytes when compressed, and decompressing them would keep the one poll thread busy.
#[test]
fn a_compressed_request_is_not_decompressed() {
    let server = TestServer::open();
    let member = server.member("user1");
    let packing = Peer::compressing(&server);
    for bytes in [1_000, 60_000, 60_000_000] {
        let status = packing.send_raw("/Auth/Login", vec![0; bytes]).expect("refused");
        assert_eq!(status.code(), Code::UNIMPLEMENTED, "{bytes} bytes: {status:?}");
    }
    member.peer.send("still here").expect("the server lives");
}
