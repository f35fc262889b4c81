//! The languages of texts for people.

use clap::ValueEnum;

/// A language of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ValueEnum)]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Russian.
    Ru,
}

impl Lang {
    /// The language of a POSIX locale environment: the first of `LC_ALL`, `LC_MESSAGES` and `LANG` that is set and not
    /// empty decides; anything but Russian is English.
    pub fn from_locale(var: impl Fn(&str) -> Option<String>) -> Lang {
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(|name| var(name).filter(|v| !v.is_empty()));
        match locale {
            Some(name) if name.starts_with("ru") => Lang::Ru,
            _ => Lang::En,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_locale_variable_that_is_set_decides() {
        fn check(set: &[(&str, &str)], lang: Lang) {
            let var = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
            assert_eq!(Lang::from_locale(var), lang, "{set:?}");
        }
        check(&[], Lang::En);
        check(&[("LANG", "ru_RU.UTF-8")], Lang::Ru);
        check(&[("LANG", "ru_RU.UTF-8"), ("LC_ALL", "C.UTF-8")], Lang::En);
        check(&[("LANG", "ru_RU.UTF-8"), ("LC_ALL", "")], Lang::Ru);
        check(&[("LC_MESSAGES", "ru"), ("LANG", "en_GB.UTF-8")], Lang::Ru);
    }
}
