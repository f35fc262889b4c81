//! Everything the console says, in both languages.

use std::time::Duration;

use crate::base::duration_words;
use crate::base::escape::one_line;
use crate::base::lang::Lang;
use crate::base::plural::Noun;
use crate::client::console::room::timeline::Mark;
use crate::client::error::{CallError, ServerRefusal};
use crate::client::server_clock::ClockSkew;
use crate::client::tls::fault::{TlsFault, TlsSetupError};
use crate::model::reason::Reason;
use crate::security::certificate::CertificateError;
use crate::security::keys::KeyError;

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
    /// Asks for an invitation.
    ASK_INVITE = "Invitation: > ", "Приглашение: > ";
    /// Asks for the administrator's one-time code.
    ASK_ENROLMENT_CODE = "Enrolment code: > ", "Код привязки: > ";
    /// Asks for the password that is to be replaced.
    ASK_OLD_PASSWORD = "Old password: > ", "Старый пароль: > ";
    /// Asks for the one that replaces it.
    ASK_NEW_PASSWORD = "New password: > ", "Новый пароль: > ";
    /// Asks for it a second time.
    ASK_NEW_PASSWORD_AGAIN = "New password again: > ", "Новый пароль ещё раз: > ";
    /// Asks for a login, to be sure.
    CONFIRM_LOGIN = "Your login, to confirm: > ", "Ваш логин для подтверждения: > ";

    /// The first line. Server.
    WELCOME = "otpchat, server {}. Type /register, /login or /help.", "otpchat, сервер {}. Команды: /register, /login, /help.";
    /// All the commands.
    HELP = "/register         create an account and set up its second factor\n\
            /login            log in, without the phone by a recovery code; once logged in: renew the session\n\
            /logout           end this session\n\
            /logout N         end session N of the list that /sessions showed\n\
            /logout others    end all other sessions; /logout all: this one as well\n\
            /history N        the N messages before the oldest on the screen (20 without N)\n\
            /sessions         the sessions of this account\n\
            /passwd           change the password\n\
            /otp              replace the second factor, for a new phone say\n\
            /recovery         make ten new recovery codes; the old ones are void\n\
            /delete-account   delete this account for good\n\
            /whoami           login, server, and when the session ends\n\
            /quit             leave (also Ctrl-D)\n\
            Anything else is said to everybody, once you are logged in; // at the start says a single /.",
           "/register         создать учётную запись и настроить второй фактор\n\
            /login            войти, без телефона — с резервным кодом; если вы уже вошли — продлить сеанс\n\
            /logout           завершить этот сеанс\n\
            /logout N         завершить сеанс N из списка /sessions\n\
            /logout others    завершить все другие сеансы; /logout all — и этот тоже\n\
            /history N        N сообщений перед самым ранним на экране (без N — 20)\n\
            /sessions         сеансы этой учётной записи\n\
            /passwd           сменить пароль\n\
            /otp              заменить второй фактор, например для нового телефона\n\
            /recovery         получить десять новых резервных кодов; прежние перестанут действовать\n\
            /delete-account   удалить эту учётную запись навсегда\n\
            /whoami           логин, сервер и время окончания сеанса\n\
            /quit             выйти (или Ctrl-D)\n\
            Всё остальное после входа отправляется всем; // в начале строки отправит одну /.";
    /// No such command.
    UNKNOWN_COMMAND = "There is no such command, nothing was sent. /help shows them all; start with // to say a slash.",
        "Такой команды нет, ничего не отправлено. Список: /help; чтобы отправить косую черту, начните строку с //.";
    /// A command with something after it. Command.
    NO_ARGUMENTS = "{} takes nothing after it, nothing was done.", "У команды {} нет параметров, ничего не сделано.";

    /// ReceivedMessage something before logging in.
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
    /// How to leave an enrolment that no login continues.
    ENROL_LEAVE_ONLY = "(an empty line leaves)", "(пустая строка — прервать)";
    /// Enrolment left.
    ENROL_LEFT = "The second factor is not set up: /login continues, with a new QR code.",
        "Второй фактор не настроен: продолжить можно командой /login, код будет новым.";
    /// Enrolment done.
    ENROLLED = "The second factor is set up. From now on every login asks for a code.",
        "Второй фактор настроен. Теперь при каждом входе нужен код.";
    /// Enrolment left that the administrator's code had opened.
    RESET_LEFT = "The second factor is not set up, and the enrolment code is used up: ask the administrator for another.",
        "Второй фактор не настроен, а код привязки уже использован: попросите у администратора другой.";
    /// Enrolment left that a recovery code had opened. Number.
    RECOVERY_LEFT = "The second factor is not replaced: the old one holds. Recovery codes left: {}.",
        "Второй фактор не заменён, действует прежний. Резервных кодов осталось: {}.";
    /// Replacement left.
    REPLACE_LEFT = "The second factor is not replaced: the old one holds.", "Второй фактор не заменён, действует прежний.";
    /// Replacement done.
    REPLACED = "The second factor is replaced: delete the old entry from the authenticator.",
        "Второй фактор заменён: удалите старую запись из приложения.";

    /// Over the recovery codes.
    RECOVERY_CODES = "Recovery codes: each lets you in once, without the phone. They are shown this once: write them down, \
                      and keep them apart from the phone.",
        "Резервные коды: каждый один раз впустит вас без телефона. Они показаны один-единственный раз: запишите их \
         и храните отдельно от телефона.";
    /// New ones replace the old.
    OLD_CODES_VOID = "The old recovery codes are void.", "Прежние резервные коды больше не действуют.";
    /// Few are left. Number.
    FEW_RECOVERY_CODES = "Recovery codes left: {}. /recovery makes ten new ones.",
        "Резервных кодов осталось: {}. Десять новых даст /recovery.";
    /// Above the prompt for a code.
    RECOVERY_HINT = "(no phone: type a recovery code instead)", "(нет телефона — введите резервный код)";
    /// Neither kind of code.
    NEITHER_CODE = "A code from the authenticator has 6 digits, a recovery code 16 letters and digits: try again.",
        "В коде из приложения 6 цифр, в резервном коде 16 букв и цифр: попробуйте ещё раз.";
    /// A recovery code was taken.
    RECOVERY_USED = "This recovery code is used up. Now set up a new second factor: it replaces the old one, and the old \
                     recovery codes.",
        "Этот резервный код использован. Теперь настройте новый второй фактор: он заменит старый \
         и прежние резервные коды.";

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
    /// A dialogue without a person came to nothing.
    NOT_DONE = "Not done.", "Не выполнено.";
    /// No answer came to a call that is done once.
    DONE_PERHAPS = "No answer came: it may be done or not. Look before you try again.",
        "Ответа нет: это могло быть сделано, а могло и нет. Проверьте, прежде чем повторять.";
    /// What the next questions are for.
    PROOF_PLEASE = "To be sure that it is you: password and a fresh code, please.",
        "Чтобы убедиться, что это вы: введите пароль и новый код.";
    /// Wrong codes since the last login. Number.
    WRONG_CODES = "Wrong codes since your last login: {}. If they were not all yours, somebody knows your password: change it \
                   now with /passwd.",
        "Неверных кодов с прошлого входа: {}. Если не все они ваши, кто-то знает ваш пароль: смените его сейчас \
         командой /passwd.";
    /// Our clock is ahead. How much.
    CLOCK_AHEAD = "The clock of this machine is {} ahead of the server's. Codes depend on the clock: let this machine, the \
                   phone and the server set theirs by the network.",
        "Часы этого компьютера спешат относительно серверных на {}. Коды зависят от часов: пусть компьютер, телефон \
         и сервер ставят их по сети.";
    /// Our clock is behind. How much.
    CLOCK_BEHIND = "The clock of this machine is {} behind the server's. Codes depend on the clock: let this machine, the \
                    phone and the server set theirs by the network.",
        "Часы этого компьютера отстают от серверных на {}. Коды зависят от часов: пусть компьютер, телефон \
         и сервер ставят их по сети.";

    /// Head of a column: when a session was opened.
    OPENED = "opened", "открыт";
    /// Head of a column: from where.
    FROM = "from", "откуда";
    /// Head of a column: when it ends.
    ENDS = "ends", "закончится";
    /// Head of a column: what it has to do next.
    STATE = "state", "состояние";
    /// A session that is logged in.
    STATE_COMPLETE = "logged in", "вход выполнен";
    /// One whose code is missing.
    STATE_NEEDS_CODE = "waits for a code", "ждёт кода";
    /// One whose second factor is missing.
    STATE_NEEDS_ENROLMENT = "sets up a factor", "ждёт привязки";
    /// The session that asks.
    THIS_ONE = "this one", "этот";
    /// Below the table.
    SESSIONS_HINT = "/logout N ends one of them, /logout others all but this one.",
        "/logout N завершит один из них, /logout others — все, кроме этого.";
    /// No session is named like this.
    WHICH_SESSION = "/logout takes nothing, a number from /sessions, others, or all; nothing was done.",
        "После /logout может стоять номер из /sessions, others или all; ничего не сделано.";
    /// A number without a list.
    LIST_FIRST = "Type /sessions first: the number is one of the list it shows.",
        "Сначала наберите /sessions: номер берётся из этого списка.";
    /// A number beyond the list. Number.
    NO_SUCH_NUMBER = "The list has no session {}.", "В списке нет сеанса {}.";
    /// One was ended. Number.
    SESSION_N_ENDED = "ClientSession {} is ended.", "Сеанс {} завершён.";
    /// All others were ended. How many.
    OTHERS_ENDED = "Other sessions ended: {}.", "Завершено других сеансов: {}.";
    /// All were ended. How many.
    ALL_ENDED = "Sessions ended, this one included: {}.", "Завершено сеансов, включая этот: {}.";

    /// The password was changed. How many sessions.
    PASSWORD_CHANGED = "The password is changed. Other sessions ended: {}.",
        "Пароль изменён. Завершено других сеансов: {}.";
    /// Before an account is deleted. Login.
    DELETE_WARNING = "This deletes the account {} for good; nobody ever gets its login again. An empty line leaves.",
        "Учётная запись {} будет удалена навсегда, её логин больше никто не получит. Пустая строка — прервать.";
    /// Another login was typed. Login.
    LOGIN_DIFFERS = "That is not {}: nothing was done.", "Это не {}: ничего не сделано.";
    /// The account was deleted. Login.
    DELETED = "The account {} is deleted.", "Учётная запись {} удалена.";

    /// Who am I. Login, server, time, hours, minutes.
    WHOAMI = "{} at {}; the session ends {} (in {} h {} min).", "{} на {}; сеанс закончится {} (через {} ч {} мин).";
    /// Who am I, end unknown. Login, server.
    WHOAMI_OPEN = "{} at {}.", "{} на {}.";
    /// Not anybody. Server.
    WHOAMI_NOBODY = "Not logged in; server {}.", "Вход не выполнен; сервер {}.";

    /// The stream was lost. Cause.
    LOST = "The connection is lost ({}). Reconnecting…", "Связь потеряна ({}). Переподключаюсь…";
    /// The stream is back, and brought nothing.
    BACK_NOTHING = "Connected again, nothing was missed.", "Связь восстановлена, ничего не пропущено.";
    /// The stream is back. How many messages.
    BACK = "Connected again: {} came while the connection was lost.", "Связь восстановлена; пока её не было, пришло {}.";
    /// ReceivedMessage while nobody was logged in. How many messages.
    MEANWHILE = "While nobody was logged in here, {} came.", "Пока здесь никто не был в чате, пришло {}.";
    /// Below the last messages.
    LIVE = "Those were the last messages (older ones: /history); now the room is live.",
        "Это были последние сообщения (раньше — /history), дальше живой разговор.";
    /// Something is not kept any more.
    GAP = "Some messages are missing here: older messages are no longer kept.",
        "Здесь не хватает сообщений: более старые уже не хранятся.";
    /// The server has forgotten what it said.
    ANEW = "The server does not know the messages above: it has another database, or an older copy. It begins anew.",
        "Серверу неизвестны сообщения выше: у него другая база данных или старая копия. Начинаем заново.";
    /// Above older messages.
    OLDER = "Older messages:", "Более ранние сообщения:";
    /// Below them.
    STILL_OLDER = "There are older ones still: /history.", "Есть и более ранние: /history.";
    /// There are none.
    NOTHING_OLDER = "There is nothing older.", "Более ранних сообщений нет.";
    /// No number.
    HOW_MANY = "/history takes nothing, or a number from 1 to 500; nothing was done.",
        "После /history может стоять число от 1 до 500; ничего не сделано.";
    /// Not the stream, but the session has gone. Cause.
    SESSION_OVER = "{} Type /login.", "{} Наберите /login.";
    /// The session is nearly over. Time.
    SESSION_ENDING = "The session ends {}: /login renews it with password and code, and you keep your place.",
        "Сеанс закончится {}: /login продлит его по паролю и коду, из чата вы не выйдете.";
    /// Refused. Cause.
    SENT_NOT = "Not sent, the line is kept: {}", "Не отправлено, строка сохранена: {}";
    /// Refused after it had waited. Text, cause.
    SENT_NOT_LATE = "Not sent: {} ({}) The line comes back with the next prompt.",
        "Не отправлено: {} ({}) Строка вернётся при следующем вводе.";
    /// One line waits. Cause.
    WAITS = "Not sent yet ({}): it waits, and goes by itself.",
        "Пока не отправлено ({}): строка ждёт и уйдёт сама.";
    /// One line waits, and not by itself. Cause.
    WAITS_FOR_YOU = "Not sent yet, the line is kept: {}", "Пока не отправлено, строка сохранена: {}";
    /// Several wait. How many lines.
    WAIT = "Not sent yet: {}.", "Пока не отправлено: {}.";
    /// Nothing is known of it.
    NO_ANSWER_YET = "no answer yet", "ответа пока нет";
    /// All that waited is sent. How many lines.
    SENT_LATE = "What waited has been sent: {}.", "То, что ждало, отправлено: {}.";
    /// No more can wait. How many lines.
    TOO_MANY_UNSENT = "Not sent, and not kept: {} wait already.", "Не отправлено и не сохранено: уже ждёт {}.";
    /// Somebody else has logged in. Login, text.
    DROPPED = "{} is not logged in any more, so this was not sent: {}", "{} больше не в чате, поэтому не отправлено: {}";
    /// Leaving with unsent lines. How many lines.
    UNSENT_AT_QUIT = "Not sent yet: {}. /quit once more leaves without sending.",
        "Пока не отправлено: {}. Ещё раз /quit — выйти, не отправляя.";
    /// Logging out with unsent lines. How many lines, login.
    UNSENT_AT_LOGOUT = "Not sent yet: {}; kept until {} logs in again.", "Пока не отправлено: {}. Будет ждать, пока {} не войдёт снова.";
    /// Without a person. How long, cause, text.
    GIVEN_UP = "Not sent within {} ({}), and nothing after it was read: {}",
        "Не отправлено за {} ({}), и дальше ничего не прочитано: {}";

    /// Too many tries. How long.
    THROTTLED_FOR = "Too many tries: try again in {}.", "Слишком много попыток: попробуйте снова через {}.";
    /// After the sentence about too many wrong codes. How long.
    NEXT_GUESS = "{} The next code can be tried in {}.", "{} Следующий код можно попробовать через {}.";

    /// No connection. Server.
    UNREACHABLE = "The server {} cannot be reached: is it running, and is the address right?",
        "Сервер {} недоступен: запущен ли он и верен ли адрес?";
    /// The same in few words.
    UNREACHABLE_SHORT = "the server cannot be reached", "сервер недоступен";
    /// No answer.
    NO_ANSWER = "The server did not answer in time: try again.", "Сервер не ответил вовремя: попробуйте ещё раз.";
    /// The same in few words.
    NO_ANSWER_SHORT = "it broke off", "соединение прервалось";
    /// The server does not know a call.
    TOO_OLD = "The server does not know this, it is older than this console: ask its administrator to update it.",
        "Сервер этого не умеет, он старее этой консоли: попросите администратора его обновить.";
    /// The same in few words.
    TOO_OLD_SHORT = "the server is too old for this console", "сервер слишком стар для этой консоли";
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
               Use --tls (the server needs a certificate) or a tunnel (ssh -L 50051:localhost:50051 HOST), or accept that with {}.",
        "{} — это {}, не эта машина: пароль и код прошли бы по сети открытым текстом. \
         Используйте --tls (серверу нужен сертификат) или туннель (ssh -L 50051:localhost:50051 УЗЕЛ) либо согласитесь на это флагом {}.";
    /// A name without address. Server, cause.
    UNKNOWN_SERVER = "The address of {} cannot be found: {}", "Не удалось найти адрес {}: {}";
    /// The password crosses the network.
    EXPOSED_ANYWAY = "WARNING: password, code and messages cross the network in the clear.",
        "ВНИМАНИЕ: пароль, код и сообщения идут по сети открытым текстом.";

    /// The other side does not speak TLS. Server.
    NOT_TLS = "The server {} does not speak TLS, or hangs up on it: is the port right?",
        "Сервер {} не говорит по TLS или обрывает его: верен ли порт?";
    /// It speaks nothing else. Server.
    TLS_ONLY = "The server {} speaks TLS: use --tls, --ca or --pin (see otpchat --help).",
        "Сервер {} говорит по TLS: нужен флаг --tls, --ca или --pin (см. otpchat --help).";
    /// Signed by nobody we trust. Server.
    UNKNOWN_AUTHORITY = "The certificate of {} is signed by nobody that is trusted here. Somebody may stand in between; or give \
                         its authority with --ca, or its fingerprint with --pin.",
        "Сертификат {} не подписан никем, кому здесь доверяют. Возможно, кто-то вклинился между вами; если нет, укажите его \
         центр сертификации (--ca) или отпечаток (--pin).";
    /// Expired. Server.
    CERTIFICATE_EXPIRED = "The certificate of {} has expired: its administrator has to renew it. (Is this machine's clock right?)",
        "Срок действия сертификата {} истёк: его должен обновить администратор. (Верны ли часы этой машины?)";
    /// Not valid yet. Server.
    CERTIFICATE_NOT_YET = "The certificate of {} is not valid yet: is this machine's clock right?",
        "Сертификат {} ещё не действует: верны ли часы этой машины?";
    /// For another name. Server.
    OTHER_NAME = "The certificate is not for {}: use the name that it was made for with --server, or trust just this one with --pin.",
        "Сертификат выдан не для {}: укажите в --server то имя, для которого он выдан, либо доверьте только ему флагом --pin.";
    /// Not the pinned one. Server, fingerprint.
    OTHER_CERTIFICATE = "{} shows another certificate than the pinned one: {}. Somebody may stand in between; or it was \
                         renewed: ask its administrator for the new fingerprint.",
        "{} предъявляет не тот сертификат, что закреплён: {}. Возможно, кто-то вклинился между вами; или сертификат обновили: \
         спросите у администратора новый отпечаток.";
    /// The pinned one bears no name. Server.
    NAMELESS = "The certificate of {} bears no name, and the transport wants one: it has to be made with a name.",
        "В сертификате {} нет имени, а транспорту оно нужно: сертификат надо выпустить с именем.";
    /// Asks for ours. Server.
    WANTS_OURS = "{} hangs up, as servers do that ask for a client certificate: give it with --tls-client-cert and --tls-client-key.",
        "{} обрывает соединение — так делают серверы, которым нужен сертификат клиента: укажите его флагами --tls-client-cert и --tls-client-key.";
    /// Does not take ours. Server.
    REFUSES_OURS = "{} hangs up, as servers do that do not take your certificate: ask its administrator which authority has to sign it.",
        "{} обрывает соединение — так делают серверы, не принявшие сертификат клиента: спросите у администратора, чем он должен быть подписан.";
    /// Something else. Server, OpenSSL's words.
    NO_TLS = "TLS with {} fails: {}", "Не удалось установить TLS с {}: {}";
    /// The same in few words.
    NO_TLS_SHORT = "TLS fails", "не удалось установить TLS";
    /// The system trusts nobody.
    NO_STORE = "This system has no store of authorities: install ca-certificates, or give --ca or --pin.",
        "В этой системе нет хранилища сертификатов: установите ca-certificates либо укажите --ca или --pin.";
    /// A file could not be read. Path, cause.
    TLS_FILE = "{}: {}", "{}: {}";
    /// No certificate in it. Path.
    NO_CERTIFICATE = "{} holds no certificate in PEM form (BEGIN CERTIFICATE).",
        "В {} нет сертификата в формате PEM (BEGIN CERTIFICATE).";
    /// No key in it. Path.
    NO_KEY = "{} holds no private key in PEM form (BEGIN PRIVATE KEY).", "В {} нет закрытого ключа в формате PEM (BEGIN PRIVATE KEY).";
    /// A key under a passphrase. Path, path.
    LOCKED_KEY = "The key in {} is under a passphrase: write it without one, with openssl pkey -in {} -out NEW, at mode 0600.",
        "Ключ в {} защищён паролем: сохраните его без пароля (openssl pkey -in {} -out НОВЫЙ), с правами 0600.";
    /// A key that does not fit. Path, path.
    OTHER_KEY = "The key in {} does not belong to the certificate in {}.", "Ключ в {} не подходит к сертификату в {}.";
    /// Others can read the key. Path.
    KEY_EXPOSED = "{} can be read by others: run chmod 600 on it, and replace the key if somebody may have read it.",
        "{} могут прочитать другие: выполните для него chmod 600 и замените ключ, если его могли прочитать.";
}

/// Lines, after their number.
pub const LINES: Noun = Noun { en: ["line", "lines"], ru: ["строка", "строки", "строк"] };
const MESSAGES: Noun =
    Noun { en: ["message", "messages"], ru: ["сообщение", "сообщения", "сообщений"] };

/// What is said when the stream has caught up.
pub fn mark(mark: Mark, lang: Lang) -> String {
    match mark {
        Mark::Live => LIVE.say(lang).to_owned(),
        Mark::Back(0) => BACK_NOTHING.say(lang).to_owned(),
        Mark::Back(count) => BACK.with(lang, &[&MESSAGES.count(count, lang)]),
        Mark::Meanwhile(count) => MEANWHILE.with(lang, &[&MESSAGES.count(count, lang)]),
    }
}

/// Why TLS cannot be spoken with `server`.
fn tls_fault(fault: &TlsFault, server: &str, lang: Lang) -> String {
    let text = match fault {
        TlsFault::NotTls => NOT_TLS,
        TlsFault::TlsOnly => TLS_ONLY,
        TlsFault::UnknownAuthority => UNKNOWN_AUTHORITY,
        TlsFault::Expired => CERTIFICATE_EXPIRED,
        TlsFault::NotYet => CERTIFICATE_NOT_YET,
        TlsFault::OtherName => OTHER_NAME,
        TlsFault::OtherCertificate(shown) => return OTHER_CERTIFICATE.with(lang, &[server, &shown.to_string()]),
        TlsFault::Nameless => NAMELESS,
        TlsFault::WantsOurs => WANTS_OURS,
        TlsFault::RefusesOurs => REFUSES_OURS,
        TlsFault::Other(words) => return NO_TLS.with(lang, &[server, words]),
    };
    text.with(lang, &[server])
}

/// Why TLS cannot be set up for `server`.
pub fn no_tls(error: &TlsSetupError, server: &str, lang: Lang) -> String {
    match error {
        TlsSetupError::Certificate(error) => certificate(error, lang),
        TlsSetupError::NoStore => NO_STORE.say(lang).to_owned(),
        TlsSetupError::Unreachable => UNREACHABLE.with(lang, &[server]),
        TlsSetupError::Fault(fault) => tls_fault(fault, server, lang),
        TlsSetupError::OpenSsl(error) => NO_TLS.with(lang, &[server, &error.to_string()]),
    }
}

fn certificate(error: &CertificateError, lang: Lang) -> String {
    let show = |path: &std::path::Path| path.display().to_string();
    match error {
        CertificateError::Io { path, source } | CertificateError::Key(KeyError::Io { path, source }) => {
            TLS_FILE.with(lang, &[&show(path), &source.to_string()])
        }
        CertificateError::NoCertificate { path, .. } => NO_CERTIFICATE.with(lang, &[&show(path)]),
        CertificateError::NoKey { path } => NO_KEY.with(lang, &[&show(path)]),
        CertificateError::Locked { path } => LOCKED_KEY.with(lang, &[&show(path), &show(path)]),
        CertificateError::OtherKey { certificate, key } => OTHER_KEY.with(lang, &[&show(key), &show(certificate)]),
        CertificateError::Key(KeyError::Exposed { path, .. }) => KEY_EXPOSED.with(lang, &[&show(path)]),
        CertificateError::Unusable { path, cause } => TLS_FILE.with(lang, &[&show(path), cause]),
        // Keys of the server's own.
        CertificateError::Key(error) => error.to_string(),
    }
}

/// Why a call failed, as a sentence for the person who made it. `server` is where it went.
pub fn failure(error: &CallError, server: &str, lang: Lang) -> String {
    match error {
        CallError::Unreachable => UNREACHABLE.with(lang, &[server]),
        CallError::Tls(fault) => tls_fault(fault, server, lang),
        CallError::NoAnswer => NO_ANSWER.say(lang).to_owned(),
        CallError::TooOld => TOO_OLD.say(lang).to_owned(),
        CallError::Refused(refusal) => self::refusal(refusal, lang),
    }
}

/// Why the stream was lost, in few words.
pub fn loss(error: &CallError, lang: Lang) -> String {
    match error {
        CallError::Unreachable => UNREACHABLE_SHORT.say(lang).to_owned(),
        CallError::Tls(_) => NO_TLS_SHORT.say(lang).to_owned(),
        CallError::NoAnswer => NO_ANSWER_SHORT.say(lang).to_owned(),
        CallError::TooOld => TOO_OLD_SHORT.say(lang).to_owned(),
        CallError::Refused(refusal) if refusal.reason == Some(Reason::Draining) => STOPPING_SHORT.say(lang).to_owned(),
        CallError::Refused(refusal) => self::refusal(refusal, lang).trim_end_matches('.').to_owned(),
    }
}

/// A refusal as a sentence: our own where we know the reason, the server's where we do not or where only that has the
/// figures. What the server says is escaped.
pub fn refusal(refusal: &ServerRefusal, lang: Lang) -> String {
    let theirs = one_line(&refusal.sentence);
    match refusal.reason {
        Some(Reason::Internal) if !theirs.is_empty() => {
            format!("{} {}", Reason::Internal.sentence(lang), SERVER_SAYS.with(lang, &[&theirs]))
        }
        Some(reason) => waiting(reason, refusal.retry_after, lang),
        None if refusal.ends_session => Reason::SessionEnded.sentence(lang).to_owned(),
        None if !theirs.is_empty() => SERVER_SAYS.with(lang, &[&theirs]),
        None => REFUSED.say(lang).to_owned(),
    }
}

/// Our own sentence for `reason`, with how long to wait where that is what it is about.
fn waiting(reason: Reason, retry_after: Option<Duration>, lang: Lang) -> String {
    let sentence = reason.sentence(lang);
    match (reason, retry_after) {
        (Reason::Throttled, Some(wait)) => THROTTLED_FOR.with(lang, &[&duration_words::in_words(wait, lang)]),
        (Reason::GuessesSpent, Some(wait)) => NEXT_GUESS.with(lang, &[sentence, &duration_words::in_words(wait, lang)]),
        _ => sentence.to_owned(),
    }
}

/// That the server's clock and ours are too far apart.
pub fn clocks_apart(apart: ClockSkew, lang: Lang) -> String {
    match apart {
        ClockSkew::OursAhead(by) => CLOCK_AHEAD.with(lang, &[&duration_words::about(by, lang)]),
        ClockSkew::OursBehind(by) => CLOCK_BEHIND.with(lang, &[&duration_words::about(by, lang)]),
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
        let said = |word: &str, sentence: &str| refusal(&ServerRefusal::in_response(word, sentence), Lang::En);
        assert_eq!(said("INVALID_CODE", "\x1b[2J"), Reason::InvalidCode.sentence(Lang::En));
        assert_eq!(said("SOMETHING_NEWER", "wait\n\x1b[2J"), "The server says: wait\\u{a}\\u{1b}[2J");
        assert!(said("INTERNAL", "incident 7").ends_with("The server says: incident 7"));
        assert_eq!(said("", ""), "The server refuses.");
    }

    #[test]
    fn every_reason_is_said_in_the_persons_language_and_only_the_incident_in_the_servers_words() {
        for &reason in Reason::ALL {
            let [en, ru] =
                [Lang::En, Lang::Ru].map(|lang| refusal(&ServerRefusal::in_response(reason.word(), "GIBBERISH"), lang));
            for (said, lang) in [(&en, Lang::En), (&ru, Lang::Ru)] {
                assert!(said.starts_with(reason.sentence(lang)), "{reason}: {said}");
                assert_eq!(said.contains("GIBBERISH"), reason == Reason::Internal, "{reason}: {said}");
            }
            assert!(en.is_ascii() && ru.chars().any(|letter| ('а'..='я').contains(&letter)), "{reason}: {en} {ru}");
        }
    }

    #[test]
    fn how_long_to_wait_is_said_where_waiting_helps() {
        let said = |word: &str, lang| refusal(&ServerRefusal::in_response(word, "").after(300), lang);
        assert_eq!(said("THROTTLED", Lang::En), "Too many tries: try again in 5 minutes.");
        assert_eq!(said("THROTTLED", Lang::Ru), "Слишком много попыток: попробуйте снова через 5 минут.");
        let spent = said("GUESSES_SPENT", Lang::En);
        assert!(
            spent.contains("recovery code") && spent.ends_with(" The next code can be tried in 5 minutes."),
            "{spent}"
        );
        assert!(said("GUESSES_SPENT", Lang::Ru).contains("резервным кодом"));
        assert_eq!(said("OVERLOADED", Lang::En), Reason::Overloaded.sentence(Lang::En));
    }

    #[test]
    fn the_help_has_every_command_in_both_languages() {
        use crate::client::console::command::Command;
        for lang in [Lang::En, Lang::Ru] {
            for command in Command::ALL.into_iter().filter(|&command| command != Command::Help) {
                let begins = |line: &str| line.split_whitespace().next() == Some(command.name());
                assert!(HELP.say(lang).lines().any(begins), "{}", command.name());
            }
        }
    }
}
