//! Certificates and their keys: PEM files, checked before they are used.
//!
//! OpenSSL checks them, and grpcio serves TLS with OpenSSL: what is accepted here is accepted there.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslContext, SslMethod};
use openssl::x509::{X509, X509Ref};

use super::keys::{self, KeyError, KeyGuard};
use super::secret::SecretBytes;
use crate::base::clock::Time;

/// The longest file of certificates, in bytes: all public authorities together take a quarter of a mebibyte.
const MAX_CERTIFICATES_BYTES: usize = 4 * 1024 * 1024;
/// The longest file of a key, in bytes, with room for certificates in the same file.
const MAX_KEY_BYTES: usize = 256 * 1024;

/// A certificate or its key that cannot be used, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The file could not be read.
    #[error("{}: {source}; check its name, and that this user may read it", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The key's file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The file holds no certificate.
    #[error("{} holds no certificate that can be read: it has to be in PEM form (BEGIN CERTIFICATE); {cause}", path.display())]
    NoCertificate {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// The file holds no key. The cause is not shown: it may contain parts of a key.
    #[error("{} holds no private key that can be read: it has to be in PEM form (BEGIN PRIVATE KEY)", path.display())]
    NoKey {
        /// Which file.
        path: PathBuf,
    },
    /// The key has a passphrase.
    #[error("the key in {0} is under a passphrase, which nobody is there to type: write it without one, with `openssl pkey -in {0} -out NEW`, and keep that at mode 0600", path.display())]
    Locked {
        /// Which file.
        path: PathBuf,
    },
    /// The key belongs to another certificate.
    #[error("the key in {} does not belong to the (first) certificate in {}: give the two that were made together", key.display(), certificate.display())]
    OtherKey {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// OpenSSL refuses it.
    #[error("the certificate in {} cannot be used for TLS: {cause}; make a new one (RSA of 2048 bits or more, or P-256)", path.display())]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// What OpenSSL says.
        cause: String,
    },
}

/// Whether a certificate is valid at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// It is valid.
    Valid,
    /// It will be valid later.
    NotYet,
    /// It has expired.
    Expired,
}

/// A certificate with the key that belongs to it.
#[derive(Debug, PartialEq, Eq)]
pub struct Pair {
    /// The certificate, and those that lead up to its authority, in PEM form and without anything else.
    pub chain: Vec<u8>,
    /// The key, in PEM form.
    pub key: SecretBytes,
    /// The certificate's fingerprint.
    pub fingerprint: Fingerprint,
    /// The start of its validity.
    pub from: Time,
    /// The end of its validity.
    pub until: Time,
}

impl Pair {
    /// Reads certificate and key, and checks that they belong together and that TLS accepts them.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn load(certificate: &Path, key: &Path, guard: KeyGuard) -> Result<Pair, CertificateError> {
        let chain = read(certificate)?;
        let unreadable = |cause: ErrorStack| no_certificate(certificate, &cause.to_string());
        let own = chain.first().ok_or_else(|| no_certificate(certificate, "there is none in it"))?;
        let private = read_key(key, guard)?;
        if !own.public_key().is_ok_and(|public| public.public_eq(&private)) {
            return Err(CertificateError::OtherKey { certificate: certificate.to_owned(), key: key.to_owned() });
        }
        try_out(&chain, &private).map_err(|cause| CertificateError::Unusable {
            path: certificate.to_owned(),
            cause: first_sentence(&cause),
        })?;
        let no_key = |_| CertificateError::NoKey { path: key.to_owned() };
        Ok(Pair {
            chain: pem(&chain).map_err(unreadable)?,
            key: SecretBytes::new(private.private_key_to_pem_pkcs8().map_err(no_key)?),
            fingerprint: Fingerprint::from_certificate(own).map_err(unreadable)?,
            from: time(own.not_before()).map_err(unreadable)?,
            until: time(own.not_after()).map_err(unreadable)?,
        })
    }

    /// Whether the certificate is valid at a time.
    pub fn validity(&self, now: Time) -> Validity {
        match now {
            now if now < self.from => Validity::NotYet,
            now if now > self.until => Validity::Expired,
            _ => Validity::Valid,
        }
    }
}

/// Reads the certificates of authorities: at least one, in PEM form and without anything else.
///
/// # Errors
/// [`CertificateError`].
pub fn authorities(path: &Path) -> Result<Vec<u8>, CertificateError> {
    pem(&read(path)?).map_err(|cause| no_certificate(path, &cause.to_string()))
}

/// The SHA-256 of a certificate, which prints as OpenSSL prints it: `AB:CD:…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate.
    ///
    /// # Errors
    /// None is known for a certificate that was read.
    pub fn from_certificate(certificate: &X509Ref) -> Result<Fingerprint, ErrorStack> {
        let digest = certificate.digest(MessageDigest::sha256())?;
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.get(..32).ok_or_else(ErrorStack::get)?);
        Ok(Fingerprint(bytes))
    }
}

/// Not a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 fingerprint has 64 hexadecimal digits, with or without colons: AB:CD:...")]
pub struct NoFingerprint;

impl std::str::FromStr for Fingerprint {
    type Err = NoFingerprint;

    /// Reads what `openssl x509 -fingerprint -sha256` prints, or the bare digits.
    fn from_str(text: &str) -> Result<Fingerprint, NoFingerprint> {
        let digits = text.rsplit_once('=').map_or(text, |(_, digits)| digits).trim().replace(':', "");
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).map_err(|_| NoFingerprint)?;
        bytes.try_into().map(Fingerprint).map_err(|_| NoFingerprint)
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pairs: Vec<String> = self.0.iter().map(|byte| format!("{byte:02X}")).collect();
        f.write_str(&pairs.join(":"))
    }
}

/// Certificates one after another in PEM form.
///
/// # Errors
/// None is known for certificates that were read.
pub fn pem(certificates: &[X509]) -> Result<Vec<u8>, ErrorStack> {
    certificates.iter().map(|certificate| certificate.to_pem()).collect::<Result<Vec<_>, _>>().map(|all| all.concat())
}

fn read(path: &Path) -> Result<Vec<X509>, CertificateError> {
    let io = |source| CertificateError::Io { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(io)?.take(MAX_CERTIFICATES_BYTES as u64).read_to_end(&mut bytes).map_err(io)?;
    match X509::stack_from_pem(&bytes) {
        Ok(found) if found.is_empty() => Err(no_certificate(path, "there is none in it")),
        Ok(found) => Ok(found),
        Err(cause) => Err(no_certificate(path, &first_sentence(&cause))),
    }
}

fn read_key(path: &Path, guard: KeyGuard) -> Result<PKey<Private>, CertificateError> {
    let bytes = keys::read_guarded(path, guard, MAX_KEY_BYTES)?;
    let mut locked = false;
    // Without a callback, OpenSSL would ask for a passphrase on the terminal.
    let key = PKey::private_key_from_pem_callback(bytes.expose(), |_| {
        locked = true;
        Ok(0)
    });
    let path = path.to_owned();
    key.map_err(|_| if locked { CertificateError::Locked { path } } else { CertificateError::NoKey { path } })
}

/// Does what grpcio will do with them, so that a key that is too short, for example, is reported here.
fn try_out(chain: &[X509], key: &PKey<Private>) -> Result<(), ErrorStack> {
    let mut context = SslContext::builder(SslMethod::tls_server())?;
    for (number, certificate) in chain.iter().enumerate() {
        match number {
            0 => context.set_certificate(certificate)?,
            _ => context.add_extra_chain_cert(certificate.clone())?,
        }
    }
    context.set_private_key(key)?;
    context.check_private_key()
}

fn time(at: &Asn1TimeRef) -> Result<Time, ErrorStack> {
    let since = Asn1Time::from_unix(0)?.diff(at)?;
    Ok(Time::from_secs(i64::from(since.days) * 86_400 + i64::from(since.secs)))
}

fn no_certificate(path: &Path, cause: &str) -> CertificateError {
    CertificateError::NoCertificate { path: path.to_owned(), cause: cause.to_owned() }
}

/// The first of OpenSSL's errors, in its words and without its numbers.
fn first_sentence(errors: &ErrorStack) -> String {
    let first = errors.errors().first().and_then(|error| error.reason());
    first.unwrap_or("OpenSSL does not say why").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_openssl_prints_it_and_as_bare_digits() {
        let printed = (0..32).map(|n| format!("{n:02X}")).collect::<Vec<_>>().join(":");
        let fingerprint: Fingerprint = printed.parse().unwrap();
        assert_eq!(fingerprint.to_string(), printed);
        for text in [printed.replace(':', ""), printed.to_lowercase(), format!("sha256 Fingerprint={printed}")] {
            assert_eq!(text.parse(), Ok(fingerprint), "{text}");
        }
        for text in ["", "AB:CD", &printed[3..], "SHA256:nonsense", &format!("{printed}:00"), "Ж"] {
            assert_eq!(text.parse::<Fingerprint>(), Err(NoFingerprint), "{text}");
        }
    }
}
