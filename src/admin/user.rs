//! `otpchatd user`

use std::io::{self, BufRead, IsTerminal};

use super::args::UserCommand;
use super::error::ToolError;
use super::output::{say, say_secrets};
use super::table::{Cell, Format, Table};
use super::transport;
use crate::base::terminal::Output;
use crate::config::Settings;
use crate::model::login::LoginKey;
use crate::proto::admin::{
    AddUser, AdminResponse, AdminUser, Command, EndUserSessions, ListUsers, OneUser, ResetPassword,
};

pub(super) fn run(settings: &Settings, command: UserCommand) -> Result<(), ToolError> {
    let send = |command| transport::send(settings, command);
    match command {
        UserCommand::List { json } => {
            let answer = send(Command::ListUsers(ListUsers::new()))?;
            users(&answer).print(Format::from_json_flag(json))
        }
        UserCommand::Show { login, json } => {
            let answer = send(Command::ShowUser(one_user(&login)))?;
            users(&answer).print_each(Format::from_json_flag(json))?;
            if !json {
                sessions(&send(Command::ListSessions(one_user(&login)))?).print(Format::Table)?;
            }
            Ok(())
        }
        UserCommand::Add { login, password_stdin } => {
            let password = password(password_stdin)?;
            let request = AddUser { login: login.clone(), password, ..Default::default() };
            say_secrets(&format!("{login} was added."), &send(Command::AddUser(request))?)
        }
        UserCommand::Lock { login } => {
            let answer = send(Command::LockUser(one_user(&login)))?;
            say(&format!("{login} is locked; {}.", ended(&answer)))
        }
        UserCommand::Unlock { login } => {
            send(Command::UnlockUser(one_user(&login)))?;
            say(&format!("{login} may log in again."))
        }
        UserCommand::ResetOtp { login } => {
            let answer = send(Command::ResetOtp(one_user(&login)))?;
            let done = format!("{login} has no second factor any more; {}.", ended(&answer));
            say_secrets(&done, &answer)
        }
        UserCommand::ResetPassword { login, password_stdin } => {
            let password = password(password_stdin)?;
            let request = ResetPassword { login: login.clone(), password, ..Default::default() };
            let answer = send(Command::ResetPassword(request))?;
            let done = format!("{login} has a new password; {}.", ended(&answer));
            say_secrets(&done, &answer)
        }
        UserCommand::Sessions { login, end, end_all, json } => {
            if end.is_some() || end_all {
                let request = EndUserSessions { login, id: end.unwrap_or_default(), ..Default::default() };
                let answer = send(Command::EndSessions(request))?;
                return say(&format!("{}.", ended(&answer)));
            }
            sessions(&send(Command::ListSessions(one_user(&login)))?).print(Format::from_json_flag(json))
        }
        UserCommand::Delete { login, yes } => {
            if !yes {
                confirm(&login)?;
            }
            send(Command::DeleteUser(one_user(&login)))?;
            say(&format!("{login} is deleted; the login is never given out again if it was enrolled."))
        }
    }
}

fn one_user(login: &str) -> OneUser {
    OneUser { login: login.to_owned(), ..Default::default() }
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
            Cell::text(state(user)),
            Cell::Number(user.sessions.into()),
            Cell::timestamp(&user.last_login_at),
            Cell::timestamp(&user.created_at),
            Cell::timestamp(&user.enrolled_at),
            Cell::Number(user.guesses_left.into()),
            Cell::Number(user.recovery_codes_left.into()),
            Cell::Number(user.id),
        ]);
    }
    table
}

fn state(user: &AdminUser) -> &'static str {
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
            Cell::timestamp(&session.opened_at),
            Cell::timestamp(&session.expires_at),
            Cell::text(&session.address),
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

/// The password from standard input, or an empty one: the server then makes one.
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

/// Asks for the login once more before the account is deleted for good.
fn confirm(login: &str) -> Result<(), ToolError> {
    if !io::stdin().is_terminal() {
        return Err(ToolError::Unasked("this deletes the account for good: say so with --yes"));
    }
    Output::stderr().print("This deletes the account for good. Type its login again: ")?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    if LoginKey::from_text(line.trim()) == LoginKey::from_text(login) {
        Ok(())
    } else {
        Err(ToolError::Unasked("that is another login; nothing was deleted"))
    }
}
