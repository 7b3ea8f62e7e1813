//! The operator decides anew, in the middle of everything.
//!
//! Owns: what is changed and when, and what the model makes of it: nobody has to go. Refuses to know: how the hub passes from one to the other.

use classhub::base::Now;
use classhub::hub::Settings;

use crate::model::Model;
use crate::world::World;

impl World {
    /// Some of all that can be changed is another from now on.
    pub fn reload(&mut self) -> Result<(), String> {
        let rng = &mut self.rng;
        let mut settings = self.model.settings.clone();
        // Nobody would beat often enough.
        settings.heartbeat_interval_s = rng.range(4, 20) as u32;
        settings.heartbeat_grace_s = rng.range(0, 5) as u32;
        settings.probe_s = rng.pick(&[1, 2, 3, 3, 5]);
        settings.linger_s = rng.pick(&[0, 1, 3, 5, 5, 10, 40]);
        settings.members_per_room = rng.pick(&[3, 8, 16, 40]);
        settings.rooms_per_connection = rng.pick(&[1, 2, 3, 4, 4]);
        settings.auto_create = rng.chance(85);
        // With fewer than there are, which of two empty ones ends would be anybody's guess.
        settings.rooms = rng.range(3, 7).max(self.model.standing.len()) as u32;
        self.options.connections = rng.pick(&[12, 20, 24, 32]);
        // A frame to everyone in the room, for which nobody may be too slow: a turn alone knows who may be.
        let is_at_risk = |who: &usize| self.clients[*who].at_risk || self.clients[*who].unsure;
        if !self.live.iter().any(is_at_risk) {
            let room = rng.below(settings.configured.len());
            settings.configured[room].name = format!("lesson {}", rng.below(3));
        }
        self.reloads += 1;
        self.note(format_args!("the operator decides anew"));
        self.exchange.apply(self.now, self.options.clone(), settings.clone());
        self.model.reload(self.now, settings, self.options.connections);
        self.judge()
    }
}

impl Model {
    fn reload(&mut self, now: Now, settings: Settings, connections: u32) {
        let (silence_ms, probe_ms) = (self.silence_ms(), self.probe_ms());
        self.settings = settings;
        self.seats_max = (connections * self.settings.rooms_per_connection) as usize;
        // Nobody is late who was not late before, and nothing is put off by a shorter period.
        let at = now.monotonic_ms;
        let since = |since_ms: u64, before_ms: u64, after_ms: u64| match after_ms < before_ms {
            true => (since_ms + before_ms).min(at + after_ms) - after_ms,
            false => since_ms,
        };
        let (silence_after_ms, probe_after_ms) = (self.silence_ms(), self.probe_ms());
        for peer in &mut self.peers {
            peer.last_seen_ms = since(peer.last_seen_ms, silence_ms, silence_after_ms);
            peer.pinged_ms = peer.pinged_ms.map(|pinged_ms| since(pinged_ms, probe_ms, probe_after_ms));
            if peer.alive_by_ms.is_some() {
                peer.alive_by_ms = peer.pinged_ms.map(|pinged_ms| pinged_ms + probe_after_ms);
            }
        }
        for settings in self.settings.configured.clone() {
            let Some(room) = self.room(&settings.number) else { continue };
            let here = &mut self.rooms[room];
            if here.name != settings.name {
                here.name = settings.name;
                here.write_fields();
                if !here.seats.is_empty() {
                    self.publish_rule(now, room, None);
                }
            }
        }
    }
}
