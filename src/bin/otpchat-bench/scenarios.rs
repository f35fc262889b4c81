//! What can be measured, with a function each.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::bounded;
use protobuf::Message as _;

use crate::accounts::Account;
use crate::args::{Args, AudienceArgs, Scenario};
use crate::calls::CallResults;
use crate::error::BenchError;
use crate::light_reader::open_streams;
use crate::process::Usage;
use crate::report::{Figures, micros_each, per_second};
use crate::stop::Stop;
use crate::test_bed::{Load, Round, TestBed};
use grpc_otp_chat::base::clock::Stopwatch;
use grpc_otp_chat::base::threads::Pool;
use grpc_otp_chat::proto::methods;
use grpc_otp_chat::proto::{HistoryFrom, HistoryRequest, HistoryResponse, LoginRequest, LoginResponse};
use grpc_otp_chat::security::passwords::{Cost, Passwords};

/// No step of [`slope`] has fewer messages.
const SLOPE_MESSAGES: u32 = 50;
const MIB: f64 = 1024.0 * 1024.0;

/// Measures.
///
/// # Errors
/// [`BenchError`].
pub(crate) fn run(args: &Args, stop: &Stop) -> Result<Figures, BenchError> {
    let mut bed = TestBed::prepare(&args.common, stop)?;
    match &args.scenario {
        Scenario::Burst { audience, flight, messages } => {
            fan_out(&mut bed, "burst", audience, Load::burst(messages.messages, flight.in_flight))
        }
        Scenario::Paced { audience, rate, messages } => {
            fan_out(&mut bed, "paced", audience, Load::paced(messages.messages, rate.rate))
        }
        Scenario::Idle { audience, messages } => idle(&mut bed, audience, messages.messages),
        Scenario::Send { flight, messages, rate } => {
            let load = match rate {
                Some(rate) => Load::paced(messages.messages, *rate),
                None => Load::burst(messages.messages, flight.in_flight),
            };
            send(&mut bed, load)
        }
        Scenario::Logins { flight, messages } => logins(&bed, messages.messages, flight.in_flight),
        Scenario::Stalled { audience, rate, messages, stalled } => {
            stall(&mut bed, audience, Load::paced(messages.messages, rate.rate), *stalled)
        }
        Scenario::Slope { audience, flight, deliveries } => slope(&mut bed, audience, flight.in_flight, *deliveries),
        Scenario::History { pages, page } => history(&bed, *pages, *page),
    }
}

fn fan_out(bed: &mut TestBed<'_>, name: &str, audience: &AudienceArgs, load: Load) -> Result<Figures, BenchError> {
    let readers = bed.listen(audience)?;
    let round = bed.round(Some(&readers), audience.streams, load)?;
    let mut figures = Figures::for_scenario(name);
    figures.count("connections", audience.connections.min(audience.streams).into());
    round.into_figures("", &mut figures);
    Ok(figures)
}

fn idle(bed: &mut TestBed<'_>, audience: &AudienceArgs, messages: u32) -> Result<Figures, BenchError> {
    // First, so that the memory which sending takes is not counted as that of the streams.
    bed.round(None, 0, Load::burst(messages, 1))?;
    let before = bed.usage()?;
    let readers = bed.listen(audience)?;
    let after = bed.usage()?;
    let mut figures = Figures::for_scenario("idle");
    figures.count("connections", audience.connections.min(audience.streams).into());
    if let (Some(before), Some(after)) = (before, after) {
        figures.number("rss_mib_without_streams", Some(mib(&before)));
        figures.number("rss_mib_with_streams", Some(mib(&after)));
        figures.number("rss_kib_per_stream", Some((mib(&after) - mib(&before)) * 1024.0 / f64::from(audience.streams)));
    }
    let round = bed.round(Some(&readers), audience.streams, Load::burst(messages, 1))?;
    round.into_figures("", &mut figures);
    Ok(figures)
}

fn send(bed: &mut TestBed<'_>, load: Load) -> Result<Figures, BenchError> {
    bed.round(None, 0, Load::burst(load.messages.min(100), 1))?;
    let round = bed.round(None, 0, load)?;
    let mut figures = Figures::for_scenario("send");
    round.into_figures("", &mut figures);
    Ok(figures)
}

fn logins(bed: &TestBed<'_>, count: u32, in_flight: u32) -> Result<Figures, BenchError> {
    let Some(account) = bed.accounts.first() else {
        return Err(BenchError::Asked("logins and --no-login: only one of them can be".to_owned()));
    };
    // The most that the machine could do, measured before it is busy: on one core, and on all at once, which share caches and
    // memory bandwidth.
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let passwords = Arc::new(Passwords::new(Cost::default()).map_err(BenchError::from_machine)?);
    hash_on(1, 1, &passwords)?;
    let one_hash = hash_on(1, HASHES, &passwords)? / HASHES;
    let hashes = HASHES * u32::try_from(cores).unwrap_or(u32::MAX);
    let all_cores = per_second(hashes.into(), hash_on(cores, HASHES, &passwords)?);

    let mut calls = bed.calls(methods::LOGIN.name)?;
    let request = LoginRequest {
        login: account.login.clone(),
        password: Account::password().expose().to_owned(),
        ..Default::default()
    };
    let request = request.write_to_bytes().unwrap_or_default();
    let is_good = |answer: &[u8]| LoginResponse::parse_from_bytes(answer).is_ok_and(|answer| answer.success);
    let before = bed.usage()?;
    let mut done = bed.work(&mut calls, (count, in_flight), |_| request.clone(), is_good)?;
    let mut figures = Figures::for_scenario("logins");
    add_answers(&mut done, "checks_per_second", "login", &mut figures);
    figures.number("one_hash_ms", Some(one_hash.as_secs_f64() * 1e3));
    figures.number("all_cores_hashes_per_second", all_cores);
    let checks = per_second(done.good.into(), done.took);
    let share = |best: Option<f64>| checks.zip(best).map(|(is, best)| is / best);
    figures.number("of_cores_by_one_hash", share(per_second(cores as u64, one_hash)));
    figures.number("of_what_all_cores_hash", share(all_cores));
    if let (Some(before), Some(after)) = (before, bed.usage()?) {
        add_server(&Usage { cpu: after.cpu.saturating_sub(before.cpu), ..after }, "", &mut figures);
    }
    Ok(figures)
}

/// How many hashes a core makes to measure its speed.
const HASHES: u32 = 40;

/// How long `threads` threads take to make `hashes` hashes each.
fn hash_on(threads: usize, hashes: u32, passwords: &Arc<Passwords>) -> Result<Duration, BenchError> {
    let pool = Pool::new("bench-hash", threads, threads).map_err(BenchError::from_machine)?;
    let (done, all) = bounded(threads);
    let watch = Stopwatch::start();
    for _ in 0..threads {
        let (passwords, done) = (Arc::clone(passwords), done.clone());
        let hash = move || {
            let hashed = (0..hashes).try_for_each(|_| passwords.rehash(&Account::password()).map(drop));
            let _ = done.send(hashed);
        };
        pool.try_run(hash).map_err(BenchError::from_machine)?;
    }
    drop(done);
    let mut ended = 0;
    for hashed in all {
        hashed.map_err(BenchError::from_machine)?;
        ended += 1;
    }
    if ended == threads { Ok(watch.elapsed()) } else { Err(BenchError::Machine("a hash panicked".to_owned())) }
}

fn stall(bed: &mut TestBed<'_>, audience: &AudienceArgs, load: Load, stalled: u32) -> Result<Figures, BenchError> {
    let readers = bed.listen(audience)?;
    let without = bed.round(Some(&readers), audience.streams, load)?;
    let unread = open_streams(&bed.plan(&AudienceArgs { connections: stalled, streams: stalled }))?;
    bed.round(Some(&readers), audience.streams, Load::burst(1, 1))?;
    let with = bed.round(Some(&readers), audience.streams, load)?;
    drop(unread);
    let mut figures = Figures::for_scenario("stalled");
    figures.count("stalled", stalled.into());
    without.into_figures("without_", &mut figures);
    with.into_figures("with_", &mut figures);
    Ok(figures)
}

fn slope(
    bed: &mut TestBed<'_>,
    audience: &AudienceArgs,
    in_flight: u32,
    deliveries: u32,
) -> Result<Figures, BenchError> {
    let mut figures = Figures::for_scenario("slope");
    let alone = bed.round(None, 0, Load::burst(20_000, in_flight))?;
    let one_message = alone.server.and_then(|used| micros_each(used.cpu, alone.sent.good.into()));
    figures.number("server_cpu_us_per_message_without_streams", one_message);
    let steps = std::iter::successors(Some(10), |step: &u32| step.checked_mul(10));
    for streams in steps.take_while(|&step| step <= audience.streams) {
        let readers = bed.listen(&AudienceArgs { connections: audience.connections, streams })?;
        let messages = (deliveries / streams).clamp(SLOPE_MESSAGES, 50_000);
        let round = bed.round(Some(&readers), streams, Load::burst(messages, in_flight))?;
        let each = round.server.and_then(|used| micros_each(used.cpu, round.deliveries));
        figures.number(&format!("streams_{streams}_server_cpu_us_per_delivery"), each);
        let net = each.zip(one_message).map(|(each, message)| each - message / f64::from(streams));
        figures.number(&format!("streams_{streams}_without_storing"), net);
        figures.number(&format!("streams_{streams}_deliveries_per_second"), per_second(round.deliveries, round.took));
    }
    Ok(figures)
}

fn history(bed: &TestBed<'_>, pages: u32, page: u32) -> Result<Figures, BenchError> {
    let mut calls = bed.calls(methods::HISTORY.name)?;
    let encode = |from, limit| {
        let request = HistoryRequest { from: Some(from), limit, ..Default::default() };
        request.write_to_bytes().unwrap_or_default()
    };
    let mut newest = 0;
    let read = |answer: &[u8]| HistoryResponse::parse_from_bytes(answer).ok();
    bed.work(
        &mut calls,
        (1, 1),
        |_| encode(HistoryFrom::Before(0), 1),
        |answer| {
            newest = read(answer).and_then(|answer| Some(answer.messages.last()?.id)).unwrap_or(0);
            true
        },
    )?;
    if newest == 0 {
        return Err(BenchError::Asked("there is no history to read: send something first".to_owned()));
    }
    let mut messages = 0;
    let request = |number: u32| {
        // Spread over the whole history, and the same in every run (Knuth's multiplicative hash).
        let at = (u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % newest + 1;
        encode(if number.is_multiple_of(2) { HistoryFrom::Before(at) } else { HistoryFrom::After(at) }, page)
    };
    let mut done = bed.work(&mut calls, (pages, 1), request, |answer| {
        let answer = read(answer);
        messages += answer.as_ref().map_or(0, |answer| answer.messages.len() as u64);
        answer.is_some()
    })?;
    let mut figures = Figures::for_scenario("history");
    figures.count("newest_message", newest);
    figures.count("messages_read", messages);
    add_answers(&mut done, "pages_per_second", "page", &mut figures);
    Ok(figures)
}

impl Round {
    /// Adds the figures of a round, with `prefix` before their names.
    fn into_figures(mut self, prefix: &str, figures: &mut Figures) {
        let name = |name: &str| format!("{prefix}{name}");
        figures.count(&name("streams"), self.streams.into());
        figures.count(&name("messages"), self.sent.good.into());
        if self.deliveries > 0 {
            figures.count(&name("deliveries"), self.deliveries);
            figures.number(&name("deliveries_per_second"), per_second(self.deliveries, self.took));
            figures.latencies(&name("delivery"), &mut self.latencies);
            #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
            figures.number(&name("deliveries_per_grpc_message"), Some(self.deliveries as f64 / self.packets as f64));
        }
        add_answers(&mut self.sent, &name("sends_per_second"), &name("send"), figures);
        // Without streams, the figures are for each message.
        let (count, each) = match self.deliveries {
            0 => (self.sent.good.into(), "message"),
            deliveries => (deliveries, "delivery"),
        };
        if let Some(used) = self.server {
            figures.number(&name(&format!("server_cpu_us_per_{each}")), micros_each(used.cpu, count));
            add_server(&used, prefix, figures);
        }
        figures.number(&name(&format!("own_cpu_us_per_{each}")), micros_each(self.own_cpu, count));
    }
}

fn add_answers(done: &mut CallResults, rate: &str, name: &str, figures: &mut Figures) {
    figures.number(rate, per_second(done.good.into(), done.took));
    figures.latencies(name, &mut done.latencies);
}

fn add_server(used: &Usage, prefix: &str, figures: &mut Figures) {
    figures.number(&format!("{prefix}server_cpu_seconds"), Some(used.cpu.as_secs_f64()));
    figures.number(&format!("{prefix}server_rss_mib"), Some(mib(used)));
    figures.count(&format!("{prefix}server_threads"), used.threads);
    figures.count(&format!("{prefix}server_files"), used.files);
}

#[allow(clippy::cast_precision_loss, reason = "no memory reaches 2^52 bytes")]
fn mib(used: &Usage) -> f64 {
    used.rss as f64 / MIB
}
