//! A running hub, and a client that can misbehave, for the tests over real sockets.
//!
//! Owns: starting and stopping the real binary, a blocking WebSocket client that sends whatever it is told and reads
//! nothing but what RFC 6455 lets a server send, and one HTTP exchange.
//! Refuses to know: what is being tested. It shares no code with the hub, so that no mistake is made twice.

// Each test file compiles a copy of its own and uses a part of it.
#![allow(dead_code)]

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::{IpAddr, Shutdown, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

/// How long a test waits for what must come. It only ends a test that has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The room that tests meet in.
pub const ROOM: &str = "E00001";

/// No rate counts: for tests of anything else.
pub const NO_RATES: &str = "[limits]\nmessages_per_second = 0\nbytes_per_second = 0\n";

/// Whoever breaks off leaves at once: for tests of what a leave does.
pub const NO_LINGER: &str = "[heartbeat]\nlinger_s = 0\n";

// ---- The hub ------------------------------------------------------------------------------------

/// What starts the hub, word for word: the binary, and before it what runs it, where that is for another machine than the one at hand. The
/// variable is set by cargo's own runner (.cargo/config.toml), which knows nothing of what a test starts.
pub fn classhub_words() -> Vec<String> {
    let runner = env::var("CLASSHUB_RUNNER").unwrap_or_default();
    runner.split_whitespace().chain([env!("CARGO_BIN_EXE_classhub")]).map(str::to_owned).collect()
}

/// The hub's own command, on any machine.
pub fn classhub() -> Command {
    let words = classhub_words();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

/// A running hub, killed when dropped.
pub struct Hub {
    /// Where it listens.
    pub addr: SocketAddr,
    child: Child,
    config: PathBuf,
    said: Arc<(Mutex<Vec<String>>, Condvar)>,
}

impl Hub {
    /// Starts a hub with this configuration, on a free port unless it says where to listen.
    #[track_caller]
    pub fn start(toml: &str) -> Hub {
        Hub::start_as(classhub(), toml)
    }

    /// The same, where the system lets it have only so many open files.
    #[track_caller]
    pub fn start_with_files(files: u32, toml: &str) -> Hub {
        let mut shell = Command::new("sh");
        let limited = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
        shell.args(["-c", &limited]).args(classhub_words());
        Hub::start_as(shell, toml)
    }

    /// The same, by this command, which may do something first.
    #[track_caller]
    pub fn start_as(mut command: Command, toml: &str) -> Hub {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let config = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hub-{}-{number}.toml", std::process::id()));
        fs::write(&config, toml).expect("the folder for tests can be written");
        command.arg("--config").arg(&config);
        if !toml.lines().any(|line| line.starts_with("listen")) {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the hub starts");
        let lines = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        let said = Arc::<(Mutex<Vec<String>>, Condvar)>::default();
        let writer = Arc::clone(&said);
        // To the end, so that the hub never waits for a reader.
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                writer.0.lock().expect("no panic while it is held").push(line);
                writer.1.notify_all();
            }
        });
        let mut hub = Hub { addr: SocketAddr::from(([127, 0, 0, 1], 0)), child, config, said };
        let line = hub.wait_for_line("listening on http://");
        let (_, addr) = line.split_once("http://").expect("it was looked for");
        hub.addr = addr
            .trim()
            .trim_end_matches('/')
            .replace("localhost", "127.0.0.1")
            .parse()
            .expect("the hub says its address");
        hub
    }

    /// Connects to it, and upgrades.
    #[track_caller]
    pub fn connect(&self) -> Client {
        Client::connect(self.addr)
    }

    /// Connects to it, and joins [`ROOM`].
    #[track_caller]
    pub fn join(&self, id: &str) -> Client {
        let mut client = self.connect();
        client.join(ROOM, id);
        client
    }

    /// Sends `request` as it is, and reads the answer to its clean end.
    #[track_caller]
    pub fn http(&self, request: impl AsRef<[u8]>) -> Response {
        let mut stream = tcp(self.addr);
        stream.write_all(request.as_ref()).expect("the hub reads");
        Response::read(&mut stream)
    }

    /// Where it listens for TLS.
    #[track_caller]
    pub fn secure_addr(&self) -> SocketAddr {
        let line = self.wait_for_line("listening on https://");
        let (_, addr) = line.split_once("https://").expect("it was looked for");
        addr.parse().expect("the hub says its address")
    }

    /// The file with its configuration.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Asks it to read its configuration again (SIGHUP).
    pub fn reload(&self) {
        kill_process(self.pid(), Signal::HUP).expect("the hub runs");
    }

    /// Writes its configuration anew.
    pub fn configure(&self, toml: &str) {
        fs::write(&self.config, toml).expect("the folder for tests can be written");
    }

    /// Has the program that lies where its own lay take over (SIGUSR2), and waits until that has said so for the `count`-th time.
    #[track_caller]
    pub fn upgrade(&self, count: usize) {
        self.signal_upgrade();
        self.wait_for_lines("upgraded from", count);
    }

    /// Asks for an upgrade, and does not wait for it.
    pub fn signal_upgrade(&self) {
        kill_process(self.pid(), Signal::USR2).expect("the hub runs");
    }

    /// Gives it this configuration, and asks it to read that. Says what it said first then of what came of it.
    #[track_caller]
    pub fn reload_with(&self, toml: impl AsRef<[u8]>) -> String {
        fs::write(&self.config, toml).expect("the folder for tests can be written");
        self.reload_and_tell()
    }

    /// Asks it to read its configuration again, and says what it said first of what came of it.
    #[track_caller]
    pub fn reload_and_tell(&self) -> String {
        let before = self.lines().len();
        self.reload();
        self.wait_for_line_after(before, "reloaded")
    }

    /// Asks it to stop (SIGTERM).
    pub fn terminate(&self) {
        kill_process(self.pid(), Signal::TERM).expect("the hub runs");
    }

    /// Asks it to stop (SIGTERM), and waits until it has.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.terminate();
        self.wait()
    }

    /// Waits until it has stopped.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            assert!(Instant::now() < until, "the hub does not stop");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Every line of its standard error so far.
    pub fn lines(&self) -> Vec<String> {
        self.said.0.lock().expect("no panic while it is held").clone()
    }

    /// The first line of its standard error with `part` in it; waits for it.
    #[track_caller]
    pub fn wait_for_line(&self, part: &str) -> String {
        self.wait_for_line_after(0, part)
    }

    /// The same, behind so many lines.
    #[track_caller]
    pub fn wait_for_line_after(&self, lines: usize, part: &str) -> String {
        let found = |all: &[String]| all.iter().skip(lines).find(|line| line.contains(part)).cloned();
        let all = self.said.0.lock().expect("no panic while it is held");
        let waited = self.said.1.wait_timeout_while(all, PATIENCE, |all| found(all).is_none());
        let found = found(&waited.expect("no panic while it is held").0);
        found.unwrap_or_else(|| panic!("no line has {part:?}"))
    }

    /// The lines of its standard error with `part` in them, once there are `count`.
    #[track_caller]
    pub fn wait_for_lines(&self, part: &str, count: usize) -> Vec<String> {
        let found = |lines: &[String]| lines.iter().filter(|line| line.contains(part)).cloned().collect::<Vec<_>>();
        let lines = self.said.0.lock().expect("no panic while it is held");
        let waited = self.said.1.wait_timeout_while(lines, PATIENCE, |lines| found(lines).len() < count);
        let found = found(&waited.expect("no panic while it is held").0);
        assert!(found.len() >= count, "{} lines have {part:?}, of {count}", found.len());
        found
    }

    /// What it holds in memory, in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.status_kib("VmRSS:")
    }

    /// The most that it ever held in memory, in KiB.
    pub fn resident_peak_kib(&self) -> u64 {
        self.status_kib("VmHWM:")
    }

    fn status_kib(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("Linux tells");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("it is there");
        line.trim().trim_end_matches("kB").trim().parse().expect("a number")
    }

    /// The most that it may hold in memory, in KiB, as `classhub check` says of its configuration.
    #[track_caller]
    pub fn allowed_kib(&self) -> u64 {
        let output = classhub().arg("check").arg("--config").arg(&self.config).output().expect("the hub starts");
        let report = String::from_utf8(output.stdout).expect("a report is text");
        let line = report.lines().find_map(|line| line.strip_prefix("# memory, at most ")).expect("it has the sum");
        let mib: f64 = line.trim().trim_end_matches("MiB").trim().parse().expect("a number");
        (mib * 1024.0) as u64
    }

    /// Ticks (of 10 ms, mostly) that it has spent on a processor.
    #[track_caller]
    pub fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("the hub runs");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        // utime and stime are fields 14 and 15 of proc(5); the first two end with the bracket.
        [11, 12].iter().map(|field| fields[*field].parse::<u64>().expect("a number")).sum()
    }

    /// How long it has waited, in all, for a processor that others had.
    pub fn kept_waiting(&self) -> Duration {
        kept_waiting(&self.child.id().to_string())
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

/// How long a thread under /proc has waited, in all, for a processor that others had.
pub fn kept_waiting(thread: &str) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{thread}/schedstat")).unwrap_or_default();
    let waited_ns = stat.split_whitespace().nth(1).and_then(|field| field.parse().ok());
    Duration::from_nanos(waited_ns.unwrap_or(0))
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.config);
        if thread::panicking() {
            eprintln!("the hub said:\n  {}", self.lines().join("\n  "));
        }
    }
}

// ---- Sockets ------------------------------------------------------------------------------------

/// A TCP connection that sends at once and does not wait for ever.
#[track_caller]
pub fn tcp(addr: SocketAddr) -> TcpStream {
    open(addr, |_| {})
}

/// As [`tcp`], from another address of this machine.
#[track_caller]
pub fn tcp_from(source: IpAddr, addr: SocketAddr) -> TcpStream {
    open(addr, |socket| socket.bind(&SocketAddr::new(source, 0).into()).expect("it is an address of this machine"))
}

/// As [`tcp`], with so small a receive buffer that whoever does not read is soon in the way.
#[track_caller]
pub fn narrow_tcp(addr: SocketAddr) -> TcpStream {
    open(addr, |socket| socket.set_recv_buffer_size(4096).expect("the kernel takes any size"))
}

#[track_caller]
fn open(addr: SocketAddr, prepare: impl FnOnce(&Socket)) -> TcpStream {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).expect("a socket can be had");
    prepare(&socket);
    socket.connect(&addr.into()).expect("the hub listens");
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true).expect("TCP has it");
    stream.set_read_timeout(Some(PATIENCE)).expect("a period above 0 is taken");
    stream.set_write_timeout(Some(PATIENCE)).expect("a period above 0 is taken");
    stream
}

/// Cuts the connection: the hub reads a reset, and no end.
pub fn cut(stream: TcpStream) {
    Socket::from(stream).set_linger(Some(Duration::ZERO)).expect("TCP has it");
}

/// Ends the connection without a close frame: the hub reads the end, and reads it before anything that is sent elsewhere from now on. After
/// [`cut`] it may read that first: while another test starts a hub, that one's process shares all sockets of this one, and none of them is reset.
pub fn hang_up(stream: TcpStream) {
    stream.shutdown(Shutdown::Both).expect("it is connected");
}

// ---- HTTP ---------------------------------------------------------------------------------------

/// An HTTP response.
#[derive(Debug)]
pub struct Response {
    /// The number in its first line.
    pub status: u16,
    /// Everything before the blank line.
    pub head: String,
    /// Everything behind it.
    pub body: Vec<u8>,
}

impl Response {
    /// Reads a response to the end of the connection, which must be a clean one.
    #[track_caller]
    pub fn read(stream: &mut impl Read) -> Response {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("the answer, and then the end");
        let (mut response, body) = Response::split(&bytes).expect("an HTTP response");
        response.body = body.to_vec();
        response
    }

    /// A response without its body, and what comes behind it; `None` where the blank line is still to come.
    fn split(bytes: &[u8]) -> Option<(Response, &[u8])> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8(bytes[..end].to_vec()).expect("a head is text");
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).expect("a status line");
        let status = status.parse().expect("a status is a number");
        Some((Response { status, head, body: Vec::new() }, &bytes[end + 4..]))
    }

    /// The value of a field that is there once at most.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().skip(1).map(|line| line.split_once(": ").expect("a name and a value"));
        let mut values = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let value = values.next();
        assert_eq!(values.next(), None, "{name} is there twice");
        value
    }

    /// Its body as text.
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body that is text")
    }
}

/// The key of RFC 6455, section 1.3, and what it must be answered with.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// See [`KEY`].
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A request head that opens a WebSocket, with more fields where `fields` has some, each with its line's end.
pub fn upgrade_head(target: &str, fields: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: hub.local:9000\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{fields}\r\n"
    )
}

// ---- Frames -------------------------------------------------------------------------------------

/// Opcodes (RFC 6455, section 5.2).
pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// A frame to be sent, right or wrong.
#[derive(Clone, Debug)]
pub struct Raw {
    pub fin: bool,
    /// The three reserved bits, the first as 4, the last as 1.
    pub rsv: u8,
    pub opcode: u8,
    pub masked: bool,
    pub payload: Vec<u8>,
}

impl Raw {
    /// A frame as it should be.
    pub fn new(opcode: u8, payload: impl Into<Vec<u8>>) -> Raw {
        Raw { fin: true, rsv: 0, opcode, masked: true, payload: payload.into() }
    }

    /// A text frame as it should be.
    pub fn text(text: &str) -> Raw {
        Raw::new(TEXT, text)
    }

    /// A close frame with this code.
    pub fn close(code: u16) -> Raw {
        Raw::new(CLOSE, code.to_be_bytes())
    }

    /// The same frame, and more of its message to follow.
    pub fn unfinished(self) -> Raw {
        Raw { fin: false, ..self }
    }

    /// Its bytes on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
        let mut bytes = vec![u8::from(self.fin) << 7 | self.rsv << 4 | self.opcode];
        let mask = u8::from(self.masked) << 7;
        match self.payload.len() {
            short @ 0..=125 => bytes.push(mask | short as u8),
            usual @ 126..=0xFFFF => {
                bytes.push(mask | 126);
                bytes.extend((usual as u16).to_be_bytes());
            }
            long => {
                bytes.push(mask | 127);
                bytes.extend((long as u64).to_be_bytes());
            }
        }
        if self.masked {
            bytes.extend(KEY);
            bytes.extend(self.payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
        } else {
            bytes.extend(&self.payload);
        }
        bytes
    }
}

/// A frame that came from the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The first frame of `bytes` and what it takes; `None` where it is not whole. Panics where no server may send such a frame, and
    /// where ours says that it never does: it sends no fragments.
    #[track_caller]
    pub fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
        let [first, second, ..] = *bytes else { return None };
        let opcode = first & 0x0F;
        assert_eq!(first & 0xF0, 0x80, "fragmented, or with reserved bits: {first:#x}");
        assert!(matches!(opcode, TEXT | BINARY | CLOSE | PING | PONG), "opcode {opcode}");
        assert_eq!(second & 0x80, 0, "a server's frame with a mask");
        let (header, length) = match second {
            126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().expect("two bytes")))),
            127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().expect("eight bytes")) as usize),
            short => (2, usize::from(short)),
        };
        let least = [0, 126, 0x10000][[2, 4, 10].iter().position(|h| *h == header).expect("one of them")];
        assert!(length >= least, "a header longer than {length} bytes need");
        assert!(opcode < 8 || length <= 125, "a control frame of {length} bytes");
        let payload = bytes.get(header..header + length)?.to_vec();
        assert!(opcode != TEXT || std::str::from_utf8(&payload).is_ok(), "text that is not UTF-8");
        Some((Frame { opcode, payload }, header + length))
    }

    /// The text in it.
    #[track_caller]
    pub fn text(&self) -> &str {
        assert_eq!(self.opcode, TEXT, "{self:?}");
        std::str::from_utf8(&self.payload).expect("it was parsed so")
    }

    /// The JSON in it: an object.
    #[track_caller]
    pub fn json(&self) -> Value {
        let text = self.text();
        let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert!(value.is_object(), "{text}");
        value
    }

    /// The code in it, where it has one.
    #[track_caller]
    pub fn close_code(&self) -> Option<u16> {
        assert_eq!(self.opcode, CLOSE, "{}", self.lossy());
        match self.payload[..] {
            [] => None,
            [high, low, ref reason @ ..] => {
                assert!(std::str::from_utf8(reason).is_ok(), "a reason that is not UTF-8");
                Some(u16::from_be_bytes([high, low]))
            }
            [_] => panic!("a close frame with one byte"),
        }
    }

    fn lossy(&self) -> String {
        format!("opcode {}: {}", self.opcode, String::from_utf8_lossy(&self.payload))
    }
}

// ---- The client ---------------------------------------------------------------------------------

/// A WebSocket client.
pub struct Client<S = TcpStream> {
    /// The socket, for whoever wants to do it harm.
    pub stream: S,
    input: Vec<u8>,
    /// How many of `input` were parsed.
    parsed: usize,
    fences: u32,
    /// It answers pings as any client does, and shows none of them; or it answers none, and shows each.
    pub answers_pings: bool,
}

impl Client {
    /// Connects and upgrades.
    #[track_caller]
    pub fn connect(addr: SocketAddr) -> Client {
        Client::upgrade(tcp(addr), &upgrade_head("/ws", ""))
    }
}

impl<S: Read + Write> Client<S> {
    /// A client on a stream that has spoken WebSocket before.
    pub fn before(stream: S) -> Client<S> {
        Client { stream, input: Vec::new(), parsed: 0, fences: 0, answers_pings: true }
    }

    /// Sends this head, and expects it to open a WebSocket.
    #[track_caller]
    pub fn upgrade(mut stream: S, head: &str) -> Client<S> {
        stream.write_all(head.as_bytes()).expect("the hub reads");
        match Client::upgraded(stream) {
            Ok(client) => client,
            Err(response) => panic!("no upgrade: {response:?}"),
        }
    }

    /// Reads the answer to a request head that was sent: a client where it is an upgrade, else the response.
    #[track_caller]
    pub fn upgraded(mut stream: S) -> Result<Client<S>, Response> {
        let mut bytes = Vec::new();
        loop {
            let more = read_some(&mut stream, &mut bytes);
            let Some((mut response, rest)) = Response::split(&bytes) else {
                assert!(more, "the end inside a head: {}", String::from_utf8_lossy(&bytes));
                continue;
            };
            if response.status != 101 {
                response.body = rest.to_vec();
                stream.read_to_end(&mut response.body).expect("the answer, and then the end");
                return Err(response);
            }
            assert_eq!(response.header("Sec-WebSocket-Accept"), Some(ACCEPT));
            assert_eq!(response.header("Upgrade"), Some("websocket"));
            assert_eq!(response.header("Connection"), Some("Upgrade"));
            // It may choose only from what was offered, and it knows none.
            for field in ["Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"] {
                assert_eq!(response.header(field), None);
            }
            let input = rest.to_vec();
            return Ok(Client { input, ..Client::before(stream) });
        }
    }

    /// Its socket, for whoever goes on with it by other means, and what was read from it and not received.
    pub fn into_parts(mut self) -> (S, Vec<u8>) {
        self.input.drain(..self.parsed);
        (self.stream, self.input)
    }

    // ---- Sending --------------------------------------------------------------------------------

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the hub reads");
    }

    /// Sends one frame.
    #[track_caller]
    pub fn send(&mut self, frame: &Raw) {
        self.send_bytes(&frame.bytes());
    }

    /// Sends several frames in one write.
    #[track_caller]
    pub fn send_all<'a>(&mut self, frames: impl IntoIterator<Item = &'a Raw>) {
        let bytes: Vec<u8> = frames.into_iter().flat_map(Raw::bytes).collect();
        self.send_bytes(&bytes);
    }

    #[track_caller]
    pub fn send_text(&mut self, text: &str) {
        self.send(&Raw::text(text));
    }

    #[track_caller]
    pub fn send_json(&mut self, value: &Value) {
        self.send_text(&value.to_string());
    }

    // ---- Receiving ------------------------------------------------------------------------------

    /// The next frame, pings aside; `None` at the end, which must be clean.
    #[track_caller]
    pub fn recv_or_end(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, length)) = Frame::parse(&self.input[self.parsed..]) {
                self.parsed += length;
                if frame.opcode == PING && self.answers_pings {
                    // Where the hub has hung up behind it, nobody waits for this.
                    let _sent = self.stream.write_all(&Raw::new(PONG, frame.payload).bytes());
                    continue;
                }
                return Some(frame);
            }
            self.input.drain(..std::mem::take(&mut self.parsed));
            if !read_some(&mut self.stream, &mut self.input) {
                assert!(self.input.is_empty(), "the end inside a frame");
                return None;
            }
        }
    }

    /// The next frame.
    #[track_caller]
    pub fn recv(&mut self) -> Frame {
        self.recv_or_end().expect("a frame, and not the end")
    }

    /// The next frame, which must have JSON.
    #[track_caller]
    pub fn recv_json(&mut self) -> Value {
        let frame = self.recv();
        assert_eq!(frame.opcode, TEXT, "{}", frame.lossy());
        frame.json()
    }

    /// The next frame, which must be a failure with this code.
    #[track_caller]
    pub fn recv_failure(&mut self, code: &str) -> Value {
        let reply = self.recv_json();
        let of_failure = (&reply["status"], &reply["code"], &reply["resultBody"]);
        assert_eq!(of_failure, (&json!(0), &json!(code), &json!("")), "{reply}");
        reply
    }

    /// The next frame, which must be the refusal of an id that is taken, as the source prints it.
    #[track_caller]
    pub fn recv_duplicate(&mut self) {
        assert_eq!(self.recv_json(), duplicate());
    }

    /// The next frames must be these, one after another.
    #[track_caller]
    pub fn recv_all<'a>(&mut self, frames: impl IntoIterator<Item = &'a Value>) {
        for frame in frames {
            assert_eq!(self.recv_json(), *frame);
        }
    }

    /// Takes at most so many bytes from the socket, which stay to be parsed by whoever receives the next frame.
    #[track_caller]
    pub fn take_bytes(&mut self, at_most: usize) -> usize {
        let mut bytes = vec![0; at_most];
        let count = self.stream.read(&mut bytes).expect("bytes, or a clean end");
        self.input.extend(&bytes[..count]);
        count
    }

    /// The next frame must be a close frame with this code (none for `None`), and then comes the end.
    #[track_caller]
    pub fn expect_close(&mut self, code: impl Into<Option<u16>>) {
        let frame = self.recv();
        assert_eq!(frame.close_code(), code.into());
        assert_eq!(self.recv_or_end(), None);
    }

    /// Everything up to a close frame with this code, and then the end.
    #[track_caller]
    pub fn recv_to_close(&mut self, code: impl Into<Option<u16>>) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            let frame = self.recv();
            if frame.opcode == CLOSE {
                assert_eq!(frame.close_code(), code.into());
                assert_eq!(self.recv_or_end(), None);
                return frames;
            }
            frames.push(frame);
        }
    }

    // ---- Talking --------------------------------------------------------------------------------

    /// Joins, and gives the reply.
    #[track_caller]
    pub fn join(&mut self, room: &str, id: &str) -> Value {
        self.send_json(&join(room, id));
        let reply = self.recv_json();
        assert_eq!((&reply["status"], &reply["msg"]), (&json!(1), &json!("Join successfully")), "{reply}");
        let data = &reply["resultBody"]["textData"]["data"];
        assert_eq!((&data["number"], &data["newJoinMember"]["id"]), (&json!(room), &json!(id)), "{reply}");
        reply
    }

    /// Sends this join, and gives the reply, which must be a success.
    #[track_caller]
    pub fn join_with(&mut self, request: &Value) -> Value {
        self.send_json(request);
        let reply = self.recv_json();
        assert_eq!((&reply["status"], &reply["msg"]), (&json!(1), &json!("Join successfully")), "{reply}");
        reply
    }

    /// Says something in [`ROOM`], and expects to hear it as the next frame.
    #[track_caller]
    pub fn say(&mut self, content: &str) -> Value {
        self.send_json(&chat(ROOM, content));
        self.hear(content)
    }

    /// The next frame must be a chat of this text.
    #[track_caller]
    pub fn hear(&mut self, content: &str) -> Value {
        let frame = self.recv_json();
        assert_eq!((&frame["status"], &frame["msg"]), (&json!(1), &json!("Chat successfully")), "{frame}");
        assert_eq!(frame["resultBody"]["textData"]["data"]["content"], content);
        frame
    }

    /// Waits until the hub has read everything sent so far, and sees to it that nothing has come that was not received: a reply
    /// overtakes no frame made before it.
    #[track_caller]
    pub fn fence(&mut self) {
        self.fences += 1;
        let reference = format!("fence {}", self.fences);
        self.send_json(&with_ref(leave("(a room that nobody is in)"), &reference));
        let reply = self.recv_failure("not_joined");
        assert_eq!(reply["ref"], reference);
    }

    /// Closes as it should, and waits until the hub has answered.
    #[track_caller]
    pub fn close(mut self) {
        self.send(&Raw::close(1000));
        self.expect_close(1000);
    }
}

/// Reads what there is into `bytes`; false at the end.
#[track_caller]
fn read_some(stream: &mut impl Read, bytes: &mut Vec<u8>) -> bool {
    let mut chunk = [0; 16 * 1024];
    match stream.read(&mut chunk) {
        Ok(count) => {
            bytes.extend(&chunk[..count]);
            count > 0
        }
        Err(error) => panic!("nothing came, and no clean end: {error}"),
    }
}

// ---- Requests -----------------------------------------------------------------------------------

/// A join with an id and nothing else.
pub fn join(room: &str, id: &str) -> Value {
    json!({"msgType": 2, "textData": {"dataType": 1, "data": {"from": {"id": id}, "roomNumber": room}}})
}

/// A leave.
pub fn leave(room: &str) -> Value {
    json!({"msgType": 3, "textData": {"dataType": 2, "data": {"roomNumber": room}}})
}

/// Chat text.
pub fn chat(room: &str, content: &str) -> Value {
    said(3, room, json!(content))
}

/// Chat text or application data.
pub fn said(data_type: u32, room: &str, content: Value) -> Value {
    let data = json!({"roomNumber": room, "content": content});
    json!({"msgType": 3, "textData": {"dataType": data_type, "data": data}})
}

/// A join that shows the token of a seat, and the number of the last frame that was seen from it.
pub fn resume(room: &str, id: &str, token: &str, last_seq: impl Into<Value>) -> Value {
    let mut request = join(room, id);
    request["extendFields"] = json!({"resumeToken": token, "lastSeq": last_seq.into()});
    request
}

/// A receipt for one message, or for an array of them.
pub fn receipt(room: &str, seq: impl Into<Value>) -> Value {
    let data = json!({"roomNumber": room, "seq": seq.into()});
    json!({"msgType": 4, "textData": {"dataType": 3, "data": data}})
}

/// A pull.
pub fn pull(room: &str) -> Value {
    json!({"msgType": 5, "textData": {"dataType": 1, "data": {"roomNumber": room}}})
}

/// The same request with a `ref`.
pub fn with_ref(mut request: Value, reference: &str) -> Value {
    request["extendFields"] = json!({"ref": reference});
    request
}

/// The number of a broadcast frame in its room's series.
#[track_caller]
pub fn seq(frame: &Value) -> u64 {
    frame["resultBody"]["extendFields"]["seq"].as_u64().unwrap_or_else(|| panic!("no seq: {frame}"))
}

/// The `data` of a reply.
pub fn data(frame: &Value) -> &Value {
    &frame["resultBody"]["textData"]["data"]
}

/// The token of the seat that a join has given.
#[track_caller]
pub fn resume_token(reply: &Value) -> String {
    let token = reply["resultBody"]["extendFields"]["resumeToken"].as_str();
    token.unwrap_or_else(|| panic!("no resumeToken: {reply}")).to_owned()
}

/// The refusal of an id that is taken, as the source prints it.
pub fn duplicate() -> Value {
    serde_json::from_str(include_str!("../spec/reply-duplicate.json")).expect("the example is JSON")
}

/// The ids of these members, in order.
#[track_caller]
pub fn ids(members: &Value) -> Vec<&str> {
    let members = members.as_array().unwrap_or_else(|| panic!("no members: {members}"));
    members.iter().map(|member| member["id"].as_str().expect("an id")).collect()
}
