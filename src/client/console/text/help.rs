//! `/help`: one row per use of a command.

use crate::base::lang::Lang;
use crate::client::console::text::sentence::Sentence;

/// Width of the first column.
const USAGE_COLUMNS: usize = 18;

/// The rows: what to type, and what it does.
const ROWS: &[(&str, Sentence)] = &[
    (
        "/register",
        Sentence::new(
            "create an account and set up its second factor",
            "создать учётную запись и настроить второй фактор",
        ),
    ),
    (
        "/login",
        Sentence::new(
            "log in, without the phone by a recovery code; once logged in: renew the session",
            "войти, без телефона — с резервным кодом; если вы уже вошли — продлить сеанс",
        ),
    ),
    ("/logout", Sentence::new("end this session", "завершить этот сеанс")),
    (
        "/logout N",
        Sentence::new("end session N of the list that /sessions showed", "завершить сеанс N из списка /sessions"),
    ),
    (
        "/logout others",
        Sentence::new(
            "end all other sessions; /logout all: this one as well",
            "завершить все другие сеансы; /logout all — и этот тоже",
        ),
    ),
    (
        "/history N",
        Sentence::new(
            "show N messages before the oldest on the screen (20 without N)",
            "N сообщений перед самым ранним на экране (без N — 20)",
        ),
    ),
    (
        "/more N",
        Sentence::new(
            "show folded message N whole (the last one without N)",
            "показать целиком свёрнутое сообщение N (без N — последнее)",
        ),
    ),
    ("/sessions", Sentence::new("list the sessions of this account", "сеансы этой учётной записи")),
    ("/passwd", Sentence::new("change the password", "сменить пароль")),
    (
        "/otp",
        Sentence::new(
            "replace the second factor, for example for a new phone",
            "заменить второй фактор, например для нового телефона",
        ),
    ),
    (
        "/recovery",
        Sentence::new(
            "make ten new recovery codes; the old ones become void",
            "получить десять новых резервных кодов; прежние перестанут действовать",
        ),
    ),
    ("/delete-account", Sentence::new("delete this account permanently", "удалить эту учётную запись навсегда")),
    ("/whoami", Sentence::new("login, server, and when the session ends", "логин, сервер и время окончания сеанса")),
    ("/quit", Sentence::new("leave (also Ctrl-D)", "выйти (или Ctrl-D)")),
];

/// Below the rows.
const ANYTHING_ELSE: Sentence = Sentence::new(
    "Once you are logged in, anything else goes to everybody; // at the start sends a single /.",
    "Всё остальное после входа отправляется всем; // в начале строки отправит одну /.",
);

/// The help, line by line.
pub fn lines(lang: Lang) -> Vec<String> {
    let rows = ROWS.iter().map(|(usage, does)| format!("{usage:<USAGE_COLUMNS$}{}", does.text(lang)));
    rows.chain([ANYTHING_ELSE.text(lang).to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::console::command::ConsoleCommand;

    #[test]
    fn every_command_but_help_has_a_row_and_a_gap_behind_it() {
        for command in ConsoleCommand::ALL.into_iter().filter(|&command| command != ConsoleCommand::Help) {
            let has_row = |(usage, _): &(&str, Sentence)| usage.split(' ').next() == Some(command.name());
            assert!(ROWS.iter().any(has_row), "{}", command.name());
        }
        assert!(ROWS.iter().all(|(usage, _)| usage.len() + 2 <= USAGE_COLUMNS));
    }
}
