//! Passwords, codes, tokens, keys and certificates: rules that read and write nothing but the files of keys and certificates.
//! Time is a parameter. Salts, secrets and nonces are drawn from the operating system.

pub mod certificate;
pub mod chain;
pub mod codes;
pub mod keys;
pub mod origin;
pub mod passwords;
pub mod secret;
pub mod throttle;
pub mod tokens;
pub mod totp;
pub mod vault;
