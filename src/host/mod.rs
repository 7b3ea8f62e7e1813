//! The machine it lives on: what the operator decided, and what the machine knows.
//!
//! Owns: arguments, the configuration file, the log, the machine's addresses, its clocks and its
//! randomness, the certificates that it shows, the service manager that runs it, and what it tells of how it is doing.
//! Refuses to know: how anything travels (`net`), and what a room is beyond the settings of one.

pub mod addresses;
#[cfg(feature = "tls")]
pub mod certificates;
pub mod cli;
pub mod clock;
pub mod config;
pub mod descriptors;
pub mod files;
pub mod inherited;
pub mod logging;
pub mod metrics;
pub mod secret;
pub mod status;
pub mod systemd;
pub mod tokens;
pub mod upgrade;
