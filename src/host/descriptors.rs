//! How many files and sockets this process may have open.
//!
//! Owns: raising the soft limit that a shell or service manager gives (often 1,024) to what the hub needs. Refuses to know: what for.

use std::fmt;

use rustix::process::{Resource, getrlimit, setrlimit};

/// Listeners, poll, signals, standard streams, the spare one: a few dozen at most.
const BESIDE_CONNECTIONS: u64 = 128;

/// There are fewer descriptors than connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What the system lets this process have.
    pub allowed: u64,
    /// What the configured number of connections needs.
    pub needed: u64,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Missing { allowed, needed } = self;
        write!(
            f,
            "the system allows {allowed} open files, and limits.connections needs {needed}: the last are turned away"
        )
    }
}

impl std::error::Error for Missing {}

/// How many files and sockets a hub of that many connections may have open.
#[must_use]
pub const fn needed(connections: u64) -> u64 {
    connections + crate::limits::SPARE_CONNECTIONS as u64 + BESIDE_CONNECTIONS
}

/// Raises the limit as far as `connections` need it.
///
/// # Errors
/// [`Missing`] where the hard limit is lower than that; then everything up to it is allowed.
pub fn raise(connections: u64) -> Result<(), Missing> {
    let needed = needed(connections);
    let mut limit = getrlimit(Resource::Nofile);
    let allowed = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    if allowed(limit.current) >= needed {
        return Ok(());
    }
    let wanted = needed.min(allowed(limit.maximum));
    limit.current = Some(wanted);
    let raised = setrlimit(Resource::Nofile, limit).is_ok();
    let allowed = if raised { wanted } else { allowed(getrlimit(Resource::Nofile).current) };
    if allowed < needed { Err(Missing { allowed, needed }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raises_as_far_as_it_may_and_says_what_is_missing() {
        let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        assert_eq!(raise(8), Ok(()));
        assert!(getrlimit(Resource::Nofile).current.is_none_or(|current| current >= 8));
        if hard < u64::MAX / 2 {
            let Err(missing) = raise(hard) else { panic!("more than the hard limit") };
            assert_eq!(missing.allowed, hard);
            assert!(missing.to_string().contains(&hard.to_string()));
        }
    }
}
