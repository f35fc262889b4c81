//! `otpchatd rekey`: a new key for everything that is sealed in the database.
//!
//! The new key is on disk before anything is sealed under it, and takes the old one's place after everything is. In between, one
//! transaction seals all or nothing. So at every moment the two files together open the database, and running the command again
//! continues where it was interrupted.

use std::path::Path;

use super::args::RekeyArgs;
use super::error::ToolError;
use super::output::say;
use super::transport::{STOP_LIMIT, take_lock};
use crate::base::clock::Clock;
use crate::config::Settings;
use crate::security::keys::{self, KeyGuard};
use crate::security::vault::Vault;
use crate::server::{Backend, NoProgress, Progress, StartError};
use crate::store::audit::Act;
use crate::store::{OpenError, sealed};

pub(super) fn run(settings: &Settings, args: RekeyArgs, progress: &mut dyn Progress) -> Result<(), ToolError> {
    let lock = match take_lock(settings) {
        Err(ToolError::Open(OpenError::InUse { .. })) => return Err(ToolError::ServerRuns),
        lock => lock?,
    };
    let path = &settings.sealing_key;
    let old = vault(path, settings.guard_of(path))?;
    let new_path = args.to.clone().unwrap_or_else(|| keys::path_of_new(path));
    let new_key = keys::load_or_create(&new_path, settings.guard_of(&new_path), args.to.is_none())?;
    let new = Vault::new(&new_key).map_err(StartError::from)?;
    // Before anything is sealed anew.
    let kept = if args.to.is_none() { Some(keys::keep_copy(path)?) } else { None };
    let sealed = sealed::reseal(&settings.data_dir, &lock, &old, &new, &mut |done, all| progress.sealed(done, all))?;
    let mut settings = settings.clone();
    match args.to {
        None => keys::take_over_new(path)?,
        Some(to) => settings.sealing_key = to,
    }
    let backend = Backend::open(&settings, lock, Clock::system(), &mut NoProgress)?;
    let act = Act {
        actor: "admin".into(),
        action: "rekey".into(),
        subject: String::new(),
        address: String::new(),
        detail: format!("{sealed} secrets; the new key has the id {}", new.key_id()),
    };
    backend.app.record(act)?;
    backend.app.store.stop(STOP_LIMIT);
    match kept {
        Some(kept) => say(&format!(
            "{sealed} secrets are sealed under a new key, {}.\nThe old key is kept as {}: it opens backups that were made \
             before. Delete it when there are none.",
            path.display(),
            kept.display()
        )),
        None => say(&format!(
            "{sealed} secrets are sealed under {}: start the server with it (--sealing-key).",
            settings.sealing_key.display()
        )),
    }
}

fn vault(path: &Path, guard: KeyGuard) -> Result<Vault, ToolError> {
    Ok(Vault::new(&keys::load(path, guard)?).map_err(StartError::from)?)
}
