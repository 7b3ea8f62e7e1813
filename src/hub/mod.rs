//! What it means: rooms, seats and members. No socket, no clock, no logging: an event, the time and an [`Outlet`] in, effects out.

mod apply;
mod asked;
mod auth;
mod deadlines;
mod guesses;
#[allow(clippy::module_inception)] // the hub's own name, as in the rest of the project
mod hub;
mod join;
mod jwt;
mod log;
mod logs;
mod moderation;
mod outlet;
mod peer;
mod requests;
mod room;
mod rule;
mod seals;
mod settings;
mod state;
mod tally;
mod token;

pub use self::hub::Hub;
pub use jwt::{Claims, TokenKey, is_clock_unset};
pub use outlet::Outlet;
pub use peer::Part;
pub use settings::{Passcode, RoomSettings, SealKeySettings, Settings};
pub use state::{HubState, PeerState};
pub use tally::{Census, Tally};
pub use token::Secret;
