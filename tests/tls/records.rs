//! The real exchange over TLS whose other side a test holds: sockets that take a byte at a time, in time that a test decides.
//!
//! Owns: a socket, a client in memory, and what goes wrong between records. Refuses to know: certificates, and real sockets.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use classhub::base::{Key, Now};
use classhub::host::certificates::load;
use classhub::hub::Settings;
use classhub::limits;
use classhub::net::exchange::{Exchange, Options};
use classhub::net::{Stream, TlsStream, Transport};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, ServerConfig};
use serde_json::{Value, json};

use super::common::{CLOSE, Frame, Raw, TEXT, chat, join, leave, seq, upgrade_head};
use super::{NOW_S, client_config, issued, localhost};

// ---- The two sides ------------------------------------------------------------------------------

/// What lies between the hub and a client.
#[derive(Default)]
struct Wire {
    /// On its way to the hub.
    input: Vec<u8>,
    /// The hub reads so many bytes at most at a time; 0 is no limit.
    bite: usize,
    /// The client has ended its side.
    input_ended: bool,
    output: Vec<u8>,
    /// Bytes that the socket takes before it would block.
    room: usize,
    /// The largest write that was tried.
    largest_write: usize,
    output_ended: bool,
    dropped: bool,
}

struct Socket(Rc<RefCell<Wire>>);

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        if wire.input.is_empty() {
            return if wire.input_ended { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        let bite = if wire.bite == 0 { usize::MAX } else { wire.bite };
        let count = wire.input.len().min(buffer.len()).min(bite);
        buffer[..count].copy_from_slice(&wire.input[..count]);
        wire.input.drain(..count);
        Ok(count)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        wire.largest_write = wire.largest_write.max(bytes.len());
        let count = wire.room.min(bytes.len());
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        wire.room -= count;
        wire.output.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Socket {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.borrow_mut().output_ended = true;
        Ok(())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.0.borrow_mut().dropped = true;
    }
}

const ENDLESS: usize = usize::MAX / 2;

struct Member {
    key: Key,
    wire: Rc<RefCell<Wire>>,
    /// The client's TLS; none for one that is plain.
    tls: Option<ClientConnection>,
    /// What the client was sent, under TLS or not.
    came: Vec<u8>,
    /// The client has read that nothing more comes, said by the other side.
    said_goodbye: bool,
}

struct Class {
    exchange: Exchange<Transport<Socket>>,
    now: Now,
    members: Vec<Member>,
}

/// Made once: it is the slowest part of a test.
fn configs() -> &'static (Arc<ServerConfig>, Arc<ClientConfig>, Arc<ClientConfig>) {
    static CONFIGS: OnceLock<(Arc<ServerConfig>, Arc<ClientConfig>, Arc<ClientConfig>)> = OnceLock::new();
    CONFIGS.get_or_init(|| {
        let folder = issued();
        let read = load(&folder.join("cert.pem"), &folder.join("key.pem"), NOW_S).expect("they are ours");
        (read.server, client_config(&folder, &[&TLS13]), client_config(&folder, &[&TLS12]))
    })
}

fn tls13() -> ClientConnection {
    ClientConnection::new(configs().1.clone(), localhost()).expect("the configuration is whole")
}

fn tls12() -> ClientConnection {
    ClientConnection::new(configs().2.clone(), localhost()).expect("the configuration is whole")
}

fn settings() -> Settings {
    Settings { messages_per_second: 0, bytes_per_second: 0, linger_s: 0, ..Settings::default() }
}

impl Class {
    fn new(settings: Settings) -> Class {
        let now = Now { monotonic_ms: 1_000, wall_ms: NOW_S * 1000 };
        Class { exchange: Exchange::new(Options::default(), settings, [7; 32], now), now, members: Vec::new() }
    }

    /// Connects, and says nothing yet.
    fn knock(&mut self, tls: Option<ClientConnection>) -> usize {
        let wire = Rc::new(RefCell::new(Wire { room: ENDLESS, ..Wire::default() }));
        let socket = Socket(wire.clone());
        let transport = match tls {
            Some(_) => {
                let stream = TlsStream::new(socket, configs().0.clone()).expect("the configuration is whole");
                Transport::Tls(Box::new(stream))
            }
            None => Transport::Plain(socket),
        };
        let (key, fits) = self.exchange.accept(self.now, transport, IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert_eq!(fits, Ok(()));
        self.members.push(Member { key, wire, tls, came: Vec::new(), said_goodbye: false });
        self.members.len() - 1
    }

    /// Connects and upgrades.
    fn connect(&mut self, tls: Option<ClientConnection>) -> usize {
        let member = self.knock(tls);
        self.say_bytes(member, upgrade_head("/ws", "").as_bytes());
        self.exchange_all(member);
        self.take_head(member);
        member
    }

    fn take_head(&mut self, member: usize) {
        let came = &mut self.members[member].came;
        assert!(came.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(came));
        let end = came.windows(4).position(|four| four == b"\r\n\r\n").expect("the whole head");
        came.drain(..end + 4);
    }

    fn join(&mut self, member: usize, room: &str) {
        self.send(member, &join(room, &member.to_string()));
    }

    fn wire(&self, member: usize) -> std::cell::RefMut<'_, Wire> {
        self.members[member].wire.borrow_mut()
    }

    fn is_connected(&self, member: usize) -> bool {
        !self.wire(member).dropped
    }

    fn send(&mut self, member: usize, request: &Value) {
        self.say_bytes(member, &Raw::text(&request.to_string()).bytes());
    }

    /// Gives bytes to the client's TLS, or to the wire.
    fn say_bytes(&mut self, member: usize, bytes: &[u8]) {
        let Member { tls, wire, .. } = &mut self.members[member];
        match tls {
            Some(tls) => {
                tls.set_buffer_limit(None);
                tls.writer().write_all(bytes).expect("memory takes everything");
            }
            None => wire.borrow_mut().input.extend_from_slice(bytes),
        }
    }

    /// The client's TLS puts on the wire what it has to say, and reads what has come.
    fn pump(&mut self, member: usize) {
        let Member { tls, wire, came, said_goodbye, .. } = &mut self.members[member];
        let mut wire = wire.borrow_mut();
        let output = std::mem::take(&mut wire.output);
        let Some(tls) = tls else { return came.extend(output) };
        let mut output = &output[..];
        while !output.is_empty() {
            tls.read_tls(&mut output).expect("memory can be read");
            let state = tls.process_new_packets().expect("the hub's records are right");
            let mut plaintext = vec![0; state.plaintext_bytes_to_read()];
            tls.reader().read_exact(&mut plaintext).expect("it is there");
            came.extend(plaintext);
            if state.peer_has_closed() {
                *said_goodbye = true;
                assert!(output.is_empty(), "bytes behind the last word");
            }
        }
        while tls.wants_write() {
            tls.write_tls(&mut wire.input).expect("memory takes everything");
        }
    }

    fn turn(&mut self) {
        self.now = self.now.after_ms(1);
        while self.exchange.has_ready() {
            self.exchange.read_ready(self.now);
        }
        self.exchange.expire(self.now);
        self.exchange.finish(self.now);
    }

    /// Once to the hub and back, as a poll would have it.
    fn trip(&mut self, member: usize) {
        self.pump(member);
        if self.is_connected(member) {
            let hung_up = self.wire(member).input_ended;
            self.exchange.set_readable(self.members[member].key, hung_up);
        }
        self.turn();
        self.pump(member);
    }

    /// There and back until neither has anything to say.
    fn exchange_all(&mut self, member: usize) {
        for _ in 0..8 {
            self.trip(member);
        }
    }

    /// The socket takes more bytes, and the poll says so.
    fn make_room(&mut self, member: usize, room: usize) {
        self.wire(member).room = room;
        self.exchange.write(self.members[member].key);
        self.turn();
        self.pump(member);
    }

    /// The frames that have come, all of them whole.
    fn frames(&mut self, member: usize) -> Vec<Frame> {
        let came = std::mem::take(&mut self.members[member].came);
        let (mut at, mut frames) = (0, Vec::new());
        while at < came.len() {
            let (frame, length) = Frame::parse(&came[at..]).expect("a whole frame");
            frames.push(frame);
            at += length;
        }
        frames
    }

    fn replies(&mut self, member: usize) -> Vec<Value> {
        self.frames(member).iter().map(Frame::json).collect()
    }
}

/// The contents of all that was said, in order.
fn contents(frames: &[Value]) -> Vec<&str> {
    frames.iter().filter_map(|frame| frame["resultBody"]["textData"]["data"]["content"].as_str()).collect()
}

// ---- Talking ------------------------------------------------------------------------------------

#[test]
fn a_client_of_either_version_is_a_member_like_any_other() {
    for tls in [tls13(), tls12()] {
        let mut class = Class::new(settings());
        let member = class.connect(Some(tls));
        class.join(member, "R");
        class.send(member, &chat("R", "你好"));
        class.exchange_all(member);
        let replies = class.replies(member);
        assert_eq!(replies[0]["msg"], "Join successfully");
        assert_eq!(contents(&replies), ["你好"]);
        class.say_bytes(member, &Raw::close(1000).bytes());
        class.exchange_all(member);
        let frames = class.frames(member);
        assert_eq!((frames.len(), frames[0].close_code()), (1, Some(1000)));
        assert!(class.members[member].said_goodbye && class.wire(member).output_ended);
        assert!(class.is_connected(member), "until the client hangs up");
        class.wire(member).input_ended = true;
        class.trip(member);
        assert!(!class.is_connected(member) && class.exchange.is_empty());
    }
}

#[test]
fn whatever_arrives_byte_by_byte_and_leaves_byte_by_byte_is_the_same() {
    for tls in [tls13(), tls12()] {
        let mut class = Class::new(settings());
        let member = class.knock(Some(tls));
        class.wire(member).bite = 1;
        class.wire(member).room = 0;
        class.say_bytes(member, upgrade_head("/ws", "").as_bytes());
        class.join(member, "R");
        class.send(member, &chat("R", &"字".repeat(3000)));
        for _ in 0..200_000 {
            class.pump(member);
            let (is_idle, key) = (class.wire(member).input.is_empty(), class.members[member].key);
            if !is_idle {
                // A short read is drained, so that each byte is an event of its own.
                class.exchange.set_readable(key, false);
            }
            let before = class.members[member].came.len();
            class.make_room(member, 1);
            let took = class.wire(member).room == 0;
            if is_idle && !took && class.members[member].came.len() == before {
                break;
            }
        }
        class.take_head(member);
        let replies = class.replies(member);
        assert_eq!(replies[0]["msg"], "Join successfully");
        assert_eq!(contents(&replies), [&"字".repeat(3000)]);
    }
}

/// Plain and encrypted members hear the same frames in the same order, whatever their sockets take.
#[test]
fn a_mixed_class_hears_the_same_in_the_same_order() {
    let mut class = Class::new(settings());
    let kinds = [None, Some(tls13()), Some(tls12()), None, Some(tls13()), Some(tls12())];
    let members: Vec<usize> = kinds.into_iter().map(|tls| class.connect(tls)).collect();
    for member in &members {
        class.join(*member, "R");
        class.trip(*member);
    }
    members.iter().for_each(|member| class.trip(*member));
    let mut heard: BTreeMap<usize, Vec<Value>> = BTreeMap::new();
    // A cheap generator: the same sizes in every run.
    let mut seed: u32 = 1;
    let mut random = |below: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) % below
    };
    for round in 0..400 {
        let speaker = members[random(6) as usize];
        let text = format!("{round} {}", "x".repeat(random(9000) as usize));
        class.send(speaker, &chat("R", &text));
        class.trip(speaker);
        for member in &members {
            // One in three reads nothing for now.
            let room = random(30_000) as usize;
            if random(3) > 0 {
                class.make_room(*member, room);
            }
        }
    }
    for member in &members {
        class.make_room(*member, ENDLESS);
        class.trip(*member);
    }
    for member in &members {
        assert!(class.is_connected(*member));
        heard.insert(*member, class.replies(*member));
    }
    let said = |frames: &[Value]| -> Vec<(u64, String)> {
        let chats = frames.iter().filter(|frame| frame["msg"] == "Chat successfully");
        chats.map(|frame| (seq(frame), contents(std::slice::from_ref(frame))[0].to_owned())).collect()
    };
    let first = said(&heard[&members[0]]);
    assert_eq!(first.len(), 400);
    for (member, frames) in &heard {
        assert_eq!(said(frames), first, "member {member}");
    }
}

#[test]
fn a_roster_of_many_records_comes_whole() {
    for tls in [tls13(), tls12()] {
        let mut class = Class::new(settings());
        for n in 0..600 {
            let member = class.connect(None);
            let mut request = join("R", &format!("pupil {n:04}"));
            request["textData"]["data"]["from"]["personName"] = json!("名".repeat(32));
            class.send(member, &request);
            class.trip(member);
        }
        let member = class.connect(Some(tls));
        class.join(member, "R");
        class.pump(member);
        class.wire(member).room = 1000;
        class.trip(member);
        for _ in 0..2000 {
            class.make_room(member, 777);
        }
        let replies = class.replies(member);
        let [reply] = &replies[..] else { panic!("{} replies", replies.len()) };
        assert!(reply.to_string().len() > 64 * 1024);
        assert_eq!(reply["resultBody"]["textData"]["data"]["members"].as_array().map(Vec::len), Some(601));
    }
}

// ---- Bounds -------------------------------------------------------------------------------------

/// Rule 9 of the room log: one record at a time is given to TLS, and while the socket has not taken all of it, the connection is blocked.
#[test]
fn a_reader_that_never_reads_holds_one_record_and_is_too_slow() {
    let mut class = Class::new(settings());
    let speaker = class.connect(None);
    let reader = class.connect(Some(tls13()));
    for member in [speaker, reader] {
        class.join(member, "R");
        class.trip(member);
    }
    class.trip(reader);
    class.frames(reader);
    class.wire(reader).room = 100;
    class.wire(reader).largest_write = 0;
    let text = "x".repeat(8000);
    for _ in 0..100 {
        class.send(speaker, &chat("R", &text));
        class.trip(speaker);
        let Some(stream) = class.exchange.stream_mut(class.members[reader].key) else { panic!("it is there") };
        assert!(stream.unsent_bytes() <= limits::TLS_PLAINTEXT_BYTES + limits::TLS_OVERHEAD_BYTES);
    }
    // Too slow by now; the socket was never offered more than a record at a time.
    assert!(class.wire(reader).largest_write <= limits::TLS_PLAINTEXT_BYTES + limits::TLS_OVERHEAD_BYTES);
    assert!(class.exchange.owed_bytes() < 20_000, "the frame in progress and the close frame");
    let frames = class.replies(speaker);
    let left = frames.iter().find(|frame| frame["msg"] == "Leave successfully").expect("the class is told");
    assert_eq!(left["resultBody"]["extendFields"]["reason"], "slow");

    // It reads again: whole frames, the close frame, and the end of TLS and of the stream.
    class.make_room(reader, ENDLESS);
    let frames = class.frames(reader);
    let (close, talk) = frames.split_last().expect("it was sent something");
    assert_eq!((close.opcode, close.close_code()), (CLOSE, Some(4002)));
    assert!(!talk.is_empty() && talk.iter().all(|frame| frame.opcode == TEXT));
    assert!(class.members[reader].said_goodbye && class.wire(reader).output_ended);

    // One that does not gets five seconds.
    let stubborn = class.connect(Some(tls13()));
    class.join(stubborn, "R");
    class.trip(stubborn);
    class.wire(stubborn).room = 0;
    for _ in 0..100 {
        class.send(speaker, &chat("R", &text));
        class.trip(speaker);
    }
    assert!(class.is_connected(stubborn));
    class.now = class.now.after_ms(limits::CLOSE_MS);
    class.turn();
    assert!(!class.is_connected(stubborn));
}

#[test]
fn a_handshake_has_as_long_as_a_head() {
    // Silent; in the middle of its hello; with everything said but the last.
    for said in [0, 100, usize::MAX] {
        let mut class = Class::new(settings());
        let member = class.knock(Some(tls13()));
        class.pump(member);
        if said < usize::MAX {
            class.wire(member).input.truncate(said);
        }
        class.exchange.set_readable(class.members[member].key, false);
        class.turn();
        class.now = class.now.after_ms(limits::HEAD_MS - 10);
        class.turn();
        assert!(class.is_connected(member));
        // Timers go off a little late, and together.
        let due_ms = class.exchange.next_deadline_ms().expect("it has a deadline");
        assert!(due_ms < 1_000 + limits::HEAD_MS + 500, "{due_ms}");
        class.now.monotonic_ms = due_ms;
        class.turn();
        assert!(!class.is_connected(member), "after {said} bytes");
        assert!(class.exchange.is_empty());
    }
    // With keys agreed on it is told why, in them.
    let mut class = Class::new(settings());
    let member = class.knock(Some(tls13()));
    class.exchange_all(member);
    class.say_bytes(member, b"GET / HTTP/1.1\r\n");
    class.exchange_all(member);
    class.now = class.now.after_ms(limits::HEAD_MS);
    class.turn();
    class.pump(member);
    assert!(class.members[member].came.starts_with(b"HTTP/1.1 408 "));
    assert!(class.members[member].said_goodbye && class.wire(member).output_ended);
}

#[test]
fn a_hello_without_end_is_not_kept() {
    let mut class = Class::new(settings());
    let member = class.knock(Some(tls13()));
    // A handshake message that says it has 60,000 bytes, in records of 16,000.
    for n in 0..4 {
        let mut record = vec![22, 3, 1, 0x3E, 0x80];
        record.extend(if n == 0 { [1, 0, 0xEA, 0x60] } else { [0; 4] });
        record.resize(5 + 16_000, 0);
        class.wire(member).input.extend(record);
        class.exchange.set_readable(class.members[member].key, false);
        class.turn();
    }
    assert!(!class.is_connected(member));
}

/// A school comes at once, and nobody who is in waits for all of their signatures.
#[test]
fn a_turn_has_time_for_so_many_handshakes() {
    let mut class = Class::new(settings());
    let (speaker, hears) = (class.connect(Some(tls13())), class.connect(None));
    for member in [speaker, hears] {
        class.join(member, "R");
        class.exchange_all(member);
    }
    class.frames(hears);
    let school: Vec<usize> = (0..100).map(|_| class.knock(Some(tls13()))).collect();
    for member in &school {
        class.pump(*member);
        class.exchange.set_readable(class.members[*member].key, false);
    }
    class.send(speaker, &chat("R", "in the middle of it"));
    class.pump(speaker);
    class.exchange.set_readable(class.members[speaker].key, false);
    for turn in 1..=7 {
        class.exchange.read_ready(class.now);
        class.exchange.finish(class.now);
        let answered = school.iter().filter(|member| !class.wire(**member).output.is_empty()).count();
        assert_eq!(answered, (turn * limits::HANDSHAKES_PER_TURN as usize).min(school.len()));
        if turn == 1 {
            class.pump(hears);
            assert_eq!(contents(&class.replies(hears)), ["in the middle of it"]);
        }
    }
    assert!(!class.exchange.has_ready());
    for member in school {
        class.exchange_all(member);
        assert!(!class.members[member].tls.as_ref().expect("it has").is_handshaking());
    }
}

/// A thousand records in one read are one turn's work, and all that was in them is heard.
#[test]
fn tiny_records_are_put_together() {
    let mut class = Class::new(settings());
    let member = class.connect(Some(tls13()));
    class.join(member, "R");
    class.trip(member);
    class.frames(member);
    let text = "y".repeat(1500);
    for byte in Raw::text(&chat("R", &text).to_string()).bytes() {
        class.say_bytes(member, &[byte]);
    }
    class.exchange_all(member);
    assert_eq!(contents(&class.replies(member)), [&text]);
}

#[test]
fn keys_can_be_changed_in_the_middle() {
    let mut class = Class::new(settings());
    let member = class.connect(Some(tls13()));
    class.join(member, "R");
    class.exchange_all(member);
    class.frames(member);
    for n in 0..100 {
        class.members[member].tls.as_mut().expect("it has").refresh_traffic_keys().expect("1.3 can");
        class.send(member, &chat("R", &n.to_string()));
        class.trip(member);
        assert_eq!(contents(&class.replies(member)), [n.to_string()]);
    }
}

// ---- Ends ---------------------------------------------------------------------------------------

/// Nobody's word is taken for the end but TLS's own or the socket's, and both are a broken connection where no close frame came before.
#[test]
fn an_end_without_a_close_frame_is_a_lost_connection() {
    for (says_goodbye, hangs_up) in [(true, false), (false, true), (true, true)] {
        let mut class = Class::new(settings());
        let (stays, goes) = (class.connect(None), class.connect(Some(tls13())));
        for member in [stays, goes] {
            class.join(member, "R");
            class.exchange_all(member);
        }
        class.frames(goes);
        class.send(goes, &chat("R", "last"));
        if says_goodbye {
            class.members[goes].tls.as_mut().expect("it has").send_close_notify();
        }
        class.pump(goes);
        class.wire(goes).input_ended = hangs_up;
        class.exchange.set_readable(class.members[goes].key, hangs_up);
        class.turn();
        class.pump(stays);
        let heard = class.replies(stays);
        assert_eq!(contents(&heard), ["last"], "what was said before it was heard");
        let last = heard.last().expect("it was told");
        assert_eq!(last["resultBody"]["extendFields"]["reason"], "lost", "{says_goodbye} {hangs_up}");
        assert!(!class.is_connected(goes));
    }
}

/// A client may end its side behind its request, and still reads the answer.
#[test]
fn an_answer_is_sent_to_who_only_listens_by_now() {
    let mut class = Class::new(settings());
    let member = class.knock(Some(tls13()));
    class.exchange_all(member);
    class.say_bytes(member, b"GET /app.js HTTP/1.1\r\nHost: a\r\n\r\n");
    class.members[member].tls.as_mut().expect("it has").send_close_notify();
    class.wire(member).room = 500;
    class.pump(member);
    class.wire(member).input_ended = true;
    class.exchange.set_readable(class.members[member].key, true);
    class.turn();
    assert!(class.is_connected(member), "it was not sent all");
    for _ in 0..100 {
        if class.is_connected(member) {
            class.make_room(member, 500);
        }
    }
    let came = &class.members[member].came;
    assert!(came.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(came.ends_with(classhub::page::find("/app.js").expect("it is served").body));
    assert!(class.members[member].said_goodbye && class.wire(member).output_ended);
}

#[test]
fn what_is_no_tls_is_told_so_and_goes() {
    let alert = [21, 3];
    for (said, answer) in [
        (&b"GET / HTTP/1.1\r\nHost: board:9443\r\n\r\n"[..], &b"HTTP/1.1 400 Bad Request\r\n"[..]),
        // A handshake message longer than any: the library has no alert for it.
        (b"\x16\x03\x01\x00\x05hello", b""),
        (b"\x00\x01\x02\x03\x04\x05\x06\x07", &alert),
        (&[0xFF; 2000], &alert),
        (b"\x16\x03\x01\xFF\xFF\x01", &alert),
        // A byte of application data in the clear.
        (b"\x17\x03\x03\x00\x01x", &alert),
    ] {
        let mut class = Class::new(settings());
        let member = class.knock(Some(tls13()));
        class.wire(member).input.extend(said);
        class.exchange.set_readable(class.members[member].key, false);
        class.turn();
        assert!(!class.is_connected(member), "{said:?}");
        assert!(class.wire(member).output.starts_with(answer), "{said:?}: {:?}", class.wire(member).output);
        assert!(class.wire(member).input.is_empty(), "a reset would overtake the answer");
    }
}

/// A whole lesson's bytes, as a client of this version says them.
fn lesson(tls: ClientConnection) -> Vec<u8> {
    let mut class = Class::new(settings());
    let member = class.connect(Some(tls));
    class.join(member, "R");
    class.send(member, &chat("R", "once"));
    class.send(member, &leave("R"));
    class.pump(member);
    class.wire(member).input.clone()
}

/// The network ends at any byte, or turns any byte: the connection goes, and what was heard is what was said.
#[test]
fn no_cut_and_no_flipped_byte_is_heard_as_something_else() {
    for tls in [tls13, tls12] {
        let length = lesson(tls()).len();
        for at in 0..length {
            for flip in [false, true] {
                let mut class = Class::new(settings());
                let stays = class.connect(None);
                class.join(stays, "R");
                class.exchange_all(stays);
                class.frames(stays);
                let member = class.connect(Some(tls()));
                class.join(member, "R");
                class.send(member, &chat("R", "once"));
                class.send(member, &leave("R"));
                class.pump(member);
                {
                    let mut wire = class.wire(member);
                    // The lengths are the same each time.
                    if flip {
                        wire.input[at] ^= 1 << (at % 8);
                    } else {
                        wire.input.truncate(at);
                        wire.input_ended = true;
                    }
                }
                class.exchange.set_readable(class.members[member].key, !flip);
                class.turn();
                class.pump(stays);
                let heard = class.replies(stays);
                let said = contents(&heard);
                assert!(said.is_empty() || said == ["once"], "{said:?} at {at}");
                if !flip {
                    assert!(!class.is_connected(member), "at {at}");
                } else if class.is_connected(member) {
                    // A length that grew: it waits for the rest, which the end cuts off.
                    class.wire(member).input_ended = true;
                    class.exchange.set_readable(class.members[member].key, true);
                    class.turn();
                    assert!(!class.is_connected(member), "at {at}");
                }
            }
        }
    }
}

/// Every byte of a hello and of a handshake, cut and turned.
#[test]
fn no_cut_and_no_flipped_byte_of_a_handshake_is_survived() {
    for tls in [tls13, tls12] {
        for second in [false, true] {
            let mut length = usize::MAX;
            let mut at = 0;
            while at < length {
                let mut class = Class::new(settings());
                let member = class.knock(Some(tls()));
                class.pump(member);
                if second {
                    class.trip(member);
                }
                class.say_bytes(member, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
                // Not the same each time: what a client says may be a byte shorter than what it said before.
                length = class.wire(member).input.len();
                if at >= length {
                    break;
                }
                class.wire(member).input[at] ^= 0x80 >> (at % 8);
                class.exchange.set_readable(class.members[member].key, false);
                class.turn();
                // What the hub answered a hello that was turned is no answer to the one that was sent.
                let output = std::mem::take(&mut class.wire(member).output);
                let client = class.members[member].tls.as_mut().expect("it has");
                let read = client.read_tls(&mut &output[..]).map(|_| client.process_new_packets());
                let agreed = matches!(read, Ok(Ok(_))) && !client.is_handshaking();
                // But for the version in a record's header, which nobody reads (RFC 8446, section 5.1).
                assert!(second || !agreed || (1..3).contains(&at), "byte {at} of the hello does not matter");
                at += 1;
            }
        }
    }
}

#[test]
fn who_wants_another_protocol_is_told_so() {
    let mut only_h2 = (*configs().1).clone();
    only_h2.alpn_protocols = vec![b"h2".to_vec()];
    let mut class = Class::new(settings());
    let member = class.knock(Some(ClientConnection::new(Arc::new(only_h2), localhost()).expect("it is whole")));
    class.pump(member);
    class.exchange.set_readable(class.members[member].key, false);
    class.turn();
    assert!(!class.is_connected(member));
    let output = std::mem::take(&mut class.wire(member).output);
    let client = class.members[member].tls.as_mut().expect("it has");
    client.read_tls(&mut &output[..]).expect("memory can be read");
    let error = client.process_new_packets().expect_err("it is refused");
    assert_eq!(error, rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol));
}
