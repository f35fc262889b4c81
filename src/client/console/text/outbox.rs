//! Sentences about lines that are not sent yet.

use crate::base::lang::Lang;
use crate::base::plural::Noun;
use crate::client::console::text::sentence::sentences;

sentences! {
    /// A line was refused. Values: cause.
    SENT_NOT = "Not sent, the line is kept: {}", "Не отправлено, строка сохранена: {}";
    /// A waiting line was refused. Values: text, cause.
    SENT_NOT_LATE =
        "Not sent: {} ({}) The line comes back with the next prompt.",
        "Не отправлено: {} ({}) Строка вернётся при следующем вводе.";
    /// One line waits. Values: cause.
    WAITS =
        "Not sent yet ({}): it waits and will be sent automatically.",
        "Пока не отправлено ({}): строка ждёт и уйдёт сама.";
    /// One line waits until a person acts. Values: cause.
    WAITS_FOR_YOU = "Not sent yet, the line is kept: {}", "Пока не отправлено, строка сохранена: {}";
    /// Several lines wait. Values: number of lines.
    WAIT = "Not sent yet: {}.", "Пока не отправлено: {}.";
    /// No cause is known yet.
    NO_ANSWER_YET = "no answer yet", "ответа пока нет";
    /// All waiting lines were sent. Values: number of lines.
    SENT_LATE = "Sent after waiting: {}.", "То, что ждало, отправлено: {}.";
    /// Too many lines wait. Values: number of lines.
    TOO_MANY_UNSENT = "Not sent and not kept: {} are waiting already.", "Не отправлено и не сохранено: уже ждёт {}.";
    /// Another account has logged in. Values: login, text.
    DROPPED = "{} is no longer logged in, so this was not sent: {}", "{} больше не в чате, поэтому не отправлено: {}";
    /// Quitting with unsent lines. Values: number of lines.
    UNSENT_AT_QUIT =
        "Not sent yet: {}. /quit once more leaves without sending.",
        "Пока не отправлено: {}. Ещё раз /quit — выйти, не отправляя.";
    /// No terminal, and the time is over. Values: how long, cause, text.
    GIVEN_UP =
        "Not sent within {} ({}), and nothing after it was read: {}",
        "Не отправлено за {} ({}), и дальше ничего не прочитано: {}";
}

/// A number of lines, in words.
pub fn lines(count: usize, lang: Lang) -> String {
    const LINES: Noun = Noun { en: ["line", "lines"], ru: ["строка", "строки", "строк"] };
    LINES.count(count as u64, lang)
}
