//! What an operator declares of a machine in words: resources (`cpus:4;mem:8GiB`) and attributes (`zone=b`).

use std::collections::{BTreeMap, BTreeSet};

use proto::attributes::{AttributeValue, Attributes, NAME_BYTES_MAX, is_name};
use proto::quantities::{Scalar, parse_bytes, parse_milli};
use proto::ranges::Ranges;
use proto::resources::{Amount, Resources};

/// Attributes travel with every agent and are compared for every constraint.
const ATTRIBUTE_BYTES_MAX: usize = 256;
const PORT_MAX: u64 = 65_535;
/// No machine has less memory or disk to give; who writes less has forgotten the unit.
const BYTES_MIN: u64 = 1 << 20;
/// Names people write when they mean another. A custom resource of such a name would never be asked for.
const MEANT: [(&str, &str); 7] = [
    ("cpu", "cpus"),
    ("cores", "cpus"),
    ("memory", "mem"),
    ("ram", "mem"),
    ("storage", "disk"),
    ("gpu", "gpus"),
    ("port", "ports"),
];

/// Why a declaration is not taken: which part of it, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part:?} {why}")]
pub struct BadDeclaration {
    /// The part, as it was given.
    pub part: String,
    /// What is wrong with it, and the fix.
    pub why: String,
}

/// Resources as an operator declares them. What is not named stays as the machine has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    amount: Amount,
    /// What was named, also with nothing in it: `gpus:0` takes gpus away.
    kinds: BTreeMap<String, Kind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Scalar,
    Range,
    Set,
}

// === impl Declared ===

impl Declared {
    /// Reads `cpus:4;mem:8GiB;disk:20GiB;gpus:0;ports:[31000-32000];fpga:2;license:{a,b}`: scalars, ranges in `[]` and
    /// sets in `{}`.
    pub fn parse(text: &str) -> Result<Declared, BadDeclaration> {
        let mut declared = Declared::default();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            declared.add(part).map_err(|why| BadDeclaration { part: part.to_owned(), why })?;
        }
        Ok(declared)
    }

    /// What the machine has, with each declared part in place of what was found.
    pub fn over(&self, found: Amount) -> Resources {
        let mut amount = found;
        for (name, kind) in &self.kinds {
            match kind {
                Kind::Scalar => {
                    let scalar = Scalar::named(name);
                    amount.scalars.set(&scalar, self.amount.scalars.get(&scalar));
                }
                Kind::Range => amount.set_range(name, self.amount.range(name)),
                Kind::Set => {
                    let items = self.amount.sets().iter().find(|(n, _)| **n == **name);
                    amount.set_set(name, items.map(|(_, items)| items.clone()).unwrap_or_default());
                }
            }
        }
        Resources::unreserved(amount)
    }

    fn add(&mut self, part: &str) -> Result<(), String> {
        let (name, value) = part
            .split_once(':')
            .map(|(name, value)| (name.trim(), value.trim()))
            .ok_or("has no ':'; write it as NAME:AMOUNT, such as cpus:4")?;
        check_name(name)?;
        if let Some((_, meant)) = MEANT.iter().find(|(wrong, _)| *wrong == name) {
            return Err(format!("is not a resource; write {meant}:{value}"));
        }
        if value.is_empty() {
            return Err(format!("says no amount; write {}", example_of(name)));
        }
        let kind = if enclosed(value, '[', ']').is_some() {
            Kind::Range
        } else if enclosed(value, '{', '}').is_some() {
            Kind::Set
        } else {
            Kind::Scalar
        };
        let wanted = match name {
            "cpus" | "mem" | "disk" | "gpus" => Some(Kind::Scalar),
            "ports" => Some(Kind::Range),
            _ => None,
        };
        if wanted.is_some_and(|wanted| wanted != kind) {
            return Err(format!("is not of that kind; write {}", example_of(name)));
        }
        if self.kinds.insert(name.to_owned(), kind).is_some() {
            return Err(format!("names {name} a second time; keep one of them"));
        }
        match kind {
            Kind::Scalar => {
                self.amount.scalars.set(&Scalar::named(name), scalar(name, value)?);
            }
            Kind::Range => {
                let inner = enclosed(value, '[', ']').unwrap_or_default();
                self.amount.set_range(name, ranges(name, inner)?);
            }
            Kind::Set => {
                let inner = enclosed(value, '{', '}').unwrap_or_default();
                self.amount.set_set(name, items(name, inner)?);
            }
        }
        Ok(())
    }
}

fn scalar(name: &str, value: &str) -> Result<u64, String> {
    let example = example_of(name);
    let bad = |why: String| format!("{why}; write {example}");
    match Scalar::named(name) {
        Scalar::Cpus | Scalar::Custom(_) => {
            parse_milli(value).map_err(|amount| bad(format!("needs {}", amount.wanted)))
        }
        Scalar::Mem | Scalar::Disk => {
            let bytes = parse_bytes(value).map_err(|amount| bad(format!("needs {}", amount.wanted)))?;
            if bytes > 0 && bytes < BYTES_MIN {
                return Err(bad(format!("is only {bytes} bytes, the unit is missing")));
            }
            Ok(bytes)
        }
        Scalar::Gpus => value.parse().map_err(|_| bad("needs a whole number".to_owned())),
    }
}

fn ranges(name: &str, inner: &str) -> Result<Ranges, String> {
    if inner.is_empty() {
        return Ok(Ranges::default());
    }
    let bad = || format!("is not a list of ranges; write {}", example_of(name));
    if inner.contains(['[', ']']) {
        return Err(bad());
    }
    let ranges: Ranges = inner.parse().map_err(|_| bad())?;
    let in_bounds = |(first, last): &(u64, u64)| *first >= 1 && *last <= PORT_MAX;
    if name == "ports" && !ranges.pairs().iter().all(in_bounds) {
        return Err(format!("names ports that do not exist; keep between 1 and {PORT_MAX}"));
    }
    Ok(ranges)
}

fn items(name: &str, inner: &str) -> Result<BTreeSet<String>, String> {
    if inner.is_empty() {
        return Ok(BTreeSet::new());
    }
    let items: BTreeSet<String> = inner.split(',').map(|item| item.trim().to_owned()).collect();
    if items.iter().any(|item| item.is_empty() || item.contains(['{', '}']) || has_control(item)) {
        return Err(format!("is not a set of words; write {name}:{{a,b}}"));
    }
    Ok(items)
}

fn enclosed(value: &str, open: char, close: char) -> Option<&str> {
    value.strip_prefix(open)?.strip_suffix(close).map(str::trim)
}

fn example_of(name: &str) -> String {
    match name {
        "cpus" => "cpus:4 or cpus:0.5".to_owned(),
        "mem" => "mem:8GiB or mem:512MiB".to_owned(),
        "disk" => "disk:20GiB".to_owned(),
        "gpus" => "gpus:1".to_owned(),
        "ports" => "ports:[31000-32000]".to_owned(),
        other => format!("{other}:2, {other}:[1-5] or {other}:{{a,b}}"),
    }
}

fn check_name(name: &str) -> Result<(), String> {
    if is_name(name) {
        return Ok(());
    }
    Err(format!("has no proper name; use at most {NAME_BYTES_MAX} letters (a to z), digits and - _ . /"))
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// Reads attributes, each `zone=b` or `rack=12`. What is written as a number is one (in thousandths), so that
/// constraints can compare it; with a leading zero it is a word, since `007` would not show as it was written.
pub fn parse_attributes(texts: &[String]) -> Result<Attributes, BadDeclaration> {
    let mut attributes = Attributes::default();
    for text in texts {
        let bad = |why: String| BadDeclaration { part: text.clone(), why };
        let (name, value) = text
            .split_once('=')
            .map(|(name, value)| (name.trim(), value.trim()))
            .ok_or_else(|| bad("has no '='; write it as NAME=VALUE, such as zone=b".to_owned()))?;
        check_name(name).map_err(bad)?;
        if matches!(name, "hostname" | "agent") {
            return Err(bad(format!("takes a name that every agent has anyway; call it other than {name}")));
        }
        if value.is_empty() || value.len() > ATTRIBUTE_BYTES_MAX || has_control(value) || value.contains('|')
        {
            return Err(bad(format!(
                "has no proper value; use 1 to {ATTRIBUTE_BYTES_MAX} bytes without control characters and '|'"
            )));
        }
        if attributes.0.insert(name.to_owned(), attribute_value(value)).is_some() {
            return Err(bad(format!("names {name} a second time; keep one of them")));
        }
    }
    Ok(attributes)
}

fn attribute_value(value: &str) -> AttributeValue {
    let (negative, digits) = value.strip_prefix('-').map_or((false, value), |digits| (true, digits));
    let leading_zero = digits.starts_with('0') && digits.chars().nth(1).is_some_and(|c| c.is_ascii_digit());
    let milli = parse_milli(digits).ok().and_then(|milli| i64::try_from(milli).ok());
    match milli {
        Some(milli) if !leading_zero => AttributeValue::Scalar(if negative { -milli } else { milli }),
        Some(_) | None => AttributeValue::Text(value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proto::quantities::Quantities;

    use super::*;

    fn why(text: &str) -> String {
        Declared::parse(text).expect_err(text).to_string()
    }

    #[test]
    fn every_kind_of_resource_is_read() {
        let text = " cpus:4.5; mem:8GiB;disk:20GiB;gpus:2;ports:[31000-31009, 8080];fpga:2;license:{b,a};";
        let all = Declared::parse(text).unwrap().over(Amount::default()).flatten();
        assert_eq!(all.scalars.cpus_milli(), 4_500);
        assert_eq!(all.scalars.mem_bytes(), 8 << 30);
        assert_eq!(all.scalars.disk_bytes(), 20 << 30);
        assert_eq!(all.scalars.get(&Scalar::Gpus), 2);
        assert_eq!(all.scalars.get(&Scalar::named("fpga")), 2_000);
        assert_eq!(all.range("ports").pairs(), [(8080, 8080), (31000, 31009)]);
        assert_eq!(all.sets().len(), 1);
        assert_eq!(all.sets()[0].1, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn what_is_declared_replaces_and_what_is_not_stays() {
        let found = Amount::scalars(Quantities::of(2_000, 4 << 30).with_disk(9 << 30))
            .with_ports(Ranges::single(31000, 32000));
        let over = |text: &str| Declared::parse(text).unwrap().over(found.clone()).flatten();
        assert_eq!(over(""), found);
        let some = over("cpus:1;disk:0;ports:[]");
        assert_eq!(some.scalars, Quantities::of(1_000, 4 << 30));
        assert!(some.range("ports").is_empty());
    }

    #[test]
    fn a_refusal_names_the_part_and_the_fix() {
        assert_eq!(why("cpus:1;mem"), r#""mem" has no ':'; write it as NAME:AMOUNT, such as cpus:4"#);
        assert_eq!(
            why("mem:8"),
            r#""mem:8" is only 8 bytes, the unit is missing; write mem:8GiB or mem:512MiB"#
        );
        assert_eq!(why("cpu:4"), r#""cpu:4" is not a resource; write cpus:4"#);
        for (text, fix) in [
            ("cpus:", "cpus:4"),
            ("cpus:four", "cpus:4"),
            ("cpus:-1", "cpus:4"),
            ("cpus:1.0005", "three decimals"),
            ("cpus:[1-4]", "cpus:4"),
            ("cpus:99999999999999999999", "cpus:4"),
            ("mem:8XiB", "mem:8GiB"),
            ("gpus:0.5", "whole number"),
            ("ports:31000-32000", "ports:[31000-32000]"),
            ("ports:[9-1]", "ports:[31000-32000]"),
            ("ports:[[1-9]]", "ports:[31000-32000]"),
            ("ports:[0-9]", "between 1 and 65535"),
            ("ports:[1-65536]", "between 1 and 65535"),
            ("cpus:1;cpus:2", "a second time"),
            ("cpus(eng):1", "digits and"),
            ("f\u{fc}rung:1", "digits and"),
            (":1", "digits and"),
            ("license:{a,,b}", "license:{a,b}"),
        ] {
            let said = why(text);
            assert!(said.contains(fix), "{text}: {said}");
        }
    }

    #[test]
    fn attributes_are_words_or_numbers() {
        let texts = ["zone=b", "rack=12", "height=-1.5", "serial=007", "version=1.2.3", "zero=0", "kind=a=b"];
        let read = parse_attributes(&texts.map(str::to_owned)).unwrap();
        let text = |t: &str| AttributeValue::Text(t.to_owned());
        assert_eq!(read.0["zone"], text("b"));
        assert_eq!(read.0["rack"], AttributeValue::Scalar(12_000));
        assert_eq!(read.0["height"], AttributeValue::Scalar(-1_500));
        assert_eq!(read.0["serial"], text("007"));
        assert_eq!(read.0["version"], text("1.2.3"));
        assert_eq!(read.0["zero"], AttributeValue::Scalar(0));
        assert_eq!(read.0["kind"], text("a=b"));
    }

    #[test]
    fn attributes_nobody_could_ask_for_are_refused() {
        for text in
            ["zone", "=b", "zone=", "zo ne=b", "z\u{f6}ne=b", "hostname=x", "zone=a|b", "zone=a\u{1b}"]
        {
            let bad = parse_attributes(&[text.to_owned()]).expect_err(text);
            assert_eq!(bad.part, text);
        }
        assert!(parse_attributes(&["a=1".to_owned(), "a=2".to_owned()]).is_err());
    }
}
