//! What no client should send, or not like this, or what says nothing.
//!
//! Owns: one frame or several of each kind, and which of them no connection survives. Refuses to know: what becomes of it.

use classhub::wire::seal::Side;

use super::{Class, MESSAGE_BYTES};
use crate::steps::{Access, Act, LastSeq, Passcode, Resume};
use crate::voice::{UNKNOWN, Voice};

const HEARTBEAT: &[u8] = br#"{"msgType":1}"#;

impl Class {
    /// Does one of them, or one of a kind in one of eight ways.
    pub(super) fn odd(&mut self, client: usize, room: &'static str, which: u8) {
        let too_long = [&[0x81, 0xFE, 0x04, 0x01, 0, 0, 0, 0][..], &[b'x'; MESSAGE_BYTES as usize + 1]].concat();
        match which % 32 {
            0 | 1 => self.say(client, HEARTBEAT),
            2 => self.send(client, 0x89, b"ping"),
            3 => self.send(client, 0x89, &[b'p'; 125]),
            4 => self.send(client, 0x8A, b""),
            5 => self.piece(client, br#"{"msgType":"#),
            6 => self.send(client, 0x00, b""),
            7 => self.send(client, 0x80, b"1}"),
            8 => self.say(client, b"{}"),
            9 => self.say(client, br#"{"msgType":6}"#),
            10 => self.unopened(client, b"\x01\x01"),
            11 => self.say_as(client, Voice::Plain, b"\xFF"),
            12 => self.send(client, 0x8B, b""),
            13 => self.send(client, 0x09, b""),
            14 => self.send_raw(client, &too_long),
            15 => self.send_raw(client, &[0x81, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
            16 => self.send_raw(client, &[0x81, 0x00]),
            // Half a ping; what follows is its payload.
            17 => self.send_raw(client, &[0x89, 0x84, 0, 0, 0, 0]),
            18 => self.send_raw(client, b"GET / HTTP/1.1\r\n\r\n"),
            // Many at once.
            19 => (0..120).for_each(|_| {
                self.say(client, br#"{"msgType":5,"textData":{"dataType":1,"data":{"roomNumber":"C"}}}"#);
            }),
            20 | 21 => (0..5).for_each(|_| self.guess(client, room)),
            22 => self.say_as(client, Voice::Plain, HEARTBEAT),
            23 => self.say_as(client, Voice::Sealed(0), HEARTBEAT),
            24 => self.say_as(client, Voice::Sealed(1), HEARTBEAT),
            25 => self.say_as(client, Voice::Sealed(UNKNOWN), HEARTBEAT),
            26 => {
                let mut sealed = self.keys.seal(0, Side::Client, HEARTBEAT);
                sealed[which as usize >> 5] ^= 1;
                self.unopened(client, &sealed);
            }
            27 => {
                let mut sealed = self.keys.seal(1, Side::Client, HEARTBEAT);
                let last = sealed.len() - 1;
                sealed[last - (which as usize >> 5)] ^= 0x80;
                self.unopened(client, &sealed);
            }
            28 => {
                let sealed = self.keys.seal(0, Side::Hub, HEARTBEAT);
                self.unopened(client, &sealed);
            }
            29 => self.say(client, b"\xFF"),
            30 => self.say(client, b""),
            // In two pieces, with a ping between.
            _ => self.say_in_pieces(client),
        }
    }

    /// A client sends a message in this voice: its first settles its voice for good, and one in another ends it.
    pub(super) fn speaks(&mut self, client: usize, voice: Voice) {
        let it = &mut self.clients[client];
        if !std::mem::replace(&mut it.has_spoken, true) {
            it.voice = voice;
        }
        let is_sealed = voice != Voice::Plain;
        let is_unsupported = is_sealed != (it.voice != Voice::Plain) || is_sealed && !self.setting.has_keys;
        let is_unopened = !is_unsupported && (voice != it.voice || voice == Voice::Sealed(UNKNOWN));
        it.offences.unsupported |= is_unsupported;
        it.offences.unopened |= is_unopened;
        it.offences.fatal |= is_unsupported || is_unopened;
    }

    /// Sends what no key opens.
    fn unopened(&mut self, client: usize, sealed: &[u8]) {
        let it = &mut self.clients[client];
        // What the connection speaks is settled by what opens.
        let is_unsupported = !self.setting.has_keys || it.has_spoken && it.voice == Voice::Plain;
        it.offences.unsupported |= is_unsupported;
        it.offences.unopened |= !is_unsupported;
        it.offences.fatal = true;
        self.send(client, 0x82, sealed);
    }

    /// Sends the first piece of a text, which may never end.
    fn piece(&mut self, client: usize, text: &[u8]) {
        let was_fatal = self.clients[client].offences.fatal;
        self.speaks(client, Voice::Plain);
        self.clients[client].offences.fatal = was_fatal;
        self.send(client, 0x01, text);
    }

    fn say_in_pieces(&mut self, client: usize) {
        let (first, whole) = match self.clients[client].voice {
            Voice::Plain => (0x01, HEARTBEAT.to_vec()),
            Voice::Sealed(place) => (0x02, self.keys.seal(place, Side::Client, HEARTBEAT)),
        };
        self.speaks(client, self.clients[client].voice);
        let (head, tail) = whole.split_at(whole.len() / 2);
        self.send(client, first, head);
        self.send(client, 0x89, b"between");
        self.send(client, 0x80, tail);
    }

    /// Tries one that is wrong wherever anything is asked for.
    fn guess(&mut self, client: usize, room: &'static str) {
        let guess = Act::Join {
            id: 3,
            access: Access::Forged,
            passcode: Passcode::Wrong,
            owner_passcode: Passcode::Wrong,
            resume: Resume::None,
            last_seq: LastSeq::None,
        };
        if let Some(request) = self.request(client, room, &guess) {
            self.say(client, request.to_string().as_bytes());
        }
    }
}
