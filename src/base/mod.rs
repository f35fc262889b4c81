//! What every room may use: it knows nothing of this project.

pub mod clock;
pub mod durable;
pub mod duration_words;
pub mod escape;
pub mod lang;
pub mod lock;
pub mod logging;
pub mod plural;
pub mod table;
pub mod threads;
pub mod wait;
