//! Figures as people read them.
//!
//! Owns: the table, and numbers in readable units. Refuses to know: where figures come from.

use crate::figures::{self, Figure, Series};

/// Rows of cells, the first of which are the heads; every column as wide as it must be. Words stand left, numbers right.
pub fn render(rows: &[Vec<String>], words: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column < words {
            true => format!("{cell:<width$}"),
            false => format!("{cell:>width$}"),
        });
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    let rule = widths.iter().enumerate().map(|(column, width)| match column < words {
        true => "-".repeat(width + 2),
        false => "-".repeat(width + 1) + ":",
    });
    let rule = format!("|{}|\n", rule.collect::<Vec<_>>().join("|"));
    let lines: Vec<String> = rows.iter().map(line).collect();
    lines.first().cloned().unwrap_or_default() + &rule + &lines[1.min(lines.len())..].concat()
}

/// All runs, a row for each workload and server.
pub fn of_runs(all: &[Series]) -> String {
    let heads = [
        "workload",
        "server",
        "deliveries/s",
        "p50",
        "p99",
        "p99.9",
        "CPU/delivery",
        "busy",
        "user",
        "frames/write",
        "memory/member",
        "CPU/join",
    ];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for series in all {
        let tell = |figure: Figure, show: fn(f64) -> String| series.median(figure).map_or("-".into(), show);
        rows.push(vec![
            series.workload.name.into(),
            series.server.into(),
            tell(figures::DELIVERIES, count),
            tell(figures::P50, us),
            tell(figures::P99, us),
            tell(figures::P999, us),
            tell(figures::CPU, |ns| us(ns / 1000.0)),
            tell(figures::BUSY, |share| format!("{:.0} %", share * 100.0)),
            tell(figures::USER, |share| format!("{:.1} %", share * 100.0)),
            tell(figures::FRAMES_PER_WRITE, |frames| format!("{frames:.2}")),
            tell(figures::MEMORY, bytes),
            tell(figures::CPU_PER_JOIN, |ns| us(ns / 1000.0)),
        ]);
    }
    render(&rows, 2)
}

/// Ratios to the floor, a row for each workload and server that has any.
pub fn of_ratios(all: &[Series]) -> Option<String> {
    let columns = [
        ("CPU/delivery", figures::CPU),
        ("p50", figures::P50),
        ("p99", figures::P99),
        ("deliveries/s", figures::DELIVERIES),
        ("memory/member", figures::MEMORY),
        ("CPU/join", figures::CPU_PER_JOIN),
    ];
    let heads = ["of the floor's", "server"].into_iter().chain(columns.map(|(head, _)| head));
    let mut rows = vec![heads.map(str::to_owned).collect::<Vec<_>>()];
    for series in all.iter().filter(|series| series.server != "floor") {
        let Some(floor) = figures::find(all, series.workload.name, "floor") else { continue };
        let ratio = |figure| series.ratio(floor, figure).map_or("-".into(), |ratio| format!("{ratio:.2}"));
        let mut row = vec![series.workload.name.to_owned(), series.server.to_owned()];
        row.extend(columns.map(|(_, figure)| ratio(figure)));
        rows.push(row);
    }
    (rows.len() > 1).then(|| render(&rows, 2))
}

/// The hub's figures beside those of its peers, a row for each workload and a column for each peer: how much it delivers, and what that costs it.
pub fn of_peers(all: &[Series]) -> Option<String> {
    let hubs = || all.iter().filter(|series| series.server == "hub" && series.median(figures::DELIVERIES).is_some());
    let of_workload = |name: &str| {
        let peers = all.iter().filter(|series| !["hub", "floor"].contains(&series.server));
        peers.filter(|series| series.workload.name == name).collect::<Vec<_>>()
    };
    let peers = of_workload(hubs().next()?.workload.name);
    if peers.is_empty() {
        return None;
    }
    let columns = [("deliveries/s", figures::DELIVERIES), ("CPU/delivery", figures::CPU)];
    let mut heads = vec!["the hub's of".to_owned()];
    heads.extend(columns.iter().flat_map(|(head, _)| peers.iter().map(move |peer| format!("{head}, {}", peer.server))));
    let mut rows = vec![heads];
    for hub in hubs() {
        let mut row = vec![hub.workload.name.to_owned()];
        for (_, figure) in columns {
            let ratio = |peer: &Series| hub.ratio(peer, figure).map_or("-".into(), |ratio| format!("{ratio:.2}"));
            row.extend(of_workload(hub.workload.name).into_iter().map(ratio));
        }
        rows.push(row);
    }
    Some(render(&rows, 1))
}

/// A number of things, in groups of three digits.
pub fn count(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Microseconds.
pub fn us(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.2} µs"),
        ..1000.0 => format!("{value:.0} µs"),
        _ => format!("{:.1} ms", value / 1000.0),
    }
}

/// Bytes.
pub fn bytes(value: f64) -> String {
    match value.abs() {
        ..1024.0 => format!("{value:.0} B"),
        ..1_048_576.0 => format!("{:.1} KiB", value / 1024.0),
        _ => format!("{:.2} MiB", value / 1_048_576.0),
    }
}
