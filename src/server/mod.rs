//! The composition root: builds store, hub, workers and wire, and stops them in the one order there is.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use crate::app::audit_context::Keys;
use crate::app::sessions::{CommitFollowers, Sessions};
use crate::app::throttles::Throttles;
use crate::app::{App, TokenKey};
use crate::base::clock::{Clock, Stopwatch, Time};
use crate::base::escape::one_line;
use crate::base::logging::CHAT_TARGET;
use crate::base::threads::{Pool, Thread};
use crate::config::Settings;
use crate::hub::Hub;
use crate::model::event::Event;
use crate::model::ids::Cursor;
use crate::rpc::edge::limiter::Limiter;
use crate::rpc::edge::pending::PendingCalls;
use crate::rpc::edge::tls::{CertificateWatch, TlsFiles};
use crate::rpc::front::Front;
use crate::rpc::listen::ListenError;
use crate::rpc::shared::Shared;
use crate::rpc::stream::{Outlet, Streams};
use crate::rpc::wire::{self, Batch};
use crate::security::certificate::CertificateError;
use crate::security::chain::Chain;
use crate::security::codes::CodeHasher;
use crate::security::keys::{self, KEY_BYTES, KeyError, KeyGuard};
use crate::security::passwords::{HashError, Passwords};
use crate::security::secret::SecretBytes;
use crate::security::tokens::Tokens;
use crate::security::vault::{AadContext, InnerKey, Vault, VaultError};
use crate::store::audit::{self, Act, HeadFile};
use crate::store::upgrade::{self, UpgradeError};
use crate::store::{DirectoryLock, OpenError, Store, StoreError, events, sealed, sessions, users};

/// How often what has run out is looked for.
const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// How many sweeps lie between two looks whether the files of TLS have changed: 3 s.
const SWEEPS_PER_LOOK: u32 = 6;
/// How long each step of the stop may take beside the grace period.
const STEP_LIMIT: Duration = Duration::from_secs(10);

/// How long streams get for their last frames even without a grace period.
const LAST_FRAMES: Duration = Duration::from_millis(200);

/// The server could not start. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory.
    #[error("{}: {source}; choose a directory that this user may write to with --data-dir", path.display())]
    DataDir {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The database.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The upgrade of an old database.
    #[error("the database of the predecessor was not upgraded: {0}")]
    Upgrade(#[from] UpgradeError),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The certificate of TLS.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A key that does not fit the database.
    #[error("{} is not the key that the secrets in the database are sealed under (that one has the id {wanted}): finish an interrupted `otpchatd rekey` by running it again, or restore the key from your backup", path.display())]
    OtherKey {
        /// The key file.
        path: PathBuf,
        /// The id of the key that is needed.
        wanted: String,
    },
    /// Reading what is there.
    #[error("the database could not be read: {0}")]
    Store(#[from] StoreError),
    /// The audit could not be written.
    #[error("the audit could not be written: {0}")]
    Audit(String),
    /// Hashing.
    #[error("{0}")]
    Hash(#[from] HashError),
    /// Sealing.
    #[error("{0}")]
    Vault(#[from] VaultError),
    /// Listening.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Threads.
    #[error(
        "the system refuses another thread: {0}; raise the limit on threads (ulimit -u, or TasksMax= of the service)"
    )]
    Threads(io::Error),
}

/// Hears of work that takes long.
pub trait Progress {
    /// `done` of `all` accounts are upgraded. Breaking stops it, and leaves the old database as it was.
    fn upgraded(&mut self, done: usize, all: usize) -> ControlFlow<()>;

    /// `done` of `all` secrets are sealed anew. Breaking stops it, and leaves the database as it was.
    fn sealed(&mut self, done: usize, all: usize) -> ControlFlow<()>;
}

/// Nobody is told, and nobody stops it.
pub struct NoProgress;

impl Progress for NoProgress {
    fn upgraded(&mut self, _: usize, _: usize) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn sealed(&mut self, _: usize, _: usize) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// A running server. To be stopped by [`Running::stop`].
pub struct Running {
    front: Front,
    shared: Arc<Shared>,
    janitor: Janitor,
    limiter: Limiter,
    grace: Duration,
}

/// A server without its wire: what the administrator's tool works with where no server runs.
pub struct Inside {
    /// What the system does.
    pub app: Arc<App>,
    hub: MessageHub,
}

impl Inside {
    /// Opens what the data directory holds, and makes what is missing.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn open(
        settings: &Settings,
        lock: DirectoryLock,
        clock: Clock,
        progress: &mut dyn Progress,
    ) -> Result<Inside, StartError> {
        let passwords = Passwords::new(settings.password_cost)?;
        passwords.warm_up()?;
        let upgrading = upgrade::is_needed(&settings.data_dir)?;
        let may_make_key = upgrading || !sealed::are_in(&settings.data_dir)?;
        let vault = Vault::new(&keys::load_or_create(
            &settings.sealing_key,
            settings.guard_of(&settings.sealing_key),
            may_make_key,
        )?)?;
        let tokens = load_tokens(settings, clock.now())?;
        if upgrading {
            let mut hear = |done, all| progress.upgraded(done, all);
            let accounts = upgrade::run(&settings.data_dir, &lock, &passwords, &vault, clock.now(), &mut hear)?;
            log::info!("upgraded {accounts} accounts of the predecessor's database");
        }
        let (hub, sessions, store) = open_store(settings, lock)?;
        check_sealing_key(&store, &vault, &settings.sealing_key)?;
        let keys = Arc::new(unseal_keys(&store, vault)?);
        sessions.load(&store, clock.now())?;
        let limits = settings.app.clone();
        let throttles = Throttles::new(&limits.throttles, clock.clone());
        let token_key = TokenKey {
            path: settings.jwt_key.clone(),
            guard: settings.guard_of(&settings.jwt_key),
            grace: settings.old_jwt_key,
            rotating: Mutex::default(),
        };
        let app = Arc::new(App { clock, limits, store, sessions, passwords, keys, throttles, tokens, token_key });
        check_audit_head(&app, &settings.data_dir)?;
        Ok(Inside { app, hub })
    }
}

impl Running {
    /// Starts a server and returns once it listens.
    ///
    /// # Errors
    /// [`StartError`]; nothing of it is left running then.
    pub fn start(settings: &Settings, clock: Clock, progress: &mut dyn Progress) -> Result<Running, StartError> {
        let io = |source| StartError::DataDir { path: settings.data_dir.clone(), source };
        fs::create_dir_all(&settings.data_dir).map_err(io)?;
        let lock = DirectoryLock::take(&settings.data_dir)?;
        let watch = |files: &TlsFiles| CertificateWatch::start(files, settings.guard_of(&files.key), clock.now());
        let watch = settings.tls.as_ref().map(watch).transpose()?;
        let tls = watch.as_ref().map(|watch| watch.tls().clone());
        let Inside { app, hub } = Inside::open(settings, lock, clock, progress)?;
        remind_of_upgrade(settings, &app.store)?;
        forget_connections(&app.store)?;
        let rpc = &settings.rpc;
        let shared = Arc::new(Shared {
            app: Arc::clone(&app),
            hub,
            streams: Streams::default(),
            work: Pool::new("rpc-work", rpc.workers, rpc.work_queue).map_err(StartError::Threads)?,
            hash: Pool::new("rpc-hash", rpc.hashers, rpc.hash_queue).map_err(StartError::Threads)?,
            legacy_clients: settings.legacy_clients,
            pending: Arc::new(PendingCalls::new(
                rpc.calls_per_connection as usize,
                rpc.header_bytes as usize,
                rpc.handshake,
            )),
            proxies: settings.trusted_proxies.clone(),
            limits: rpc.clone(),
        });
        let janitor = Janitor::start(Arc::clone(&shared), watch).map_err(StartError::Threads)?;
        let front = Front::start(&shared, &settings.listen, tls.as_ref(), &settings.data_dir)?;
        let streams = settings.hub.streams;
        let limiter = Limiter::start(front.watched(&shared), rpc, streams).map_err(StartError::Threads)?;
        Ok(Running { front, shared, janitor, limiter, grace: settings.grace })
    }

    /// The port it listens on (of the first address).
    pub fn port(&self) -> u16 {
        self.front.port()
    }

    /// The port of the first address that does not speak TLS, if there is one.
    pub fn plaintext_port(&self) -> Option<u16> {
        self.front.plaintext_port()
    }

    /// Has the files of TLS read again, soon and by another thread; open connections stay as they are. Without TLS there is
    /// nothing to read.
    pub fn reload(&self) {
        self.janitor.reload();
    }

    /// How many streams are open.
    pub fn streams(&self) -> usize {
        self.shared.hub.len()
    }

    /// How many sender threads there are; those that have ended are joined first.
    pub fn stream_threads(&self) -> usize {
        self.shared.streams.reap();
        self.shared.streams.len()
    }

    /// Stops. The one order: no new streams and the last frames of the open ones; no new calls; the grace period; the rest
    /// cancelled; workers; the writer's last commit; the C core. It is over as soon as `hurry` says so.
    pub fn stop(mut self, hurry: &dyn Fn() -> bool) {
        let watch = Stopwatch::start();
        log::info!("stopping: {} streams get their last messages", self.shared.hub.len());
        // What has been acknowledged until now goes out; where that cannot be told, what has been published.
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
        self.janitor.stop();
        let workers = self.shared.work.stop(STEP_LIMIT) & self.shared.hash.stop(STEP_LIMIT);
        log::info!("stopping: the last commit");
        let writer = self.shared.app.store.stop(STEP_LIMIT);
        if !(workers && writer) {
            log::warn!("not everything ended in time");
        }
        drop(self.front);
        log::info!("stopped after {} ms", watch.elapsed().as_millis());
    }
}

/// At every start, until the administrator has done what is his to do.
fn remind_of_upgrade(settings: &Settings, store: &Store) -> Result<(), StoreError> {
    let copy = upgrade::copy_in(&settings.data_dir);
    if copy.exists() {
        log::warn!(
            "{} holds the old passwords' hashes and second factors in the clear: delete it once people could log in",
            copy.display()
        );
    }
    for login in store.read(users::awaiting_admin)? {
        log::warn!("{:?} has no second factor and waits for the administrator", one_line(&login));
    }
    Ok(())
}

type MessageHub = Arc<Hub<Outlet>>;

/// Opens the store, with what follows its commits: the registry of sessions, the hub, and the publisher in front of it.
fn open_store(settings: &Settings, lock: DirectoryLock) -> Result<(MessageHub, Arc<Sessions>, Store), StartError> {
    // The hub needs to know where the store's ids stand. Nothing is written in between.
    let hub: Arc<OnceLock<MessageHub>> = Arc::default();
    let (chat_log, bytes) = (settings.chat_log, settings.rpc.batch_bytes);
    let publisher = Publisher::start(Arc::clone(&hub), bytes).map_err(StartError::Threads)?;
    let sessions = Arc::new(Sessions::new({
        let hub = Arc::clone(&hub);
        Box::new(move |ended| {
            if let Some(hub) = hub.get() {
                hub.end_sessions(ended);
            }
        })
    }));
    let publish = Box::new(move |messages: Vec<Event>| {
        if chat_log {
            messages.iter().for_each(log_chat_line);
        }
        publisher.publish(messages);
    });
    let followers = CommitFollowers { sessions: Arc::clone(&sessions), publish };
    let store = Store::open(&settings.data_dir, lock, &settings.store, Box::new(followers))?;
    let last_id = store.read(events::last_id)?;
    let hub = Arc::clone(hub.get_or_init(|| Arc::new(Hub::new(settings.hub, last_id))));
    Ok((hub, sessions, store))
}

/// How many commits may wait to be published; after that the writer waits.
const PUBLISH_QUEUE: usize = 256;

/// The thread between writer and hub: it writes to the streams or wakes them, so that whoever sends is answered before a
/// thousand others hear it. What is committed meanwhile is published together.
struct Publisher {
    // Dropped first: the thread then ends, after what is queued.
    commits: Sender<Vec<Event>>,
    _thread: Thread,
}

impl Publisher {
    fn start(hub: Arc<OnceLock<MessageHub>>, bytes: usize) -> io::Result<Publisher> {
        let (commits, committed) = bounded::<Vec<Event>>(PUBLISH_QUEUE);
        let thread = Thread::spawn("publisher", move || {
            // A commit that did not fit into the write before.
            let mut next = None;
            while let Some(mut messages) = next.take().or_else(|| committed.recv().ok()) {
                let mut size = wire::event_bytes(&messages);
                while let Ok(more) = committed.try_recv() {
                    size += wire::event_bytes(&more);
                    if size > bytes {
                        next = Some(more);
                        break;
                    }
                    messages.extend(more);
                }
                if let Some(hub) = hub.get() {
                    hub.publish(&Batch::frames(messages, bytes));
                }
            }
        })?;
        Ok(Publisher { commits, _thread: thread })
    }

    /// In the order of the commits.
    fn publish(&self, messages: Vec<Event>) {
        // The thread lives as long as its sender.
        let _ = self.commits.send(messages);
    }
}

fn log_chat_line(message: &Event) {
    let at = jiff::Timestamp::from_microsecond(message.at.as_micros()).unwrap_or_default();
    let local = at.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string();
    log::info!(target: CHAT_TARGET, "[{local}] {}: {}", one_line(&message.author), one_line(&message.text));
}

/// Rows without a head beside them: some may have been cut off. From now on that is in the audit itself, since the next row
/// renews the head.
fn check_audit_head(app: &App, data_dir: &Path) -> Result<(), StartError> {
    if HeadFile::in_directory(data_dir).read().is_some() || !app.store.read(audit::any)? {
        return Ok(());
    }
    log::error!("the head of the audit, audit.head, is missing or cannot be read: rows may have been cut off");
    let act = Act {
        actor: "server".into(),
        action: "audit.head-missing".into(),
        subject: String::new(),
        address: String::new(),
        detail: "rows before this one may have been cut off".into(),
    };
    app.record(act).map_err(|error| StartError::Audit(error.to_string()))
}

/// The key of tokens, and, for a while, the one before.
fn load_tokens(settings: &Settings, now: Time) -> Result<Tokens, StartError> {
    let (path, guard) = (&settings.jwt_key, settings.guard_of(&settings.jwt_key));
    let tokens = Tokens::new(&keys::load_or_create(path, guard, true)?);
    let old = keys::path_of_old(path);
    let Some(since) = keys::changed_at(&old) else { return Ok(tokens) };
    let until = since + settings.old_jwt_key;
    if now < until {
        return Ok(tokens.with_previous_key(&keys::load(&old, guard)?, until));
    }
    // What is handed in from outside is not ours to delete.
    if guard == KeyGuard::Mode && fs::remove_file(&old).is_ok() {
        log::info!("deleted {}: no token under it is good any more", old.display());
    }
    Ok(tokens)
}

fn check_sealing_key(store: &Store, vault: &Vault, path: &Path) -> Result<(), StartError> {
    let ids = store.read(sealed::key_ids)?;
    match ids.into_iter().find(|id| id != vault.key_id()) {
        Some(wanted) => Err(StartError::OtherKey { path: path.to_owned(), wanted }),
        None => Ok(()),
    }
}

/// Opens the keys that the database holds sealed, and makes those that it does not have yet.
fn unseal_keys(store: &Store, vault: Vault) -> Result<Keys, StartError> {
    let unseal = |key: InnerKey| -> Result<SecretBytes, StartError> {
        let place = AadContext::InnerKey(key);
        if let Some(sealed) = store.read(|tx| sealed::inner_key(tx, key))? {
            return Ok(vault.open(place, &sealed)?);
        }
        let made = SecretBytes::random(KEY_BYTES).map_err(|_| VaultError::Seal)?;
        let sealed = vault.seal(place, &made)?;
        store.write(move |tx| Ok::<_, StoreError>(sealed::put_inner_key(tx, key, &sealed)?))?;
        Ok(made)
    };
    let (codes, audit) = (CodeHasher::new(&unseal(InnerKey::Codes)?), Chain::new(&unseal(InnerKey::Audit)?));
    Ok(Keys { vault, codes, audit })
}

/// A connection of this run may have the address of one of the last.
fn forget_connections(store: &Store) -> Result<(), StoreError> {
    store.write(|tx| {
        users::forget_connections(tx)?;
        Ok(sessions::forget_connections(tx)?)
    })
}

/// The thread that looks for what has run out, and for changed files of TLS.
struct Janitor {
    /// A message has the files read at once; without a sender it ends.
    reload: Option<Sender<()>>,
    thread: Option<Thread>,
}

impl Janitor {
    fn start(shared: Arc<Shared>, mut watch: Option<CertificateWatch>) -> io::Result<Janitor> {
        let (reload, asked) = bounded::<()>(1);
        let thread = Thread::spawn("janitor", move || {
            let mut sweeps: u32 = 0;
            loop {
                match (asked.recv_timeout(SWEEP_EVERY), &mut watch) {
                    (Err(RecvTimeoutError::Disconnected), _) => return,
                    (Ok(()), Some(watch)) => watch.read_again(shared.app.clock.now()),
                    (Ok(()), None) => log::info!("there is no TLS certificate to read again"),
                    (Err(RecvTimeoutError::Timeout), Some(watch)) if sweeps.is_multiple_of(SWEEPS_PER_LOOK) => {
                        watch.look(shared.app.clock.now());
                    }
                    (Err(RecvTimeoutError::Timeout), _) => {}
                }
                sweeps = sweeps.wrapping_add(1);
                shared.streams.reap();
                if let Err(error) = shared.app.sweep() {
                    log::warn!("what has run out could not be deleted yet: {error}");
                }
            }
        })?;
        Ok(Janitor { reload: Some(reload), thread: Some(thread) })
    }

    fn reload(&self) {
        if let Some(reload) = &self.reload {
            // Where one waits already, it reads what is there now as well.
            let _ = reload.try_send(());
        }
    }

    fn stop(&mut self) {
        self.reload = None;
        if let Some(thread) = self.thread.take() {
            thread.join_within(STEP_LIMIT);
        }
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        self.reload = None;
    }
}
