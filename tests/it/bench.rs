//! The load generator against a server: short runs that check its counts, not its speed.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::daemon::Daemon;

fn bench(server: &Daemon, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_otpchat-bench"))
        .args(["--users", "2", "--limit-seconds", "60", "--json"])
        .args(args)
        .env_clear()
        .env("OTPCHAT_SERVER", server.address())
        .stdin(Stdio::null())
        .output()
        .expect("otpchat-bench runs")
}

fn figures(server: &Daemon, args: &[&str]) -> Value {
    let output = bench(server, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn the_load_generator_sees_every_message_on_every_stream_once_however_it_reads() {
    let server = Daemon::start();
    for kind in ["subscribe", "message-stream"] {
        for reader in ["light", "grpcio"] {
            let told = ["burst", "--stream-kind", kind, "--reader", reader, "--connections", "2", "--streams", "6"];
            let figures = figures(&server, &[&told[..], &["--messages", "40", "--in-flight", "8"]].concat());
            assert_eq!(figures["deliveries"], 240, "{kind}, read by {reader}: {figures}");
        }
    }
}

#[test]
fn the_load_generator_measures_sends_logins_history_and_stalled_readers() {
    let server = Daemon::start();
    let sent = figures(&server, &["send", "--messages", "30", "--in-flight", "4", "--client-ids"]);
    assert_eq!(sent["messages"], 30);
    assert!(figures(&server, &["logins", "--messages", "4", "--in-flight", "2"])["checks_per_second"].is_number());
    assert_eq!(figures(&server, &["history", "--pages", "1", "--page", "5"])["newest_message"], 60);
    let few = ["--connections", "2", "--streams", "4", "--rate", "100", "--messages", "10"];
    assert_eq!(figures(&server, &[&["stalled", "--stalled", "2"], &few[..]].concat())["with_deliveries"], 40);
}

#[test]
fn the_load_generator_fails_without_a_server_and_stays_on_this_machine() {
    let mut server = Daemon::start();
    server.stop();
    assert_eq!(bench(&server, &["send"]).status.code(), Some(1));
    let elsewhere = bench(&server, &["send", "--server", "192.0.2.1:50051"]);
    assert_eq!(elsewhere.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&elsewhere.stderr).contains("--beyond-this-machine"));
}
