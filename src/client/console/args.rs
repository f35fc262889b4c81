//! Flags and environment variables of `otpchat`.

use std::path::PathBuf;

use clap::Parser;
use clap::builder::FalseyValueParser;

use crate::base::lang::Lang;
use crate::client::console::command::MAX_HISTORY;
use crate::client::endpoint::ServerName;
use crate::client::tls::TlsOptions;
use crate::security::certificate::Fingerprint;

const EXAMPLES: &str = "\
Examples:
  otpchat                                 chat on this machine
  otpchat --server localhost:50052        another port
  otpchat --server chat.example.org --tls another machine, whose certificate this system trusts
  otpchat --server HOST --pin AB:CD:...   another machine, whose certificate has this fingerprint
  otpchat --lang ru                       in Russian
  ssh -L 50051:localhost:50051 HOST       then: otpchat, with the server on HOST
  printf '/login\\nalice\\nPASSWORD\\nCODE\\nhello\\n' | otpchat
                                          without a terminal: one line per answer

Inside: /register, /login, /history, /quit; /help lists all commands; anything else is a message to all. A line that cannot be
sent yet waits, and is sent once, as soon as possible.

Without a terminal, every line is read from stdin, passwords included. Messages go to stdout, with a line for the date when
it changes; everything else goes to stderr. A line that cannot be sent is retried for half a minute.
Exit code: 0 success; 1 a login failed, a line was not sent, or something else went wrong; 2 wrong flags.";

/// Chat in the terminal, with a second factor that nobody can skip
#[derive(Clone, Debug, Parser)]
#[command(name = "otpchat", version, after_help = EXAMPLES)]
pub struct Args {
    /// The server; an IPv6 address needs brackets, as in `[::1]:50051`
    #[arg(long, env = "OTPCHAT_SERVER", value_name = "HOST:PORT", default_value = "localhost:50051")]
    pub server: ServerName,

    /// Use TLS. The server's certificate must be for HOST, and signed by an authority that this system trusts
    /// (or one in SSL_CERT_FILE, if that is set)
    #[arg(long, env = "OTPCHAT_TLS", value_parser = FalseyValueParser::new())]
    pub tls: bool,

    /// Trust the authorities in this file (PEM) in place of the system's; a self-signed certificate is its own authority.
    /// Implies --tls
    #[arg(long, env = "OTPCHAT_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// Trust only the certificate with this SHA-256 fingerprint, whatever its name. The server's log shows the fingerprint,
    /// and so does `openssl x509 -noout -fingerprint -sha256`. Implies --tls
    #[arg(long, env = "OTPCHAT_PIN", value_name = "FINGERPRINT", conflicts_with = "ca")]
    pub pin: Option<Fingerprint>,

    /// Our certificate (PEM), for a server that asks for one. Implies --tls
    #[arg(long, env = "OTPCHAT_TLS_CLIENT_CERT", value_name = "FILE", requires = "tls_client_key")]
    pub tls_client_cert: Option<PathBuf>,

    /// The key of that certificate: PEM without a passphrase, mode 0600
    #[arg(long, env = "OTPCHAT_TLS_CLIENT_KEY", value_name = "FILE", requires = "tls_client_cert")]
    pub tls_client_key: Option<PathBuf>,

    /// The language of the console; the default follows the locale
    #[arg(long, env = "OTPCHAT_LANG", value_enum)]
    pub lang: Option<Lang>,

    /// How many of the last messages to show after a login, 0 to 500; the default is 20 on a terminal, and 0 without
    /// one
    #[arg(long, env = "OTPCHAT_HISTORY", value_name = "N", value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_HISTORY)))]
    pub history: Option<u32>,

    /// Where to write the picture of a new second factor; the default is otpchat-qr in $XDG_RUNTIME_DIR, or qr if that is not
    /// set
    #[arg(long, env = "OTPCHAT_QR_DIR", value_name = "DIRECTORY")]
    pub qr_dir: Option<PathBuf>,

    /// Keep that picture after the first code is confirmed; anyone with it can make your codes
    #[arg(long, env = "OTPCHAT_KEEP_QR", value_parser = FalseyValueParser::new())]
    pub keep_qr: bool,

    /// Send password, code and messages in the clear to a server that is not on this machine. Every machine on the way can
    /// read them and log in as you
    #[arg(
        long,
        env = "OTPCHAT_PLAINTEXT_PASSWORD_EXPOSED_TO_NETWORK",
        value_parser = FalseyValueParser::new()
    )]
    pub plaintext_password_exposed_to_network: bool,
}

impl Args {
    /// What the flags say about TLS; `None` if it is not used.
    pub fn tls(&self) -> Option<TlsOptions> {
        let identity = self.tls_client_cert.clone().zip(self.tls_client_key.clone());
        let options = TlsOptions { ca: self.ca.clone(), pin: self.pin, identity };
        (self.tls || options != TlsOptions::default()).then_some(options)
    }

    /// Where to write pictures: the flag's directory, or one that the system empties when the person logs out, or `qr`.
    pub fn qr_directory(&self) -> PathBuf {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
        let default = || runtime.map_or_else(|| PathBuf::from("qr"), |runtime| runtime.join("otpchat-qr"));
        self.qr_dir.clone().unwrap_or_else(default)
    }

    /// The language of the flag, or else of the locale.
    pub fn language(&self) -> Lang {
        self.lang.unwrap_or_else(|| Lang::from_locale(|name| std::env::var(name).ok()))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_are_well_formed_and_have_the_documented_defaults() {
        Args::command().debug_assert();
        let args = Args::try_parse_from(["otpchat"]).unwrap();
        assert_eq!(args.server.to_string(), "localhost:50051");
        assert_eq!(args.qr_dir, None);
        assert!(!args.keep_qr && !args.plaintext_password_exposed_to_network);
        assert!(Args::try_parse_from(["otpchat", "--server", "::1"]).is_err());
        assert!(Args::try_parse_from(["otpchat", "--lang", "de"]).is_err());
        assert_eq!(args.history, None);
        assert_eq!(Args::try_parse_from(["otpchat", "--history", "0"]).unwrap().history, Some(0));
        assert!(Args::try_parse_from(["otpchat", "--history", "501"]).is_err());
    }

    #[test]
    fn every_tls_flag_implies_tls_and_incomplete_pairs_are_refused() {
        let pin = "ab".repeat(32);
        let tls = |args: &[&str]| Args::try_parse_from([&["otpchat"], args].concat()).map(|args| args.tls());
        assert_eq!(tls(&[]).unwrap(), None);
        assert_eq!(tls(&["--tls"]).unwrap(), Some(TlsOptions::default()));
        assert_eq!(tls(&["--ca", "a"]).unwrap().unwrap().ca, Some("a".into()));
        assert!(tls(&["--pin", &pin]).unwrap().unwrap().pin.is_some());
        let ours = tls(&["--tls-client-cert", "c", "--tls-client-key", "k"]).unwrap().unwrap();
        assert_eq!(ours.identity, Some(("c".into(), "k".into())));
        for args in [
            &["--pin", "ab"][..],
            &["--pin", &pin, "--ca", "a"],
            &["--tls-client-cert", "c"],
            &["--tls-client-key", "k"],
        ] {
            assert!(tls(args).is_err(), "{args:?}");
        }
    }
}
