//! What attackers would do, against a real server.

mod gate;
mod guessing;
mod wild;
