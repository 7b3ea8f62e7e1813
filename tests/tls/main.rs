//! TLS: in virtual time over streams that a test fills and drains, over real sockets, and the certificates that the hub makes.
//!
//! Owns: certificates to test with, and what a client trusts. Refuses to know: what is tested with them.
#![cfg(all(feature = "tls", target_os = "linux"))]

mod certificates;
#[path = "../common/mod.rs"]
mod common;
mod records;
mod sockets;

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use classhub::host::certificates::{Order, issue};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

/// 2026-07-15.
const NOW_S: u64 = 1_784_073_600;

/// A folder of its own for each who asks.
fn folder() -> PathBuf {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{}-{number}", std::process::id()));
    fs::create_dir_all(&folder).expect("the folder for tests can be written");
    folder
}

fn order(out: &Path) -> Order {
    Order {
        out: out.to_owned(),
        names: Vec::new(),
        host: "board".to_owned(),
        addresses: vec![IpAddr::V4(Ipv4Addr::new(192, 168, 1, 5))],
        wall_s: NOW_S,
    }
}

/// A folder with certificates in it.
fn issued() -> PathBuf {
    let folder = folder();
    issue(&order(&folder)).expect("the folder is empty");
    folder
}

/// What a client has that trusts the authority in a folder, and speaks these versions.
fn client_config(folder: &Path, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("ca.pem")).expect("it is there")).expect("it is an authority");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(versions).expect("they are known");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

/// The name by which tests connect.
fn localhost() -> ServerName<'static> {
    ServerName::try_from("127.0.0.1").expect("it is an address")
}
