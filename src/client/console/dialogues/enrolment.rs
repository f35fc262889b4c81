//! Setting up a second factor: the picture, the key, and the first code.

use std::io;

use crate::base::lang::Lang;
use crate::client::console::Console;
use crate::client::console::terminal::prompt::{Again, Done, or_leave};
use crate::client::console::text::{self, Text};
use crate::client::types::CompletedSession;
use crate::qr::file::PictureFile;
use crate::qr::{self, Cells};
use crate::security::secret::SecretText;

/// The row of the prompt below the picture.
const PROMPT_ROWS: usize = 1;

/// Why a second factor is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client::console) enum Purpose {
    /// The account was just made.
    Registered,
    /// It has none yet.
    First,
    /// It lost its own, and the administrator gave a code, which is used up now.
    Reset,
    /// A recovery code was used; so many are left.
    Recovery {
        /// As the server said.
        left: u32,
    },
    /// There is one that is to be replaced.
    Replace,
}

impl Purpose {
    /// How to leave.
    fn leave(self) -> Text {
        match self {
            Purpose::Registered | Purpose::First => text::ENROL_LEAVE,
            Purpose::Reset | Purpose::Recovery { .. } | Purpose::Replace => text::ENROL_LEAVE_ONLY,
        }
    }

    fn done(self) -> Text {
        match self {
            Purpose::Registered | Purpose::First | Purpose::Reset => text::ENROLLED,
            Purpose::Recovery { .. } | Purpose::Replace => text::REPLACED,
        }
    }

    /// What it means that nothing came of it.
    fn left(self, lang: Lang) -> String {
        match self {
            Purpose::Registered | Purpose::First => text::ENROL_LEFT.say(lang).to_owned(),
            Purpose::Reset => text::RESET_LEFT.say(lang).to_owned(),
            Purpose::Recovery { left } => text::RECOVERY_LEFT.with(lang, &[&left.to_string()]),
            Purpose::Replace => text::REPLACE_LEFT.say(lang).to_owned(),
        }
    }
}

impl Console {
    /// Gets a new secret for a session that needs one, and has it confirmed.
    pub(in crate::client::console) fn enrol(
        &mut self,
        login: &str,
        token: &SecretText,
        why: Purpose,
    ) -> io::Result<Done<CompletedSession>> {
        match self.link.init_otp(login, token, None) {
            Ok(uri) => self.confirm_enrolment(login, token, &uri, why),
            Err(error) => {
                self.complain(&self.failure(&error))?;
                Ok(Done::Failed)
            }
        }
    }

    /// Shows a new secret and asks for its first code until that is right, or the person leaves. What comes of it is said,
    /// and the recovery codes are shown.
    pub(in crate::client::console) fn confirm_enrolment(
        &mut self,
        login: &str,
        token: &SecretText,
        uri: &SecretText,
        why: Purpose,
    ) -> io::Result<Done<CompletedSession>> {
        let picture = self.show(login, uri, why)?;
        let done = self.first_code(login, token, why)?;
        let words = match done {
            Done::With(_) => why.done().say(self.lang).to_owned(),
            _ => why.left(self.lang),
        };
        self.screen.notice(&words)?;
        if let Some(picture) = picture {
            self.put_away(picture)?;
        }
        if let Done::With(completed) = &done {
            self.show_recovery_codes(&completed.notes.recovery_codes)?;
        }
        // What was left has just been said.
        Ok(if matches!(done, Done::Left) { Done::Failed } else { done })
    }

    fn first_code(&mut self, login: &str, token: &SecretText, why: Purpose) -> io::Result<Done<CompletedSession>> {
        loop {
            let code = or_leave!(self.ask_code(text::ASK_CODE)?);
            let confirm = || self.link.check_otp(login, token, &code);
            // A new factor ends the other sessions: the one that is just being renewed among them.
            let confirmed = if why == Purpose::Replace { confirm() } else { self.presence.expect_end(confirm) };
            match confirmed {
                Ok(completed) => return Ok(Done::With(completed)),
                Err(error) => {
                    self.say_failure(&error)?;
                    if Again::after(&error) == Again::No {
                        return Ok(Done::Failed);
                    }
                }
            }
        }
    }

    /// Shows the secret in every form: first what may scroll away, the QR code last, right above the prompt.
    fn show(&mut self, login: &str, uri: &SecretText, why: Purpose) -> io::Result<Option<PictureFile>> {
        self.screen.notice(text::SCAN.say(self.lang))?;
        let picture = self.write_picture(login, uri)?;
        if let Some(letters) = qr::secret_in_letters(uri.expose()) {
            self.screen.raw(&text::KEY.with(self.lang, &[&letters]))?;
        }
        if self.input.is_interactive() {
            self.screen.raw(why.leave().say(self.lang))?;
        }
        if let Some(window) = self.screen.window() {
            let room = Cells { rows: window.rows.saturating_sub(PROMPT_ROWS), ..window };
            match qr::terminal_picture(uri.expose(), room) {
                Ok(Ok(drawn)) => {
                    if drawn.shortened {
                        self.screen.notice(text::NAME_SHORTENED.say(self.lang))?;
                    }
                    self.screen.raw(&drawn.rows)?;
                }
                Ok(Err(needed)) => {
                    let (columns, rows) = (needed.columns.to_string(), (needed.rows + PROMPT_ROWS).to_string());
                    self.screen.notice(&text::WINDOW_TOO_SMALL.with(self.lang, &[&columns, &rows]))?;
                }
                Err(error) => self.screen.error(&text::NO_PICTURE.with(self.lang, &[&error.to_string()]))?,
            }
        }
        Ok(picture)
    }

    /// A picture that cannot be written is no reason to stop: there are two other ways.
    fn write_picture(&self, login: &str, uri: &SecretText) -> io::Result<Option<PictureFile>> {
        let written = qr::png_picture(uri.expose())
            .map_err(io::Error::other)
            .and_then(|png| PictureFile::write(&self.args.qr_dir, login, &png, self.args.keep_qr));
        match written {
            Ok(picture) => {
                let path = picture.path().display().to_string();
                self.screen.raw(&text::PICTURE.with(self.lang, &[&path]))?;
                Ok(Some(picture))
            }
            Err(error) => {
                self.screen.error(&text::NO_PICTURE.with(self.lang, &[&error.to_string()]))?;
                Ok(None)
            }
        }
    }

    fn put_away(&self, picture: PictureFile) -> io::Result<()> {
        let path = picture.path().display().to_string();
        match picture.delete() {
            Ok(true) => self.screen.notice(text::PICTURE_DELETED.say(self.lang)),
            Ok(false) => self.screen.notice(&text::PICTURE_KEPT.with(self.lang, &[&path])),
            Err(error) => self.screen.error(&text::PICTURE_UNDELETED.with(self.lang, &[&path, &error.to_string()])),
        }
    }
}
