//! Nouns after a number.

use crate::base::lang::Lang;

/// A noun and its forms.
#[derive(Clone, Copy, Debug)]
pub struct Noun {
    /// English: after one, and after any other number.
    pub en: [&'static str; 2],
    /// Russian: after one, after two to four, and after five and more.
    pub ru: [&'static str; 3],
}

impl Noun {
    /// The number and the noun after it: `3 messages`.
    pub fn count(&self, count: u64, lang: Lang) -> String {
        let name = match lang {
            Lang::En => self.en[usize::from(count != 1)],
            Lang::Ru => self.ru[russian_form(count)],
        };
        format!("{count} {name}")
    }
}

fn russian_form(count: u64) -> usize {
    match (count % 10, count % 100) {
        (_, 11..=14) => 2,
        (1, _) => 0,
        (2..=4, _) => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_noun_takes_the_form_of_its_number() {
        let lines = Noun { en: ["line", "lines"], ru: ["строка", "строки", "строк"] };
        for (count, en, ru) in [
            (0, "0 lines", "0 строк"),
            (1, "1 line", "1 строка"),
            (2, "2 lines", "2 строки"),
            (4, "4 lines", "4 строки"),
            (5, "5 lines", "5 строк"),
            (11, "11 lines", "11 строк"),
            (12, "12 lines", "12 строк"),
            (21, "21 lines", "21 строка"),
            (111, "111 lines", "111 строк"),
            (122, "122 lines", "122 строки"),
        ] {
            assert_eq!((lines.count(count, Lang::En).as_str(), lines.count(count, Lang::Ru).as_str()), (en, ru));
        }
    }
}
