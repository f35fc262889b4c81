//! Sentences of recovery codes.

use crate::client::console::text::sentence::sentences;

sentences! {
    /// Above the recovery codes.
    RECOVERY_CODES =
        "Recovery codes: each one logs you in once without the phone. They are shown only this once: write them \
         down, and keep them away from the phone.",
        "Резервные коды: каждый один раз впустит вас без телефона. Они показаны один-единственный раз: запишите их \
         и храните отдельно от телефона.";
    /// New codes replace the old ones.
    OLD_CODES_VOID = "The old recovery codes are void.", "Прежние резервные коды больше не действуют.";
    /// Few codes are left. Values: number.
    FEW_RECOVERY_CODES =
        "Recovery codes left: {}. /recovery makes ten new ones.",
        "Резервных кодов осталось: {}. Десять новых даст /recovery.";
    /// Above the prompt for a code.
    RECOVERY_HINT = "(no phone? type a recovery code instead)", "(нет телефона — введите резервный код)";
    /// The answer is neither kind of code.
    NEITHER_CODE =
        "A code from the authenticator has 6 digits, a recovery code 16 letters and digits: try again.",
        "В коде из приложения 6 цифр, в резервном коде 16 букв и цифр: попробуйте ещё раз.";
    /// A recovery code was accepted.
    RECOVERY_USED =
        "This recovery code is used up. Now set up a new second factor: it replaces the old one, and the old \
         recovery codes.",
        "Этот резервный код использован. Теперь настройте новый второй фактор: он заменит старый и прежние \
         резервные коды.";
}
