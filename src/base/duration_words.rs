//! Durations in words.

use std::time::Duration;

use crate::base::lang::Lang;
use crate::base::plural::Noun;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A unit and its name; in Russian in the accusative, as after «через» and «на».
struct Unit {
    seconds: u64,
    name: Noun,
}

const UNITS: [Unit; 4] = [
    Unit { seconds: DAY, name: Noun { en: ["day", "days"], ru: ["день", "дня", "дней"] } },
    Unit { seconds: HOUR, name: Noun { en: ["hour", "hours"], ru: ["час", "часа", "часов"] } },
    Unit {
        seconds: MINUTE, name: Noun { en: ["minute", "minutes"], ru: ["минуту", "минуты", "минут"] }
    },
    Unit {
        seconds: 1, name: Noun { en: ["second", "seconds"], ru: ["секунду", "секунды", "секунд"] }
    },
];

/// `span` in a unit that fits, rounded up: a wait of that length is long enough.
pub fn in_words(span: Duration, lang: Lang) -> String {
    let (seconds, unit) = measure(span);
    unit.name.count(seconds.div_ceil(unit.seconds), lang)
}

/// As [`in_words`], but rounded to the nearest.
pub fn about(span: Duration, lang: Lang) -> String {
    let (seconds, unit) = measure(span);
    unit.name.count(seconds.saturating_add(unit.seconds / 2) / unit.seconds, lang)
}

/// Whole seconds, at least one, and the largest unit of which there are at least two, or exactly one.
fn measure(span: Duration) -> (u64, &'static Unit) {
    let seconds = span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0)).max(1);
    let fits = |unit: &&Unit| seconds >= 2 * unit.seconds || seconds == unit.seconds;
    let [.., second] = &UNITS;
    (seconds, UNITS.iter().find(fits).unwrap_or(second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_said_in_a_unit_that_fits_and_in_the_right_form() {
        for (seconds, en, ru) in [
            (0, "1 second", "1 секунду"),
            (1, "1 second", "1 секунду"),
            (2, "2 seconds", "2 секунды"),
            (5, "5 seconds", "5 секунд"),
            (11, "11 seconds", "11 секунд"),
            (14, "14 seconds", "14 секунд"),
            (21, "21 seconds", "21 секунду"),
            (60, "1 minute", "1 минуту"),
            (61, "61 seconds", "61 секунду"),
            (112, "112 seconds", "112 секунд"),
            (120, "2 minutes", "2 минуты"),
            (121, "3 minutes", "3 минуты"),
            (300, "5 minutes", "5 минут"),
            (21 * 60, "21 minutes", "21 минуту"),
            (3_600, "1 hour", "1 час"),
            (3_601, "61 minutes", "61 минуту"),
            (3 * 3_600 - 5, "3 hours", "3 часа"),
            (86_400, "1 day", "1 день"),
            (86_399, "24 hours", "24 часа"),
            (86_401, "25 hours", "25 часов"),
            (3 * 86_400, "3 days", "3 дня"),
            (11 * 86_400, "11 days", "11 дней"),
        ] {
            let span = Duration::from_secs(seconds);
            assert_eq!((in_words(span, Lang::En).as_str(), in_words(span, Lang::Ru).as_str()), (en, ru), "{seconds}");
        }
        assert_eq!(in_words(Duration::from_millis(1_001), Lang::En), "2 seconds");
        for (seconds, said) in [(100, "100 seconds"), (7_200 + 1_799, "2 hours"), (7_200 + 1_800, "3 hours")] {
            assert_eq!(about(Duration::from_secs(seconds), Lang::En), said, "{seconds}");
        }
        assert!(in_words(Duration::MAX, Lang::En).ends_with(" days"));
    }
}
