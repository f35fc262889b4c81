//! The blocking client, and the console in front of it.
//!
//! From the wire up to the person:
//!
//! - [`endpoint`] looks up the server's addresses and decides whether a password may go there; [`tls`] decides which
//!   certificates to trust;
//! - [`link`] is one connection and its calls, each with a deadline; [`types`] are their answers, [`error`] says why a call
//!   failed;
//! - [`stream`] is the thread that reads the common room, reconnects by itself and sends [`stream::StreamEvent`]s into a
//!   channel; [`read_cursor`] is how far it has read; [`backoff`] paces the attempts; [`crate::base::wait`] lets a plain thread wait for a
//!   future;
//! - [`session`] is the session that the server gave us, [`server_clock`] how the server's clock differs from ours;
//! - [`console`] asks, shows and sends.
//!
//! Nothing here runs on a poll thread of gRPC, so blocking calls are safe everywhere.

pub mod backoff;
pub mod console;
pub mod endpoint;
pub mod error;
pub mod link;
pub mod read_cursor;
pub mod server_clock;
pub mod session;
pub mod stream;
pub mod tls;
pub mod types;
