//! The administrator's socket: a server of its own on a Unix socket that only the owner of the data directory can reach.
//! Nothing on the network knows it.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use grpcio::{Environment, Server, ServerBuilder, ServerCredentials, Service};

use super::channel;
use super::limits::RpcLimits;
use super::listen::ListenError;
use crate::base::durable::remove_if_there;

/// The longest path that a socket may have, in bytes, with the zero behind it (unix(7)).
const MAX_PATH_BYTES: usize = 108;

/// The path of the socket of a data directory. The directory around the socket restricts access to it: it exists, closed to
/// other users, before the socket does.
pub fn socket_in(data_dir: &Path) -> PathBuf {
    data_dir.join("otpchatd.admin").join("socket")
}

/// Listens for the administrator's tool.
pub(super) fn listen(
    service: Service,
    environment: &Arc<Environment>,
    limits: &RpcLimits,
    data_dir: &Path,
) -> Result<Server, ListenError> {
    let path = socket_in(data_dir);
    let failed = |text: String| ListenError::Admin { path: path.clone(), text };
    prepare(&path).map_err(|error| failed(error.to_string()))?;
    let mut server = ServerBuilder::new(Arc::clone(environment))
        .register_service(service)
        .channel_args(channel::builder(environment, limits).build_args())
        .build()
        .map_err(|error| failed(error.to_string()))?;
    server
        .add_listening_port(format!("unix:{}", path.display()), ServerCredentials::insecure())
        .map_err(|error| failed(error.to_string()))?;
    server.start();
    Ok(server)
}

/// Makes the directory, for its owner only, and removes the socket of an earlier server.
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
    remove_if_there(path)
}
