//! A server's frames, by their lengths.
//!
//! Owns: finding where each frame of a stream ends, however the stream is cut, and the beginning of its payload where somebody looks.
//! Refuses to know: what a payload means. For most members a frame is skipped unseen: the generator must cost less than what it measures.

/// Where a stream stands.
#[derive(Default)]
pub struct Frames {
    /// So much of each payload is kept for whoever looks; 0 where nobody does.
    pub telling_bytes: usize,
    head: [u8; 10],
    head_bytes: usize,
    /// The payload's bytes that have not come; `None` between frames.
    left: Option<usize>,
    /// What was kept of a payload that came in parts.
    kept: Vec<u8>,
}

impl Frames {
    /// Takes what has come. `each` is given the opcode of every frame that is whole now, and the beginning of its payload.
    pub fn take(&mut self, mut bytes: &[u8], mut each: impl FnMut(u8, &[u8])) {
        loop {
            let left = match self.left {
                Some(left) => left,
                None => match self.header(&mut bytes) {
                    Some(length) => length,
                    None => return,
                },
            };
            let opcode = self.head[0] & 0xf;
            if bytes.len() >= left && self.kept.is_empty() {
                let (payload, rest) = bytes.split_at(left);
                each(opcode, &payload[..left.min(self.telling_bytes)]);
                bytes = rest;
            } else {
                let taken = left.min(bytes.len());
                let wanted = self.telling_bytes - self.kept.len();
                self.kept.extend_from_slice(&bytes[..taken.min(wanted)]);
                bytes = &bytes[taken..];
                if taken < left {
                    self.left = Some(left - taken);
                    return;
                }
                each(opcode, &self.kept);
                self.kept.clear();
            }
            self.left = None;
            self.head_bytes = 0;
        }
    }

    /// The length that the next header tells, once it is whole. A server's frames are not masked.
    fn header(&mut self, bytes: &mut &[u8]) -> Option<usize> {
        loop {
            let needed = match (self.head_bytes, self.head[1]) {
                (0 | 1, _) => 2,
                (_, 126) => 4,
                (_, 127) => 10,
                _ => 2,
            };
            if self.head_bytes >= needed {
                let number = |range: std::ops::Range<usize>| {
                    self.head[range].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
                };
                return Some(match self.head[1] {
                    126 => number(2..4),
                    127 => number(2..10),
                    length => usize::from(length),
                });
            }
            let taken = bytes.len().min(needed - self.head_bytes);
            if taken == 0 {
                return None;
            }
            self.head[self.head_bytes..self.head_bytes + taken].copy_from_slice(&bytes[..taken]);
            self.head_bytes += taken;
            *bytes = &bytes[taken..];
        }
    }
}
