//! Handshakes of our own, to see which certificate a server shows and why a connection fails.

use std::io;
use std::net::{IpAddr, TcpStream};
use std::time::Duration;

use openssl::error::ErrorStack;
use openssl::ssl::{ErrorCode, HandshakeError, Ssl, SslContext, SslMethod, SslStream, SslVerifyMode, SslVersion};
use openssl::x509::{X509, X509VerifyResult};

use crate::client::endpoint::Endpoint;
use crate::client::tls::fault::{TlsFault, TlsSetupError};
use crate::security::certificate::Fingerprint;

/// Time limit for connecting, and for each answer of the server.
const PROBE_LIMIT: Duration = Duration::from_secs(2);
/// The protocol that grpcio speaks inside TLS, as protocol negotiation writes it.
pub(super) const HTTP2: &[u8] = b"\x02h2";

/// How a handshake failed.
pub(super) enum HandshakeFailure {
    /// We reject the server's certificate.
    Unverified(TlsFault),
    /// The server sent an alert, in these words.
    Alert(String),
    /// The answer was not TLS, or the server closed the connection without one.
    NotTls,
    /// No answer came in time, or the connection broke.
    Silent,
}

impl From<ErrorStack> for HandshakeFailure {
    fn from(errors: ErrorStack) -> HandshakeFailure {
        HandshakeFailure::Alert(errors.to_string())
    }
}

/// Connects to the first address that answers.
pub(super) fn connect(endpoint: &Endpoint) -> Option<TcpStream> {
    let stream =
        endpoint.addresses().iter().find_map(|address| TcpStream::connect_timeout(address, PROBE_LIMIT).ok())?;
    stream.set_read_timeout(Some(PROBE_LIMIT)).ok()?;
    stream.set_write_timeout(Some(PROBE_LIMIT)).ok()?;
    Some(stream)
}

/// Whether the server completes a TLS handshake.
pub(super) fn speaks_tls(stream: TcpStream, endpoint: &Endpoint) -> bool {
    unverified_context().is_ok_and(|context| shake(stream, &context, endpoint, None).is_ok())
}

/// Fetches the server's certificate, which must have the fingerprint `pin`.
pub(super) fn fetch_certificate(
    stream: TcpStream,
    endpoint: &Endpoint,
    pin: Fingerprint,
) -> Result<X509, TlsSetupError> {
    // Only the fingerprint is checked here; grpcio judges the rest when it connects.
    let stream = shake(stream, &unverified_context()?, endpoint, None).map_err(|failure| match failure {
        HandshakeFailure::Silent => TlsSetupError::Unreachable,
        HandshakeFailure::NotTls => TlsFault::NotTls.into(),
        HandshakeFailure::Alert(words) => TlsFault::Other(words).into(),
        HandshakeFailure::Unverified(fault) => fault.into(),
    })?;
    let certificate = stream.ssl().peer_certificate().ok_or(TlsFault::NotTls)?;
    let shown = Fingerprint::from_certificate(&certificate)?;
    if shown == pin { Ok(certificate) } else { Err(TlsFault::OtherCertificate(shown).into()) }
}

/// Accepts every certificate, only to look at it.
fn unverified_context() -> Result<SslContext, ErrorStack> {
    let mut context = SslContext::builder(SslMethod::tls_client())?;
    context.set_verify(SslVerifyMode::NONE);
    context.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    context.set_alpn_protos(HTTP2)?;
    Ok(context.build())
}

/// Shakes hands. The certificate must be for `expected_name`, if that is given.
pub(super) fn shake(
    stream: TcpStream,
    context: &SslContext,
    endpoint: &Endpoint,
    expected_name: Option<&str>,
) -> Result<SslStream<TcpStream>, HandshakeFailure> {
    let mut ssl = Ssl::new(context)?;
    let host = endpoint.host();
    match host.parse::<IpAddr>() {
        Ok(_) => {}
        Err(_) => ssl.set_hostname(host)?,
    }
    match expected_name.map(|name| (name, name.parse::<IpAddr>())) {
        None => {}
        Some((_, Ok(ip))) => ssl.param_mut().set_ip(ip)?,
        Some((name, Err(_))) => ssl.param_mut().set_host(name)?,
    }
    let failed = match ssl.connect(stream) {
        Ok(stream) => return Ok(stream),
        Err(HandshakeError::SetupFailure(errors)) => return Err(errors.into()),
        Err(HandshakeError::WouldBlock(_)) => return Err(HandshakeFailure::Silent),
        Err(HandshakeError::Failure(failed)) => failed,
    };
    let result = failed.ssl().verify_result();
    if result != X509VerifyResult::OK {
        return Err(HandshakeFailure::Unverified(fault_in_verification(result)));
    }
    let error = failed.error();
    match error.ssl_error().and_then(|errors| errors.errors().first()?.reason()) {
        // What OpenSSL says about a server that knows our protocol but not TLS.
        Some("wrong version number" | "packet length too long" | "http request" | "unexpected eof while reading") => {
            Err(HandshakeFailure::NotTls)
        }
        Some(words) => Err(HandshakeFailure::Alert(words.to_owned())),
        None => match error.io_error().map(io::Error::kind) {
            Some(io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Err(HandshakeFailure::Silent),
            _ => Err(HandshakeFailure::NotTls),
        },
    }
}

/// The fault behind OpenSSL's verification result (`x509_vfy.h`).
fn fault_in_verification(result: X509VerifyResult) -> TlsFault {
    match result.as_raw() {
        2 | 7 | 18..=21 | 24 | 27 | 30 => TlsFault::UnknownAuthority,
        9 => TlsFault::NotYet,
        10 => TlsFault::Expired,
        62 | 64 => TlsFault::OtherName,
        _ => TlsFault::Other(result.error_string().to_owned()),
    }
}

/// The fault that a server shows after the handshake. A server that accepts us opens HTTP/2 then. One that rejects our
/// certificate, or wants one and got none, says so at this point; the C core closes the connection without a word.
pub(super) fn fault_after_handshake(stream: &mut SslStream<TcpStream>, has_identity: bool) -> Option<TlsFault> {
    let error = stream.ssl_read(&mut [0; 1]).err()?;
    let words = error.ssl_error().and_then(|errors| errors.errors().first()?.reason());
    match (words, error.code(), error.io_error()) {
        (Some("unexpected eof while reading"), ..)
        | (None, ErrorCode::ZERO_RETURN, _)
        | (None, ErrorCode::SYSCALL, None) => {
            Some(if has_identity { TlsFault::RefusesOurs } else { TlsFault::WantsOurs })
        }
        (Some(words), ..) => Some(fault_in_alert(words, has_identity)),
        _ => None,
    }
}

/// The fault behind the server's alert. `has_identity`: whether the server was shown a client certificate.
pub(super) fn fault_in_alert(words: &str, has_identity: bool) -> TlsFault {
    match words {
        words if words.contains("certificate required") => TlsFault::WantsOurs,
        words if words.contains("alert") && words.contains("handshake failure") && !has_identity => TlsFault::WantsOurs,
        words if words.contains("alert") && has_identity => TlsFault::RefusesOurs,
        words => TlsFault::Other(words.to_owned()),
    }
}
