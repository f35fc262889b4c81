//! wip
#![allow(missing_docs)]
pub mod client;
pub mod clock;
pub mod lang;
pub mod proto;
pub mod qr;
pub mod reason;
pub mod rpc;
