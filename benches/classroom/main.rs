//! What the hub costs, beside the least that its socket work costs: `cargo bench`, and `cargo bench -- --help`.
//!
//! Owns: the order of the runs, and what is printed. Refuses to know: how anything is measured.
//!
//! | file | what it is |
//! |---|---|
//! | `cli` | the command line |
//! | `wire` | what clients say, byte for byte |
//! | `frames` | what servers say, by length |
//! | `load` | many members on one thread |
//! | `workloads`, `growth` | what they do |
//! | `talk`, `churn` | how they do it, and whether it went right |
//! | `window` | the part that is counted |
//! | `servers`, `floor`, `peers` | who is measured |
//! | `measure`, `segments` | what the kernel knows |
//! | `figures` | medians, ratios, percentiles |
//! | `table`, `chart`, `json`, `machine` | what is told of it |

mod chart;
mod churn;
mod cli;
mod figures;
mod floor;
mod frames;
mod growth;
mod json;
mod load;
mod machine;
mod measure;
mod peers;
mod segments;
mod servers;
mod table;
mod talk;
mod window;
mod wire;
mod workloads;

use std::path::Path;
use std::process::ExitCode;
use std::{fs, io};

use cli::{Asked, Options};
use figures::Series;
use load::{Failed, Load};
use machine::Machine;
use servers::Server;
use window::Outcome;
use workloads::Workload;

fn main() -> ExitCode {
    let done = if std::env::args().nth(1).as_deref() == Some(servers::FLOOR) {
        floor::run().map(|()| true).map_err(Into::into)
    } else {
        match cli::parse() {
            Ok(Asked::Run(options)) => run(&options),
            Ok(Asked::Help) => {
                print!("{}", cli::HELP);
                Ok(true)
            }
            Ok(Asked::List) => {
                workloads::ALL.iter().for_each(|workload| println!("{:8} {}", workload.name, workload.about));
                Ok(true)
            }
            Err(error) => Err(error.into()),
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Says whether every run was right.
fn run(options: &Options) -> Result<bool, Failed> {
    Load::raise_open_files()?;
    let machine = Machine::this(&options.hub)?;
    let mut servers = vec![Server::Hub(options.hub.clone()), Server::Floor];
    if options.peers {
        servers.extend(peers::fetch().into_iter().map(Server::Peer));
    }
    servers::pin(options.load_core)?;
    let asked = |name: &str| options.workloads.iter().any(|asked| asked == name);
    let (mut all, mut growth) = (Vec::new(), Vec::new());
    for workload in workloads::ALL.iter().filter(|workload| asked(workload.name)) {
        all.extend(series(workload, &servers, options, options.seconds.unwrap_or(2.0)));
    }
    if asked("growth") {
        for workload in growth::workloads() {
            growth.extend(series(&workload, &servers, options, options.seconds.unwrap_or(1.0)));
        }
    }
    println!("{}", machine.told());
    for server in &servers {
        if let Server::Peer(peer) = server {
            println!("{}: {}", peer.name, peer.version);
        }
    }
    println!();
    tell(&all, &growth);
    draw(options, &all, &growth)?;
    all.append(&mut growth);
    if let Some(file) = &options.json {
        fs::write(file, format!("{:#}\n", json::document(&all, &machine)))?;
    }
    let failed = all.iter().flat_map(|series| series.failures().map(move |why| (series, why)));
    let failed: Vec<_> = failed.map(|(series, why)| format!("FAILED: {}: {why}", series.told())).collect();
    failed.iter().for_each(|line| println!("{line}"));
    Ok(failed.is_empty())
}

/// Prints what it all came to.
fn tell(all: &[Series], growth: &[Series]) {
    if !all.is_empty() {
        println!("{}", table::of_runs(all));
        println!(
            "A delivery is a frame that a member heard; in churn it is a whole cycle. Medians. Busy is the part of its core that the\nserver used, and user the part of that in user space; frames/write counts the segments that came.\n"
        );
    }
    if let Some(ratios) = table::of_ratios(all) {
        println!("{ratios}");
    }
    if let Some(ratios) = table::of_peers(all) {
        println!("{ratios}");
    }
    if !growth.is_empty() {
        println!("{}", growth::table(growth));
    }
    for line in figures::unlike(all).into_iter().chain(machine::memory(all)) {
        println!("{line}\n");
    }
    if let Some(carries) = machine::carries(all, measure::available_memory()) {
        println!("{carries}\n");
    }
}

/// Draws the charts, where it was asked for or else where builds go.
fn draw(options: &Options, all: &[Series], growth: &[Series]) -> io::Result<()> {
    let file = options.svg.clone().unwrap_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("classroom.svg"));
    let of_growth = match all.is_empty() {
        true => file.clone(),
        false => file.with_file_name(format!("{}-growth.svg", file.file_stem().unwrap_or_default().display())),
    };
    for (file, chart) in [(file, chart::of_runs(all)), (of_growth, chart::of_growth(growth))] {
        if let Some(chart) = chart {
            fs::write(&file, chart)?;
            println!("A chart of it is in {}", file.display());
        }
    }
    Ok(())
}

/// Rounds of one workload, in which the servers take turns.
fn series(workload: &Workload, servers: &[Server], options: &Options, seconds: f64) -> Vec<Series> {
    let mut all: Vec<Series> = servers
        .iter()
        .map(|server| Series { workload: *workload, server: server.name(), rounds: Vec::new() })
        .collect();
    for round in 1..=options.rounds {
        for (server, series) in servers.iter().zip(&mut all) {
            eprintln!("{}, {round} of {}", series.told(), options.rounds);
            let run = once(workload, server, options, seconds).map_err(|error| error.to_string());
            if let Err(why) = &run {
                eprintln!("  FAILED: {why}");
            }
            series.rounds.push(run);
        }
    }
    all
}

fn once(workload: &Workload, server: &Server, options: &Options, seconds: f64) -> Result<Outcome, Failed> {
    let mut running = server.start(options.hub_core, options.load_core)?;
    workload.run(&running, seconds).map_err(|why| match running.ended() {
        Some(ended) => format!("{why}: {ended}").into(),
        None => why,
    })
}
