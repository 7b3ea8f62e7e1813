//! Figures as a picture.
//!
//! Owns: two drawings in SVG: bars of what a delivery costs beside the floor's, and curves of how cost grows. Refuses to know: where they go.

use std::fmt::Write as _;

use crate::figures::{self, Series};
use crate::growth;
use crate::table;

const WIDTH: f64 = 760.0;
/// A bar that would be longer than so many of the floor's is broken off there: its figure stands beside it.
const LONGEST: f64 = 4.0;
const COLOURS: [&str; 5] = ["#2f6fdb", "#9aa3af", "#e08a1e", "#3f9e5a", "#a355c9"];
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2430}.dim{fill:#667085}.rule{stroke:#c8ccd4}\
    .ground{fill:#fff}.gap{stroke:#fff;stroke-width:2}@media(prefers-color-scheme:dark){text{fill:#e6e8ee}.dim{fill:#98a2b3}.rule{stroke:#3a4150}.ground{fill:#14171f}.gap{stroke:#14171f}}";

/// The drawing of these runs; `None` where there is nothing to draw.
pub fn of_runs(all: &[Series]) -> Option<String> {
    let servers = servers(all);
    let mut workloads: Vec<&str> = Vec::new();
    for series in all.iter().filter(|series| series.median(figures::CPU).is_some()) {
        if !workloads.contains(&series.workload.name) {
            workloads.push(series.workload.name);
        }
    }
    let ratio = |workload: &str, server: &str| {
        let (series, floor) = (figures::find(all, workload, server)?, figures::find(all, workload, "floor")?);
        if server == "floor" { series.median(figures::CPU).map(|_| 1.0) } else { series.ratio(floor, figures::CPU) }
    };
    let most = workloads.iter().flat_map(|workload| servers.iter().filter_map(|server| ratio(workload, server)));
    let most = most.fold(f64::NAN, f64::max);
    if !most.is_finite() {
        return None;
    }
    let (left, right, bar) = (90.0, 150.0, 15.0);
    let scale = (WIDTH - left - right) / most.clamp(1.2, LONGEST);
    let group = bar * servers.len() as f64 + 14.0;
    let height = 76.0 + group * workloads.len() as f64;
    let mut svg = begin(height, "CPU per delivery, the floor's being 1");
    legend(&mut svg, &servers);
    for (n, workload) in workloads.iter().enumerate() {
        let top = 68.0 + group * n as f64;
        let middle = top + bar * servers.len() as f64 / 2.0 + 4.0;
        text(&mut svg, left - 10.0, middle, "end", "", workload);
        for (place, server) in servers.iter().enumerate() {
            let Some(ratio) = ratio(workload, server) else { continue };
            let cost =
                figures::find(all, workload, server).and_then(|series| series.median(figures::CPU)).unwrap_or(0.0);
            let (y, width) = (top + bar * place as f64, ratio.min(LONGEST) * scale);
            let colour = COLOURS[place % COLOURS.len()];
            let height = bar - 2.0;
            let _ = write!(
                svg,
                r#"<rect x="{left}" y="{y:.1}" width="{width:.1}" height="{height}" rx="2" fill="{colour}"/>"#
            );
            if ratio > LONGEST {
                for back in [16.0, 10.0] {
                    let (from, to) = (left + width - back - 3.0, left + width - back + 3.0);
                    let (low, high) = (y + bar - 1.0, y - 1.0);
                    let _ =
                        write!(svg, r#"<line class="gap" x1="{from:.1}" y1="{low:.1}" x2="{to:.1}" y2="{high:.1}"/>"#);
                }
            }
            let label = format!("{ratio:.2}  ({})", table::us(cost / 1000.0));
            text(&mut svg, left + width + 6.0, y + 11.0, "start", "dim", &label);
        }
    }
    let x = left + scale;
    let _ = write!(svg, r#"<line class="rule" x1="{x:.1}" x2="{x:.1}" y1="60" y2="{height}" stroke-dasharray="3 3"/>"#);
    Some(svg + "</svg>\n")
}

/// How cost grows: a delivery's and a join's, by members and by rooms.
pub fn of_growth(all: &[Series]) -> Option<String> {
    let servers = servers(all);
    let panels = [
        ("members", figures::CPU, "CPU per delivery, by members of one room"),
        ("members", figures::CPU_PER_JOIN, "CPU per join, by members of one room"),
        ("rooms", figures::CPU, "CPU per delivery, by rooms of 20"),
        ("rooms", figures::CPU_PER_JOIN, "CPU per join, by rooms of 20"),
    ];
    let mut svg = begin(620.0, "How cost grows");
    legend(&mut svg, &servers);
    for (n, (name, figure, title)) in panels.into_iter().enumerate() {
        let (left, top) = (70.0 + (n % 2) as f64 * 380.0, 100.0 + (n / 2) as f64 * 270.0);
        let (width, height) = (270.0, 190.0);
        let points = |server: &str| -> Vec<(f64, f64)> {
            let steps = all.iter().filter(|it| it.server == server && it.workload.name == name);
            steps.filter_map(|it| Some((growth::size(&it.workload) as f64, it.median(figure)? / 1000.0))).collect()
        };
        let everything: Vec<(f64, f64)> = servers.iter().flat_map(|server| points(server)).collect();
        let over =
            |of: fn(&(f64, f64)) -> f64, pick: fn(f64, f64) -> f64| everything.iter().map(of).fold(f64::NAN, pick);
        let (least_x, most_x) = (over(|it| it.0, f64::min), over(|it| it.0, f64::max));
        let most_y = over(|it| it.1, f64::max) * 1.1;
        if !(most_x > least_x && most_y > 0.0) {
            return None;
        }
        // What is to be linear is drawn so that a straight line shows it.
        let is_linear = figure.key == figures::CPU_PER_JOIN.key && name == "members";
        let x = |value: f64| match is_linear {
            true => left + value / most_x * width,
            false => left + (value / least_x).ln() / (most_x / least_x).ln() * width,
        };
        let y = |value: f64| top + height - value / most_y * height;
        text(&mut svg, left, top - 14.0, "start", "", title);
        for part in 0..=4 {
            let value = most_y * f64::from(part) / 4.0;
            let (at, end) = (y(value), left + width);
            let _ = write!(svg, r#"<line class="rule" x1="{left}" x2="{end}" y1="{at:.1}" y2="{at:.1}"/>"#);
            text(&mut svg, left - 8.0, at + 4.0, "end", "dim", &table::us(value));
        }
        for (place, server) in servers.iter().enumerate() {
            let points = points(server);
            let colour = COLOURS[place % COLOURS.len()];
            let line: Vec<String> =
                points.iter().map(|(size, cost)| format!("{:.1},{:.1}", x(*size), y(*cost))).collect();
            let line = line.join(" ");
            let _ = write!(svg, r#"<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>"#);
            let mut labelled = f64::NEG_INFINITY;
            for (size, cost) in points {
                let _ = write!(svg, r#"<circle cx="{:.1}" cy="{:.1}" r="3" fill="{colour}"/>"#, x(size), y(cost));
                if place == 0 && x(size) - labelled > 30.0 {
                    labelled = x(size);
                    text(&mut svg, x(size), top + height + 18.0, "middle", "dim", &format!("{size}"));
                }
            }
        }
    }
    Some(svg + "</svg>\n")
}

fn servers(all: &[Series]) -> Vec<&'static str> {
    let mut servers = Vec::new();
    for series in all {
        if !servers.contains(&series.server) {
            servers.push(series.server);
        }
    }
    servers
}

fn begin(height: f64, title: &str) -> String {
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img"><title>{title}</title><style>{STYLE}</style><rect class="ground" width="100%" height="100%"/>"#
    );
    let _ = write!(svg, r#"<text x="20" y="26" style="font-weight:600">{title}</text>"#);
    svg
}

fn legend(svg: &mut String, servers: &[&str]) {
    for (place, server) in servers.iter().enumerate() {
        let (x, colour) = (20.0 + 90.0 * place as f64, COLOURS[place % COLOURS.len()]);
        let _ = write!(svg, r#"<rect x="{x}" y="38" width="11" height="11" rx="2" fill="{colour}"/>"#);
        text(svg, x + 17.0, 48.0, "start", "", server);
    }
}

/// The names and figures in it need no escapes.
fn text(svg: &mut String, x: f64, y: f64, anchor: &str, class: &str, words: &str) {
    let _ = write!(svg, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" class="{class}">{words}</text>"#);
}
