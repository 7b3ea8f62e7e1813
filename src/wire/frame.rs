//! WebSocket frames as bytes (RFC 6455, section 5.2).
//!
//! Owns: the header that the hub writes, and how far a frame reaches in bytes that stream by.
//! Refuses to know: what a frame says. Checking what a client sends is the library's.

/// The first byte of a whole text frame.
pub const TEXT: u8 = 0x81;
/// The first byte of a whole binary frame.
pub const BINARY: u8 = 0x82;

/// The longest header that a server sends.
const HEADER_MAX: usize = 10;
/// The header of 126 to 65,535 bytes of payload, which nearly all frames of a room have.
const HEADER_USUAL: usize = 4;

/// Appends one whole frame to `out`; `write` appends the payload, which is not moved unless it is shorter
/// than 126 bytes or longer than 65,535. `first` is [`TEXT`] or [`BINARY`].
pub fn append(out: &mut Vec<u8>, first: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_USUAL]);
    write(out);
    let (header, length) = header(first, out.len() - start - HEADER_USUAL);
    let header = &header[..length];
    match length {
        HEADER_USUAL => out[start..start + HEADER_USUAL].copy_from_slice(header),
        _ => drop(out.splice(start..start + HEADER_USUAL, header.iter().copied())),
    }
}

/// The header of a whole, unmasked frame with `payload` bytes, and how many of its bytes count.
fn header(first: u8, payload: usize) -> ([u8; HEADER_MAX], usize) {
    let mut header = [first, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let length = match payload {
        0..=125 => {
            header[1] = payload as u8;
            2
        }
        126..=0xFFFF => {
            header[1] = 126;
            header[2..4].copy_from_slice(&(payload as u16).to_be_bytes());
            4
        }
        _ => {
            header[1] = 127;
            header[2..10].copy_from_slice(&(payload as u64).to_be_bytes());
            10
        }
    };
    (header, length)
}

/// The length of the frame of ours that starts `bytes`, header and payload.
///
/// # Panics
/// Where the header is cut short: it is asked only about frames that [`append`] or the library wrote whole.
#[must_use]
pub fn length(bytes: &[u8]) -> usize {
    match bytes[1] {
        127 => {
            // The slice has eight bytes.
            let payload = u64::from_be_bytes(bytes[2..10].try_into().unwrap());
            10 + payload as usize
        }
        126 => 4 + usize::from(u16::from_be_bytes([bytes[2], bytes[3]])),
        short => 2 + usize::from(short),
    }
}

/// The payload of the frame of ours that `bytes` are.
///
/// # Panics
/// As [`length`].
#[must_use]
pub fn payload(bytes: &[u8]) -> &[u8] {
    let header = match bytes[1] {
        127 => 10,
        126 => 4,
        _ => 2,
    };
    &bytes[header..length(bytes)]
}

/// The length of the first frame in `bytes`, where all of it is there. It looks before it reads, for what is not known to be ours.
#[must_use]
pub fn whole(bytes: &[u8]) -> Option<usize> {
    let header = match bytes.get(1)? {
        127 => 10,
        126 => 4,
        _ => 2,
    };
    bytes.get(..header)?;
    // No longer than what is in memory, whatever it says of itself.
    let payload = match header {
        10 => usize::try_from(u64::from_be_bytes(bytes[2..10].try_into().ok()?)).ok()?,
        _ => length(bytes) - header,
    };
    let length = header.checked_add(payload)?;
    (length <= bytes.len()).then_some(length)
}

/// Follows a client's frames as their bytes stream by, to know where each ends. It judges nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter {
    /// The header so far; a client's is at most 14 bytes.
    header: [u8; 14],
    held: u8,
    /// Payload still to come; meant only once the header is complete.
    payload: u64,
    complete: bool,
}

impl Meter {
    /// How many of `bytes` belong to the frame in progress (or the next), and whether it ends with them.
    pub fn advance(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut taken = 0;
        while !self.complete {
            let Some(&byte) = bytes.get(taken) else { return (taken, false) };
            self.header[usize::from(self.held)] = byte;
            self.held += 1;
            taken += 1;
            self.read_header();
        }
        let payload = self.payload.min((bytes.len() - taken) as u64);
        self.payload -= payload;
        let ends = self.payload == 0;
        if ends {
            *self = Meter::default();
        }
        // Not more than `bytes.len()`, a usize.
        (taken + payload as usize, ends)
    }

    fn read_header(&mut self) {
        if self.held < 2 {
            return;
        }
        let extended = match self.header[1] & 0x7F {
            127 => 8,
            126 => 2,
            _ => 0,
        };
        let mask = if self.header[1] & 0x80 == 0 { 0 } else { 4 };
        if usize::from(self.held) < 2 + extended + mask {
            return;
        }
        self.complete = true;
        self.payload = match extended {
            0 => u64::from(self.header[1] & 0x7F),
            n => self.header[2..2 + n].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_as_short_as_they_must_be() {
        for (payload, header) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 0xFF, 0xFF]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = b"before".to_vec();
            append(&mut out, TEXT, |out| out.resize(out.len() + payload, b'x'));
            let frame = &out[6..];
            assert_eq!(frame[..header.len()], header[..]);
            assert_eq!(frame.len(), header.len() + payload);
            assert!(frame[header.len()..].iter().all(|byte| *byte == b'x'));
            assert_eq!(length(frame), frame.len());
            assert_eq!(super::payload(frame).len(), payload);
        }
    }

    #[test]
    fn a_frame_is_whole_or_it_is_not() {
        for payload in [0, 1, 125, 126, 65_535, 65_536] {
            let mut frame = Vec::new();
            append(&mut frame, TEXT, |out| out.resize(out.len() + payload, b'x'));
            for cut in (0..frame.len().min(12)).chain([frame.len() - 1]) {
                assert_eq!(whole(&frame[..cut]), None, "{cut} of {}", frame.len());
            }
            let length = frame.len();
            frame.push(7);
            assert_eq!(whole(&frame), Some(length));
        }
        assert_eq!(whole(&[TEXT, 127, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1]), None);
    }

    #[test]
    fn a_meter_finds_every_end_whatever_the_pieces() {
        let mut stream = Vec::new();
        let mut ends = Vec::new();
        for payload in [0usize, 1, 125, 126, 300, 65_535, 65_536] {
            let (header, length) = header(BINARY, payload);
            stream.extend_from_slice(&header[..length]);
            let masked = stream.len() - length + 1;
            stream[masked] |= 0x80;
            stream.extend_from_slice(&[1, 2, 3, 4]);
            stream.resize(stream.len() + payload, 7);
            ends.push(stream.len());
        }
        for piece in [1, 2, 3, 7, 1000, 1 << 20] {
            let mut meter = Meter::default();
            let mut found = Vec::new();
            let mut at = 0;
            while at < stream.len() {
                let (taken, ended) = meter.advance(&stream[at..stream.len().min(at + piece)]);
                at += taken;
                if ended {
                    found.push(at);
                }
            }
            assert_eq!(found, ends, "in pieces of {piece}");
        }
    }
}
