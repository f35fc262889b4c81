//! wip
#![allow(missing_docs)]
pub mod app;
pub mod client;
pub mod clock;
pub mod hub;
pub mod lang;
pub mod proto;
pub mod qr;
pub mod reason;
pub mod rpc;
pub mod security;
pub mod store;
pub mod threads;
