//! The wire: the only server-side folder that names grpcio.
//!
//! Handlers run on poll threads, where nothing may block. They read the headers, hand a job to a bounded pool and return
//! (`dispatch`); `calls` lists them. The job proves the caller, does the work and fills a [`reply`]. Each stream has a
//! thread ([`stream`]). [`edge`] bounds what strangers can do before a call reaches a handler, and [`front`] listens.

pub mod admin_socket;
pub mod caller;
pub mod edge;
pub mod fair_share;
pub mod front;
pub mod limits;
pub mod listen;
pub mod pacer;
pub mod reply;
pub mod shared;
pub mod status;
pub mod stream;
pub mod wire;

mod admin;
mod auth;
mod calls;
mod channel;
mod dispatch;
mod messaging;
mod opening;
mod otp;

/// Makes the C core write to the log, which must have been started.
pub fn redirect_log() {
    grpcio::redirect_log();
}
