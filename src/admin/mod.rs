//! The administrator's tool: `otpchatd user`, `invite`, `audit`, `rekey` and `rotate-token-key`.
//!
//! A running server is told over its socket, so that it acts at once (`tell`); without one the tool takes the database's
//! lock and works on it itself. What is done is the same ([`crate::app::admin`]).

pub mod args;
mod audit;
mod rekey;
mod table;
mod transport;

use std::io::{self, BufRead, IsTerminal, Write};

use self::args::{Command, InviteCommand, UserCommand};
use self::table::{Cell, Form, Table};
use crate::app::refusal;
use crate::config::Settings;
use crate::model::login::LoginKey;
use crate::proto::admin::{
    AddUser, AdminResponse, AdminUser, Command as Act, EndUserSessions, ListInvitations, ListUsers, NewInvitation,
    OneUser, ResetPassword, RevokeInvitation, RotateTokenKey,
};
use crate::proto::{Timestamp, time_of};
use crate::security::keys::KeyError;
use crate::server::{Progress, StartError};
use crate::store::{OpenError, StoreError, sealed};

/// Something that the tool could not do. Each text says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The server, or the system, refused. What it said.
    #[error("{0}")]
    Refused(String),
    /// The directory is closed to whoever asks.
    #[error("{0} is closed to this user: run this as root, or as the user of the server")]
    Closed(String),
    /// There is no database.
    #[error("there is no database in {0}: give the server's directory with --data-dir")]
    NoDatabase(String),
    /// The database is still the predecessor's.
    #[error("the database in {0} is still the predecessor's: start the server once, which upgrades it")]
    NotUpgraded(String),
    /// Files that we made would be another user's.
    #[error("{path} belongs to another user: run this as that one, as in `sudo -u '#{owner}' otpchatd ...`")]
    OtherOwner {
        /// The data directory.
        path: String,
        /// The number of the user it belongs to.
        owner: u32,
    },
    /// A server runs, but does not answer.
    #[error(
        "a server is using {path}, but does not answer on its socket: {why}; run this as its user or as root, or stop the server first"
    )]
    Unanswered {
        /// The data directory.
        path: String,
        /// What happened.
        why: String,
    },
    /// What needs a stopped server.
    #[error("stop the server first: its secrets are sealed anew while nobody uses them")]
    ServerRuns,
    /// The database could not be opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The database could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database could not be read.
    #[error("the database could not be read: {0}")]
    Store(#[from] StoreError),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Sealing anew.
    #[error(transparent)]
    Reseal(#[from] sealed::ResealError),
    /// A question that nobody is there to answer.
    #[error("{0}")]
    Unasked(&'static str),
    /// The audit is not whole.
    #[error("the audit was tampered with: {0} findings")]
    Tampered(usize),
    /// The terminal.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<refusal::Error> for ToolError {
    fn from(error: refusal::Error) -> ToolError {
        ToolError::Refused(error.to_string())
    }
}

/// Does what a command says.
///
/// # Errors
/// [`ToolError`].
pub fn run(settings: &Settings, command: Command, progress: &mut dyn Progress) -> Result<(), ToolError> {
    match command {
        Command::User(command) => user(settings, command),
        Command::Invite(command) => invite(settings, command),
        Command::Audit(args) => audit::run(settings, &args),
        Command::Rekey(args) => rekey::run(settings, args, progress),
        Command::RotateTokenKey { now } => {
            let request = RotateTokenKey { now, ..Default::default() };
            match transport::tell(settings, Act::RotateTokenKey(request))?.old_key_hours {
                0 => say("New tokens come under a new key; those under the old one are void."),
                hours => say(&format!(
                    "New tokens come under a new key; those under the old one are good for {hours} hours."
                )),
            }
        }
    }
}

fn user(settings: &Settings, command: UserCommand) -> Result<(), ToolError> {
    let tell = |act| transport::tell(settings, act);
    match command {
        UserCommand::List { json } => {
            let answer = tell(Act::ListUsers(ListUsers::new()))?;
            users(&answer).print(Form::of(json))
        }
        UserCommand::Show { login, json } => {
            let answer = tell(Act::ShowUser(of(login.clone())))?;
            users(&answer).print_each(Form::of(json))?;
            if !json {
                sessions(&tell(Act::ListSessions(of(login)))?).print(Form::Table)?;
            }
            Ok(())
        }
        UserCommand::Add { login, password_stdin } => {
            let password = password(password_stdin)?;
            let request = AddUser { login: login.clone(), password, ..Default::default() };
            say_secrets(&format!("{login} was added."), &tell(Act::AddUser(request))?)
        }
        UserCommand::Lock { login } => {
            let answer = tell(Act::LockUser(of(login.clone())))?;
            say(&format!("{login} is locked; {}.", ended(&answer)))
        }
        UserCommand::Unlock { login } => {
            tell(Act::UnlockUser(of(login.clone())))?;
            say(&format!("{login} may log in again."))
        }
        UserCommand::ResetOtp { login } => {
            let answer = tell(Act::ResetOtp(of(login.clone())))?;
            let done = format!("{login} has no second factor any more; {}.", ended(&answer));
            say_secrets(&done, &answer)
        }
        UserCommand::ResetPassword { login, password_stdin } => {
            let password = password(password_stdin)?;
            let request = ResetPassword { login: login.clone(), password, ..Default::default() };
            let answer = tell(Act::ResetPassword(request))?;
            let done = format!("{login} has a new password; {}.", ended(&answer));
            say_secrets(&done, &answer)
        }
        UserCommand::Sessions { login, end, end_all, json } => {
            if end.is_some() || end_all {
                let request = EndUserSessions { login, id: end.unwrap_or_default(), ..Default::default() };
                let answer = tell(Act::EndSessions(request))?;
                return say(&format!("{}.", ended(&answer)));
            }
            sessions(&tell(Act::ListSessions(of(login)))?).print(Form::of(json))
        }
        UserCommand::Delete { login, yes } => {
            if !yes {
                confirm(&login)?;
            }
            tell(Act::DeleteUser(of(login.clone())))?;
            say(&format!("{login} is deleted; the login is never given out again if it was enrolled."))
        }
    }
}

fn invite(settings: &Settings, command: InviteCommand) -> Result<(), ToolError> {
    let tell = |act| transport::tell(settings, act);
    match command {
        InviteCommand::New { note, hours, json } => {
            let answer = tell(Act::NewInvitation(NewInvitation { note, hours, ..Default::default() }))?;
            if json {
                let code = Cell::text(&answer.invitation_code);
                return invitations(&answer).with_column("code", code).print(Form::Json);
            }
            say_secrets(&format!("An invitation, good once, for {hours} hours."), &answer)
        }
        InviteCommand::List { json } => {
            invitations(&tell(Act::ListInvitations(ListInvitations::new()))?).print(Form::of(json))
        }
        InviteCommand::Revoke { id } => {
            tell(Act::RevokeInvitation(RevokeInvitation { id, ..Default::default() }))?;
            say(&format!("Invitation {id} is taken back."))
        }
    }
}

fn of(login: String) -> OneUser {
    OneUser { login, ..Default::default() }
}

fn users(answer: &AdminResponse) -> Table {
    let mut table = Table::new(&[
        "login",
        "state",
        "sessions",
        "last login",
        "created",
        "enrolled",
        "guesses left",
        "recovery codes",
        "id",
    ]);
    for user in &answer.users {
        table.row(vec![
            Cell::text(&user.login),
            Cell::text(state_of(user)),
            Cell::Number(user.sessions.into()),
            time(&user.last_login_at),
            time(&user.created_at),
            time(&user.enrolled_at),
            Cell::Number(user.guesses_left.into()),
            Cell::Number(user.recovery_codes_left.into()),
            Cell::Number(user.id),
        ]);
    }
    table
}

fn state_of(user: &AdminUser) -> &'static str {
    if user.locked_at.is_some() {
        "locked"
    } else if user.awaits_enrolment_code {
        "needs enrolment code"
    } else if user.has_second_factor {
        "active"
    } else {
        "not enrolled"
    }
}

fn sessions(answer: &AdminResponse) -> Table {
    let mut table = Table::new(&["session", "state", "opened", "expires", "address"]);
    for session in &answer.sessions {
        table.row(vec![
            Cell::text(&session.id),
            Cell::text(&session.state),
            time(&session.opened_at),
            time(&session.expires_at),
            Cell::text(&session.address),
        ]);
    }
    table
}

fn invitations(answer: &AdminResponse) -> Table {
    let mut table = Table::new(&["id", "note", "created", "expires"]);
    for invitation in &answer.invitations {
        table.row(vec![
            Cell::Number(invitation.id),
            Cell::text(&invitation.note),
            time(&invitation.created_at),
            time(&invitation.expires_at),
        ]);
    }
    table
}

fn ended(answer: &AdminResponse) -> String {
    match answer.ended_sessions {
        1 => "1 session ended".to_owned(),
        sessions => format!("{sessions} sessions ended"),
    }
}

fn time(timestamp: &protobuf::MessageField<Timestamp>) -> Cell {
    timestamp.as_ref().map_or(Cell::Nothing, |timestamp| Cell::Time(time_of(timestamp)))
}

fn say(text: &str) -> Result<(), ToolError> {
    Ok(writeln!(io::stdout(), "{text}")?)
}

/// What is shown this once: on standard output, line by line, so that it can be handed on.
fn say_secrets(done: &str, answer: &AdminResponse) -> Result<(), ToolError> {
    let mut out = io::stdout();
    writeln!(out, "{done}")?;
    for (what, secret) in [
        ("Password", &answer.password),
        ("Enrolment code", &answer.enrolment_code),
        ("Invitation code", &answer.invitation_code),
    ] {
        if !secret.is_empty() {
            writeln!(out, "{what}: {secret}")?;
        }
    }
    writeln!(out, "What is shown here is shown once: hand it over by a way that you trust.")?;
    Ok(())
}

/// The password from standard input, or nothing: then one is made.
fn password(from_stdin: bool) -> Result<String, ToolError> {
    if !from_stdin {
        return Ok(String::new());
    }
    let password = if io::stdin().is_terminal() {
        rpassword::prompt_password("New password: ")?
    } else {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    if password.is_empty() { Err(ToolError::Unasked("no password came on standard input")) } else { Ok(password) }
}

/// Asks for the login once more before it is deleted for good.
fn confirm(login: &str) -> Result<(), ToolError> {
    if !io::stdin().is_terminal() {
        return Err(ToolError::Unasked("this deletes the account for good: say so with --yes"));
    }
    write!(io::stderr(), "This deletes the account for good. Type its login again: ")?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    if LoginKey::from_text(line.trim()) == LoginKey::from_text(login) {
        Ok(())
    } else {
        Err(ToolError::Unasked("that is another login; nothing was deleted"))
    }
}
