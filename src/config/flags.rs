//! The flags and environment variables of the server. Their help texts are what docs/settings.md says of them.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use ipnet::IpNet;

use super::limits::LimitFlags;
use crate::rpc::edge::proxy;

/// The settings of the server as flags.
#[derive(Debug, Parser)]
#[command(name = "otpchatd")]
pub struct Flags {
    /// The addresses to listen on, separated by commas. `localhost` is IPv4 and IPv6 loopback; port 0 takes a free one.
    #[arg(
        long,
        env = "OTPCHAT_LISTEN",
        value_name = "HOST:PORT",
        default_value = "localhost:50051",
        value_delimiter = ','
    )]
    pub listen: Vec<String>,

    /// This server's certificate, PEM, followed by those that lead up to its authority: every --listen address then speaks
    /// TLS. The server takes up a changed file without a restart, at once on SIGHUP.
    #[arg(long, env = "OTPCHAT_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// The certificate's key: PEM without a passphrase, mode 0600.
    #[arg(long, env = "OTPCHAT_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// The authorities of client certificates, PEM: each client then needs a certificate from one of them.
    #[arg(long, env = "OTPCHAT_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,

    /// Loopback addresses to listen on without TLS, beside those with TLS, separated by commas. For the predecessor's clients
    /// and for tools on this machine.
    #[arg(long, env = "OTPCHAT_LISTEN_PLAINTEXT", value_name = "HOST:PORT", value_delimiter = ',')]
    pub listen_plaintext: Vec<String>,

    /// Listen beyond loopback without TLS: passwords and messages then cross the network unencrypted.
    #[arg(long, env = "OTPCHAT_PLAINTEXT_EXPOSED_TO_NETWORK")]
    pub plaintext_exposed_to_network: bool,

    /// The directory of users.db and, unless they are given elsewhere, the keys.
    #[arg(long, env = "OTPCHAT_DATA_DIR", value_name = "DIR", global = true, default_value = ".")]
    pub data_dir: PathBuf,

    /// The key that signs tokens: 32 random bytes, mode 0600 [default: jwt.key in the data directory, made if missing].
    #[arg(long, env = "OTPCHAT_JWT_KEY", global = true, value_name = "FILE")]
    pub jwt_key: Option<PathBuf>,

    /// The key that seals second factors: 32 random bytes, mode 0600 [default: sealing.key in the data directory, made if
    /// missing].
    #[arg(long, env = "OTPCHAT_SEALING_KEY", global = true, value_name = "FILE")]
    pub sealing_key: Option<PathBuf>,

    /// Serve the predecessor's clients: on loopback without TLS, a code and the first enrolment may come without a token, on
    /// the connection that logged in or registered.
    #[arg(long, env = "OTPCHAT_LEGACY_CLIENTS", default_value = "on", value_name = "on|off")]
    pub legacy_clients: Switch,

    /// Proxies whose forwarded client address the server trusts: addresses or networks such as 10.0.0.0/8, separated by
    /// commas. A client's address is then the last one in `x-forwarded-for` that is no proxy's. Switches --legacy-clients off.
    #[arg(long, env = "OTPCHAT_TRUSTED_PROXY", value_name = "ADDRESS", value_delimiter = ',', value_parser = proxy::parse_network)]
    pub trusted_proxy: Vec<IpNet>,

    /// Registration: open to everyone, by invitation, or closed [default: open on loopback, invite beyond it and behind a
    /// proxy].
    #[arg(long, env = "OTPCHAT_REGISTRATION", value_name = "open|invite|closed")]
    pub registration: Option<RegistrationFlag>,

    /// The messages of a deleted account: keep them under the name `(deleted)`, or delete them.
    #[arg(long, env = "OTPCHAT_DELETED_MESSAGES", default_value = "keep", value_name = "keep|delete")]
    pub deleted_messages: DeletedMessages,

    /// How many days messages are kept; 0 keeps them for ever.
    #[arg(long, env = "OTPCHAT_KEEP_DAYS", value_name = "DAYS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=36_500))]
    pub keep_days: u32,

    /// How many messages are kept, the newest ones; 0 keeps all.
    #[arg(long, env = "OTPCHAT_KEEP_MESSAGES", value_name = "COUNT", default_value_t = 0)]
    pub keep_messages: u32,

    /// Write chat lines to the log, as `[18:30:15] user1: ...`.
    #[arg(long, env = "OTPCHAT_CHAT_LOG", default_value = "on", value_name = "on|off")]
    pub chat_log: Switch,

    /// The log level: error, warn, info, debug, trace, or a filter by module.
    #[arg(long, env = "OTPCHAT_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,

    #[command(flatten)]
    /// The limits.
    pub limits: LimitFlags,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

impl Switch {
    /// Whether it is on.
    pub fn is_on(self) -> bool {
        self == Switch::On
    }
}

/// How registration works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RegistrationFlag {
    /// Everyone that can reach the port may register.
    Open,
    /// Registration needs an invitation (`otpchatd invite new`).
    Invite,
    /// No registration; `otpchatd user add` makes accounts.
    Closed,
}

/// The fate of a deleted account's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DeletedMessages {
    /// They stay under a neutral name.
    Keep,
    /// They are deleted.
    Delete,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_flag_has_an_environment_variable() {
        let command = Flags::command();
        command.clone().debug_assert();
        for arg in command.get_arguments() {
            let name = arg.get_id().as_str();
            let want = format!("OTPCHAT_{}", name.to_uppercase());
            assert_eq!(arg.get_env().and_then(|v| v.to_str()), Some(want.as_str()), "--{name}");
        }
    }
}
