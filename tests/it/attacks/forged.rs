//! Tokens that this server never issued, or whose session does not exist.

use data_encoding::BASE64URL_NOPAD;
use grpc_otp_chat::model::ids::UserId;
use grpc_otp_chat::proto::ListSessionsRequest;
use grpc_otp_chat::proto::methods;
use grpc_otp_chat::security::keys::{KeyGuard, load};
use grpc_otp_chat::security::secret::SecretBytes;
use grpc_otp_chat::security::tokens::{Claims, Tokens};

use super::gate::stream_end;
use crate::account::{change_password, delete_account};
use crate::house::{House, Member, PASSWORD, reason};

/// The reason with which every call refuses a token.
fn refusal_of(house: &House, member: &Member, token: &str) -> String {
    let peer = house.peer().with_token(Some(token));
    let code = house.code(&member.secret, 0);
    let said = [
        reason(&peer.send("hi").expect_err("refused")),
        stream_end(&peer),
        reason(&peer.log_out().expect_err("refused")),
        reason(&peer.call(&methods::LIST_SESSIONS, &ListSessionsRequest::new()).expect_err("refused")),
        change_password(&peer, PASSWORD, &code, "another horse").expect_err("refused"),
        delete_account(&peer, PASSWORD, &code).expect_err("refused"),
        peer.check_otp(&member.login, &code).reason,
        peer.init_otp(&member.login, PASSWORD, &code).reason,
    ];
    assert!(said.iter().all(|word| *word == said[0]), "{said:?}");
    said[0].clone()
}

fn part(json: &str) -> String {
    BASE64URL_NOPAD.encode(json.as_bytes())
}

#[test]
fn every_call_refuses_a_changed_or_forged_token() {
    let house = House::open();
    let (member, other) = (house.member("user1"), house.member("user2"));
    let token = member.peer.token.clone().expect("a token");
    let [header, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let claims = String::from_utf8(BASE64URL_NOPAD.decode(payload.as_bytes()).expect("base64")).expect("JSON");
    let of_another_user = claims.replace("\"user_id\":1", "\"user_id\":2").replace("user1", "user2");
    assert_ne!(claims, of_another_user);
    let forgeries = [
        format!("{}.{payload}.", part(r#"{"alg":"none","typ":"JWT"}"#)),
        format!("{}.{payload}.{signature}", part(r#"{"alg":"none","typ":"JWT"}"#)),
        format!("{}.{payload}.{signature}", part(r#"{"alg":"HS512","typ":"JWT"}"#)),
        format!("{}.{payload}.{signature}", part(r#"{"alg":"RS256","typ":"JWT"}"#)),
        format!("{header}.{}.{signature}", part(&of_another_user)),
        format!("{header}.{payload}."),
        format!("{header}.{payload}"),
        format!("{header}.{payload}.{}", signature.to_lowercase()),
        format!("{}.{signature}", other.peer.token.as_deref().and_then(|t| t.rsplit_once('.')).expect("a token").0),
        format!("Bearer {token}"),
        String::new(),
    ];
    for forgery in forgeries {
        assert_eq!(refusal_of(&house, &member, &forgery), "TOKEN_INVALID", "{forgery}");
    }
    let code = house.code(&member.secret, 0);
    assert!(house.peer().log_in("user1", PASSWORD, &code).success, "no code was spent by any of them");
}

/// Even a token signed with the right key needs a live session of that account.
#[test]
fn a_token_is_valid_only_with_the_session_that_it_names() {
    let house = House::open();
    let (member, other) = (house.member("user1"), house.member("user2"));
    let tokens = Tokens::new(&load(&house.directory().join("jwt.key"), KeyGuard::Mode).expect("the key"));
    let now = house.clock.now();
    let claims = tokens.prove(member.peer.token.as_deref().expect("a token"), now).expect("its claims");
    let check = |claims: Claims, why: &str| {
        let token = tokens.issue(&claims).expect("signed");
        assert_eq!(refusal_of(&house, &member, token.expose()), why, "{claims:?}");
    };
    check(Claims { sid: "0".repeat(32), ..claims.clone() }, "SESSION_ENDED");
    check(Claims { sid: claims.sid[..16].to_owned(), ..claims.clone() }, "TOKEN_INVALID");
    check(Claims { sid: claims.sid.to_uppercase() + " ", ..claims.clone() }, "TOKEN_INVALID");
    check(Claims { user_id: UserId::from_number(2), login: "user2".into(), ..claims.clone() }, "TOKEN_INVALID");
    check(Claims { exp: now.as_secs(), ..claims.clone() }, "SESSION_ENDED");
    check(Claims { exp: 0, ..claims.clone() }, "SESSION_ENDED");
    check(Claims { iss: "somebody".into(), ..claims.clone() }, "TOKEN_INVALID");
    // The session of a deleted account is over; a later end in the token does not move the session's own.
    delete_account(&other.peer, PASSWORD, &house.code(&other.secret, 0)).expect("gone");
    assert_eq!(refusal_of(&house, &member, other.peer.token.as_deref().expect("a token")), "SESSION_ENDED");
    house.clock.advance(std::time::Duration::from_secs(24 * 3600));
    check(Claims { exp: i64::MAX, ..claims }, "SESSION_ENDED");
}

#[test]
fn a_token_signed_with_another_key_is_refused() {
    let house = House::open();
    let member = house.member("user1");
    let ours = Tokens::new(&load(&house.directory().join("jwt.key"), KeyGuard::Mode).expect("the key"));
    let claims = ours.prove(member.peer.token.as_deref().expect("a token"), house.clock.now()).expect("its claims");
    for key in [vec![0; 32], b"your-secret-key-that-should-be-long".to_vec(), (0..32).collect()] {
        let token = Tokens::new(&SecretBytes::new(key)).issue(&claims).expect("signed");
        assert_eq!(refusal_of(&house, &member, token.expose()), "TOKEN_INVALID");
    }
}
