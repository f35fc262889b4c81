//! A thief has every file of the data directory but the keys, copied while the server runs, with the database's log. No secret
//! may be in them, in any encoding.

use std::fs;
use std::path::Path;

use data_encoding::{BASE32, BASE32_NOPAD, BASE64, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use grpc_otp_chat::base::clock::Time;
use grpc_otp_chat::model::ids::UserId;
use grpc_otp_chat::proto::methods;
use grpc_otp_chat::proto::{LoginRequest, RegisterRequest};
use grpc_otp_chat::security::codes::{CodeHasher, CodePurpose, OneTimeCode};
use grpc_otp_chat::security::keys::{KeyGuard, load};
use grpc_otp_chat::security::secret::SecretBytes;
use grpc_otp_chat::security::vault::{AadContext, InnerKey, Vault};
use grpc_otp_chat::store::{Reader, sealed};
use rusqlite::{Connection, params};
use sha2::{Digest, Sha256};

use super::confusion::recovering;
use crate::account::{change_password, new_recovery_codes};
use crate::daemon::Daemon;
use crate::house::{House, PASSWORD, Peer, at_once, environment, secret_of};
use crate::upgrade::{OldUser, code_of, old_database};

const NEW_PASSWORD: &str = "another horse, another battery";

/// Secrets that must not be found, each with a name.
#[derive(Default)]
struct Secrets(Vec<(String, Vec<u8>)>);

impl Secrets {
    fn add(&mut self, name: &str, bytes: &[u8]) {
        assert!(bytes.len() >= 8, "{name} is so short that it could be there by chance");
        self.0.push((name.to_owned(), bytes.to_vec()));
    }

    /// Random bytes, raw and in every usual encoding.
    fn bytes(&mut self, name: &str, bytes: &[u8]) {
        self.add(name, bytes);
        for (how, text) in [
            ("base32", BASE32.encode(bytes)),
            ("base32, unpadded", BASE32_NOPAD.encode(bytes)),
            ("base32, small", BASE32_NOPAD.encode(bytes).to_lowercase()),
            ("hex", HEXLOWER.encode(bytes)),
            ("HEX", HEXUPPER.encode(bytes)),
            ("base64", BASE64.encode(bytes)),
            ("base64, unpadded", BASE64_NOPAD.encode(bytes)),
            ("base64, for URLs", BASE64URL_NOPAD.encode(bytes)),
        ] {
            self.add(&format!("{name} in {how}"), text.as_bytes());
        }
    }

    /// A password or code, and its hash as the predecessor kept it: bare SHA-256.
    fn text(&mut self, name: &str, text: &str) {
        self.bytes(name, text.as_bytes());
        self.bytes(&format!("SHA-256 of {name}"), &Sha256::digest(text));
    }

    /// A one-time code: as shown, as hashed, and its random bytes.
    fn code(&mut self, name: &str, shown: &str) {
        let letters = shown.replace('-', "");
        self.text(name, shown);
        self.text(name, &letters);
        self.bytes(name, &BASE32_NOPAD.decode(letters.as_bytes()).expect("base32"));
    }

    /// A token and its signature. (Its other parts name a session, which is a row of the database.)
    fn token(&mut self, name: &str, token: &str) {
        self.text(name, token);
        let signature = token.rsplit('.').next().expect("three parts");
        self.bytes(&format!("signature of {name}"), &BASE64URL_NOPAD.decode(signature.as_bytes()).expect("base64"));
    }

    /// The keys, with those that lie sealed in the database. Returns the latter.
    fn keys(&mut self, directory: &Path) -> Vec<(InnerKey, SecretBytes)> {
        let key = |name: &str| load(&directory.join(name), KeyGuard::Mode).expect("a key");
        self.bytes("jwt.key", key("jwt.key").expose());
        let sealing = key("sealing.key");
        self.bytes("sealing.key", sealing.expose());
        let vault = Vault::new(&sealing).expect("a vault");
        let reader = Reader::open(directory).expect("the database");
        let inner: Vec<_> = InnerKey::ALL
            .into_iter()
            .map(|key| {
                let sealed = reader.read(|tx| sealed::inner_key(tx, key)).expect("a row").expect("a key");
                (key, vault.open(AadContext::InnerKey(key), &sealed).expect("opened"))
            })
            .collect();
        for (key, secret) in &inner {
            self.bytes(&format!("inner key {}", key.name()), secret.expose());
        }
        inner
    }

    /// The secrets that are found in the files of a directory, except the key files and the copy that an upgrade leaves.
    fn found_in(&self, directory: &Path) -> Vec<String> {
        let (mut found, mut read, mut open) = (Vec::new(), 0, vec![directory.to_owned()]);
        while let Some(path) = open.pop() {
            let kept_in_the_clear = ["key", "before-upgrade"].iter().any(|end| path.extension() == Some(end.as_ref()));
            if path.is_dir() {
                open.extend(fs::read_dir(&path).expect("the directory").map(|entry| entry.expect("an entry").path()));
            } else if path.is_file() && !kept_in_the_clear {
                let bytes = fs::read(&path).expect("a file");
                read += bytes.len();
                let holds = |secret: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
                let here = self.0.iter().filter(|(_, secret)| holds(secret));
                found.extend(here.map(|(what, _)| format!("{what} in {}", path.display())));
            }
        }
        assert!(read > 50_000, "there was something to read: {read} bytes");
        found
    }
}

/// A code from the administrator, stored as the administrator's commands store it.
fn one_time_code(house: &House, purpose: CodePurpose) -> String {
    let inner = Secrets::default().keys(house.directory());
    let key = &inner.iter().find(|(key, _)| *key == InnerKey::Codes).expect("the key for codes").1;
    let hasher = CodeHasher::new(key);
    let code = OneTimeCode::random().expect("a code");
    let database = Connection::open(house.directory().join("users.db")).expect("the database");
    let (hash, until) = (hasher.hash(&code, purpose), Time::from_secs(3_000_000_000).as_micros());
    let done = match purpose {
        CodePurpose::Invitation => database.execute(
            "INSERT INTO invitations (hash, note, created_at, expires_at) VALUES (?1, 'for one', 0, ?2)",
            params![hash, until],
        ),
        CodePurpose::Enrolment { user_id } | CodePurpose::Recovery { user_id } => database
            .execute("UPDATE users SET awaits_admin = 1 WHERE id = ?1", [user_id.number()])
            .and_then(|_| database.execute("DELETE FROM second_factors WHERE user_id = ?1", [user_id.number()]))
            .and_then(|_| {
                database.execute(
                    "INSERT INTO one_time_codes (hash, user_id, purpose, expires_at) VALUES (?1, ?2, 'enrolment', ?3)",
                    params![hash, user_id.number(), until],
                )
            }),
    };
    assert_eq!(done.expect("a row"), 1);
    code.shown().expose().to_owned()
}

#[test]
fn a_stolen_database_holds_nothing_that_helps_to_log_in() {
    let house = House::open();
    let mut secrets = Secrets::default();
    secrets.keys(house.directory());

    // An account whose every secret is used, replaced, or left over.
    let member = house.member("thievesmark");
    secrets.text("the password", PASSWORD);
    secrets.bytes("the first secret", member.secret.expose());
    secrets.token("the first token", member.peer.token.as_deref().expect("a token"));
    member.recovery_codes.iter().for_each(|code| secrets.code("a recovery code", code));
    change_password(&member.peer, PASSWORD, &house.code(&member.secret, 0), NEW_PASSWORD).expect("changed");
    secrets.text("the new password", NEW_PASSWORD);
    house.next_step();
    let fresh = new_recovery_codes(&member.peer, NEW_PASSWORD, &house.code(&member.secret, 0)).expect("new codes");
    fresh.iter().for_each(|code| secrets.code("a new recovery code", code));
    house.next_step();
    let uri = member.peer.init_otp("thievesmark", NEW_PASSWORD, &house.code(&member.secret, 0)).secret;
    let second = secret_of(&uri);
    secrets.bytes("the second secret", second.expose());
    secrets.text("its URI", &uri);
    assert_eq!(secrets.found_in(house.directory()), Vec::<String>::new(), "while it is pending");
    let checked = member.peer.check_otp("thievesmark", &house.code(&second, 0));
    checked.recovery_codes.iter().for_each(|code| secrets.code("one of the last recovery codes", code));
    secrets.token("the second token", &checked.token);

    // An account by invitation that lost its phone, and one whose enrolment was never finished.
    let invitation = one_time_code(&house, CodePurpose::Invitation);
    let unused = one_time_code(&house, CodePurpose::Invitation);
    for code in [&invitation, &unused] {
        secrets.code("an invitation", code);
    }
    let request = RegisterRequest {
        login: "invited".into(),
        password: PASSWORD.into(),
        invite: invitation,
        ..Default::default()
    };
    assert!(house.peer().call(&methods::REGISTER, &request).expect("an answer").success);
    let enrolment = one_time_code(&house, CodePurpose::Enrolment { user_id: UserId::from_number(2) });
    secrets.code("an enrolment code", &enrolment);
    let request = LoginRequest {
        login: "invited".into(),
        password: PASSWORD.into(),
        recovery_code: enrolment,
        ..Default::default()
    };
    let opened = house.peer().log_in_with(&request);
    assert!(opened.success, "{}", opened.error);
    secrets.token("a waiting token", &opened.token);
    let waiting = house.peer().with_token(Some(&opened.token));
    secrets.bytes("a pending secret", secret_of(&waiting.init_otp("invited", "", "").secret).expose());
    let other = house.member("other");
    let recovered = recovering(&house, &other, 0);
    secrets.token("a recovery token", recovered.token.as_deref().expect("a token"));

    assert_eq!(secrets.found_in(house.directory()), Vec::<String>::new());
    let mut public = Secrets::default();
    public.add("a login", b"thievesmark");
    assert!(!public.found_in(house.directory()).is_empty(), "what is no secret is found");
}

#[test]
fn an_upgraded_database_holds_no_old_secret() {
    let directory = tempfile::tempdir().expect("a directory");
    let users: Vec<OldUser> = (1..=5).map(OldUser::numbered).collect();
    drop(old_database(directory.path(), &users));
    let mut server = Daemon::start_in(directory);
    let mut secrets = Secrets::default();
    secrets.keys(server.directory());
    for user in &users {
        secrets.bytes("an old hash", &Sha256::digest(&user.password));
        secrets.bytes("an old secret", &user.secret);
    }
    assert_eq!(secrets.found_in(server.directory()), Vec::<String>::new(), "before anybody came");
    // The first login replaces the wrapped hash; then one of them gets a new factor and a new password.
    let peers: Vec<_> = users.iter().map(|user| (Peer::connect(&environment(), server.port()), user)).collect();
    let tokens = at_once(
        peers.into_iter().map(|(peer, user)| move || peer.log_in(&user.login, &user.password, &code_of(user, 0))),
    );
    for opened in &tokens {
        assert!(opened.success, "{}", opened.error);
        secrets.token("a token", &opened.token);
    }
    let peer = Peer::connect(&environment(), server.port()).with_token(Some(&tokens[0].token));
    let login = &users[0].login;
    let uri = peer.init_otp(login, &users[0].password, &code_of(&users[0], 1)).secret;
    let second = secret_of(&uri);
    secrets.bytes("the second secret", second.expose());
    let confirmed =
        peer.check_otp(login, &code_of(&OldUser { secret: second.expose().to_vec(), ..OldUser::numbered(1) }, 0));
    assert!(confirmed.valid, "{}", confirmed.error);
    confirmed.recovery_codes.iter().for_each(|code| secrets.code("a recovery code", code));
    let next = code_of(&OldUser { secret: second.expose().to_vec(), ..OldUser::numbered(1) }, 1);
    change_password(&peer.with_token(Some(&confirmed.token)), &users[0].password, &next, NEW_PASSWORD)
        .expect("changed");
    secrets.text("the new password", NEW_PASSWORD);
    assert_eq!(secrets.found_in(server.directory()), Vec::<String>::new(), "while it runs");
    server.stop();
    assert_eq!(secrets.found_in(server.directory()), Vec::<String>::new(), "after it stopped");
}
