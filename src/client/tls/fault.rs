//! Why TLS with a server fails, and why it cannot be set up.

use openssl::error::ErrorStack;

use crate::security::certificate::{CertificateError, Fingerprint};

/// Why TLS with a server fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsFault {
    /// The server does not speak TLS, or closes the connection.
    #[error("the server does not speak TLS")]
    NotTls,
    /// The server speaks TLS, and we do not.
    #[error("the server speaks TLS only")]
    TlsOnly,
    /// No authority that we trust has signed the certificate.
    #[error("no trusted authority has signed the server's certificate")]
    UnknownAuthority,
    /// The certificate has expired.
    #[error("the server's certificate has expired")]
    Expired,
    /// The certificate is not valid yet.
    #[error("the server's certificate is not valid yet")]
    NotYet,
    /// The certificate is for another name.
    #[error("the server's certificate is for another name")]
    OtherName,
    /// The certificate is not the pinned one.
    #[error("the server's certificate is not the pinned one, but {0}")]
    OtherCertificate(Fingerprint),
    /// The pinned certificate has no name, and grpcio wants one.
    #[error("the pinned certificate has no name")]
    Nameless,
    /// The server seems to want a client certificate.
    #[error("the server asks for a client certificate")]
    WantsOurs,
    /// The server rejects our client certificate.
    #[error("the server rejects our client certificate")]
    RefusesOurs,
    /// Any other cause, in OpenSSL's words.
    #[error("{0}")]
    Other(String),
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// A file cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The system has no list of trusted authorities.
    #[error("this system has no list of trusted authorities")]
    NoStore,
    /// The pinned certificate could not be fetched.
    #[error("the server cannot be reached")]
    Unreachable,
    /// The server does not show the pinned certificate.
    #[error(transparent)]
    Fault(#[from] TlsFault),
    /// OpenSSL failed.
    #[error("{0}")]
    OpenSsl(#[from] ErrorStack),
}
