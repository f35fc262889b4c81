//! The session that a login gave us.

use crate::base::clock::Time;
use crate::security::secret::SecretText;

/// A session that has passed its second factor.
#[derive(Clone, Debug)]
pub struct ClientSession {
    /// The login of its account.
    pub login: String,
    /// Names the session to the server.
    pub token: SecretText,
    /// When it ends, by the server's clock; `None` if the server did not say.
    pub expires_at: Option<Time>,
}
