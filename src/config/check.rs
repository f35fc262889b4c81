//! The flags are checked against each other, and become [`Settings`].

use std::env;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::flags::{DeletedMessages, Flags, RegistrationFlag};
use super::limits::{hours, minutes};
use super::settings::Settings;
use crate::app::{AppLimits, Registration};
use crate::model::text::TextLimits;
use crate::rpc::edge::proxy::TrustedProxies;
use crate::rpc::edge::tls::TlsFiles;
use crate::rpc::listen::Listen;
use crate::security::passwords::Cost;
use crate::store::messages::Retention;

/// How many bytes of a request a text leaves for everything else.
const REQUEST_OVERHEAD_BYTES: u32 = 512;

/// Settings that cannot be used. Each text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// Not an address.
    #[error(
        "{0} {1}: write HOST:PORT, where HOST is `localhost` or an IP address (IPv6 in brackets), as in localhost:50051"
    )]
    Listen(&'static str, String),
    /// Plaintext beyond loopback.
    #[error(
        "--listen {0} is beyond loopback, where passwords and messages would cross the network unencrypted: give a \
             certificate with --tls-cert and --tls-key, listen on localhost, or accept that with \
             --plaintext-exposed-to-network"
    )]
    Exposed(String),
    /// Plaintext beyond loopback, beside TLS.
    #[error("--listen-plaintext {0} is beyond loopback: it is for this machine alone, use localhost:PORT")]
    PlaintextExposed(String),
    /// `--listen-plaintext` without TLS.
    #[error(
        "--listen-plaintext is for a server with a certificate; without one, --listen is not encrypted either: use that"
    )]
    PlaintextAlone,
    /// One TLS file without another.
    #[error("{0} needs {1} beside it")]
    TlsHalf(&'static str, &'static str),
    /// A text that does not fit into a request.
    #[error("--max-text-bytes must be at least 512 below --max-request-bytes, or no such text could be sent")]
    TextBeyondRequest,
}

impl Flags {
    /// Checks the flags against each other.
    ///
    /// # Errors
    /// [`SettingError`].
    pub fn check(self) -> Result<Settings, SettingError> {
        if self.limits.max_text_bytes + REQUEST_OVERHEAD_BYTES > self.limits.max_request_bytes {
            return Err(SettingError::TextBeyondRequest);
        }
        let tls = self.tls_files()?;
        let listen = self.addresses(tls.is_some())?;
        let key = |file: &Option<PathBuf>, name: &str| file.clone().unwrap_or_else(|| self.data_dir.join(name));
        Ok(Settings {
            jwt_key: key(&self.jwt_key, "jwt.key"),
            sealing_key: key(&self.sealing_key, "sealing.key"),
            old_jwt_key: hours(self.limits.old_jwt_key_hours),
            credentials_dir: env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            legacy_clients: self.serves_legacy_clients(&listen),
            trusted_proxies: TrustedProxies::new(self.trusted_proxy.clone()),
            chat_log: self.chat_log.is_on(),
            password_cost: Cost::default(),
            app: self.app_limits(&listen),
            hub: self.limits.hub(),
            store: self.limits.store(),
            rpc: self.limits.rpc(),
            grace: Duration::from_secs(self.limits.grace_seconds),
            data_dir: self.data_dir,
            listen,
            tls,
        })
    }

    fn tls_files(&self) -> Result<Option<TlsFiles>, SettingError> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Ok(Some(TlsFiles {
                certificate: certificate.clone(),
                key: key.clone(),
                client_ca: self.tls_client_ca.clone(),
            })),
            (Some(_), None) => Err(SettingError::TlsHalf("--tls-cert", "--tls-key")),
            (None, Some(_)) => Err(SettingError::TlsHalf("--tls-key", "--tls-cert")),
            (None, None) if self.tls_client_ca.is_some() => {
                Err(SettingError::TlsHalf("--tls-client-ca", "--tls-cert and --tls-key"))
            }
            (None, None) => Ok(None),
        }
    }

    fn addresses(&self, has_tls: bool) -> Result<Vec<Listen>, SettingError> {
        let mut listen = Vec::new();
        for text in &self.listen {
            let addresses = parse_listen("--listen", text, has_tls)?;
            if !self.plaintext_exposed_to_network && addresses.iter().any(Listen::exposes_plaintext) {
                return Err(SettingError::Exposed(text.clone()));
            }
            listen.extend(addresses);
        }
        if !has_tls && !self.listen_plaintext.is_empty() {
            return Err(SettingError::PlaintextAlone);
        }
        for text in &self.listen_plaintext {
            let addresses = parse_listen("--listen-plaintext", text, false)?;
            if addresses.iter().any(Listen::exposes_plaintext) {
                return Err(SettingError::PlaintextExposed(text.clone()));
            }
            listen.extend(addresses);
        }
        Ok(listen)
    }

    /// A plaintext port in reach of strangers, and a proxy with many people behind one connection, may make a stranger look
    /// like a client on this machine. (Whether a call came in plaintext on loopback is judged call by call, in `rpc::caller`.)
    fn serves_legacy_clients(&self, listen: &[Listen]) -> bool {
        self.legacy_clients.is_on() && self.trusted_proxy.is_empty() && !listen.iter().any(Listen::exposes_plaintext)
    }

    fn registration(&self, listen: &[Listen]) -> Registration {
        let is_private = listen.iter().all(|l| l.address.ip().is_loopback()) && self.trusted_proxy.is_empty();
        match self.registration {
            Some(RegistrationFlag::Open) => Registration::Open,
            Some(RegistrationFlag::Invite) => Registration::Invite,
            Some(RegistrationFlag::Closed) => Registration::Closed,
            None if is_private => Registration::Open,
            None => Registration::Invite,
        }
    }

    fn app_limits(&self, listen: &[Listen]) -> AppLimits {
        let limits = &self.limits;
        AppLimits {
            waiting_session: minutes(limits.waiting_minutes),
            waiting_sessions_per_user: limits.max_waiting_sessions as usize,
            complete_session: hours(limits.session_hours),
            complete_sessions_per_user: limits.max_sessions as usize,
            unenrolled_account: hours(limits.unenrolled_hours),
            enrolment_without_token: minutes(limits.waiting_minutes),
            text: TextLimits { bytes: limits.max_text_bytes as usize, lines: limits.max_text_lines as usize },
            registration: self.registration(listen),
            throttles: limits.throttles(),
            guesses: limits.guesses(),
            retention: Retention {
                age: (self.keep_days > 0).then(|| hours(24 * u64::from(self.keep_days))),
                count: Some(self.keep_messages).filter(|count| *count > 0),
            },
            history_page: limits.max_history_page as usize,
            recovery_codes: limits.recovery_codes as usize,
            enrolment_code: hours(limits.enrolment_code_hours),
            keep_messages_of_deleted: self.deleted_messages == DeletedMessages::Keep,
        }
    }
}

fn parse_listen(flag: &'static str, text: &str, tls: bool) -> Result<Vec<Listen>, SettingError> {
    let wrong = || SettingError::Listen(flag, text.to_owned());
    if let Some(port) = text.strip_prefix("localhost:") {
        let port = port.parse().map_err(|_| wrong())?;
        let on = |ip: IpAddr, optional| Listen { address: SocketAddr::new(ip, port), optional, tls };
        return Ok(vec![on(Ipv4Addr::LOCALHOST.into(), false), on(Ipv6Addr::LOCALHOST.into(), true)]);
    }
    Ok(vec![Listen { address: text.parse().map_err(|_| wrong())?, optional: false, tls }])
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser as _;

    use super::*;
    use crate::security::keys::KeyGuard;

    fn settings(args: &[&str]) -> Result<Settings, SettingError> {
        Flags::try_parse_from([&["otpchatd"], args].concat()).unwrap().check()
    }

    #[test]
    fn localhost_is_both_loopback_addresses() {
        let listen = settings(&[]).unwrap().listen;
        let texts: Vec<_> = listen.iter().map(|l| (l.address.to_string(), l.optional)).collect();
        assert_eq!(texts, [("127.0.0.1:50051".to_owned(), false), ("[::1]:50051".to_owned(), true)]);
    }

    #[test]
    fn addresses_are_taken_or_refused_by_rule() {
        fn check(listen: &str, ok: bool) {
            assert_eq!(settings(&["--listen", listen]).is_ok(), ok, "{listen}");
        }
        check("127.0.0.1:0", true);
        check("[::1]:50051", true);
        check("127.0.0.1:1,[::1]:1", true);
        check("localhost", false);
        check("localhost:99999", false);
        check("example.org:1", false);
        check("0.0.0.0:50051", false);
        check("[::]:50051", false);
        check("192.0.2.1:50051", false);
        let exposed = settings(&["--listen", "localhost:1,0.0.0.0:2", "--plaintext-exposed-to-network"]).unwrap();
        assert!(!exposed.legacy_clients, "old clients are served on loopback alone");
        assert_eq!(exposed.app.registration, Registration::Invite, "strangers are invited");
        let local = settings(&[]).unwrap();
        assert!(local.legacy_clients);
        assert_eq!(local.app.registration, Registration::Open);
    }

    #[test]
    fn with_a_certificate_strangers_connect_by_tls_and_local_clients_in_plaintext() {
        const TLS: [&str; 4] = ["--tls-cert", "c.pem", "--tls-key", "k.pem"];
        let with = |more: &[&str]| settings(&[&TLS, more].concat());
        let both = with(&["--listen", "0.0.0.0:50051", "--listen-plaintext", "127.0.0.1:50052"]).unwrap();
        let said: Vec<_> = both.listen.iter().map(|l| (l.address.to_string(), l.tls)).collect();
        assert_eq!(said, [("0.0.0.0:50051".to_owned(), true), ("127.0.0.1:50052".to_owned(), false)]);
        assert!(both.legacy_clients, "on the plaintext address");
        assert_eq!(with(&["--listen-plaintext", "localhost:1"]).unwrap().listen.len(), 4);
        for (args, refused) in [
            (&["--tls-cert", "c"][..], SettingError::TlsHalf("--tls-cert", "--tls-key")),
            (&["--tls-key", "k"], SettingError::TlsHalf("--tls-key", "--tls-cert")),
            (&["--tls-client-ca", "a"], SettingError::TlsHalf("--tls-client-ca", "--tls-cert and --tls-key")),
            (&["--listen-plaintext", "localhost:1"], SettingError::PlaintextAlone),
        ] {
            assert_eq!(settings(args).err(), Some(refused), "{args:?}");
        }
        let exposed = ["--plaintext-exposed-to-network", "--listen-plaintext", "0.0.0.0:1"];
        assert_eq!(with(&exposed).err(), Some(SettingError::PlaintextExposed("0.0.0.0:1".into())));
        assert!(with(&["--listen-plaintext", "x:1"]).err().unwrap().to_string().starts_with("--listen-plaintext x:1"));
    }

    #[test]
    fn a_trusted_proxy_switches_old_clients_off() {
        let behind = settings(&["--trusted-proxy", "127.0.0.1,10.0.0.0/8", "--legacy-clients", "on"]).unwrap();
        assert!(!behind.legacy_clients && !behind.trusted_proxies.is_empty());
        assert_eq!(behind.app.registration, Registration::Invite, "strangers connect through it");
        assert!(settings(&[]).unwrap().trusted_proxies.is_empty());
    }

    #[test]
    fn only_a_key_right_in_the_credentials_directory_is_judged_by_its_place() {
        let mut settings = settings(&[]).unwrap();
        assert_eq!(settings.guard_of(Path::new("/run/credentials/x/jwt.key")), KeyGuard::Mode);
        settings.credentials_dir = Some("/run/credentials/x".into());
        assert_eq!(settings.guard_of(Path::new("/run/credentials/x/jwt.key")), KeyGuard::Place);
        assert_eq!(settings.guard_of(Path::new("/run/credentials/x/../../../home/jwt.key")), KeyGuard::Mode);
        assert_eq!(settings.guard_of(Path::new("jwt.key")), KeyGuard::Mode);
    }

    #[test]
    fn limits_that_contradict_each_other_are_refused() {
        let refused = settings(&["--max-text-bytes", "4096", "--max-request-bytes", "4100"]);
        assert_eq!(refused.err(), Some(SettingError::TextBeyondRequest));
    }
}
