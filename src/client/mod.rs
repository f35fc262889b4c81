//! The blocking client, and the console in front of it.
//!
//! From the wire up to the person:
//!
//! - [`endpoint`] judges where a password may go, by the resolved address; [`tls`] whom we trust where it is encrypted;
//! - [`link`] is one connection and its calls, each with a deadline; [`answer`] is what they give, [`error`] why one of
//!   them failed;
//! - [`stream`] is the thread that reads the common room, reconnects by itself, and sends [`stream::Event`]s into a
//!   channel; [`crate::base::wait`] lets a plain thread wait for a future, [`backoff`] paces the attempts;
//! - [`session`] is what the server gave us and how its clock stands to ours; [`crate::security::secret`] keeps secrets from
//!   prying eyes;
//! - [`console`] asks, shows and sends; [`text`] is all it ever says, in both languages, [`span`] says how long and
//!   [`noun`] how many.
//!
//! Nothing here runs on a thread of gRPC's, so that blocking calls are safe everywhere.

pub mod backoff;
pub mod console;
pub mod endpoint;
pub mod error;
pub mod link;
pub mod session;
pub mod stream;
pub mod tls;
pub mod types;
