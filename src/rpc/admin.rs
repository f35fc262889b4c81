//! `Admin`: the administrator at the machine.

use super::caller::Incoming;
use super::shared::Shared;
use crate::app::refusal::Error;
use crate::proto::admin::{AdminRequest, AdminResponse};

pub(super) fn run(shared: &Shared, _: Incoming, request: AdminRequest) -> Result<AdminResponse, Error> {
    shared.app.administrate(request)
}
