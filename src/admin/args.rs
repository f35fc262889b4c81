//! The command line of `otpchatd`, with the commands of the administrator.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::Flags;

/// The self-hosted group chat for the terminal whose second factor nobody can skip: the server.
///
/// It keeps everything in one directory, made at the first start: the database users.db, two key files, the head of the
/// audit, and the socket of the administrator's commands. Stop it with Ctrl-C or SIGTERM; a second signal skips the grace
/// period.
#[derive(Debug, Parser)]
#[command(
    name = "otpchatd",
    version,
    after_help = "Examples:\n  otpchatd\n  otpchatd user list\n  otpchatd --data-dir /var/lib/otpchatd user reset-otp alice\n  otpchatd --data-dir /var/lib/otpchatd --chat-log off\n  otpchatd --listen localhost:50061 --log debug\n\nEvery flag has an environment variable; the flag wins. Exit codes: 0 stopped as asked, 1 could not start or failed, 2 wrong flags."
)]
pub struct CommandLine {
    /// An administrator's command, carried out instead of serving.
    #[command(subcommand)]
    pub command: Option<AdminCommand>,
    /// The settings of the server.
    #[command(flatten)]
    pub flags: Flags,
}

/// A command of the administrator.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Manage accounts: list, show, add, lock, unlock, reset, delete
    #[command(subcommand, arg_required_else_help = true)]
    User(UserCommand),
    /// Invite people to register
    #[command(subcommand, arg_required_else_help = true)]
    Invite(InviteCommand),
    /// Show the audit, and check that no row was changed, removed or cut off
    Audit(AuditArgs),
    /// Seal all secrets in the database under a new key (the server must be stopped)
    ///
    /// It may be interrupted at any time: the database is then sealed under the old key or under the new one, never under
    /// both. Run it again. The old key is kept under another name; it opens older backups.
    Rekey(RekeyArgs),
    /// Sign tokens with a new key; tokens under the old one stay valid for a while
    RotateTokenKey {
        /// Void the tokens under the old key at once: everyone logs in again
        #[arg(long)]
        now: bool,
    },
}

/// `otpchatd user`
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// List all accounts
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show an account and its sessions
    Show {
        /// The account
        login: String,
        /// As JSON (without the sessions: see `user sessions`)
        #[arg(long)]
        json: bool,
    },
    /// Add an account; prints its enrolment code and, unless one is given, its password
    Add {
        /// The new login
        login: String,
        /// Read the password from standard input instead of making one
        #[arg(long)]
        password_stdin: bool,
    },
    /// Lock an account: all its sessions end, and no login succeeds until it is unlocked
    Lock {
        /// The account
        login: String,
    },
    /// Unlock an account
    Unlock {
        /// The account
        login: String,
    },
    /// Remove the second factor of an account that lost it; prints the code that enrols a new one
    ResetOtp {
        /// The account
        login: String,
    },
    /// Give an account a new password; prints it unless one is given
    ResetPassword {
        /// The account
        login: String,
        /// Read the password from standard input instead of making one
        #[arg(long)]
        password_stdin: bool,
    },
    /// List the sessions of an account, or end them
    Sessions {
        /// The account
        login: String,
        /// End the one with this id
        #[arg(long, value_name = "ID", conflicts_with = "end_all")]
        end: Option<String>,
        /// End all of them
        #[arg(long)]
        end_all: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete an account for good
    Delete {
        /// The account
        login: String,
        /// Do not ask for the login again
        #[arg(long)]
        yes: bool,
    },
}

/// `otpchatd invite`
#[derive(Debug, Subcommand)]
pub enum InviteCommand {
    /// Make an invitation, valid once; prints its code
    New {
        /// A note for your own list, such as a name
        #[arg(long, default_value = "")]
        note: String,
        /// How many hours it is valid
        #[arg(long, default_value_t = 72)]
        hours: u32,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List the valid invitations
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Withdraw an invitation
    Revoke {
        /// Its number in the list
        id: i64,
    },
}

/// `otpchatd audit`
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Only rows of this actor: a login, or `admin`
    #[arg(long)]
    pub actor: Option<String>,
    /// Only this action, or actions that begin with it, such as `user.`
    #[arg(long)]
    pub action: Option<String>,
    /// Only rows about this login
    #[arg(long)]
    pub subject: Option<String>,
    /// Only rows of the last hours
    #[arg(long, value_name = "HOURS")]
    pub hours: Option<u32>,
    /// Only the last rows
    #[arg(long, value_name = "COUNT")]
    pub last: Option<usize>,
    /// Only check; print no rows
    #[arg(long)]
    pub verify: bool,
    /// As JSON
    #[arg(long, conflicts_with = "verify")]
    pub json: bool,
}

/// `otpchatd rekey`
#[derive(Debug, Args)]
pub struct RekeyArgs {
    /// The new key, 32 random bytes, mode 0600. It stays where it is; hand it in at the next start [default: make a key, and
    /// put it in the old one's place]
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_describes_the_server() {
        let command = CommandLine::command();
        command.clone().debug_assert();
        let about = command.get_long_about().expect("a description").to_string();
        assert!(about.contains("nobody can skip: the server"), "{about}");
    }
}
