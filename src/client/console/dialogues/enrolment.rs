//! Sets up a second factor: shows the picture and the key, and asks for the first code.

use std::io;

use crate::base::lang::Lang;
use crate::client::console::context::ConsoleContext;
use crate::client::console::dialogues::recovery::show_recovery_codes;
use crate::client::console::dialogues::retry::Retry;
use crate::client::console::dialogues::typed_code::ask_code;
use crate::client::console::terminal::prompt::DialogueStop;
use crate::client::console::text::enrolment;
use crate::client::console::text::sentence::Sentence;
use crate::client::types::CompletedSession;
use crate::qr::file::PictureFile;
use crate::qr::{self, Cells};
use crate::security::secret::SecretText;

/// The prompt needs one row below the picture.
const PROMPT_ROWS: usize = 1;

/// Why a second factor is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnrolmentPurpose {
    /// The account was just created.
    Registered,
    /// The account has no factor yet.
    First,
    /// The account lost its factor. The administrator gave a code, which is used up now.
    Reset,
    /// A recovery code was used.
    Recovery {
        /// How many codes are left, as the server said.
        left: u32,
    },
    /// The account replaces its factor.
    Replace,
}

impl EnrolmentPurpose {
    /// How to cancel.
    fn how_to_cancel(self) -> Sentence {
        match self {
            EnrolmentPurpose::Registered | EnrolmentPurpose::First => enrolment::ENROL_LEAVE,
            EnrolmentPurpose::Reset | EnrolmentPurpose::Recovery { .. } | EnrolmentPurpose::Replace => {
                enrolment::ENROL_LEAVE_ONLY
            }
        }
    }

    /// What success means.
    fn success(self) -> Sentence {
        match self {
            EnrolmentPurpose::Registered | EnrolmentPurpose::First | EnrolmentPurpose::Reset => enrolment::ENROLLED,
            EnrolmentPurpose::Recovery { .. } | EnrolmentPurpose::Replace => enrolment::REPLACED,
        }
    }

    /// What it means that nothing came of it.
    fn without_result(self, lang: Lang) -> String {
        match self {
            EnrolmentPurpose::Registered | EnrolmentPurpose::First => enrolment::ENROL_LEFT.text(lang).to_owned(),
            EnrolmentPurpose::Reset => enrolment::RESET_LEFT.text(lang).to_owned(),
            EnrolmentPurpose::Recovery { left } => enrolment::RECOVERY_LEFT.with(lang, &[&left.to_string()]),
            EnrolmentPurpose::Replace => enrolment::REPLACE_LEFT.text(lang).to_owned(),
        }
    }
}

/// Gets a secret for a session that needs enrolment, and has it confirmed.
///
/// # Errors
/// [`DialogueStop`], as with every dialogue.
pub fn enrol(
    cx: &mut ConsoleContext,
    login: &str,
    token: &SecretText,
    why: EnrolmentPurpose,
) -> Result<CompletedSession, DialogueStop> {
    match cx.account.link.init_otp(login, token, None) {
        Ok(uri) => confirm_enrolment(cx, login, token, &uri, why),
        Err(error) => {
            let why = cx.account.failure(&error, cx.lang());
            cx.front.complain_text(&why)?;
            Err(DialogueStop::Failed)
        }
    }
}

/// Shows a new secret and asks for its first code until the code is right or the person cancels. Tells the result, and shows
/// the recovery codes.
///
/// # Errors
/// [`DialogueStop`]. The person has been told of a cancelled enrolment.
pub fn confirm_enrolment(
    cx: &mut ConsoleContext,
    login: &str,
    token: &SecretText,
    uri: &SecretText,
    why: EnrolmentPurpose,
) -> Result<CompletedSession, DialogueStop> {
    let picture = show(cx, login, uri, why)?;
    let result = ask_first_code(cx, login, token, why);
    if let Err(DialogueStop::Terminal(error)) = result {
        return Err(error.into());
    }
    let told = match result {
        Ok(_) => why.success().text(cx.lang()).to_owned(),
        Err(_) => why.without_result(cx.lang()),
    };
    cx.front.screen().notice(&told)?;
    if let Some(picture) = picture {
        put_away(cx, picture)?;
    }
    match result {
        Ok(completed) => {
            show_recovery_codes(cx, &completed.notes.recovery_codes)?;
            Ok(completed)
        }
        Err(DialogueStop::Cancelled) => Err(DialogueStop::Failed),
        Err(stop) => Err(stop),
    }
}

fn ask_first_code(
    cx: &mut ConsoleContext,
    login: &str,
    token: &SecretText,
    why: EnrolmentPurpose,
) -> Result<CompletedSession, DialogueStop> {
    loop {
        let code = ask_code(&mut cx.front)?;
        let link = &cx.account.link;
        let confirm = || link.check_otp(login, token, &code);
        // A new factor ends the other sessions, and with them the one that is being renewed.
        let confirmed =
            if why == EnrolmentPurpose::Replace { confirm() } else { cx.account.current.expect_end(confirm) };
        match confirmed {
            Ok(completed) => return Ok(completed),
            Err(error) => {
                cx.account.warn_of_failure(&cx.front, &error)?;
                if Retry::after(&error) == Retry::Nothing {
                    return Err(DialogueStop::Failed);
                }
            }
        }
    }
}

/// Shows the secret in every form. The QR code comes last, right above the prompt; the rest may scroll away.
fn show(cx: &ConsoleContext, login: &str, uri: &SecretText, why: EnrolmentPurpose) -> io::Result<Option<PictureFile>> {
    cx.front.notice(enrolment::SCAN, &[])?;
    let picture = write_picture(cx, login, uri)?;
    if let Some(letters) = qr::secret_in_letters(uri.expose()) {
        cx.front.plain(enrolment::KEY, &[&letters])?;
    }
    if cx.front.is_interactive() {
        cx.front.plain(why.how_to_cancel(), &[])?;
    }
    if let Some(window) = cx.front.screen().window() {
        draw(cx, uri, window)?;
    }
    Ok(picture)
}

fn draw(cx: &ConsoleContext, uri: &SecretText, window: Cells) -> io::Result<()> {
    let space = Cells { rows: window.rows.saturating_sub(PROMPT_ROWS), ..window };
    match qr::terminal_picture(uri.expose(), space) {
        Ok(Ok(drawn)) => {
            if drawn.shortened {
                cx.front.notice(enrolment::NAME_SHORTENED, &[])?;
            }
            cx.front.screen().block(&drawn.rows)
        }
        Ok(Err(needed)) => {
            let (columns, rows) = (needed.columns.to_string(), (needed.rows + PROMPT_ROWS).to_string());
            cx.front.notice(enrolment::WINDOW_TOO_SMALL, &[&columns, &rows])
        }
        Err(error) => cx.front.warn(enrolment::NO_PICTURE, &[&error.to_string()]),
    }
}

/// Writes the picture. A failure does not stop the enrolment, because the key and the QR code remain.
fn write_picture(cx: &ConsoleContext, login: &str, uri: &SecretText) -> io::Result<Option<PictureFile>> {
    let settings = &cx.settings;
    let written = qr::png_picture(uri.expose())
        .map_err(io::Error::other)
        .and_then(|png| PictureFile::write(&settings.qr_dir, login, &png, settings.keep_qr));
    match written {
        Ok(picture) => {
            cx.front.plain(enrolment::PICTURE, &[&picture.path().display().to_string()])?;
            Ok(Some(picture))
        }
        Err(error) => {
            cx.front.warn(enrolment::NO_PICTURE, &[&error.to_string()])?;
            Ok(None)
        }
    }
}

fn put_away(cx: &ConsoleContext, picture: PictureFile) -> io::Result<()> {
    let path = picture.path().display().to_string();
    match picture.delete() {
        Ok(true) => cx.front.notice(enrolment::PICTURE_DELETED, &[]),
        Ok(false) => cx.front.notice(enrolment::PICTURE_KEPT, &[&path]),
        Err(error) => cx.front.warn(enrolment::PICTURE_UNDELETED, &[&path, &error.to_string()]),
    }
}
