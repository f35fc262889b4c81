//! TLS: the certificate that is served, and how a changed one replaces it without a restart.
//!
//! The C core asks for the certificate at each new connection, on a thread of its own where nothing may block: it gets the
//! newest one from memory. Only the [`CertificateWatch`] reads files, on the janitor's thread.

use std::error::Error;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use grpcio::{CertificateRequestType, ServerCredentials, ServerCredentialsBuilder, ServerCredentialsFetcher};

use crate::base::clock::Time;
use crate::base::lock::lock;
use crate::security::certificate::{self, CertificateError, Pair, Validity};
use crate::security::keys::KeyGuard;

/// The files that TLS is served with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those that lead up to its authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authorities of client certificates, if clients need a certificate.
    pub client_ca: Option<PathBuf>,
}

/// The certificate that is served now. Clones share it.
#[derive(Clone, Debug)]
pub struct ServerTls {
    requests: CertificateRequestType,
    current: Arc<Mutex<Arc<Served>>>,
}

#[derive(Debug)]
struct Served {
    /// Grows with each change; the first is 1.
    version: u64,
    loaded: Loaded,
}

#[derive(Debug, PartialEq, Eq)]
struct Loaded {
    pair: Pair,
    client_ca: Option<Vec<u8>>,
}

impl ServerTls {
    /// Credentials for one listening address. They follow changes.
    pub fn credentials(&self) -> ServerCredentials {
        let fetcher = Fetcher { tls: self.clone(), served: AtomicU64::new(0) };
        ServerCredentials::with_fetcher(Box::new(fetcher), self.requests)
    }

    fn current(&self) -> Arc<Served> {
        Arc::clone(&lock(&self.current))
    }

    fn replace(&self, loaded: Loaded) {
        let version = self.current().version + 1;
        *lock(&self.current) = Arc::new(Served { version, loaded });
    }
}

/// Answers the C core, for one listening address.
struct Fetcher {
    tls: ServerTls,
    served: AtomicU64,
}

impl ServerCredentialsFetcher for Fetcher {
    fn fetch(&self) -> Result<Option<ServerCredentialsBuilder>, Box<dyn Error>> {
        let Served { version, loaded } = &*self.tls.current();
        if self.served.swap(*version, Ordering::SeqCst) == *version {
            return Ok(None);
        }
        // These panic on a NUL; PEM that we wrote has none.
        let mut builder = ServerCredentialsBuilder::new();
        if let Some(authorities) = &loaded.client_ca {
            builder = builder.root_cert(authorities.clone(), self.tls.requests);
        }
        Ok(Some(builder.add_cert(loaded.pair.chain.clone(), loaded.pair.key.expose().to_vec())))
    }
}

/// Looks for changed files. One thread owns it.
#[derive(Debug)]
pub struct CertificateWatch {
    files: TlsFiles,
    guard: KeyGuard,
    tls: ServerTls,
    /// The files as they were when they were last read, successfully or not.
    read: Vec<Stamp>,
    /// The files as they were at the last look.
    seen: Vec<Stamp>,
}

/// Differs once a file or its permissions were changed or the file was replaced; `None` for one that cannot be found.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

impl CertificateWatch {
    /// Reads the files for the first time. Warns of a certificate that is not valid now.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn start(files: &TlsFiles, guard: KeyGuard, now: Time) -> Result<CertificateWatch, CertificateError> {
        let read = stamps(files);
        let loaded = load(files, guard)?;
        describe("TLS", &loaded.pair, now);
        let requests = match loaded.client_ca {
            Some(_) => CertificateRequestType::RequestAndRequireClientCertificateAndVerify,
            None => CertificateRequestType::DontRequestClientCertificate,
        };
        let tls = ServerTls { requests, current: Arc::new(Mutex::new(Arc::new(Served { version: 1, loaded }))) };
        Ok(CertificateWatch { files: files.clone(), guard, tls, seen: read.clone(), read })
    }

    /// The certificate that is served.
    pub fn tls(&self) -> &ServerTls {
        &self.tls
    }

    /// Reads the files again if they have changed, but not since the last look: two files are replaced one after the other.
    pub fn look(&mut self, now: Time) {
        let seen = stamps(&self.files);
        let settled = seen == self.seen;
        self.seen = seen;
        if settled && self.seen != self.read {
            self.read_again(now);
        }
    }

    /// Reads the files again. If they cannot be used, that is logged, and the certificate stays as it was.
    pub fn read_again(&mut self, now: Time) {
        self.read = stamps(&self.files);
        match load(&self.files, self.guard) {
            Ok(loaded) if loaded == self.tls.current().loaded => {
                log::info!("TLS: the certificate is the same as before");
            }
            Ok(loaded) => {
                describe("TLS, for new connections from now on", &loaded.pair, now);
                self.tls.replace(loaded);
            }
            Err(error) => log::error!("TLS: the old certificate is served on, for the new one cannot be: {error}"),
        }
    }
}

fn load(files: &TlsFiles, guard: KeyGuard) -> Result<Loaded, CertificateError> {
    let pair = Pair::load(&files.certificate, &files.key, guard)?;
    let client_ca = files.client_ca.as_deref().map(certificate::authorities).transpose()?;
    Ok(Loaded { pair, client_ca })
}

fn describe(what: &str, pair: &Pair, now: Time) {
    let date = |time: Time| jiff::Timestamp::from_second(time.as_secs()).unwrap_or_default();
    let (from, until) = (date(pair.from), date(pair.until));
    match pair.validity(now) {
        Validity::Valid => {}
        Validity::Expired => log::warn!("TLS: the certificate expired at {until}, and clients refuse it: renew it"),
        Validity::NotYet => {
            log::warn!("TLS: the certificate is not valid before {from}: is this machine's clock right?");
        }
    }
    log::info!("{what}: certificate {} (SHA-256), valid until {until}", pair.fingerprint);
}

fn stamps(files: &TlsFiles) -> Vec<Stamp> {
    let paths = [Some(&files.certificate), Some(&files.key), files.client_ca.as_ref()];
    paths.into_iter().flatten().map(|path| stamp(path)).collect()
}

fn stamp(path: &Path) -> Stamp {
    let about = fs::metadata(path).ok()?;
    // Changed content changes the time of the last change as well.
    Some((about.dev(), about.ino(), about.len(), about.ctime(), about.ctime_nsec()))
}
