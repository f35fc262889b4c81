//! The dialogues, one file each. Each takes the [`super::context::ConsoleContext`].

pub mod about;
pub mod account;
pub mod enrolment;
pub mod history;
pub mod login;
pub mod proof;
pub mod recovery;
pub mod retry;
pub mod sending;
pub mod sessions;
pub mod typed_code;
