//! What must hold after every turn, and at the end of a run.
//!
//! Owns: the comparison of all that can be seen of the hub with the model: what reached whom, who was closed and whether rightly so, who sits
//! where, what is held, what is due; and whether what each client was told adds up for itself. Refuses to know: what happens next.

use classhub::base::Now;
use classhub::limits;

use crate::client;
use crate::crowd::{Habit, Mail, Path};
use crate::delivery::Delivery;
use crate::expected::{Item, Told};
use crate::network::Frame;
use crate::peer::{End, Stage};
use crate::world::{FRAME_MAX, LATE_MS, Seen, World};

impl World {
    /// Compares everything there is to see, now that the turn is over.
    pub fn judge(&mut self) -> Result<(), String> {
        self.find_ended()?;
        self.finish_model();
        self.check_rooms()?;
        for who in self.live.clone() {
            self.check_client(who).map_err(|wrong| {
                let client = &self.clients[who];
                format!(
                    "{wrong}\n(connection {who}, {:?}, {:?}, at risk: {})",
                    client.habit, client.path, client.at_risk
                )
            })?;
        }
        self.check_kept()?;
        self.check_sums()
    }

    fn finish_model(&mut self) {
        for who in self.model.finish(self.now, &Seen(self.exchange.hub())) {
            let ends = self.model.peers[who].ends.clone();
            self.note(format_args!("{who} ends: {ends:?}"));
            self.clients[who].ends = ends;
            self.clients[who].ended_at = Some(self.now);
            self.clients[who].ended_in = self.step;
        }
    }

    // ---- Who has ended --------------------------------------------------------------------------

    /// Finds out who broke, and who was found too slow, and whether rightly so.
    fn find_ended(&mut self) -> Result<(), String> {
        let mut slow = Vec::new();
        for who in self.live.iter().copied() {
            let (client, peer) = (&mut self.clients[who], &mut self.model.peers[who]);
            if peer.stage == Stage::Over {
                continue;
            }
            if client.wire.borrow().end_was_seen {
                peer.ends.push(End { reason: "lost", close: None });
                if peer.stage == Stage::Head {
                    peer.stage = Stage::Over;
                    client.ends = peer.ends.clone();
                    client.ended_at = Some(self.now);
                }
            }
            if peer.stage == Stage::Head {
                if self.now.monotonic_ms >= client.since.monotonic_ms + limits::HEAD_MS {
                    client.was_late = true;
                    peer.stage = Stage::Over;
                    client.ended_at = Some(self.now);
                }
                continue;
            }
            if !client.at_risk && !client.unsure {
                continue;
            }
            client.unsure |= peer.seats.is_empty();
            if client.unsure || !peer.ends.is_empty() {
                if !peer.ends.is_empty() {
                    // Whichever was first.
                    peer.ends.extend([4002, 1013].map(|code| End { reason: "slow", close: Some(Some(code)) }));
                    client.slow = true;
                }
                continue;
            }
            let hub = self.exchange.hub();
            let is_here = |room: &usize| {
                let room = &self.model.rooms[*room];
                let seat = &room.seats[room.place_of(who)];
                let (roster, lingering) = (hub.roster(&room.number), hub.lingering(&room.number));
                let place = roster.unwrap_or_default().iter().position(|text| **text == *seat.member);
                place.is_some_and(|place| !lingering.unwrap_or_default()[place])
            };
            if !self.model.peers[who].seats.iter().any(is_here) {
                slow.push(who);
            }
        }
        if slow.is_empty() {
            return Ok(());
        }
        let ends = |who: &usize| !self.model.peers[*who].ends.is_empty() && self.model.is_open(*who);
        let mut leavers: Vec<usize> = self.live.iter().copied().filter(ends).collect();
        leavers.extend(&slow);
        for who in slow {
            self.slow += 1;
            self.clients[who].slow = true;
            self.take_output(who)?;
            let owed: usize = self.live.iter().map(|who| self.model.peers[*who].owed).sum();
            let mut ends = Vec::new();
            if self.lags(who, &leavers) {
                ends.push(End { reason: "slow", close: Some(Some(4002)) });
            }
            if owed > self.options.reply_bytes as usize {
                ends.push(End { reason: "slow", close: Some(Some(1013)) });
            }
            if ends.is_empty() {
                let owed = self.model.peers[who].owed;
                return Err(format!("connection {who} was closed for being slow, and is owed {owed} bytes only"));
            }
            self.model.peers[who].ends = ends;
        }
        Ok(())
    }

    /// Whether this connection is owed more of one room than its log holds, or more than that in its own queue, besides one frame.
    fn lags(&self, who: usize, leavers: &[usize]) -> bool {
        let log_bytes = self.model.settings.room_log_bytes as usize;
        let peer = &self.model.peers[who];
        let mut of_rooms: Vec<(usize, usize)> = Vec::new();
        let (mut all, mut largest) = (0, 0);
        for item in &peer.expected.items {
            all += item.bytes();
            largest = largest.max(item.bytes());
            if let Item::Room(frame) = item {
                match of_rooms.iter_mut().find(|(room, _)| *room == frame.room) {
                    Some((_, bytes)) => *bytes += frame.bytes,
                    None => of_rooms.push((frame.room, frame.bytes)),
                }
            }
        }
        // The leaves of the same turn are not among what it should be told, but may have pushed it out.
        let pushed = |room: usize| self.model.leave_bytes(leavers, room);
        of_rooms.iter().any(|(room, bytes)| bytes + pushed(*room) > log_bytes) || all - largest + 256 > log_bytes
    }

    // ---- Rooms ----------------------------------------------------------------------------------

    fn check_rooms(&mut self) -> Result<(), String> {
        let hub = self.exchange.hub();
        let log_bytes = self.model.settings.room_log_bytes as usize;
        let rooms = self.model.standing.len();
        if hub.rooms() as usize != rooms {
            return Err(format!("there are {} rooms, and should be {rooms}", hub.rooms()));
        }
        for room in self.model.rooms_now() {
            let number = &room.number;
            let roster = hub.roster(number).ok_or_else(|| format!("there is no room {number}"))?;
            let lingering = hub.lingering(number).unwrap_or_default();
            let same = roster.len() == room.seats.len()
                && room
                    .seats
                    .iter()
                    .zip(roster.iter().zip(&lingering))
                    .all(|(seat, (text, lingers))| *seat.member == **text && seat.linger.is_some() == *lingers);
            if !same {
                let brief = |member: &str, lingers: bool| {
                    format!("{}{}", member.split(",\"personName").next().unwrap_or(""), if lingers { "~" } else { "" })
                };
                let has = roster.iter().zip(lingering).map(|(member, lingers)| brief(member, lingers));
                let due = room.seats.iter().map(|seat| brief(&seat.member, seat.linger.is_some()));
                let (has, due) = (has.collect::<Vec<_>>().join(" "), due.collect::<Vec<_>>().join(" "));
                return Err(format!("room {number} has\n  {has}\nand should have, where ~ lingers\n  {due}"));
            }
            let (held, buffer) = hub.log_bytes(number).ok_or("a room without a log")?;
            if held as usize > log_bytes {
                return Err(format!("room {number} holds {held} bytes after the turn, of {log_bytes}"));
            }
            let buffer_max = 2 * (log_bytes * 3 / 2 + FRAME_MAX) + log_bytes / 4 + 32 * 1024;
            if buffer > buffer_max {
                return Err(format!(
                    "the buffer of room {number} takes {buffer} bytes, at most {buffer_max} are explained"
                ));
            }
        }
        Ok(())
    }

    /// What must hold in the middle of a turn as well.
    pub fn check_bounds(&self) -> Result<(), String> {
        let (owed, reply_bytes) = (self.exchange.owed_bytes(), self.options.reply_bytes as usize);
        if owed > reply_bytes {
            return Err(format!("own queues hold {owed} bytes in mid-turn, of {reply_bytes}"));
        }
        let log_bytes = u64::from(self.model.settings.room_log_bytes);
        for room in self.model.rooms_now() {
            // Rule 4 of the room log.
            if let Some((held, _)) = self.exchange.hub().log_bytes(&room.number)
                && held > log_bytes * 3 / 2 + FRAME_MAX as u64
            {
                return Err(format!("room {} holds {held} bytes in mid-turn, of {log_bytes}", room.number));
            }
        }
        Ok(())
    }

    /// A room where something was just said to people who have all of it holds as much as its bounds allow, and no more; not less where somebody
    /// does not have all of it.
    fn check_kept(&mut self) -> Result<(), String> {
        self.seqs.resize(self.model.rooms.len(), 0);
        for n in self.model.standing.iter().copied() {
            let room = &mut self.model.rooms[n];
            if std::mem::replace(&mut self.seqs[n], room.seq) == room.seq {
                continue;
            }
            let (Some(due), Some((held, _))) =
                (room.held_bytes(&self.model.settings), self.exchange.hub().log_bytes(&room.number))
            else {
                continue;
            };
            let owed = |item: &Item| matches!(item, Item::Room(frame) if frame.room == n);
            // Whoever is found too slow by the turn's last flush held back what lay behind the history until then.
            let lags = || {
                room.seats.iter().any(|seat| match (seat.holder, &seat.linger) {
                    (Some(holder), _) => self.model.peers[holder].expected.items.iter().any(owed),
                    (_, Some(linger)) => linger.since_ms == self.now.monotonic_ms,
                    _ => false,
                })
            };
            if held < due || held > due && !lags() {
                return Err(format!("room {} holds {held} bytes, and should hold {due}", room.number));
            }
        }
        Ok(())
    }

    // ---- Clients --------------------------------------------------------------------------------

    /// Hands what the hub wrote to the model, frame by frame, and on its way to the client.
    pub fn take_output(&mut self, who: usize) -> Result<(), String> {
        let client = &mut self.clients[who];
        client.frames.feed(&mut client.wire.borrow_mut().taken);
        if !client.has_head {
            let Some(head) = client.frames.head() else { return Ok(()) };
            client.has_head = true;
            let wanted = match () {
                _ if client.spare => "HTTP/1.1 503 ",
                _ if client.was_late => "HTTP/1.1 408 ",
                _ => "HTTP/1.1 101 ",
            };
            if !head.starts_with(wanted) || wanted.contains("101") && !head.contains(client::ACCEPT) {
                return Err(format!("answered {head}, and not {wanted}"));
            }
            client.is_refused = !wanted.contains("101");
        }
        if client.is_refused {
            client.frames.skip_all();
        }
        loop {
            let client = &mut self.clients[who];
            let Some(frame) = client.frames.next()? else { return Ok(()) };
            self.told += 1;
            if client.close.is_some() {
                return Err("a frame behind the close frame".into());
            }
            let mail = match frame {
                Frame::Text(payload) => {
                    let told = self.model.told(who, payload)?;
                    client.told_after += usize::from(client.ended_at.is_some_and(|_| client.ended_in != self.step));
                    if let Told::Other = told { None } else { Some(Mail::Told(told)) }
                }
                Frame::Pong(payload) => {
                    self.model.ponged(who, payload)?;
                    None
                }
                Frame::Ping(payload) => {
                    self.model.pinged(who, payload)?;
                    Some(Mail::Ping)
                }
                Frame::Close(code) => {
                    self.closed(who, code)?;
                    None
                }
            };
            if let Some(mail) = mail {
                let client = &mut self.clients[who];
                client.inbox.push_back((client.frames.position(), mail));
            }
        }
    }

    fn closed(&mut self, who: usize, code: Option<u16>) -> Result<(), String> {
        let client = &mut self.clients[who];
        client.close = Some(code);
        if client.unsure {
            client.slow = true;
            client.unsure = false;
            client.ends.extend([4002, 1013, 4000, 1008].map(|code| End { reason: "slow", close: Some(Some(code)) }));
            client.ended_at.get_or_insert(self.now);
            self.model.peers[who].stage = Stage::Over;
        }
        if !client.ends.iter().any(|end| end.close == Some(code)) {
            return Err(format!("closed with {code:?}, where {:?} was due", client.ends));
        }
        let is_slow = matches!(code, Some(4002 | 1013));
        if is_slow && client.told_after > 1 {
            let frames = client.told_after;
            return Err(format!("closed with {code:?}, and told {frames} frames more, which were to be forgotten"));
        }
        // Of one that may have been found too slow as well the replies may have been forgotten.
        if !client.slow && self.model.peers[who].expected.items.iter().any(Item::is_owed_before_close) {
            return Err(format!("closed with {code:?} before a reply that was made before"));
        }
        Ok(())
    }

    fn check_client(&mut self, who: usize) -> Result<(), String> {
        self.take_output(who)?;
        let client = &mut self.clients[who];
        let wire = client.wire.borrow();
        if let Some(wrong) = wire.wrong {
            return Err(format!("the hub {wrong}"));
        }
        let peer = &self.model.peers[who];
        let ended = peer.stage == Stage::Over;
        let close_ends = |at: Now| at.monotonic_ms + limits::CLOSE_MS;
        if wire.dropped {
            let in_time = client.ended_at.is_none_or(|at| self.now.monotonic_ms >= close_ends(at));
            if !ended && !client.unsure {
                return Err("the hub gave up a socket that was neither closed nor broken".into());
            }
            if ended && !wire.end_was_seen && !in_time && !client.slow && !client.spare {
                // Where too much is owed in all, those who are closing are given up first.
                let all: usize = self.live.iter().map(|who| self.model.peers[*who].owed).sum();
                if all <= self.options.reply_bytes as usize {
                    return Err("the hub gave up a socket before the client had time to read and to hang up".into());
                }
            }
            drop(wire);
            return self.is_done(who);
        }
        // One that was closed before is given up when its time is over, whether or not a write has found it broken.
        let is_lost = !client.ends.is_empty() && client.ends.iter().all(|end| end.close.is_none());
        if wire.end_was_seen && is_lost && !client.unsure {
            return Err("the hub keeps a socket that has ended".into());
        }
        if ended && client.ended_at.is_some_and(|at| self.now.monotonic_ms >= close_ends(at) + LATE_MS) {
            return Err("the hub keeps a socket for longer than a close may take".into());
        }
        if wire.refused || wire.end_was_seen {
            return Ok(());
        }
        // A socket that takes more: nothing may be left.
        if ended {
            let said = client.close.is_some() || client.spare || !client.has_head || client.ends.is_empty();
            if !said || !wire.shut_down {
                return Err(format!(
                    "ended, with a socket that takes more, but close {:?}, shut down: {}",
                    client.close, wire.shut_down
                ));
            }
            return Ok(());
        }
        if wire.shut_down {
            return Err("the hub has ended its side for no reason".into());
        }
        if peer.owed > 0 && !client.unsure {
            return Err(format!(
                "{} frames, {} pongs, {} pings and {} bytes wait for a socket that would take them",
                peer.expected.items.len(),
                peer.pongs.len(),
                peer.pings,
                peer.owed
            ));
        }
        if !client.frames.is_between_frames() {
            return Err("half a frame waits for a socket that would take the rest".into());
        }
        // It was told everything: so it was not closed.
        client.unsure = false;
        Ok(())
    }

    fn check_sums(&mut self) -> Result<(), String> {
        // Who was done with in this turn has gone from both.
        if self.exchange.len() as usize != self.live.len() {
            return Err(format!("{} connections, and {} sockets", self.exchange.len(), self.live.len()));
        }
        let owed = self.exchange.owed_bytes();
        let mut model_owed = 0;
        for who in self.live.iter().copied() {
            let wire = self.clients[who].wire.borrow();
            if !wire.refused && !wire.end_was_seen {
                continue;
            }
            model_owed += self.model.peers[who].owed + 400;
            if !self.model.is_open(who) || self.clients[who].unsure {
                continue;
            }
            let (queued, largest) = self.model.peers[who].expected.queued();
            if queued > self.model.settings.room_log_bytes as usize + 2 * largest {
                return Err(format!(
                    "connection {who} is owed {queued} bytes, of them one frame {largest}, by its own queue"
                ));
            }
        }
        if owed > model_owed || owed > self.options.reply_bytes as usize {
            return Err(format!(
                "own queues hold {owed} bytes, {model_owed} are owed, {} allowed",
                self.options.reply_bytes
            ));
        }
        let mut dues = Vec::new();
        self.model.dues(&mut dues);
        self.heads(&mut dues);
        if let Some(due) = dues.into_iter().min()
            && self.exchange.next_deadline_ms().is_none_or(|next| next > due + LATE_MS)
            && !self.live.iter().any(|who| self.clients[*who].unsure)
        {
            return Err(format!(
                "something is due at {due}, and the hub sleeps until {:?}",
                self.exchange.next_deadline_ms()
            ));
        }
        Ok(())
    }

    // ---- The end --------------------------------------------------------------------------------

    /// Everybody reads again whom anything reaches: now everything that is owed must come, and what each was told must add up.
    pub fn drain(&mut self) -> Result<(), String> {
        for who in self.live.clone() {
            let client = &mut self.clients[who];
            client.fall_silent();
            if client.path != Path::HalfOpen {
                client.path = Path::Fine;
                client.habit = Habit::Loyal;
                client.wire.borrow_mut().capacity = 16 << 20;
            }
        }
        for _ in 0..4 {
            self.rest("drain", 0)?;
        }
        for who in self.live.clone() {
            let client = &self.clients[who];
            let is_cut = client.wire.borrow().reset || client.wire.borrow().ended || client.path == Path::HalfOpen;
            if is_cut || !self.model.is_open(who) {
                continue;
            }
            let owed = self.model.peers[who].owed;
            if owed > 0 {
                return Err(format!("connection {who} reads everything, and {owed} bytes never came"));
            }
            self.listen(who)?;
            self.check_views(who)?;
        }
        Ok(())
    }

    /// What a client knows from what it was told alone is what there is.
    fn check_views(&self, who: usize) -> Result<(), String> {
        for room in &self.model.peers[who].seats {
            let room = &self.model.rooms[*room];
            let number = &room.number;
            let view =
                self.clients[who].views.get(number).ok_or_else(|| format!("{who} was not told of room {number}"))?;
            if view.last_seq != room.seq {
                let (seen, seq) = (view.last_seq, room.seq);
                return Err(format!("connection {who} has seen room {number} up to {seen}, and it is at {seq}"));
            }
            if view.room != room.fields {
                let (known, fields) = (&view.room, &room.fields);
                return Err(format!(
                    "connection {who} knows of room {number}\n  {known}, where this holds\n  {fields}"
                ));
            }
            let roster = self.exchange.hub().roster(number).unwrap_or_default();
            if let Some(known) = &view.roster
                && !known.iter().map(|member| &**member).eq(roster.iter().copied())
            {
                return Err(format!("connection {who} knows of room {number}\n  {known:?}, and it has\n  {roster:?}"));
            }
        }
        Ok(())
    }

    /// A turn in which nobody says anything.
    fn rest(&mut self, what: &str, ms: u64) -> Result<(), String> {
        self.begin();
        for who in self.live.clone() {
            self.listen(who)?;
            self.quieten(who);
        }
        self.pass(ms);
        self.note(format_args!("{what}"));
        self.judge_risks(&Delivery::new());
        self.turn(Delivery::new(), 0)
    }

    /// Everybody goes, one way or another, and the hub comes to rest: it is driven by its own deadlines only.
    pub fn wind_up(&mut self) -> Result<(), String> {
        for who in self.live.clone() {
            match self.rng.below(4) {
                // It stays until its silence is noticed.
                0 => {}
                1 => self.breaks(who),
                _ => self.hangs_up(who),
            }
        }
        let mut ms = 0;
        for _ in 0..3_000 {
            self.rest("wind up", ms)?;
            ms = 0;
            if self.exchange.has_ready() {
                continue;
            }
            let Some(next) = self.exchange.next_deadline_ms() else { break };
            ms = next.saturating_sub(self.now.monotonic_ms).max(1);
        }
        if let Some(next) = self.exchange.next_deadline_ms() {
            return Err(format!("nobody is here, and still something is due at {next}"));
        }
        self.check_empty()?;
        for room in &self.model.settings.configured {
            let log_bytes = self.exchange.hub().log_bytes(&room.number);
            if log_bytes != Some((0, 0)) {
                return Err(format!("room {} was empty for long, and holds {log_bytes:?}", room.number));
            }
        }
        let rooms = self.exchange.hub().rooms() as usize;
        if rooms != self.model.settings.configured.len() {
            return Err(format!("{rooms} rooms are left"));
        }
        Ok(())
    }

    /// The hub stops, while a few do not read: all get what they are owed, and 1001.
    pub fn stop(&mut self) -> Result<(), String> {
        let open: Vec<usize> = self.live.iter().copied().filter(|who| self.model.is_open(*who)).collect();
        for who in &open {
            let mut wire = self.clients[*who].wire.borrow_mut();
            if self.rng.chance(50) && !wire.reset && !wire.ended {
                wire.capacity = wire.in_flight + self.rng.below(300);
            }
        }
        self.begin();
        for who in &open {
            if !self.model.peers[*who].seats.is_empty() && self.can_speak(*who) && self.rng.chance(25) {
                let room = self.room_of(*who);
                self.say(*who, room, 50);
            }
        }
        self.pass(0);
        let delivery = self.choose();
        self.turn(delivery, 0)?;
        self.note(format_args!("stop"));
        let log_bytes = self.model.settings.room_log_bytes as usize;
        let lagging = |who: &usize| self.model.peers[*who].owed * 2 > log_bytes;
        if self.exchange.has_ready() || open.iter().any(lagging) {
            // Whoever would be too slow leaves, and that is another matter.
            return self.wind_up();
        }
        self.exchange.stop(self.now);
        for who in open {
            let peer = &mut self.model.peers[who];
            if peer.stage != Stage::Open {
                continue;
            }
            peer.stage = Stage::Over;
            let ends = vec![End { reason: "", close: Some(Some(1001)) }];
            self.clients[who].ends = ends;
            self.clients[who].ended_at = Some(self.now);
            let wire = self.clients[who].wire.clone();
            wire.borrow_mut().capacity = 16 << 20;
            if std::mem::take(&mut wire.borrow_mut().refused) {
                self.exchange.write(self.clients[who].key);
            }
            self.take_output(who)?;
            let client = &self.clients[who];
            let end_was_seen = client.wire.borrow().end_was_seen;
            let owed = self.model.peers[who].owed;
            if !end_was_seen && (owed > 0 || client.close != Some(Some(1001))) {
                return Err(format!(
                    "the hub stopped, and connection {who} was not told {owed} bytes; close: {:?}",
                    client.close
                ));
            }
        }
        for _ in 0..3 {
            self.now = self.now.after_ms(limits::CLOSE_MS / 2 + LATE_MS);
            self.exchange.read_ready(self.now);
            self.exchange.expire(self.now);
            self.exchange.finish(self.now);
        }
        self.check_empty()
    }

    fn check_empty(&self) -> Result<(), String> {
        match (self.exchange.len(), self.exchange.owed_bytes()) {
            (0, 0) => Ok(()),
            (len, owed) => Err(format!("everybody is gone, and {len} connections and {owed} bytes are left")),
        }
    }
}
