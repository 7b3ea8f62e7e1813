//! A class without sockets, made ready for what is counted.
//!
//! Owns: the hub and its members, as far as they have come before the count begins, and what they say. Refuses to know: what is counted.

use classhub::base::{Key, Now, Wheel};
use classhub::hub::{Hub, Outlet, Part, Settings};
use classhub::net::Stream;
use classhub::net::conn::{Conn, Decoders, Head};
use classhub::wire::CloseReason;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr};

/// The connections of a class, which take whatever they are offered.
#[derive(Default)]
pub struct Sockets {
    own: Vec<u8>,
    taken_bytes: usize,
}

impl Outlet for Sockets {
    fn offer(&mut self, _: Key, bytes: &[u8]) -> usize {
        self.taken_bytes += bytes.len();
        bytes.len()
    }

    fn keep(&mut self, _: Key, write: impl FnOnce(&mut Vec<u8>)) {
        self.own.clear();
        write(&mut self.own);
        self.taken_bytes += self.own.len();
    }

    fn keep_rest(&mut self, _: Key, rest: &[u8]) {
        unreachable!("all is taken whole, and not {} bytes less", rest.len());
    }

    fn ping(&mut self, _: Key) {}

    fn retry(&mut self, _: Key) -> Option<bool> {
        None
    }

    fn sent_bytes(&mut self, _: Key) -> Option<u64> {
        None
    }

    fn close(&mut self, who: Key, reason: CloseReason) {
        unreachable!("connection {} is closed: {}", who.index, reason.words());
    }
}

/// Members of one room, and what each says next.
pub struct Class {
    hub: Hub,
    sockets: Sockets,
    now: Now,
}

impl Class {
    /// A class of so many, who have talked until their room's log was full.
    #[must_use]
    pub fn of(members: u32) -> Class {
        let now = Now { monotonic_ms: 1_000, wall_ms: 1_600_000_000_000 };
        let hub = Hub::new(Settings::default(), 1024, &[7; 32], now);
        let mut class = Class { hub, sockets: Sockets::default(), now };
        for n in 0..members {
            class.join(&join(n), n);
        }
        for n in 0..4_000 {
            class.turn(n % members, &chat());
        }
        class
    }

    /// The next one comes, who is number `n`.
    pub fn join(&mut self, text: &str, n: u32) {
        let address = IpAddr::V4(Ipv4Addr::from(0x0A00_0000 + n));
        self.hub.connect(self.now, Key::first_at(n), address.into());
        self.turn(n, text);
    }

    /// A turn in which member `n` says this, to all.
    pub fn turn(&mut self, n: u32, text: &str) {
        self.now = self.now.after_ms(100);
        let who = Key::first_at(n);
        self.hub.heard(who);
        let before = self.sockets.taken_bytes;
        let is_within_rate = self.hub.frame(self.now, who, text.len() as u32 + 8, Part::Last);
        self.hub.text(self.now, who, text, is_within_rate, &mut self.sockets);
        self.hub.expire(self.now, &mut self.sockets);
        self.hub.flush(&mut self.sockets);
        // Whatever is said here is heard by the speaker at least.
        assert!(self.sockets.taken_bytes > before, "{text}");
    }

    /// Who is here.
    #[must_use]
    pub fn members(&self) -> u64 {
        self.hub.members()
    }
}

/// What member `n` says first.
#[must_use]
pub fn join(n: u32) -> String {
    let from = format!(
        r#"{{"id":"1jt5325h83rf5h9ue6jk8r3h{n:04}","personName":"张老三","personNum":"2020{n:04}","nickName":"third","headImgUrl":"/heads/{n:04}.jpg"}}"#
    );
    format!(r#"{{"msgType":2,"textData":{{"dataType":1,"data":{{"from":{from},"roomNumber":"E00001"}}}}}}"#)
}

/// A chat of 128 bytes.
#[must_use]
pub fn chat() -> String {
    let content = format!("{:.<128}", "老师好");
    format!(
        r#"{{"msgType":3,"textData":{{"dataType":3,"data":{{"roomNumber":"E00001","content":"{content}"}}}},"extendFields":{{"ref":"17-1029"}}}}"#
    )
}

/// A vote, as the page says it.
#[must_use]
pub fn vote() -> String {
    r#"{"msgType":3,"textData":{"dataType":101,"data":{"roomNumber":"E00001","content":{"id":"k3j9x0","vote":2}}},"extendFields":{"ref":"17-1030"}}"#.into()
}

/// A socket that has nothing more to read and takes everything.
pub struct Silent;

impl Read for Silent {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }
}

impl Write for Silent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Silent {
    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection that has spoken before, what read it, and `text` in a frame as its client would send it.
#[must_use]
pub fn spoken(text: &str) -> (Conn<Silent>, Decoders, Vec<u8>) {
    const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
    let length = u16::try_from(text.len()).expect("what is said is short");
    let mut frame = vec![0x81, 0x80 | 126];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&MASK);
    frame.extend(text.bytes().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    let (mut conn, mut decoders) = (Conn::new(Silent), Decoders::default());
    assert!(matches!(conn.head(&mut &HEAD.as_bytes()[..]), Head::Complete(_)));
    conn.upgrade(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", 16 * 1024);
    for _ in 0..3 {
        assert!(conn.next(&mut &frame[..], &mut decoders).is_some());
    }
    (conn, decoders, frame)
}

/// What Chromium asks for when a page opens a WebSocket.
pub const HEAD: &str = "GET /ws HTTP/1.1\r\nHost: 192.168.1.5:9000\r\nConnection: Upgrade\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; CrOS aarch64 15662.76.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36\r\n\
    Upgrade: websocket\r\nOrigin: http://192.168.1.5:9000\r\nSec-WebSocket-Version: 13\r\nAccept-Encoding: gzip, deflate\r\n\
    Accept-Language: zh-CN,zh;q=0.9\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

/// A wheel with a timer for each of so many, spread over two minutes.
#[must_use]
pub fn wheel(timers: u32) -> Wheel {
    let mut wheel = Wheel::new(timers, 0);
    for timer in 0..timers {
        wheel.set(timer, due_ms(timer));
    }
    wheel
}

/// When a timer is due, all in an order of their own.
#[must_use]
pub fn due_ms(timer: u32) -> u64 {
    1_000 + u64::from(timer) * 7_919 % 125_000
}
