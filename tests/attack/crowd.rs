//! Clients that mean harm, hundreds of them, driven by one thread.
//!
//! Owns: what each sends, how fast, whether it reads, what it does when it is sent away, and the count of what they got rid of. Refuses to know:
//! what it does to anybody else.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

/// Written and read at once, before it is the next one's turn.
const CHUNK: usize = 64 * 1024;

/// What one of them does.
#[derive(Clone, Debug, Default)]
pub struct Villain {
    /// Sent once, at the beginning.
    pub opening: Vec<u8>,
    /// Sent behind it over and over, as fast as the hub takes it.
    pub then: Vec<u8>,
    /// One byte of the opening so often, where it is not sent at once.
    pub byte_every: Option<Duration>,
    /// It reads what it is sent, and throws it away.
    pub reads: bool,
    /// With a small receive buffer, which is soon full.
    pub narrow: bool,
    /// It ends the connection itself after so long: one that does not read can't know that the hub has.
    pub stays_for: Option<Duration>,
    /// How long it waits before it comes back.
    pub pause: Duration,
    /// What it does once the connection has ended.
    pub at_end: AtEnd,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AtEnd {
    /// It hangs up.
    #[default]
    Go,
    /// It does not even hang up.
    Stay,
    /// It comes back, as a new connection.
    Again,
}

/// What they did, all together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Connections that were made.
    pub connected: u64,
    /// Those that the hub has ended.
    pub ended: u64,
    /// Bytes that the hub, or the kernel for it, has taken.
    pub sent_bytes: u64,
    /// Bytes that were read from it.
    pub read_bytes: u64,
}

/// A crowd at work.
pub struct Crowd {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Tally>,
}

impl Crowd {
    pub fn start(hub: SocketAddr, villains: Vec<Villain>) -> Crowd {
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            // Those would have processors of their own: here, the hub's and the class's come first.
            let _as_it_is = rustix::process::nice(5);
            Work::new(hub, villains).run(&stopped)
        });
        Crowd { stop, thread }
    }

    /// Ends all of them, and says what they did.
    pub fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("nothing that the hub does makes it fail")
    }
}

struct Work {
    hub: SocketAddr,
    poll: Poll,
    posts: Vec<Post>,
    tally: Tally,
    buffer: Vec<u8>,
}

/// One villain, and the connection that it has at the moment.
struct Post {
    does: Villain,
    stream: Option<TcpStream>,
    /// Bytes of the opening, and then of `then`, that were sent.
    sent: usize,
    is_connected: bool,
    can_write: bool,
    can_read: bool,
    /// The hub has ended its side, as the poll says,
    has_ended: bool,
    /// and as it has read.
    is_over: bool,
    /// When the next byte is due,
    due: Instant,
    /// since when it is connected,
    since: Instant,
    /// and when it comes back.
    back_at: Option<Instant>,
}

impl Work {
    fn new(hub: SocketAddr, villains: Vec<Villain>) -> Work {
        let post = |mut does: Villain| {
            if !does.then.is_empty() {
                // Whole rounds of it, so many that one write takes as much as it may.
                does.then = does.then.repeat(CHUNK.div_ceil(does.then.len()));
            }
            let now = Instant::now();
            Post {
                does,
                stream: None,
                sent: 0,
                is_connected: false,
                can_write: false,
                can_read: false,
                has_ended: false,
                is_over: false,
                due: now,
                since: now,
                back_at: None,
            }
        };
        Work {
            hub,
            poll: Poll::new().expect("a poll can be had"),
            posts: villains.into_iter().map(post).collect(),
            tally: Tally::default(),
            buffer: vec![0; CHUNK],
        }
    }

    fn run(mut self, stop: &AtomicBool) -> Tally {
        let mut events = Events::with_capacity(1024);
        for number in 0..self.posts.len() {
            self.connect(number);
        }
        while !stop.load(Ordering::Relaxed) {
            let mut is_busy = false;
            for number in 0..self.posts.len() {
                is_busy |= self.act(number);
            }
            let period = if is_busy { Duration::ZERO } else { Duration::from_millis(10) };
            self.poll.poll(&mut events, Some(period)).expect("a poll with a period");
            for event in &events {
                let post = &mut self.posts[event.token().0];
                post.can_write |= event.is_writable();
                let has_ended = event.is_read_closed() || event.is_error();
                post.can_read |= event.is_readable() || has_ended;
                post.has_ended |= has_ended;
            }
        }
        self.tally
    }

    /// Connects anew. Where the system has no port for it, its time comes again.
    fn connect(&mut self, number: usize) {
        let post = &mut self.posts[number];
        let socket = Socket::new(Domain::for_address(self.hub), Type::STREAM, None).expect("a socket can be had");
        socket.set_nonblocking(true).expect("a socket has it");
        socket.set_tcp_nodelay(true).expect("TCP has it");
        if post.does.narrow {
            socket.set_recv_buffer_size(4096).expect("the kernel takes any size");
        }
        // Under way, or there is no place in a queue or no port: the poll tells.
        let _under_way = socket.connect(&self.hub.into());
        let mut stream = TcpStream::from_std(socket.into());
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(number), interest).expect("it is a socket");
        post.stream = Some(stream);
        (post.sent, post.is_connected, post.has_ended) = (0, false, false);
        (post.can_write, post.can_read, post.is_over) = (false, false, false);
        post.since = Instant::now();
    }

    /// Does what there is to do for one of them. Says whether there may be more.
    fn act(&mut self, number: usize) -> bool {
        let post = &mut self.posts[number];
        let Some(stream) = &mut post.stream else {
            if post.back_at.take_if(|at| *at <= Instant::now()).is_some() {
                self.connect(number);
            }
            return false;
        };
        let mut is_busy = false;
        let mut is_lost = false;
        if post.can_write && !post.is_over {
            let opening = &post.does.opening;
            let mut bytes = match post.sent.checked_sub(opening.len()) {
                None => &opening[post.sent..],
                Some(_) if post.does.then.is_empty() => &[],
                Some(sent) => &post.does.then[sent % post.does.then.len()..],
            };
            if let Some(every) = post.does.byte_every {
                let now = Instant::now();
                bytes = if now >= post.due { &bytes[..bytes.len().min(1)] } else { &[] };
                if !bytes.is_empty() {
                    post.due = now + every;
                }
            }
            if !bytes.is_empty() {
                match stream.write(bytes) {
                    Ok(count) => {
                        // Only now it is sure: a failure to connect is told as room to write, too.
                        self.tally.connected += u64::from(!std::mem::replace(&mut post.is_connected, true));
                        post.sent += count;
                        self.tally.sent_bytes += count as u64;
                        is_busy = post.does.byte_every.is_none();
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => post.can_write = false,
                    Err(_) => is_lost = true,
                }
            }
        }
        if post.can_read && (post.does.reads || post.is_over) && !is_lost {
            match stream.read(&mut self.buffer) {
                Ok(0) => {
                    (post.can_read, post.is_over) = (false, true);
                    is_lost = post.does.at_end != AtEnd::Stay;
                    if !is_lost {
                        self.tally.ended += 1;
                    }
                }
                Ok(count) => {
                    self.tally.read_bytes += count as u64;
                    is_busy = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => post.can_read = false,
                Err(_) => is_lost = true,
            }
        }
        is_lost |= post.does.stays_for.is_some_and(|period| post.since.elapsed() >= period);
        // Whoever does not read still sees that it is over.
        is_lost |= post.has_ended && !post.does.reads && post.does.at_end != AtEnd::Stay;
        if is_lost {
            self.tally.ended += u64::from(post.is_connected);
            post.stream = None;
            post.back_at = (post.does.at_end == AtEnd::Again).then(|| Instant::now() + post.does.pause);
        }
        is_busy || is_lost
    }
}
