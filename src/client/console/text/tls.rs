//! Why TLS fails, in sentences.

use std::path::Path;

use crate::base::lang::Lang;
use crate::client::console::text::sentence::sentences;
use crate::client::tls::fault::TlsFault;
use crate::security::certificate::CertificateError;
use crate::security::keys::KeyError;

sentences! {
    /// The server does not speak TLS. Values: server.
    NOT_TLS =
        "The server {} does not speak TLS, or hangs up on it: is the port right?",
        "Сервер {} не говорит по TLS или обрывает его: верен ли порт?";
    /// The server speaks TLS only. Values: server.
    TLS_ONLY =
        "The server {} speaks TLS: use --tls, --ca or --pin (see otpchat --help).",
        "Сервер {} говорит по TLS: нужен флаг --tls, --ca или --pin (см. otpchat --help).";
    /// No trusted authority signed the certificate. Values: server.
    UNKNOWN_AUTHORITY =
        "No authority that this machine trusts has signed the certificate of {}. Somebody may be intercepting the \
         connection; if not, name the authority with --ca or the fingerprint with --pin.",
        "Сертификат {} не подписан никем, кому здесь доверяют. Возможно, кто-то вклинился между вами; если нет, \
         укажите его центр сертификации (--ca) или отпечаток (--pin).";
    /// Expired. Values: server.
    CERTIFICATE_EXPIRED =
        "The certificate of {} has expired: its administrator must renew it. (Is this machine's clock right?)",
        "Срок действия сертификата {} истёк: его должен обновить администратор. (Верны ли часы этой машины?)";
    /// Not valid yet. Values: server.
    CERTIFICATE_NOT_YET =
        "The certificate of {} is not valid yet: is this machine's clock right?",
        "Сертификат {} ещё не действует: верны ли часы этой машины?";
    /// For another name. Values: server.
    OTHER_NAME =
        "The certificate is not for {}: use the name in the certificate with --server, or trust only this \
         certificate with --pin.",
        "Сертификат выдан не для {}: укажите в --server то имя, для которого он выдан, либо доверьте только ему \
         флагом --pin.";
    /// Not the pinned one. Values: server, fingerprint.
    OTHER_CERTIFICATE =
        "{} shows another certificate than the pinned one: {}. Somebody may be intercepting the connection, or the \
         certificate was renewed: ask its administrator for the new fingerprint.",
        "{} предъявляет не тот сертификат, что закреплён: {}. Возможно, кто-то вклинился между вами; или \
         сертификат обновили: спросите у администратора новый отпечаток.";
    /// The pinned certificate has no name. Values: server.
    NAMELESS =
        "The certificate of {} has no name, and the transport needs one: make a certificate with a name.",
        "В сертификате {} нет имени, а транспорту оно нужно: сертификат надо выпустить с именем.";
    /// The server wants a client certificate. Values: server.
    WANTS_OURS =
        "{} closes the connection, as servers do that want a client certificate: give one with --tls-client-cert \
         and --tls-client-key.",
        "{} обрывает соединение — так делают серверы, которым нужен сертификат клиента: укажите его флагами \
         --tls-client-cert и --tls-client-key.";
    /// The server rejects the client certificate. Values: server.
    REFUSES_OURS =
        "{} closes the connection, as servers do that reject a client certificate: ask its administrator which \
         authority must sign it.",
        "{} обрывает соединение — так делают серверы, не принявшие сертификат клиента: спросите у администратора, \
         чем он должен быть подписан.";
    /// Any other cause. Values: server, OpenSSL's words.
    NO_TLS = "TLS with {} fails: {}", "Не удалось установить TLS с {}: {}";
    /// The same in few words.
    NO_TLS_SHORT = "TLS fails", "не удалось установить TLS";
    /// The system has no list of authorities.
    NO_STORE =
        "This system has no list of trusted authorities: install ca-certificates, or give --ca or --pin.",
        "В этой системе нет хранилища сертификатов: установите ca-certificates либо укажите --ca или --pin.";
    /// A file could not be read. Values: path, cause.
    TLS_FILE = "{}: {}", "{}: {}";
    /// A file without a certificate. Values: path.
    NO_CERTIFICATE =
        "{} holds no certificate in PEM form (BEGIN CERTIFICATE).",
        "В {} нет сертификата в формате PEM (BEGIN CERTIFICATE).";
    /// A file without a key. Values: path.
    NO_KEY =
        "{} holds no private key in PEM form (BEGIN PRIVATE KEY).",
        "В {} нет закрытого ключа в формате PEM (BEGIN PRIVATE KEY).";
    /// A key with a passphrase. Values: path, path.
    LOCKED_KEY =
        "The key in {} has a passphrase: write it without one, with openssl pkey -in {} -out NEW, at mode 0600.",
        "Ключ в {} защищён паролем: сохраните его без пароля (openssl pkey -in {} -out НОВЫЙ), с правами 0600.";
    /// A key that does not match. Values: key path, certificate path.
    OTHER_KEY = "The key in {} does not belong to the certificate in {}.", "Ключ в {} не подходит к сертификату в {}.";
    /// Others can read the key. Values: path.
    KEY_EXPOSED =
        "{} can be read by others: run chmod 600 on it, and replace the key if somebody may have read it.",
        "{} могут прочитать другие: выполните для него chmod 600 и замените ключ, если его могли прочитать.";
}

/// Why TLS with `server` fails.
pub fn fault(fault: &TlsFault, server: &str, lang: Lang) -> String {
    let sentence = match fault {
        TlsFault::NotTls => NOT_TLS,
        TlsFault::TlsOnly => TLS_ONLY,
        TlsFault::UnknownAuthority => UNKNOWN_AUTHORITY,
        TlsFault::Expired => CERTIFICATE_EXPIRED,
        TlsFault::NotYet => CERTIFICATE_NOT_YET,
        TlsFault::OtherName => OTHER_NAME,
        TlsFault::OtherCertificate(shown) => return OTHER_CERTIFICATE.with(lang, &[server, &shown.to_string()]),
        TlsFault::Nameless => NAMELESS,
        TlsFault::WantsOurs => WANTS_OURS,
        TlsFault::RefusesOurs => REFUSES_OURS,
        TlsFault::Other(words) => return NO_TLS.with(lang, &[server, words]),
    };
    sentence.with(lang, &[server])
}

/// Why a file with a certificate or key cannot be used.
pub fn certificate(error: &CertificateError, lang: Lang) -> String {
    let show = |path: &Path| path.display().to_string();
    match error {
        CertificateError::Io { path, source } | CertificateError::Key(KeyError::Io { path, source }) => {
            TLS_FILE.with(lang, &[&show(path), &source.to_string()])
        }
        CertificateError::NoCertificate { path, .. } => NO_CERTIFICATE.with(lang, &[&show(path)]),
        CertificateError::NoKey { path } => NO_KEY.with(lang, &[&show(path)]),
        CertificateError::Locked { path } => LOCKED_KEY.with(lang, &[&show(path), &show(path)]),
        CertificateError::OtherKey { certificate, key } => OTHER_KEY.with(lang, &[&show(key), &show(certificate)]),
        CertificateError::Key(KeyError::Exposed { path, .. }) => KEY_EXPOSED.with(lang, &[&show(path)]),
        CertificateError::Unusable { path, cause } => TLS_FILE.with(lang, &[&show(path), cause]),
        // The remaining errors concern the server's own keys.
        CertificateError::Key(error) => error.to_string(),
    }
}
