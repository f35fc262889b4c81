//! The terminal: what is typed, and what is on the screen.

pub mod bounded_reader;
pub mod editor;
pub mod editor_gate;
pub mod front;
pub mod input;
pub mod keys;
pub mod layout;
pub mod paint;
pub mod prompt;
pub mod screen;
pub mod table;
pub mod typed_line;
