//! The streams that listen, and waiting for what they bring.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use crate::deliveries::{Deliveries, SharedDeliveries};
use crate::error::BenchError;
use crate::grpcio_reader::GrpcioReader;
use crate::light_reader::LightReader;
use crate::plan::{ReaderKind, StreamPlan};
use crate::stop::Stop;
use grpc_otp_chat::base::clock::Stopwatch;
use grpc_otp_chat::base::lock::lock;

/// How often to look whether to stop.
const STOP_CHECK_EVERY: Duration = Duration::from_millis(100);

/// The open streams. Dropping it closes them.
#[derive(Debug)]
pub(crate) struct Readers {
    deliveries: Arc<Mutex<Deliveries>>,
    changed: Receiver<()>,
    _reader: AnyReader,
}

#[derive(Debug)]
enum AnyReader {
    Light { _reader: LightReader },
    Grpcio { _reader: GrpcioReader },
}

impl Readers {
    /// Opens the streams. A stream counts as open once it has brought something.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub(crate) fn open(plan: &StreamPlan, watch: Stopwatch) -> Result<Readers, BenchError> {
        let deliveries = Arc::new(Mutex::new(Deliveries::new(plan.streams)));
        let (changed_tx, changed) = bounded(1);
        let shared = SharedDeliveries::new(Arc::clone(&deliveries), changed_tx);
        let reader = match plan.reader {
            ReaderKind::Light => AnyReader::Light { _reader: LightReader::open(plan, shared, watch)? },
            ReaderKind::Grpcio => AnyReader::Grpcio { _reader: GrpcioReader::open(plan, &shared, watch)? },
        };
        Ok(Readers { deliveries, changed, _reader: reader })
    }

    /// What the streams have brought so far.
    pub(crate) fn deliveries(&self) -> MutexGuard<'_, Deliveries> {
        lock(&self.deliveries)
    }

    /// Waits until `enough` holds.
    ///
    /// Returns whether it does, within `limit`.
    ///
    /// # Errors
    /// A stream brought something wrong, or has ended; or the user stopped the program.
    pub(crate) fn wait(
        &self,
        limit: Duration,
        stop: &Stop,
        enough: impl Fn(&Deliveries) -> bool,
    ) -> Result<bool, BenchError> {
        let watch = Stopwatch::start();
        loop {
            stop.check()?;
            {
                let deliveries = self.deliveries();
                if !deliveries.faults().is_empty() {
                    return Err(BenchError::Faults(deliveries.faults().to_vec()));
                }
                if enough(&deliveries) {
                    return Ok(true);
                }
            }
            let Some(left) = watch.left_of(limit) else { return Ok(false) };
            let _ = self.changed.recv_timeout(left.min(STOP_CHECK_EVERY));
        }
    }

    /// Waits until every stream has every message of this round, in one order.
    ///
    /// # Errors
    /// They have not, within `limit`; and as [`Readers::wait`].
    pub(crate) fn finish(&self, limit: Duration, stop: &Stop) -> Result<(), BenchError> {
        let all = self.wait(limit, stop, Deliveries::is_complete)?;
        let deliveries = self.deliveries();
        if !all {
            return Err(BenchError::TooSlow { what: "deliveries", missing: deliveries.missing() });
        }
        if !deliveries.has_one_order() {
            return Err(BenchError::Faults(vec!["two streams got the messages in different orders".to_owned()]));
        }
        Ok(())
    }
}
