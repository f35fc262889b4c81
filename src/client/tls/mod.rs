//! TLS as the console asks for it: which certificates it trusts, and why a connection failed.
//!
//! The calls go through grpcio, which connects and verifies by itself and reports only that it failed. To tell a person why,
//! this module makes one more handshake of its own, with the same OpenSSL and the same rules (`handshake`); it sends nothing
//! over that connection.
//!
//! A pinned certificate is known by its fingerprint. The client fetches it first; if the fingerprint matches, grpcio is told to
//! trust this certificate alone and to expect the name in it. So neither its name nor its signer matters.

pub mod fault;
mod handshake;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use grpcio::{ChannelCredentials, ChannelCredentialsBuilder};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::ssl::{SslContext, SslMethod, SslVerifyMode, SslVersion};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509, X509Ref};

use crate::client::endpoint::Endpoint;
use crate::client::tls::fault::{TlsFault, TlsSetupError};
use crate::client::tls::handshake::{HTTP2, HandshakeFailure};
use crate::security::certificate::{self, Fingerprint, Pair};
use crate::security::keys::KeyGuard;

/// Where systems keep the certificates of trusted authorities; the C core looks there, too.
const STORES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];
/// The variable that names another file, for OpenSSL's own programs as well.
const STORE_VARIABLE: &str = "SSL_CERT_FILE";

/// What the flags say about TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Authorities to trust in place of the system's.
    pub ca: Option<PathBuf>,
    /// The one certificate to trust.
    pub pin: Option<Fingerprint>,
    /// Our own certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// The certificates that we trust, and our own.
#[derive(Debug)]
pub struct Tls {
    /// The trusted certificates, in PEM form.
    roots: Vec<u8>,
    /// The one trusted certificate, and the name in it.
    pinned: Option<(Fingerprint, String)>,
    identity: Option<Pair>,
}

impl Tls {
    /// Reads the files, and fetches a pinned certificate from the server.
    ///
    /// # Errors
    /// [`TlsSetupError`].
    pub fn set_up(options: &TlsOptions, endpoint: &Endpoint) -> Result<Tls, TlsSetupError> {
        let identity =
            options.identity.as_ref().map(|(file, key)| Pair::load(file, key, KeyGuard::Mode)).transpose()?;
        if let Some(pin) = options.pin {
            let stream = handshake::connect(endpoint).ok_or(TlsSetupError::Unreachable)?;
            let certificate = handshake::fetch_certificate(stream, endpoint, pin)?;
            let name = name_in(&certificate).ok_or(TlsFault::Nameless)?;
            let roots = certificate::pem(&[certificate])?;
            return Ok(Tls { roots, pinned: Some((pin, name)), identity });
        }
        let store = options.ca.clone().or_else(system_store).ok_or(TlsSetupError::NoStore)?;
        Ok(Tls { roots: certificate::authorities(&store)?, pinned: None, identity })
    }

    /// The credentials for grpcio.
    pub(super) fn credentials(&self) -> ChannelCredentials {
        // These panic on a NUL; PEM that we wrote has none.
        let builder = ChannelCredentialsBuilder::new().root_cert(self.roots.clone());
        match &self.identity {
            Some(pair) => builder.cert(pair.chain.clone(), pair.key.expose().to_vec()).build(),
            None => builder.build(),
        }
    }

    /// The name to expect in the server's certificate, if it is not the server's own.
    pub(super) fn pinned_name(&self) -> Option<&str> {
        self.pinned.as_ref().map(|(_, name)| name.as_str())
    }

    /// An OpenSSL context that trusts what grpcio trusts.
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

/// Finds out why no connection comes about. `None` if the server cannot be reached at all, or if nothing is wrong by now.
pub(super) fn diagnose(endpoint: &Endpoint, tls: Option<&Tls>) -> Option<TlsFault> {
    let stream = handshake::connect(endpoint)?;
    let Some(tls) = tls else {
        return handshake::speaks_tls(stream, endpoint).then_some(TlsFault::TlsOnly);
    };
    let (stream, expected_name) = match &tls.pinned {
        None => (stream, Some(endpoint.host())),
        Some((pin, _)) => match handshake::fetch_certificate(stream, endpoint, *pin) {
            Err(TlsSetupError::Fault(fault)) => return Some(fault),
            _ => (handshake::connect(endpoint)?, None),
        },
    };
    let has_identity = tls.identity.is_some();
    match handshake::shake(stream, &tls.context().ok()?, endpoint, expected_name) {
        Ok(mut stream) => handshake::fault_after_handshake(&mut stream, has_identity),
        Err(HandshakeFailure::Unverified(fault)) => Some(fault),
        Err(HandshakeFailure::Alert(words)) => Some(handshake::fault_in_alert(&words, has_identity)),
        Err(HandshakeFailure::NotTls) => Some(TlsFault::NotTls),
        Err(HandshakeFailure::Silent) => None,
    }
}

/// The system's file of trusted authorities.
fn system_store() -> Option<PathBuf> {
    let named = std::env::var_os(STORE_VARIABLE).filter(|name| !name.is_empty()).map(PathBuf::from);
    named.or_else(|| STORES.iter().map(Path::new).find(|store| store.exists()).map(Path::to_owned))
}

/// A name for which grpcio accepts the certificate.
fn name_in(certificate: &X509Ref) -> Option<String> {
    let alternatives = certificate.subject_alt_names();
    let found = match alternatives {
        Some(names) => names.iter().find_map(|name| match (name.dnsname(), name.ipaddress()) {
            // Any label matches the asterisk, if two more labels follow.
            (Some(dns), _) => match dns.strip_prefix("*.") {
                Some(rest) => rest.contains('.').then(|| format!("any.{rest}")),
                None => Some(dns.to_owned()).filter(|dns| !dns.is_empty()),
            },
            (None, Some(&[a, b, c, d])) => Some(IpAddr::from([a, b, c, d]).to_string()),
            (None, Some(ip)) => Some(IpAddr::from(<[u8; 16]>::try_from(ip).ok()?).to_string()),
            (None, None) => None,
        }),
        // With a full stop at the end grpcio compares it as a name, even if it looks like an address.
        None => common_name(certificate).map(|name| format!("{name}.")),
    };
    found.filter(|name| !name.contains('\0'))
}

fn common_name(certificate: &X509Ref) -> Option<String> {
    let name = certificate.subject_name().entries_by_nid(Nid::COMMONNAME).next()?.data().to_string().ok()?;
    Some(name).filter(|name| !name.is_empty())
}
