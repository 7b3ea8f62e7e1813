//! What belongs to one connection alone and was not sent yet.
//!
//! Owns: the bytes (replies, the close frame, an HTTP response, and room frames that had to go before them), and where in them
//! frames begin and end. Refuses to know: sockets, and what a frame says. Empty, as it nearly always is, it holds no
//! memory, and else no more than three times what is unsent.

use serde::{Deserialize, Serialize};

use crate::base::state::{Span, StateError, StateReader, StateWriter};
use crate::wire::frame;

/// What is unsent, as it is written down for the next process.
#[derive(Serialize, Deserialize)]
pub struct QueueState {
    unsent: Span,
    /// How many of these belong to what was sent in part.
    part: u64,
}

/// A connection's own queue.
#[derive(Default)]
pub struct Queue(Option<Box<Waiting>>);

/// What is in a queue that is not empty: some of it is unsent.
#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// How many of `bytes` were sent.
    sent: usize,
    /// Where the frame that was sent in part ends; at or before `sent` where nothing is in the middle.
    frame_end: usize,
}

impl Queue {
    /// Writes down what is unsent.
    pub fn save(&self, to: &mut StateWriter) -> QueueState {
        QueueState { unsent: to.put(self.unsent()), part: self.0.as_ref().map_or(0, |waiting| waiting.part() as u64) }
    }

    /// Writes down bytes that are no frames, as a part that is to be finished.
    pub fn save_part(part: &[u8], to: &mut StateWriter) -> QueueState {
        QueueState { unsent: to.put(part), part: part.len() as u64 }
    }

    /// The queue that was written down.
    ///
    /// # Errors
    /// Where it is not made of frames.
    pub fn restore(state: &QueueState, from: &mut StateReader) -> Result<Self, StateError> {
        let bytes = from.get(state.unsent)?;
        let part = usize::try_from(state.part).ok().filter(|part| *part <= bytes.len());
        let part = part.ok_or_else(|| StateError::wrong("a part that is longer than its queue"))?;
        let mut at = part;
        while at < bytes.len() {
            at += frame::whole(&bytes[at..]).ok_or_else(|| StateError::wrong("a queue that is no frames"))?;
        }
        Ok(Queue::of(Waiting { bytes, sent: 0, frame_end: part }))
    }

    fn of(waiting: Waiting) -> Self {
        Queue((!waiting.unsent().is_empty()).then(|| Box::new(waiting)))
    }

    /// Bytes that were not sent yet.
    #[must_use]
    pub fn unsent(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |waiting| waiting.unsent())
    }

    /// Whether all was sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Lets `write` append whole frames, or nothing.
    pub fn keep(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        match &mut self.0 {
            Some(waiting) => write(&mut waiting.bytes),
            None => {
                let mut waiting = Waiting::default();
                write(&mut waiting.bytes);
                *self = Queue::of(waiting);
            }
        }
    }

    /// Puts bytes that are not whole frames into the empty queue: the rest of a frame, or an HTTP response.
    ///
    /// # Panics
    /// Where the queue is not empty: the peer would read the part as the middle of something else.
    pub fn keep_part(&mut self, part: &[u8]) {
        assert!(self.is_empty(), "a part stands before all frames");
        *self = Queue::of(Waiting { bytes: part.to_vec(), sent: 0, frame_end: part.len() });
    }

    /// Notes that `count` more bytes were sent.
    pub fn advance(&mut self, count: usize) {
        if let Some(waiting) = &mut self.0 {
            waiting.advance(count);
            if waiting.unsent().is_empty() {
                self.0 = None;
            }
        }
    }

    /// Bytes beside one frame of any size: a full room's roster may be larger than the limit, and must be able to wait.
    #[must_use]
    pub fn unsent_beside_largest(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.unsent().len() - waiting.largest())
    }

    /// Forgets all but the rest of the frame that was sent in part.
    pub fn forget_whole_frames(&mut self) {
        if let Some(waiting) = &mut self.0
            && waiting.part() > 0
        {
            waiting.bytes.truncate(waiting.frame_end);
            waiting.bytes.shrink_to_fit();
        } else {
            self.0 = None;
        }
    }
}

impl Waiting {
    fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Bytes left of the frame that was sent in part.
    fn part(&self) -> usize {
        self.frame_end.saturating_sub(self.sent)
    }

    fn advance(&mut self, count: usize) {
        self.sent += count;
        while self.frame_end < self.sent {
            self.frame_end += frame::length(&self.bytes[self.frame_end..]);
        }
        // What is held follows what is owed: one who reads most of a large roster and then stops holds no more than the rest of it.
        if self.sent > self.bytes.len() / 4 {
            self.bytes.drain(..self.sent);
            self.frame_end -= self.sent;
            self.sent = 0;
            if self.bytes.capacity() > 2 * self.bytes.len() {
                self.bytes.shrink_to_fit();
            }
        }
    }

    /// The length of the largest frame, or of what is left of it.
    fn largest(&self) -> usize {
        let mut largest = self.part();
        let mut at = self.frame_end.max(self.sent);
        while at < self.bytes.len() {
            let length = frame::length(&self.bytes[at..]);
            largest = largest.max(length);
            at += length;
        }
        largest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue_of(payloads: &[usize]) -> Queue {
        let mut queue = Queue::default();
        for payload in payloads {
            queue.keep(|out| frame::append(out, frame::TEXT, |out| out.resize(out.len() + payload, b'x')));
        }
        queue
    }

    #[test]
    fn holds_no_memory_when_all_is_sent() {
        let mut queue = queue_of(&[300, 300]);
        queue.advance(100);
        assert_eq!(queue.unsent().len(), 508);
        queue.advance(508);
        assert!(queue.is_empty());
        assert!(queue.0.is_none());
        queue.keep(|_| {});
        assert!(queue.is_empty());
        assert!(queue.0.is_none());
    }

    #[test]
    fn memory_follows_what_is_unsent() {
        let mut queue = queue_of(&[1_000_000]);
        for _ in 0..99 {
            queue.advance(10_000);
            let (held, unsent) = (queue.0.as_ref().map_or(0, |waiting| waiting.bytes.capacity()), queue.unsent().len());
            assert!(held <= 3 * unsent + 4096, "{held} bytes are held for {unsent}");
        }
    }

    #[test]
    fn counts_what_stands_beside_the_largest_frame() {
        let mut queue = queue_of(&[300, 70_000, 200]);
        assert_eq!(queue.unsent_beside_largest(), 304 + 204);
        queue.advance(304 + 60_000);
        assert_eq!(queue.unsent_beside_largest(), 204);
        assert_eq!(queue_of(&[]).unsent_beside_largest(), 0);
    }

    #[test]
    fn forgets_to_the_end_of_the_frame_in_progress() {
        for sent in 0..=608 {
            let mut queue = queue_of(&[300, 300, 126]);
            queue.advance(sent);
            queue.forget_whole_frames();
            let rest = if sent % 304 == 0 { 0 } else { 304 - sent % 304 };
            assert_eq!(queue.unsent().len(), rest, "after {sent}");
        }
    }

    #[test]
    fn a_part_is_finished_before_anything_is_forgotten() {
        let mut queue = Queue::default();
        queue.keep_part(b"rest of a frame");
        queue.keep(|out| frame::append(out, frame::TEXT, |out| out.extend_from_slice(b"whole")));
        // Not sent at all as yet, and still in the middle of a frame for the peer.
        queue.forget_whole_frames();
        assert_eq!(queue.unsent(), b"rest of a frame");
    }
}
