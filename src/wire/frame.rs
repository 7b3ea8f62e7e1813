//! WebSocket frames as bytes (RFC 6455, section 5.2).
//!
//! Owns: the header that the hub writes, and how far a frame reaches in bytes that stream by.
//! Refuses to know: what a frame says. Checking what a client sends is the library's.

/// The first byte of a whole text frame.
pub const TEXT: u8 = 0x81;
/// The first byte of a whole binary frame.
pub const BINARY: u8 = 0x82;

/// In the second byte of a header: whether the payload is masked, and how long it is or how its length is written.
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7F;

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

/// What the header that starts `bytes` says: how long it is, but for a mask, and how much payload follows. `None` where it is cut short.
fn read_header(bytes: &[u8]) -> Option<(usize, u64)> {
    let (first, rest) = bytes.split_first_chunk::<2>()?;
    Some(match first[1] & LENGTH {
        127 => (10, u64::from_be_bytes(*rest.first_chunk()?)),
        126 => (4, u16::from_be_bytes(*rest.first_chunk()?).into()),
        short => (2, short.into()),
    })
}

/// The header of a frame of ours. It is asked only about frames that [`append`] or the library wrote whole.
fn own_header(bytes: &[u8]) -> (usize, usize) {
    let (header, payload) = read_header(bytes).expect("a frame of ours is whole");
    (header, payload as usize) // it is in memory
}

/// The length of the frame of ours that starts `bytes`, header and payload.
///
/// # Panics
/// Where the header is cut short.
#[must_use]
pub fn length(bytes: &[u8]) -> usize {
    let (header, payload) = own_header(bytes);
    header + payload
}

/// The payload of the frame of ours that `bytes` are.
///
/// # Panics
/// As [`length`], or where the payload is cut short.
#[must_use]
pub fn payload(bytes: &[u8]) -> &[u8] {
    let (header, payload) = own_header(bytes);
    &bytes[header..][..payload]
}

/// The length of the first frame in `bytes`, where all of it is there. It looks before it reads, for what is not known to be ours.
#[must_use]
pub fn whole(bytes: &[u8]) -> Option<usize> {
    let (header, payload) = read_header(bytes)?;
    // A server masks nothing. A frame is no longer than what is in memory, whatever it says of itself.
    let length = header.checked_add(usize::try_from(payload).ok()?)?;
    (bytes[1] & MASKED == 0 && length <= bytes.len()).then_some(length)
}

/// Follows a client's frames as their bytes stream by, to know where each ends. It judges nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter {
    /// The beginning of a header that has come in part; a client's is at most 14 bytes.
    begun: [u8; 14],
    begun_bytes: u8,
    /// Payload still to come; `None` before the header is complete.
    payload: Option<u64>,
}

impl Meter {
    /// How many of `bytes` belong to the frame in progress (or the next), and whether it ends with them.
    pub fn advance(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut taken = 0;
        let mut payload = loop {
            if let Some(payload) = self.payload {
                break payload;
            }
            let begun = usize::from(self.begun_bytes);
            if begun == 0
                && let Some((header, payload)) = client_header(bytes)
            {
                // It is all there, as nearly always, and is read where it lies.
                taken = header;
                break payload;
            }
            let Some(&byte) = bytes.get(taken) else { return (taken, false) };
            self.begun[begun] = byte;
            self.begun_bytes += 1;
            taken += 1;
            self.payload = client_header(&self.begun[..=begun]).map(|(_, payload)| payload);
        };
        let here = payload.min((bytes.len() - taken) as u64);
        payload -= here;
        let ends = payload == 0;
        *self = if ends { Meter::default() } else { Meter { payload: Some(payload), ..*self } };
        // Not more than `bytes.len()`, a usize.
        (taken + here as usize, ends)
    }
}

/// The same as [`read_header`] with the mask, where there is one.
fn client_header(bytes: &[u8]) -> Option<(usize, u64)> {
    let (header, payload) = read_header(bytes)?;
    let length = header + if bytes[1] & MASKED == 0 { 0 } else { 4 };
    (length <= bytes.len()).then_some((length, payload))
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
        let mut masked = vec![TEXT, MASKED | 3, 0, 0, 0, 0, b'a', b'b', b'c'];
        assert_eq!(whole(&masked), None, "a server masks nothing");
        masked[1] = 3;
        assert_eq!(whole(&masked), Some(5));
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
