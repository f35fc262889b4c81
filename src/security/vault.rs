//! Seals TOTP secrets and inner keys, so that a stolen database reveals no second factor.
//!
//! XChaCha20-Poly1305 with a random 24-byte nonce in front of each ciphertext. The associated data names table, column and
//! row, so that a row cannot stand in for another.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};

use super::keys::key_id;
use super::secret::SecretBytes;
use crate::model::ids::UserId;

const NONCE_BYTES: usize = 24;

/// Seals and opens under one key.
pub struct Vault {
    cipher: XChaCha20Poly1305,
    key_id: String,
}

/// The table, column and row that a sealed secret belongs to. It is part of the seal: a secret that was moved to another row
/// does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AadContext {
    /// A TOTP secret.
    SecondFactor {
        /// The account.
        user_id: UserId,
    },
    /// A key that is used within the database, by its name.
    InnerKey(InnerKey),
}

/// Keys that the database holds, sealed. They stay the same when the sealing key is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InnerKey {
    /// Hashes one-time codes.
    Codes,
    /// Chains the rows of the audit.
    Audit,
}

impl InnerKey {
    /// All of them.
    pub const ALL: [InnerKey; 2] = [InnerKey::Codes, InnerKey::Audit];

    /// Its name in the database.
    pub const fn name(self) -> &'static str {
        match self {
            InnerKey::Codes => "codes",
            InnerKey::Audit => "audit",
        }
    }
}

impl std::fmt::Display for AadContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AadContext::SecondFactor { user_id } => write!(f, "second_factors.sealed user={user_id}"),
            AadContext::InnerKey(key) => write!(f, "inner_keys.sealed name={}", key.name()),
        }
    }
}

/// A secret as the database holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The id of the key that sealed it.
    pub key_id: String,
    /// Nonce and ciphertext.
    pub bytes: Vec<u8>,
}

/// A secret could not be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// It was sealed under another key.
    #[error("the secret was sealed under another key")]
    OtherKey,
    /// The bytes were changed, or belong to another row.
    #[error("the sealed secret was changed or moved")]
    Tampered,
    /// There was no random nonce, or the cipher failed.
    #[error("a secret could not be sealed")]
    Seal,
}

impl Vault {
    /// # Errors
    /// The key does not have 32 bytes.
    pub fn new(key: &SecretBytes) -> Result<Vault, VaultError> {
        let cipher = XChaCha20Poly1305::new_from_slice(key.expose()).map_err(|_| VaultError::Seal)?;
        Ok(Vault { cipher, key_id: key_id(key) })
    }

    /// The id of the key that this vault seals under.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Seals a secret for the row that it belongs to.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn seal(&self, context: AadContext, secret: &SecretBytes) -> Result<Sealed, VaultError> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_| VaultError::Seal)?;
        let context = context.to_string();
        let payload = Payload { msg: secret.expose(), aad: context.as_bytes() };
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| VaultError::Seal)?;
        Ok(Sealed { key_id: self.key_id.clone(), bytes: [&nonce[..], &sealed].concat() })
    }

    /// Opens a secret that [`Vault::seal`] sealed for the same row.
    ///
    /// # Errors
    /// [`VaultError::OtherKey`] or [`VaultError::Tampered`].
    pub fn open(&self, context: AadContext, sealed: &Sealed) -> Result<SecretBytes, VaultError> {
        if sealed.key_id != self.key_id {
            return Err(VaultError::OtherKey);
        }
        let (nonce, ciphertext) = sealed.bytes.split_first_chunk::<NONCE_BYTES>().ok_or(VaultError::Tampered)?;
        let context = context.to_string();
        let payload = Payload { msg: ciphertext, aad: context.as_bytes() };
        let secret = self.cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| VaultError::Tampered)?;
        Ok(SecretBytes::new(secret))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: AadContext = AadContext::SecondFactor { user_id: UserId::from_number(7) };

    fn vault(byte: u8) -> Vault {
        Vault::new(&SecretBytes::new((0..32).map(|n| n ^ byte).collect())).unwrap()
    }

    #[test]
    fn a_secret_opens_for_the_same_account_and_under_the_same_key_only() {
        let secret = SecretBytes::new(b"12345678901234567890".to_vec());
        let sealed = vault(1).seal(CONTEXT, &secret).unwrap();
        assert_eq!(vault(1).open(CONTEXT, &sealed), Ok(secret.clone()));
        assert_eq!(
            vault(1).open(AadContext::SecondFactor { user_id: UserId::from_number(8) }, &sealed),
            Err(VaultError::Tampered)
        );
        assert_eq!(vault(1).open(AadContext::InnerKey(InnerKey::Codes), &sealed), Err(VaultError::Tampered));
        assert_eq!(vault(2).open(CONTEXT, &sealed), Err(VaultError::OtherKey));
        assert!(!sealed.bytes.windows(20).any(|w| w == secret.expose()));
        assert_ne!(vault(1).seal(CONTEXT, &secret).unwrap(), sealed, "nonces are fresh");
    }

    #[test]
    fn every_changed_byte_is_detected() {
        let sealed = vault(1).seal(CONTEXT, &SecretBytes::new(vec![9; 20])).unwrap();
        for n in 0..sealed.bytes.len() {
            let mut changed = sealed.clone();
            changed.bytes[n] ^= 1;
            assert_eq!(vault(1).open(CONTEXT, &changed), Err(VaultError::Tampered), "byte {n}");
            changed.bytes.truncate(n);
            assert_eq!(vault(1).open(CONTEXT, &changed), Err(VaultError::Tampered), "cut at {n}");
        }
    }
}
