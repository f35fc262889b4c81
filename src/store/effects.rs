//! What follows a commit. A transaction collects it, and the writer applies it in one place: rights that are taken away
//! before the commit, everything else after it, in commit order, and before the callers are answered.

use super::rows::{AuditHead, LiveSession};
use crate::model::event::Event;
use crate::model::ids::SessionId;

/// What follows the commit of a transaction.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// Events to publish, in the order of their ids.
    pub(super) events: Vec<Event>,
    /// Sessions that were opened or completed, and not ended after that.
    pub(super) opened: Vec<LiveSession>,
    /// Sessions whose rows were deleted.
    pub(super) ended: Vec<SessionId>,
    /// The last row of the audit, if one was added.
    pub(super) audit_head: Option<AuditHead>,
}

impl Effects {
    /// Notes that a session was opened or completed.
    pub(super) fn open(&mut self, live: LiveSession) {
        self.opened.retain(|other| other.session.id != live.session.id);
        self.opened.push(live);
    }

    /// Notes that sessions ended.
    pub(super) fn end(&mut self, ended: &[SessionId]) {
        self.opened.retain(|live| !ended.contains(&live.session.id));
        self.ended.extend(ended);
    }

    /// Adds the effects of the next transaction of the same commit.
    pub(super) fn then(&mut self, next: Effects) {
        self.end(&next.ended);
        next.opened.into_iter().for_each(|live| self.open(live));
        self.events.extend(next.events);
        self.audit_head = next.audit_head.or(self.audit_head);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Time;
    use crate::model::ids::UserId;
    use crate::store::rows::{Session, Stage};

    fn live(id: SessionId, stage: Stage) -> LiveSession {
        let session = Session {
            id,
            user_id: UserId::from_number(1),
            stage,
            base_factor: None,
            created_at: Time::from_secs(0),
            expires_at: Time::from_secs(1),
            connection: None,
            opened_from: None,
        };
        LiveSession { session, login: "user1".into() }
    }

    #[test]
    fn a_session_that_is_ended_behind_its_opening_is_not_opened() {
        let [first, second] = [(); 2].map(|()| SessionId::random().unwrap());
        let mut group = Effects::default();
        group.open(live(first, Stage::NeedsCode));
        group.open(live(first, Stage::Complete));
        group.open(live(second, Stage::Complete));
        let mut next = Effects::default();
        next.end(&[second]);
        group.then(next);
        assert_eq!(group.opened, [live(first, Stage::Complete)]);
        assert_eq!(group.ended, [second]);
    }
}
