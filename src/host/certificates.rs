//! Certificates: the hub's own, as it shows it over TLS, and those that it makes.
//!
//! Owns: reading the two PEM files, what must be right about them, and what TLS speaks. Refuses to know: sockets, and which keys of the
//! configuration name the files.

mod issue;
mod x509;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring::{self, Ticketer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use rustls::{InconsistentKeys, ServerConfig};

pub use self::issue::{Issued, Order, issue};
use self::x509::Facts;

/// The wall clock of a board without a battery wakes up years ago. Before this it says nothing: 2025-01-01, when none of this was written yet.
const CLOCK_IS_SET_S: u64 = 1_735_689_600;
const DAY_S: u64 = 86_400;
/// How long before its end a certificate is worth a line in the log: a school's holidays.
const ENDS_SOON_DAYS: u64 = 45;

/// What the hub shows to whoever connects over TLS.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// For every connection.
    pub server: Arc<ServerConfig>,
    /// The authority that it comes with, for those who are to trust it; none where the chain does not end in one.
    pub authority: Option<Authority>,
    /// What the operator should hear about certificates that can be used: a line each.
    pub warnings: Vec<String>,
    /// The chain, the hub's own certificate first.
    chain: Vec<CertificateDer<'static>>,
}

impl Certificates {
    /// SHA-256 of the hub's own certificate, as people compare it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.chain.first().map_or_else(String::new, |own| fingerprint(own))
    }

    /// Whether whoever connects is shown the same by either.
    #[must_use]
    pub fn are_as(&self, other: &Certificates) -> bool {
        self.chain == other.chain
    }
}

/// A certificate that signs others, and itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// As files have it.
    pub pem: String,
    /// SHA-256 of it, as people compare it.
    pub fingerprint: String,
}

/// Which of the two files is wrong, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The certificate and its chain.
    Cert(String),
    /// The private key.
    Key(String),
}

/// Reads a certificate with its chain, and the key that belongs to it. `wall_s` is what the wall clock says, in seconds since 1970.
///
/// # Errors
/// [`Wrong`] says which file, and what is wrong with it.
pub fn load(cert: &Path, key: &Path, wall_s: u64) -> Result<Certificates, Wrong> {
    let chain =
        read_pem(cert, "certificate", |text| CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>());
    let chain = chain.map_err(Wrong::Cert)?;
    let (Some(first), Some(last)) = (chain.first(), chain.last()) else {
        return Err(Wrong::Cert(format!("{} has no certificate in it", cert.display())));
    };
    let facts = |der: &CertificateDer| {
        let says = || Wrong::Cert(format!("{} has a certificate that is none", cert.display()));
        Facts::read(der).ok_or_else(says)
    };
    let authority = facts(last)?.signs_itself().then(|| Authority::of(last));
    let warnings = warnings(&facts(first)?, cert, wall_s);
    let key_der = read_pem(key, "private key", PrivateKeyDer::from_pem_slice).map_err(Wrong::Key)?;
    let server = server(chain.clone(), key_der).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            Wrong::Key(format!("{} is not the key of the certificate in {}", key.display(), cert.display()))
        }
        rustls::Error::InvalidCertificate(error) => {
            Wrong::Cert(format!("the certificate in {} cannot be used: {error}", cert.display()))
        }
        error => Wrong::Key(format!("{} cannot be used: {error}", key.display())),
    })?;
    Ok(Certificates { server: Arc::new(server), authority, warnings, chain })
}

/// A chain of certificates takes a few thousand bytes.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// Reads what is called `what` from a file. What is no PEM of that kind is skipped by the library.
fn read_pem<T>(path: &Path, what: &str, read: impl FnOnce(&[u8]) -> Result<T, pem::Error>) -> Result<T, String> {
    // Not every file ends.
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(PEM_BYTES_MAX).read_to_end(&mut text))
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    read(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => format!("{} has no {what} in it", path.display()),
        error => format!("{} is no {what} in PEM: {error}", path.display()),
    })
}

/// TLS 1.3 and 1.2 for HTTP/1.1. Nobody is asked for a certificate. Who comes back shows a ticket, so that the hub keeps nothing for those who are
/// gone; early data, which could be sent twice by somebody else, is not taken.
fn server(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(&[&TLS13, &TLS12])?.with_no_client_auth();
    let mut server = builder.with_single_cert(chain, key)?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.ticketer = Ticketer::new()?;
    // One is enough: a page opens one connection at a time.
    server.send_tls13_tickets = 1;
    server.max_early_data_size = 0;
    Ok(server)
}

fn warnings(facts: &Facts, cert: &Path, wall_s: u64) -> Vec<String> {
    let ends_s = facts.ends_s;
    // A clock that is not set cannot tell.
    if wall_s < CLOCK_IS_SET_S || wall_s + ENDS_SOON_DAYS * DAY_S < ends_s {
        return Vec::new();
    }
    let (cert, date) = (cert.display(), x509::date(ends_s));
    let renew = "`classhub cert` makes a new one that the same devices trust, once the old files are moved away";
    vec![if ends_s < wall_s {
        format!("the certificate in {cert} ended on {date}, and browsers refuse it; {renew}")
    } else {
        let days = (ends_s - wall_s) / DAY_S;
        format!("the certificate in {cert} ends on {date}, in {days} days; {renew}")
    }]
}

impl Authority {
    fn of(certificate: &CertificateDer) -> Authority {
        Authority { pem: x509::pem(certificate), fingerprint: fingerprint(certificate) }
    }
}

fn fingerprint(certificate: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    let digest = Sha256::digest(certificate);
    digest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}
