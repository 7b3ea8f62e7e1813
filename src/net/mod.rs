//! How it travels: sockets, HTTP as far as the upgrade, WebSocket, and the turn in which all of it happens.

mod access;
pub mod conn;
mod connections;
pub mod exchange;
mod faults;
mod fields;
mod handshake;
pub mod http;
mod listeners;
mod queue;
mod refusals;
mod reload;
mod response;
mod running;
mod server;
mod signals;
mod stream;
mod target;
#[cfg(feature = "tls")]
mod tls;
mod transport;
mod unsent;
mod upgrade;

pub use listeners::{BindError, Listen};
pub use refusals::Refusal;
pub use running::ReadConfig;
pub use server::Server;
pub use stream::Stream;
#[cfg(feature = "tls")]
pub use tls::TlsStream;
pub use transport::Transport;
pub use upgrade::Unusable;
