//! How cost grows.
//!
//! Owns: the same talk in one room of more and more members, and in more and more rooms, with joins one at a time. Refuses to know: what a cost should be.
//!
//! One in each room speaks, and has one message on the way: so that every frame is a write of its own, however many there are, and a delivery costs the
//! same wherever it is made. In the classes of the other workloads more frames share a write as rooms grow, which would hide what grows here.

use crate::figures::{self, Series};
use crate::table;
use crate::workloads::{Kind, Workload};

/// Who speaks.
const TALK: Kind = Kind::Talk { senders: 1, in_flight: 1, content_bytes: 128 };

/// All steps, first by members, then by rooms of 20.
pub fn workloads() -> Vec<Workload> {
    let step = |name, rooms, members| Workload {
        name,
        about: "one in each room talks, 128 B",
        rooms,
        members,
        joins_together: 1,
        kind: TALK,
    };
    let members = [10, 20, 50, 100, 200, 500, 1024].map(|members| step("members", 1, members));
    let rooms = [1, 2, 4, 8, 16, 32, 64, 128].map(|rooms| step("rooms", rooms, 20));
    members.into_iter().chain(rooms).collect()
}

/// How large a step is.
pub fn size(workload: &Workload) -> usize {
    if workload.name == "rooms" { workload.rooms } else { workload.members }
}

/// A row for each step, a column for each server and cost.
pub fn table(all: &[Series]) -> String {
    let mut servers: Vec<&str> = Vec::new();
    for series in all {
        if !servers.contains(&series.server) {
            servers.push(series.server);
        }
    }
    let mut heads = vec!["".to_owned()];
    for cost in ["CPU/delivery", "frames/write", "CPU/join"] {
        heads.extend(servers.iter().map(|server| format!("{cost}, {server}")));
    }
    let mut rows = vec![heads];
    for steps in all.chunks(servers.len()) {
        let (name, size) = (steps[0].workload.name, size(&steps[0].workload));
        let mut row = vec![format!("{size} {name}")];
        for (figure, show) in [
            (figures::CPU, (|ns| table::us(ns / 1000.0)) as fn(f64) -> String),
            (figures::FRAMES_PER_WRITE, |frames| format!("{frames:.2}")),
            (figures::CPU_PER_JOIN, |ns| table::us(ns / 1000.0)),
        ] {
            row.extend(steps.iter().map(|step| step.median(figure).map_or("-".into(), show)));
        }
        rows.push(row);
    }
    table::render(&rows, 1)
}
