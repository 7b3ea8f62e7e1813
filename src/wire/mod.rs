//! What is said: the words of PROTOCOL.md, read and written.
//!
//! Requests are read where they lie, in the message that carried them; replies and broadcasts are
//! written as whole frames, once, whoever reads them.

mod close;
mod content;
mod failure;
mod field;
pub mod frame;
mod member;
pub mod reply;
pub mod request;
pub mod seal;

pub use close::{CloseReason, LeaveReason};
pub use failure::{Code, Failure};
pub use member::Member;
pub use request::Request;
