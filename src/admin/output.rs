//! Sentences on standard output.

use super::error::ToolError;
use crate::base::terminal::Output;
use crate::proto::admin::AdminResponse;

pub(super) fn say(text: &str) -> Result<(), ToolError> {
    Ok(Output::stdout().print_line(text)?)
}

/// Prints secrets that are shown only once, one a line, so that they are easy to pass on.
pub(super) fn say_secrets(done: &str, answer: &AdminResponse) -> Result<(), ToolError> {
    let out = Output::stdout();
    out.print_line(done)?;
    for (what, secret) in [
        ("Password", &answer.password),
        ("Enrolment code", &answer.enrolment_code),
        ("Invitation code", &answer.invitation_code),
    ] {
        if !secret.is_empty() {
            out.print_line(&format!("{what}: {secret}"))?;
        }
    }
    out.print_line("What is shown here is shown once: hand it over by a way that you trust.")?;
    Ok(())
}
