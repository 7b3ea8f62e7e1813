//! The service manager: what it is told, and what it hands over.
//!
//! Owns: the variables of the environment by which systemd, or whatever speaks as it does, says that it is there. Refuses to know: what is served.
//! A hub that nobody manages finds none of them, and does nothing here.
//!
//! There is no library of systemd's in it: what it asks for is a datagram of text here, and a few numbers there, which are promised to stay
//! as they are.

pub mod manager;
mod notify;
pub mod sockets;

pub use manager::{Count, Manager};
pub use sockets::HandedOver;

use std::ffi::OsString;

/// Where a variable of the environment is looked up; a test has one of its own.
type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// The number in a variable; `None` where there is no such variable.
fn number(environment: Environment, name: &str) -> Option<Result<u64, String>> {
    let value = environment(name)?;
    let number = value.to_str().and_then(|text| text.parse().ok());
    Some(number.ok_or_else(|| format!("{name} is {value:?} in the environment, and should be a number")))
}

/// Whether a variable that names a process names this one. Where it names another, what is beside it was meant for that one, and came here with the
/// environment.
fn is_for_us(environment: Environment, name: &str) -> Option<bool> {
    Some(number(environment, name)? == Ok(std::process::id().into()))
}
