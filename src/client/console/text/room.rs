//! Sentences between the messages of the room, and of `/history`.

use crate::base::lang::Lang;
use crate::base::plural::Noun;
use crate::client::console::text::sentence::sentences;

sentences! {
    /// The stream was lost. Values: cause.
    LOST = "The connection is lost ({}). Reconnecting…", "Связь потеряна ({}). Переподключаюсь…";
    /// The stream is back; nothing came.
    BACK_NOTHING = "Connected again, nothing was missed.", "Связь восстановлена, ничего не пропущено.";
    /// The stream is back. Values: number of messages.
    BACK =
        "Connected again: {} came while the connection was lost.",
        "Связь восстановлена; пока её не было, пришло {}.";
    /// Messages came while no account was logged in. Values: number of messages.
    MEANWHILE = "While you were logged out here, {} came.", "Пока здесь никто не был в чате, пришло {}.";
    /// Below the last messages.
    LIVE =
        "Those were the last messages (older ones: /history); from here on the room is live.",
        "Это были последние сообщения (раньше — /history), дальше живой разговор.";
    /// Some messages are no longer kept.
    GAP =
        "Some messages are missing here: older messages are no longer kept.",
        "Здесь не хватает сообщений: более старые уже не хранятся.";
    /// The server does not know the messages on the screen.
    ANEW =
        "The server does not know the messages above: it has another database, or an older copy. Starting over.",
        "Серверу неизвестны сообщения выше: у него другая база данных или старая копия. Начинаем заново.";
    /// Above older messages.
    OLDER = "Older messages:", "Более ранние сообщения:";
    /// There are more.
    STILL_OLDER = "There are older messages: /history.", "Есть и более ранние: /history.";
    /// There are no more.
    NOTHING_OLDER = "There are no older messages.", "Более ранних сообщений нет.";
    /// `/history` with a wrong number.
    HOW_MANY =
        "/history takes nothing, or a number from 1 to 500; nothing was done.",
        "После /history может стоять число от 1 до 500; ничего не сделано.";
    /// The last row of a message that is shown in part. Values: number of rows, number of the message.
    FOLDED = "… {} more: /more {}", "… ещё {}: /more {}";
    /// `/more` without such a message.
    NOTHING_FOLDED =
        "There is no such folded message. /more shows the last one, /more N the one whose last row says so.",
        "Такого свёрнутого сообщения нет. /more покажет последнее, /more N — то, в последней строке которого так написано.";
    /// `/more` with something that is no number.
    WHICH_FOLDED =
        "/more takes nothing, or the number of a folded message; nothing was done.",
        "После /more может стоять номер свёрнутого сообщения; ничего не сделано.";
    /// The session ended. Values: cause.
    SESSION_OVER = "{} Type /login.", "{} Наберите /login.";
    /// The session ends soon. Values: time.
    SESSION_ENDING =
        "The session ends {}: /login renews it with password and code, without leaving the chat.",
        "Сеанс закончится {}: /login продлит его по паролю и коду, из чата вы не выйдете.";
}

/// A number of rows in words.
pub fn rows(count: usize, lang: Lang) -> String {
    const ROWS: Noun = Noun { en: ["row", "rows"], ru: ["строка", "строки", "строк"] };
    ROWS.count(count as u64, lang)
}

/// A line between messages, shown when the stream has caught up. The numbers count the messages of other people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Divider {
    /// The last messages are above; from here on the room is live.
    Live,
    /// The connection is back; this many messages came.
    Back(u64),
    /// This many messages came while no account was logged in.
    Meanwhile(u64),
}

impl Divider {
    /// The divider in words.
    pub fn text(self, lang: Lang) -> String {
        const MESSAGES: Noun = Noun {
            en: ["message", "messages"], ru: ["сообщение", "сообщения", "сообщений"]
        };
        match self {
            Divider::Live => LIVE.text(lang).to_owned(),
            Divider::Back(0) => BACK_NOTHING.text(lang).to_owned(),
            Divider::Back(count) => BACK.with(lang, &[&MESSAGES.count(count, lang)]),
            Divider::Meanwhile(count) => MEANWHILE.with(lang, &[&MESSAGES.count(count, lang)]),
        }
    }
}
