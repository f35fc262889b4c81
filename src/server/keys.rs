//! The keys of a server: read from their files, checked against the database, or unsealed from it.

use std::fs;
use std::path::Path;

use super::error::StartError;
use crate::app::audit_context::Keys;
use crate::base::clock::Time;
use crate::config::Settings;
use crate::security::chain::Chain;
use crate::security::codes::CodeHasher;
use crate::security::keys::{self, KEY_BYTES, KeyGuard};
use crate::security::secret::SecretBytes;
use crate::security::tokens::Tokens;
use crate::security::vault::{AadContext, InnerKey, Vault, VaultError};
use crate::store::{Store, StoreError, sealed};

/// The key that signs tokens and, until its grace period ends, the one before.
pub(super) fn load_tokens(settings: &Settings, now: Time) -> Result<Tokens, StartError> {
    let (path, guard) = (&settings.jwt_key, settings.guard_of(&settings.jwt_key));
    let tokens = Tokens::new(&keys::load_or_create(path, guard, true)?);
    let old = keys::path_of_old(path);
    let Some(since) = keys::changed_at(&old) else { return Ok(tokens) };
    let until = since + settings.old_jwt_key;
    if now < until {
        return Ok(tokens.with_previous_key(&keys::load(&old, guard)?, until));
    }
    // A key that the service manager handed in is not ours to delete.
    if guard == KeyGuard::Mode && fs::remove_file(&old).is_ok() {
        log::info!("deleted {}: no token under it is valid any more", old.display());
    }
    Ok(tokens)
}

/// Refuses a sealing key that the secrets in the database are not sealed under.
pub(super) fn check_sealing_key(store: &Store, vault: &Vault, path: &Path) -> Result<(), StartError> {
    let ids = store.read(sealed::key_ids)?;
    match ids.into_iter().find(|id| id != vault.key_id()) {
        Some(wanted) => Err(StartError::OtherKey { path: path.to_owned(), wanted }),
        None => Ok(()),
    }
}

/// Opens the keys that lie sealed in the database, and makes those that it does not have yet.
pub(super) fn unseal_keys(store: &Store, vault: Vault) -> Result<Keys, StartError> {
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
