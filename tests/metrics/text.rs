//! The text format of Prometheus (version 0.0.4), read more strictly than any scraper does.
//!
//! Owns: the format, and the conventions for names (<https://prometheus.io/docs/practices/naming/>). Refuses to know: which figures there are.

use std::collections::BTreeMap;

/// Labels of a sample, by name.
pub type Labels = BTreeMap<String, String>;

/// A family of samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// Each by its whole name and its labels.
    pub samples: BTreeMap<(String, Labels), f64>,
}

/// Every figure of one scrape.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures(pub BTreeMap<String, Family>);

impl Figures {
    /// The value of a sample, which must be there: `name` or `name{label="value"}`.
    #[track_caller]
    pub fn get(&self, sample: &str) -> f64 {
        let (name, labels, _) = read_sample(&format!("{sample} 0")).unwrap_or_else(|says| panic!("{sample}: {says}"));
        let of_family = |family: &Family| family.samples.get(&(name.clone(), labels.clone())).copied();
        self.0.values().find_map(of_family).unwrap_or_else(|| panic!("there is no {sample}"))
    }

    /// The same, of a counter or anything else that is a whole number.
    #[track_caller]
    pub fn count(&self, sample: &str) -> u64 {
        let value = self.get(sample);
        assert!(value >= 0.0 && value.fract() == 0.0, "{sample} {value}");
        value as u64
    }

    /// The samples of a family by the value of their one label; those that are 0 left out.
    #[track_caller]
    pub fn by_label(&self, family: &str) -> BTreeMap<String, u64> {
        let family = self.0.get(family).unwrap_or_else(|| panic!("there is no {family}"));
        let named = family.samples.iter().filter(|(_, value)| **value != 0.0);
        named.map(|((_, labels), value)| (labels.values().next().expect("a label").clone(), *value as u64)).collect()
    }
}

/// Reads a scrape.
pub fn read(text: &str) -> Result<Figures, String> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current: Option<(String, Option<Family>)> = None;
    let body = text.strip_suffix('\n').ok_or("the last line does not end")?;
    for (n, line) in body.split('\n').enumerate() {
        let at = |says: &str| format!("line {}: {says}: {line}", n + 1);
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or_else(|| at("no help"))?;
            check_name(name).map_err(|says| at(&says))?;
            if help.trim() != help || !help.ends_with('.') || help.contains('\\') {
                return Err(at("help that is no sentence"));
            }
            end(&mut families, current.take()).map_err(|says| at(&says))?;
            if families.contains_key(name) {
                return Err(at("a family for the second time"));
            }
            current = Some((name.to_owned(), None));
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or_else(|| at("no type"))?;
            match &mut current {
                Some((helped, family @ None)) if helped == name => {
                    check_kind(name, kind).map_err(|says| at(&says))?;
                    *family = Some(Family { kind: kind.to_owned(), samples: BTreeMap::new() });
                }
                _ => return Err(at("a type without its help right before it")),
            }
        } else {
            let (name, labels, value) = read_sample(line).map_err(|says| at(&says))?;
            let Some((of, Some(family))) = &mut current else { return Err(at("a sample outside of any family")) };
            let suffix = name.strip_prefix(of.as_str()).ok_or_else(|| at("a sample of another family"))?;
            let fits = match &*family.kind {
                "histogram" => {
                    ["_bucket", "_sum", "_count"].contains(&suffix)
                        && (suffix == "_bucket") == labels.contains_key("le")
                }
                _ => suffix.is_empty() && !labels.contains_key("le"),
            };
            if !fits || family.kind != "gauge" && (value.is_nan() || value < 0.0) {
                return Err(at("no such sample in a family of this type"));
            }
            if family.samples.insert((name, labels), value).is_some() {
                return Err(at("a sample for the second time"));
            }
        }
    }
    end(&mut families, current)?;
    Ok(Figures(families))
}

/// A family is over.
fn end(families: &mut BTreeMap<String, Family>, current: Option<(String, Option<Family>)>) -> Result<(), String> {
    let Some((name, family)) = current else { return Ok(()) };
    let family =
        family.filter(|family| !family.samples.is_empty()).ok_or(format!("{name} has no type or no sample"))?;
    if family.kind == "histogram" {
        check_histogram(&name, &family)?;
    }
    families.insert(name, family);
    Ok(())
}

fn check_name(name: &str) -> Result<(), String> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit());
    let other_units =
        ["ms", "us", "ns", "millis", "milliseconds", "minutes", "hours", "kb", "kib", "mb", "mib", "bits"];
    let has_other_unit = name.split('_').any(|word| other_units.contains(&word));
    let says_its_type = ["counter", "gauge", "histogram"].iter().any(|kind| name.contains(kind));
    let is_part = ["_sum", "_count", "_bucket"].iter().any(|part| name.ends_with(part));
    if !name.starts_with("classhub_") || !is_plain || has_other_unit || says_its_type || is_part {
        return Err("a name against the conventions".to_owned());
    }
    Ok(())
}

fn check_kind(name: &str, kind: &str) -> Result<(), String> {
    let has_unit = name.ends_with("_seconds") || name.ends_with("_bytes");
    match kind {
        "counter" if name.ends_with("_total") => Ok(()),
        "gauge" if !name.ends_with("_total") => Ok(()),
        "histogram" if has_unit => Ok(()),
        _ => Err("a type that does not fit its name".to_owned()),
    }
}

/// One histogram, without other labels.
fn check_histogram(name: &str, family: &Family) -> Result<(), String> {
    let mut buckets = Vec::new();
    for ((sample, labels), count) in &family.samples {
        if let Some(le) = labels.get("le") {
            if labels.len() != 1 || *sample != format!("{name}_bucket") {
                return Err(format!("{name}: labels beside le"));
            }
            buckets.push((number(le)?, *count));
        }
    }
    buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
    let of = |part: &str| family.samples.get(&(format!("{name}_{part}"), Labels::new())).copied();
    let (count, sum) =
        (of("count").ok_or(format!("{name} has no count"))?, of("sum").ok_or(format!("{name} has no sum"))?);
    let rises = buckets.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1);
    let last = buckets.last().ok_or(format!("{name} has no bucket"))?;
    if !rises || *last != (f64::INFINITY, count) || (count == 0.0) != (sum == 0.0) {
        return Err(format!("{name} is no histogram: {buckets:?}, {count} in all, {sum} together"));
    }
    Ok(())
}

fn number(text: &str) -> Result<f64, String> {
    let is_number = text == "+Inf" || text.bytes().all(|byte| byte.is_ascii_digit() || b".e-".contains(&byte));
    let value = text.trim_start_matches('+').parse().map_err(|_| "no number");
    value.ok().filter(|_| is_number).ok_or_else(|| format!("{text:?} is no number"))
}

/// A name, its labels and its value, and no time.
fn read_sample(line: &str) -> Result<(String, Labels, f64), String> {
    let name_end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, behind) = rest.split_once("=\"").ok_or("a label without a value")?;
            let is_label = label.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') && !label.is_empty();
            // None of ours has anything to be escaped.
            let (value, behind) = behind.split_once('"').ok_or("a label's value without an end")?;
            let is_word =
                value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte)) && !value.is_empty();
            if !is_label || !is_word || labels.insert(label.to_owned(), value.to_owned()).is_some() {
                return Err(format!("the label {label}={value:?}"));
            }
            match behind.strip_prefix(',') {
                Some(next) => rest = next,
                None => {
                    rest = behind.strip_prefix('}').ok_or("labels without an end")?;
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ').ok_or("no value")?;
    Ok((name.to_owned(), labels, number(value)?))
}

#[test]
fn the_reader_finds_what_is_wrong() {
    let good = "# HELP classhub_a_total An a.\n# TYPE classhub_a_total counter\nclasshub_a_total{b=\"c\"} 1\n";
    assert_eq!(read(good).map(|figures| figures.count("classhub_a_total{b=\"c\"}")), Ok(1));
    for (from, to) in [
        ("1\n", "1"),
        ("1\n", "-1\n"),
        ("1\n", "one\n"),
        ("1\n", "1 1700000000\n"),
        ("1\n", "1\n\n"),
        ("1\n", "1\nclasshub_a_total{b=\"c\"} 1\n"),
        ("1\n", "1\nclasshub_b_total 1\n"),
        ("An a.", "an a"),
        (" counter", " gauge"),
        (" counter", " histogram"),
        ("# TYPE classhub_a_total counter\n", ""),
        ("# HELP classhub_a_total An a.\n", ""),
        ("classhub_a_total{b=\"c\"} 1\n", ""),
        ("{b=\"c\"}", "{b=\"c\",b=\"d\"}"),
        ("{b=\"c\"}", "{b=c}"),
        ("{b=\"c\"}", "{b=\"c\""),
        ("{b=\"c\"}", "{le=\"1\"}"),
        ("{b=\"c\"}", "{}"),
        ("{b=\"c\"}", "{b=\"\"}"),
        ("classhub", "other"),
        ("_a_", "_A_"),
        ("_a_", "_a_ms_"),
    ] {
        let bad = good.replace(from, to);
        assert!(bad != good && read(&bad).is_err(), "{bad}");
    }
    let histogram = |samples: &str| {
        read(&format!("# HELP classhub_h_seconds An h.\n# TYPE classhub_h_seconds histogram\n{samples}"))
    };
    let bucket = |le: &str, count: u8| format!("classhub_h_seconds_bucket{{le=\"{le}\"}} {count}\n");
    let end = |count: u8| format!("classhub_h_seconds_sum 0.5\nclasshub_h_seconds_count {count}\n");
    assert!(histogram(&(bucket("0.5", 1) + &bucket("+Inf", 2) + &end(2))).is_ok());
    for bad in [
        bucket("0.5", 3) + &bucket("+Inf", 2) + &end(2),
        bucket("0.5", 1) + &bucket("+Inf", 2) + &end(3),
        bucket("0.5", 1) + &end(1),
        bucket("0.5", 1) + &bucket("+Inf", 2),
        end(0),
    ] {
        assert!(histogram(&bad).is_err(), "{bad}");
    }
}
