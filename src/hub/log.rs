//! The frames of one room, as they go over the wire.
//!
//! Owns: the bytes of every frame that the room holds, encoded once and contiguous, where each starts, and what was offered
//! to the seats so far. Refuses to know: who reads them; a reader is an offset that somebody else keeps.
//!
//! Offsets are absolute, from the room's first frame on, so that a cursor means the same before and after the buffer is
//! compacted. Appending never lets anything go: whoever flushes knows the slowest reader, and says what may go (rule 5 of the
//! room log in the project's design: a reader must be ended before its bytes are).

use std::collections::VecDeque;

use crate::wire::frame;

/// Grown in steps of a quarter, not by doubling, so that a room's memory stays near its frames; but not in small ones. A step moves the log, and what
/// it leaves behind is too small for the next one that grows: where many rooms fill at once, their holes would add up to half of their frames. What is
/// reserved and not written takes no memory, and is given back when the room is quiet.
const GROWTH_MIN: usize = 32 * 1024;

/// A room's frames.
#[derive(Default)]
pub struct Log {
    /// What is held, behind a prefix that was let go of and not yet compacted away.
    bytes: Vec<u8>,
    /// The absolute offset of `bytes[0]`.
    base: u64,
    /// The absolute offset of each frame held, the oldest first.
    starts: VecDeque<u64>,
    /// The number of the newest frame; 0 before the first.
    seq: u64,
    /// All before this offset was offered to every seat.
    offered: u64,
}

impl Log {
    /// The number of the newest frame, held or not; 0 before the first.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The offset behind the newest frame.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// The offset of the oldest frame held.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.starts.front().copied().unwrap_or_else(|| self.end())
    }

    /// How many frames are held.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.starts.len()
    }

    /// Bytes in frames that are held.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.end() - self.start()
    }

    /// Bytes that the buffer takes, used or not.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// A log whose next frame is the one behind `seq`.
    #[must_use]
    pub fn behind(seq: u64) -> Self {
        Log { seq, ..Log::default() }
    }

    /// A log that holds these frames, the last of which is number `seq`, all of which were offered; `None` where they are not whole frames, or
    /// more than there can have been.
    #[must_use]
    pub fn restore(seq: u64, bytes: Vec<u8>) -> Option<Self> {
        let mut starts = VecDeque::new();
        let mut at = 0;
        while at < bytes.len() {
            starts.push_back(at as u64);
            at += frame::whole(&bytes[at..])?;
        }
        (starts.len() as u64 <= seq).then_some(Log { offered: bytes.len() as u64, base: 0, bytes, starts, seq })
    }

    /// Appends the next frame, whose payload `write` appends, with room for `payload_max` bytes of it. `first` is [`frame::TEXT`] or
    /// [`frame::BINARY`].
    pub fn append(&mut self, first: u8, payload_max: usize, write: impl FnOnce(&mut Vec<u8>)) {
        self.starts.push_back(self.end());
        self.seq += 1;
        let wanted = payload_max + 16;
        if self.bytes.capacity() - self.bytes.len() < wanted {
            self.bytes.reserve_exact(wanted.max(self.bytes.len() / 4).max(GROWTH_MIN));
        }
        frame::append(&mut self.bytes, first, write);
    }

    /// The offset behind frame `seq`, where a reader that has seen it goes on; `None` where frames after it were let go of, or it
    /// has yet to come.
    #[must_use]
    pub fn after(&self, seq: u64) -> Option<u64> {
        let newer = usize::try_from(self.seq.checked_sub(seq)?).ok()?;
        let at = self.starts.len().checked_sub(newer)?;
        Some(self.starts.get(at).copied().unwrap_or_else(|| self.end()))
    }

    /// Frame `seq`, where it is held.
    #[must_use]
    pub fn frame(&self, seq: u64) -> Option<&[u8]> {
        let start = self.after(seq.checked_sub(1)?).filter(|start| *start < self.end())?;
        Some(&self.bytes[self.place(start)..self.place(self.frame_end(start + 1))])
    }

    /// All from `cursor` on. A cursor stands between [`Log::start`] and [`Log::end`].
    #[must_use]
    pub fn since(&self, cursor: u64) -> &[u8] {
        &self.bytes[self.place(cursor)..]
    }

    /// The number of the last frame that a reader at `cursor` has had to its end, held or not.
    #[must_use]
    pub fn passed(&self, cursor: u64) -> u64 {
        if cursor >= self.end() {
            // Where nearly all stand nearly always.
            return self.seq;
        }
        let whole = self.starts.partition_point(|start| *start <= cursor).saturating_sub(1);
        self.seq - (self.starts.len() - whole) as u64
    }

    /// From `cursor` to the end of a frame: at most `bytes_max`, but at least to the end of the first.
    #[must_use]
    pub fn slice(&self, cursor: u64, bytes_max: usize) -> &[u8] {
        let reach = cursor.saturating_add(bytes_max as u64);
        let end = if self.end() <= reach {
            self.end()
        } else {
            let within_reach = self.starts.partition_point(|start| *start <= reach);
            let last = within_reach.checked_sub(1).and_then(|last| self.starts.get(last).copied());
            last.filter(|start| *start > cursor).unwrap_or_else(|| self.frame_end(cursor + 1))
        };
        &self.bytes[self.place(cursor)..self.place(end)]
    }

    /// The end of the frame that `cursor` stands in; `cursor` itself between frames.
    #[must_use]
    pub fn frame_end(&self, cursor: u64) -> u64 {
        if cursor >= self.end() {
            return self.end();
        }
        let next = self.starts.partition_point(|start| *start < cursor);
        self.starts.get(next).copied().unwrap_or_else(|| self.end())
    }

    /// Bytes that were appended since the seats were offered what there was.
    #[must_use]
    pub fn unoffered_bytes(&self) -> u64 {
        self.end() - self.offered.max(self.base)
    }

    /// Notes that every seat was offered all there is.
    pub fn all_offered(&mut self) {
        self.offered = self.end();
    }

    /// The offset from which at most `bytes_max` are held: what is before it is too much.
    #[must_use]
    pub fn within_bytes(&self, bytes_max: u64) -> u64 {
        let from = self.end().saturating_sub(bytes_max);
        if from <= self.start() { self.start() } else { self.frame_end(from) }
    }

    /// Lets go of every frame up to number `seq`, and compacts the buffer once what is dead is as large as what lives.
    pub fn let_go(&mut self, seq: u64) {
        let kept = usize::try_from(self.seq.saturating_sub(seq)).unwrap_or(usize::MAX);
        if kept < self.starts.len() {
            self.starts.drain(..self.starts.len() - kept);
            let dead = self.start() - self.base;
            if dead >= self.held_bytes() {
                self.compact();
            }
        }
    }

    /// Gives back what the buffer has to spare.
    pub fn shrink(&mut self) {
        self.compact();
        self.bytes.shrink_to_fit();
        self.starts.shrink_to_fit();
    }

    fn compact(&mut self) {
        let dead = self.place(self.start());
        self.bytes.drain(..dead);
        self.base += dead as u64;
    }

    fn place(&self, offset: u64) -> usize {
        debug_assert!(offset >= self.base && offset <= self.end(), "a stale cursor");
        (offset - self.base) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A log of frames with payloads of these sizes; each frame is 4 bytes longer.
    fn log_of(payloads: &[usize]) -> Log {
        let mut log = Log::default();
        for (n, payload) in payloads.iter().enumerate() {
            log.append(frame::TEXT, *payload, |out| out.resize(out.len() + payload, b'a' + (n % 26) as u8));
        }
        log
    }

    #[test]
    fn a_new_log_is_empty() {
        let log = Log::default();
        assert_eq!((log.seq(), log.start(), log.end(), log.frames()), (0, 0, 0, 0));
        assert!(log.since(0).is_empty());
        assert!(log.slice(0, 100).is_empty());
    }

    #[test]
    fn appending_never_lets_go() {
        let mut log = log_of(&[200; 1000]);
        assert_eq!((log.seq(), log.frames(), log.held_bytes()), (1000, 1000, 204_000));
        log.let_go(log.passed(log.within_bytes(10_000)));
        assert_eq!((log.seq(), log.frames(), log.held_bytes()), (1000, 49, 49 * 204));
        assert_eq!(log.start(), 951 * 204);
    }

    #[test]
    fn frames_end_where_the_next_begins() {
        let log = log_of(&[200, 300]);
        assert_eq!([0, 203, 204, 507, 508].map(|cursor| log.passed(cursor)), [0, 0, 1, 1, 2]);
        assert_eq!(log.frame_end(0), 0);
        assert_eq!(log.frame_end(1), 204);
        assert_eq!(log.frame_end(203), 204);
        assert_eq!(log.frame_end(204), 204);
        assert_eq!(log.frame_end(205), 508);
        assert_eq!(log.frame_end(508), 508);
    }

    #[test]
    fn a_slice_ends_with_a_frame_and_has_at_least_one() {
        let log = log_of(&[200, 200, 5000, 200]);
        assert_eq!(log.slice(0, 500).len(), 408);
        assert_eq!(log.slice(0, 408).len(), 408);
        assert_eq!(log.slice(100, 10).len(), 104);
        assert_eq!(log.slice(408, 500).len(), 5004);
        assert_eq!(log.slice(0, 1 << 20).len(), log.since(0).len());
        assert!(log.slice(log.end(), 500).is_empty());
    }

    #[test]
    fn a_frame_is_found_by_its_number_for_as_long_as_it_is_held() {
        let mut log = log_of(&[200, 300, 400]);
        assert_eq!([0, 1, 2, 3, 4].map(|seq| log.after(seq)), [Some(0), Some(204), Some(508), Some(912), None]);
        assert_eq!(
            [0, 1, 2, 3, 4].map(|seq| log.frame(seq).map(<[u8]>::len)),
            [None, Some(204), Some(304), Some(404), None]
        );
        log.let_go(1);
        log.shrink();
        assert_eq!([0, 1, 2, 3, 4].map(|seq| log.after(seq)), [None, Some(204), Some(508), Some(912), None]);
        assert_eq!([1, 2, u64::MAX].map(|seq| log.frame(seq).map(<[u8]>::len)), [None, Some(304), None]);
        log.let_go(log.seq());
        assert_eq!(log.passed(log.end()), 3);
        assert_eq!([2, 3, 4].map(|seq| log.after(seq)), [None, Some(912), None]);
        assert_eq!(Log::default().after(0), Some(0));
    }

    #[test]
    fn what_was_not_offered_is_counted() {
        let mut log = log_of(&[200, 200]);
        assert_eq!(log.unoffered_bytes(), 408);
        log.all_offered();
        assert_eq!(log.unoffered_bytes(), 0);
        log.append(frame::TEXT, 200, |out| out.resize(out.len() + 200, 0));
        assert_eq!(log.unoffered_bytes(), 204);
    }

    #[test]
    fn the_buffer_follows_what_is_held() {
        let mut log = log_of(&[200; 1000]);
        log.let_go(log.seq() - 10);
        log.let_go(5);
        assert_eq!(log.frames(), 10);
        log.shrink();
        assert_eq!(log.buffer_bytes() as u64, log.held_bytes());
    }

    #[test]
    fn a_log_may_begin_behind_another() {
        let mut log = Log::behind(7);
        assert_eq!((log.seq(), log.passed(0), log.after(7), log.after(6)), (7, 7, Some(0), None));
        log.append(frame::BINARY, 200, |out| out.resize(out.len() + 200, 0));
        assert_eq!(
            (log.seq(), log.passed(0), log.passed(204), log.after(7), log.after(8)),
            (8, 7, 8, Some(0), Some(204))
        );
        assert_eq!(log.frame(8).map(|frame| frame[0]), Some(frame::BINARY));
    }

    proptest! {
        /// Whatever is appended and let go, a cursor within what is held reads the same bytes as in a log that keeps everything.
        #[test]
        fn reads_as_if_nothing_had_gone(steps in prop::collection::vec((126usize..2000, 0u64..6000, any::<bool>()), 1..80)) {
            let mut log = Log::default();
            let mut all = Vec::new();
            for (payload, keep, shrink) in steps {
                let fill = payload as u8;
                log.append(frame::TEXT, payload, |out| out.resize(out.len() + payload, fill));
                frame::append(&mut all, frame::TEXT, |out| out.resize(out.len() + payload, fill));
                log.let_go(log.passed(log.within_bytes(keep)));
                if shrink {
                    log.shrink();
                }
                prop_assert_eq!(log.end(), all.len() as u64);
                prop_assert!(log.held_bytes() <= keep);
                for cursor in log.start()..=log.end() {
                    prop_assert_eq!(log.since(cursor), &all[cursor as usize..]);
                }
                // Never more than twice what lives, but for the step by which it grew.
                prop_assert!(log.bytes.len() as u64 <= 2 * log.held_bytes().max(1));
            }
        }
    }
}
