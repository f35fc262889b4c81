//! Everything the console says, in both languages.

use crate::client::error::{CallError, Refusal};
use crate::escape::one_line;
use crate::lang::Lang;
use crate::reason::Reason;

/// A sentence in both languages.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    en: &'static str,
    ru: &'static str,
}

impl Text {
    /// The sentence in one of them.
    pub const fn say(self, lang: Lang) -> &'static str {
        match lang {
            Lang::En => self.en,
            Lang::Ru => self.ru,
        }
    }

    /// The sentence with each `{}` replaced by the next of `values`.
    pub fn with(self, lang: Lang, values: &[&str]) -> String {
        let mut values = values.iter();
        let mut said = String::new();
        for (number, part) in self.say(lang).split("{}").enumerate() {
            if number > 0 {
                said.push_str(values.next().copied().unwrap_or_default());
            }
            said.push_str(part);
        }
        said
    }
}

macro_rules! texts {
    ($( $(#[$doc:meta])* $name:ident = $en:literal, $ru:literal; )+) => {
        $( $(#[$doc])* pub const $name: Text = Text { en: $en, ru: $ru }; )+

        #[cfg(test)]
        const ALL: &[Text] = &[$($name),+];
    };
}

texts! {
    /// Asks for a login. The Russian prompts are the predecessor's.
    ASK_LOGIN = "Login: > ", "Логин: > ";
    /// Asks for a password.
    ASK_PASSWORD = "Password: > ", "Пароль: > ";
    /// Asks for a new password a second time.
    ASK_PASSWORD_AGAIN = "Password again: > ", "Пароль ещё раз: > ";
    /// Asks for a code.
    ASK_CODE = "OTP code: > ", "OTP код: > ";

    /// The first line. Server.
    WELCOME = "otpchat, server {}. Type /register, /login or /help.", "otpchat, сервер {}. Команды: /register, /login, /help.";
    /// All the commands.
    HELP = "/register  create an account and set up its second factor\n\
            /login     log in; once logged in: renew the session\n\
            /logout    end the session\n\
            /whoami    login, server, and when the session ends\n\
            /quit      leave (also Ctrl-D)\n\
            Anything else is said to everybody, once you are logged in; // at the start says a single /.",
           "/register  создать учётную запись и настроить второй фактор\n\
            /login     войти; если вы уже вошли — продлить сеанс\n\
            /logout    завершить сеанс\n\
            /whoami    логин, сервер и время окончания сеанса\n\
            /quit      выйти (или Ctrl-D)\n\
            Всё остальное после входа отправляется всем; // в начале строки отправит одну /.";
    /// No such command.
    UNKNOWN_COMMAND = "There is no such command, nothing was sent. /help shows them all; start with // to say a slash.",
        "Такой команды нет, ничего не отправлено. Список: /help; чтобы отправить косую черту, начните строку с //.";
    /// A command with something after it. Command.
    NO_ARGUMENTS = "{} takes nothing after it, nothing was done.", "У команды {} нет параметров, ничего не сделано.";

    /// Said something before logging in.
    LOG_IN_FIRST = "You are not logged in: /login, or /register for a new account.",
        "Вы не вошли: /login, а для новой учётной записи — /register.";
    /// Registering while logged in. Login.
    LOG_OUT_FIRST = "You are logged in as {}: /logout first.", "Вы вошли как {}: сначала /logout.";
    /// The two new passwords differ.
    PASSWORDS_DIFFER = "The two passwords differ: try again.", "Пароли не совпадают: попробуйте ещё раз.";
    /// A dialogue was left.
    CANCELLED = "Cancelled.", "Отменено.";
    /// Registration done. Login.
    REGISTERED = "The account {} is there. Now its second factor.", "Учётная запись {} создана. Теперь второй фактор.";
    /// Registered, but not logged in.
    REGISTERED_ONLY = "The account is there, its second factor is not: /login goes on with it. \
                       Without a second factor it is deleted after 24 hours.",
        "Учётная запись создана, но второй фактор не настроен: продолжить можно командой /login. \
         Без второго фактора она удаляется через 24 часа.";
    /// Enrolling at login.
    NO_FACTOR_YET = "This account has no second factor yet: set it up now.",
        "У этой учётной записи ещё нет второго фактора: настроим его сейчас.";
    /// Over the QR code.
    SCAN = "Scan this with Google Authenticator or another TOTP app, or type the key by hand, then give the code it shows.",
        "Отсканируйте код приложением Google Authenticator (или другим TOTP) либо введите ключ вручную, \
         затем введите код, который оно покажет.";
    /// The secret. Letters.
    KEY = "Key: {}", "Ключ: {}";
    /// The picture on disk. Path.
    PICTURE = "Picture: {}", "Картинка: {}";
    /// The picture on disk could not be written. Cause.
    NO_PICTURE = "The picture could not be written: {}", "Картинку записать не удалось: {}";
    /// The window is too small. Columns, rows.
    WINDOW_TOO_SMALL = "The QR code needs a window of {} columns and {} rows: use the picture or the key instead.",
        "Для QR-кода нужно окно {}×{} (столбцы × строки): возьмите картинку или ключ.";
    /// The name in the QR code is cut.
    NAME_SHORTENED = "To fit this window the QR code has only the beginning of your login; it is whole in the picture.",
        "Чтобы поместиться в окно, QR-код содержит только начало логина; полностью он есть на картинке.";
    /// How to leave the enrolment.
    ENROL_LEAVE = "(an empty line leaves; /login continues later)", "(пустая строка — прервать; продолжить позже: /login)";
    /// Enrolment left.
    ENROL_LEFT = "The second factor is not set up: /login continues, with a new QR code.",
        "Второй фактор не настроен: продолжить можно командой /login, код будет новым.";
    /// Enrolment done.
    ENROLLED = "The second factor is set up. From now on every login asks for a code.",
        "Второй фактор настроен. Теперь при каждом входе нужен код.";
    /// The picture was deleted.
    PICTURE_DELETED = "The picture has been deleted.", "Картинка удалена.";
    /// The picture was kept. Path.
    PICTURE_KEPT = "The picture stays: {}. Whoever sees it can make your codes.",
        "Картинка осталась: {}. Кто её увидит, сможет получать ваши коды.";
    /// The picture could not be deleted. Path, cause.
    PICTURE_UNDELETED = "The picture {} could not be deleted ({}): delete it yourself.",
        "Картинку {} удалить не удалось ({}): удалите её сами.";
    /// Logged in. Login, time.
    LOGGED_IN = "You are logged in as {}; the session ends {}.", "Вы вошли как {}; сеанс закончится {}.";
    /// Logged in, end unknown. Login.
    LOGGED_IN_OPEN = "You are logged in as {}.", "Вы вошли как {}.";
    /// Too many wrong codes.
    NOT_LOGGED_IN = "Not logged in.", "Вход не выполнен.";
    /// Renewing the session. Login.
    RENEWING = "Renewing the session of {}: password and code, please.", "Продление сеанса {}: введите пароль и код.";
    /// Still the old session.
    STILL_OLD = "The session you have goes on.", "Прежний сеанс продолжается.";
    /// Logged out. Login.
    LOGGED_OUT = "{} is logged out.", "Сеанс {} завершён.";
    /// Logged out here only.
    LOGGED_OUT_HERE = "Logged out here, but the server does not know of it; there the session ends by itself.",
        "Выход выполнен только здесь: серверу сообщить не удалось, там сеанс закончится сам.";
    /// Who am I. Login, server, time, hours, minutes.
    WHOAMI = "{} at {}; the session ends {} (in {} h {} min).", "{} на {}; сеанс закончится {} (через {} ч {} мин).";
    /// Who am I, end unknown. Login, server.
    WHOAMI_OPEN = "{} at {}.", "{} на {}.";
    /// Not anybody. Server.
    WHOAMI_NOBODY = "Not logged in; server {}.", "Вход не выполнен; сервер {}.";

    /// The stream was lost. Cause.
    LOST = "The connection is lost ({}). Reconnecting…", "Связь потеряна ({}). Переподключаюсь…";
    /// The stream is back.
    BACK = "Connected again, the session goes on. What was said in between is not shown.",
        "Связь восстановлена, сеанс продолжается. Сказанное за это время не показано.";
    /// Not the stream, but the session has gone. Cause.
    SESSION_OVER = "{} Type /login.", "{} Наберите /login.";
    /// The session is nearly over. Time.
    SESSION_ENDING = "The session ends {}: /login renews it with password and code, and you keep your place.",
        "Сеанс закончится {}: /login продлит его по паролю и коду, из чата вы не выйдете.";
    /// Certainly not sent. Cause.
    SENT_NOT = "Not sent, the line is kept: {}", "Не отправлено, строка сохранена: {}";
    /// Perhaps sent.
    SENT_PERHAPS = "No answer came: the message may have arrived or not. The line is kept; look before you send it again.",
        "Ответа нет: сообщение могло дойти, а могло и нет. Строка сохранена; проверьте, прежде чем отправлять снова.";

    /// No connection. Server.
    UNREACHABLE = "The server {} cannot be reached: is it running, and is the address right?",
        "Сервер {} недоступен: запущен ли он и верен ли адрес?";
    /// The same in few words.
    UNREACHABLE_SHORT = "the server cannot be reached", "сервер недоступен";
    /// No answer.
    NO_ANSWER = "The server did not answer in time: try again.", "Сервер не ответил вовремя: попробуйте ещё раз.";
    /// The same in few words.
    NO_ANSWER_SHORT = "it broke off", "соединение прервалось";
    /// The server said that it stops.
    STOPPING_SHORT = "the server is stopping", "сервер останавливается";
    /// A refusal this client has no words for. The server's sentence.
    SERVER_SAYS = "The server says: {}", "Ответ сервера: {}";
    /// A refusal without any words.
    REFUSED = "The server refuses.", "Сервер отказал.";
    /// A line longer than the bound. Bytes.
    LINE_TOO_LONG = "The line is longer than {} bytes, nothing was sent.", "Строка длиннее {} байт, ничего не отправлено.";
    /// No UTF-8.
    NOT_TEXT = "The line is not UTF-8, nothing was sent.", "Строка не в UTF-8, ничего не отправлено.";
    /// An address that would see the password. Server, address, flag.
    EXPOSED = "{} is {}, not this machine: password and code would cross the network in the clear. \
               Use a tunnel (ssh -L 50051:localhost:50051 HOST), or accept that with {}.",
        "{} — это {}, не эта машина: пароль и код прошли бы по сети открытым текстом. \
         Используйте туннель (ssh -L 50051:localhost:50051 УЗЕЛ) или согласитесь на это флагом {}.";
    /// A name without address. Server, cause.
    UNKNOWN_SERVER = "The address of {} cannot be found: {}", "Не удалось найти адрес {}: {}";
    /// The password crosses the network.
    EXPOSED_ANYWAY = "WARNING: password, code and messages cross the network in the clear.",
        "ВНИМАНИЕ: пароль, код и сообщения идут по сети открытым текстом.";
}

/// Why a call failed, as a sentence for the person who made it. `server` is where it went.
pub fn failure(error: &CallError, server: &str, lang: Lang) -> String {
    match error {
        CallError::Unreachable => UNREACHABLE.with(lang, &[server]),
        CallError::NoAnswer => NO_ANSWER.say(lang).to_owned(),
        CallError::Refused(refusal) => self::refusal(refusal, lang),
    }
}

/// Why the stream was lost, in few words.
pub fn loss(error: &CallError, lang: Lang) -> String {
    match error {
        CallError::Unreachable => UNREACHABLE_SHORT.say(lang).to_owned(),
        CallError::NoAnswer => NO_ANSWER_SHORT.say(lang).to_owned(),
        CallError::Refused(refusal) if refusal.reason == Some(Reason::Draining) => STOPPING_SHORT.say(lang).to_owned(),
        CallError::Refused(refusal) => self::refusal(refusal, lang).trim_end_matches('.').to_owned(),
    }
}

/// A refusal as a sentence: our own where we know the reason, the server's where we do not or where only that has the
/// figures. What the server says is escaped.
pub fn refusal(refusal: &Refusal, lang: Lang) -> String {
    let theirs = one_line(&refusal.sentence);
    match refusal.reason {
        Some(Reason::Internal) if !theirs.is_empty() => {
            format!("{} {}", Reason::Internal.sentence(lang), SERVER_SAYS.with(lang, &[&theirs]))
        }
        Some(reason) => reason.sentence(lang).to_owned(),
        None if refusal.ends_session => Reason::SessionEnded.sentence(lang).to_owned(),
        None if !theirs.is_empty() => SERVER_SAYS.with(lang, &[&theirs]),
        None => REFUSED.say(lang).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_languages_have_the_same_blanks_to_fill() {
        for text in ALL {
            assert_eq!(text.en.matches("{}").count(), text.ru.matches("{}").count(), "{}", text.en);
            assert_eq!(text.en.lines().count(), text.ru.lines().count(), "{}", text.en);
        }
        assert_eq!(PICTURE.with(Lang::En, &["{}"]), "Picture: {}", "a value is not a template");
    }

    #[test]
    fn the_russian_prompts_are_the_predecessors() {
        let prompts = [ASK_LOGIN, ASK_PASSWORD, ASK_CODE].map(|prompt| prompt.say(Lang::Ru));
        assert_eq!(prompts, ["Логин: > ", "Пароль: > ", "OTP код: > "]);
    }

    #[test]
    fn what_the_server_says_is_escaped_and_used_where_we_have_no_words() {
        let said = |word: &str, sentence: &str| refusal(&Refusal::in_response(word, sentence), Lang::En);
        assert_eq!(said("INVALID_CODE", "\x1b[2J"), Reason::InvalidCode.sentence(Lang::En));
        assert_eq!(said("SOMETHING_NEWER", "wait\n\x1b[2J"), "The server says: wait\\u{a}\\u{1b}[2J");
        assert!(said("INTERNAL", "incident 7").ends_with("The server says: incident 7"));
        assert_eq!(said("", ""), "The server refuses.");
    }
}
