//! The terminal: what is typed, and what stands on the screen.

pub mod bounded_reader;
pub mod editor_gate;
pub mod input;
pub mod prompt;
pub mod screen;
