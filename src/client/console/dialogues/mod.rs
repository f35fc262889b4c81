//! The dialogues, one file each.

pub mod account;
pub mod enrolment;
pub mod history;
pub mod login;
pub mod recovery;
pub mod sessions;
