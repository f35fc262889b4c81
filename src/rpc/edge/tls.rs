//! TLS: the certificate that is served, and how a changed one takes its place without a restart.
//!
//! The C core asks for the certificate at each new connection, on a thread of its own where nothing may block: it gets the
//! newest one from memory. Files are read by the [`Watch`] only, on the janitor's thread.

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
use crate::security::keys::Guard;

/// What TLS is served with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those that lead up to its authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authorities of client certificates, where clients need one.
    pub client_ca: Option<PathBuf>,
}

/// What is served now. Clones share it.
#[derive(Clone, Debug)]
pub struct Tls {
    requests: CertificateRequestType,
    current: Arc<Mutex<Arc<Current>>>,
}

#[derive(Debug)]
struct Current {
    /// Grows with each change; the first is 1.
    version: u64,
    loaded: Loaded,
}

#[derive(Debug, PartialEq, Eq)]
struct Loaded {
    pair: Pair,
    client_ca: Option<Vec<u8>>,
}

impl Tls {
    /// Credentials for one listening address. They change along.
    pub fn credentials(&self) -> ServerCredentials {
        let fetcher = Fetcher { tls: self.clone(), served: AtomicU64::new(0) };
        ServerCredentials::with_fetcher(Box::new(fetcher), self.requests)
    }

    fn current(&self) -> Arc<Current> {
        Arc::clone(&lock(&self.current))
    }

    fn replace(&self, loaded: Loaded) {
        let version = self.current().version + 1;
        *lock(&self.current) = Arc::new(Current { version, loaded });
    }
}

/// What the C core asks, for one listening address.
struct Fetcher {
    tls: Tls,
    served: AtomicU64,
}

impl ServerCredentialsFetcher for Fetcher {
    fn fetch(&self) -> Result<Option<ServerCredentialsBuilder>, Box<dyn Error>> {
        let Current { version, loaded } = &*self.tls.current();
        if self.served.swap(*version, Ordering::SeqCst) == *version {
            return Ok(None);
        }
        // These panic on a NUL; what was written as PEM by us has none.
        let mut builder = ServerCredentialsBuilder::new();
        if let Some(authorities) = &loaded.client_ca {
            builder = builder.root_cert(authorities.clone(), self.tls.requests);
        }
        Ok(Some(builder.add_cert(loaded.pair.chain.clone(), loaded.pair.key.expose().to_vec())))
    }
}

/// Looks for changed files. One thread owns it.
#[derive(Debug)]
pub struct Watch {
    files: TlsFiles,
    guard: Guard,
    tls: Tls,
    /// How the files were when they were last read, well or not.
    read: Vec<Stamp>,
    /// How they were at the last look.
    seen: Vec<Stamp>,
}

/// What tells that a file was changed or replaced, or its permissions; `None` for one that cannot be found.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

impl Watch {
    /// Reads the files for the first time. Warns of a certificate that is not good now.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn start(files: &TlsFiles, guard: Guard, now: Time) -> Result<Watch, CertificateError> {
        let read = stamps(files);
        let loaded = load(files, guard)?;
        describe("TLS", &loaded.pair, now);
        let requests = match loaded.client_ca {
            Some(_) => CertificateRequestType::RequestAndRequireClientCertificateAndVerify,
            None => CertificateRequestType::DontRequestClientCertificate,
        };
        let tls = Tls { requests, current: Arc::new(Mutex::new(Arc::new(Current { version: 1, loaded }))) };
        Ok(Watch { files: files.clone(), guard, tls, seen: read.clone(), read })
    }

    /// What is served.
    pub fn tls(&self) -> &Tls {
        &self.tls
    }

    /// Reads the files again if they have changed, and not since the last look: whoever replaces two files does it one after
    /// the other.
    pub fn look(&mut self, now: Time) {
        let seen = stamps(&self.files);
        let settled = seen == self.seen;
        self.seen = seen;
        if settled && self.seen != self.read {
            self.read_again(now);
        }
    }

    /// Reads the files again. What cannot be used is logged, and what was served before is served on.
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

fn load(files: &TlsFiles, guard: Guard) -> Result<Loaded, CertificateError> {
    let pair = Pair::load(&files.certificate, &files.key, guard)?;
    let client_ca = files.client_ca.as_deref().map(certificate::authorities).transpose()?;
    Ok(Loaded { pair, client_ca })
}

fn describe(what: &str, pair: &Pair, now: Time) {
    let date = |time: Time| jiff::Timestamp::from_second(time.as_secs()).unwrap_or_default();
    let (from, until) = (date(pair.from), date(pair.until));
    match pair.validity(now) {
        Validity::Good => {}
        Validity::Over => log::warn!("TLS: the certificate expired at {until}, and clients refuse it: renew it"),
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
    // A change of content changes the time of the last change as well.
    Some((about.dev(), about.ino(), about.len(), about.ctime(), about.ctime_nsec()))
}
