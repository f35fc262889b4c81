//! Prepares every statement of the store on a PostgreSQL of its own: a new one in a temporary directory, reached over a socket
//! in there and nowhere else.
//!
//! A program of its own instead of a test of `it`, so that it can say that it was not done: where there is no PostgreSQL, it
//! counts itself as ignored.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test speaks by its output and its panics"
)]

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::time::Duration;

use crossbeam_channel::after;
use grpc_otp_chat::base::clock::Stopwatch;
use grpc_otp_chat::store;
use tempfile::TempDir;

const NAME: &str = "every_statement_prepares_on_postgresql";

/// How long PostgreSQL may take to start.
const START_LIMIT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    if !is_wanted() {
        return summary("ok", [0, 0, 0, 1]);
    }
    println!("\nrunning 1 test");
    let Some(programs) = programs() else {
        println!("test {NAME} ... ignored, there is no PostgreSQL here (script/bootstrap --test installs it)");
        return summary("ok", [0, 0, 1, 0]);
    };
    match catch_unwind(|| every_statement_prepares(&programs)) {
        Ok(()) => {
            println!("test {NAME} ... ok");
            summary("ok", [1, 0, 0, 0])
        }
        Err(_) => {
            println!("test {NAME} ... FAILED");
            summary("FAILED", [0, 1, 0, 0])
        }
    }
}

/// Whether the filters of `cargo test` name this test, or there are none.
fn is_wanted() -> bool {
    let (mut filters, mut skipped) = (Vec::new(), Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--skip" => skipped.extend(arguments.next()),
            "--test-threads" | "--format" | "--color" | "--logfile" => drop(arguments.next()),
            flag if flag.starts_with('-') => {}
            _ => filters.push(argument),
        }
    }
    let named = |filter: &String| NAME.contains(filter.as_str());
    (filters.is_empty() || filters.iter().any(named)) && !skipped.iter().any(named)
}

/// The closing line, as `cargo test` has it.
fn summary(result: &str, [passed, failed, ignored, filtered]: [u8; 4]) -> ExitCode {
    println!(
        "\ntest result: {result}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; {filtered} filtered out"
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The directory of PostgreSQL's programs, the newest.
fn programs() -> Option<PathBuf> {
    let versions =
        fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    let elsewhere = std::env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> = versions.chain(std::env::split_paths(&elsewhere)).collect();
    found.retain(|bin| ["initdb", "postgres", "psql"].iter().all(|program| bin.join(program).is_file()));
    found.into_iter().max()
}

/// PostgreSQL refuses to run as root.
#[derive(Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// An unprivileged account, where this runs as root.
    fn unprivileged() -> Option<User> {
        const ROOT: u32 = 0;
        let own = fs::metadata("/proc/self").expect("a process").uid();
        let nobody = || {
            fs::read_to_string("/etc/passwd").expect("users").lines().find_map(|line| {
                let fields: Vec<&str> = line.split(':').collect();
                let id = |field: usize| fields.get(field)?.parse().ok();
                (fields.first() == Some(&"nobody")).then_some(User { uid: id(2)?, gid: id(3)? })
            })
        };
        if own == ROOT { Some(nobody().expect("the user nobody")) } else { None }
    }
}

/// A running PostgreSQL. Ends when it is dropped, and leaves nothing behind.
struct Server {
    directory: TempDir,
    programs: PathBuf,
    user: Option<User>,
    child: Child,
}

impl Server {
    fn start(programs: &Path) -> Server {
        let (directory, user) = (TempDir::new().expect("a directory"), User::unprivileged());
        if let Some(User { uid, gid }) = user {
            chown(directory.path(), Some(uid), Some(gid)).expect("its owner");
        }
        let data = directory.path().join("data");
        let mut initdb = command(programs, user, "initdb");
        initdb.args([
            "--auth=trust",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--username=otpchat",
            "--pgdata",
        ]);
        succeeds(initdb.arg(&data));
        let mut postgres = command(programs, user, "postgres");
        postgres.arg("-D").arg(&data).arg("-k").arg(directory.path()).args(["-c", "listen_addresses=", "-F"]);
        let child = postgres.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("postgres runs");
        let server = Server { directory, programs: programs.to_owned(), user, child };
        let watch = Stopwatch::start();
        while !server.psql("SELECT 1;").status.success() {
            assert!(watch.left_of(START_LIMIT).is_some(), "PostgreSQL does not start");
            let _ = after(Duration::from_millis(50)).recv();
        }
        server
    }

    /// Runs a script, to its end whatever fails in it. Errors name its lines.
    fn psql(&self, script: &str) -> Output {
        let file = self.directory.path().join("script.sql");
        fs::write(&file, script).expect("written");
        let mut psql = command(&self.programs, self.user, "psql");
        psql.args(["--no-psqlrc", "--quiet", "--username=otpchat", "--dbname=postgres", "--host"]);
        psql.arg(self.directory.path()).arg("--file").arg(file).env_remove("PGPORT").stdin(Stdio::null());
        psql.output().expect("psql runs")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut stop = command(&self.programs, self.user, "pg_ctl");
        stop.args(["stop", "--mode=immediate", "--silent", "--pgdata"]).arg(self.directory.path().join("data"));
        if !stop.status().is_ok_and(|status| status.success()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// One of PostgreSQL's programs, as a user that it accepts.
fn command(programs: &Path, user: Option<User>, program: &str) -> Command {
    let mut command = match user {
        None => Command::new(programs.join(program)),
        Some(User { uid, gid }) => {
            let mut setpriv = Command::new("setpriv");
            setpriv.arg(format!("--reuid={uid}")).arg(format!("--regid={gid}")).arg("--clear-groups");
            setpriv.arg(programs.join(program));
            setpriv
        }
    };
    command.current_dir("/").env("LC_ALL", "C.UTF-8");
    command
}

fn succeeds(command: &mut Command) {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn every_statement_prepares(programs: &Path) {
    let server = Server::start(programs);
    // The schema first: each step of the ladder as PostgreSQL has it.
    let schema = server.psql(&format!("\\set ON_ERROR_STOP on\n{}", store::schema_for_postgresql()));
    assert!(schema.status.success(), "the schema: {}", String::from_utf8_lossy(&schema.stderr));
    // One statement a line: its error then names it.
    let statements: Vec<_> = store::statements().collect();
    assert!(statements.len() > 60, "{} are not all", statements.len());
    let prepare = |(n, sql): (usize, &store::Sql)| {
        let text = sql.text().split_whitespace().collect::<Vec<_>>().join(" ").replace('?', "$");
        format!("PREPARE s{n} AS {text};\n")
    };
    let script: String = statements.iter().enumerate().map(prepare).collect();
    let output = server.psql(&script);
    let errors = String::from_utf8(output.stderr).expect("text");
    let failed: Vec<String> = errors
        .lines()
        .filter(|line| line.contains("ERROR:"))
        .map(|line| {
            let mut parts = line.rsplitn(2, ": ERROR:").last().unwrap_or_default().rsplit(':');
            let n = parts.next().and_then(|n| n.parse::<usize>().ok());
            let name = n.and_then(|n| statements.get(n.checked_sub(1)?)).map_or("?", |sql| sql.name());
            format!("{name}: {line}")
        })
        .collect();
    assert!(output.status.success() && errors.is_empty() && failed.is_empty(), "{failed:#?}\n{errors}");
}
