//! The wire.
pub mod methods;
