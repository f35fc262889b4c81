//! The library behind `otpchatd` and `otpchat`: a group chat for the terminal whose second factor nobody can skip.
//!
//! # The tour
//!
//! Follow one message. `SendMessage` arrives on the poll thread `grpc-poll-0`; [`rpc`] reads its headers and hands a job to
//! the workers ([`base::threads`]), since nothing may block there. The job proves the caller ([`app::sessions`]), checks the text
//! ([`app::messages`]) and gives it to the store's one writer ([`store`]), which commits it together with whatever
//! else is waiting. After the commit its sender is answered, and, in the order of the commits, the thread `publisher`
//! ([`server`]) delivers it ([`hub`]), encoded once ([`rpc::wire`]): it writes to the streams that have nothing else to do,
//! and puts it into the mailboxes of the others. A thread for each stream ([`rpc::stream`]) writes what its mailbox holds, and
//! reads on from the store when it fell behind.
//!
//! # What holds everywhere
//!
//! - Nothing under `app/`, `security/`, `store/` or in `hub/` names grpcio.
//! - Nothing blocks on a poll thread: no SQL, no hash, no lock that is held across either.
//! - Publishing never blocks, and never waits for a slow stream.
//! - A message is delivered only after its commit, in commit order; the answer to its sender means that it is on disk.
//! - Who the caller is comes from his token, never from a request field.
//! - Every queue has a bound, in [`config`] where anybody may want another; every thread of ours has a name and an owner that
//!   joins it.
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
