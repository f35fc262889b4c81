//! Why a call was refused: one row for each reason, with the stable word that programs read, the status of a failed call, the
//! level of the log, and the sentences that people read.
//!
//! The words travel in the `reason` field of the Auth and Otp responses and in `ErrorInfo.reason` of failed calls. Once
//! released, a word keeps its meaning and its status. Server, console and documentation all read this table; `app::refusal`
//! has what only the server knows of a refusal (field, time to wait, a sentence with figures).

use std::fmt;

use log::Level;

use crate::base::lang::Lang;

/// The status of a failed call: the codes of gRPC that we use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallStatus {
    /// `UNAUTHENTICATED`
    Unauthenticated,
    /// `PERMISSION_DENIED`
    PermissionDenied,
    /// `INVALID_ARGUMENT`
    InvalidArgument,
    /// `NOT_FOUND`
    NotFound,
    /// `ALREADY_EXISTS`
    AlreadyExists,
    /// `FAILED_PRECONDITION`
    FailedPrecondition,
    /// `RESOURCE_EXHAUSTED`
    ResourceExhausted,
    /// `UNAVAILABLE`
    Unavailable,
    /// `INTERNAL`
    Internal,
}

impl CallStatus {
    /// The name of the code.
    pub const fn name(self) -> &'static str {
        match self {
            CallStatus::Unauthenticated => "UNAUTHENTICATED",
            CallStatus::PermissionDenied => "PERMISSION_DENIED",
            CallStatus::InvalidArgument => "INVALID_ARGUMENT",
            CallStatus::NotFound => "NOT_FOUND",
            CallStatus::AlreadyExists => "ALREADY_EXISTS",
            CallStatus::FailedPrecondition => "FAILED_PRECONDITION",
            CallStatus::ResourceExhausted => "RESOURCE_EXHAUSTED",
            CallStatus::Unavailable => "UNAVAILABLE",
            CallStatus::Internal => "INTERNAL",
        }
    }
}

macro_rules! reasons {
    ($( $(#[$doc:meta])* $name:ident = $word:literal, $status:ident, $level:ident, $en:literal, $ru:literal; )+) => {
        /// Why a call was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $( $(#[$doc])* $name, )+ }

        impl Reason {
            /// Every reason there is, in the order of the table.
            pub const ALL: &[Reason] = &[$(Reason::$name),+];

            /// The stable word, upper snake case.
            pub const fn word(self) -> &'static str {
                match self { $(Reason::$name => $word,)+ }
            }

            /// The status of a call that fails for this reason. (The calls of the predecessor answer in the response instead.)
            pub const fn status(self) -> CallStatus {
                match self { $(Reason::$name => CallStatus::$status,)+ }
            }

            /// The level at which the refusal is logged.
            pub const fn level(self) -> Level {
                match self { $(Reason::$name => Level::$level,)+ }
            }

            /// A sentence that says what to do, without figures (the server's own sentence has them).
            pub const fn sentence(self, lang: Lang) -> &'static str {
                match (self, lang) { $( (Reason::$name, Lang::En) => $en, (Reason::$name, Lang::Ru) => $ru, )+ }
            }
        }
    };
}

reasons! {
    /// The login is already in use, or looks like one that is.
    LoginTaken = "LOGIN_TAKEN", AlreadyExists, Info,
        "This login, or one that looks like it, is taken: choose another.",
        "Этот логин (или похожий на вид) уже занят: выберите другой.";
    /// The login breaks a rule.
    LoginInvalid = "LOGIN_INVALID", InvalidArgument, Info,
        "A login is 2 to 32 letters, digits, '_', '.' or '-': choose another.",
        "Логин — от 2 до 32 букв, цифр, знаков «_», «.» или «-»: выберите другой.";
    /// The password is too short, too long, common, or the login itself.
    WeakPassword = "WEAK_PASSWORD", InvalidArgument, Info,
        "The password is too short, too long, too common or the login itself: choose another.",
        "Пароль слишком короткий, слишком длинный, слишком распространённый или совпадает с логином: выберите другой.";
    /// Login, password or code is wrong; which one is not said. A session that the call came with stays as good as before.
    InvalidCredentials = "INVALID_CREDENTIALS", PermissionDenied, Warn,
        "Login, password or code is wrong: check them and try again.",
        "Неверный логин, пароль или код: проверьте и попробуйте ещё раз.";
    /// The code is wrong, or the session it was meant for is not there.
    InvalidCode = "INVALID_CODE", PermissionDenied, Warn,
        "The code is wrong: look at the authenticator and try the current one.",
        "Неверный код: посмотрите текущий код в приложении и попробуйте ещё раз.";
    /// The code was right, but has been used before.
    CodeAlreadyUsed = "CODE_ALREADY_USED", PermissionDenied, Warn,
        "This code has been used: wait for the next one.",
        "Этот код уже использован: дождитесь следующего.";
    /// Too many tries in too short a time.
    Throttled = "THROTTLED", ResourceExhausted, Warn,
        "Too many tries: wait a moment and try again.",
        "Слишком много попыток: подождите немного и попробуйте снова.";
    /// The account's budget of wrong codes is used up.
    GuessesSpent = "GUESSES_SPENT", ResourceExhausted, Warn,
        "There were too many wrong codes for this account: log in with a recovery code, or ask the administrator.",
        "Слишком много неверных кодов для этой учётной записи: войдите с резервным кодом или обратитесь к администратору.";
    /// The administrator locked the account.
    AccountLocked = "ACCOUNT_LOCKED", PermissionDenied, Warn,
        "This account is locked: ask the administrator.",
        "Эта учётная запись заблокирована: обратитесь к администратору.";
    /// Registration needs an invitation.
    InviteRequired = "INVITE_REQUIRED", PermissionDenied, Info,
        "Registration is by invitation here: ask the administrator for a code.",
        "Здесь регистрируются по приглашению: попросите код у администратора.";
    /// The invitation is not known, was used, or has expired.
    InviteInvalid = "INVITE_INVALID", PermissionDenied, Warn,
        "This invitation is wrong, has been used or has expired: ask the administrator for a new one.",
        "Приглашение неверно, уже использовано или устарело: попросите у администратора новое.";
    /// Registration is closed.
    RegistrationClosed = "REGISTRATION_CLOSED", PermissionDenied, Info,
        "Registration is closed here: ask the administrator for an account.",
        "Регистрация здесь закрыта: попросите учётную запись у администратора.";
    /// There is no such session of this account.
    SessionNotFound = "SESSION_NOT_FOUND", NotFound, Info,
        "There is no such session: list them again.",
        "Такого сеанса нет: посмотрите список ещё раз.";
    /// There is no such account; only the administrator is told so.
    UserNotFound = "USER_NOT_FOUND", NotFound, Info,
        "There is no such account: look at `otpchatd user list`.",
        "Такой учётной записи нет: посмотрите `otpchatd user list`.";
    /// There is no such invitation.
    InvitationNotFound = "INVITATION_NOT_FOUND", NotFound, Info,
        "There is no such invitation: look at `otpchatd invite list`.",
        "Такого приглашения нет: посмотрите `otpchatd invite list`.";
    /// The server's key is not its own to replace.
    KeyHandedIn = "KEY_HANDED_IN", FailedPrecondition, Info,
        "The key is handed in from outside: replace it where it comes from, and start the server again.",
        "Ключ передан серверу извне: замените его там, откуда он берётся, и перезапустите сервер.";
    /// The server's key was replaced a short while ago.
    KeyRotatedLately = "KEY_ROTATED_LATELY", FailedPrecondition, Info,
        "The key was replaced a short while ago: wait, or void the tokens under the last one at once with --now.",
        "Ключ недавно заменён: подождите или сразу отмените токены под прежним ключом с помощью --now.";
    /// A field that the call needs is missing or makes no sense.
    RequestInvalid = "REQUEST_INVALID", InvalidArgument, Info,
        "The request is incomplete: update the client.",
        "Запрос неполон: обновите клиент.";
    /// The account lost its second factor and waits for the administrator.
    EnrolmentCodeRequired = "ENROLMENT_CODE_REQUIRED", FailedPrecondition, Info,
        "This account has no second factor and waits for the administrator: ask for an enrolment code.",
        "У этой учётной записи нет второго фактора, она ждёт администратора: попросите у него код привязки.";
    /// There is no second factor to confirm.
    EnrolmentNotStarted = "ENROLMENT_NOT_STARTED", FailedPrecondition, Info,
        "No second factor has been set up for this account yet: set it up first, then give its code.",
        "Для этой учётной записи второй фактор ещё не настроен: сначала настройте его, затем введите код.";
    /// This caller may not start an enrolment.
    EnrolmentRefused = "ENROLMENT_REFUSED", PermissionDenied, Warn,
        "The second factor cannot be set up from here: log in first.",
        "Второй фактор отсюда настроить нельзя: сначала войдите.";
    /// The second factor was replaced while this enrolment went on.
    EnrolmentOvertaken = "ENROLMENT_OVERTAKEN", FailedPrecondition, Info,
        "The second factor was set up elsewhere in the meantime: log in again.",
        "Второй фактор тем временем настроен в другом месте: войдите снова.";
    /// No `token` metadata.
    TokenMissing = "TOKEN_MISSING", Unauthenticated, Info,
        "You are not logged in: log in first.",
        "Вы не вошли: сначала войдите.";
    /// The token is not one of this server's, or there are several.
    TokenInvalid = "TOKEN_INVALID", Unauthenticated, Info,
        "The session is not valid: log in again.",
        "Сеанс недействителен: войдите снова.";
    /// The session has expired or was ended.
    SessionEnded = "SESSION_ENDED", Unauthenticated, Info,
        "The session has ended: log in again.",
        "Сеанс завершён: войдите снова.";
    /// The session has not passed its second factor.
    SecondFactorMissing = "SECOND_FACTOR_MISSING", Unauthenticated, Info,
        "The second factor is still missing: give the code first.",
        "Не хватает второго фактора: сначала введите код.";
    /// `author` names another person.
    AuthorMismatch = "AUTHOR_MISMATCH", PermissionDenied, Warn,
        "You can write in your own name only.",
        "Писать можно только от своего имени.";
    /// The text breaks a rule.
    TextInvalid = "TEXT_INVALID", InvalidArgument, Info,
        "The message is empty or blank, too long, has too many lines, or holds control characters: change it and send it \
         again.",
        "Сообщение пустое или из одних пробелов, слишком длинное, в нём слишком много строк или управляющие символы: измените \
         его и отправьте снова.";
    /// The cursor is beyond everything there is.
    CursorInFuture = "CURSOR_IN_FUTURE", InvalidArgument, Info,
        "The cursor is beyond the last message: begin without one.",
        "Указатель дальше последнего сообщения: начните без него.";
    /// The sender's own id of a message breaks a rule.
    ClientIdInvalid = "CLIENT_ID_INVALID", InvalidArgument, Info,
        "The message's own id is too long or holds control characters: update the client.",
        "Собственный номер сообщения слишком длинный или содержит управляющие символы: обновите клиент.";
    /// This person sends messages faster than the rate allows, and enough of them wait already.
    MessageRate = "MESSAGE_RATE", ResourceExhausted, Warn,
        "You send messages too fast: wait a moment, then send this one again.",
        "Вы отправляете сообщения слишком быстро: подождите немного и отправьте ещё раз.";
    /// The caller has as many calls under way as it may have.
    TooManyCalls = "TOO_MANY_CALLS", ResourceExhausted, Warn,
        "Too many calls are under way: wait for their answers, then try again.",
        "Слишком много вызовов выполняется одновременно: дождитесь ответов и повторите.";
    /// This user, or all users together, have as many streams open as are allowed.
    TooManyStreams = "TOO_MANY_STREAMS", ResourceExhausted, Warn,
        "Too many streams are open: close another client and try again.",
        "Открыто слишком много потоков: закройте другой клиент и попробуйте снова.";
    /// The client did not read its stream for too long.
    StreamStalled = "STREAM_STALLED", ResourceExhausted, Info,
        "The stream was not read for too long: open it again.",
        "Поток слишком долго не читали: откройте его снова.";
    /// A queue is full.
    Overloaded = "OVERLOADED", Unavailable, Warn,
        "The server is busy: try again in a moment.",
        "Сервер перегружен: попробуйте чуть позже.";
    /// The server is stopping.
    Draining = "DRAINING", Unavailable, Info,
        "The server is stopping: try again in a moment.",
        "Сервер останавливается: попробуйте чуть позже.";
    /// Nothing could be written to disk.
    StorageFailed = "STORAGE_FAILED", Unavailable, Error,
        "The server could not store this: try again later, and tell the administrator.",
        "Сервер не смог это сохранить: попробуйте позже и сообщите администратору.";
    /// A fault of the server; the message names an incident id.
    Internal = "INTERNAL", Internal, Error,
        "Something went wrong on the server: tell the administrator the incident id.",
        "На сервере что-то сломалось: сообщите администратору номер инцидента.";
}

impl Reason {
    /// Whether a session that is refused for this reason is of no more use: only logging in again helps.
    pub fn ends_session(self) -> bool {
        self.status() == CallStatus::Unauthenticated
    }

    /// The reason that a word from the wire stands for; `None` for a word that we do not know.
    pub fn from_word(word: &str) -> Option<Reason> {
        Reason::ALL.iter().copied().find(|reason| reason.word() == word)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_upper_snake_case_and_finds_its_way_back() {
        for &reason in Reason::ALL {
            assert!(reason.word().bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{reason}");
            assert_eq!(Reason::from_word(reason.word()), Some(reason));
        }
        assert_eq!(Reason::from_word("SOMETHING_NEWER"), None);
    }
    #[test]
    fn every_sentence_begins_with_a_capital_letter_and_ends_with_a_full_stop() {
        for &reason in Reason::ALL {
            for lang in [Lang::En, Lang::Ru] {
                let sentence = reason.sentence(lang);
                assert!(sentence.starts_with(char::is_uppercase) && sentence.ends_with('.'), "{reason}: {sentence}");
            }
        }
    }

    #[test]
    fn a_wrong_password_or_code_does_not_end_a_session() {
        for &reason in Reason::ALL {
            let ends = ["TOKEN_MISSING", "TOKEN_INVALID", "SESSION_ENDED", "SECOND_FACTOR_MISSING"];
            assert_eq!(reason.ends_session(), ends.contains(&reason.word()), "{reason}");
        }
    }
}
