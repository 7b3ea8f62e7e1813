//! `packaging/grafana.json`: that it shows what the hub tells, and nothing that it does not.
//!
//! Owns: finding the figures and labels that its queries name. Refuses to know: how Grafana draws them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Hub, scrape, text::Figures};

fn dashboard() -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/grafana.json");
    serde_json::from_slice(&std::fs::read(&path).expect("it is there")).expect("JSON")
}

/// Every text under one of these keys, wherever it stands.
fn texts<'v>(value: &'v Value, keys: &[&str], found: &mut Vec<&'v str>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                if let Some(text) = value.as_str().filter(|_| keys.contains(&key.as_str())) {
                    found.push(text);
                }
                texts(value, keys, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| texts(value, keys, found)),
        _ => {}
    }
}

/// The figures that a query names, each with the selector behind it.
fn named(query: &str) -> Vec<(&str, &str)> {
    let starts: Vec<usize> = query.match_indices("classhub_").map(|(at, _)| at).collect();
    let of = |at: usize| {
        let rest = &query[at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let selector =
            rest[end..].strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(inside, _)| inside);
        (&rest[..end], selector)
    };
    starts.into_iter().map(of).collect()
}

/// The labels of each figure, with their values, by the whole name of its samples.
fn told(figures: &Figures) -> BTreeMap<&str, BTreeMap<&str, BTreeSet<&str>>> {
    let mut told = BTreeMap::<_, BTreeMap<_, BTreeSet<_>>>::new();
    for (name, labels) in figures.0.values().flat_map(|family| family.samples.keys()) {
        let of_name = told.entry(name.as_str()).or_default();
        for (label, value) in labels {
            of_name.entry(label.as_str()).or_default().insert(value.as_str());
        }
    }
    told
}

#[test]
fn every_figure_on_the_dashboard_is_told_by_the_hub() {
    let hub = Hub::start("");
    let figures = scrape(&hub);
    let told = told(&figures);
    let dashboard = dashboard();
    let mut queries = Vec::new();
    texts(&dashboard, &["expr", "query", "definition"], &mut queries);
    let mut shown = BTreeSet::new();
    for query in &queries {
        for (name, selector) in named(query) {
            let labels = told.get(name).unwrap_or_else(|| panic!("{name} is not told: {query}"));
            shown.insert(name);
            // The scraper adds where it was.
            for (label, value) in selector
                .split(',')
                .filter(|one| !one.is_empty() && !one.starts_with("instance=~"))
                .map(|one| one.split_once('=').unwrap_or_else(|| panic!("{one}: {query}")))
            {
                let values = labels.get(label).unwrap_or_else(|| panic!("{name} has no label {label}: {query}"));
                assert!(values.contains(value.trim_matches('"')), "{name} is never {label}={value}: {query}");
            }
        }
        for (_, grouped) in query.match_indices(" by (").map(|(at, by)| query.split_at(at + by.len())) {
            let group = grouped.split_once(')').map_or("", |(group, _)| group);
            let known = |label: &str| named(query).iter().any(|(name, _)| told[name].contains_key(label));
            assert!(group.split(", ").all(|label| label == "instance" || known(label)), "{group}: {query}");
        }
    }
    assert!(queries.len() > 20, "only {} queries were found", queries.len());
    // And what is told is shown, but for what only tells who and since when.
    let family = |name: &str| {
        shown.iter().any(|shown| shown.strip_prefix(name).is_some_and(|rest| ["", "_bucket"].contains(&rest)))
    };
    let not_shown: Vec<&String> = figures.0.keys().filter(|name| !family(name)).collect();
    assert_eq!(not_shown, ["classhub_connections_accepted_total", "classhub_rooms_max", "classhub_start_time_seconds"]);
}

#[test]
fn every_panel_says_what_it_shows() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut ids = BTreeSet::new();
    for panel in panels {
        let [title, description] = ["title", "description"].map(|key| panel[key].as_str().unwrap_or_default());
        assert!(!title.is_empty() && description.ends_with('.'), "{title}: {description}");
        assert!(ids.insert(panel["id"].as_u64().expect("a number")), "{title}");
        let place = |key: &str| panel["gridPos"][key].as_u64().expect("a number");
        assert!(place("x") + place("w") <= 24, "{title} is wider than the screen");
        assert!(panel["targets"].as_array().is_some_and(|targets| !targets.is_empty()), "{title}");
    }
    assert!(panels.len() > 10);
}
