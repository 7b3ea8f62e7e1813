//! How it travels: sockets, HTTP as far as the upgrade, WebSocket, and the turn in which all of it happens.

pub mod conn;
mod connections;
pub mod exchange;
pub mod http;
mod queue;
mod refusals;
mod server;
mod stream;
mod target;
#[cfg(feature = "tls")]
mod tls;
mod transport;
mod unsent;

pub use refusals::Refusal;
#[cfg(feature = "tls")]
pub use server::ReadCertificates;
pub use server::{BindError, Server};
pub use stream::Stream;
#[cfg(feature = "tls")]
pub use tls::TlsStream;
pub use transport::Transport;
