//! Why a call failed, in sentences.

use std::time::Duration;

use crate::base::duration_words;
use crate::base::escape::one_line;
use crate::base::lang::Lang;
use crate::client::console::text::sentence::sentences;
use crate::client::console::text::tls;
use crate::client::endpoint::EndpointError;
use crate::client::error::{CallError, ServerRefusal};
use crate::client::tls::fault::TlsSetupError;
use crate::model::reason::Reason;

sentences! {
    /// No connection. Values: server.
    UNREACHABLE =
        "The server {} cannot be reached: is it running, and is the address right?",
        "Сервер {} недоступен: запущен ли он и верен ли адрес?";
    /// The same in few words.
    UNREACHABLE_SHORT = "the server cannot be reached", "сервер недоступен";
    /// No answer.
    NO_ANSWER = "The server did not answer in time: try again.", "Сервер не ответил вовремя: попробуйте ещё раз.";
    /// The same in few words.
    NO_ANSWER_SHORT = "the connection broke", "соединение прервалось";
    /// The server does not know the call.
    TOO_OLD =
        "The server is older than this console and cannot do this: ask its administrator to update it.",
        "Сервер этого не умеет, он старее этой консоли: попросите администратора его обновить.";
    /// The same in few words.
    TOO_OLD_SHORT = "the server is too old for this console", "сервер слишком стар для этой консоли";
    /// The server said that it stops.
    STOPPING_SHORT = "the server is stopping", "сервер останавливается";
    /// A refusal that this client does not know. Values: the server's sentence.
    SERVER_SAYS = "The server says: {}", "Ответ сервера: {}";
    /// A refusal without any words.
    REFUSED = "The server refuses.", "Сервер отказал.";
    /// Too many tries. Values: how long to wait.
    THROTTLED_FOR = "Too many tries: try again in {}.", "Слишком много попыток: попробуйте снова через {}.";
    /// Added to the sentence about too many wrong codes. Values: that sentence, how long to wait.
    NEXT_GUESS = "{} The next code can be tried in {}.", "{} Следующий код можно попробовать через {}.";
    /// The password would be readable on the network. Values: server, address, flag.
    EXPOSED =
        "{} is {}, not this machine: password and code would cross the network in the clear. Use --tls (the server \
         needs a certificate) or a tunnel (ssh -L 50051:localhost:50051 HOST), or accept the risk with {}.",
        "{} — это {}, не эта машина: пароль и код прошли бы по сети открытым текстом. Используйте --tls (серверу \
         нужен сертификат) или туннель (ssh -L 50051:localhost:50051 УЗЕЛ) либо согласитесь на это флагом {}.";
    /// The name has no address. Values: server, cause.
    UNKNOWN_SERVER = "The address of {} cannot be found: {}", "Не удалось найти адрес {}: {}";
}

/// The flag that lets a password cross the network, as people type it.
const EXPOSE_FLAG: &str = "--plaintext-password-exposed-to-network";

/// Why there is no address to connect to.
pub fn endpoint(error: &EndpointError, lang: Lang) -> String {
    match error {
        EndpointError::Unknown { name, cause } => UNKNOWN_SERVER.with(lang, &[&name.to_string(), &cause.to_string()]),
        EndpointError::Exposed { name, address } => {
            EXPOSED.with(lang, &[&name.to_string(), &address.to_string(), EXPOSE_FLAG])
        }
    }
}

/// Why TLS with `server` cannot be set up.
pub fn tls_setup(error: &TlsSetupError, server: &str, lang: Lang) -> String {
    match error {
        TlsSetupError::Certificate(error) => tls::certificate(error, lang),
        TlsSetupError::NoStore => tls::NO_STORE.text(lang).to_owned(),
        TlsSetupError::Unreachable => UNREACHABLE.with(lang, &[server]),
        TlsSetupError::Fault(fault) => tls::fault(fault, server, lang),
        TlsSetupError::OpenSsl(error) => tls::NO_TLS.with(lang, &[server, &error.to_string()]),
    }
}

/// Why a call to `server` failed, as a sentence.
pub fn failure(error: &CallError, server: &str, lang: Lang) -> String {
    match error {
        CallError::Unreachable => UNREACHABLE.with(lang, &[server]),
        CallError::Tls(fault) => tls::fault(fault, server, lang),
        CallError::NoAnswer => NO_ANSWER.text(lang).to_owned(),
        CallError::TooOld => TOO_OLD.text(lang).to_owned(),
        CallError::Refused(refusal) => self::refusal(refusal, lang),
    }
}

/// The same in few words, for a sentence around them.
pub fn short_failure(error: &CallError, lang: Lang) -> String {
    match error {
        CallError::Unreachable => UNREACHABLE_SHORT.text(lang).to_owned(),
        CallError::Tls(_) => tls::NO_TLS_SHORT.text(lang).to_owned(),
        CallError::NoAnswer => NO_ANSWER_SHORT.text(lang).to_owned(),
        CallError::TooOld => TOO_OLD_SHORT.text(lang).to_owned(),
        CallError::Refused(refusal) if refusal.reason == Some(Reason::Draining) => STOPPING_SHORT.text(lang).to_owned(),
        CallError::Refused(refusal) => self::refusal(refusal, lang).trim_end_matches('.').to_owned(),
    }
}

/// A refusal as a sentence: our own if we know the reason, else the server's, escaped. An internal error shows both, because
/// only the server's sentence names the incident.
pub fn refusal(refusal: &ServerRefusal, lang: Lang) -> String {
    let theirs = one_line(&refusal.sentence);
    match refusal.reason {
        Some(Reason::Internal) if !theirs.is_empty() => {
            format!("{} {}", Reason::Internal.sentence(lang), SERVER_SAYS.with(lang, &[&theirs]))
        }
        Some(reason) => with_waiting_time(reason, refusal.retry_after, lang),
        None if refusal.ends_session => Reason::SessionEnded.sentence(lang).to_owned(),
        None if !theirs.is_empty() => SERVER_SAYS.with(lang, &[&theirs]),
        None => REFUSED.text(lang).to_owned(),
    }
}

/// Our own sentence for `reason`, with the time to wait if waiting helps.
fn with_waiting_time(reason: Reason, retry_after: Option<Duration>, lang: Lang) -> String {
    let sentence = reason.sentence(lang);
    match (reason, retry_after) {
        (Reason::Throttled, Some(wait)) => THROTTLED_FOR.with(lang, &[&duration_words::in_words(wait, lang)]),
        (Reason::GuessesSpent, Some(wait)) => NEXT_GUESS.with(lang, &[sentence, &duration_words::in_words(wait, lang)]),
        _ => sentence.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_sentence_is_escaped_and_used_for_reasons_that_we_do_not_know() {
        let said = |word: &str, sentence: &str| refusal(&ServerRefusal::in_response(word, sentence), Lang::En);
        assert_eq!(said("INVALID_CODE", "\x1b[2J"), Reason::InvalidCode.sentence(Lang::En));
        assert_eq!(said("SOMETHING_NEWER", "wait\n\x1b[2J"), "The server says: wait\\u{a}\\u{1b}[2J");
        assert!(said("INTERNAL", "incident 7").ends_with("The server says: incident 7"));
        assert_eq!(said("", ""), "The server refuses.");
    }

    #[test]
    fn every_reason_is_said_in_both_languages_and_only_an_incident_in_the_servers_words() {
        for &reason in Reason::ALL {
            let [en, ru] =
                [Lang::En, Lang::Ru].map(|lang| refusal(&ServerRefusal::in_response(reason.word(), "GIBBERISH"), lang));
            for (said, lang) in [(&en, Lang::En), (&ru, Lang::Ru)] {
                assert!(said.starts_with(reason.sentence(lang)), "{reason}: {said}");
                assert_eq!(said.contains("GIBBERISH"), reason == Reason::Internal, "{reason}: {said}");
            }
            assert!(en.is_ascii() && ru.chars().any(|letter| ('а'..='я').contains(&letter)), "{reason}: {en} {ru}");
        }
    }

    #[test]
    fn the_time_to_wait_is_said_if_waiting_helps() {
        let said = |word: &str, lang| refusal(&ServerRefusal::in_response(word, "").after(300), lang);
        assert_eq!(said("THROTTLED", Lang::En), "Too many tries: try again in 5 minutes.");
        assert_eq!(said("THROTTLED", Lang::Ru), "Слишком много попыток: попробуйте снова через 5 минут.");
        let spent = said("GUESSES_SPENT", Lang::En);
        assert!(
            spent.contains("recovery code") && spent.ends_with(" The next code can be tried in 5 minutes."),
            "{spent}"
        );
        assert!(said("GUESSES_SPENT", Lang::Ru).contains("резервным кодом"));
        assert_eq!(said("OVERLOADED", Lang::En), Reason::Overloaded.sentence(Lang::En));
    }
}
