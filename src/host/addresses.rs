//! Where people find the hub: the URLs to write on the blackboard.
//!
//! Owns: which of the machine's addresses a listener answers on, and how they are written.
//! Refuses to know: sockets. A name such as `board.local` is not promised: whether it resolves is
//! the network's business.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// A scheme, and the port that its URLs leave out.
type Scheme = (&'static str, u16);

const HTTP: Scheme = ("http", 80);
const HTTPS: Scheme = ("https", 443);

/// The machine's addresses as they are now: DHCP may give one long after the start, and take it away. It asks the kernel. There are none where the
/// kernel does not tell.
#[must_use]
pub fn of_machine() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    // An interface without a cable or an access point keeps its address, but nobody gets there.
    interfaces.iter().filter(|i| i.is_oper_up()).map(if_addrs::Interface::ip).collect()
}

/// What the machine calls itself; empty where it has no name.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The URLs at which listeners can be opened on a machine with these `addresses`, given where they
/// are `bound` (with their real ports). A listener on all addresses is found at `localhost` and at each of them that somebody else can reach, IPv4 first since it is shorter to
/// type; one on a specific address is found there. Nothing is said twice.
#[must_use]
pub fn urls(bound: &[SocketAddr], addresses: &[IpAddr]) -> Vec<String> {
    found_among(HTTP, bound, addresses).into_iter().map(|found| found.url).collect()
}

/// The same for listeners that speak TLS.
#[must_use]
pub fn secure_urls(bound: &[SocketAddr], addresses: &[IpAddr]) -> Vec<String> {
    found_among(HTTPS, bound, addresses).into_iter().map(|found| found.url).collect()
}

/// Those of [`urls`] at which somebody else gets to the hub: what to show to a class. There may be none.
#[must_use]
pub fn urls_for_others(bound: &[SocketAddr], addresses: &[IpAddr]) -> Vec<String> {
    found_among(HTTP, bound, addresses).into_iter().filter(|found| found.for_others).map(|found| found.url).collect()
}

/// The same for listeners that speak TLS.
#[must_use]
pub fn secure_urls_for_others(bound: &[SocketAddr], addresses: &[IpAddr]) -> Vec<String> {
    found_among(HTTPS, bound, addresses).into_iter().filter(|found| found.for_others).map(|found| found.url).collect()
}

/// One place where a listener can be found.
struct Found {
    url: String,
    for_others: bool,
}

fn found_among(scheme: Scheme, bound: &[SocketAddr], addresses: &[IpAddr]) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    let mut add = |url: String, for_others: bool| {
        if !found.iter().any(|found| found.url == url) {
            found.push(Found { url, for_others });
        }
    };
    for listener in bound {
        let port = listener.port();
        if !listener.ip().is_unspecified() {
            add(url(scheme, &host(listener.ip()), port), is_for_others(&listener.ip()));
            continue;
        }
        add(url(scheme, "localhost", port), false);
        let reachable = || addresses.iter().filter(|address| is_for_others(address));
        for address in reachable().filter(|address| address.is_ipv4()) {
            add(url(scheme, &host(*address), port), true);
        }
        // `[::]` answers IPv4 too, but `0.0.0.0` answers nothing else.
        if listener.is_ipv6() {
            for address in reachable().filter(|address| address.is_ipv6()) {
                add(url(scheme, &host(*address), port), true);
            }
        }
    }
    found
}

/// A browser cannot open a link-local IPv6 address: it would need the name of the interface.
fn is_for_others(address: &IpAddr) -> bool {
    let is_link_local = |v6: &Ipv6Addr| v6.is_unicast_link_local();
    !address.to_canonical().is_loopback()
        && !address.is_unspecified()
        && !matches!(address, IpAddr::V6(v6) if is_link_local(v6))
}

fn host(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

fn url((scheme, default_port): Scheme, host: &str, port: u16) -> String {
    if port == default_port { format!("{scheme}://{host}") } else { format!("{scheme}://{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A board on a LAN, as the machine lists its addresses.
    const BOARD: [&str; 6] = ["127.0.0.1", "::1", "2001:db8::7", "192.168.1.5", "fe80::1", "10.0.0.2"];

    fn on_board(bound: &[&str]) -> Vec<String> {
        let bound: Vec<SocketAddr> = bound.iter().map(|text| text.parse().unwrap()).collect();
        urls(&bound, &BOARD.map(|text| text.parse().unwrap()))
    }

    #[test]
    fn all_addresses_are_localhost_then_ipv4_then_ipv6() {
        assert_eq!(
            on_board(&["[::]:9000"]),
            ["http://localhost:9000", "http://192.168.1.5:9000", "http://10.0.0.2:9000", "http://[2001:db8::7]:9000"]
        );
    }

    #[test]
    fn all_of_ipv4_is_no_ipv6() {
        assert_eq!(
            on_board(&["0.0.0.0:9000"]),
            ["http://localhost:9000", "http://192.168.1.5:9000", "http://10.0.0.2:9000"]
        );
    }

    #[test]
    fn a_specific_address_is_just_that_one() {
        assert_eq!(on_board(&["10.0.0.2:9001"]), ["http://10.0.0.2:9001"]);
        assert_eq!(on_board(&["127.0.0.1:9001"]), ["http://127.0.0.1:9001"]);
        assert_eq!(on_board(&["[2001:db8::7]:9001"]), ["http://[2001:db8::7]:9001"]);
        assert_eq!(on_board(&["[::ffff:10.0.0.2]:9001"]), ["http://10.0.0.2:9001"]);
    }

    #[test]
    fn port_80_is_left_out() {
        assert_eq!(on_board(&["10.0.0.2:80", "[2001:db8::7]:80"]), ["http://10.0.0.2", "http://[2001:db8::7]"]);
    }

    #[test]
    fn tls_has_a_scheme_and_a_port_of_its_own() {
        let bound: Vec<SocketAddr> = ["10.0.0.2:443", "[::1]:80"].map(|text| text.parse().unwrap()).into();
        assert_eq!(secure_urls(&bound, &[]), ["https://10.0.0.2", "https://[::1]:80"]);
        assert_eq!(secure_urls_for_others(&bound, &[]), ["https://10.0.0.2"]);
    }

    #[test]
    fn nothing_is_said_twice() {
        assert_eq!(on_board(&["0.0.0.0:9000", "10.0.0.2:9000"]).len(), 3);
    }

    #[test]
    fn a_machine_without_a_network_still_has_itself() {
        assert_eq!(urls(&["[::]:9000".parse().unwrap()], &[]), ["http://localhost:9000"]);
    }

    #[test]
    fn others_are_told_what_they_can_reach() {
        let for_others = |bound: &[&str], addresses: &[&str]| {
            let bound: Vec<SocketAddr> = bound.iter().map(|text| text.parse().unwrap()).collect();
            let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
            urls_for_others(&bound, &addresses)
        };
        assert_eq!(
            for_others(&["[::]:9000"], &BOARD),
            ["http://192.168.1.5:9000", "http://10.0.0.2:9000", "http://[2001:db8::7]:9000"]
        );
        assert_eq!(for_others(&["127.0.0.1:9000", "10.0.0.2:80"], &BOARD), ["http://10.0.0.2"]);
        assert_eq!(for_others(&["[::ffff:127.0.0.1]:9000", "10.0.0.2:1"], &[]), ["http://10.0.0.2:1"]);
        assert!(for_others(&["[::]:9000"], &["127.0.0.1", "fe80::1"]).is_empty());
        assert!(for_others(&["127.0.0.1:9000", "[::1]:80"], &BOARD).is_empty());
    }

    #[test]
    fn this_machine_can_be_asked() {
        // Wherever tests run, there is loopback.
        assert!(of_machine().iter().any(IpAddr::is_loopback));
    }
}
