//! Where connections come in: who may connect, for how long, and for whom a proxy speaks.

pub mod connection;
pub mod limiter;
pub mod pending;
pub mod proxy;
pub mod pulse;
pub mod tls;
