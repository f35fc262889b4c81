//! Setting up a second factor: the picture, the key, and the first code.

use std::io;

use crate::client::console::Console;
use crate::client::console::dialogue::{Done, may_try_another_code};
use crate::client::link::Completed;
use crate::client::text;
use crate::qr::file::PictureFile;
use crate::qr::{self, Cells};
use crate::security::secret::SecretText;

/// The row of the prompt below the picture.
const PROMPT_ROWS: usize = 1;

impl Console {
    /// Shows a new secret and asks for its first code until that is right, or the person leaves.
    pub(super) fn enrol(&mut self, login: &str, token: &SecretText) -> io::Result<Done<Completed>> {
        let uri = match self.link.init_otp(login, token) {
            Ok(uri) => uri,
            Err(error) => {
                self.complain(&self.failure(&error))?;
                return Ok(Done::Failed);
            }
        };
        let picture = self.show(login, &uri)?;
        let done = loop {
            match self.ask_code()? {
                Done::With(code) => match self.link.check_otp(login, token, &code) {
                    Ok(completed) => break Done::With(completed),
                    Err(error) => {
                        self.say_failure(&error)?;
                        if !may_try_another_code(&error) {
                            break Done::Failed;
                        }
                    }
                },
                Done::Left => break Done::Left,
                Done::Failed => break Done::Failed,
                Done::End => break Done::End,
            }
        };
        let words = if matches!(done, Done::With(_)) { text::ENROLLED } else { text::ENROL_LEFT };
        self.screen.notice(words.say(self.lang))?;
        if let Some(picture) = picture {
            self.put_away(picture)?;
        }
        // What was left has just been said.
        Ok(if matches!(done, Done::Left) { Done::Failed } else { done })
    }

    /// Shows the secret in every form: first what may scroll away, the QR code last, right above the prompt.
    fn show(&mut self, login: &str, uri: &SecretText) -> io::Result<Option<PictureFile>> {
        self.screen.notice(text::SCAN.say(self.lang))?;
        let picture = self.write_picture(login, uri)?;
        if let Some(letters) = qr::secret_in_letters(uri.expose()) {
            self.screen.raw(&text::KEY.with(self.lang, &[&letters]))?;
        }
        if self.input.is_interactive() {
            self.screen.raw(text::ENROL_LEAVE.say(self.lang))?;
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
