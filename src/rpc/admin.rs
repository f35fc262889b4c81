//! `Admin`: the administrator at the machine. A server of its own on a Unix socket that only the owner of the data directory
//! can reach; nothing on the network knows it.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use grpcio::{Environment, Server, ServerBuilder, ServerCredentials};

use crate::proto::admin::{AdminRequest, Command};

use super::calls::{Calls, Lane};
use super::listen::ListenError;
use super::{Shared, channel};
use crate::proto::methods;

/// The longest path that a socket may have, in bytes, with the zero behind it (unix(7)).
const MAX_PATH_BYTES: usize = 108;

/// Where the socket of a data directory is. The directory around it, not the socket, says who may open it: it is there, and
/// closed, before the socket is.
pub fn socket_in(data_dir: &Path) -> PathBuf {
    data_dir.join("otpchatd.admin").join("socket")
}

/// Listens for the administrator's tool.
pub(super) fn listen(
    shared: &Arc<Shared>,
    environment: &Arc<Environment>,
    data_dir: &Path,
) -> Result<Server, ListenError> {
    let path = socket_in(data_dir);
    let failed = |text: String| ListenError::Admin { path: path.clone(), text };
    prepare(&path).map_err(|error| failed(error.to_string()))?;
    let service = Calls::of(shared)
        .answered(&methods::ADMIN_RUN, hashes, |shared, _, request| shared.app.administrate(request))
        .done();
    let mut server = ServerBuilder::new(Arc::clone(environment))
        .register_service(service)
        .channel_args(channel(environment, &shared.limits).build_args())
        .build()
        .map_err(|error| failed(error.to_string()))?;
    server
        .add_listening_port(format!("unix:{}", path.display()), ServerCredentials::insecure())
        .map_err(|error| failed(error.to_string()))?;
    server.start();
    Ok(server)
}

/// Only what sets a password waits for strangers' logins.
fn hashes(request: &AdminRequest) -> Lane {
    match request.command {
        Some(Command::AddUser(_) | Command::ResetPassword(_)) => Lane::Hash,
        _ => Lane::Work,
    }
}

/// Makes the directory, for its owner only, and clears what an earlier server left.
fn prepare(path: &Path) -> io::Result<()> {
    if path.as_os_str().len() >= MAX_PATH_BYTES {
        return Err(io::Error::other("the path of a socket has at most 107 bytes: choose a shorter --data-dir"));
    }
    let directory = path.parent().unwrap_or(Path::new("."));
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::set_permissions(directory, Permissions::from_mode(0o700))?;
        }
        made => made?,
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
