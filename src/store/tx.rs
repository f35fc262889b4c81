//! Transactions: one view of the database to read, and the right to write.

use std::cell::RefCell;
use std::ops::Deref;

use super::effects::Effects;
use super::rows::{AuditHead, LiveSession, Session, StoredMessage};
use super::sql::Conn;
use crate::model::ids::SessionId;

/// One view of the database, to read. What others commit meanwhile is not in it. Only the functions of the tables can do
/// anything with it.
pub struct ReadTx<'c> {
    pub(super) conn: Conn<'c>,
}

/// The right to write, within the transaction of a group. What it reads includes what it has written.
pub struct Tx<'c> {
    read: ReadTx<'c>,
    effects: RefCell<Effects>,
    kept_head: Option<AuditHead>,
}

impl<'c> Tx<'c> {
    /// A transaction, and the last row of the audit that is kept beside the database.
    pub(super) fn new(conn: Conn<'c>, kept_head: Option<AuditHead>) -> Tx<'c> {
        Tx { read: ReadTx { conn }, effects: RefCell::default(), kept_head }
    }

    /// What follows its commit.
    pub(super) fn into_effects(self) -> Effects {
        self.effects.into_inner()
    }

    /// The last row of the audit that is kept beside the database.
    pub(super) fn kept_head(&self) -> Option<AuditHead> {
        self.kept_head
    }

    /// Notes a message, to be published once it is committed.
    pub(super) fn appended(&self, message: StoredMessage) {
        self.effects.borrow_mut().messages.push(message);
    }

    /// Notes a session that was opened or completed.
    pub(super) fn opened(&self, session: Session, login: &str) {
        self.effects.borrow_mut().open(LiveSession { session, login: login.to_owned() });
    }

    /// Notes sessions that were ended.
    pub(super) fn ended(&self, ended: &[SessionId]) {
        self.effects.borrow_mut().end(ended);
    }

    /// Notes the last row of the audit, to be kept beside the database once it is committed.
    pub(super) fn audited(&self, head: AuditHead) {
        self.effects.borrow_mut().audit_head = Some(head);
    }
}

impl<'c> Deref for Tx<'c> {
    type Target = ReadTx<'c>;

    fn deref(&self) -> &ReadTx<'c> {
        &self.read
    }
}
