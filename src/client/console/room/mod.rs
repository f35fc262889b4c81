//! The common room: reading it, showing it, and sending to it.

pub mod composer;
pub mod current_session;
pub mod folds;
pub mod outbox;
pub mod printer;
pub mod render;
pub mod screen_event;
pub mod send_queue;
pub mod timeline;
pub mod view;
