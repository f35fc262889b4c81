//! A server with its users, and rounds of messages to streams that listen.

use std::net::SocketAddr;
use std::time::Duration;

use protobuf::Message as _;

use crate::accounts::{self, Account};
use crate::args::{Audience, Common};
use crate::calls::{Calls, Done, Pace, Work};
use crate::http2::Headers;
use crate::latency::Latencies;
use crate::process::{Usage, usage};
use crate::readers::{Listening, Readers};
use crate::text::Mark;
use crate::{BenchError, Stop};
use grpc_otp_chat::base::clock::Stopwatch;
use grpc_otp_chat::client::endpoint::Endpoint;
use grpc_otp_chat::proto::methods;
use grpc_otp_chat::proto::{Message, SendResponse};
use grpc_otp_chat::security::secret::SecretText;

/// How often to try whether all streams are open, and what is sent before anything is measured.
const KNOCK_EVERY: Duration = Duration::from_millis(300);
const WARM_UP: u32 = 20;
/// How many messages may be under way at a rate: more would be a server that does not keep up.
const AT_A_RATE: u32 = 4_096;
/// Latencies of so many deliveries fit into memory; and no stream gets more than its window.
const MOST_DELIVERIES: u64 = 100_000_000;
const MOST_BYTES_PER_STREAM: u64 = 1 << 30;

/// The server under test, and our users.
pub(super) struct Scene<'a> {
    common: &'a Common,
    pub(super) stop: &'a Stop,
    pub(super) accounts: Vec<Account>,
    address: SocketAddr,
    watch: Stopwatch,
    calls: Option<Calls>,
    rounds: u32,
}

/// What is sent in a round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Say {
    pub(super) messages: u32,
    pub(super) in_flight: u32,
    pub(super) pace: Pace,
}

impl Say {
    /// As fast as answered.
    pub(super) fn burst(messages: u32, in_flight: u32) -> Say {
        Say { messages, in_flight, pace: Pace::AsAnswered }
    }

    /// So many a second.
    pub(super) fn paced(messages: u32, rate: f64) -> Say {
        Say { messages, in_flight: AT_A_RATE, pace: Pace::Rate(rate) }
    }
}

/// How a round went.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) sent: Done,
    pub(super) streams: u32,
    /// What came, on all streams, and in how many gRPC messages.
    pub(super) deliveries: u64,
    pub(super) packets: u64,
    pub(super) latencies: Latencies,
    /// From the first call to the last delivery, or answer.
    pub(super) took: Duration,
    /// What the server used for it, and held after it.
    pub(super) server: Option<Usage>,
    /// What we used for it.
    pub(super) own_cpu: Duration,
}

impl<'a> Scene<'a> {
    /// Finds the server and makes the accounts.
    pub(super) fn set(common: &'a Common, stop: &'a Stop) -> Result<Scene<'a>, BenchError> {
        let endpoint = Endpoint::resolve(&common.server, common.beyond_this_machine)?;
        let address = endpoint.addresses().first().copied();
        let address = address.ok_or_else(|| BenchError::Machine("the server has no address".to_owned()))?;
        let accounts = if common.no_login { Vec::new() } else { accounts::make(&endpoint, common.users, stop)? };
        Ok(Scene { common, stop, accounts, address, watch: Stopwatch::start(), calls: None, rounds: 0 })
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(self.common.limit_seconds)
    }

    /// What the server has used so far.
    pub(super) fn usage(&self) -> Result<Option<Usage>, BenchError> {
        let look = |pid| usage(pid).map_err(|error| BenchError::Process(pid, error));
        self.common.server_pid.map(look).transpose()
    }

    /// Whose a connection is, in turn.
    fn tokens(&self) -> Vec<Option<SecretText>> {
        let tokens: Vec<_> = self.accounts.iter().map(|account| Some(account.token.clone())).collect();
        if tokens.is_empty() { vec![None] } else { tokens }
    }

    /// Connections for calls of a method.
    pub(super) fn calls(&self, method: &str) -> Result<Calls, BenchError> {
        let authority = self.common.server.to_string();
        let tokens = self.tokens();
        let each = tokens.iter().cycle().take(self.common.senders as usize);
        let headers =
            each.map(|token| Headers::new(method, &authority, token.as_ref().map(SecretText::expose))).collect();
        Calls::open(self.address, headers)
    }

    /// Does any work, apart from sending messages.
    pub(super) fn work(
        &self,
        calls: &mut Calls,
        work: (u32, u32),
        mut request: impl FnMut(u32) -> Vec<u8>,
        is_good: impl FnMut(&[u8]) -> bool,
    ) -> Result<Done, BenchError> {
        let (count, in_flight) = work;
        let work = Work { count, in_flight, pace: Pace::AsAnswered, limit: self.limit() };
        let done = calls.run(&work, &self.watch, self.stop, |n, _| request(n), is_good)?;
        if done.bad > 0 { Err(BenchError::Failed(done.bad)) } else { Ok(done) }
    }

    /// Who listens, as an audience has it.
    pub(super) fn listening(&self, audience: &Audience) -> Listening {
        Listening {
            address: self.address,
            kind: self.common.stream_kind,
            connections: audience.connections.min(audience.streams),
            streams: audience.streams,
            window: self.common.window,
            tokens: self.tokens(),
            authority: self.common.server.to_string(),
            reader: self.common.reader,
        }
    }

    /// Opens streams, and waits until all of them are heard from: then they are open, and a few messages have gone to all.
    pub(super) fn listen(&mut self, audience: &Audience) -> Result<Readers, BenchError> {
        let readers = Readers::open(&self.listening(audience), self.watch)?;
        let over = Stopwatch::start();
        // A message stream shows that it is open with its first message.
        while !readers.wait(KNOCK_EVERY, self.stop, |state| state.ready == audience.streams as usize)? {
            if over.left_of(self.limit()).is_none() {
                let open = readers.state().ready;
                return Err(BenchError::Faults(vec![format!("only {open} of {} streams opened", audience.streams)]));
            }
            self.send(Say::burst(1, 1))?;
        }
        self.round(Some(&readers), audience.streams, Say::burst(WARM_UP, 1))?;
        Ok(readers)
    }

    /// Sends messages and, where somebody listens, waits until everybody has all of them.
    pub(super) fn round(&mut self, readers: Option<&Readers>, streams: u32, say: Say) -> Result<Round, BenchError> {
        let deliveries = u64::from(say.messages) * u64::from(streams);
        if deliveries > MOST_DELIVERIES
            || u64::from(say.messages) * u64::from(self.common.bytes) > MOST_BYTES_PER_STREAM
        {
            return Err(BenchError::Asked(format!(
                "that is more than {MOST_DELIVERIES} deliveries, or a gigabyte for each stream: ask for fewer messages"
            )));
        }
        if let Some(readers) = readers {
            readers.begin(self.rounds + 1, say.messages, say.in_flight);
        }
        let machine = |error: std::io::Error| BenchError::Machine(error.to_string());
        let own = usage(std::process::id()).map_err(machine)?;
        let before = self.usage()?;
        let begun = self.watch.elapsed();
        let sent = self.send(say)?;
        let mut round = Round { took: sent.took, sent, streams, ..Round::default() };
        if let Some(readers) = readers {
            readers.finish(self.limit(), self.stop)?;
            let mut state = readers.state();
            (round.deliveries, round.packets) = (state.deliveries, state.packets);
            round.latencies = std::mem::take(&mut state.latencies);
            round.took = state.last.saturating_sub(begun);
        }
        round.own_cpu = usage(std::process::id()).map_err(machine)?.cpu.saturating_sub(own.cpu);
        if let (Some(before), Some(after)) = (before, self.usage()?) {
            round.server = Some(Usage { cpu: after.cpu.saturating_sub(before.cpu), ..after });
        }
        Ok(round)
    }

    fn send(&mut self, say: Say) -> Result<Done, BenchError> {
        self.rounds += 1;
        let (round, bytes, ids) = (self.rounds, self.common.bytes as usize, self.common.client_ids);
        let mut calls = match self.calls.take() {
            Some(calls) => calls,
            None => self.calls(methods::SEND_MESSAGE.name)?,
        };
        let work = Work { count: say.messages, in_flight: say.in_flight, pace: say.pace, limit: self.limit() };
        let request = |number, due: Duration| {
            let micros = u64::try_from(due.as_micros()).unwrap_or(u64::MAX);
            let mut message = Message { text: Mark { round, number, micros }.text(bytes), ..Default::default() };
            if ids {
                message.client_id = format!("{micros}-{round}-{number}");
            }
            message.write_to_bytes().unwrap_or_default()
        };
        let is_stored = |answer: &[u8]| SendResponse::parse_from_bytes(answer).is_ok_and(|answer| answer.success);
        let done = calls.run(&work, &self.watch, self.stop, request, is_stored)?;
        self.calls = Some(calls);
        if done.bad > 0 { Err(BenchError::Failed(done.bad)) } else { Ok(done) }
    }
}
