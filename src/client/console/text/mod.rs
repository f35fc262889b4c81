//! Everything the console says, in both languages: one table per dialogue, one row per sentence.

pub mod account;
pub mod chat;
pub mod enrolment;
pub mod failures;
pub mod help;
pub mod login;
pub mod outbox;
pub mod recovery;
pub mod room;
pub mod sentence;
pub mod sessions;
pub mod tls;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::lang::Lang;

    #[test]
    fn both_languages_have_the_same_places_for_values() {
        let tables = [
            account::ALL,
            chat::ALL,
            enrolment::ALL,
            failures::ALL,
            login::ALL,
            outbox::ALL,
            recovery::ALL,
            room::ALL,
            sessions::ALL,
            tls::ALL,
        ];
        for sentence in tables.into_iter().flatten() {
            let [en, ru] = [Lang::En, Lang::Ru].map(|lang| sentence.text(lang));
            assert_eq!(en.matches("{}").count(), ru.matches("{}").count(), "{en}");
            assert_eq!(en.lines().count(), ru.lines().count(), "{en}");
        }
        assert_eq!(enrolment::PICTURE.with(Lang::En, &["{}"]), "Picture: {}", "a value is not a template");
    }
}
