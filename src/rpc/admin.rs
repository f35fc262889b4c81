//! `Admin`: the administrator at the machine.

use super::caller::Incoming;
use super::dispatch::Lane;
use super::shared::Shared;
use crate::app::refusal::Error;
use crate::proto::admin::{AdminRequest, AdminResponse, Command};

pub(super) fn run(shared: &Shared, _: Incoming, request: AdminRequest) -> Result<AdminResponse, Error> {
    shared.app.administrate(request)
}

/// Only a command that sets a password queues behind the logins of strangers.
pub(super) fn run_lane(request: &AdminRequest) -> Lane {
    match request.command {
        Some(Command::AddUser(_) | Command::ResetPassword(_)) => Lane::Hash,
        _ => Lane::Work,
    }
}
