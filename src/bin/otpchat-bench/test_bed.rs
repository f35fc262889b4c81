//! A server with accounts of ours, and rounds of messages to streams that listen.

use std::net::SocketAddr;
use std::time::Duration;

use protobuf::Message as _;

use crate::accounts::{self, Account};
use crate::args::{AudienceArgs, CommonArgs};
use crate::calls::{CallResults, Calls, Pace, Work};
use crate::error::BenchError;
use crate::http2::Headers;
use crate::latency::Latencies;
use crate::plan::StreamPlan;
use crate::process::{Usage, usage};
use crate::readers::Readers;
use crate::stop::Stop;
use crate::text::TextStamp;
use grpc_otp_chat::base::clock::Stopwatch;
use grpc_otp_chat::client::endpoint::Endpoint;
use grpc_otp_chat::proto::methods;
use grpc_otp_chat::proto::{Message, SendResponse};
use grpc_otp_chat::security::secret::SecretText;

/// How often a message is sent until all streams have brought one.
const PROBE_EVERY: Duration = Duration::from_millis(300);
/// How many messages are sent before anything is measured.
const WARM_UP_MESSAGES: u32 = 20;
/// How many messages may be unanswered at a rate. A server with more of them does not keep up.
const IN_FLIGHT_AT_A_RATE: u32 = 4_096;
/// The latencies of this many deliveries fit into memory.
const MOST_DELIVERIES: u64 = 100_000_000;
/// No stream gets more than the largest window.
const MOST_BYTES_PER_STREAM: u64 = 1 << 30;

/// The server under test, and our accounts.
pub(crate) struct TestBed<'a> {
    common: &'a CommonArgs,
    pub(crate) stop: &'a Stop,
    pub(crate) accounts: Vec<Account>,
    address: SocketAddr,
    watch: Stopwatch,
    calls: Option<Calls>,
    rounds: u32,
}

/// The messages of a round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) messages: u32,
    pub(crate) in_flight: u32,
    pub(crate) pace: Pace,
}

impl Load {
    /// As fast as they are answered.
    pub(crate) fn burst(messages: u32, in_flight: u32) -> Load {
        Load { messages, in_flight, pace: Pace::AsAnswered }
    }

    /// So many a second.
    pub(crate) fn paced(messages: u32, rate: f64) -> Load {
        Load { messages, in_flight: IN_FLIGHT_AT_A_RATE, pace: Pace::Rate(rate) }
    }
}

/// How a round went.
#[derive(Debug, Default)]
pub(crate) struct Round {
    pub(crate) sent: CallResults,
    pub(crate) streams: u32,
    /// Messages that arrived, on all streams, and the gRPC messages that they came in.
    pub(crate) deliveries: u64,
    pub(crate) packets: u64,
    pub(crate) latencies: Latencies,
    /// From the first call to the last delivery, or answer.
    pub(crate) took: Duration,
    /// What the server used for the round, and held after it.
    pub(crate) server: Option<Usage>,
    /// What this program used for the round.
    pub(crate) own_cpu: Duration,
}

impl<'a> TestBed<'a> {
    /// Finds the server and makes the accounts.
    pub(crate) fn prepare(common: &'a CommonArgs, stop: &'a Stop) -> Result<TestBed<'a>, BenchError> {
        let endpoint = Endpoint::resolve(&common.server, common.beyond_this_machine)?;
        let address = endpoint.addresses().first().copied();
        let address = address.ok_or_else(|| BenchError::Machine("the server has no address".to_owned()))?;
        let accounts = if common.no_login { Vec::new() } else { accounts::make(&endpoint, common.users, stop)? };
        Ok(TestBed { common, stop, accounts, address, watch: Stopwatch::start(), calls: None, rounds: 0 })
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(self.common.limit_seconds)
    }

    /// What the server has used so far.
    pub(crate) fn usage(&self) -> Result<Option<Usage>, BenchError> {
        let look = |pid| usage(pid).map_err(|error| BenchError::Process(pid, error));
        self.common.server_pid.map(look).transpose()
    }

    /// The tokens of the connections, used in turn.
    fn tokens(&self) -> Vec<Option<SecretText>> {
        let tokens: Vec<_> = self.accounts.iter().map(|account| Some(account.token.clone())).collect();
        if tokens.is_empty() { vec![None] } else { tokens }
    }

    /// Connections for calls of a method.
    pub(crate) fn calls(&self, method: &str) -> Result<Calls, BenchError> {
        let authority = self.common.server.to_string();
        let tokens = self.tokens();
        let each = tokens.iter().cycle().take(self.common.senders as usize);
        let headers =
            each.map(|token| Headers::new(method, &authority, token.as_ref().map(SecretText::expose))).collect();
        Calls::open(self.address, headers)
    }

    /// Makes calls, apart from sending messages.
    pub(crate) fn work(
        &self,
        calls: &mut Calls,
        work: (u32, u32),
        mut request: impl FnMut(u32) -> Vec<u8>,
        is_good: impl FnMut(&[u8]) -> bool,
    ) -> Result<CallResults, BenchError> {
        let (count, in_flight) = work;
        let work = Work { count, in_flight, pace: Pace::AsAnswered, limit: self.limit() };
        let done = calls.run(&work, &self.watch, self.stop, |n, _| request(n), is_good)?;
        if done.bad > 0 { Err(BenchError::Failed(done.bad)) } else { Ok(done) }
    }

    /// The streams of an audience.
    pub(crate) fn plan(&self, audience: &AudienceArgs) -> StreamPlan {
        StreamPlan {
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

    /// Opens streams and waits until each has brought something, then sends a few messages to warm up.
    pub(crate) fn listen(&mut self, audience: &AudienceArgs) -> Result<Readers, BenchError> {
        let readers = Readers::open(&self.plan(audience), self.watch)?;
        let waited = Stopwatch::start();
        // A message stream shows that it is open with its first message.
        while !readers.wait(PROBE_EVERY, self.stop, |deliveries| deliveries.ready == audience.streams as usize)? {
            if waited.left_of(self.limit()).is_none() {
                let open = readers.deliveries().ready;
                return Err(BenchError::Faults(vec![format!("only {open} of {} streams opened", audience.streams)]));
            }
            self.send(Load::burst(1, 1))?;
        }
        self.round(Some(&readers), audience.streams, Load::burst(WARM_UP_MESSAGES, 1))?;
        Ok(readers)
    }

    /// Sends messages and waits until all readers, if there are any, have all of them.
    pub(crate) fn round(&mut self, readers: Option<&Readers>, streams: u32, load: Load) -> Result<Round, BenchError> {
        let deliveries = u64::from(load.messages) * u64::from(streams);
        if deliveries > MOST_DELIVERIES
            || u64::from(load.messages) * u64::from(self.common.bytes) > MOST_BYTES_PER_STREAM
        {
            return Err(BenchError::Asked(format!(
                "that is more than {MOST_DELIVERIES} deliveries, or a gigabyte for each stream: ask for fewer messages"
            )));
        }
        if let Some(readers) = readers {
            readers.deliveries().begin(self.rounds + 1, load.messages, load.in_flight);
        }
        let own = usage(std::process::id()).map_err(BenchError::from_machine)?;
        let before = self.usage()?;
        let begun = self.watch.elapsed();
        let sent = self.send(load)?;
        let mut round = Round { took: sent.took, sent, streams, ..Round::default() };
        if let Some(readers) = readers {
            readers.finish(self.limit(), self.stop)?;
            let mut deliveries = readers.deliveries();
            (round.deliveries, round.packets) = (deliveries.count, deliveries.packets);
            round.latencies = std::mem::take(&mut deliveries.latencies);
            round.took = deliveries.last.saturating_sub(begun);
        }
        round.own_cpu = usage(std::process::id()).map_err(BenchError::from_machine)?.cpu.saturating_sub(own.cpu);
        if let (Some(before), Some(after)) = (before, self.usage()?) {
            round.server = Some(Usage { cpu: after.cpu.saturating_sub(before.cpu), ..after });
        }
        Ok(round)
    }

    fn send(&mut self, load: Load) -> Result<CallResults, BenchError> {
        self.rounds += 1;
        let (round, bytes, ids) = (self.rounds, self.common.bytes as usize, self.common.client_ids);
        let mut calls = match self.calls.take() {
            Some(calls) => calls,
            None => self.calls(methods::SEND_MESSAGE.name)?,
        };
        let work = Work { count: load.messages, in_flight: load.in_flight, pace: load.pace, limit: self.limit() };
        let request = |number, due: Duration| {
            let micros = u64::try_from(due.as_micros()).unwrap_or(u64::MAX);
            let mut message = Message { text: TextStamp { round, number, micros }.text(bytes), ..Default::default() };
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
