//! The system's randomness.
//!
//! Owns: the one system call. Refuses to know: what the secret is for. Whoever needs chance is handed it, so that a test can hand out its own.

use std::io;

use rustix::rand::{GetRandomFlags, getrandom};

use crate::hub::Secret;

/// Draws a secret. Waits where the system has just started and has gathered no randomness yet.
///
/// # Errors
/// Where the kernel has no `getrandom`.
pub fn draw() -> io::Result<Secret> {
    let mut secret = Secret::default();
    let mut drawn = 0;
    while drawn < secret.len() {
        match getrandom(&mut secret[drawn..], GetRandomFlags::empty()) {
            Err(rustix::io::Errno::INTR) => {}
            result => drawn += result?,
        }
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_two_secrets_are_alike() {
        assert_ne!(super::draw().unwrap(), super::draw().unwrap());
    }
}
