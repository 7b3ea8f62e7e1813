//! The hub of a classroom, as a library. The binary beside it only reads its arguments.
//!
//! A house of floors; each imports only from those above it in this list:
//!
//! | floor | what it is |
//! |---|---|
//! | [`limits`] | every size and period, a reason each, and the sum of memory they allow |
//! | [`base`] | small pure tools: the time as a value, fixed slabs, the timer wheel, token buckets |
//! | [`wire`] | what is said: requests, replies, frames, close reasons |
//! | [`hub`] | what it means: rooms, seats, the room log. No socket, no clock, no logging |
//! | [`page`] | the classroom page, embedded, and the QR code that leads to it |
//! | [`host`] | the machine it lives on: arguments, configuration, clocks, addresses, the log, the metrics, the service manager |
//! | [`net`] | how it travels: one connection, plain or under TLS, HTTP to the upgrade, the turn, the poll loop |
//!
//! **The heart** is one log per room and one cursor per seat. A room's broadcasts are wire bytes, encoded once and appended to one buffer;
//! a seat is an offset in it. At the end of a turn each seat of a changed room is offered what lies between its cursor and the end: one write
//! per member and turn, however many frames came, with no copy and no queue per member. A slow reader's cursor lags; when its bytes have to be
//! let go, it is too slow and is closed, so that a room's memory does not depend on how many of its members are slow.
//!
//! **A seat outlives its connection.** Its holder is a connection with a cursor, or nobody while it lingers. Whoever comes back becomes the holder,
//! with a cursor behind the last frame that it saw: the replay is what flushing does anyway, and the room sees nothing. What shows that a seat
//! is one's own is a MAC, so that the hub keeps nothing for those who are gone.
//!
//! **Sealed is the same.** Members who speak sealed read a second log of the same frames under the same numbers, for as long as there are any; under TLS
//! a socket is a stream as any other, which takes no more than it can send.
//!
//! **Everything has a size.** Connections and rooms live in slabs of fixed capacity ([`base::Slots`]), ids, numbers and a connection's seats in places
//! of their own (heapless). These tables are reserved at once and touched when used. What a room holds grows to its limits with those who come and with
//! what is said, and what is to spare is given back when it is quiet: a thousand small rooms cost what is in them.
//!
//! **One program follows another.** Between two turns the hub and its connections can be written down ([`net::exchange::Exchange::save`]) and read
//! again by another process, or by the next program in this one: a document of what everybody is, and beside it the rooms' frames as they are
//! ([`base::state`]). What the operator wants to be different by then is applied as to any running hub.
//!
//! **A turn** begins when the poll returns and uses one reading of the clocks. The one thread accepts, reads each ready connection once, lets the
//! hub do what each message means, lets deadlines expire, and ends by closing whoever is to go and flushing whatever changed
//! ([`net::exchange::Exchange`]). The hub never sees a connection: its effects are calls on an [`hub::Outlet`], in the order of the wire.

pub mod base;
pub mod host;
pub mod hub;
pub mod limits;
pub mod net;
pub mod page;
pub mod wire;
