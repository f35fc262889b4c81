//! What all handlers share.

use std::sync::Arc;

use super::caller::Incoming;
use super::edge::pending::PendingCalls;
use super::edge::proxy::TrustedProxies;
use super::fair_share::{FairShare, Owner};
use super::limits::RpcLimits;
use super::pacer::Pacer;
use super::status::CallContext;
use super::stream::{Outlet, Streams};
use crate::app::App;
use crate::app::caller::Caller;
use crate::app::refusal::Refusal;
use crate::base::fair_pool::FairPool;
use crate::hub::Hub;

/// What all handlers share.
pub struct Shared {
    /// What the system does.
    pub app: Arc<App>,
    /// Where streams subscribe.
    pub hub: Arc<Hub<Outlet>>,
    /// The threads of the open streams.
    pub streams: Streams,
    /// Works on calls that do not hash passwords.
    pub work: FairPool<Owner>,
    /// Works on calls that hash passwords, so that no other call waits for a hash.
    pub hash: FairPool<Owner>,
    /// Works for the administrator, whatever the others wait for.
    pub administrator: FairPool<Owner>,
    /// Holds messages that wait for their turn.
    pub pacer: Pacer,
    /// What each owner of calls holds.
    pub fair_share: Arc<FairShare>,
    /// Whether clients of the predecessor are served their way.
    pub legacy_clients: bool,
    /// The calls without their message yet.
    pub pending: Arc<PendingCalls>,
    /// The proxies that we trust to forward the address of their client.
    pub proxies: TrustedProxies,
    /// The bounds.
    pub limits: RpcLimits,
}

impl Shared {
    /// The context of a call, for the log.
    pub(super) fn context(&self, method: &'static str, incoming: &Incoming, account: Option<&str>) -> CallContext {
        let account = account.map(str::to_owned);
        CallContext { method, address: incoming.address, account, clock: self.app.clock.clone() }
    }

    /// Proves the caller: their token names a complete session.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn caller(&self, incoming: &Incoming) -> Result<Caller, Refusal> {
        let app = &self.app;
        app.sessions.caller(&incoming.credential, &app.tokens, app.clock.now())
    }

    /// Notes the owner of the token that a call came with, if it was counted for its network. On a worker.
    pub(super) fn learn_owner(&self, incoming: &Incoming, counted_for: Owner) {
        if let Owner::Network(_) = counted_for {
            let app = &self.app;
            if let Ok((_, person)) = app.sessions.named(&incoming.credential, &app.tokens, app.clock.now()) {
                self.fair_share.remember(&incoming.credential, person.id);
            }
        }
    }

    /// The account that the caller's token names, for the log.
    pub(super) fn login_of(&self, incoming: &Incoming) -> Option<String> {
        let app = &self.app;
        let named = app.sessions.named(&incoming.credential, &app.tokens, app.clock.now());
        named.ok().map(|(_, person)| person.login.clone())
    }
}

#[cfg(test)]
pub(super) mod testing {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::app::audit_context::Keys;
    use crate::app::sessions::Sessions;
    use crate::app::throttles::{ThrottleLimits, Throttles};
    use crate::app::{AppLimits, Registration, TokenKey};
    use crate::base::clock::{Clock, Time};
    use crate::base::fair_pool::FairBounds;
    use crate::hub::HubLimits;
    use crate::model::ids::Cursor;
    use crate::model::text::TextLimits;
    use crate::rpc::limits::ShareLimits;
    use crate::security::chain::Chain;
    use crate::security::codes::CodeHasher;
    use crate::security::keys::KeyGuard;
    use crate::security::passwords::{Cost, Passwords};
    use crate::security::secret::SecretBytes;
    use crate::security::throttle::Rate;
    use crate::security::tokens::Tokens;
    use crate::security::vault::Vault;
    use crate::store::guesses::GuessLimits;
    use crate::store::messages::Retention;

    const MINUTE: Duration = Duration::from_secs(60);
    const RATE: Rate = Rate { burst: 10, refill: MINUTE };

    fn app_limits() -> AppLimits {
        AppLimits {
            waiting_session: MINUTE,
            waiting_sessions_per_user: 5,
            complete_session: MINUTE,
            complete_sessions_per_user: 5,
            unenrolled_account: MINUTE,
            enrolment_without_token: MINUTE,
            text: TextLimits { bytes: 4_096, lines: 200 },
            registration: Registration::Open,
            throttles: ThrottleLimits {
                passwords: RATE,
                hashes: RATE,
                registrations: RATE,
                steps: RATE,
                messages: None,
                buckets: 16,
            },
            guesses: GuessLimits { budget: 30, refill: MINUTE, longest_delay: MINUTE },
            retention: Retention { age: None, count: None },
            history_page: 500,
            recovery_codes: 10,
            enrolment_code: MINUTE,
            keep_messages_of_deleted: true,
        }
    }

    fn rpc_limits() -> RpcLimits {
        RpcLimits {
            workers: 1,
            work_queue: 1,
            hashers: 1,
            hash_queue: 1,
            administrator_workers: 1,
            share: ShareLimits {
                calls_per_person: 64,
                large_calls_per_person: 8,
                calls_per_network: 256,
                unread_bytes: 1024 * 1024,
                answer_stall: MINUTE,
            },
            request_bytes: 65_536,
            header_bytes: 16_384,
            connections: 100,
            connections_per_address: 100,
            handshake: MINUTE,
            connection_idle: MINUTE,
            calls_per_connection: 100,
            transport_bytes: 64 * 1024 * 1024,
            stream_stall: MINUTE,
            stream_end: MINUTE,
            catch_up_page: 256,
            batch_bytes: 65_536,
            heartbeat: MINUTE,
        }
    }

    /// What handlers share, with one worker and a queue of one.
    pub(in crate::rpc) fn shared() -> (tempfile::TempDir, Arc<Shared>) {
        let key = SecretBytes::new((0..32).collect());
        let (clock, limits) = (Clock::manual(Time::from_secs(0)), app_limits());
        let (dir, store) = crate::store::testing::store();
        let app = Arc::new(App {
            clock: clock.clone(),
            store,
            sessions: Arc::new(Sessions::new(Box::new(|_| ()))),
            passwords: Passwords::new(Cost { memory_kib: 8, passes: 1, lanes: 1 }).unwrap(),
            keys: Arc::new(Keys {
                vault: Vault::new(&key).unwrap(),
                codes: CodeHasher::new(&key),
                audit: Chain::new(&key),
            }),
            throttles: Throttles::new(&limits.throttles, clock),
            limits,
            tokens: Tokens::new(&key),
            token_key: TokenKey {
                path: dir.path().join("jwt.key"),
                guard: KeyGuard::Mode,
                grace: Duration::ZERO,
                rotating: Mutex::default(),
            },
        });
        let shared = Shared {
            app,
            hub: Arc::new(Hub::new(
                HubLimits { mailbox_bytes: 65_536, waiting_bytes: 1_048_576, streams: 16, streams_per_user: 16 },
                Cursor::START,
            )),
            streams: Streams::default(),
            work: FairPool::new("test-work", FairBounds { threads: 1, queue: 1 }).unwrap(),
            hash: FairPool::new("test-hash", FairBounds { threads: 1, queue: 1 }).unwrap(),
            administrator: FairPool::new("test-admin", FairBounds { threads: 1, queue: 1 }).unwrap(),
            pacer: Pacer::start(16).unwrap(),
            fair_share: Arc::new(FairShare::new(rpc_limits().share)),
            legacy_clients: true,
            pending: Arc::new(PendingCalls::new(100, 16_384, MINUTE)),
            proxies: TrustedProxies::default(),
            limits: rpc_limits(),
        };
        (dir, Arc::new(shared))
    }
}
