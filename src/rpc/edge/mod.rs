//! The edge: which connections there may be, what a connection may do before its calls reach a handler, and the address
//! behind a proxy.

pub mod connection;
pub mod limiter;
pub mod pending;
pub mod proxy;
pub mod pulse;
pub mod tls;

mod bounds;
mod hang_up;
mod open_files;
mod report;
mod sockets;
