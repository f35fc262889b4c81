//! The chain of the audit: the HMAC-SHA-256 of each row covers that of the row before, so that no row can be changed, inserted
//! or removed without the key (Schneier and Kelsey, "Secure Audit Logs to Support Computer Forensics", 1999, in its simplest
//! form).
//!
//! A chain without its last rows is still valid. Against that, the store keeps the head of the chain outside of the
//! database as well (`store::audit`).

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::secret::SecretBytes;

/// The MAC of a row.
pub type ChainMac = [u8; 32];

/// What the first row is chained to, in place of a row before it.
pub const START: ChainMac = [0; 32];

/// Chains rows under one key.
#[derive(Clone)]
pub struct Chain(Hmac<Sha256>);

impl Chain {
    /// Chains under this key, of any length.
    pub fn new(key: &SecretBytes) -> Chain {
        // HMAC accepts keys of every length (RFC 2104); the empty one only satisfies the type.
        Chain(Hmac::new_from_slice(key.expose()).unwrap_or_else(|_| Hmac::new(&Default::default())))
    }

    /// The MAC of a row: over the MAC of the row before and over its fields, each with its length in front, so that no byte can
    /// move from one field to the next.
    pub fn link(&self, before: &ChainMac, fields: &[&[u8]]) -> ChainMac {
        let mut mac = self.0.clone();
        mac.update(before);
        for field in fields {
            mac.update(&(field.len() as u64).to_be_bytes());
            mac.update(field);
        }
        mac.finalize().into_bytes().into()
    }

    /// Whether `mac` is the MAC of a row.
    pub fn holds(&self, before: &ChainMac, fields: &[&[u8]], mac: &[u8]) -> bool {
        self.link(before, fields)[..].ct_eq(mac).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_holds_for_its_key_its_place_and_its_fields_only() {
        let chain = |byte| Chain::new(&SecretBytes::new(vec![byte; 32]));
        let first = chain(1).link(&START, &[b"ab", b"c"]);
        assert!(chain(1).holds(&START, &[b"ab", b"c"], &first));
        assert!(!chain(2).holds(&START, &[b"ab", b"c"], &first), "another key");
        assert!(!chain(1).holds(&first, &[b"ab", b"c"], &first), "another place");
        assert!(!chain(1).holds(&START, &[b"a", b"bc"], &first), "a letter moved");
        assert!(!chain(1).holds(&START, &[b"ab", b"d"], &first), "a letter changed");
        assert!(!chain(1).holds(&START, &[b"ab", b"c"], &first[..31]), "cut");
        assert!(!chain(1).holds(&START, &[b"ab", b"c"], b""));
    }
}
