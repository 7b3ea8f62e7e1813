//! A school in virtual time: thousands of random steps against the real hub, over sockets of memory, and a plain model beside it.
//!
//! Owns: which seeds run, on how many threads, and how a failure is told. Refuses to know: what is checked; that is `judge`'s, beside what
//! happens (`world`), who takes part (`crowd`), what they say (`client`), do with rooms of their own (`teaching`) and remember (`person`), when it
//! arrives (`delivery`), what should come of it (`model`, with its `peer`s, their `joining`, its `room`s, their `frame`s and `moderation`, and
//! `expected`, in the words of `text`), what did (`counts`), the wires between (`network`), what
//! changes while it goes on (`reload`), and how one process leaves all of it to the next (`upgrade`).
//!
//! `CLASSHUB_SIM_SEEDS=200` runs so many seeds, `CLASSHUB_SIM_SEED=7` that one again, and tells every seed: a seed is the same run for ever.

mod client;
mod counts;
mod crowd;
mod delivery;
mod expected;
mod frame;
mod joining;
mod judge;
mod model;
mod moderation;
mod network;
mod peer;
mod person;
mod reload;
mod rng;
mod room;
mod teaching;
mod text;
mod upgrade;
mod world;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use world::World;

/// As many as a developer waits for.
const SEEDS: u64 = 8;

#[test]
fn the_hub_does_what_the_model_says() {
    let number = |name| std::env::var(name).ok().map(|value: String| value.parse().expect("a number"));
    let seeds = match (number("CLASSHUB_SIM_SEED"), number("CLASSHUB_SIM_SEEDS")) {
        (Some(seed), _) => seed..=seed,
        (None, count) => 1..=count.unwrap_or(SEEDS),
    };
    // Each thread takes the next seed, until there is none before the lowest that failed.
    let next = AtomicU64::new(*seeds.start());
    let failed = Mutex::new(None::<(u64, String)>);
    let run = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let lowest = failed.lock().expect("no thread panics").as_ref().map_or(u64::MAX, |(seed, _)| *seed);
            if !seeds.contains(&seed) || seed > lowest {
                return;
            }
            match run_seed(seed, false) {
                Ok(told) => println!("seed {seed}: {told}"),
                Err(wrong) => {
                    let mut failed = failed.lock().expect("no thread panics");
                    if failed.as_ref().is_none_or(|(lowest, _)| seed < *lowest) {
                        *failed = Some((seed, wrong));
                    }
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(run);
        }
    });
    if let Some((seed, wrong)) = failed.into_inner().expect("no thread panics") {
        // Once more, now with every step written down.
        let wrong = run_seed(seed, true).err().unwrap_or(format!("{wrong}\n\n(but not when it was run again)"));
        panic!("\n{wrong}\nAgain: CLASSHUB_SIM_SEED={seed} cargo test --test sim\n");
    }
}

/// Says what there was to see, or what was wrong.
fn run_seed(seed: u64, is_told: bool) -> Result<String, String> {
    let mut world = World::new(seed, is_told);
    let wrong = match catch_unwind(AssertUnwindSafe(|| world.run())) {
        Ok(Ok(told)) => return Ok(told),
        Ok(Err(wrong)) => wrong,
        Err(panic) => format!("the hub, or the simulation, panicked: {}", words(&*panic)),
    };
    Err(format!(
        "seed {seed}, step {}: {wrong}\n\nThe last steps, the newest below:\n{}",
        world.step,
        world.last_steps()
    ))
}

fn words(panic: &dyn Any) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("?")
}
