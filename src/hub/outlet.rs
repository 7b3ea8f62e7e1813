//! Where the hub's words go.
//!
//! Owns: the contract between the hub, which knows what is owed to whom, and whoever holds the connections. It is how the hub's
//! effects come out, and all that it knows of a connection. Refuses to know: sockets.

use crate::base::Key;
use crate::wire::CloseReason;

/// Takes bytes for connections. Both lists that make up what a connection is sent, its rooms' logs and its own queue, pass through
/// here, and the order of calls is the order on the wire.
pub trait Outlet {
    /// Offers frames from a room's log, to be written now or not at all. Says how many bytes were taken. Fewer than were offered
    /// means that the connection is blocked (or broken), and that the rest stays where it is: in the log.
    fn offer(&mut self, to: Key, bytes: &[u8]) -> usize;

    /// Lets `write` append whole frames to the connection's own queue. Whatever of its rooms has to stand before them is there
    /// already: see [`Outlet::keep_rest`].
    fn keep(&mut self, to: Key, write: impl FnOnce(&mut Vec<u8>));

    /// Moves the rest of a frame, whose beginning was taken by [`Outlet::offer`], to the connection's own queue, which is empty.
    fn keep_rest(&mut self, to: Key, rest: &[u8]);

    /// Sends the connection a ping, behind its own queue. As with [`Outlet::keep`], no room frame is in progress.
    fn ping(&mut self, to: Key);

    /// Offers a blocked connection's own queue to its socket once more, though nobody said that there is room. Says whether any of it
    /// was taken, `None` where it was not blocked. What its rooms owe it can be offered again.
    fn retry(&mut self, to: Key) -> Option<bool>;

    /// How many bytes have been sent to the connection of all that were taken for it; `None` where none is held back. It grows only where the
    /// peer takes something.
    fn sent_bytes(&mut self, to: Key) -> Option<u64>;

    /// The connection is to end: its owner ends it, and tells the hub ([`crate::hub::Hub::depart`]), before the turn is over. The
    /// first reason given counts.
    fn close(&mut self, who: Key, reason: CloseReason);
}
