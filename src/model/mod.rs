//! Ids, logins, texts and reasons: what both server and client use, checked once.

pub mod event;
pub mod ids;
pub mod login;
pub mod reason;
pub mod text;
