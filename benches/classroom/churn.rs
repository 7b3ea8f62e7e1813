//! Coming and going.
//!
//! Owns: the cycle of those who come: connect, upgrade, join, hear of it, leave, hear of that, close, read the end; and its check: those who stay
//! hear of each join and each leave. Refuses to know: which server it is.

use std::time::{Duration, Instant};

use crate::load::{Failed, Heard, Load, PATIENCE};
use crate::servers::Running;
use crate::window::{Outcome, Window};
use crate::wire;

/// Enough of a leave to find who leaves.
const TELLING_BYTES: usize = 700;
const LEAVER: &[u8] = br#""newLeaveMember":{"id":""#;
const LEFT: &[u8] = br#"{"status":1,"msg":"Leave"#;

/// `staying` members sit in room 0, and `cyclers` more come and go.
pub fn run(
    load: &mut Load,
    staying: usize,
    cyclers: usize,
    server: &Running,
    length: Duration,
) -> Result<Outcome, Failed> {
    let before: Vec<u64> = load.members.iter().flatten().map(|member| member.heard).collect();
    let mut came_at = vec![Instant::now(); staying + cyclers];
    for n in staying..staying + cyclers {
        come(load, n)?;
    }
    let begins = Instant::now() + length / 8;
    let mut window: Option<(Window, u64)> = None;
    let (mut cycles, mut ended, mut latencies_ns, mut outcome) = (0u64, Vec::new(), Vec::new(), None);
    let mut here = cyclers;
    while here > 0 {
        let now = Instant::now();
        match &window {
            None if now >= begins => {
                latencies_ns.clear();
                window = Some((Window::begin(load, server)?, cycles));
            }
            Some((window, cycles_before)) if outcome.is_none() && now >= window.began + length => {
                let mut it = window.end(load, server)?;
                it.bytes_per_delivery *= it.deliveries as f64 / (cycles - cycles_before).max(1) as f64;
                it.deliveries = cycles - cycles_before;
                it.segments = None;
                it.latencies_ns = std::mem::take(&mut latencies_ns);
                outcome = Some(it);
            }
            _ => {}
        }
        if now > begins + length + PATIENCE {
            return Err("those who come and go have stopped".into());
        }
        load.turn(Some(Duration::from_millis(50)), &mut |member, heard| {
            if member.n < staying {
                return Ok(());
            }
            match heard {
                Heard::Open => {
                    member.listen_to(TELLING_BYTES);
                    member.say(&wire::join(member.n, 0))
                }
                // The first is its own join; where it is refused, no leave follows.
                Heard::Text(_) if member.heard == 1 => member.say(&wire::leave(0)),
                Heard::Text(frame) if frame.starts_with(LEFT) => {
                    let id = frame.windows(LEAVER.len()).position(|part| part == LEAVER).map(|at| at + LEAVER.len());
                    if id.is_some_and(|at| frame[at..].starts_with(wire::id(member.n).as_bytes())) {
                        member.leaves = true;
                        return member.say(&wire::close());
                    }
                    Ok(())
                }
                Heard::Text(_) | Heard::Close => Ok(()),
                Heard::End => {
                    ended.push(member.n);
                    Ok(())
                }
            }
        })?;
        for n in ended.drain(..) {
            cycles += 1;
            latencies_ns.push(came_at[n].elapsed().as_nanos().try_into().unwrap_or(u32::MAX));
            load.drop(n);
            if outcome.is_none() {
                came_at[n] = Instant::now();
                come(load, n)?;
            } else {
                here -= 1;
            }
        }
    }
    let all = before.iter().sum::<u64>() + staying as u64 * cycles * 2;
    load.until("the news of the last leaves", |load| {
        load.members.iter().flatten().map(|member| member.heard).sum::<u64>() >= all
    })?;
    for (member, before) in load.members.iter().flatten().zip(before) {
        if member.heard != before + 2 * cycles {
            return Err(format!("member {} heard {} frames in {cycles} cycles", member.n, member.heard - before).into());
        }
    }
    outcome.ok_or_else(|| "nothing was counted".into())
}

fn come(load: &mut Load, n: usize) -> Result<(), Failed> {
    Ok(load.connect(n, 0)?)
}
