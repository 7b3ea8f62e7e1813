//! A connection, left by one process for the next.
//!
//! Owns: which connections can be, and what of them has to outlive the process. Refuses to know: how a socket does.

use serde::{Deserialize, Serialize};

use super::{Conn, Flow, Open, Stage};
use crate::base::state::{Span, StateError, StateReader, StateWriter};
use crate::limits;
use crate::net::queue::{Queue, QueueState};
use crate::net::stream::Stream;

/// What takes 26 days at a gigabit a second, and can be added up for all connections: nobody needs to know more of it.
const WRITTEN_BYTES_MAX: u64 = 1 << 48;

/// A connection as it is written down for the next process.
#[derive(Serialize, Deserialize)]
pub struct ConnState {
    stage: StageState,
    queue: QueueState,
    written_bytes: u64,
}

#[derive(Serialize, Deserialize)]
enum StageState {
    Head(Span),
    Open,
    Closing { shut_down: bool },
}

impl<S: Stream> Conn<S> {
    /// Whether the next process can go on where this one stops: not in the middle of a frame or a message, nor under TLS, since what the libraries
    /// know of those stays with them. One that has had its last word only has to be sent it.
    #[must_use]
    pub fn is_portable(&self) -> bool {
        match &self.stage {
            Stage::Closing { .. } => true,
            _ if self.stream.is_secure() => false,
            Stage::Head(_) => true,
            Stage::Open(open) => open.decoder.is_none(),
        }
    }

    /// Writes the connection down, but for its socket. It is portable.
    pub fn save(&self, to: &mut StateWriter) -> ConnState {
        let stage = match &self.stage {
            Stage::Head(head) => StageState::Head(to.put(head)),
            Stage::Open(_) => StageState::Open,
            Stage::Closing { shut_down } => StageState::Closing { shut_down: *shut_down },
        };
        // What was encrypted goes over the wire as it is; what was not yet is lost with the keys.
        let queue =
            if self.stream.is_secure() { Queue::save_part(self.stream.held(), to) } else { self.queue.save(to) };
        ConnState { stage, queue, written_bytes: self.written_bytes }
    }

    /// The connection that was written down, on its socket, plain now if it was not. It counts as blocked until somebody says that there is room.
    pub fn restore(stream: S, Told { stage, queue, written_bytes }: Told) -> Self {
        Conn { stream, stage, queue, flow: Flow::Blocked, written_bytes }
    }

    /// The stream alone.
    pub fn into_stream(self) -> S {
        self.stream
    }
}

/// What a state tells of a connection.
pub struct Told {
    stage: Stage,
    queue: Queue,
    written_bytes: u64,
}

impl Told {
    /// Whether it speaks WebSocket, and has not had its last word.
    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open(_))
    }
}

impl ConnState {
    /// What it tells. The connection takes messages and frames of at most `message_bytes`.
    ///
    /// # Errors
    /// Where the state says what cannot be.
    pub fn read(&self, message_bytes: u32, from: &mut StateReader) -> Result<Told, StateError> {
        let stage = match self.stage {
            StageState::Head(head) => match from.get(head)? {
                head if head.len() >= limits::HEAD_BYTES => return Err(StateError::wrong("a head that is too long")),
                head => Stage::Head(head),
            },
            StageState::Open => Stage::Open(Open { decoder: None, message_bytes }),
            StageState::Closing { shut_down } => Stage::Closing { shut_down },
        };
        let queue = Queue::restore(&self.queue, from)?;
        if matches!(stage, Stage::Head(_)) && !queue.is_empty() {
            return Err(StateError::wrong("an answer to half a head"));
        }
        Ok(Told { stage, queue, written_bytes: self.written_bytes.min(WRITTEN_BYTES_MAX) })
    }
}
