//! Figures for programs.
//!
//! Owns: the document of `--json`. Refuses to know: where it goes.

use serde_json::{Map, Value, json};

use crate::figures::{self, Series};
use crate::machine::Machine;
use crate::window::Outcome;

/// Every run, round by round, with medians, and their ratios to the floor.
pub fn document(all: &[Series], machine: &Machine) -> Value {
    let series: Vec<Value> = all.iter().map(|series| of_series(series, all)).collect();
    json!({
        "classhub": env!("CARGO_PKG_VERSION"),
        "tls": cfg!(feature = "tls"),
        "binary_bytes": machine.binary_bytes,
        "machine": { "processor": machine.processor, "cores": machine.cores, "kernel": machine.kernel },
        "series": series,
    })
}

fn of_series(series: &Series, all: &[Series]) -> Value {
    let workload = &series.workload;
    let rounds: Vec<Value> = series
        .rounds
        .iter()
        .map(|round| match round {
            Ok(run) => of_run(series, run),
            Err(why) => json!({ "failed": why }),
        })
        .collect();
    let medians = of_figures(|figure| series.median(figure));
    let floor = all.iter().find(|other| {
        other.server == "floor"
            && (other.workload.name, other.workload.rooms, other.workload.members)
                == (workload.name, workload.rooms, workload.members)
    });
    let ratios = of_figures(|figure| series.ratio(floor?, figure));
    json!({
        "workload": workload.name,
        "about": workload.about,
        "rooms": workload.rooms,
        "members_per_room": workload.members,
        "server": series.server,
        "medians": medians,
        "median_ratios_to_floor": ratios,
        "rounds": rounds,
    })
}

fn of_run(series: &Series, run: &Outcome) -> Value {
    let Value::Object(mut told) = of_figures(|figure| (figure.of)(&series.workload, run)) else { return Value::Null };
    told.insert("seconds".into(), json!(run.seconds));
    told.insert("deliveries".into(), json!(run.deliveries));
    for (when, memory) in [("empty", run.empty), ("full", run.full)] {
        told.insert(
            format!("memory_{when}"),
            json!({
                "resident_bytes": memory.resident,
                "proportional_bytes": memory.proportional,
                "anonymous_bytes": memory.anonymous,
            }),
        );
    }
    Value::Object(told)
}

fn of_figures(of: impl Fn(figures::Figure) -> Option<f64>) -> Value {
    let told = figures::ALL.into_iter().filter_map(|figure| Some((figure.key.to_owned(), json!(of(figure)?))));
    Value::Object(told.collect::<Map<_, _>>())
}
