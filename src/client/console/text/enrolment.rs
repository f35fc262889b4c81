//! Sentences of setting up a second factor.

use crate::client::console::text::sentence::sentences;

sentences! {
    /// Above the QR code.
    SCAN =
        "Scan this with Google Authenticator or another TOTP app, or type the key by hand. Then enter the code \
         that it shows.",
        "Отсканируйте код приложением Google Authenticator (или другим TOTP) либо введите ключ вручную, затем \
         введите код, который оно покажет.";
    /// The secret. Values: its letters.
    KEY = "Key: {}", "Ключ: {}";
    /// The picture on disk. Values: path.
    PICTURE = "Picture: {}", "Картинка: {}";
    /// The picture could not be written. Values: cause.
    NO_PICTURE = "The picture could not be written: {}", "Картинку записать не удалось: {}";
    /// The window is too small for the QR code. Values: columns, rows.
    WINDOW_TOO_SMALL =
        "The QR code needs a window of {} columns and {} rows: use the picture or the key instead.",
        "Для QR-кода нужно окно {}×{} (столбцы × строки): возьмите картинку или ключ.";
    /// The QR code holds a shortened login.
    NAME_SHORTENED =
        "To fit this window, the QR code holds only the beginning of your login; the picture holds all of it.",
        "Чтобы поместиться в окно, QR-код содержит только начало логина; полностью он есть на картинке.";
    /// How to cancel.
    ENROL_LEAVE =
        "(an empty line cancels; /login continues later)",
        "(пустая строка — прервать; продолжить позже: /login)";
    /// How to cancel what no later login continues.
    ENROL_LEAVE_ONLY = "(an empty line cancels)", "(пустая строка — прервать)";
    /// A first enrolment was cancelled.
    ENROL_LEFT =
        "The second factor is not set up: /login continues, with a new QR code.",
        "Второй фактор не настроен: продолжить можно командой /login, код будет новым.";
    /// A first enrolment is done.
    ENROLLED =
        "The second factor is set up. From now on every login asks for a code.",
        "Второй фактор настроен. Теперь при каждом входе нужен код.";
    /// An enrolment by the administrator's code was cancelled.
    RESET_LEFT =
        "The second factor is not set up, and the enrolment code is used up: ask the administrator for another.",
        "Второй фактор не настроен, а код привязки уже использован: попросите у администратора другой.";
    /// An enrolment by a recovery code was cancelled. Values: number of codes left.
    RECOVERY_LEFT =
        "The second factor is not replaced: the old one stays. Recovery codes left: {}.",
        "Второй фактор не заменён, действует прежний. Резервных кодов осталось: {}.";
    /// A replacement was cancelled.
    REPLACE_LEFT =
        "The second factor is not replaced: the old one stays.",
        "Второй фактор не заменён, действует прежний.";
    /// A replacement is done.
    REPLACED =
        "The second factor is replaced: delete the old entry from the authenticator.",
        "Второй фактор заменён: удалите старую запись из приложения.";
    /// The picture was deleted.
    PICTURE_DELETED = "The picture has been deleted.", "Картинка удалена.";
    /// The picture was kept. Values: path.
    PICTURE_KEPT =
        "The picture stays: {}. Anybody who sees it can make your codes.",
        "Картинка осталась: {}. Кто её увидит, сможет получать ваши коды.";
    /// The picture could not be deleted. Values: path, cause.
    PICTURE_UNDELETED =
        "The picture {} could not be deleted ({}): delete it yourself.",
        "Картинку {} удалить не удалось ({}): удалите её сами.";
}
