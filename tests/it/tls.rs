//! TLS from the outside: which clients are served, which are refused, and a certificate that is replaced during a chat.

use std::fs::{self, Permissions};
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::Builder;

use crossbeam_channel::{TryRecvError, bounded};
use grpc_otp_chat::rpc::edge::tls::TlsFiles;
use grpc_otp_chat::security::certificate::Fingerprint;
use grpc_otp_chat::security::keys::KeyGuard;
use grpcio::{ChannelCredentials, ChannelCredentialsBuilder};
use openssl::ssl::{Ssl, SslContext, SslMethod, SslVerifyMode, SslVersion};
use openssl::symm::Cipher;
use tempfile::TempDir;

use crate::certificates::{self, TestCertificate, write_guarded};
use crate::console;
use crate::daemon::Daemon;
use crate::house::{House, PASSWORD, Peer, environment, eventually, secret_of};
use crate::screen::Terminal;
use crate::start::check;

fn place() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

/// Credentials that trust `root` and present `ours`.
fn trusting(root: &TestCertificate, ours: Option<&TestCertificate>) -> ChannelCredentials {
    let builder = ChannelCredentialsBuilder::new().root_cert(root.pem());
    match ours {
        Some(ours) => builder.cert(ours.pem(), ours.key_pem()).build(),
        None => builder.build(),
    }
}

/// A peer by TLS that trusts `root`.
fn peer(port: u16, root: &TestCertificate, ours: Option<&TestCertificate>) -> Peer {
    Peer::connect_by_tls(&environment(), port, trusting(root, ours))
}

/// Whether a client that trusts `root` and presents `ours` can connect.
fn gets_in(port: u16, root: &TestCertificate, ours: Option<&TestCertificate>) -> bool {
    // The call needs a token; a refusal that says so comes from the server.
    let refused = peer(port, root, ours).send("no token").expect_err("no token");
    !refused.details().is_empty()
}

/// A server in this process with TLS, and a plaintext port beside it.
fn house(made: &TestCertificate, client_ca: Option<&TestCertificate>) -> (TempDir, House) {
    let files = place();
    let (certificate, key) = made.write(files.path(), "server");
    let client_ca = client_ca.map(|made| made.write(files.path(), "ca").0);
    let house = house_with(TlsFiles { certificate, key, client_ca });
    (files, house)
}

fn house_with(files: TlsFiles) -> House {
    House::with(|settings| {
        let plaintext = settings.listen[0];
        settings.listen[0].tls = true;
        settings.listen.push(plaintext);
        settings.tls = Some(files);
    })
}

/// A server as a process with TLS, whose files are `server.pem` and `server.key` in the directory.
fn daemon(made: &TestCertificate, more: &[&str]) -> (TempDir, Daemon) {
    let files = place();
    let (certificate, key) = made.write(files.path(), "server");
    let tls = ["--tls-cert", text(&certificate), "--tls-key", text(&key)];
    let server = Daemon::start_in_with(place(), &[&tls, more].concat());
    (files, server)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// Makes a handshake in one version of TLS; returns the fingerprint of the server's certificate.
fn handshake(port: u16, version: SslVersion) -> Option<String> {
    let mut context = SslContext::builder(SslMethod::tls_client()).expect("a context");
    context.set_verify(SslVerifyMode::NONE);
    // Otherwise OpenSSL would not offer the old versions.
    context.set_cipher_list("ALL:@SECLEVEL=0").expect("ciphers");
    context.set_min_proto_version(Some(version)).expect("a version");
    context.set_max_proto_version(Some(version)).expect("a version");
    context.set_alpn_protos(b"\x02h2").expect("a protocol");
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let stream = Ssl::new(&context.build()).expect("a connection").connect(stream).ok()?;
    let shown = stream.ssl().peer_certificate().expect("it shows one");
    Some(Fingerprint::from_certificate(&shown).expect("a fingerprint").to_string())
}

/// The fingerprint of the certificate that new connections get.
fn shown(port: u16) -> String {
    handshake(port, SslVersion::TLS1_3).expect("a handshake")
}

#[test]
fn a_client_that_trusts_the_authority_registers_logs_in_and_chats() {
    let authority = certificates::for_names(&[]);
    let between = certificates::intermediate(&authority);
    let own = certificates::signed_by(&between);
    let chain = place();
    let (_, key) = own.write(chain.path(), "server");
    let certificate = chain.path().join("chain.pem");
    fs::write(&certificate, [own.pem(), between.pem()].concat()).expect("written");
    let house = house_with(TlsFiles { certificate, key, client_ca: None });
    let port = house.running().port();
    let mut alice = peer(port, &authority, None);
    assert!(alice.register("alice", PASSWORD).success);
    alice.token = Some(alice.log_in("alice", PASSWORD, "").token);
    let secret = secret_of(&alice.init_otp("alice", "", "").secret);
    assert!(alice.check_otp("alice", &house.code(&secret, 0)).valid);
    let heard = alice.stream();
    crate::house::open_streams(&house, 1);
    alice.send("Привет!").expect("sent");
    assert_eq!(heard.recv_timeout(crate::LIMIT).expect("in time").expect("a message").text, "Привет!");
}

#[test]
fn an_untrusted_or_expired_certificate_is_refused_by_the_client() {
    let (good, other, expired) = (certificates::own(), certificates::own(), certificates::expired());
    let (_files, house) = house(&good, None);
    assert!(gets_in(house.running().port(), &good, None));
    assert!(!gets_in(house.running().port(), &other, None));
    drop(house);
    let (_files, server) = daemon(&expired, &[]);
    assert!(server.log().contains("WARN  TLS: the certificate expired at"), "{}", server.log());
    assert!(!gets_in(server.port(), &expired, None));
}

#[test]
fn a_server_with_a_client_authority_admits_only_certificates_of_it() {
    let (own, authority) = (certificates::own(), certificates::for_names(&[]));
    let (_files, house) = house(&own, Some(&authority));
    let port = house.running().port();
    assert!(gets_in(port, &own, Some(&certificates::signed_by(&authority))));
    assert!(!gets_in(port, &own, None));
    assert!(!gets_in(port, &own, Some(&certificates::own())));
}

#[test]
fn nothing_older_than_tls_1_2_is_accepted() {
    let own = certificates::own();
    let (_files, house) = house(&own, None);
    let port = house.running().port();
    for (version, spoken) in
        [(SslVersion::TLS1, false), (SslVersion::TLS1_1, false), (SslVersion::TLS1_2, true), (SslVersion::TLS1_3, true)]
    {
        assert_eq!(handshake(port, version).is_some(), spoken, "{version:?}");
    }
}

/// Old clients are served without a token on a plaintext listener on loopback only.
#[test]
fn the_predecessors_clients_are_served_without_a_token_in_plaintext_only() {
    let own = certificates::own();
    let (_files, house) = house(&own, None);
    let by_tls = peer(house.running().port(), &own, None);
    assert!(by_tls.register("newer", PASSWORD).success);
    assert_eq!(by_tls.init_otp("newer", "", "").secret, "", "without a token");

    let plaintext = house.running().plaintext_port().expect("a port");
    assert_ne!(plaintext, house.running().port());
    let by_plaintext = Peer::connect(&environment(), plaintext);
    assert!(by_plaintext.register("older", PASSWORD).success);
    let secret = secret_of(&by_plaintext.init_otp("older", "", "").secret);
    assert!(by_plaintext.log_in("older", PASSWORD, "").success);
    assert!(by_plaintext.check_otp("older", &house.code(&secret, 0)).valid);
    house.next_step();
    // Neither is a session that was opened by TLS found without its token.
    assert!(by_tls.log_in("older", PASSWORD, "").success);
    assert!(!by_tls.check_otp("older", &house.code(&secret, 0)).valid);
}

#[test]
fn unusable_tls_files_are_reported_at_the_start() {
    let (place, home) = (place(), place());
    let file = |name: &str| text(&place.path().join(name)).to_owned();
    let own = certificates::own();
    own.write(place.path(), "own");
    certificates::own().write(place.path(), "other");
    certificates::weak().write(place.path(), "weak");
    fs::write(file("garbage.pem"), b"-----BEGIN CERTIFICATE-----\nno\0thing\n-----END CERTIFICATE-----\n")
        .expect("written");
    write_guarded(Path::new(&file("garbage.key")), b"-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n");
    let locked = own.key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_128_cbc(), b"open sesame").expect("PEM");
    write_guarded(Path::new(&file("locked.key")), &locked);
    fs::write(file("open.key"), own.key_pem()).expect("written");
    fs::set_permissions(file("open.key"), Permissions::from_mode(0o640)).expect("chmod");
    for (certificate, key, says) in [
        ("own.pem", "none.key", &["none.key: No such file"][..]),
        ("none.pem", "own.key", &["none.pem: No such file"]),
        ("garbage.pem", "own.key", &["garbage.pem holds no certificate", "PEM"]),
        ("own.key", "own.key", &["own.key holds no certificate"]),
        ("own.pem", "garbage.key", &["garbage.key holds no private key", "PEM"]),
        ("own.pem", "own.pem", &["can be read by others"]),
        ("own.pem", "locked.key", &["passphrase", "openssl pkey"]),
        ("own.pem", "open.key", &["mode 0640", "chmod 600"]),
        ("own.pem", "other.key", &["other.key does not belong to", "own.pem"]),
        ("weak.pem", "weak.key", &["cannot be used for TLS", "key too small"]),
    ] {
        let args = ["--tls-cert", &file(certificate), "--tls-key", &file(key)];
        check(home.path(), &args, 1, says);
    }
    let args = ["--tls-cert", &file("own.pem"), "--tls-key", &file("own.key"), "--tls-client-ca", &file("garbage.pem")];
    check(home.path(), &args, 1, &["garbage.pem holds no certificate"]);
    check(home.path(), &["--tls-cert", "x"], 2, &["--tls-cert needs --tls-key"]);
    check(home.path(), &["--tls-client-ca", "x"], 2, &["--tls-client-ca needs --tls-cert"]);
    check(home.path(), &["--listen-plaintext", "localhost:0"], 2, &["--listen-plaintext", "use that"]);
}

#[test]
fn debug_output_holds_no_key() {
    let place = place();
    let (certificate, key) = certificates::own().write(place.path(), "own");
    let pair = grpc_otp_chat::security::certificate::Pair::load(&certificate, &key, KeyGuard::Mode).expect("a pair");
    assert!(format!("{pair:?}").contains("key: ***"), "{pair:?}");
}

#[test]
fn a_reload_signal_without_tls_changes_nothing() {
    let server = Daemon::start();
    server.reload();
    eventually("it says so", || server.log().contains("there is no TLS certificate to read again"));
    assert!(Peer::connect(&environment(), server.port()).register("user1", PASSWORD).success);
}

#[test]
fn new_connections_get_a_replaced_certificate_and_open_streams_lose_nothing() {
    let (first, second, third) = (certificates::own(), certificates::own(), certificates::own());
    let (files, server) = daemon(&first, &["--chat-log", "off"]);
    let port = server.port();
    let alice = peer(port, &first, None);
    let alice = alice.with_token(Some(&crate::crash::enrolled(&alice, "alice")));
    let reader = peer(port, &first, None).with_token(alice.token.as_deref());
    let heard = reader.stream();
    // The stream is open once something comes through it.
    eventually("the stream is open", || {
        alice.send("is anybody there?").expect("sent");
        heard.try_recv().is_ok()
    });
    let (enough, until) = bounded::<()>(0);
    let talk = move || {
        let wanted = || until.try_recv() != Err(TryRecvError::Disconnected);
        (0..).take_while(|_| wanted()).map(|n| alice.send(&format!("message {n}")).expect("sent")).count()
    };
    let talker = Builder::new().spawn(talk).expect("a thread");

    assert_eq!(shown(port), first.fingerprint());
    second.write(files.path(), "server");
    server.reload();
    eventually("the second certificate, at a signal", || shown(port) == second.fingerprint());
    assert!(!gets_in(port, &first, None));
    assert!(gets_in(port, &second, None));

    fs::write(files.path().join("server.pem"), "rubbish").expect("written");
    eventually("a broken one is told", || server.log().contains("ERROR TLS: the old certificate is served on"));
    assert_eq!(shown(port), second.fingerprint());

    third.write(files.path(), "server");
    eventually("the third certificate, by itself", || shown(port) == third.fingerprint());
    assert_eq!(server.log().matches("ERROR TLS").count(), 1, "told once: {}", server.log());

    drop(enough);
    let sent = talker.join().expect("all were sent");
    println!("{sent} messages were sent meanwhile");
    let all = std::iter::from_fn(|| Some(heard.recv_timeout(crate::LIMIT).expect("in time").expect("still open").text));
    let mut all = all.filter(|said| said.starts_with("message"));
    (0..sent).for_each(|n| assert_eq!(all.next(), Some(format!("message {n}"))));
}

#[test]
fn changed_permissions_and_a_changed_client_authority_are_noticed() {
    let (own, old, new) = (certificates::own(), certificates::for_names(&[]), certificates::for_names(&[]));
    let files = place();
    let (certificate, key) = own.write(files.path(), "server");
    let (client_ca, _) = old.write(files.path(), "ca");
    let flags = ["--tls-cert", text(&certificate), "--tls-key", text(&key), "--tls-client-ca", text(&client_ca)];
    let server = Daemon::start_in_with(place(), &flags);
    let (of_old, of_new) = (certificates::signed_by(&old), certificates::signed_by(&new));
    assert!(gets_in(server.port(), &own, Some(&of_old)));
    new.write(files.path(), "ca");
    server.reload();
    eventually("the new authority counts", || gets_in(server.port(), &own, Some(&of_new)));
    assert!(!gets_in(server.port(), &own, Some(&of_old)));
    fs::set_permissions(&key, Permissions::from_mode(0o644)).expect("chmod");
    eventually("it is told", || server.log().contains("can be read by others"));
    assert!(gets_in(server.port(), &own, Some(&of_new)));
}

#[test]
fn two_consoles_talk_by_tls_and_report_another_certificate() {
    let (own, home) = (certificates::own(), place());
    let (files, mut server) = daemon(&own, &[]);
    let (fingerprint, file) = (own.fingerprint(), files.path().join("server.pem"));
    let alice = Terminal::start(home.path(), &server.address(), ["--pin", fingerprint.as_str()]);
    console::register(&alice, home.path(), "alice");
    let bob = Terminal::start(home.path(), &server.address(), ["--ca", text(&file)]);
    console::register(&bob, home.path(), "bob");
    console::hear(&alice, &[&alice, &bob]);
    console::say(&bob, "bob", "Привет!");
    alice.wait_for("] bob: Привет!");

    server.stop();
    certificates::own().write(files.path(), "server");
    server.start_again();
    alice.answer(console::CHAT, "are you the same?");
    alice.wait_for("shows another certificate");
    bob.answer(console::CHAT, "are you the same?");
    bob.wait_for("machine trusts");
}

/// Runs `otpchat` for a login that must fail; its standard error says how.
fn try_console(port: u16, flags: &[&str], store: Option<&Path>) -> Output {
    let home = place();
    let mut child = Command::new(env!("CARGO_BIN_EXE_otpchat"))
        .args(flags)
        .current_dir(home.path())
        .env_clear()
        .env("OTPCHAT_SERVER", format!("localhost:{port}"))
        .envs(store.map(|store| ("SSL_CERT_FILE", store)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("otpchat runs");
    // It may have ended without reading.
    let _ = child.stdin.take().expect("its stdin").write_all(b"/login\nnobody\nno password of mine\n");
    child.wait_with_output().expect("its end")
}

#[test]
fn the_console_connects_only_to_a_trusted_server_and_says_why_not() {
    const IN: &str = "Login, password or code is wrong";
    let place = place();
    let (own, other, odd) = (certificates::own(), certificates::own(), certificates::for_names(&["chat.example.org"]));
    let nameless_ip = certificates::for_names(&[]);
    let file = |made: &TestCertificate, stem: &str| {
        let (certificate, key) = made.write(place.path(), stem);
        (text(&certificate).to_owned(), text(&key).to_owned())
    };
    let (own_file, _) = file(&own, "own");
    let (other_file, other_key) = file(&other, "other");
    let (odd_file, _) = file(&odd, "odd");
    let garbage = text(&place.path().join("garbage.pem")).to_owned();
    fs::write(&garbage, "no").expect("written");
    let expect = |port: u16, flags: &[&str], says: &str| {
        let output = try_console(port, flags, None);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(says), "{flags:?}: {stderr}");
        assert_eq!(output.status.code(), Some(1), "{flags:?}: {stderr}");
    };

    let (_files, server) = daemon(&own, &[]);
    let port = server.port();
    let pin = |made: &TestCertificate| made.fingerprint();
    expect(port, &["--ca", &own_file], IN);
    expect(port, &["--pin", &pin(&own)], IN);
    expect(port, &["--ca", &other_file], "No authority that this machine trusts has signed");
    expect(port, &["--tls"], "No authority that this machine trusts has signed");
    expect(port, &["--ca", &other_file, "--lang", "ru"], "не подписан никем, кому здесь доверяют");
    expect(port, &["--pin", &pin(&other)], &format!("another certificate than the pinned one: {}", pin(&own)));
    expect(port, &["--ca", &garbage], "garbage.pem holds no certificate");
    expect(port, &["--ca", &garbage, "--lang", "ru"], "garbage.pem нет сертификата");
    expect(port, &[], "speaks TLS: use --tls");
    let by_store = try_console(port, &["--tls"], Some(Path::new(&own_file)));
    assert!(String::from_utf8_lossy(&by_store.stderr).contains(IN), "{by_store:?}");
    drop(server);

    let (_files, server) = daemon(&odd, &[]);
    expect(server.port(), &["--ca", &odd_file], "is not for localhost");
    expect(server.port(), &["--pin", &pin(&odd)], IN);
    let starred = certificates::for_names(&["*.example.org"]);
    let (_files, server) = daemon(&starred, &[]);
    expect(server.port(), &["--pin", &pin(&starred)], IN);
    // Signed by an authority that this machine does not know.
    let signed = certificates::signed_by(&certificates::own());
    let (_files, server) = daemon(&signed, &[]);
    expect(server.port(), &["--pin", &pin(&signed)], IN);
    let (_files, server) = daemon(&nameless_ip, &[]);
    expect(server.port(), &["--pin", &pin(&nameless_ip)], IN);
    let expired = certificates::expired();
    let (_files, server) = daemon(&expired, &[]);
    let (expired_file, _) = file(&expired, "expired");
    expect(server.port(), &["--ca", &expired_file], "has expired");

    let plaintext = Daemon::start();
    expect(plaintext.port(), &["--tls"], "does not speak TLS");
    expect(plaintext.port(), &["--pin", &pin(&own)], "does not speak TLS");

    let (_files, server) = daemon(&own, &["--tls-client-ca", &other_file]);
    expect(server.port(), &["--ca", &own_file], "--tls-client-cert");
    let ours = ["--ca", &own_file, "--tls-client-cert", &other_file, "--tls-client-key", &other_key];
    expect(server.port(), &ours, IN);
    fs::set_permissions(&other_key, Permissions::from_mode(0o644)).expect("chmod");
    expect(server.port(), &ours, "can be read by others");
}
