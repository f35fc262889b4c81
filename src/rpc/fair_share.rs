//! The owner of each call, and how much of the server an owner may hold at a time.
//!
//! The owner of a call is the person whose token it carries, once a worker has verified that token. For every other call it is
//! the network. No call is queued before its owner has a place for it, and the workers take turns by owner
//! ([`crate::base::fair_pool`]): the calls of an owner wait behind each other, and no others wait behind them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::{Arc, Mutex};

use futures_channel::oneshot;
use futures_util::future::{Either, select};

use super::caller::Incoming;
use super::limits::ShareLimits;
use crate::app::Credential;
use crate::app::refusal::Refusal;
use crate::base::clock::Stopwatch;
use crate::base::lock::lock;
use crate::model::ids::UserId;
use crate::security::origin::Origin;

/// The owner of a call: it counts towards the share of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The account of a token whose signature was verified.
    Person(UserId),
    /// The network of a caller without such a token: an IPv4 /24, an IPv6 /56. A home or a small site has one of these.
    Network(Origin),
    /// The administrator at the machine. There is no bound.
    Administrator,
}

/// How much a call costs while it is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Little.
    Small,
    /// A page of the history, or a subscription: many rows, a large answer.
    Large,
}

/// The calls under way, by owner.
pub struct FairShare {
    limits: ShareLimits,
    held: Mutex<Held>,
    /// The owners of verified tokens, by a keyed hash of the token.
    verified: Mutex<HashMap<u64, UserId>>,
    hasher: RandomState,
}

/// How many verified tokens are remembered. When there are more, all are forgotten: each costs one more verification.
const VERIFIED_TOKENS: usize = 65_536;

#[derive(Default)]
struct Held {
    owners: HashMap<Owner, Counts>,
    /// The answers that are being written: since when, and what ends them.
    answers: HashMap<u64, (Stopwatch, oneshot::Sender<()>)>,
    next_answer: u64,
}

#[derive(Default)]
struct Counts {
    calls: usize,
    large: usize,
    unread_bytes: usize,
}

impl FairShare {
    /// No call is under way.
    pub fn new(limits: ShareLimits) -> FairShare {
        FairShare { limits, held: Mutex::default(), verified: Mutex::default(), hasher: RandomState::new() }
    }

    /// The owner of a call. Cheap: for poll threads.
    pub fn owner(&self, incoming: &Incoming) -> Owner {
        let known = self.token_hash(&incoming.credential).and_then(|token| lock(&self.verified).get(&token).copied());
        known.map_or_else(|| Owner::Network(Origin::site_from_address(incoming.address)), Owner::Person)
    }

    /// Remembers the owner of a token whose signature has just been verified.
    pub fn remember(&self, credential: &Credential, person: UserId) {
        let Some(token) = self.token_hash(credential) else { return };
        let mut verified = lock(&self.verified);
        if verified.len() >= VERIFIED_TOKENS {
            verified.clear();
        }
        verified.insert(token, person);
    }

    fn token_hash(&self, credential: &Credential) -> Option<u64> {
        match credential {
            Credential::Token(token) => Some(self.hasher.hash_one(token.expose())),
            Credential::NoneOn(_) | Credential::None | Credential::Garbled => None,
        }
    }

    /// Takes a place for a call. Dropping it gives the place back.
    ///
    /// # Errors
    /// [`Refusal::TooManyCalls`]: the owner has as many calls under way as it may have.
    pub fn begin(self: &Arc<Self>, owner: Owner, cost: Cost) -> Result<Place, Refusal> {
        let (calls, large) = match owner {
            Owner::Person(_) => (self.limits.calls_per_person, self.limits.large_calls_per_person),
            Owner::Network(_) => (self.limits.calls_per_network, self.limits.calls_per_network),
            Owner::Administrator => (0, 0),
        };
        let mut held = lock(&self.held);
        let counts = held.owners.entry(owner).or_default();
        if is_over(counts.calls, calls) || cost == Cost::Large && is_over(counts.large, large) {
            return Err(Refusal::TooManyCalls);
        }
        counts.calls += 1;
        counts.large += usize::from(cost == Cost::Large);
        Ok(Place { share: Arc::clone(self), owner, cost, unread_bytes: 0 })
    }

    /// Ends the answers that stayed unread for too long. To be called every second or so.
    pub fn end_unread_answers(&self) {
        let mut held = lock(&self.held);
        let limit = self.limits.answer_stall;
        let over: Vec<_> = held.answers.extract_if(|_, (since, _)| since.left_of(limit).is_none()).collect();
        drop(held);
        for (_, (_, end)) in over {
            // The answer may just have been read.
            let _ = end.send(());
        }
    }

    /// How many calls are under way.
    pub fn calls(&self) -> usize {
        lock(&self.held).owners.values().map(|counts| counts.calls).sum()
    }
}

/// Whether one more would be too many.
fn is_over(count: usize, limit: usize) -> bool {
    limit > 0 && count >= limit
}

/// The place of a call under way.
pub struct Place {
    share: Arc<FairShare>,
    owner: Owner,
    cost: Cost,
    unread_bytes: usize,
}

impl Place {
    /// Counts the bytes of the answer, which the client has not read yet. Only a large answer is refused: calls with a small one may
    /// have changed something, and their client must learn of it.
    ///
    /// # Errors
    /// [`Refusal::TooManyCalls`]: the owner leaves too many bytes unread.
    pub fn hold(&mut self, bytes: usize) -> Result<(), Refusal> {
        let mut held = lock(&self.share.held);
        let Some(counts) = held.owners.get_mut(&self.owner) else { return Ok(()) };
        // A single answer always fits.
        if self.cost == Cost::Large && counts.unread_bytes > 0 && self.share.limits.unread_bytes > 0 {
            let after = counts.unread_bytes.saturating_add(bytes);
            if after > self.share.limits.unread_bytes {
                return Err(Refusal::TooManyCalls);
            }
        }
        counts.unread_bytes += bytes;
        self.unread_bytes += bytes;
        Ok(())
    }

    /// Waits until an answer is written, but not for ever: `None` means that the client did not read it in time, and that
    /// the call must be dropped.
    pub async fn written<T>(&self, writing: impl Future<Output = T>) -> Option<T> {
        let (id, end) = self.watch();
        let watched = Watched { place: self, id };
        let outcome = match select(pin!(writing), end).await {
            Either::Left((outcome, _)) => Some(outcome),
            Either::Right(_) => None,
        };
        drop(watched);
        outcome
    }

    fn watch(&self) -> (u64, oneshot::Receiver<()>) {
        let (end, ended) = oneshot::channel();
        let mut held = lock(&self.share.held);
        let id = held.next_answer;
        held.next_answer += 1;
        held.answers.insert(id, (Stopwatch::start(), end));
        (id, ended)
    }
}

/// Takes an answer off the list when it was written, and when its future is dropped.
struct Watched<'a> {
    place: &'a Place,
    id: u64,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        lock(&self.place.share.held).answers.remove(&self.id);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = lock(&self.share.held);
        let Some(counts) = held.owners.get_mut(&self.owner) else { return };
        counts.calls -= 1;
        counts.large -= usize::from(self.cost == Cost::Large);
        counts.unread_bytes -= self.unread_bytes;
        if counts.calls == 0 {
            held.owners.remove(&self.owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use super::*;

    const LIMITS: ShareLimits = ShareLimits {
        calls_per_person: 3,
        large_calls_per_person: 1,
        calls_per_network: 5,
        unread_bytes: 1_000,
        answer_stall: Duration::ZERO,
    };

    fn person(number: i64) -> Owner {
        Owner::Person(UserId::from_number(number))
    }

    fn share() -> Arc<FairShare> {
        Arc::new(FairShare::new(LIMITS))
    }

    #[test]
    fn an_owner_has_so_many_calls_under_way_and_fewer_with_a_large_answer() {
        let share = share();
        let begin =
            |owner, cost| share.begin(owner, cost).map_err(|refusal| assert_eq!(refusal, Refusal::TooManyCalls));
        let large = begin(person(1), Cost::Large).unwrap();
        assert!(begin(person(1), Cost::Large).is_err());
        let _small = [begin(person(1), Cost::Small).unwrap(), begin(person(1), Cost::Small).unwrap()];
        assert!(begin(person(1), Cost::Small).is_err());
        let _other = begin(person(2), Cost::Large).unwrap();
        drop(large);
        assert!(begin(person(1), Cost::Large).is_ok());
        let network = Owner::Network(Origin::Unknown);
        let places: Vec<_> = (0..5).map(|_| begin(network, Cost::Small).unwrap()).collect();
        assert!(begin(network, Cost::Small).is_err());
        drop(places);
        assert_eq!(share.calls(), 3);
    }

    #[test]
    fn zero_switches_a_bound_off() {
        let limits = ShareLimits { calls_per_person: 0, large_calls_per_person: 0, unread_bytes: 0, ..LIMITS };
        let share = Arc::new(FairShare::new(limits));
        let mut places: Vec<_> = (0..1_000).map(|_| share.begin(person(1), Cost::Large).unwrap()).collect();
        assert!(places.iter_mut().all(|place| place.hold(1_000_000).is_ok()));
    }

    #[test]
    fn the_bytes_that_an_owner_leaves_unread_are_bounded_and_one_answer_always_fits() {
        let share = Arc::new(FairShare::new(ShareLimits { large_calls_per_person: 3, ..LIMITS }));
        let mut first = share.begin(person(1), Cost::Large).unwrap();
        let mut second = share.begin(person(1), Cost::Large).unwrap();
        first.hold(5_000).unwrap();
        assert_eq!(second.hold(1), Err(Refusal::TooManyCalls));
        share.begin(person(1), Cost::Small).unwrap().hold(100).expect("what a small call has done is always answered");
        share.begin(person(2), Cost::Large).unwrap().hold(900).unwrap();
        drop(first);
        second.hold(600).unwrap();
        share.begin(person(1), Cost::Large).unwrap().hold(400).unwrap();
    }

    #[test]
    fn an_answer_that_is_not_read_in_time_is_ended_and_one_that_is_read_is_not() {
        let share = share();
        let place = share.begin(person(1), Cost::Small).unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        let mut unread = pin!(place.written(std::future::pending::<()>()));
        assert!(unread.as_mut().poll(&mut cx).is_pending());
        share.end_unread_answers();
        assert_eq!(unread.as_mut().poll(&mut cx), Poll::Ready(None));
        let mut read = pin!(place.written(std::future::ready(7)));
        assert_eq!(read.as_mut().poll(&mut cx), Poll::Ready(Some(7)));
        assert!(lock(&share.held).answers.is_empty());
    }

    #[test]
    fn an_answer_whose_future_is_dropped_is_forgotten() {
        let share = share();
        let place = share.begin(person(1), Cost::Small).unwrap();
        {
            let mut cx = Context::from_waker(Waker::noop());
            let mut unread = pin!(place.written(std::future::pending::<()>()));
            assert!(unread.as_mut().poll(&mut cx).is_pending());
        }
        assert!(lock(&share.held).answers.is_empty());
    }
}
