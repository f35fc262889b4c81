//! The chat's own sentences: the first line, commands that do not exist, and the account that is logged in.

use crate::client::console::text::sentence::sentences;

sentences! {
    /// First line. Values: server.
    WELCOME =
        "otpchat, server {}. Type /register, /login or /help.",
        "otpchat, сервер {}. Команды: /register, /login, /help.";
    /// No such command.
    UNKNOWN_COMMAND =
        "There is no such command; nothing was sent. /help lists all commands; start a line with // to send a \
         slash.",
        "Такой команды нет, ничего не отправлено. Список: /help; чтобы отправить косую черту, начните строку с //.";
    /// A command with something after it. Values: command.
    NO_ARGUMENTS = "{} takes nothing after it; nothing was done.", "У команды {} нет параметров, ничего не сделано.";
    /// A line beyond the limit. Values: bytes.
    LINE_TOO_LONG =
        "The line is longer than {} bytes; nothing was sent.",
        "Строка длиннее {} байт, ничего не отправлено.";
    /// A line that is not UTF-8.
    NOT_TEXT = "The line is not UTF-8; nothing was sent.", "Строка не в UTF-8, ничего не отправлено.";
    /// A line or command that needs a login.
    LOG_IN_FIRST =
        "You are not logged in: /login, or /register for a new account.",
        "Вы не вошли: /login, а для новой учётной записи — /register.";
    /// A dialogue failed without a terminal.
    NOT_DONE = "Not done.", "Не выполнено.";
    /// A dialogue was cancelled.
    CANCELLED = "Cancelled.", "Отменено.";
    /// The connection is not encrypted.
    EXPOSED_ANYWAY =
        "WARNING: password, code and messages cross the network in the clear.",
        "ВНИМАНИЕ: пароль, код и сообщения идут по сети открытым текстом.";
    /// The account that is logged in. Values: login, server, end of session, hours, minutes.
    WHOAMI = "{} at {}; the session ends {} (in {} h {} min).", "{} на {}; сеанс закончится {} (через {} ч {} мин).";
    /// The same with an unknown end. Values: login, server.
    WHOAMI_OPEN = "{} at {}.", "{} на {}.";
    /// No account is logged in. Values: server.
    WHOAMI_NOBODY = "Not logged in; server {}.", "Вход не выполнен; сервер {}.";
}
