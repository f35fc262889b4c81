//! Passwords, logins, codes, tokens and keys: rules without any input or output but the files of
//! keys and certificates. Time and randomness are
//! parameters, except that salts, secrets and nonces are drawn from the operating system.

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
