//! What one process leaves for the next: bytes, and a document that says what they are.
//!
//! Owns: the layout, its version, and the check that all of it is there and nothing was changed. Refuses to know: what the document says, and in
//! what kind of file it lies.
//!
//! The bytes stand first, as they are: rooms' frames, which would only grow as text. Behind them the document, as JSON, so that a later program may
//! know more fields, or fewer; and last a trailer of fixed size, so that all of it is written in one go and none of it held in memory twice.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Counts the meanings that a state has had. A field more that may be missing is the same meaning.
pub const VERSION: u32 = 1;

const MAGIC: [u8; 12] = *b"classhub\0st\n";
const HASH_BYTES: usize = 32;
/// Where the document is and how long, the version, the hash of all before it, and what shows that this is one of ours.
const TRAILER_BYTES: usize = 8 + 8 + 4 + HASH_BYTES + MAGIC.len();
const HASHED_OF_TRAILER: usize = 8 + 8 + 4;

/// Where some bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    at: u64,
    bytes: u64,
}

/// Why a state is of no use.
#[derive(Debug)]
pub enum StateError {
    /// It cannot be read.
    Io(io::Error),
    /// It is nothing that this program ever wrote.
    NotAState,
    /// Some of it was changed, or is missing.
    Damaged,
    /// It means what only another version of the program knows.
    Version(u32),
    /// It says what cannot be; which of it.
    Wrong(String),
}

impl StateError {
    /// That something in the document cannot be.
    pub fn wrong(what: impl Into<String>) -> StateError {
        StateError::Wrong(what.into())
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateError::Io(error) => write!(f, "it cannot be read: {error}"),
            StateError::NotAState => write!(f, "it is not a state of classhub's"),
            StateError::Damaged => write!(f, "it is damaged"),
            StateError::Version(version) => write!(f, "it is of version {version}, and this program reads {VERSION}"),
            StateError::Wrong(what) => write!(f, "it says what cannot be: {what}"),
        }
    }
}

impl std::error::Error for StateError {}

impl From<io::Error> for StateError {
    fn from(error: io::Error) -> Self {
        StateError::Io(error)
    }
}

/// Writes a state. That writing fails is told once, at its end.
pub struct StateWriter<'a> {
    to: &'a mut dyn Write,
    hash: Sha256,
    at: u64,
    failed: Option<io::Error>,
}

impl<'a> StateWriter<'a> {
    /// Begins a state at the beginning of an empty file.
    pub fn new(to: &'a mut dyn Write) -> Self {
        StateWriter { to, hash: Sha256::new(), at: 0, failed: None }
    }

    /// Writes some bytes. Where they are is for the document to say.
    pub fn put(&mut self, bytes: &[u8]) -> Span {
        let span = Span { at: self.at, bytes: bytes.len() as u64 };
        self.hash.update(bytes);
        self.at += span.bytes;
        if self.failed.is_none() {
            self.failed = self.to.write_all(bytes).err();
        }
        span
    }

    /// Writes the document, and ends the state.
    ///
    /// # Errors
    /// Where any of it could not be written, or the document is none.
    pub fn finish(mut self, document: &impl Serialize) -> io::Result<()> {
        let document = serde_json::to_vec(document)?;
        let Span { at, bytes } = self.put(&document);
        for part in [&at.to_le_bytes()[..], &bytes.to_le_bytes(), &VERSION.to_le_bytes()] {
            self.put(part);
        }
        let hash = self.hash.clone().finalize();
        self.put(&hash);
        self.put(&MAGIC);
        self.failed.map_or(Ok(()), Err)
    }
}

/// What can be read at any place: a file, or a cursor in memory.
pub trait Source: Read + Seek {}

impl<T: Read + Seek> Source for T {}

/// Reads the bytes of a state, whose document says where they are.
pub struct StateReader<'a> {
    from: &'a mut dyn Source,
    /// Where the document begins.
    end: u64,
}

impl<'a> StateReader<'a> {
    /// Checks a state, and reads its document.
    ///
    /// # Errors
    /// [`StateError`] says why it is of no use.
    pub fn open<T: DeserializeOwned>(from: &'a mut dyn Source) -> Result<(Self, T), StateError> {
        let length = from.seek(SeekFrom::End(0))?;
        let body = length.checked_sub(TRAILER_BYTES as u64).ok_or(StateError::NotAState)?;
        from.seek(SeekFrom::Start(body))?;
        let mut trailer = [0; TRAILER_BYTES];
        from.read_exact(&mut trailer)?;
        let mut rest = &trailer[..];
        let at = u64::from_le_bytes(take(&mut rest));
        let bytes = u64::from_le_bytes(take(&mut rest));
        let version = u32::from_le_bytes(take(&mut rest));
        let hash: [u8; HASH_BYTES] = take(&mut rest);
        if rest != MAGIC {
            return Err(StateError::NotAState);
        }
        let mut hashed = Sha256::new();
        from.seek(SeekFrom::Start(0))?;
        let mut left = body;
        let mut buffer = [0; 16 * 1024];
        while left > 0 {
            let part = &mut buffer[..left.min(16 * 1024) as usize];
            from.read_exact(part)?;
            hashed.update(&*part);
            left -= part.len() as u64;
        }
        hashed.update(&trailer[..HASHED_OF_TRAILER]);
        if hashed.finalize()[..] != hash || at.checked_add(bytes) != Some(body) {
            return Err(StateError::Damaged);
        }
        if version != VERSION {
            return Err(StateError::Version(version));
        }
        let mut reader = StateReader { from, end: body };
        let document = reader.get(Span { at, bytes })?;
        reader.end = at;
        let document = String::from_utf8(document).map_err(|_| StateError::wrong("a document that is no text"))?;
        let document = serde_json::from_str(&document).map_err(|error| StateError::wrong(error.to_string()))?;
        Ok((reader, document))
    }

    /// The bytes that were written there.
    ///
    /// # Errors
    /// Where none were, or they cannot be read any more.
    pub fn get(&mut self, span: Span) -> Result<Vec<u8>, StateError> {
        let Span { at, bytes } = span;
        if at.checked_add(bytes).is_none_or(|end| end > self.end) {
            return Err(StateError::wrong(format!("{bytes} bytes at {at}, of {}", self.end)));
        }
        self.from.seek(SeekFrom::Start(at))?;
        // Within the file, and so within what memory a file takes that lies in memory.
        let mut there = vec![0; usize::try_from(bytes).map_err(|_| StateError::wrong("too long"))?];
        self.from.read_exact(&mut there)?;
        Ok(there)
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (first, more) = rest.split_first_chunk().expect("a trailer has a fixed size");
    *rest = more;
    *first
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Document {
        frames: Span,
        nothing: Span,
        name: String,
    }

    fn written() -> Vec<u8> {
        let mut file = Vec::new();
        let mut writer = StateWriter::new(&mut file);
        let (frames, nothing) = (writer.put(b"\0\xFFframes"), writer.put(b""));
        writer.finish(&Document { frames, nothing, name: "教室".into() }).unwrap();
        file
    }

    fn read(file: Vec<u8>) -> Result<(Document, Vec<u8>), StateError> {
        let mut file = Cursor::new(file);
        let (mut reader, document): (_, Document) = StateReader::open(&mut file)?;
        assert!(reader.get(document.nothing)?.is_empty());
        let frames = reader.get(document.frames)?;
        Ok((document, frames))
    }

    #[test]
    fn what_was_written_is_read() {
        let (document, frames) = read(written()).unwrap();
        assert_eq!((document.name.as_str(), &frames[..]), ("教室", &b"\0\xFFframes"[..]));
    }

    #[test]
    fn nothing_can_be_changed_or_cut_off_unseen() {
        let file = written();
        for place in 0..file.len() {
            let mut changed = file.clone();
            changed[place] ^= 1;
            assert!(matches!(read(changed), Err(StateError::Damaged | StateError::NotAState)), "byte {place}");
            assert!(read(file[..place].to_vec()).is_err(), "cut off at {place}");
            assert!(read(file[place + 1..].to_vec()).is_err(), "begun behind {place}");
        }
    }

    #[test]
    fn another_version_is_named() {
        let mut file = written();
        let body = file.len() - TRAILER_BYTES;
        file[body + 16..body + 20].copy_from_slice(&7u32.to_le_bytes());
        let hash = Sha256::digest(&file[..body + HASHED_OF_TRAILER]);
        file[body + 20..body + 52].copy_from_slice(&hash);
        let error = read(file).unwrap_err();
        assert_eq!(error.to_string(), "it is of version 7, and this program reads 1");
    }

    #[test]
    fn bytes_that_are_not_there_are_an_error() {
        let mut file = Vec::new();
        let mut writer = StateWriter::new(&mut file);
        writer.put(b"four");
        writer.finish(&()).unwrap();
        let mut file = Cursor::new(file);
        let (mut reader, ()) = StateReader::open(&mut file).unwrap();
        for (at, bytes) in [(0, 5), (4, 1), (u64::MAX, 1), (1, u64::MAX)] {
            assert!(matches!(reader.get(Span { at, bytes }), Err(StateError::Wrong(_))), "{bytes} at {at}");
        }
    }

    #[test]
    fn a_full_disk_is_told_at_the_end() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut full = Full;
        let mut writer = StateWriter::new(&mut full);
        writer.put(b"frames");
        assert_eq!(writer.finish(&()).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
