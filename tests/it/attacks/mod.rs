//! What attackers would do, against a real server.

mod confusion;
mod gate;
mod guessing;
mod races;
mod wild;
