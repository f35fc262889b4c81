//! Whether the time of a refused login tells anything about the account: unknown, known, locked, not enrolled, or taken over
//! from the predecessor. Against a real server with the real cost of a hash.
//!
//!     cargo bench --profile release --bench login_timing [-- ROUNDS]
//!
//! Every round makes one call of each kind, in random order, so that other load on the machine affects all kinds alike. Prints
//! medians, their ratio to that of an unknown login, and a 95 % confidence interval of the ratio (bootstrap). Exit code 1 if a
//! ratio is further than 5 % from 1 and its interval does not contain 1.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a benchmark speaks through its output and its panics")]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use grpc_otp_chat::base::clock::{Clock, Stopwatch};
use grpc_otp_chat::config::Flags;
use grpc_otp_chat::proto::methods::{self, TOKEN_KEY};
use grpc_otp_chat::proto::{LoginRequest, RegisterRequest, RequestCheckOtp, RequestInitOtp};
use grpc_otp_chat::security::passwords::{Cost, Passwords};
use grpc_otp_chat::security::throttle::Rate;
use grpc_otp_chat::security::totp;
use grpc_otp_chat::server::{NoProgress, Running};
use grpcio::{CallOption, ChannelBuilder, Client, EnvBuilder, MetadataBuilder};

const PASSWORD: &str = "correct horse battery";
/// How far a ratio may be from 1.
const TARGET: f64 = 0.05;
const RESAMPLES: usize = 2_000;

/// The kinds of calls: name, login and code. The password is wrong each time, and no two are the same.
const KINDS: [(&str, &str, &str); 7] = [
    ("unknown login", "nobody", ""),
    ("known login", "enrolled", ""),
    ("locked account", "locked", ""),
    ("account without a second factor", "unenrolled", ""),
    ("account of the predecessor", "predecessor", ""),
    ("unknown login, with a code", "nobody", "123456"),
    ("known login, with a code", "enrolled", "123456"),
];

fn main() -> ExitCode {
    // Cargo adds `--bench`.
    let rounds = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(300);
    let directory = tempfile::tempdir().expect("a directory");
    let flags = <Flags as clap::Parser>::try_parse_from(["otpchatd", "--listen", "127.0.0.1:0"]).expect("flags");
    let mut settings = flags.check().expect("settings");
    settings.data_dir = directory.path().to_owned();
    settings.jwt_key = directory.path().join("jwt.key");
    settings.sealing_key = directory.path().join("sealing.key");
    let much = Rate { burst: 1_000_000, refill: Duration::from_millis(1) };
    settings.app.throttles.passwords = much;
    settings.app.throttles.hashes = much;
    let server = Running::start(&settings, Clock::system(), &mut NoProgress).expect("a server");
    let channel = ChannelBuilder::new(Arc::new(EnvBuilder::new().cq_count(1).build())).enable_http_proxy(false);
    let client = Client::new(channel.connect(&format!("127.0.0.1:{}", server.port())));
    make_accounts(&client, directory.path());

    let mut times: [Vec<f64>; KINDS.len()] = Default::default();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..rounds + 5 {
        let mut order: Vec<usize> = (0..KINDS.len()).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, random.below(last + 1));
        }
        for kind in order {
            let (_, login, otp) = KINDS[kind];
            let watch = Stopwatch::start();
            let answer = log_in(&client, login, &format!("wrong password {round}"), otp);
            let time = watch.elapsed();
            assert_eq!(answer, "INVALID_CREDENTIALS", "{login}");
            // The first rounds warm up.
            if round >= 5 {
                times[kind].push(time.as_secs_f64() * 1000.0);
            }
        }
    }
    server.stop(&|| true);
    if report(&times, &mut random) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn log_in(client: &Client, login: &str, password: &str, otp: &str) -> String {
    let request =
        LoginRequest { login: login.into(), password: password.into(), otp: otp.into(), ..Default::default() };
    client.unary_call(&methods::LOGIN, &request, CallOption::default()).expect("an answer").reason
}

/// Makes an account of each kind.
fn make_accounts(client: &Client, directory: &std::path::Path) {
    for login in ["enrolled", "locked", "unenrolled", "predecessor"] {
        let request = RegisterRequest { login: login.into(), password: PASSWORD.into(), ..Default::default() };
        assert!(client.unary_call(&methods::REGISTER, &request, CallOption::default()).expect("an answer").success);
    }
    let request = LoginRequest { login: "enrolled".into(), password: PASSWORD.into(), ..Default::default() };
    let opened = client.unary_call(&methods::LOGIN, &request, CallOption::default()).expect("an answer");
    let options = || {
        let mut headers = MetadataBuilder::new();
        headers.add_str(TOKEN_KEY, &opened.token).expect("a header");
        CallOption::default().headers(headers.build())
    };
    let request = RequestInitOtp { login: "enrolled".into(), ..Default::default() };
    let uri = client.unary_call(&methods::INIT_OTP, &request, options()).expect("an answer").secret;
    let secret = totp::secret_in_uri(&uri).and_then(totp::secret_from_base32).expect("a secret in base32");
    let code = totp::code_at(&secret, Clock::system().now().as_secs() / 30);
    let request = RequestCheckOtp { login: "enrolled".into(), otp: code.as_str().into(), ..Default::default() };
    assert!(client.unary_call(&methods::CHECK_OTP, &request, options()).expect("an answer").valid);

    let database = rusqlite::Connection::open(directory.join("users.db")).expect("the database");
    database.execute("UPDATE users SET locked_at = 1 WHERE login = 'locked'", []).expect("an update");
    let wrapped = Passwords::new(Cost::default()).expect("passwords").wrap_sha256_hex(&"5e".repeat(32));
    let sql = "UPDATE users SET password_hash = ?1 WHERE login = 'predecessor'";
    database.execute(sql, [wrapped.expect("a hash").as_str()]).expect("an update");
}

/// Prints the table. Returns whether all ratios are within the target.
fn report(times: &[Vec<f64>], random: &mut Random) -> bool {
    println!("{} calls of each kind, median in ms, ratio to an unknown login, 95 % interval", times[0].len());
    let mut good = true;
    for ((name, ..), kind) in KINDS.iter().zip(times) {
        let ratio = median(kind) / median(&times[0]);
        let mut ratios: Vec<f64> =
            (0..RESAMPLES).map(|_| median(&random.resample(kind)) / median(&random.resample(&times[0]))).collect();
        ratios.sort_by(f64::total_cmp);
        let (low, high) = (ratios[RESAMPLES / 40], ratios[RESAMPLES - 1 - RESAMPLES / 40]);
        let tells = (ratio - 1.0).abs() > TARGET && !(low..=high).contains(&1.0);
        good &= !tells;
        println!(
            "{name:32} {:8.3} {ratio:7.4}  [{low:.4}, {high:.4}]{}",
            median(kind),
            if tells { "  TELLS" } else { "" }
        );
    }
    good
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Marsaglia's xorshift: random enough to shuffle, and the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % bound
    }

    fn resample(&mut self, times: &[f64]) -> Vec<f64> {
        (0..times.len()).map(|_| times[self.below(times.len())]).collect()
    }
}
