//! TLS as the console asks for it: whom it trusts, and why a connection did not come about.
//!
//! The calls go through grpcio, which connects and verifies by itself, and says no more than that it failed. So this
//! program shakes hands once more by itself where a person has to be told why, with the same OpenSSL and the same rules;
//! nothing is sent over such a connection.
//!
//! A pinned certificate is one that is known by its fingerprint: it is fetched, and only if it has that fingerprint grpcio
//! is told to trust it alone, and to expect the name that it bears. So neither its name nor who signed it matters.

use std::io;
use std::net::{IpAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use grpcio::{ChannelCredentials, ChannelCredentialsBuilder};
use openssl::error::ErrorStack;
use openssl::ssl::{ErrorCode, HandshakeError, Ssl, SslContext, SslMethod, SslStream, SslVerifyMode, SslVersion};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509, X509Ref, X509VerifyResult};
use openssl::{nid::Nid, pkey::PKey};

use crate::client::endpoint::Endpoint;
use crate::security::certificate::{self, CertificateError, Fingerprint, Pair};
use crate::security::keys::Guard;

/// How long connecting, and each answer of the server, may take while we look why TLS fails.
const LOOK_LIMIT: Duration = Duration::from_secs(2);
/// What grpcio speaks inside TLS, as the protocol negotiation writes it.
const HTTP2: &[u8] = b"\x02h2";
/// Where systems keep the certificates of the authorities they trust; the C core looks there, too.
const STORES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];
/// The variable by which OpenSSL's programs are given another one.
const STORE_VARIABLE: &str = "SSL_CERT_FILE";

/// What somebody asks of TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// The authorities to trust in place of the system's.
    pub ca: Option<PathBuf>,
    /// The one certificate to trust.
    pub pin: Option<Fingerprint>,
    /// Our own certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Why TLS cannot be spoken with a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The other side does not speak TLS, or hangs up on it.
    #[error("the server does not speak TLS")]
    NotTls,
    /// It does, and we do not.
    #[error("the server speaks TLS only")]
    TlsOnly,
    /// Nobody we trust has signed the certificate.
    #[error("the server's certificate is signed by nobody that is trusted here")]
    UnknownAuthority,
    /// It has expired.
    #[error("the server's certificate has expired")]
    Expired,
    /// It is not valid yet.
    #[error("the server's certificate is not valid yet")]
    NotYet,
    /// It is somebody else's.
    #[error("the server's certificate is for another name")]
    OtherName,
    /// It is not the pinned one.
    #[error("the server's certificate is not the pinned one, but {0}")]
    OtherCertificate(Fingerprint),
    /// The pinned one bears no name at all, and grpcio wants one.
    #[error("the pinned certificate bears no name")]
    Nameless,
    /// The server wants a certificate of ours, as far as can be seen.
    #[error("the server asks for a client certificate")]
    WantsOurs,
    /// It does not take ours.
    #[error("the server does not take our certificate")]
    RefusesOurs,
    /// Something else, in OpenSSL's words.
    #[error("{0}")]
    Other(String),
}

/// TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The system trusts nobody.
    #[error("no store of authorities was found on this system")]
    NoStore,
    /// The certificate to be pinned could not be fetched.
    #[error("the server cannot be reached")]
    Unreachable,
    /// The certificate to be pinned is not there.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// OpenSSL failed.
    #[error("{0}")]
    OpenSsl(#[from] ErrorStack),
}

/// Whom we trust and who we are.
#[derive(Debug)]
pub struct Tls {
    /// The certificates that are trusted, in PEM form.
    roots: Vec<u8>,
    /// The one certificate that is trusted, and the name it bears.
    pinned: Option<(Fingerprint, String)>,
    identity: Option<Pair>,
}

impl Tls {
    /// Reads the files, and, for a pinned certificate, fetches that from the server.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn set_up(wish: &Wish, endpoint: &Endpoint) -> Result<Tls, SetupError> {
        let identity = wish.identity.as_ref().map(|(file, key)| Pair::load(file, key, Guard::Mode)).transpose()?;
        if let Some(pin) = wish.pin {
            let certificate = fetch(endpoint, pin)?;
            let name = name_in(&certificate).ok_or(Fault::Nameless)?;
            let roots = certificate::pem(&[certificate])?;
            return Ok(Tls { roots, pinned: Some((pin, name)), identity });
        }
        let roots = certificate::authorities(&wish.ca.clone().or_else(system_store).ok_or(SetupError::NoStore)?)?;
        Ok(Tls { roots, pinned: None, identity })
    }

    /// What grpcio is to use.
    pub(super) fn credentials(&self) -> ChannelCredentials {
        // These panic on a NUL; what was written as PEM by us has none.
        let builder = ChannelCredentialsBuilder::new().root_cert(self.roots.clone());
        match &self.identity {
            Some(pair) => builder.cert(pair.chain.clone(), pair.key.expose().to_vec()).build(),
            None => builder.build(),
        }
    }

    /// The name to expect in the server's certificate, where it is not that of the server.
    pub(super) fn pinned_name(&self) -> Option<&str> {
        self.pinned.as_ref().map(|(_, name)| name.as_str())
    }

    /// A context of OpenSSL's that trusts as grpcio's does.
    fn context(&self) -> Result<SslContext, ErrorStack> {
        let mut store = X509StoreBuilder::new()?;
        for root in X509::stack_from_pem(&self.roots)? {
            store.add_cert(root)?;
        }
        store.set_flags(X509VerifyFlags::PARTIAL_CHAIN | X509VerifyFlags::TRUSTED_FIRST)?;
        let mut context = SslContext::builder(SslMethod::tls_client())?;
        context.set_cert_store(store.build());
        context.set_verify(SslVerifyMode::PEER);
        context.set_min_proto_version(Some(SslVersion::TLS1_2))?;
        context.set_alpn_protos(HTTP2)?;
        if let Some(pair) = &self.identity {
            for (number, certificate) in X509::stack_from_pem(&pair.chain)?.into_iter().enumerate() {
                match number {
                    0 => context.set_certificate(&certificate)?,
                    _ => context.add_extra_chain_cert(certificate)?,
                }
            }
            context.set_private_key(&*PKey::private_key_from_pem(pair.key.expose())?)?;
        }
        Ok(context.build())
    }
}

/// Looks why no connection comes about. `None`: the server cannot be reached at all, or nothing is wrong by now.
pub(super) fn diagnose(endpoint: &Endpoint, tls: Option<&Tls>) -> Option<Fault> {
    let stream = connect(endpoint)?;
    let Some(tls) = tls else {
        let speaks_tls = blind_context().is_ok_and(|context| shake(stream, &context, endpoint, None).is_ok());
        return speaks_tls.then_some(Fault::TlsOnly);
    };
    let (stream, checked) = match &tls.pinned {
        None => (stream, Some(endpoint.host())),
        Some((pin, _)) => match fetch_from(stream, endpoint, *pin) {
            Err(SetupError::Fault(fault)) => return Some(fault),
            _ => (connect(endpoint)?, None),
        },
    };
    match shake(stream, &tls.context().ok()?, endpoint, checked) {
        Ok(mut stream) => first_words(&mut stream, tls.identity.is_some()),
        Err(Broken::Unverified(fault)) => Some(fault),
        Err(Broken::Alert(words)) => Some(alert(&words, tls.identity.is_some())),
        Err(Broken::NotTls) => Some(Fault::NotTls),
        Err(Broken::Silent) => None,
    }
}

/// The system's store of authorities.
fn system_store() -> Option<PathBuf> {
    let named = std::env::var_os(STORE_VARIABLE).filter(|name| !name.is_empty()).map(PathBuf::from);
    named.or_else(|| STORES.iter().map(Path::new).find(|store| store.exists()).map(Path::to_owned))
}

/// Fetches the certificate of a server, which has to have this fingerprint.
fn fetch(endpoint: &Endpoint, pin: Fingerprint) -> Result<X509, SetupError> {
    fetch_from(connect(endpoint).ok_or(SetupError::Unreachable)?, endpoint, pin)
}

fn fetch_from(stream: TcpStream, endpoint: &Endpoint, pin: Fingerprint) -> Result<X509, SetupError> {
    // Whether anything is right about it but the fingerprint is judged by grpcio, when it connects.
    let stream = shake(stream, &blind_context()?, endpoint, None).map_err(|broken| match broken {
        Broken::Silent => SetupError::Unreachable,
        Broken::NotTls => Fault::NotTls.into(),
        Broken::Alert(words) => Fault::Other(words).into(),
        Broken::Unverified(fault) => fault.into(),
    })?;
    let certificate = stream.ssl().peer_certificate().ok_or(Fault::NotTls)?;
    let shown = Fingerprint::of(&certificate)?;
    if shown == pin { Ok(certificate) } else { Err(Fault::OtherCertificate(shown).into()) }
}

/// A name by which grpcio takes the certificate for the right one.
fn name_in(certificate: &X509Ref) -> Option<String> {
    let alternatives = certificate.subject_alt_names();
    let found = match alternatives {
        Some(names) => names.iter().find_map(|name| match (name.dnsname(), name.ipaddress()) {
            // Anything stands for the asterisk, as long as two labels follow it.
            (Some(dns), _) => match dns.strip_prefix("*.") {
                Some(rest) => rest.contains('.').then(|| format!("any.{rest}")),
                None => Some(dns.to_owned()).filter(|dns| !dns.is_empty()),
            },
            (None, Some(&[a, b, c, d])) => Some(IpAddr::from([a, b, c, d]).to_string()),
            (None, Some(ip)) => Some(IpAddr::from(<[u8; 16]>::try_from(ip).ok()?).to_string()),
            (None, None) => None,
        }),
        // The full stop has grpcio compare it as a name even where it is written like an address.
        None => common_name(certificate).map(|name| format!("{name}.")),
    };
    found.filter(|name| !name.contains('\0'))
}

fn common_name(certificate: &X509Ref) -> Option<String> {
    let name = certificate.subject_name().entries_by_nid(Nid::COMMONNAME).next()?.data().to_string().ok()?;
    Some(name).filter(|name| !name.is_empty())
}

/// The first address that answers.
fn connect(endpoint: &Endpoint) -> Option<TcpStream> {
    let stream =
        endpoint.addresses().iter().find_map(|address| TcpStream::connect_timeout(address, LOOK_LIMIT).ok())?;
    stream.set_read_timeout(Some(LOOK_LIMIT)).ok()?;
    stream.set_write_timeout(Some(LOOK_LIMIT)).ok()?;
    Some(stream)
}

/// Trusts anybody: to see what is shown.
fn blind_context() -> Result<SslContext, ErrorStack> {
    let mut context = SslContext::builder(SslMethod::tls_client())?;
    context.set_verify(SslVerifyMode::NONE);
    context.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    context.set_alpn_protos(HTTP2)?;
    Ok(context.build())
}

/// How a handshake failed.
enum Broken {
    /// By our judgement of the certificate.
    Unverified(Fault),
    /// By what the other side said.
    Alert(String),
    /// What came was no TLS, or nothing came and the connection was closed.
    NotTls,
    /// Nothing came in time, or the connection broke.
    Silent,
}

impl From<ErrorStack> for Broken {
    fn from(errors: ErrorStack) -> Broken {
        Broken::Alert(errors.to_string())
    }
}

/// Shakes hands. The certificate has to be for `checked`, if that is given.
fn shake(
    stream: TcpStream,
    context: &SslContext,
    endpoint: &Endpoint,
    checked: Option<&str>,
) -> Result<SslStream<TcpStream>, Broken> {
    let mut ssl = Ssl::new(context)?;
    let host = endpoint.host();
    match host.parse::<IpAddr>() {
        Ok(_) => {}
        Err(_) => ssl.set_hostname(host)?,
    }
    match checked.map(|name| (name, name.parse::<IpAddr>())) {
        None => {}
        Some((_, Ok(ip))) => ssl.param_mut().set_ip(ip)?,
        Some((name, Err(_))) => ssl.param_mut().set_host(name)?,
    }
    let failed = match ssl.connect(stream) {
        Ok(stream) => return Ok(stream),
        Err(HandshakeError::SetupFailure(errors)) => return Err(errors.into()),
        Err(HandshakeError::WouldBlock(_)) => return Err(Broken::Silent),
        Err(HandshakeError::Failure(failed)) => failed,
    };
    let verdict = failed.ssl().verify_result();
    if verdict != X509VerifyResult::OK {
        return Err(Broken::Unverified(judged(verdict)));
    }
    let error = failed.error();
    match error.ssl_error().and_then(|errors| errors.errors().first()?.reason()) {
        // What a server says that knows our protocol and not TLS.
        Some("wrong version number" | "packet length too long" | "http request" | "unexpected eof while reading") => {
            Err(Broken::NotTls)
        }
        Some(words) => Err(Broken::Alert(words.to_owned())),
        None => match error.io_error().map(io::Error::kind) {
            Some(io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Err(Broken::Silent),
            _ => Err(Broken::NotTls),
        },
    }
}

/// OpenSSL's verdict on a certificate (`x509_vfy.h`).
fn judged(verdict: X509VerifyResult) -> Fault {
    match verdict.as_raw() {
        2 | 7 | 18..=21 | 24 | 27 | 30 => Fault::UnknownAuthority,
        9 => Fault::NotYet,
        10 => Fault::Expired,
        62 | 64 => Fault::OtherName,
        _ => Fault::Other(verdict.error_string().to_owned()),
    }
}

/// A server that is content opens HTTP/2 after the handshake. One that is not with our certificate, or with our having none,
/// says so then; the C core hangs up without a word.
fn first_words(stream: &mut SslStream<TcpStream>, ours: bool) -> Option<Fault> {
    let error = stream.ssl_read(&mut [0; 1]).err()?;
    let words = error.ssl_error().and_then(|errors| errors.errors().first()?.reason());
    match (words, error.code(), error.io_error()) {
        (Some("unexpected eof while reading"), ..)
        | (None, ErrorCode::ZERO_RETURN, _)
        | (None, ErrorCode::SYSCALL, None) => Some(if ours { Fault::RefusesOurs } else { Fault::WantsOurs }),
        (Some(words), ..) => Some(alert(words, ours)),
        _ => None,
    }
}

/// What the server said, `ours` being whether it was shown a certificate.
fn alert(words: &str, ours: bool) -> Fault {
    match words {
        words if words.contains("certificate required") => Fault::WantsOurs,
        words if words.contains("alert") && words.contains("handshake failure") && !ours => Fault::WantsOurs,
        words if words.contains("alert") && ours => Fault::RefusesOurs,
        words => Fault::Other(words.to_owned()),
    }
}
