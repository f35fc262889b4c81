//! `otpchatd rotate-token-key`

use super::error::ToolError;
use super::output::say;
use super::transport;
use crate::config::Settings;
use crate::proto::admin::{Command, RotateTokenKey};

pub(super) fn rotate(settings: &Settings, now: bool) -> Result<(), ToolError> {
    let request = RotateTokenKey { now, ..Default::default() };
    match transport::send(settings, Command::RotateTokenKey(request))?.old_key_hours {
        0 => say("New tokens come under a new key; those under the old one are void."),
        hours => say(&format!("New tokens come under a new key; those under the old one are good for {hours} hours.")),
    }
}
