//! The exchange, seen from its members' sockets: the rules of the room log, and what is done when time passes.

mod class;
mod clocks;
mod deadlines;
mod figures;
mod guessing;
mod patience;
mod recovery;
mod reload;
mod room_log;
mod upgrade;
