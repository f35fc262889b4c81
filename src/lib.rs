//! The library behind `otpchatd` and `otpchat`: a group chat for the terminal whose second factor nobody can skip.
//!
//! # The tour
//!
//! Follow one message. `SendMessage` arrives on the poll thread `grpc-poll-0`; [`rpc`] reads its headers and hands a job to
//! the workers ([`base::threads`]), since nothing may block there. The job proves the caller ([`app::sessions`]), checks the text
//! ([`app::messages`]) and gives it to the store's one writer ([`store`]), which commits it together with all other
//! queued writes. After the commit its sender is answered, and the thread `publisher` ([`server`]) delivers it in the order of
//! the commits ([`hub`]), encoded once ([`rpc::wire`]): directly to idle streams, and into the mailboxes of busy ones. A thread
//! for each stream ([`rpc::stream`]) drains its mailbox, and catches up from the store after it fell behind.
//!
//! # What holds everywhere
//!
//! - Imports only go down, in the order of the modules below, and in no circle; `client` stands beside the server's modules.
//! - Nothing in `base`, `model`, `security`, `store`, `hub` or `app` names grpcio; nothing outside of `store` names a database.
//! - Nothing blocks on a poll thread: no SQL, no hash, no lock that is held across either.
//! - Publishing never blocks, and never waits for a slow stream.
//! - A message is delivered only after its commit, in commit order; the answer to its sender means that it is on disk.
//! - The caller comes from the token, never from a request field.
//! - Every queue has a bound, with a flag in [`config`] if an administrator may want another; every thread has a name, and an
//!   owner that joins it.
//! - Time enters through [`base::clock`].

/// The name of the product, as authenticators, tokens and errors carry it.
pub const NAME: &str = "grpc-otp-chat";

pub mod base;
pub mod proto;

pub mod model;
pub mod security;
pub mod store;

pub mod hub;

pub mod app;

pub mod rpc;

pub mod config;
pub mod server;

pub mod admin;
pub mod client;
pub mod qr;
