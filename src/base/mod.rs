//! Small pure tools that know nothing of rooms or sockets.

mod address;
pub mod base64url;
pub mod histogram;
mod now;
mod rate;
mod slots;
pub mod state;
mod wheel;

pub use address::Address;
pub use histogram::Histogram;
pub use now::Now;
pub use rate::{Rate, Spent};
pub use slots::{Full, Key, Slots};
pub use wheel::{TICK_MS, Timer, Wheel};
