//! The administrator's commands, with and without a running server: each is a process of its own.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use grpc_otp_chat::app::Registration;
use grpc_otp_chat::config::Settings;
use grpc_otp_chat::proto::methods;
use grpc_otp_chat::proto::{RegisterRequest, SessionState};
use serde_json::Value;

use crate::LIMIT;
use crate::house::{House, PASSWORD, Peer, open_streams, reason, secret_of};

/// Runs a command. Returns its exit code, standard output and standard error.
pub(crate) fn tool_with_input(directory: &Path, args: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_otpchatd"))
        .arg("--data-dir")
        .arg(directory)
        .args(args)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("otpchatd runs");
    std::io::Write::write_all(&mut child.stdin.take().expect("its stdin"), input.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("its end");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn tool(house: &House, args: &[&str]) -> String {
    let (code, out, err) = tool_with_input(house.directory(), args, "");
    assert_eq!(code, Some(0), "{args:?}: {err}");
    out
}

fn tool_fails(house: &House, args: &[&str]) -> String {
    let (code, out, err) = tool_with_input(house.directory(), args, "");
    assert_eq!((code, out.as_str()), (Some(1), ""), "{args:?}: {err}");
    err
}

fn json(house: &House, args: &[&str]) -> Vec<Value> {
    serde_json::from_str(&tool(house, &[args, &["--json"]].concat())).expect("JSON")
}

/// The value behind a label in a command's output.
pub(crate) fn shown(out: &str, label: &str) -> String {
    let line = out.lines().find_map(|line| line.strip_prefix(&format!("{label}: ")));
    line.unwrap_or_else(|| panic!("no {label} in {out}")).to_owned()
}

fn refused_by_end(stream: &crate::house::MessageStream) -> String {
    reason(&stream.recv_timeout(LIMIT).expect("within the limit").expect_err("an end"))
}

/// Runs `change` against a running server and then against a stopped one.
fn with_and_without_a_server(check: impl Fn(&mut House, &dyn Fn(&mut House, &[&str]) -> String)) {
    let mut house = House::now(|_| ());
    check(&mut house, &|house, args| tool(house, args));
    let mut house = House::now(|_| ());
    check(&mut house, &|house, args| {
        house.stop();
        let out = tool(house, args);
        house.start_again();
        out
    });
}

#[test]
fn locking_an_account_ends_its_sessions_at_once_and_unlocking_lets_it_log_in() {
    let house = House::open();
    let member = house.member("user1");
    let stream = member.peer.stream();
    open_streams(&house, 1);
    let waiting = house.peer().log_in("user1", PASSWORD, "").token;
    assert!(tool(&house, &["user", "lock", "USER1"]).contains("2 sessions ended"));
    assert_eq!(refused_by_end(&stream), "SESSION_ENDED");
    assert_eq!(reason(&member.peer.send("hi").expect_err("out")), "SESSION_ENDED");
    let code = house.code(&member.secret, 0);
    assert_eq!(house.peer().with_token(Some(&waiting)).check_otp("user1", &code).reason, "SESSION_ENDED");
    assert_eq!(house.peer().log_in("user1", PASSWORD, &code).reason, "ACCOUNT_LOCKED");
    assert_eq!(house.peer().recover("user1", &member.recovery_codes[0]).reason, "ACCOUNT_LOCKED");
    assert_eq!(
        house.peer().log_in("user1", "wrong password", "").reason,
        "INVALID_CREDENTIALS",
        "strangers learn nothing"
    );
    assert_eq!(json(&house, &["user", "list"])[0]["state"], "locked");
    tool(&house, &["user", "unlock", "user1"]);
    assert!(house.peer().log_in("user1", PASSWORD, &code).success);
}

#[test]
fn after_a_reset_only_the_administrators_code_enrols_a_new_second_factor() {
    with_and_without_a_server(|house, tool| {
        let member = house.member("user1");
        let out = tool(house, &["user", "reset-otp", "user1"]);
        let code = shown(&out, "Enrolment code");
        assert_eq!(reason(&house.again(&member.peer).send("hi").expect_err("out")), "SESSION_ENDED");
        // The password is not enough, not even with an old code or recovery code.
        let old = house.code(&member.secret, 0);
        for attempt in [house.peer().log_in("user1", PASSWORD, ""), house.peer().log_in("user1", PASSWORD, &old)] {
            assert_eq!(attempt.reason, "ENROLMENT_CODE_REQUIRED");
        }
        for wrong in [member.recovery_codes[0].as_str(), "AAAA-BBBB-CCCC-DDDD", "x"] {
            assert_eq!(house.peer().recover("user1", wrong).reason, "INVALID_CREDENTIALS");
        }
        let opened = house.peer().recover("user1", &code);
        assert_eq!(opened.state.enum_value(), Ok(SessionState::NEEDS_ENROLMENT), "{}", opened.error);
        assert_eq!(house.peer().recover("user1", &code).reason, "INVALID_CREDENTIALS", "good once");
        let peer = house.peer().with_token(Some(&opened.token));
        let secret = secret_of(&peer.init_otp("user1", "", "").secret);
        assert!(peer.check_otp("user1", &house.code(&secret, 0)).valid);
        house.next_step();
        assert!(house.peer().log_in("user1", PASSWORD, &house.code(&secret, 0)).success);
    });
}

#[test]
fn an_enrolment_code_expires() {
    let house = House::with(|settings| settings.app.enrolment_code = LIMIT);
    house.member("user1");
    let code = shown(&tool(&house, &["user", "reset-otp", "user1"]), "Enrolment code");
    house.clock.advance(LIMIT);
    assert_eq!(house.peer().recover("user1", &code).reason, "INVALID_CREDENTIALS");
}

#[test]
fn a_password_reset_ends_all_sessions_and_keeps_the_second_factor() {
    with_and_without_a_server(|house, tool| {
        let member = house.member("user1");
        let password = shown(&tool(house, &["user", "reset-password", "user1"]), "Password");
        assert_eq!(reason(&house.again(&member.peer).send("hi").expect_err("out")), "SESSION_ENDED");
        let code = house.code(&member.secret, 0);
        assert_eq!(house.peer().log_in("user1", PASSWORD, &code).reason, "INVALID_CREDENTIALS");
        let opened = house.peer().log_in("user1", &password, "");
        assert_eq!(opened.state.enum_value(), Ok(SessionState::NEEDS_CODE));
        assert!(house.peer().log_in("user1", &password, &code).success);
    });
}

#[test]
fn a_password_from_standard_input_is_checked_and_not_shown() {
    let house = House::open();
    let add = |login: &str, input: &str| {
        tool_with_input(house.directory(), &["user", "add", login, "--password-stdin"], input)
    };
    let (code, out, _) = add("user1", "correct horse battery\n");
    assert_eq!(code, Some(0));
    assert!(!out.contains("horse"));
    let opened = house.peer().recover("user1", &shown(&out, "Enrolment code"));
    assert_eq!(opened.state.enum_value(), Ok(SessionState::NEEDS_ENROLMENT), "{}", opened.error);
    for (login, input, says) in [
        ("user2", "short\n", "at least 8"),
        ("user2", "", "no password"),
        ("user1", "correct horse battery\n", "taken"),
        ("../x", "correct horse battery\n", "letters"),
    ] {
        let (code, out, err) = add(login, input);
        assert_eq!((code, out.as_str()), (Some(1), ""));
        assert!(err.contains(says), "{err}");
    }
}

#[test]
fn accounts_and_sessions_are_listed_and_ended() {
    let house = House::open();
    let member = house.member("user1");
    let other = house.another_session(&member);
    house.peer().register("user2", PASSWORD);
    let users = json(&house, &["user", "list"]);
    let column = |field: &str| users.iter().map(|user| user[field].clone()).collect::<Vec<_>>();
    assert_eq!(column("login"), ["user1", "user2"]);
    assert_eq!(column("state"), ["active", "not enrolled"]);
    assert_eq!(column("sessions"), [2, 0]);
    assert_eq!(column("recovery_codes"), [10, 0]);
    let sessions = json(&house, &["user", "sessions", "user1"]);
    let id = sessions[1]["session"].as_str().expect("an id");
    assert!(tool(&house, &["user", "sessions", "user1", "--end", id]).contains("1 session ended"));
    assert_eq!(reason(&other.send("hi").expect_err("out")), "SESSION_ENDED");
    assert!(member.peer.send("still here").is_ok());
    assert!(tool(&house, &["user", "sessions", "user1", "--end-all"]).contains("1 session ended"));
    assert_eq!(reason(&member.peer.send("hi").expect_err("out")), "SESSION_ENDED");
    assert!(tool(&house, &["user", "show", "user1"]).contains("user1"));
    assert!(tool_fails(&house, &["user", "show", "nobody"]).contains("no such account"));
    assert!(tool_fails(&house, &["user", "sessions", "user1", "--end", id]).contains("no such session"));
}

#[test]
fn a_deleted_account_cannot_log_in_and_its_login_stays_taken() {
    with_and_without_a_server(|house, tool| {
        let member = house.member("user1");
        member.peer.send("hi").expect("sent");
        assert!(tool_fails(house, &["user", "delete", "user1"]).contains("--yes"));
        tool(house, &["user", "delete", "user1", "--yes"]);
        assert_eq!(reason(&house.again(&member.peer).send("hi").expect_err("out")), "SESSION_ENDED");
        assert_eq!(house.peer().log_in("user1", PASSWORD, "").reason, "INVALID_CREDENTIALS");
        assert_eq!(house.peer().register("user1", PASSWORD).reason, "LOGIN_TAKEN");
    });
}

fn register_with(peer: &Peer, login: &str, invite: &str) -> String {
    let request =
        RegisterRequest { login: login.into(), password: PASSWORD.into(), invite: invite.into(), ..Default::default() };
    peer.call(&methods::REGISTER, &request).expect("refusals come in the response").reason
}

#[test]
fn an_invitation_is_valid_once_until_it_expires_or_is_revoked() {
    let house = House::with(|settings| settings.app.registration = Registration::Invite);
    let new = |hours: &str| {
        let out = tool(&house, &["invite", "new", "--note", "for Petja", "--hours", hours]);
        shown(&out, "Invitation code")
    };
    let (first, second, third) = (new("1"), new("2"), new("2"));
    let peer = house.peer();
    assert_eq!(register_with(&peer, "user1", ""), "INVITE_REQUIRED");
    assert_eq!(register_with(&peer, "user1", "AAAA-BBBB-CCCC-DDDD"), "INVITE_INVALID");
    assert_eq!(register_with(&peer, "user1", "' OR 1=1 --"), "INVITE_INVALID");
    assert_eq!(register_with(&peer, "x", &first), "LOGIN_INVALID", "it is not used up by a refusal");
    assert_eq!(register_with(&peer, "user1", &first.to_lowercase()), "");
    assert_eq!(register_with(&peer, "user2", &first), "INVITE_INVALID", "once");
    let listed = json(&house, &["invite", "list"]);
    assert_eq!(listed.len(), 2);
    tool(&house, &["invite", "revoke", &listed[1]["id"].to_string()]);
    assert_eq!(register_with(&peer, "user2", &third), "INVITE_INVALID", "taken back");
    house.clock.advance(LIMIT * 120);
    assert_eq!(register_with(&peer, "user2", &second), "INVITE_INVALID", "too late");
    assert!(tool_fails(&house, &["invite", "revoke", "99"]).contains("no such invitation"));
}

#[test]
fn one_invitation_admits_one_of_many_parallel_registrations() {
    let house = House::with(|settings| settings.app.registration = Registration::Invite);
    let code = shown(&tool(&house, &["invite", "new"]), "Invitation code");
    let start = std::sync::Barrier::new(16);
    let let_in = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..16)
            .map(|n| {
                let (peer, start, code) = (house.peer(), &start, &code);
                scope.spawn(move || {
                    start.wait();
                    register_with(&peer, &format!("user{n}"), code).is_empty()
                })
            })
            .collect();
        tries.into_iter().map(|t| t.join().expect("no panic")).filter(|in_| *in_).count()
    });
    assert_eq!(let_in, 1);
    assert_eq!(json(&house, &["user", "list"]).len(), 1, "no account of the others stays behind");
}

#[test]
fn where_registration_is_closed_the_administrator_adds_accounts() {
    let house = House::with(|settings| settings.app.registration = Registration::Closed);
    let code = shown(&tool(&house, &["invite", "new"]), "Invitation code");
    assert_eq!(register_with(&house.peer(), "user1", &code), "REGISTRATION_CLOSED");
    let out = tool(&house, &["user", "add", "user1"]);
    let peer = house.peer();
    let login = |second: &str| {
        peer.log_in_with(&grpc_otp_chat::proto::LoginRequest {
            login: "user1".into(),
            password: shown(&out, "Password"),
            recovery_code: second.into(),
            ..Default::default()
        })
    };
    assert_eq!(login("").reason, "ENROLMENT_CODE_REQUIRED", "a password that was seen is not enough");
    assert!(login(&shown(&out, "Enrolment code")).success);
}

#[test]
fn tokens_under_the_old_key_stay_valid_for_the_grace_period() {
    let mut house = House::now(|settings| settings.old_jwt_key = LIMIT * 10);
    let member = house.member("user1");
    tool(&house, &["rotate-token-key"]);
    assert!(member.peer.send("under the old key").is_ok());
    let fresh = house.another_session(&member);
    house.stop();
    house.start_again();
    let (old, fresh) = (house.again(&member.peer), house.again(&fresh));
    assert!(old.send("also after a restart").is_ok());
    assert!(fresh.send("under the new key").is_ok());
    assert!(tool_fails(&house, &["rotate-token-key"]).contains("--now"), "people still come with the one before");
    assert!(old.send("and may go on").is_ok());
    house.clock.advance(LIMIT * 10);
    assert!(fresh.send("still").is_ok());
    assert_eq!(reason(&old.send("hi").expect_err("out")), "TOKEN_INVALID");
    // After a second rotation the first key is in no file.
    tool(&house, &["rotate-token-key"]);
    assert!(fresh.send("under the key before").is_ok());
    assert_eq!(reason(&old.send("hi").expect_err("out")), "TOKEN_INVALID");
}

#[test]
fn after_a_rekey_everything_works_and_the_old_key_opens_nothing() {
    let mut house = House::now(|_| ());
    let member = house.member("user1");
    let sealing_key = house.directory().join("sealing.key");
    let old_key = std::fs::read(&sealing_key).expect("a key");
    assert!(tool_fails(&house, &["rekey"]).contains("stop the server first"));
    house.stop();
    assert!(tool(&house, &["rekey"]).contains("3 secrets"));
    let new_key = std::fs::read(&sealing_key).expect("a key");
    assert_ne!(new_key, old_key);
    assert_eq!(std::fs::metadata(&sealing_key).expect("there").mode() & 0o777, 0o600);
    house.start_again();
    assert!(house.again(&member.peer).send("the session goes on").is_ok());
    assert!(house.peer().log_in("user1", PASSWORD, &house.code(&member.secret, 0)).success);
    assert!(house.peer().recover("user1", &member.recovery_codes[0]).success);
    assert!(tool_with_input(house.directory(), &["audit", "--verify"], "").2.contains("whole"));
    // The old key opens nothing now.
    house.stop();
    std::fs::write(&sealing_key, &old_key).expect("written");
    assert!(tool_fails(&house, &["user", "list"]).contains("rekey"));
}

#[test]
fn an_interrupted_rekey_continues_when_it_is_run_again() {
    let mut house = House::now(|_| ());
    let member = house.member("user1");
    house.stop();
    let at = |name: &str| house.directory().join(name);
    let copy = |from: &str, to: &str| std::fs::copy(at(from), at(to)).expect("copied");
    // Interrupted before anything was sealed anew: the new key exists, and nothing is sealed under it.
    std::fs::write(at("sealing.key.new"), (0..32).map(|n| n * 7).collect::<Vec<u8>>()).expect("written");
    std::fs::set_permissions(at("sealing.key.new"), std::fs::Permissions::from_mode(0o600)).expect("set");
    copy("sealing.key", "before");
    copy("sealing.key.new", "new");
    tool(&house, &["rekey"]);
    assert_eq!(std::fs::read(at("sealing.key")).expect("a key"), std::fs::read(at("new")).expect("a key"));
    // Interrupted after the commit, before the new key took the old one's place.
    copy("before", "sealing.key");
    copy("new", "sealing.key.new");
    assert!(tool_fails(&house, &["user", "list"]).contains("running it again"));
    tool(&house, &["rekey"]);
    house.start_again();
    assert!(house.peer().log_in("user1", PASSWORD, &house.code(&member.secret, 0)).success);
}

#[test]
fn a_rekey_takes_a_key_from_a_file() {
    let house = &mut House::now(|_| ());
    let member = house.member("user1");
    house.stop();
    let key = house.directory().join("mine");
    std::fs::write(&key, (0..32).map(|n| n * 7).collect::<Vec<u8>>()).expect("written");
    let to = key.to_str().expect("text").to_owned();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("set");
    assert!(tool_fails(house, &["rekey", "--to", &to]).contains("chmod 600"));
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("set");
    tool(house, &["rekey", "--to", &to]);
    assert!(tool_fails(house, &["rekey", "--to", "nowhere"]).contains("nowhere"));
    house.change_settings(|settings: &mut Settings| settings.sealing_key = key.clone());
    house.start_again();
    assert!(house.peer().log_in("user1", PASSWORD, &house.code(&member.secret, 0)).success);
}

#[test]
fn every_action_is_in_the_audit_and_tampering_with_it_is_found() {
    let mut house = House::now(|_| ());
    let member = house.member("user1");
    tool(&house, &["user", "lock", "user1"]);
    tool(&house, &["user", "unlock", "user1"]);
    let all = json(&house, &["audit"]);
    let actions: Vec<_> = all.iter().map(|row| row["action"].as_str().expect("text").to_owned()).collect();
    assert_eq!(actions, ["factor.confirmed", "login", "user.lock", "user.unlock"]);
    assert_eq!((&all[1]["actor"], &all[1]["address"]), (&"user1".into(), &"127.0.0.1".into()));
    assert_eq!(json(&house, &["audit", "--actor", "admin"]).len(), 2);
    assert_eq!(json(&house, &["audit", "--action", "user.", "--last", "1"])[0]["row"], 4);
    assert!(tool(&house, &["audit", "--subject", "user1"]).starts_with("ROW"));
    drop(member);
    house.stop();
    let database = rusqlite::Connection::open(house.directory().join("users.db")).expect("the database");
    database.execute("UPDATE audit SET subject = 'user2' WHERE id = 3", []).expect("changed");
    let (code, _, err) = tool_with_input(house.directory(), &["audit", "--verify"], "");
    assert_eq!(code, Some(1));
    assert!(err.contains("row 3 was changed"), "{err}");
    database.execute("DELETE FROM audit WHERE id >= 3", []).expect("cut off");
    let (_, _, err) = tool_with_input(house.directory(), &["audit", "--verify"], "");
    assert!(err.contains("rows 3 to 4 are missing"), "{err}");
}

#[test]
fn rotating_the_token_key_with_now_voids_all_tokens() {
    let mut house = House::now(|_| ());
    let member = house.member("user1");
    assert!(tool(&house, &["rotate-token-key", "--now"]).contains("void"));
    assert_eq!(reason(&member.peer.send("hi").expect_err("out")), "TOKEN_INVALID");
    house.stop();
    house.start_again();
    assert_eq!(reason(&house.again(&member.peer).send("hi").expect_err("out")), "TOKEN_INVALID");
}

#[test]
fn a_missing_audit_head_is_noted_in_the_audit() {
    let mut house = House::now(|_| ());
    house.member("user1");
    house.stop();
    let database = rusqlite::Connection::open(house.directory().join("users.db")).expect("the database");
    database.execute("DELETE FROM audit WHERE id > 1", []).expect("cut off");
    std::fs::remove_file(house.directory().join("audit.head")).expect("taken away");
    house.start_again();
    assert_eq!(json(&house, &["audit", "--actor", "server"])[0]["action"], "audit.head-missing");
}

#[test]
fn a_command_makes_no_key() {
    let mut house = House::now(|_| ());
    house.stop();
    let key = house.directory().join("jwt.key");
    std::fs::rename(&key, house.directory().join("elsewhere.key")).expect("moved");
    assert!(tool_fails(&house, &["rotate-token-key"]).contains("--jwt-key"));
    assert!(!key.exists());
}

#[test]
fn only_the_owner_reaches_the_socket_and_commands_need_a_database() {
    let house = House::open();
    let directory = house.directory().join("otpchatd.admin");
    assert_eq!(std::fs::metadata(&directory).expect("there").mode() & 0o777, 0o700);
    // The service does not exist on the network.
    let status = house.peer().send_raw("/Admin/Run", Vec::new()).expect("refused");
    assert_eq!(status.code(), grpcio::RpcStatusCode::UNIMPLEMENTED);
    let nothing = tempfile::tempdir().expect("a directory");
    for args in [&["user", "list"][..], &["audit"], &["rekey"], &["rotate-token-key"], &["invite", "list"]] {
        let (code, _, err) = tool_with_input(nothing.path(), args, "");
        assert_eq!(code, Some(1));
        assert!(err.contains("no database"), "{err}");
    }
    assert_eq!(std::fs::read_dir(nothing.path()).expect("there").count(), 0, "it left nothing behind");
}

#[test]
fn a_database_of_another_user_is_left_alone() {
    let mut house = House::open();
    house.stop();
    let (database, lock) = (house.directory().join("users.db"), house.directory().join("users.db.lock"));
    std::fs::remove_file(&lock).expect("removed");
    if chown(&database, Some(65_534), None).is_err() {
        return; // Only root can give a file away.
    }
    for args in [&["user", "list"][..], &["rekey"], &["rotate-token-key"]] {
        assert!(tool_fails(&house, args).contains("sudo -u '#65534'"), "{args:?}");
    }
    assert!(!lock.exists(), "a lock of ours would shut its server out");
}
