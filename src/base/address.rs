//! Where a connection comes from, as a value.
//!
//! Owns: what it is for two addresses to be the same. Refuses to know: what an address is otherwise good for.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// An address to compare with another, and no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address([u8; 16]);

impl From<IpAddr> for Address {
    /// An IPv4 address is the same however it is written (RFC 4291, section 2.5.5.2).
    fn from(address: IpAddr) -> Self {
        Address(match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        })
    }
}

#[cfg(test)]
impl Address {
    /// One of many that differ, for tests of what is built on them.
    pub fn nth(n: u32) -> Self {
        Address(u128::from(n).to_be_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_same_in_both_families() {
        let address = |text: &str| Address::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(address("10.0.0.7"), address("::ffff:10.0.0.7"));
        assert_ne!(address("10.0.0.7"), address("10.0.0.8"));
        assert_ne!(address("::1"), address("127.0.0.1"));
    }
}
