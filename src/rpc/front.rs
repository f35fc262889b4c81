//! The listening server: starts to listen, and stops in order.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use grpcio::{EnvBuilder, Environment, Server, ServerBuilder, ServerCredentials};

use super::edge::limiter::Watched;
use super::edge::pulse::Pulse;
use super::edge::tls::ServerTls;
use super::listen::{Listen, ListenError, can_bind};
use super::shared::Shared;
use super::stream::LOOK_AGAIN;
use super::{admin_socket, calls, channel};
use crate::base::clock::Stopwatch;
use crate::base::wait::within;

/// How long cancelled calls get to end.
const CANCELLED_CALLS: Duration = Duration::from_secs(5);

/// The listening server. Must be stopped with [`Front::stop`].
pub struct Front {
    server: Server,
    // Dropping it cancels its calls, which the administrator's tool reports.
    _admin: Server,
    // Dropped last: the C core's threads end with it. The limiter has ended before.
    environment: Arc<Environment>,
    ports: BoundPorts,
}

/// The ports that the server got.
#[derive(Clone, Debug, Default)]
struct BoundPorts {
    all: Vec<u16>,
    plaintext: Option<u16>,
}

impl Front {
    /// Starts to listen: by TLS where an address says so and there is a certificate.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn start(
        shared: &Arc<Shared>,
        listen: &[Listen],
        tls: Option<&ServerTls>,
        data_dir: &Path,
    ) -> Result<Front, ListenError> {
        // One completion queue costs less per delivery than two on two cores.
        let environment = Arc::new(EnvBuilder::new().cq_count(1).name_prefix("grpc-poll").build());
        let first = listen.first().map_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)), |l| l.address);
        let mut server = ServerBuilder::new(Arc::clone(&environment))
            .register_service(calls::network_service(shared))
            .channel_args(channel::builder(&environment, &shared.limits).build_args())
            .build()
            .map_err(|error| ListenError::Core { address: first, text: error.to_string() })?;
        let mut ports = BoundPorts::default();
        for address in listen {
            ports.listen(&mut server, *address, tls)?;
        }
        let admin = admin_socket::listen(calls::administrator_service(shared), &environment, &shared.limits, data_dir)?;
        server.start();
        Ok(Front { server, _admin: admin, environment, ports })
    }

    /// The port of the first address.
    pub fn port(&self) -> u16 {
        self.ports.all.first().copied().unwrap_or(0)
    }

    /// The port of the first address that does not speak TLS, if there is one.
    pub fn plaintext_port(&self) -> Option<u16> {
        self.ports.plaintext
    }

    /// What the limiter watches.
    pub fn watched(&self, shared: &Shared) -> Watched {
        Watched {
            ports: self.ports.all.clone(),
            pulse: Pulse::new(&self.environment),
            pending: Arc::clone(&shared.pending),
            proxies: shared.proxies.clone(),
        }
    }

    /// Takes no more calls, gives the open ones `grace` to end (no longer once `hurry` says so), and cancels the rest.
    /// Returns whether all ended by themselves.
    pub fn stop(&mut self, grace: Duration, hurry: &dyn Fn() -> bool) -> bool {
        let mut shutdown = self.server.shutdown();
        let watch = Stopwatch::start();
        let mut by_themselves = within(Duration::ZERO, &mut shutdown).is_some();
        while !by_themselves && !hurry() {
            let Some(left) = watch.left_of(grace) else { break };
            by_themselves = within(left.min(LOOK_AGAIN), &mut shutdown).is_some();
        }
        if !by_themselves {
            self.server.cancel_all_calls();
            if within(CANCELLED_CALLS, &mut shutdown).is_none() {
                log::warn!("cancelled calls did not end");
            }
        }
        by_themselves
    }
}

impl BoundPorts {
    /// Listens on one more address, unless it is optional and this machine does not have it.
    fn listen(&mut self, server: &mut Server, listen: Listen, tls: Option<&ServerTls>) -> Result<(), ListenError> {
        let Listen { mut address, optional, tls: encrypted } = listen;
        // `localhost:0` means the same free port on both addresses.
        if address.port() == 0 && optional {
            address.set_port(self.all.last().copied().unwrap_or(0));
        }
        let (credentials, how) = match tls.filter(|_| encrypted) {
            Some(tls) => (tls.credentials(), "by TLS"),
            None => (ServerCredentials::insecure(), "in plaintext"),
        };
        if let Err(source) = can_bind(address) {
            if optional && source.kind() == ErrorKind::AddrNotAvailable {
                log::info!("not listening on {address}: this machine has no such address");
                return Ok(());
            }
            return Err(ListenError::Address { address, source });
        }
        let bound = server
            .add_listening_port(address.to_string(), credentials)
            .map_err(|error| ListenError::Core { address, text: error.to_string() })?;
        log::info!("listening on {} {how}", SocketAddr::new(address.ip(), bound));
        self.all.push(bound);
        if !encrypted {
            self.plaintext = self.plaintext.or(Some(bound));
        }
        Ok(())
    }
}
