//! Sentences of `/sessions` and of `/logout` for other sessions.

use crate::client::console::text::sentence::sentences;

sentences! {
    /// Column: when a session was opened.
    OPENED = "opened", "открыт";
    /// Column: from where.
    FROM = "from", "откуда";
    /// Column: when it ends.
    ENDS = "ends", "закончится";
    /// Column: what it still needs.
    STATE = "state", "состояние";
    /// State: complete.
    STATE_COMPLETE = "logged in", "вход выполнен";
    /// State: a code is missing.
    STATE_NEEDS_CODE = "waits for a code", "ждёт кода";
    /// State: a second factor is missing.
    STATE_NEEDS_ENROLMENT = "sets up a factor", "ждёт привязки";
    /// The session that asks.
    THIS_ONE = "this one", "этот";
    /// Below the table.
    SESSIONS_HINT =
        "/logout N ends one of them, /logout others all but this one.",
        "/logout N завершит один из них, /logout others — все, кроме этого.";
    /// `/logout` with an unknown word.
    WHICH_SESSION =
        "/logout takes nothing, a number from /sessions, others, or all; nothing was done.",
        "После /logout может стоять номер из /sessions, others или all; ничего не сделано.";
    /// A number without a list.
    LIST_FIRST =
        "Type /sessions first: the number comes from the list that it shows.",
        "Сначала наберите /sessions: номер берётся из этого списка.";
    /// A number beyond the list. Values: number.
    NO_SUCH_NUMBER = "The list has no session {}.", "В списке нет сеанса {}.";
    /// One session was ended. Values: number.
    SESSION_N_ENDED = "ClientSession {} is ended.", "Сеанс {} завершён.";
    /// All others were ended. Values: how many.
    OTHERS_ENDED = "Other sessions ended: {}.", "Завершено других сеансов: {}.";
    /// All were ended. Values: how many.
    ALL_ENDED = "Sessions ended, this one included: {}.", "Завершено сеансов, включая этот: {}.";
}
