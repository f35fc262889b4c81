//! Sentences of `/passwd`, `/otp`, `/delete-account`, and of the proof that they ask for.

use crate::client::console::text::sentence::sentences;

sentences! {
    /// Prompt for the present password.
    ASK_OLD_PASSWORD = "Old password: > ", "Старый пароль: > ";
    /// Prompt for its replacement.
    ASK_NEW_PASSWORD = "New password: > ", "Новый пароль: > ";
    /// Prompt for the replacement again.
    ASK_NEW_PASSWORD_AGAIN = "New password again: > ", "Новый пароль ещё раз: > ";
    /// Prompt for one's own login, to confirm.
    CONFIRM_LOGIN = "Your login, to confirm: > ", "Ваш логин для подтверждения: > ";
    /// Why the next questions are asked.
    PROOF_PLEASE =
        "To make sure that it is you, enter your password and an unused code.",
        "Чтобы убедиться, что это вы: введите пароль и новый код.";
    /// No answer came to a call that must not be repeated blindly.
    DONE_PERHAPS =
        "No answer came: it may be done or not. Check before you try again.",
        "Ответа нет: это могло быть сделано, а могло и нет. Проверьте, прежде чем повторять.";
    /// The password was changed. Values: number of ended sessions.
    PASSWORD_CHANGED =
        "The password is changed. Other sessions ended: {}.",
        "Пароль изменён. Завершено других сеансов: {}.";
    /// Before an account is deleted. Values: login.
    DELETE_WARNING =
        "This deletes the account {} permanently; nobody can ever register its login again. An empty line cancels.",
        "Учётная запись {} будет удалена навсегда, её логин больше никто не получит. Пустая строка — прервать.";
    /// Another login was typed. Values: login.
    LOGIN_DIFFERS = "That is not {}: nothing was done.", "Это не {}: ничего не сделано.";
    /// The account was deleted. Values: login.
    DELETED = "The account {} is deleted.", "Учётная запись {} удалена.";
}
