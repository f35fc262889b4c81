//! Certificates for tests: valid, expired, of authorities and for clients.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use grpc_otp_chat::base::clock::Clock;
use grpc_otp_chat::security::certificate::Fingerprint;
use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};

/// A certificate and its key.
pub(crate) struct TestCertificate {
    pub(crate) certificate: X509,
    pub(crate) key: PKey<Private>,
}

/// For `localhost` and its addresses, signed by itself.
pub(crate) fn own() -> TestCertificate {
    make("localhost", &["localhost", "127.0.0.1", "::1"], [-1, 30], None, true)
}

/// For these names, signed by itself.
pub(crate) fn for_names(names: &[&str]) -> TestCertificate {
    make("another name", names, [-1, 30], None, true)
}

/// As [`own`], but yesterday was its last day.
pub(crate) fn expired() -> TestCertificate {
    make("localhost", &["localhost", "127.0.0.1", "::1"], [-30, -1], None, true)
}

/// As [`own`], signed by `authority`.
pub(crate) fn signed_by(authority: &TestCertificate) -> TestCertificate {
    make("localhost", &["localhost", "127.0.0.1", "::1"], [-1, 30], Some(authority), false)
}

/// An authority, signed by another one.
pub(crate) fn intermediate(authority: &TestCertificate) -> TestCertificate {
    make("in between", &[], [-1, 30], Some(authority), true)
}

/// An RSA key too short for TLS today, with its certificate.
pub(crate) fn weak() -> TestCertificate {
    let key = PKey::from_rsa(Rsa::generate(1024).expect("a key")).expect("a key");
    make_with(key, "localhost", &["localhost"], [-1, 30], None, true)
}

fn make(name: &str, names: &[&str], days: [i64; 2], by: Option<&TestCertificate>, signs: bool) -> TestCertificate {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("P-256");
    let key = PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key");
    make_with(key, name, names, days, by, signs)
}

fn make_with(
    key: PKey<Private>,
    name: &str,
    names: &[&str],
    days: [i64; 2],
    by: Option<&TestCertificate>,
    signs: bool,
) -> TestCertificate {
    let mut subject = X509NameBuilder::new().expect("a name");
    subject.append_entry_by_nid(Nid::COMMONNAME, name).expect("a name");
    let subject = subject.build();
    let mut serial = BigNum::new().expect("a number");
    serial.rand(127, MsbOption::MAYBE_ZERO, false).expect("a number");
    let mut builder = X509::builder().expect("a builder");
    builder.set_version(2).expect("a version");
    builder.set_serial_number(&serial.to_asn1_integer().expect("a number")).expect("a number");
    builder.set_subject_name(&subject).expect("a name");
    builder.set_issuer_name(by.map_or(&*subject, |by| by.certificate.subject_name())).expect("a name");
    builder.set_pubkey(&key).expect("a key");
    let day = |day: i64| Asn1Time::from_unix(Clock::system().now().as_secs() + day * 86_400).expect("a time");
    builder.set_not_before(&day(days[0])).expect("a time");
    builder.set_not_after(&day(days[1])).expect("a time");
    if signs {
        builder.append_extension(BasicConstraints::new().ca().build().expect("an extension")).expect("an extension");
    }
    let mut alternatives = SubjectAlternativeName::new();
    for name in names {
        if name.parse::<std::net::IpAddr>().is_ok() {
            alternatives.ip(name)
        } else {
            alternatives.dns(name)
        };
    }
    if !names.is_empty() {
        let extension = alternatives.build(&builder.x509v3_context(None, None)).expect("an extension");
        builder.append_extension(extension).expect("an extension");
    }
    builder.sign(by.map_or(&key, |by| &by.key), MessageDigest::sha256()).expect("signed");
    TestCertificate { certificate: builder.build(), key }
}

impl TestCertificate {
    /// The certificate in PEM form.
    pub(crate) fn pem(&self) -> Vec<u8> {
        self.certificate.to_pem().expect("PEM")
    }

    /// The key in PEM form.
    pub(crate) fn key_pem(&self) -> Vec<u8> {
        self.key.private_key_to_pem_pkcs8().expect("PEM")
    }

    /// The certificate's fingerprint.
    pub(crate) fn fingerprint(&self) -> String {
        Fingerprint::from_certificate(&self.certificate).expect("a fingerprint").to_string()
    }

    /// Writes both to a directory, over older files: `<stem>.pem` and, readable by the owner only, `<stem>.key`.
    pub(crate) fn write(&self, directory: &Path, stem: &str) -> (PathBuf, PathBuf) {
        let paths = (directory.join(format!("{stem}.pem")), directory.join(format!("{stem}.key")));
        write_guarded(&paths.1, &self.key_pem());
        fs::write(&paths.0, self.pem()).expect("written");
        paths
    }
}

/// Writes a file that only its owner may read.
pub(crate) fn write_guarded(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("written");
    fs::set_permissions(path, Permissions::from_mode(0o600)).expect("chmod");
}
