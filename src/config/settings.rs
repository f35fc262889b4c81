//! The checked settings.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::app::AppLimits;
use crate::hub::HubLimits;
use crate::rpc::edge::proxy::TrustedProxies;
use crate::rpc::edge::tls::TlsFiles;
use crate::rpc::limits::RpcLimits;
use crate::rpc::listen::Listen;
use crate::security::keys::KeyGuard;
use crate::security::passwords::Cost;
use crate::store::StoreLimits;

/// Checked settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen; `localhost` is two addresses here.
    pub listen: Vec<Listen>,
    /// The files of TLS, if the server speaks it.
    pub tls: Option<TlsFiles>,
    /// The data directory.
    pub data_dir: PathBuf,
    /// The key that signs tokens.
    pub jwt_key: PathBuf,
    /// The key that seals second factors.
    pub sealing_key: PathBuf,
    /// How long tokens under the key before stay valid.
    pub old_jwt_key: Duration,
    /// Where the service manager put credentials for this service alone.
    pub credentials_dir: Option<PathBuf>,
    /// Whether the predecessor's clients are served without a token where they may be.
    pub legacy_clients: bool,
    /// Proxies whose forwarded client address the server trusts.
    pub trusted_proxies: TrustedProxies,
    /// Whether chat lines are logged.
    pub chat_log: bool,
    /// The cost of a password hash.
    pub password_cost: Cost,
    /// Bounds of accounts, sessions, messages and throttles.
    pub app: AppLimits,
    /// Bounds of the hub.
    pub hub: HubLimits,
    /// Bounds of the store.
    pub store: StoreLimits,
    /// Bounds of calls, connections and streams.
    pub rpc: RpcLimits,
    /// How long open calls have to end when the server stops.
    pub grace: Duration,
}

impl Settings {
    /// How a key file is protected: by the directory of the service manager's credentials if it lies right in that, else by
    /// its mode.
    pub fn guard_of(&self, key: &Path) -> KeyGuard {
        let is_parent = |directory: &PathBuf| key.parent() == Some(directory);
        if self.credentials_dir.as_ref().is_some_and(is_parent) { KeyGuard::Place } else { KeyGuard::Mode }
    }
}
