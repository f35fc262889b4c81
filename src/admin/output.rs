//! Sentences on standard output.

use std::io::{self, Write};

use super::error::ToolError;
use crate::proto::admin::AdminResponse;

pub(super) fn say(text: &str) -> Result<(), ToolError> {
    Ok(writeln!(io::stdout(), "{text}")?)
}

/// Prints secrets that are shown only once, one a line, so that they are easy to pass on.
pub(super) fn say_secrets(done: &str, answer: &AdminResponse) -> Result<(), ToolError> {
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
