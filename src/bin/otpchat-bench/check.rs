//! Checks that a stream gets every message once, and all streams get them in one order.

/// What is wrong with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// A message arrived a second time.
    #[error("message {0} came twice")]
    Twice(u32),
    /// A message was never sent.
    #[error("message {0} came and was never sent")]
    Unknown(u32),
    /// An id is not above the one before.
    #[error("the id {now} came after {before}")]
    Id {
        /// The id before.
        before: u64,
        /// The id that arrived.
        now: u64,
    },
    /// A message arrived behind one that was sent after its answer.
    #[error("message {0} came behind one that was sent when it had been answered")]
    Order(u32),
}

/// Checks one stream through `expected` messages, numbered from 0.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checker {
    expected: u32,
    seen: Vec<u64>,
    count: u32,
    in_flight: u32,
    highest: u32,
    last_id: u64,
    fingerprint: u64,
}

impl Checker {
    /// Begins. At most `in_flight` messages are unanswered at once, so that none may arrive behind one this far after it.
    pub(crate) fn new(expected: u32, in_flight: u32) -> Checker {
        Checker { expected, in_flight, seen: vec![0; (expected as usize).div_ceil(64)], ..Checker::default() }
    }

    /// The stream brought a message, with its id, or 0 if the server gives no ids.
    ///
    /// # Errors
    /// It should not have arrived, or not now.
    pub(crate) fn take(&mut self, number: u32, id: u64) -> Result<(), Fault> {
        if number >= self.expected {
            return Err(Fault::Unknown(number));
        }
        let (word, bit) = (number as usize / 64, 1_u64 << (number % 64));
        if self.seen[word] & bit != 0 {
            return Err(Fault::Twice(number));
        }
        self.seen[word] |= bit;
        if id != 0 && id <= self.last_id {
            return Err(Fault::Id { before: self.last_id, now: id });
        }
        self.last_id = id;
        if self.highest >= number.saturating_add(self.in_flight) {
            return Err(Fault::Order(number));
        }
        self.highest = self.highest.max(number);
        self.count += 1;
        // Depends on all messages so far and on their order.
        self.fingerprint = (self.fingerprint ^ u64::from(number)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        Ok(())
    }

    /// Whether every message has arrived.
    pub(crate) fn is_complete(&self) -> bool {
        self.count == self.expected
    }

    /// How many are missing.
    pub(crate) fn missing(&self) -> u32 {
        self.expected - self.count
    }

    /// The same for all streams that got the same messages in the same order, and for hardly any others.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(in_flight: u32, came: &[(u32, u64)], want: Result<bool, Fault>) {
        let mut checker = Checker::new(100, in_flight);
        let outcome = came.iter().try_for_each(|&(number, id)| checker.take(number, id));
        assert_eq!(outcome.map(|()| checker.is_complete()), want, "{came:?}");
    }

    #[test]
    fn each_message_has_to_arrive_once_and_in_order() {
        let all: Vec<(u32, u64)> = (0..100).map(|n| (n, u64::from(n) + 7)).collect();
        check(1, &all, Ok(true));
        check(1, &all[..99], Ok(false));
        check(1, &[(0, 1), (0, 2)], Err(Fault::Twice(0)));
        check(1, &[(100, 1)], Err(Fault::Unknown(100)));
        check(2, &[(0, 5), (1, 5)], Err(Fault::Id { before: 5, now: 5 }));
        check(1, &[(1, 0), (0, 0)], Err(Fault::Order(0)));
        check(2, &[(1, 0), (0, 0)], Ok(false));
        check(2, &[(2, 0), (0, 0)], Err(Fault::Order(0)));
    }

    #[test]
    fn another_order_has_another_fingerprint() {
        let print = |order: &[u32]| {
            let mut checker = Checker::new(4, 4);
            order.iter().for_each(|&n| checker.take(n, 0).unwrap());
            checker.fingerprint()
        };
        assert_eq!(print(&[0, 1, 2, 3]), print(&[0, 1, 2, 3]));
        assert_ne!(print(&[0, 1, 2, 3]), print(&[1, 0, 2, 3]));
        assert_ne!(print(&[0, 1, 2, 3]), print(&[0, 1, 3, 2]));
    }
}
