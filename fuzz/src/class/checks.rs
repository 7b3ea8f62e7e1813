//! What must be true after every turn, whatever was done.
//!
//! Owns: what the hub shows of itself beside what clients are sent: its sizes, its rosters, its deadlines. Refuses to know: what else is right, for
//! which the simulation has a model (`tests/sim`).

use classhub::base::TICK_MS;
use classhub::limits;

use super::{CONFIGURED, CONNECTIONS, Class, Client, DIFFERENT, IDS, MESSAGE_BYTES, NUMBERS, ROOMS, SEATS, Stage};
use crate::voice::Voice;

impl Class {
    pub(super) fn check(&mut self) {
        let (exchange, hub) = (&self.exchange, self.exchange.hub());
        assert!(exchange.owed_bytes() <= self.options.reply_bytes as usize);
        assert!(exchange.len() <= CONNECTIONS + limits::SPARE_CONNECTIONS);
        assert!(!exchange.is_empty() || exchange.owed_bytes() == 0, "owed to nobody");
        assert!((CONFIGURED as u32..=ROOMS).contains(&hub.rooms()));
        let now_ms = self.now.monotonic_ms;
        assert!(exchange.next_deadline_ms().is_none_or(|due_ms| due_ms > now_ms), "a deadline was left behind");
        for (number, missing) in NUMBERS.iter().zip(&mut self.missing) {
            *missing += u64::from(hub.roster(number).is_none());
        }
        self.check_rooms();
        for client in self.living() {
            let is_known = client.views.keys().all(|number| hub.roster(number).is_some());
            assert!(is_known || !client.wire.borrow().is_clear(), "a room ended with somebody in it");
            let Client { stage, offences, wire, .. } = client;
            let has_heard_all = *stage == Stage::Open && wire.borrow().is_clear() && wire.borrow().to_hub.is_empty();
            let is_to_end = offences.fatal || offences.last_word.is_some();
            assert!(!has_heard_all || !is_to_end, "still there after {offences:?}");
        }
    }

    fn living(&self) -> impl Iterator<Item = &Client> {
        self.places.iter().flatten().map(|client| &self.clients[*client])
    }

    fn check_rooms(&self) {
        let hub = self.exchange.hub();
        for number in &NUMBERS[..DIFFERENT] {
            let (Some(roster), Some(lingering)) = (hub.roster(number), hub.lingering(number)) else { continue };
            assert!(roster.len() <= SEATS as usize);
            assert!(self.settings.linger_s > 0 || !lingering.contains(&true));
            let held = lingering.iter().filter(|lingers| !**lingers).count();
            let living = self.living().filter(|client| !client.wire.borrow().dropped).count();
            assert!(held <= living, "a seat held by nobody");
            let (bytes, buffer) = hub.log_bytes(number).expect("a room has a log");
            let log = u64::from(self.settings.room_log_bytes);
            assert!(bytes <= log, "{bytes} bytes in a log of {log}");
            // A log grows by 32 KiB at least, and there may be two of them.
            let step = 2 * 32 * 1024;
            assert!(buffer as u64 <= 2 * (log * 3 / 2 + 2 * u64::from(MESSAGE_BYTES)) * 5 / 4 + step, "{buffer}");
            let ids: Vec<&str> = roster.iter().map(|member| id_of(member)).collect();
            let mut key = None;
            for client in self.living().filter(|client| client.stage == Stage::Open && client.wire.borrow().is_clear())
            {
                assert!(client.wire.borrow().output.is_empty(), "half a frame, and more would be taken");
                let Some(view) = client.views.get(*number) else { continue };
                let place = ids.iter().position(|id| Some(*id) == client.id).expect("a seat that is none");
                assert!(!lingering[place], "a seat that somebody holds lingers");
                assert!(view.roster.as_ref().is_none_or(|known| *known == ids), "{:?} is {ids:?}", view.roster);
                if let Voice::Sealed(own) = client.voice {
                    assert_eq!(*key.get_or_insert(own), own, "two keys in one room");
                }
            }
        }
    }

    /// A room in which nothing was said for long has given back what its log's buffer had to spare. What is said comes to it when it is read,
    /// which may be long after it was sent; and a frame may take the place of one that was as long.
    pub(super) fn check_quiet(&mut self) {
        let hub = self.exchange.hub();
        let seen = |number: &&str| Some((hub.log_bytes(number)?, hub.roster(number)?.len()));
        let rooms: Vec<_> = NUMBERS[..DIFFERENT].iter().filter_map(seen).collect();
        let looks: Vec<_> = rooms.iter().map(|((bytes, _), members)| (*bytes, *members)).collect();
        if looks != self.rooms {
            self.rooms = looks;
            self.changed_ms = self.now.monotonic_ms;
        }
        if self.now.monotonic_ms > self.changed_ms + limits::QUIET_MS + TICK_MS {
            for ((bytes, buffer), _) in rooms {
                assert_eq!(bytes, buffer as u64, "a quiet room's buffer");
            }
        }
    }

    pub(super) fn check_nothing_is_left(&self) {
        assert!(self.exchange.is_empty() && self.exchange.owed_bytes() == 0);
        assert_eq!(self.exchange.hub().rooms() as usize, CONFIGURED);
        for client in &self.clients {
            assert!(client.wire.borrow().dropped, "a socket is left open");
        }
        for number in &NUMBERS[..CONFIGURED] {
            let (bytes, buffer) = self.exchange.hub().log_bytes(number).expect("it is always there");
            assert_eq!((bytes, buffer), (0, 0), "an empty room keeps what was said");
        }
    }
}

/// Whose Member this is. Compared, not parsed: it is asked after every turn.
fn id_of(member: &str) -> &'static str {
    const WRITTEN: [&str; 4] = [r#"{"id":"t","#, r#"{"id":"学七","#, r#"{"id":"a\"b\\","#, r#"{"id":"s","#];
    let place = WRITTEN.iter().position(|written| member.starts_with(written));
    IDS[place.unwrap_or_else(|| panic!("{member} is nobody"))]
}
