//! Making certificates: `classhub cert`.
//!
//! Owns: an authority of the hub's own, what it may sign for, the certificate that it signs, and the four files. Refuses to know: what the
//! operator is told to do with them (`main`).
//!
//! Every device of a school is to trust the authority, and its key lies on a board that somebody can carry off. So it is made for the names that a
//! local network has, and for what it was told to sign for, and browsers believe it nothing else: who has the key is no bank.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, DnValue, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PublicKeyData as _, SanType,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, DnsName, ServerName, UnixTime};
use time::OffsetDateTime;

use super::x509::{Facts, date};
use super::{CLOCK_IS_SET_S, DAY_S, fingerprint};

/// A clock that stands behind 2100 is as wrong as one before 2025.
const CLOCK_IS_WRONG_S: u64 = 4_102_444_800;
/// Devices are a little behind, or ahead.
const BEFORE_S: u64 = DAY_S;
/// Longer than a board lives.
const AUTHORITY_DAYS: u64 = 3650;
/// Apple's devices refuse a certificate of more than 825 days, whoever signed it.
const SERVER_DAYS: u64 = 824;
/// What a common name may have (RFC 5280, appendix A).
const COMMON_NAME_BYTES: usize = 64;
/// From 2020-01-01 to 2049-12-31: all that is valid on a day that nobody knows.
const ANY_DAY_S: (u64, u64) = (1_577_836_800, 2_524_521_600);

/// The ends of names that no one else has (RFC 6762, RFC 8375, and ICANN's resolution on `internal`), and what routers hand out.
const LOCAL_NAMES: [&str; 5] = ["localhost", "local", "lan", "home.arpa", "internal"];
/// The addresses of networks of one's own.
const LOCAL_NETS: [(IpAddr, u8); 8] = [
    (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 8),
    (IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), 12),
    (IpAddr::V4(Ipv4Addr::new(192, 168, 0, 0)), 16),
    (IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), 16),
    (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
    (IpAddr::V6(Ipv6Addr::new(0xFC00, 0, 0, 0, 0, 0, 0, 0)), 7),
    (IpAddr::V6(Ipv6Addr::new(0xFE80, 0, 0, 0, 0, 0, 0, 0)), 10),
    (IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
];

/// What is to be made.
#[derive(Clone, Debug)]
pub struct Order {
    /// The folder of the files; it is made where it is missing.
    pub out: PathBuf,
    /// Names and addresses that the operator asks for.
    pub names: Vec<String>,
    /// What the machine calls itself.
    pub host: String,
    /// Where it is found now.
    pub addresses: Vec<IpAddr>,
    /// What the wall clock says, in seconds since 1970.
    pub wall_s: u64,
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The authority is new, and no device trusts it yet.
    pub is_new_authority: bool,
    /// SHA-256 of the authority.
    pub fingerprint: String,
    /// What the certificate is for.
    pub names: Vec<String>,
    /// What the machine is called too, and the authority may not sign for.
    pub left_out: Vec<String>,
    /// The certificate's last second, since 1970.
    pub ends_s: u64,
    /// The clock was of use. Else the certificate is valid on any day, and for longer than Apple's devices take.
    pub clock_is_set: bool,
}

impl Issued {
    /// What the operator reads: what there is now, and what to do with it, a step at a time.
    #[must_use]
    pub fn told(&self, folder: &Path) -> String {
        let Issued { fingerprint, names, left_out, .. } = self;
        let (folder, ends) = (folder.display(), date(self.ends_s));
        let mut told = String::new();
        if self.is_new_authority {
            told += &format!(
                "Made an authority, {folder}/ca.pem, and a certificate that it signs.\n做好了根证书 {folder}/ca.pem 和它签发的证书。\n"
            );
        } else {
            told += "Made a new certificate. The authority is the one that was there: devices that trust it need nothing.\n\
                     做好了新证书。根证书没有变，已经信任它的设备不用再装。\n";
        }
        told += &format!("For · 用于: {}\nUntil · 有效至: {ends}\n", names.join(", "));
        if !left_out.is_empty() {
            told += &format!(
                "Left out, since the authority was not made for it · 根证书不包含，未写入: {}\n",
                left_out.join(", ")
            );
        }
        if !self.clock_is_set {
            told += "\nThe clock of this machine is not set, so the certificate is valid from 2020 to 2049. Apple's devices refuse that: for them \
                     set the clock, move the files away, and run this again.\n\
                     本机时钟未设置，所以证书有效期是 2020 到 2049 年。苹果设备不接受：请先校准时钟，移走这些文件，再运行一次。\n";
        }
        told += &format!("\nSHA-256 of the authority · 根证书指纹:\n{fingerprint}\n");
        told += &format!(
            "\n1. Write this into the configuration · 写进配置文件:\n\n[tls]\ncert = \"{folder}/cert.pem\"\nkey = \"{folder}/key.pem\"\n\n\
             2. Restart the hub, or send it SIGHUP if it has TLS already · 重启主机程序（已经用着 TLS 的，发 SIGHUP 即可）。\n"
        );
        told += if self.is_new_authority {
            "3. On each device, once: open /trust on the hub, install the certificate, and compare the fingerprint with the one above.\n   \
             每台设备一次：打开主机的 /trust 页面，安装证书，并与上面的指纹核对。\n\
             4. Keep ca.key to yourself: a copy where it is safe, and none where it is not needed until the next certificate.\n   \
             ca.key 不要给任何人：另存一份到安全的地方，下次签发证书之前不需要留在主机上。\n"
        } else {
            "3. Nothing on the devices · 设备上什么也不用做。\n"
        };
        told
    }
}

/// Makes a certificate for the hub, and the authority that signs it, where the folder has none.
///
/// # Errors
/// One line that says what is wrong, and names the file where it is a file: none is overwritten, and none is left behind.
pub fn issue(order: &Order) -> Result<Issued, String> {
    let file = |name: &str| order.out.join(name);
    let (ca_pem, ca_key, cert_pem, key_pem) = (file("ca.pem"), file("ca.key"), file("cert.pem"), file("key.pem"));
    for path in [&cert_pem, &key_pem] {
        if is_there(path) {
            return Err(in_the_way(path));
        }
    }
    let has_authority = match (is_there(&ca_pem), is_there(&ca_key)) {
        (true, true) => true,
        (false, false) => false,
        (true, false) => return Err(alone(&ca_pem, &ca_key)),
        (false, true) => return Err(alone(&ca_key, &ca_pem)),
    };
    let clock_is_set = (CLOCK_IS_SET_S..CLOCK_IS_WRONG_S).contains(&order.wall_s);
    let period = |days: u64| {
        let starts_s = order.wall_s.saturating_sub(BEFORE_S);
        if clock_is_set { (starts_s, starts_s + days * DAY_S) } else { ANY_DAY_S }
    };
    let wanted = order.names.iter().map(|name| Name::read(name)).collect::<Result<Vec<_>, _>>()?;
    let mut names = wanted.clone();
    for name in own_names(order) {
        if !names.contains(&name) {
            names.push(name);
        }
    }

    let authority = if has_authority {
        Authority::read(&ca_pem, &ca_key)?
    } else {
        Authority::make(&names, order, period(AUTHORITY_DAYS))?
    };
    let (starts_s, ends_s) = period(SERVER_DAYS);
    let ends_s = ends_s.min(authority.ends_s);
    if ends_s <= starts_s + BEFORE_S {
        return Err(format!("the authority in {} has ended: move the files away to make another", ca_pem.display()));
    }
    let left_out = authority.refused(&names, starts_s + BEFORE_S)?;
    if let Some(name) = wanted.iter().find(|name| left_out.contains(name)) {
        return Err(format!(
            "{name}: the authority in {} was not made for it; move the files away to make another, which every device has to be told \
             to trust anew",
            ca_pem.display()
        ));
    }
    names.retain(|name| !left_out.contains(name));
    let (certificate, key) = authority.sign(&names, (starts_s, ends_s))?;

    fs::create_dir_all(&order.out).map_err(|error| format!("{} cannot be made: {error}", order.out.display()))?;
    let chain = format!("{}{}", certificate.pem(), authority.pem);
    let mut files = vec![(&key_pem, 0o600, key.serialize_pem()), (&cert_pem, 0o644, chain)];
    if !has_authority {
        files.insert(0, (&ca_pem, 0o644, authority.pem.clone()));
        files.insert(0, (&ca_key, 0o600, authority.issuer.key().serialize_pem()));
    }
    for (at, (path, mode, text)) in files.iter().enumerate() {
        if let Err(error) = write(path, *mode, text) {
            // One that was in the way is not ours, and stays.
            let ours = if error.kind() == ErrorKind::AlreadyExists { at } else { at + 1 };
            files[..ours].iter().for_each(|(path, ..)| drop(fs::remove_file(path)));
            return Err(match error.kind() {
                ErrorKind::AlreadyExists => in_the_way(path),
                _ => format!("{} cannot be written: {error}", path.display()),
            });
        }
    }
    Ok(Issued {
        is_new_authority: !has_authority,
        fingerprint: fingerprint(&authority.certificate),
        names: names.iter().map(Name::to_string).collect(),
        left_out: left_out.iter().map(Name::to_string).collect(),
        ends_s,
        clock_is_set,
    })
}

/// A link that leads nowhere is in the way too.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn in_the_way(path: &Path) -> String {
    format!("{} is there already, and is not overwritten: move it away first", path.display())
}

fn alone(there: &Path, missing: &Path) -> String {
    format!(
        "{} is there and {} is not: bring it back, or move the other away to make a new authority",
        there.display(),
        missing.display()
    )
}

/// Writes a new file to the disk itself: a board loses its power at any moment.
fn write(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

// ---- Names --------------------------------------------------------------------------------------

/// What a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Dns(DnsName<'static>),
    Address(IpAddr),
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Name::Dns(name) => f.write_str(name.as_ref()),
            Name::Address(address) => address.fmt(f),
        }
    }
}

impl Name {
    fn read(text: &str) -> Result<Name, String> {
        if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(Name::Address(address.to_canonical()));
        }
        let lower = text.to_ascii_lowercase();
        match DnsName::try_from(lower) {
            Ok(name) if !name.as_ref().ends_with('.') => Ok(Name::Dns(name)),
            _ => Err(format!("{text:?} is no name or address of a host, such as board.local or 192.168.1.5")),
        }
    }

    /// Whether every authority of ours may sign for it.
    fn is_local(&self) -> bool {
        match self {
            Name::Dns(name) => LOCAL_NAMES.iter().any(|local| {
                let before = name.as_ref().strip_suffix(local);
                before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
            }),
            Name::Address(address) => LOCAL_NETS.iter().any(|(net, bits)| match (address, net) {
                (IpAddr::V4(one), IpAddr::V4(net)) => {
                    (one.to_bits() ^ net.to_bits()).leading_zeros() >= u32::from(*bits)
                }
                (IpAddr::V6(one), IpAddr::V6(net)) => {
                    (one.to_bits() ^ net.to_bits()).leading_zeros() >= u32::from(*bits)
                }
                _ => false,
            }),
        }
    }

    fn to_subject(&self) -> Result<SanType, rcgen::Error> {
        Ok(match self {
            Name::Dns(name) => SanType::DnsName(name.as_ref().try_into()?),
            Name::Address(address) => SanType::IpAddress(*address),
        })
    }
}

/// What the machine is called without being asked, as far as that can stand in a certificate.
fn own_names(order: &Order) -> Vec<Name> {
    let host = order.host.split('.').next().unwrap_or_default();
    let host = if host.is_empty() { "localhost" } else { host };
    let names = [order.host.clone(), host.to_owned(), format!("{host}.local"), "localhost".to_owned()];
    // A browser can't open a link-local address of IPv6: it would need the name of the interface.
    let is_of_use = |address: &IpAddr| match address.to_canonical() {
        IpAddr::V4(v4) => !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_unicast_link_local(),
    };
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let addresses = order.addresses.iter().filter(|address| is_of_use(address)).chain(&loopback);
    let names = names.iter().filter_map(|name| Name::read(name).ok());
    let mut own = Vec::new();
    for name in names.chain(addresses.map(|address| Name::Address(address.to_canonical()))) {
        if !own.contains(&name) {
            own.push(name);
        }
    }
    own
}

// ---- The authority ------------------------------------------------------------------------------

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
    /// Its last second, since 1970.
    ends_s: u64,
}

impl Authority {
    /// A new one, which may sign for what local networks have, and for these.
    fn make(names: &[Name], order: &Order, period: (u64, u64)) -> Result<Authority, String> {
        let key = KeyPair::generate().map_err(library)?;
        // Who makes a second one for the same board can tell the two apart.
        let short = &fingerprint(&key.subject_public_key_info()).replace(':', "")[..8];
        let mut params = named(&format!("classhub {:.40} {short}", order.host));
        (params.not_before, params.not_after) = (time(period.0), time(period.1));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let mut permitted: Vec<_> =
            LOCAL_NAMES.iter().map(|name| GeneralSubtree::DnsName((*name).to_owned())).collect();
        let net = |address: IpAddr, bits| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, bits));
        permitted.extend(LOCAL_NETS.iter().map(|(address, bits)| net(*address, *bits)));
        permitted.extend(names.iter().filter(|name| !name.is_local()).map(|name| match name {
            Name::Dns(name) => GeneralSubtree::DnsName(name.as_ref().to_owned()),
            Name::Address(address) => net(*address, if address.is_ipv4() { 32 } else { 128 }),
        }));
        params.name_constraints =
            Some(NameConstraints { permitted_subtrees: permitted, excluded_subtrees: Vec::new() });
        let certificate = params.self_signed(&key).map_err(library)?;
        let pem = certificate.pem();
        Ok(Authority {
            issuer: Issuer::new(params, key),
            certificate: certificate.der().clone(),
            pem,
            ends_s: period.1,
        })
    }

    /// The one that is there already: devices trust it.
    fn read(certificate: &Path, key: &Path) -> Result<Authority, String> {
        let read = |path: &Path| {
            fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
        };
        let (pem, key_pem) = (read(certificate)?, read(key)?);
        let not_ours = || format!("{} is no authority that classhub made", certificate.display());
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| not_ours())?;
        let facts = Facts::read(&der).ok_or_else(not_ours)?;
        let name = facts.common_name().filter(|_| facts.signs_itself()).ok_or_else(not_ours)?;
        let key_pair =
            KeyPair::from_pem(&key_pem).map_err(|error| format!("{} is no private key: {error}", key.display()))?;
        if key_pair.subject_public_key_info() != facts.key {
            return Err(format!("{} is not the key of {}", key.display(), certificate.display()));
        }
        let mut params = named(name);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Ok(Authority { issuer: Issuer::new(params, key_pair), certificate: der, pem, ends_s: facts.ends_s })
    }

    /// A certificate for these names, and its key.
    fn sign(&self, names: &[Name], period: (u64, u64)) -> Result<(rcgen::Certificate, KeyPair), String> {
        let key = KeyPair::generate().map_err(library)?;
        // People see it in a list; what counts are the names below.
        let name = names.first().map(Name::to_string).filter(|name| name.len() <= COMMON_NAME_BYTES);
        let mut params = named(name.as_deref().unwrap_or("classhub"));
        (params.not_before, params.not_after) = (time(period.0), time(period.1));
        params.subject_alt_names = names.iter().map(Name::to_subject).collect::<Result<_, _>>().map_err(library)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        Ok((params.signed_by(&key, &self.issuer).map_err(library)?, key))
    }

    /// The names for which a browser that trusts the authority would refuse its certificate. Each is tried alone, since one that it may not sign for
    /// makes it refuse all.
    fn refused(&self, names: &[Name], at_s: u64) -> Result<Vec<Name>, String> {
        let mut refused = Vec::new();
        for name in names {
            let (certificate, _) = self.sign(std::slice::from_ref(name), (at_s, at_s + DAY_S))?;
            if !self.is_believed(certificate.der(), name, at_s)? {
                refused.push(name.clone());
            }
        }
        Ok(refused)
    }

    fn is_believed(&self, certificate: &CertificateDer, name: &Name, at_s: u64) -> Result<bool, String> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).map_err(library)?;
        let provider = Arc::new(ring::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().map_err(library)?;
        let server = match name {
            Name::Dns(name) => ServerName::DnsName(name.clone()),
            Name::Address(address) => ServerName::IpAddress((*address).into()),
        };
        let at = UnixTime::since_unix_epoch(Duration::from_secs(at_s));
        Ok(verifier.verify_server_cert(certificate, &[], &server, &[], at).is_ok())
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, DnValue::Utf8String(name.to_owned()));
    params
}

fn time(seconds: u64) -> OffsetDateTime {
    rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
}

/// What the library says of what cannot happen, but for a machine without randomness.
fn library(error: impl std::fmt::Display) -> String {
    format!("the certificate cannot be made: {error}")
}
