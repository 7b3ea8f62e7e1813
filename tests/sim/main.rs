//! A school in virtual time: thousands of random steps against the real hub, over sockets of memory, and a plain model beside it.
//!
//! Owns: which seeds run, and how a failure is told. Refuses to know: what is checked; that is `world`'s, beside what clients say (`client`),
//! what should come of it (`model`) and the wires between (`network`).
//!
//! `CLASSHUB_SIM_SEEDS=100` runs so many seeds, `CLASSHUB_SIM_SEED=7` that one again: a seed is the same run for ever.

mod client;
mod model;
mod network;
mod rng;
mod world;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

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
    for seed in seeds {
        let mut world = World::new(seed);
        let what = match catch_unwind(AssertUnwindSafe(|| world.run())) {
            Ok(Ok(told)) => {
                println!("seed {seed}: {told}");
                continue;
            }
            Ok(Err(wrong)) => wrong,
            Err(panic) => format!("the hub, or the simulation, panicked: {}", words(&*panic)),
        };
        panic!(
            "\n{what}\n\nThe last steps, the newest below:\n{}\nAgain: CLASSHUB_SIM_SEED={seed} cargo test --test sim\n",
            world.last_steps()
        );
    }
}

fn words(panic: &dyn Any) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("?")
}
