//! The administrator's commands: `otpchatd user`, `invite`, `audit`, `rekey` and `rotate-token-key`.
//!
//! There is a file for each group of them; [`args`] says what they take. A running server carries a command out at once, and is
//! asked over its socket; without one the command takes the database's lock and works on the database (`transport`). Both ways
//! run the same code ([`crate::app::admin`]). `audit` only reads, and `rekey` needs the server to be stopped.

pub mod args;
mod audit;
mod error;
mod invite;
mod output;
mod rekey;
mod table;
mod token_key;
mod transport;
mod user;

use self::args::AdminCommand;
pub use self::error::ToolError;
use crate::config::Settings;
use crate::server::Progress;

/// Carries out a command.
///
/// # Errors
/// [`ToolError`].
pub fn run(settings: &Settings, command: AdminCommand, progress: &mut dyn Progress) -> Result<(), ToolError> {
    match command {
        AdminCommand::User(command) => user::run(settings, command),
        AdminCommand::Invite(command) => invite::run(settings, command),
        AdminCommand::Audit(args) => audit::run(settings, &args),
        AdminCommand::Rekey(args) => rekey::run(settings, args, progress),
        AdminCommand::RotateTokenKey { now } => token_key::rotate(settings, now),
    }
}
