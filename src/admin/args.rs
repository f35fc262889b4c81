//! The subcommands of `otpchatd`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What the administrator's tool does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look after accounts: list, show, add, lock, unlock, reset, delete
    #[command(subcommand, arg_required_else_help = true)]
    User(UserCommand),
    /// Invite people to register
    #[command(subcommand, arg_required_else_help = true)]
    Invite(InviteCommand),
    /// Read the audit, and check that nothing in it was changed, removed or cut off
    Audit(AuditArgs),
    /// Seal all secrets in the database under a new key (the server must be stopped)
    ///
    /// It may be interrupted at any time: the database is sealed under the old key or under the new one, never under both.
    /// Run it again then. The old key is kept under another name; it opens backups that were made before.
    Rekey(RekeyArgs),
    /// Sign tokens with a new key; those under the old one are good for a while yet
    RotateTokenKey {
        /// Void the tokens under the last key at once: everybody logs in again
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
        /// Whose
        login: String,
        /// As JSON (without the sessions: see `user sessions`)
        #[arg(long)]
        json: bool,
    },
    /// Add an account; prints its enrolment code and, unless one is given, its password
    Add {
        /// What it is called
        login: String,
        /// Read the password from standard input instead of making one
        #[arg(long)]
        password_stdin: bool,
    },
    /// Lock an account: all its sessions end, and nobody logs in until it is unlocked
    Lock {
        /// Which
        login: String,
    },
    /// Unlock an account
    Unlock {
        /// Which
        login: String,
    },
    /// Take the second factor off an account that lost it; prints the code that its owner enrols anew with
    ResetOtp {
        /// Whose
        login: String,
    },
    /// Give an account a new password; prints it unless one is given
    ResetPassword {
        /// Whose
        login: String,
        /// Read the password from standard input instead of making one
        #[arg(long)]
        password_stdin: bool,
    },
    /// List the sessions of an account, or end them
    Sessions {
        /// Whose
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
        /// Which
        login: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// `otpchatd invite`
#[derive(Debug, Subcommand)]
pub enum InviteCommand {
    /// Make an invitation, good once; prints its code
    New {
        /// Whom it is for, for your own list
        #[arg(long, default_value = "")]
        note: String,
        /// How many hours it is good
        #[arg(long, default_value_t = 72)]
        hours: u32,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List the invitations that are good
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take an invitation back
    Revoke {
        /// Its number in the list
        id: i64,
    },
}

/// `otpchatd audit`
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Only what this one did: a login, or `admin`
    #[arg(long)]
    pub actor: Option<String>,
    /// Only this action, or those that begin with it, such as `user.`
    #[arg(long)]
    pub action: Option<String>,
    /// Only what was done to this login
    #[arg(long)]
    pub subject: Option<String>,
    /// Only what happened in the last hours
    #[arg(long, value_name = "HOURS")]
    pub hours: Option<u32>,
    /// Only the last rows of those
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
    /// The new key, 32 random bytes, mode 0600; it stays where it is, to be handed in at the next start [default: one is made
    /// and takes the old one's place]
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
}
