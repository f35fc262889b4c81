//! Building blocks for every room. Nothing here knows anything of chats.

pub mod clock;
pub mod durable;
pub mod duration_words;
pub mod escape;
pub mod fair_pool;
pub mod lang;
pub mod lock;
pub mod logging;
pub mod plural;
pub mod table;
pub mod terminal;
pub mod text_width;
pub mod threads;
pub mod wait;
pub mod writing;
