//! The load generator: many members on one thread.
//!
//! Owns: their sockets, the poll, and how much each has heard. Refuses to know: which server is at the other end, what a workload is, and what time means.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::frames::Frames;
use crate::segments;
use crate::wire;

/// How long anything may take before the run has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// A socket is read into this, once each time that the poll tells of it, as long as that fills it.
const READ_BYTES: usize = 256 * 1024;

/// Why a run is no figure.
pub type Failed = Box<dyn std::error::Error>;

/// One member, as the server's peer.
pub struct Member {
    /// Its place, by which it is known; its id is made of it.
    pub n: usize,
    /// Where it sits.
    pub room: usize,
    /// Text frames that it has heard.
    pub heard: u64,
    stream: TcpStream,
    frames: Frames,
    /// What has come of the answer to its upgrade; `None` once that is over.
    head: Option<Vec<u8>>,
    /// It has asked for the end itself.
    pub leaves: bool,
    /// The server has said that it closes, or has.
    closed: bool,
}

impl Member {
    /// Notes the end, and says whether it came unasked and for the first time.
    fn is_closed_unasked(&mut self) -> bool {
        !std::mem::replace(&mut self.closed, true) && !self.leaves
    }

    /// Says something, whole.
    pub fn say(&mut self, frame: &[u8]) -> io::Result<()> {
        let count = self.stream.write(frame)?;
        if count < frame.len() {
            return Err(io::Error::new(ErrorKind::WriteZero, "a socket did not take a whole message"));
        }
        Ok(())
    }

    /// Has `each` of [`Load::turn`] look at so much of what it hears from now on.
    pub fn listen_to(&mut self, telling_bytes: usize) {
        self.frames.telling_bytes = telling_bytes;
    }
}

/// All members.
pub struct Load {
    poll: Poll,
    events: Events,
    addr: SocketAddr,
    authority: String,
    buffer: Box<[u8]>,
    /// Everyone, by number.
    pub members: Vec<Option<Member>>,
    /// Text frames that all have heard, those who are gone too.
    pub heard: u64,
    /// Bytes of all that came.
    pub bytes: u64,
    opened: usize,
    /// Members who were closed and did not ask for it.
    closed: usize,
}

/// What a member hears.
pub enum Heard<'a> {
    /// Its upgrade was granted.
    Open,
    /// A text frame, and the beginning of it.
    Text(&'a [u8]),
    /// The server closes.
    Close,
    /// The end.
    End,
}

impl Load {
    /// Nobody yet, and all for this server.
    pub fn new(addr: SocketAddr) -> io::Result<Load> {
        Ok(Load {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            addr,
            authority: addr.to_string(),
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            members: Vec::new(),
            heard: 0,
            bytes: 0,
            opened: 0,
            closed: 0,
        })
    }

    /// Lets this process have as many sockets as it may, which all workloads need.
    pub fn raise_open_files() -> io::Result<()> {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
    }

    /// Connects member `n`, who asks for the upgrade at once.
    pub fn connect(&mut self, n: usize, room: usize) -> io::Result<()> {
        // On loopback this takes no longer than the handshake of the kernel with itself.
        let stream = std::net::TcpStream::connect(self.addr)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        self.poll.registry().register(&mut stream, Token(n), Interest::READABLE)?;
        let mut member = Member {
            n,
            room,
            heard: 0,
            stream,
            frames: Frames::default(),
            head: Some(Vec::new()),
            leaves: false,
            closed: false,
        };
        member.say(wire::upgrade(&self.authority).as_bytes())?;
        if self.members.len() <= n {
            self.members.resize_with(n + 1, || None);
        }
        self.members[n] = Some(member);
        Ok(())
    }

    /// Lets a member go.
    pub fn drop(&mut self, n: usize) {
        self.members[n] = None;
    }

    /// Connects members who then join, so many at once, `room_of` saying where. Returns when all have been told of all.
    pub fn fill(
        &mut self,
        numbers: std::ops::Range<usize>,
        together: usize,
        room_of: impl Fn(usize) -> usize,
    ) -> Result<(), Failed> {
        let numbers: Vec<usize> = numbers.collect();
        let mut seats = vec![0u64; numbers.iter().map(|n| room_of(*n) + 1).max().unwrap_or(0)];
        for batch in numbers.chunks(together) {
            let opened = self.opened + batch.len();
            for n in batch {
                self.connect(*n, room_of(*n))?;
            }
            self.until("the upgrades", |load| load.opened == opened)?;
            // Everyone who is in a room hears of each who comes after, and each hears of itself.
            let mut heard = self.heard;
            for n in batch {
                let room = room_of(*n);
                seats[room] += 1;
                heard += seats[room];
                let Some(member) = &mut self.members[*n] else { continue };
                member.say(&wire::join(*n, room))?;
            }
            self.until("the joins", |load| load.heard >= heard)?;
            if self.heard > heard {
                return Err(format!("joins were told of {} times, not {heard}", self.heard).into());
            }
        }
        Ok(())
    }

    /// Turns until something is so.
    pub fn until(&mut self, what: &str, is_so: impl Fn(&Load) -> bool) -> Result<(), Failed> {
        let end = Instant::now() + PATIENCE;
        while !is_so(self) {
            self.turn(Some(Duration::from_millis(100)), &mut |_, _| Ok(()))?;
            if Instant::now() > end {
                return Err(format!("{what} took more than {} s", PATIENCE.as_secs()).into());
            }
        }
        Ok(())
    }

    /// Waits until something has come, or for `timeout`, and has `each` hear it: of those who listen every frame, of the others the upgrade and the end.
    ///
    /// # Errors
    /// Where somebody was closed whom `each` knew nothing of, and what `each` says is wrong.
    pub fn turn(
        &mut self,
        timeout: Option<Duration>,
        each: &mut impl FnMut(&mut Member, Heard) -> io::Result<()>,
    ) -> Result<(), Failed> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        let Load { events, members, buffer, heard, bytes, opened, closed, .. } = self;
        for event in &*events {
            // Whoever is gone by now may yet have an event here.
            let Some(Some(member)) = members.get_mut(event.token().0) else { continue };
            loop {
                let count = match member.stream.read(buffer) {
                    Ok(count) => count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(_) => 0,
                };
                if count == 0 {
                    *closed += usize::from(member.is_closed_unasked());
                    each(member, Heard::End)?;
                    break;
                }
                *bytes += count as u64;
                let mut rest = &buffer[..count];
                if let Some(head) = &mut member.head {
                    head.extend_from_slice(rest);
                    let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else { break };
                    if !head.starts_with(b"HTTP/1.1 101 ") {
                        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
                        return Err(format!("an upgrade was refused: {}", String::from_utf8_lossy(line)).into());
                    }
                    rest = &rest[rest.len() - (head.len() - end - 4)..];
                    member.head = None;
                    *opened += 1;
                    each(member, Heard::Open)?;
                }
                let mut frames = std::mem::take(&mut member.frames);
                let mut said = Ok(());
                let before = member.heard;
                if frames.telling_bytes == 0 {
                    frames.take(rest, |opcode, _| match opcode {
                        0x1 => member.heard += 1,
                        0x8 => *closed += usize::from(member.is_closed_unasked()),
                        _ => {}
                    });
                } else {
                    frames.take(rest, |opcode, payload| {
                        let what = match opcode {
                            0x1 => {
                                member.heard += 1;
                                Heard::Text(payload)
                            }
                            0x8 => {
                                *closed += usize::from(member.is_closed_unasked());
                                Heard::Close
                            }
                            _ => return,
                        };
                        if said.is_ok() {
                            said = each(member, what);
                        }
                    });
                }
                *heard += member.heard - before;
                // What it listens to may have changed as it listened.
                frames.telling_bytes = frames.telling_bytes.max(member.frames.telling_bytes);
                member.frames = frames;
                said?;
                // A short read has taken all; whatever comes after it is another event.
                if count < buffer.len() && !event.is_read_closed() {
                    break;
                }
            }
        }
        if self.closed > 0 {
            return Err(format!("{} members were closed", self.closed).into());
        }
        Ok(())
    }

    /// Segments with data that have come to all who are here: on loopback one for each write of the server, up to 64 KiB.
    pub fn segments(&self) -> Option<u64> {
        self.members.iter().flatten().map(|member| segments::received(&member.stream)).sum()
    }
}
