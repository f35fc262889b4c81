//! Settings: flags and environment variables ([`flags`], [`limits`]) are checked against each other (`check`) and become
//! [`Settings`].
//!
//! Every limit of the server has a flag in [`limits`], with its default and its range. The bounds themselves are types of the
//! rooms that keep them, such as [`crate::hub::HubLimits`].

mod check;
pub mod flags;
pub mod limits;
mod settings;

pub use self::check::SettingError;
pub use self::flags::Flags;
pub use self::settings::Settings;
