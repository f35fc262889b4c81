//! Has a command carried out: by the running server, or on the database itself.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use grpcio::{CallOption, ChannelBuilder, Client, EnvBuilder, RpcStatusCode};

use super::error::ToolError;
use crate::base::clock::Clock;
use crate::config::Settings;
use crate::proto::admin::{AdminRequest, AdminResponse, Command};
use crate::proto::methods;
use crate::rpc::admin_socket::socket_in;
use crate::security::keys::KeyError;
use crate::server::{Backend, NoProgress, StartError};
use crate::store::{DirectoryLock, FILE_NAME, OpenError, upgrade};

/// How long a running server has to answer: it hashes at most one password.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// How long the last commit may take.
pub(super) const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Sends a command to the server if one runs, and else carries it out on the database.
///
/// # Errors
/// [`ToolError`].
pub(super) fn send(settings: &Settings, command: Command) -> Result<AdminResponse, ToolError> {
    let request = AdminRequest { command: Some(command), ..Default::default() };
    match take_lock(settings) {
        Ok(lock) => run_on_database(settings, lock, request),
        Err(ToolError::Open(OpenError::InUse { .. })) => ask_server(&settings.data_dir, &request),
        Err(error) => Err(error),
    }
}

/// Takes the database's lock, if this process has the user that owns it: the server must be able to read the files that are
/// made under the lock.
///
/// # Errors
/// There is no database, a server uses it, or another user owns it.
pub(super) fn take_lock(settings: &Settings) -> Result<DirectoryLock, ToolError> {
    let path = settings.data_dir.display().to_string();
    let owner = database_in(&settings.data_dir)?.uid();
    // The kernel shows a process's own directory as owned by its effective user.
    let ourselves = fs::metadata("/proc/self")?.uid();
    // Taking the lock makes its file, and a file of another user would shut the server out.
    let mine = owner == ourselves;
    let lock = match mine.then(|| DirectoryLock::take(&settings.data_dir)) {
        Some(taken) => taken?,
        None => match DirectoryLock::is_taken(&settings.data_dir) {
            Ok(true) => return Err(OpenError::InUse { path: settings.data_dir.clone() }.into()),
            _ => return Err(ToolError::OtherOwner { path, owner }),
        },
    };
    // The server may get its keys from elsewhere: none is made here.
    for key in [&settings.sealing_key, &settings.jwt_key] {
        if !key.exists() {
            return Err(KeyError::Missing { path: key.clone() }.into());
        }
    }
    if upgrade::is_needed(&settings.data_dir).map_err(StartError::from)? {
        return Err(ToolError::NotUpgraded(path));
    }
    Ok(lock)
}

/// Metadata of the file of the database.
///
/// # Errors
/// It does not exist, or may not be read.
pub(super) fn database_in(data_dir: &Path) -> Result<Metadata, ToolError> {
    let path = || data_dir.display().to_string();
    fs::metadata(data_dir.join(FILE_NAME)).map_err(|error| match error.kind() {
        ErrorKind::NotFound => ToolError::NoDatabase(path()),
        ErrorKind::PermissionDenied => ToolError::Closed(path()),
        _ => error.into(),
    })
}

fn run_on_database(
    settings: &Settings,
    lock: DirectoryLock,
    request: AdminRequest,
) -> Result<AdminResponse, ToolError> {
    let backend = Backend::open(settings, lock, Clock::system(), &mut NoProgress)?;
    let answer = backend.app.administrate(request);
    backend.app.store.stop(STOP_LIMIT);
    Ok(answer?)
}

fn ask_server(data_dir: &Path, request: &AdminRequest) -> Result<AdminResponse, ToolError> {
    let environment = Arc::new(EnvBuilder::new().cq_count(1).name_prefix("grpc-poll").build());
    let channel = ChannelBuilder::new(environment)
        .enable_http_proxy(false)
        .default_authority("otpchatd")
        // An answer may list any number of accounts.
        .max_receive_message_len(-1)
        .connect(&format!("unix:{}", socket_in(data_dir).display()));
    let unanswered = |why: String| ToolError::Unanswered { path: data_dir.display().to_string(), why };
    match Client::new(channel).unary_call(&methods::ADMIN_RUN, request, CallOption::default().timeout(ANSWER_LIMIT)) {
        Ok(answer) => Ok(answer),
        Err(grpcio::Error::RpcFailure(status))
            if status.code() != RpcStatusCode::UNAVAILABLE || !status.details().is_empty() =>
        {
            Err(ToolError::Refused(status.message().to_owned()))
        }
        Err(grpcio::Error::RpcFailure(status)) => Err(unanswered(status.message().to_owned())),
        Err(error) => Err(unanswered(error.to_string())),
    }
}
