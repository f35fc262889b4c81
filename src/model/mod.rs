//! The things that all rooms speak of, checked once.

pub mod event;
pub mod ids;
pub mod login;
pub mod reason;
pub mod text;
