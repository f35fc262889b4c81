//! `otpchatd` as a process.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::Builder;

use crossbeam_channel::{Receiver, bounded};
use tempfile::TempDir;

use crate::LIMIT;

/// A server on this machine with a data directory of its own. Dropping it kills it.
pub(crate) struct Daemon {
    directory: TempDir,
    port: u16,
    flags: Vec<String>,
    running: Option<Running>,
}

struct Running {
    pid: u32,
    ended: Receiver<ExitStatus>,
}

impl Daemon {
    /// Starts a server on any free port.
    pub(crate) fn start() -> Daemon {
        Daemon::start_with(&[])
    }

    /// Starts a server with flags.
    pub(crate) fn start_with(flags: &'static [&'static str]) -> Daemon {
        Daemon::launch(tempfile::tempdir().expect("a directory"), flags)
    }

    /// Starts a server in a prepared directory.
    pub(crate) fn start_in(directory: TempDir) -> Daemon {
        Daemon::launch(directory, &[])
    }

    /// Starts a server in a prepared directory, with flags.
    pub(crate) fn start_in_with(directory: TempDir, flags: &[&str]) -> Daemon {
        Daemon::launch(directory, flags)
    }

    fn launch(directory: TempDir, flags: &[&str]) -> Daemon {
        let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        let (running, port) = spawn(directory.path(), 0, &flags);
        Daemon { directory, port, flags, running: Some(running) }
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(log_path(self.directory.path())).expect("its log")
    }

    /// Where it listens, for `--server`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(&mut self) {
        let running = self.running.take().expect("a running server");
        signal(running.pid, "TERM");
        let status = running.ended.recv_timeout(LIMIT).expect("it stops when asked to");
        assert!(status.success(), "it stops well: {status}");
    }

    /// Asks it to stop, without waiting.
    pub(crate) fn ask_to_stop(&self) {
        signal(self.running.as_ref().expect("a running server").pid, "TERM");
    }

    /// Asks it to read its certificate again, without waiting.
    pub(crate) fn reload(&self) {
        signal(self.running.as_ref().expect("a running server").pid, "HUP");
    }

    /// Kills it, as a crash would.
    pub(crate) fn kill(&mut self) {
        let running = self.running.take().expect("a running server");
        signal(running.pid, "KILL");
        running.ended.recv_timeout(LIMIT).expect("it ends when killed");
    }

    /// Suspends it while `act` runs: calls meanwhile wait.
    pub(crate) fn held_up<T>(&self, act: impl FnOnce() -> T) -> T {
        signal(self.pid(), "STOP");
        let done = act();
        signal(self.pid(), "CONT");
        done
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.running.as_ref().expect("a running server").pid
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its data directory.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts it again, on the same port with the same data.
    pub(crate) fn start_again(&mut self) {
        assert!(self.running.is_none(), "it was stopped");
        let (running, port) = spawn(self.directory.path(), self.port, &self.flags);
        assert_eq!(port, self.port);
        self.running = Some(running);
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(running) = &self.running
            && running.ended.is_empty()
        {
            signal(running.pid, "KILL");
            let _ = running.ended.recv_timeout(LIMIT);
        }
        if std::thread::panicking()
            && let Ok(log) = std::fs::read_to_string(log_path(self.directory.path()))
        {
            println!("--- the server's log\n{log}---");
        }
    }
}

fn log_path(directory: &Path) -> PathBuf {
    directory.join("otpchatd.log")
}

fn spawn(directory: &Path, port: u16, flags: &[String]) -> (Running, u16) {
    let log = File::options().append(true).create(true).open(log_path(directory)).expect("a log");
    // A write beyond the file size limit is then an error, as on a full disk, and does not kill the process.
    let mut child = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_otpchatd")])
        .args(["--listen", &format!("127.0.0.1:{port}"), "--data-dir"])
        .arg(directory)
        .args(flags)
        .env_clear()
        // Tests that send as fast as they can are about something else.
        .env("OTPCHAT_MESSAGES_PER_SECOND", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .expect("otpchatd runs");
    let pid = child.id();
    let stdout = BufReader::new(child.stdout.take().expect("its stdout"));
    let (say, said) = bounded(1);
    // Read to the end, so that the server never blocks on its standard output.
    Builder::new()
        .spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let port =
                    line.strip_prefix("Server started on port ").and_then(|port| port.trim().parse::<u16>().ok());
                if let Some(port) = port {
                    let _ = say.send(port);
                }
            }
        })
        .expect("a thread");
    let (end, ended) = bounded(1);
    Builder::new()
        .spawn(move || {
            let status = child.wait().expect("a child to wait for");
            let _ = end.send(status);
        })
        .expect("a thread");
    let running = Running { pid, ended };
    let Ok(port) = said.recv_timeout(LIMIT) else {
        signal(pid, "KILL");
        let log = std::fs::read_to_string(log_path(directory)).unwrap_or_default();
        panic!("the server does not start:\n{log}");
    };
    (running, port)
}

/// Signals a child of this process.
fn signal(pid: u32, name: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().expect("sh");
    assert!(status.success(), "kill -{name}");
}
