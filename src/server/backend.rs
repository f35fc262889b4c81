//! Everything of a server but its wire.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use super::chat_log;
use super::error::StartError;
use super::keys::{check_sealing_key, load_tokens, unseal_keys};
use super::progress::Progress;
use super::publisher::{Publisher, StreamHub};
use crate::app::sessions::{CommitFollowers, Sessions};
use crate::app::throttles::Throttles;
use crate::app::{App, TokenKey};
use crate::base::clock::{Clock, Time};
use crate::base::escape::one_line;
use crate::config::Settings;
use crate::hub::Hub;
use crate::model::event::Event;
use crate::security::keys;
use crate::security::passwords::Passwords;
use crate::security::vault::Vault;
use crate::store::audit::{self, Act, HeadFile};
use crate::store::{DirectoryLock, Store, StoreError, events, sealed, sessions, upgrade, users};

/// The application with its store, its sessions and its keys, and the hub that it publishes to.
pub struct Backend {
    /// What the system does.
    pub app: Arc<App>,
    pub(super) hub: StreamHub,
}

impl Backend {
    /// Opens what the data directory holds, upgrades an old database, and makes what is missing.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn open(
        settings: &Settings,
        lock: DirectoryLock,
        clock: Clock,
        progress: &mut dyn Progress,
    ) -> Result<Backend, StartError> {
        let passwords = Passwords::new(settings.password_cost)?;
        passwords.warm_up()?;
        let vault = open_vault(settings)?;
        let tokens = load_tokens(settings, clock.now())?;
        upgrade_old_database(settings, &lock, &passwords, &vault, clock.now(), progress)?;
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
        Ok(Backend { app, hub })
    }

    /// Logs at every start what an upgrade has left to the administrator.
    pub(super) fn remind_of_upgrade(&self, data_dir: &Path) -> Result<(), StoreError> {
        let copy = upgrade::copy_in(data_dir);
        if copy.exists() {
            log::warn!(
                "{} holds the old passwords' hashes and second factors in the clear: delete it once people could log in",
                copy.display()
            );
        }
        for login in self.app.store.read(users::awaiting_admin)? {
            log::warn!("{:?} has no second factor and waits for the administrator", one_line(&login));
        }
        Ok(())
    }

    /// Forgets which connections may go on without a token: a new connection may have the address of an old one.
    pub(super) fn forget_connections(&self) -> Result<(), StoreError> {
        self.app.store.write(|tx| {
            users::forget_connections(tx)?;
            Ok(sessions::forget_connections(tx)?)
        })
    }
}

/// Reads the sealing key. A new one is made only where nothing is sealed yet.
fn open_vault(settings: &Settings) -> Result<Vault, StartError> {
    let path = &settings.sealing_key;
    let may_make_key = upgrade::is_needed(&settings.data_dir)? || !sealed::are_in(&settings.data_dir)?;
    Ok(Vault::new(&keys::load_or_create(path, settings.guard_of(path), may_make_key)?)?)
}

fn upgrade_old_database(
    settings: &Settings,
    lock: &DirectoryLock,
    passwords: &Passwords,
    vault: &Vault,
    now: Time,
    progress: &mut dyn Progress,
) -> Result<(), StartError> {
    if upgrade::is_needed(&settings.data_dir)? {
        let mut report = |done, all| progress.upgraded(done, all);
        let accounts = upgrade::run(&settings.data_dir, lock, passwords, vault, now, &mut report)?;
        log::info!("upgraded {accounts} accounts of the predecessor's database");
    }
    Ok(())
}

/// Opens the store, with the followers of its commits: the registry of sessions, and the hub with the publisher in front of it.
fn open_store(settings: &Settings, lock: DirectoryLock) -> Result<(StreamHub, Arc<Sessions>, Store), StartError> {
    // The hub needs the last id of the store. Nothing is written before both are there.
    let hub: Arc<OnceLock<StreamHub>> = Arc::default();
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
    let publish = Box::new(move |events: Vec<Event>| {
        if chat_log {
            events.iter().for_each(chat_log::log_line);
        }
        publisher.publish(events);
    });
    let followers = CommitFollowers { sessions: Arc::clone(&sessions), publish };
    let store = Store::open(&settings.data_dir, lock, &settings.store, Box::new(followers))?;
    let last_id = store.read(events::last_id)?;
    let hub = Arc::clone(hub.get_or_init(|| Arc::new(Hub::new(settings.hub, last_id))));
    Ok((hub, sessions, store))
}

/// Notes rows without a head beside them: some may have been cut off. The note itself renews the head, and stays in the audit.
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
