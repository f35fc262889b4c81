//! `otpchatd invite`

use super::args::InviteCommand;
use super::error::ToolError;
use super::output::{say, say_secrets};
use super::table::{Cell, Format, Table};
use super::transport;
use crate::config::Settings;
use crate::proto::admin::{AdminResponse, Command, ListInvitations, NewInvitation, RevokeInvitation};

pub(super) fn run(settings: &Settings, command: InviteCommand) -> Result<(), ToolError> {
    let send = |command| transport::send(settings, command);
    match command {
        InviteCommand::New { note, hours, json } => {
            let answer = send(Command::NewInvitation(NewInvitation { note, hours, ..Default::default() }))?;
            if json {
                let code = Cell::text(&answer.invitation_code);
                return invitations(&answer).with_column("code", code).print(Format::Json);
            }
            say_secrets(&format!("An invitation, good once, for {hours} hours."), &answer)
        }
        InviteCommand::List { json } => {
            let answer = send(Command::ListInvitations(ListInvitations::new()))?;
            invitations(&answer).print(Format::from_json_flag(json))
        }
        InviteCommand::Revoke { id } => {
            send(Command::RevokeInvitation(RevokeInvitation { id, ..Default::default() }))?;
            say(&format!("Invitation {id} is taken back."))
        }
    }
}

fn invitations(answer: &AdminResponse) -> Table {
    let mut table = Table::new(&["id", "note", "created", "expires"]);
    for invitation in &answer.invitations {
        table.row(vec![
            Cell::Number(invitation.id),
            Cell::text(&invitation.note),
            Cell::timestamp(&invitation.created_at),
            Cell::timestamp(&invitation.expires_at),
        ]);
    }
    table
}
