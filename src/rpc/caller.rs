//! What a call says about its caller. The only reader of request headers; what it finds is proved in `app::sessions`.

use std::net::{IpAddr, SocketAddr};

use grpcio::{Metadata, RpcContext};

use super::edge::connection;
use super::edge::proxy::{FORWARDED_KEY, TrustedProxies};
use crate::app::{ConnectionId, Credential};
use crate::proto::methods::{CLIENT_KEY, TOKEN_KEY};
use crate::security::secret::SecretText;

/// The caller, before anything is proved.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The other end of the connection.
    pub connection: Option<SocketAddr>,
    /// The size of the headers, as RFC 9113 counts it (section 6.5.2).
    pub header_bytes: usize,
    /// The caller's address, in canonical form (IPv4 is never mapped into IPv6): behind a trusted proxy, the one that it
    /// forwards. For throttles and logs; it gives no right. `None` where the connection has none.
    pub address: Option<IpAddr>,
    /// What the caller shows.
    pub credential: Credential,
    /// The other end of the connection, if clients of the predecessor are served their way on it.
    legacy: Option<SocketAddr>,
}

impl Incoming {
    /// Reads the headers. On the poll thread, since the context cannot leave it.
    pub fn read(ctx: &RpcContext<'_>, legacy_clients: bool, proxies: &TrustedProxies) -> Incoming {
        let headers = ctx.request_headers();
        let header_bytes = headers.iter().map(|(key, value)| key.len() + value.len() + 32).sum();
        let connection = address(&ctx.peer());
        let credential = credential(values(headers, TOKEN_KEY).into_iter());
        let forwarded = values(headers, FORWARDED_KEY);
        // Callers behind a proxy, known or not, share the connection.
        let is_local = |other: &SocketAddr| other.ip().to_canonical().is_loopback() && is_plaintext(ctx);
        let may_be_old = legacy_clients && !headers.iter().any(|(key, _)| rules_out_an_old_client(key));
        let legacy = connection.filter(|other| may_be_old && is_local(other));
        let address = connection.map(|other| proxies.client_address(other.ip(), forwarded.into_iter()));
        Incoming { connection, header_bytes, address, credential, legacy }
    }

    /// The connection, if clients of the predecessor are served their way on it. Not for poll threads.
    pub fn legacy_connection(&self) -> Option<ConnectionId> {
        self.legacy.and_then(connection::from_peer)
    }

    /// What the caller shows; for a client of the predecessor without a token, the connection. Not for poll threads.
    pub fn credential_or_connection(&self) -> Credential {
        match &self.credential {
            Credential::None => self.legacy_connection().map_or(Credential::None, Credential::NoneOn),
            shown => shown.clone(),
        }
    }
}

/// Whether a header comes from a client of ours, or from a proxy, behind which many people may share the connection.
fn rules_out_an_old_client(key: &str) -> bool {
    const PROXY_KEYS: [&str; 5] = ["via", "forwarded", "x-real-ip", "x-forwarded-host", "x-forwarded-proto"];
    key == CLIENT_KEY || key == FORWARDED_KEY || PROXY_KEYS.contains(&key)
}

/// The values of a header, in their order.
fn values<'a>(headers: &'a Metadata, wanted: &str) -> Vec<&'a [u8]> {
    headers.iter().filter(|(key, _)| *key == wanted).map(|(_, value)| value).collect()
}

/// One token, however often it is repeated. Two different ones, or one that is no text, cannot be ours.
fn credential<'a>(mut tokens: impl Iterator<Item = &'a [u8]>) -> Credential {
    let Some(first) = tokens.next() else { return Credential::None };
    match std::str::from_utf8(first) {
        Ok(token) if tokens.all(|other| other == first) => Credential::Token(SecretText::new(token.to_owned())),
        _ => Credential::Garbled,
    }
}

/// Whether the call came in by a listener without TLS. Only if the C core says so.
fn is_plaintext(ctx: &RpcContext<'_>) -> bool {
    ctx.auth_context().is_some_and(|context| {
        context.into_iter().any(|p| p.name() == "transport_security_type" && p.value() == b"insecure")
    })
}

/// The address in the C core's name of the other end.
fn address(peer: &str) -> Option<SocketAddr> {
    match peer.split_once(':')? {
        ("ipv4" | "ipv6", address) => without_scope(&address.replace("%5B", "[").replace("%5D", "]")).parse().ok(),
        _ => None,
    }
}

/// Without the name of the interface of a link-local address: `[fe80::1%25eth0]:80`.
fn without_scope(address: &str) -> String {
    match (address.find('%'), address.find(']')) {
        (Some(from), Some(to)) if from < to => format!("{}{}", &address[..from], &address[to..]),
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_other_end_has_an_address_or_none() {
        fn check(peer: &str, want: Option<&str>) {
            assert_eq!(address(peer).map(|a| a.to_string()).as_deref(), want, "{peer}");
        }
        check("ipv4:127.0.0.1:4711", Some("127.0.0.1:4711"));
        check("ipv6:[::1]:4711", Some("[::1]:4711"));
        check("ipv6:%5B::1%5D:4711", Some("[::1]:4711"));
        check("ipv6:[2001:db8::1]:4711", Some("[2001:db8::1]:4711"));
        check("ipv4:127.0.0.1.example.org:1", None);
        check("ipv6:%5Bfe80::1%25eth0%5D:4711", Some("[fe80::1]:4711"));
        check("ipv6:[fe80::1%eth0]:4711", Some("[fe80::1]:4711"));
        check("unix:/run/x", None);
        check("unknown", None);
        check("", None);
    }

    #[test]
    fn one_token_counts_however_often_and_two_are_none() {
        let read = |tokens: &[&[u8]]| credential(tokens.iter().copied());
        assert!(matches!(read(&[]), Credential::None));
        assert!(matches!(read(&[b"a"]), Credential::Token(t) if t.expose() == "a"));
        assert!(matches!(read(&[b"a", b"a"]), Credential::Token(_)));
        assert!(matches!(read(&[b"a", b"b"]), Credential::Garbled));
        assert!(matches!(read(&[b""]), Credential::Token(t) if t.is_empty()), "an empty token is a bad one, not none");
        assert!(matches!(read(&[b"\xff"]), Credential::Garbled));
    }

    #[test]
    fn a_client_that_names_itself_and_a_proxy_are_never_old_clients() {
        for key in ["otpchat-client", "x-forwarded-for", "via", "forwarded", "x-real-ip", "x-forwarded-proto"] {
            assert!(rules_out_an_old_client(key), "{key}");
        }
        for key in ["token", "user-agent", "te", "grpc-accept-encoding"] {
            assert!(!rules_out_an_old_client(key), "{key}");
        }
    }

    proptest! {
        #[test]
        fn wild_peers_never_panic(peer in "\\PC{0,60}") {
            let _ = address(&peer);
        }
    }
}
