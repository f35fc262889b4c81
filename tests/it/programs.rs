//! The programs under test, as commands with pipes and without an environment.

use std::path::Path;
use std::process::{Command, Stdio};

/// The server, or one of the administrator's commands, on a data directory.
pub(crate) fn otpchatd(directory: &Path) -> Command {
    let mut command = piped(env!("CARGO_BIN_EXE_otpchatd"));
    command.arg("--data-dir").arg(directory);
    command
}

/// A server on any free port of loopback.
pub(crate) fn server(directory: &Path) -> Command {
    let mut command = otpchatd(directory);
    command.args(["--listen", "127.0.0.1:0"]).stdin(Stdio::null());
    command
}

/// The console, in a home directory.
pub(crate) fn otpchat(home: &Path) -> Command {
    let mut command = piped(env!("CARGO_BIN_EXE_otpchat"));
    command.current_dir(home);
    command
}

fn piped(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}
