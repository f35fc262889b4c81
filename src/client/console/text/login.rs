//! Sentences of `/register`, `/login` and `/logout`. The Russian prompts are the predecessor's.

use crate::base::duration_words;
use crate::base::lang::Lang;
use crate::client::console::text::sentence::sentences;
use crate::client::server_clock::ClockSkew;

sentences! {
    /// Prompt for a login.
    ASK_LOGIN = "Login: > ", "Логин: > ";
    /// Prompt for a password.
    ASK_PASSWORD = "Password: > ", "Пароль: > ";
    /// Prompt for the same password again.
    ASK_PASSWORD_AGAIN = "Password again: > ", "Пароль ещё раз: > ";
    /// Prompt for a code.
    ASK_CODE = "OTP code: > ", "OTP код: > ";
    /// The answer is not a code of the authenticator.
    NOT_A_CODE =
        "A code from the authenticator has 6 digits: try again.",
        "В коде из приложения 6 цифр: попробуйте ещё раз.";
    /// Prompt for an invitation.
    ASK_INVITE = "Invitation: > ", "Приглашение: > ";
    /// Prompt for the administrator's one-time code.
    ASK_ENROLMENT_CODE = "Enrolment code: > ", "Код привязки: > ";
    /// Registering while logged in. Values: login.
    LOG_OUT_FIRST = "You are logged in as {}: type /logout first.", "Вы вошли как {}: сначала /logout.";
    /// The two passwords differ.
    PASSWORDS_DIFFER = "The two passwords differ: try again.", "Пароли не совпадают: попробуйте ещё раз.";
    /// The account was created. Values: login.
    REGISTERED =
        "The account {} is created. Next: its second factor.",
        "Учётная запись {} создана. Теперь второй фактор.";
    /// The account was created, but its login failed.
    REGISTERED_ONLY =
        "The account is created, but it has no second factor yet: /login continues. An account without a second \
         factor is deleted after 24 hours.",
        "Учётная запись создана, но второй фактор не настроен: продолжить можно командой /login. Без второго \
         фактора она удаляется через 24 часа.";
    /// The account has no second factor.
    NO_FACTOR_YET =
        "This account has no second factor yet: set it up now.",
        "У этой учётной записи ещё нет второго фактора: настроим его сейчас.";
    /// Logged in. Values: login, end of session.
    LOGGED_IN = "You are logged in as {}; the session ends {}.", "Вы вошли как {}; сеанс закончится {}.";
    /// Logged in, with an unknown end. Values: login.
    LOGGED_IN_OPEN = "You are logged in as {}.", "Вы вошли как {}.";
    /// The login failed.
    NOT_LOGGED_IN = "Not logged in.", "Вход не выполнен.";
    /// A login while logged in. Values: login.
    RENEWING = "Renewing the session of {}: password and code, please.", "Продление сеанса {}: введите пароль и код.";
    /// The renewal failed; the old session continues.
    STILL_OLD = "Your present session continues.", "Прежний сеанс продолжается.";
    /// Logged out. Values: login.
    LOGGED_OUT = "{} is logged out.", "Сеанс {} завершён.";
    /// Logged out, but the server could not be told.
    LOGGED_OUT_HERE =
        "Logged out here, but the server could not be told; the session ends there by itself.",
        "Выход выполнен только здесь: серверу сообщить не удалось, там сеанс закончится сам.";
    /// Logged out with unsent lines. Values: number of lines, login.
    UNSENT_AT_LOGOUT =
        "Not sent yet: {}. They wait until {} logs in again.",
        "Пока не отправлено: {}. Будет ждать, пока {} не войдёт снова.";
    /// Wrong codes since the last login. Values: number.
    WRONG_CODES =
        "Wrong codes since your last login: {}. If they were not all yours, somebody knows your password: change \
         it now with /passwd.",
        "Неверных кодов с прошлого входа: {}. Если не все они ваши, кто-то знает ваш пароль: смените его сейчас \
         командой /passwd.";
    /// Our clock is ahead. Values: how much.
    CLOCK_AHEAD =
        "The clock of this machine is {} ahead of the server's. Codes depend on the clock: set the clocks of this \
         machine, the phone and the server from the network.",
        "Часы этого компьютера спешат относительно серверных на {}. Коды зависят от часов: пусть компьютер, \
         телефон и сервер ставят их по сети.";
    /// Our clock is behind. Values: how much.
    CLOCK_BEHIND =
        "The clock of this machine is {} behind the server's. Codes depend on the clock: set the clocks of this \
         machine, the phone and the server from the network.",
        "Часы этого компьютера отстают от серверных на {}. Коды зависят от часов: пусть компьютер, телефон и \
         сервер ставят их по сети.";
}

/// The warning that the server's clock and ours differ.
pub fn clock_skew(skew: ClockSkew, lang: Lang) -> String {
    match skew {
        ClockSkew::OursAhead(by) => CLOCK_AHEAD.with(lang, &[&duration_words::about(by, lang)]),
        ClockSkew::OursBehind(by) => CLOCK_BEHIND.with(lang, &[&duration_words::about(by, lang)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_russian_prompts_are_the_predecessors() {
        let prompts = [ASK_LOGIN, ASK_PASSWORD, ASK_CODE].map(|prompt| prompt.text(Lang::Ru));
        assert_eq!(prompts, ["Логин: > ", "Пароль: > ", "OTP код: > "]);
    }
}
