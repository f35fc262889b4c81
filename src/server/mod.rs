//! The composition root: puts the store, the hub, the workers and the wire together, and stops them in one order.
//!
//! [`Backend`] is everything but the wire; the administrator's commands use it alone when no server runs. A [`Running`] server
//! adds the wire, the `janitor` and the limiter of connections.

mod backend;
mod chat_log;
mod error;
mod janitor;
mod keys;
mod progress;
mod publisher;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

pub use self::backend::Backend;
pub use self::error::StartError;
use self::janitor::Janitor;
pub use self::progress::{NoProgress, Progress};
use crate::base::clock::{Clock, Stopwatch};
use crate::base::fair_pool::{FairBounds, FairPool};
use crate::config::Settings;
use crate::model::ids::Cursor;
use crate::rpc::edge::limiter::Limiter;
use crate::rpc::edge::pending::PendingCalls;
use crate::rpc::edge::tls::{CertificateWatch, TlsFiles};
use crate::rpc::fair_share::{FairShare, Owner};
use crate::rpc::front::Front;
use crate::rpc::pacer::Pacer;
use crate::rpc::shared::Shared;
use crate::rpc::stream::Streams;
use crate::store::{DirectoryLock, events};

/// How long each step of the stop may take beside the grace period.
const STEP_LIMIT: Duration = Duration::from_secs(10);
/// How long streams have for their last frames even without a grace period.
const LAST_FRAMES: Duration = Duration::from_millis(200);

/// A running server. [`Running::stop`] ends it.
pub struct Running {
    front: Front,
    shared: Arc<Shared>,
    janitor: Janitor,
    limiter: Limiter,
    grace: Duration,
}

impl Running {
    /// Starts a server and returns once it listens.
    ///
    /// # Errors
    /// [`StartError`]; no part of the server is left running then.
    pub fn start(settings: &Settings, clock: Clock, progress: &mut dyn Progress) -> Result<Running, StartError> {
        let io = |source| StartError::DataDir { path: settings.data_dir.clone(), source };
        fs::create_dir_all(&settings.data_dir).map_err(io)?;
        let lock = DirectoryLock::take(&settings.data_dir)?;
        let watch = |files: &TlsFiles| CertificateWatch::start(files, settings.guard_of(&files.key), clock.now());
        let watch = settings.tls.as_ref().map(watch).transpose()?;
        let tls = watch.as_ref().map(|watch| watch.tls().clone());
        let backend = Backend::open(settings, lock, clock, progress)?;
        backend.remind_of_upgrade(&settings.data_dir)?;
        backend.forget_connections()?;
        let shared = Arc::new(share(backend, settings)?);
        let janitor = Janitor::start(Arc::clone(&shared), watch).map_err(StartError::Threads)?;
        let front = Front::start(&shared, &settings.listen, tls.as_ref(), &settings.data_dir)?;
        let streams = settings.hub.streams;
        let limiter = Limiter::start(front.watched(&shared), &settings.rpc, streams).map_err(StartError::Threads)?;
        Ok(Running { front, shared, janitor, limiter, grace: settings.grace })
    }

    /// The port of the first address that it listens on.
    pub fn port(&self) -> u16 {
        self.front.port()
    }

    /// The port of the first address without TLS, if there is one.
    pub fn plaintext_port(&self) -> Option<u16> {
        self.front.plaintext_port()
    }

    /// Makes the janitor read the TLS files again, soon; open connections stay as they are. Without TLS it does nothing.
    pub fn reload(&self) {
        self.janitor.reload();
    }

    /// How many streams are open.
    pub fn streams(&self) -> usize {
        self.shared.hub.len()
    }

    /// How many calls hold a place.
    pub fn calls(&self) -> usize {
        self.shared.fair_share.calls()
    }

    /// How many messages wait for their turn.
    pub fn paced(&self) -> usize {
        self.shared.pacer.len()
    }

    /// How many sender threads run; those that have ended are joined first.
    pub fn stream_threads(&self) -> usize {
        self.shared.streams.reap();
        self.shared.streams.len()
    }

    /// Stops the server in the one order that loses nothing: open streams get their last frames and no new ones begin; no new
    /// calls; a grace period for open calls; the rest cancelled; workers; the writer's last commit; the C core. Waiting ends
    /// early as soon as `hurry` says so.
    pub fn stop(mut self, hurry: &dyn Fn() -> bool) {
        let watch = Stopwatch::start();
        // Messages that wait for their turn are appended now, and answered.
        self.shared.pacer.stop(STEP_LIMIT);
        log::info!("stopping: {} streams get their last messages", self.shared.hub.len());
        // Everything acknowledged until now goes out. If the database cannot be read, everything published goes out.
        self.shared.hub.drain(self.shared.app.store.read(events::last_id).unwrap_or(Cursor::START));
        let left = self.shared.streams.join(self.grace.max(LAST_FRAMES), hurry);
        if left > 0 {
            log::warn!("{left} streams did not end by themselves and are cut off");
        }
        log::info!("stopping: no more calls");
        if !self.front.stop(self.grace, hurry) {
            log::warn!("open calls were cancelled");
        }
        log::info!("stopping: workers");
        self.limiter.stop(STEP_LIMIT);
        self.janitor.stop(STEP_LIMIT);
        let workers = [&self.shared.work, &self.shared.hash, &self.shared.administrator];
        let workers = workers.map(|pool| pool.stop(STEP_LIMIT)) == [true; 3];
        log::info!("stopping: the last commit");
        let writer = self.shared.app.store.stop(STEP_LIMIT);
        if !(workers && writer) {
            log::warn!("not everything ended in time");
        }
        drop(self.front);
        log::info!("stopped after {} ms", watch.elapsed().as_millis());
    }
}

/// Messages of all people together that wait for their turn.
const MOST_PACED: usize = 4_096;
/// Calls of the administrator that wait: people at the machine make them one by one.
const ADMINISTRATOR_QUEUE: usize = 64;

fn pool(name: &str, threads: usize, queue: usize) -> Result<FairPool<Owner>, StartError> {
    FairPool::new(name, FairBounds { threads, queue }).map_err(StartError::Threads)
}

/// What the handlers of calls share.
fn share(backend: Backend, settings: &Settings) -> Result<Shared, StartError> {
    let rpc = &settings.rpc;
    Ok(Shared {
        app: backend.app,
        hub: backend.hub,
        streams: Streams::default(),
        work: pool("rpc-work", rpc.workers, rpc.work_queue)?,
        hash: pool("rpc-hash", rpc.hashers, rpc.hash_queue)?,
        administrator: pool("rpc-admin", rpc.administrator_workers, ADMINISTRATOR_QUEUE)?,
        pacer: Pacer::start(MOST_PACED).map_err(StartError::Threads)?,
        fair_share: Arc::new(FairShare::new(rpc.share)),
        legacy_clients: settings.legacy_clients,
        pending: Arc::new(PendingCalls::new(
            rpc.calls_per_connection as usize,
            rpc.header_bytes as usize,
            rpc.handshake,
        )),
        proxies: settings.trusted_proxies.clone(),
        limits: rpc.clone(),
    })
}
