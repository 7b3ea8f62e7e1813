//! Who reads a room's log, and how far each has come.
//!
//! Owns: the cursors, what is offered and to whom, who is too slow, and when a frame is let go. Refuses to know: what frames say, and who may have a seat.

use super::{Bounds, Holder, Reader, Room, Seat};
use crate::hub::log::Log;
use crate::hub::logs::Logs;
use crate::hub::outlet::Outlet;
use crate::hub::tally::Census;
use crate::wire::CloseReason;

impl Room {
    fn reader_mut(&mut self, joined_seq: u64) -> Option<(&mut Reader, &Log)> {
        let place = self.place(joined_seq)?;
        self.seats[place].reader_mut().map(|reader| {
            let log = self.logs.of(reader.is_sealed);
            (reader, log)
        })
    }

    /// Offers every seat what it has not been given (one write each, however many frames), then lets go of what is too much, ending
    /// the readers who had not passed it, and of what is older than the history and was passed by all.
    pub fn flush(&mut self, bounds: Bounds, outlet: &mut impl Outlet) {
        self.changed = false;
        let newest = self.logs.plain.seq();
        // The number up to which every reader has had all.
        let mut slowest = newest;
        // What the last of them was owed: nearly all stand at the same place.
        let mut owed: Option<Owed> = None;
        for reader in self.seats.iter_mut().filter_map(Seat::reader_mut) {
            let Owed { had, frames, .. } = match &owed {
                Some(owed) if owed.cursor == reader.cursor && owed.is_sealed == reader.is_sealed => owed,
                _ => owed.insert(Owed::of(reader, &self.logs)),
            };
            if !frames.is_empty() {
                let taken = outlet.offer(reader.connection, frames);
                reader.cursor += taken as u64;
                let all = taken == frames.len();
                let passed = if all { newest } else { self.logs.of(reader.is_sealed).passed(reader.cursor) };
                slowest = slowest.min(passed);
                self.delivered += passed - had;
            }
        }
        let plain = &mut self.logs.plain;
        plain.all_offered();
        let mut gone = plain.passed(plain.within_bytes(bounds.log_bytes));
        if slowest >= gone {
            self.earlier_log_bytes = None;
        } else if let Some(earlier) = self.earlier_log_bytes {
            gone = plain.passed(plain.within_bytes(earlier.max(bounds.log_bytes)));
        }
        if slowest < gone {
            for seat in &mut self.seats {
                let Some(reader) = seat.reader() else { continue };
                let log = self.logs.of(reader.is_sealed);
                if log.passed(reader.cursor) < gone {
                    // Its next bytes are about to go: what is left of the frame it is in goes to its own queue, and no more is owed.
                    self.delivered += u64::from(keep_rest(log, reader, outlet) > reader.cursor);
                    outlet.close(reader.connection, CloseReason::TooSlow);
                    seat.holder = Holder::Ending(reader.connection);
                }
            }
            slowest = gone;
        }
        self.logs.let_go(newest.saturating_sub(bounds.history as u64).min(slowest).max(gone));
        if self.tidy {
            // Somebody came back, and nothing was said: nobody looks after the room's buffer until something is.
            self.logs.shrink();
        }
    }

    /// Offers one seat what it is owed, or a slice of it. Says whether all that was offered was taken, and whether that was anything.
    pub fn offer(&mut self, joined_seq: u64, bytes_max: usize, outlet: &mut impl Outlet) -> Offered {
        let Some((reader, log)) = self.reader_mut(joined_seq) else { return Offered::Nothing };
        let slice = log.slice(reader.cursor, bytes_max);
        if slice.is_empty() {
            return Offered::Nothing;
        }
        let (taken, before) = (outlet.offer(reader.connection, slice), log.passed(reader.cursor));
        reader.cursor += taken as u64;
        let offered = if taken < slice.len() { Offered::Blocked } else { Offered::Taken };
        self.delivered += log.passed(reader.cursor) - before;
        offered
    }

    /// Whether the reader in this seat was given a part of a frame and not the rest.
    pub fn is_inside_frame(&self, joined_seq: u64) -> bool {
        let reader = self.seat(joined_seq).and_then(Seat::reader);
        reader.is_some_and(|reader| self.logs.of(reader.is_sealed).frame_end(reader.cursor) != reader.cursor)
    }

    /// How far the reader in this seat has come.
    pub fn cursor(&self, joined_seq: u64) -> Option<u64> {
        self.seat(joined_seq).and_then(Seat::reader).map(|reader| reader.cursor)
    }

    /// Adds what there is in this room.
    pub fn count_into(&self, census: &mut Census) {
        let (held, buffers) = self.logs.bytes();
        let lingering = self.lingering().filter(|lingers| *lingers).count() as u64;
        census.rooms += 1;
        census.present += self.seats.len() as u64 - lingering;
        census.lingering += lingering;
        census.log_bytes += held;
        census.log_buffer_bytes += buffers;
        let plain = &self.logs.plain;
        let offered = plain.end() - plain.unoffered_bytes();
        for reader in self.seats.iter().filter_map(Seat::reader) {
            // The plain log's size alone decides who is too slow.
            let cursor = match reader.is_sealed {
                true => plain.after(self.logs.of(true).passed(reader.cursor)).unwrap_or(offered),
                false => reader.cursor,
            };
            let lag_bytes = offered.saturating_sub(cursor);
            census.lag_bytes = census.lag_bytes.max(lag_bytes);
            census.lagging += u64::from(lag_bytes > 0);
        }
    }

    /// Moves what is left of the frame that this reader is in to its connection's own queue.
    pub fn keep_rest(&mut self, joined_seq: u64, outlet: &mut impl Outlet) {
        if let Some((reader, log)) = self.reader_mut(joined_seq) {
            let end = keep_rest(log, reader, outlet);
            let before = std::mem::replace(&mut reader.cursor, end);
            self.delivered += u64::from(end > before);
        }
    }

    /// Gives this reader all it is owed: what the socket does not take moves to the connection's own queue.
    pub fn settle(&mut self, joined_seq: u64, outlet: &mut impl Outlet) {
        let Some((reader, log)) = self.reader_mut(joined_seq) else { return };
        let owed = log.since(reader.cursor);
        if owed.is_empty() {
            return;
        }
        let before = log.passed(reader.cursor);
        reader.cursor += outlet.offer(reader.connection, owed) as u64;
        reader.cursor = keep_rest(log, reader, outlet);
        let owed = log.since(reader.cursor);
        if !owed.is_empty() {
            outlet.keep(reader.connection, |own| own.extend_from_slice(owed));
            reader.cursor = log.end();
        }
        self.delivered += log.seq() - before;
    }

    /// Ends the reader in this seat; it is owed nothing more but the rest of the frame it is in.
    pub fn end_reader(&mut self, joined_seq: u64, outlet: &mut impl Outlet) {
        let Some(place) = self.place(joined_seq) else { return };
        let seat = &mut self.seats[place];
        if let Some(reader) = seat.reader() {
            self.delivered += u64::from(keep_rest(self.logs.of(reader.is_sealed), reader, outlet) > reader.cursor);
            seat.holder = Holder::Ending(reader.connection);
        }
    }
}

/// What a reader is owed, and whoever stands where it does.
struct Owed<'a> {
    is_sealed: bool,
    cursor: u64,
    /// The number of the last frame that it has had to its end.
    had: u64,
    frames: &'a [u8],
}

impl<'a> Owed<'a> {
    fn of(reader: &Reader, logs: &'a Logs) -> Self {
        let Reader { is_sealed, cursor, .. } = *reader;
        let log = logs.of(is_sealed);
        Owed { is_sealed, cursor, had: log.passed(cursor), frames: log.since(cursor) }
    }
}

/// What came of an offer to one seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hub) enum Offered {
    /// The seat was owed nothing.
    Nothing,
    /// All that was offered was taken.
    Taken,
    /// The connection takes no more for now.
    Blocked,
}

/// Moves the rest of the frame that `reader` is in, if it is in one, and says where the next begins.
fn keep_rest(log: &Log, reader: &Reader, outlet: &mut impl Outlet) -> u64 {
    let end = log.frame_end(reader.cursor);
    if end != reader.cursor {
        let rest = &log.since(reader.cursor)[..(end - reader.cursor) as usize];
        outlet.keep_rest(reader.connection, rest);
    }
    end
}
