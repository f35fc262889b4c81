//! What a request's headers say about who calls. The only reader of request headers; what it finds is proved in
//! `app::sessions`.

use std::net::IpAddr;

use grpcio::RpcContext;

use crate::app::{Connection, Credential};
use crate::security::secret::SecretText;

/// The metadata key of the token.
pub const TOKEN_KEY: &str = "token";

/// Who calls, before anything is proved.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The other end of the connection, as the C core writes it: `ipv4:127.0.0.1:4711`.
    pub peer: String,
    /// What he shows.
    pub credential: Credential,
    /// The connection, if clients of the predecessor are served their way on it.
    pub legacy: Option<Connection>,
}

impl Incoming {
    /// Reads the headers. On the poll thread, since the context cannot leave it.
    pub fn read(ctx: &RpcContext<'_>, legacy_clients: bool) -> Incoming {
        let peer = ctx.peer();
        let legacy = (legacy_clients && is_loopback(&peer)).then(|| Connection(peer.clone()));
        let tokens = ctx.request_headers().iter().filter(|(key, _)| *key == TOKEN_KEY).map(|(_, value)| value);
        let credential = credential(tokens, legacy.clone());
        Incoming { peer, credential, legacy }
    }
}

/// One token, however often it is repeated. Two different ones, or one that is no text, are none of ours.
fn credential<'a>(mut tokens: impl Iterator<Item = &'a [u8]>, legacy: Option<Connection>) -> Credential {
    let Some(first) = tokens.next() else {
        return legacy.map_or(Credential::None, Credential::NoneOn);
    };
    match std::str::from_utf8(first) {
        Ok(token) if tokens.all(|other| other == first) => Credential::Token(SecretText::new(token.to_owned())),
        _ => Credential::Garbled,
    }
}

/// Whether the other end is this machine: such a connection cannot have come in on any address but a loopback one.
fn is_loopback(peer: &str) -> bool {
    let host_and_port = match peer.split_once(':') {
        Some(("ipv4" | "ipv6", rest)) => rest,
        _ => return false,
    };
    let Some((host, _port)) = host_and_port.rsplit_once(':') else { return false };
    let host = host.replace("%5B", "").replace("%5D", "").replace(['[', ']'], "");
    host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_loopback_is_loopback() {
        fn check(peer: &str, want: bool) {
            assert_eq!(is_loopback(peer), want, "{peer}");
        }
        check("ipv4:127.0.0.1:4711", true);
        check("ipv4:127.9.9.9:1", true);
        check("ipv6:[::1]:4711", true);
        check("ipv6:%5B::1%5D:4711", true);
        check("ipv6:[::ffff:127.0.0.1]:4711", true);
        check("ipv4:192.0.2.1:4711", false);
        check("ipv6:[2001:db8::1]:4711", false);
        check("ipv4:127.0.0.1.example.org:1", false);
        check("unix:/run/x", false);
        check("unknown", false);
        check("", false);
    }

    #[test]
    fn one_token_counts_however_often_and_two_are_none() {
        let here = || Some(Connection("ipv4:127.0.0.1:1".into()));
        let read = |tokens: &[&[u8]]| credential(tokens.iter().copied(), here());
        assert!(matches!(read(&[]), Credential::NoneOn(_)));
        assert!(matches!(credential(std::iter::empty(), None), Credential::None));
        assert!(matches!(read(&[b"a"]), Credential::Token(t) if t.expose() == "a"));
        assert!(matches!(read(&[b"a", b"a"]), Credential::Token(_)));
        assert!(matches!(read(&[b"a", b"b"]), Credential::Garbled));
        assert!(matches!(read(&[b""]), Credential::Token(t) if t.is_empty()), "an empty token is a bad one, not none");
        assert!(matches!(read(&[b"\xff"]), Credential::Garbled));
    }

    proptest! {
        #[test]
        fn wild_peers_never_panic(peer in "\\PC{0,60}") {
            let _ = is_loopback(&peer);
        }
    }
}
