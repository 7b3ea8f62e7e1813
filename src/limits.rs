//! Every size in the hub, with its reason.
//!
//! Owns: the default and the legal range of each configured limit, the sizes that no configuration
//! moves, how they relate (checked while compiling), and the sum of memory that they allow.
//! Refuses to know: what any of it is used for beyond the one line of reason given here.

/// A configured number: what it is when nobody says, and what it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The value without a configuration.
    pub default: u32,
    /// The smallest legal value.
    pub min: u32,
    /// The largest legal value: the size of the table behind it, where there is one.
    pub max: u32,
}

const fn limit(default: u32, min: u32, max: u32) -> Limit {
    Limit { default, min, max }
}

// ---- Tables -------------------------------------------------------------------------------------

/// Connections at once. A school of 4,000 on one board; a laptop may carry four times that.
pub const CONNECTIONS: Limit = limit(4096, 1, 16_384);
/// Connections from one address at once; 0 is no limit, since a school may sit behind one address.
pub const CONNECTIONS_PER_IP: Limit = limit(0, 0, CONNECTIONS.max);
/// Rooms at once, configured and made.
pub const ROOMS: Limit = limit(128, 1, 1024);
/// Seats in one room. A lecture hall; each join of a full room sends a roster of that many.
pub const MEMBERS_PER_ROOM: Limit = limit(1024, 1, 4096);
/// Rooms that one connection may sit in at once: lessons side by side in one page.
pub const ROOMS_PER_CONNECTION: Limit = limit(4, 1, 8);

/// Slots beside the table of connections, for those that are answered 503 and sent away.
/// A class that reloads against a full hub is told so one and all.
pub const SPARE_CONNECTIONS: u32 = 32;
/// Addresses to listen on.
pub const LISTENERS: usize = 32;
/// How long to wait before accepting again where the system had no place for another socket, not even to turn somebody away.
pub const ACCEPT_AGAIN_MS: u64 = 250;
/// What goes wrong again and again is told in the log so often, with a count; and that it is over once it has not come for so long.
pub const FAULT_AGAIN_MS: u64 = 60_000;
/// Connections taken from one listener in one turn, so that a storm of newcomers leaves time for the class.
pub const ACCEPTS_PER_TURN: u32 = 64;

// ---- Rates and sizes of what is said ------------------------------------------------------------

/// Frames per second and connection; 0 is no limit. Nobody types faster.
pub const MESSAGES_PER_SECOND: Limit = limit(20, 0, 1_000_000);
/// Frames that may come at once before the rate counts.
pub const BURST: Limit = limit(40, 1, 1_000_000);
/// Bytes per second and connection; 0 is no limit.
pub const BYTES_PER_SECOND: Limit = limit(32 * 1024, 0, 1 << 30);
/// Bytes that may come at once before the rate counts.
pub const BYTES_BURST: Limit = limit(64 * 1024, 1024, 1 << 30);
/// One message from a client, whole. Four of them must fit into a room's log.
pub const MESSAGE_BYTES: Limit = limit(16 * 1024, 1024, 1 << 20);
/// How many largest messages a room's log must be able to hold: with fewer, a few members who speak at once would be too much for all.
pub const MESSAGES_PER_LOG: u32 = 4;
/// Frames that one room holds for its readers. A reader that lags by more is too slow.
pub const ROOM_LOG_BYTES: Limit = limit(256 * 1024, 64 * 1024, 64 << 20);
/// Replies that the hub owes to all connections together.
pub const REPLY_BYTES: Limit = limit(32 << 20, 256 * 1024, 1 << 30);
/// Frames that a room keeps for those who come back, fewer where its log is full.
pub const HISTORY: Limit = limit(1024, 1, 65_536);

/// Bytes of an id, a personNum, a room's number and a `ref`.
pub const ID_BYTES: usize = 64;
/// Bytes of a `resumeToken`, with room to spare.
pub const RESUME_TOKEN_BYTES: usize = 64;
/// Bytes of a passcode: a phrase that a teacher remembers.
pub const PASSCODE_BYTES: usize = 64;
/// Bytes of a token: one that names dozens of rooms, and the claims of a school's own beside them.
pub const TOKEN_BYTES: usize = 2048;
/// Bytes of the secret that tokens are signed with; nobody writes more than a line.
pub const SECRET_BYTES: usize = 4096;
/// A secret shorter than what it makes (RFC 7518, section 3.2) is weaker than it need be.
pub const SECRET_BYTES_ENOUGH: usize = 32;
/// Seconds that a removed member can be kept out for: a day.
pub const REMOVED_FOR_S: u32 = 86_400;
/// Members that one room keeps out at once; one more, and whoever may come back soonest may at once.
pub const REMOVED: usize = 64;
/// Keys for sealed frames: the old one and the new one of each of a few schools.
pub const SEAL_KEYS: usize = 16;
/// What sealing adds to a frame: what names version and key, the nonce and the tag.
pub const SEAL_OVERHEAD_BYTES: u64 = 30;
/// Frames sealed or opened with one key before its change is advised, a quarter of what random nonces are good for. A class of 50 that talks all day needs weeks.
pub const SEALS_BEFORE_WARNING: u64 = 1 << 30;
/// Messages that one receipt may name: what a lively class says in a second or two.
pub const RECEIPT_SEQS: usize = 64;
/// Bytes of a personName, a nickName and a room's name.
pub const NAME_BYTES: usize = 96;
/// Bytes of a headImgUrl.
pub const URL_BYTES: usize = 256;
/// Bytes of a room's desc.
pub const DESC_BYTES: usize = 256;
/// Nested brackets in a `content`; other clients' parsers crash on less than ours could read.
pub const CONTENT_DEPTH: usize = 32;
/// Bytes of a request head, as most servers allow.
pub const HEAD_BYTES: usize = 8 * 1024;
/// Header fields of a request head; a browser sends about fifteen.
pub const HEAD_FIELDS: usize = 64;

// ---- Periods ------------------------------------------------------------------------------------

/// A client must send something this often (the specification's 2 minutes).
pub const HEARTBEAT_INTERVAL_S: Limit = limit(120, 1, 86_400);
/// What a heartbeat may be late.
pub const HEARTBEAT_GRACE_S: Limit = limit(5, 0, 3600);
/// A heartbeat's deadline may be this part of its length late, so that those of many members are looked at together: a second of 125.
pub const TIMERS_TOGETHER: u64 = 125;
/// How long the holder of a seat has to answer when somebody else asks for it.
pub const HEARTBEAT_PROBE_S: Limit = limit(3, 1, 60);
/// How long a broken connection keeps its seat.
pub const HEARTBEAT_LINGER_S: Limit = limit(5, 0, 3600);
/// How long an empty room is kept.
pub const EMPTY_FOR_S: Limit = limit(600, 1, 604_800);

/// A request head must be complete by then.
pub const HEAD_MS: u64 = 10_000;
/// A connection that never had a seat, after its upgrade or its last try.
pub const JOIN_MS: u64 = 30_000;
/// How long a closed connection may take to read what it is owed, and to hang up.
pub const CLOSE_MS: u64 = 5_000;
/// Bytes that the peer's kernel has not acknowledged for this long end the connection (`TCP_USER_TIMEOUT`).
pub const UNACKNOWLEDGED_MS: u64 = 30_000;
/// A room that was silent this long gives back what its log's buffer has to spare.
pub const QUIET_MS: u64 = 5_000;

/// What is counted for ever (frames, rooms made) stays below this, which takes longer than any board lasts: no sum of such counts is too large, and a page can
/// tell each from the next (`Number.MAX_SAFE_INTEGER`).
pub const COUNTED: u64 = 1 << 53;

/// Different refusals for a `Host` or an `Origin` that are told in the log; a school has a handful of names, and who invents more tells nothing new.
pub const REFUSALS_LOGGED: usize = 16;

/// The service manager is told who is here no more often: what a person who looks can see change.
pub const STATUS_MS: u64 = 5_000;

// ---- Patience -----------------------------------------------------------------------------------

/// Bad messages in a row (`bad_json`, `unknown_type`, `too_long`) before the connection is closed.
pub const BAD_IN_A_ROW: u8 = 16;
/// Joins refused for a token or a passcode, over the life of a connection, before it is closed.
pub const WRONG_CREDENTIALS: u8 = 5;
/// Wrong tokens and passcodes that one address may show in a minute for nothing: a class in which many mistype.
pub const GUESSES_A_MINUTE: u32 = 20;
/// What each costs, in seconds of that minute: with all of them gone, so long nobody is let in from there who would have to be asked.
pub const GUESS_S: u32 = 3;
/// Addresses whose guesses are counted at once; of more, the one that guessed longest ago is forgotten.
pub const GUESSING_ADDRESSES: usize = 1024;
/// Messages refused for their rate within [`REFUSALS_MS`] before the connection is closed.
pub const REFUSALS: u16 = 100;
/// The time within which [`REFUSALS`] are counted.
pub const REFUSALS_MS: u64 = 10_000;

// ---- The hub's own age --------------------------------------------------------------------------

/// When this hub was built, in seconds since 1970: where a build says so (`SOURCE_DATE_EPOCH`, as packagers do), else a day before it that a
/// release moves. A wall clock before it was never set, and says nothing of when a token ends.
pub const BUILT_S: u64 = match option_env!("SOURCE_DATE_EPOCH") {
    Some(seconds) => number(seconds),
    // 2026-01-01.
    None => 1_767_225_600,
};

const fn number(text: &str) -> u64 {
    match u64::from_str_radix(text, 10) {
        Ok(number) => number,
        Err(_) => panic!("SOURCE_DATE_EPOCH is no number of seconds"),
    }
}

// ---- Sockets ------------------------------------------------------------------------------------

/// One read of one connection in one turn, into a buffer that all connections share.
pub const READ_BYTES: usize = 16 * 1024;
/// A connection that fills its whole read has had its share of the turn, and of some to come: where bytes have a rate, it is not read again for this
/// long, or for as long as the rate takes to allow as much, if that is shorter. A burst of large messages is spread, so that those who hear it can
/// keep up, and a flood of tiny frames, which costs far more than its bytes, waits in its sender's own socket.
pub const REST_MS: u64 = 100;
/// What a connection with several busy rooms is given of one before it is the next one's turn.
pub const SLICE_BYTES: usize = 16 * 1024;
/// What reads frames is kept for whoever is sent something next: for one message after the other one would do, but some come in parts, and all
/// that are on their way at once need one each.
pub const DECODERS_KEPT: usize = 16;
/// The library's own buffer in each of them, when it begins, and what it takes at once: enough for what people type. It grows with what comes.
pub const READ_BUFFER_BYTES: usize = 1024;
/// A frame larger than this leaves a buffer too large to keep until the next.
pub const READ_BUFFER_KEPT_BYTES: usize = 8 * 1024;
/// The buffer that sealed frames are opened into is kept for the next one unless it has grown to more: enough for what people say.
pub const OPENED_KEPT_BYTES: usize = 4096;
/// `SO_SNDBUF`. Left alone, Linux holds 4 MB for each client that does not read.
pub const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// What is given to TLS at once, when it holds nothing: a record's worth (RFC 8446, section 5.1).
pub const TLS_PLAINTEXT_BYTES: usize = 16 * 1024;
/// What a record takes beside its content at most, ours: header, nonce or type, and tag.
pub const TLS_OVERHEAD_BYTES: usize = 64;
/// One record from a client, as long as any version lets it be. A message of the handshake must fit into it too; a browser's hello has 2 KiB.
pub const TLS_RECORD_BYTES: usize = 5 + 16 * 1024 + 2048;
/// Reads in one turn of connections that are in a TLS handshake, which has two: a signature takes a small board a millisecond, and a school that
/// comes at once is not to keep waiting those who are in.
pub const HANDSHAKES_PER_TURN: u32 = 16;
/// Connections that the kernel may hold for us between two turns.
pub const BACKLOG: i32 = 1024;

// ---- How they relate ----------------------------------------------------------------------------

const _: () = {
    assert!(ROOM_LOG_BYTES.default >= MESSAGES_PER_LOG * MESSAGE_BYTES.default);
    assert!(ROOM_LOG_BYTES.min >= MESSAGES_PER_LOG * MESSAGE_BYTES.min);
    // Else a largest message could never pass the rate.
    assert!(BYTES_BURST.default >= MESSAGE_BYTES.default);
    // The library needs room for a frame header.
    assert!(READ_BUFFER_BYTES >= 14);
    // A timer is known by a 32-bit number: one a connection, then one a room.
    assert!((CONNECTIONS.max + SPARE_CONNECTIONS) as u64 + (ROOMS.max as u64) < u32::MAX as u64);
    assert!(HEAD_BYTES <= READ_BYTES);
    assert!(GUESSES_A_MINUTE * GUESS_S == 60);
    // A join with everything in it fits into a message.
    assert!(TOKEN_BYTES + 8 * ID_BYTES + 2 * NAME_BYTES + URL_BYTES < MESSAGE_BYTES.default as usize);
};

// ---- The memory sum -----------------------------------------------------------------------------

/// What one connection costs beside the message it is sending and its seats: its places in all tables and the library's context. An idle
/// member of a room, its seat and its share of the log included, is measured by a test to stay under a quarter of this.
pub const CONNECTION_BYTES: u64 = 6 * 1024;
/// What TLS adds to a connection: its keys and places, a record that is coming or was read in part, and one that the socket does not take.
pub const TLS_BYTES: u64 = TLS_STATE_BYTES + (TLS_RECORD_BYTES + TLS_PLAINTEXT_BYTES + TLS_OVERHEAD_BYTES) as u64;
/// The library's part of it: keys both ways, and what is agreed during the handshake. An idle member under TLS is measured by a test to stay under
/// this in all.
pub const TLS_STATE_BYTES: u64 = 10 * 1024;
/// The largest Member as JSON: every byte of every field a control character, which takes six to write.
pub const MEMBER_JSON_BYTES: u64 = 6 * (2 * ID_BYTES + 2 * NAME_BYTES + URL_BYTES) as u64 + 80;

/// What a seat takes beside its Member: its place in the room, twice where the room's table has just doubled, and what allocation rounds up.
const SEAT_BYTES: u64 = 192;
/// What a frame of a room takes beside a message's content and a Member: the room's number, a `ref`, names and quotes.
const FRAME_BYTES: u64 = 1024;

/// One member that a room keeps out: an id, an address and a time.
pub const REMOVED_BYTES: u64 = ID_BYTES as u64 + 48;

/// The most memory that the hub can come to hold with a given configuration, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySum {
    /// All connections: places in the tables, seats, and an unfinished frame and message each.
    pub connections: u64,
    /// All rooms: logs, twice while they compact.
    pub rooms: u64,
    /// Replies owed to all connections together.
    pub replies: u64,
    /// The hub itself with nobody connected.
    pub base: u64,
    /// Apart from the hub's own: what the kernel may hold in send buffers.
    pub kernel: u64,
}

/// The configured numbers that the sum depends on, by their names in the configuration.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // each is the key of that name
pub struct Bounds {
    pub connections: u32,
    pub rooms_per_connection: u32,
    pub message_bytes: u32,
    pub rooms: u32,
    pub room_log_bytes: u32,
    pub history: u32,
    pub reply_bytes: u32,
    /// Whether rooms may hold their frames sealed as well.
    pub sealed: bool,
    /// Whether there are listeners for TLS.
    pub tls: bool,
}

impl MemorySum {
    /// Sums up what these bounds allow.
    #[must_use]
    pub fn of(bounds: Bounds) -> MemorySum {
        let message = u64::from(bounds.message_bytes);
        let log = u64::from(bounds.room_log_bytes);
        let history = u64::from(bounds.history);
        // The hub has no more seats than its connections may have, lingering ones included. A Member came in a message, and takes no more
        // than that to write again, but for the names of fields that were left out.
        let member = MEMBER_JSON_BYTES.min(message + 80);
        let seats = u64::from(bounds.rooms_per_connection) * (member + SEAT_BYTES);
        // A frame in progress is held once, with what allocation rounds up; a fragmented message grows by doubling, so that up to twice its size
        // is held. Before all that, there is a request head, and nothing else.
        let tls = if bounds.tls { TLS_BYTES } else { 0 };
        let connection = CONNECTION_BYTES + (seats + message * 3 / 2 + message * 2).max(HEAD_BYTES as u64) + tls;
        // Rule 4 of the room log keeps it under 1.5 times its limit and a frame, and a dead prefix may be as large as what lives. It grows by a
        // quarter.
        let removed = REMOVED as u64 * REMOVED_BYTES;
        let frame = message + member + FRAME_BYTES;
        // A second log where frames may be sealed as well, each a little longer.
        let (logs, sealed) = if bounds.sealed { (2, history * SEAL_OVERHEAD_BYTES) } else { (1, 0) };
        let room = logs * (2 * (log * 3 / 2 + frame) * 5 / 4 + history * 16) + 2 * sealed + removed + 8 * 1024;
        MemorySum {
            connections: u64::from(bounds.connections + SPARE_CONNECTIONS) * connection,
            rooms: u64::from(bounds.rooms) * room,
            // A queue holds up to three times what is unsent; one frame of any size may pass the limit before anybody is closed for it.
            replies: 3 * u64::from(bounds.reply_bytes),
            // Nearly all of it is the program and the system's library, as far as they were ever run: 3.7 MiB with a little of everything done.
            base: 4 << 20,
            // Linux doubles what is asked for.
            kernel: u64::from(bounds.connections) * 2 * SEND_BUFFER_BYTES as u64,
        }
    }

    /// What the hub's own process can hold.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.connections + self.rooms + self.replies + self.base
    }
}
