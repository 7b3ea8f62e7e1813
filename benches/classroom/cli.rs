//! What was asked for on the command line.
//!
//! Owns: the options, their words and their bounds. Refuses to know: what they do.

use std::path::PathBuf;

use lexopt::prelude::{Long, Short, Value, ValueExt};

use crate::workloads;

/// What `--help` prints.
pub const HELP: &str = "\
Measures the hub beside a floor: a program that does the same socket work and nothing else.

    cargo bench                              all workloads, in a few minutes
    cargo bench -- class lecture --rounds 7  these, seven times each
    cargo bench -- growth                    how cost grows with members and rooms
    cargo bench -- --peers                   the same protocol on other servers too, which are fetched as needed

The servers are pinned to one core and the generator to another. Every message must reach every member and nobody may be
closed: a run in which that was not so is reported as failed, and is no figure. Hub and floor take turns, so that whatever else the
machine does falls on both; figures are medians over the rounds, and ratios medians of each round's.

Options:
    --rounds N       how often each is run [3]
    --seconds S      how long each run is counted [2; growth 1]
    --hub-core N     where the servers run [0]
    --load-core N    where the generator runs [1]
    --peers          others too: Bun, ws on Node, axum
    --hub FILE       another build of the hub, such as that from before a change
    --json FILE      the figures, round by round
    --svg FILE       a chart
    --list           the workloads, and what they are
    --help
";

/// What is to be done.
pub struct Options {
    /// Names of workloads; `growth` is one.
    pub workloads: Vec<String>,
    /// How often each is run.
    pub rounds: usize,
    /// How long each run is counted; `None` where nobody says.
    pub seconds: Option<f64>,
    /// Where the servers run.
    pub hub_core: usize,
    /// Where the generator runs.
    pub load_core: usize,
    /// Others too.
    pub peers: bool,
    /// The hub's binary.
    pub hub: PathBuf,
    /// Where the figures go.
    pub json: Option<PathBuf>,
    /// Where the chart goes.
    pub svg: Option<PathBuf>,
}

/// What the command line asks for.
pub enum Asked {
    /// To measure.
    Run(Options),
    /// To print [`HELP`].
    Help,
    /// To print the workloads.
    List,
}

/// Reads it.
pub fn parse() -> Result<Asked, lexopt::Error> {
    let mut options = Options {
        workloads: Vec::new(),
        rounds: 3,
        seconds: None,
        hub_core: 0,
        load_core: 1,
        peers: false,
        hub: env!("CARGO_BIN_EXE_classhub").into(),
        json: None,
        svg: None,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("rounds") => options.rounds = parser.value()?.parse_with(|text| within(text, 1.0, 101.0))? as usize,
            Long("seconds") => options.seconds = Some(parser.value()?.parse_with(|text| within(text, 0.5, 600.0))?),
            Long("hub-core") => {
                options.hub_core = parser.value()?.parse_with(|text| within(text, 0.0, 1023.0))? as usize
            }
            Long("load-core") => {
                options.load_core = parser.value()?.parse_with(|text| within(text, 0.0, 1023.0))? as usize
            }
            Long("peers") => options.peers = true,
            Long("hub") => options.hub = parser.value()?.into(),
            Long("json") => options.json = Some(parser.value()?.into()),
            Long("svg") => options.svg = Some(parser.value()?.into()),
            Long("list") => return Ok(Asked::List),
            Long("help") | Short('h') => return Ok(Asked::Help),
            // Cargo says this to every bench.
            Long("bench") => {}
            Value(name) => options.workloads.push(known(name.string()?)?),
            other => return Err(other.unexpected()),
        }
    }
    if options.workloads.is_empty() {
        options.workloads = workloads::ALL.iter().map(|workload| workload.name.to_owned()).collect();
    }
    Ok(Asked::Run(options))
}

fn known(name: String) -> Result<String, lexopt::Error> {
    if name == "growth" || workloads::ALL.iter().any(|workload| workload.name == name) {
        return Ok(name);
    }
    let names: Vec<&str> = workloads::ALL.iter().map(|workload| workload.name).collect();
    Err(format!("there is no workload {name:?}; there are {} and growth", names.join(", ")).into())
}

fn within(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let value = text.parse::<f64>().map_err(|error| error.to_string())?;
    if (least..=most).contains(&value) { Ok(value) } else { Err(format!("it is from {least} to {most}")) }
}
