//! A sentence in both languages.

use crate::base::lang::Lang;

/// A sentence in both languages. `{}` marks a place for a value.
#[derive(Clone, Copy, Debug)]
pub struct Sentence {
    en: &'static str,
    ru: &'static str,
}

impl Sentence {
    /// Puts the two languages side by side.
    pub const fn new(en: &'static str, ru: &'static str) -> Sentence {
        Sentence { en, ru }
    }

    /// The sentence in `lang`.
    pub const fn text(self, lang: Lang) -> &'static str {
        match lang {
            Lang::En => self.en,
            Lang::Ru => self.ru,
        }
    }

    /// The sentence in `lang`, with each `{}` replaced by the next of `values`.
    pub fn with(self, lang: Lang, values: &[&str]) -> String {
        let mut values = values.iter();
        let mut filled = String::new();
        for (number, part) in self.text(lang).split("{}").enumerate() {
            if number > 0 {
                filled.push_str(values.next().copied().unwrap_or_default());
            }
            filled.push_str(part);
        }
        filled
    }
}

/// A table of sentences, one row each: `NAME = "English", "Russian";`.
macro_rules! sentences {
    ($( $(#[$doc:meta])* $name:ident = $en:literal, $ru:literal; )+) => {
        $( $(#[$doc])* pub const $name: $crate::client::console::text::sentence::Sentence =
            $crate::client::console::text::sentence::Sentence::new($en, $ru); )+

        #[cfg(test)]
        pub(super) const ALL: &[$crate::client::console::text::sentence::Sentence] = &[$($name),+];
    };
}
pub(super) use sentences;
