//! The published schema: it is what the table says, and agrees with the parser.

use std::path::{Path, PathBuf};

use regex::Regex;
use serde_json::{Map, Value};

use super::parts::{BATCH, CRON, GROUP, SERVICE};
use super::{FULL, toml};
use crate::spec::keys::{self, JOB, Key, Takes};
use crate::spec::tree::{Node, Value as Tree};
use crate::spec::{Fault, schema, schema_text};

fn guide(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide").join(name)
}

/// Whether a value conforms, by the keywords that the schema uses; another keyword is a fault of this test.
fn conforms(schema: &Value, value: &Value, root: &Value) -> bool {
    let object = schema.as_object().expect("a schema is an object");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let good = |schema: &Value| conforms(schema, value, root);
    object.iter().all(|(keyword, says)| match keyword.as_str() {
        "$schema" | "$defs" | "title" | "description" | "default" | "then" | "else" => true,
        "$ref" => {
            conforms(root.pointer(&says.as_str().expect("a text")[1..]).expect("it is there"), value, root)
        }
        "anyOf" => list(says).iter().any(good),
        "not" => !good(says),
        "if" => {
            let branch = object.get(if good(says) { "then" } else { "else" });
            branch.is_none_or(good)
        }
        "const" => value == says,
        "enum" => list(says).contains(value),
        "type" => match says {
            Value::Array(kinds) => kinds.iter().any(|kind| is(kind, value)),
            kind => is(kind, value),
        },
        "pattern" => {
            let pattern = Regex::new(says.as_str().expect("a text")).expect("a pattern");
            value.as_str().is_none_or(|text| pattern.is_match(text))
        }
        "minimum" => value.as_f64().is_none_or(|number| number >= says.as_f64().expect("a number")),
        "maximum" => value.as_f64().is_none_or(|number| number <= says.as_f64().expect("a number")),
        "minItems" => {
            value.as_array().is_none_or(|items| items.len() as u64 >= says.as_u64().expect("a number"))
        }
        "maxItems" => {
            value.as_array().is_none_or(|items| items.len() as u64 <= says.as_u64().expect("a number"))
        }
        "items" => value.as_array().is_none_or(|items| items.iter().all(|item| conforms(says, item, root))),
        "required" => value
            .as_object()
            .is_none_or(|map| list(says).iter().all(|key| map.contains_key(key.as_str().expect("a text")))),
        "properties" => value.as_object().is_none_or(|map| {
            map.iter().all(|(key, value)| says.get(key).is_none_or(|schema| conforms(schema, value, root)))
        }),
        "additionalProperties" => value.as_object().is_none_or(|map| {
            let known = object.get("properties").and_then(Value::as_object);
            let more = map.iter().filter(|(key, _)| known.is_none_or(|known| !known.contains_key(*key)));
            match says {
                Value::Bool(allowed) => *allowed || more.count() == 0,
                schema => more.into_iter().all(|(_, value)| conforms(schema, value, root)),
            }
        }),
        other => panic!("this test does not know {other}"),
    })
}

fn is(kind: &Value, value: &Value) -> bool {
    match kind.as_str().expect("a text") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        other => panic!("this test does not know {other}"),
    }
}

/// A file as a JSON document, as an editor reads it.
fn json(node: Node) -> Value {
    match node.value {
        Tree::Nothing => Value::Null,
        Tree::Bool(bool) => bool.into(),
        Tree::Number(text) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        Tree::Text(text) | Tree::Date(text) => text.into(),
        Tree::List(items) => items.into_iter().map(json).collect(),
        Tree::Table(entries) => {
            Value::Object(entries.into_iter().map(|(key, node)| (key.text, json(node))).collect())
        }
    }
}

fn allowed(text: &str) -> bool {
    all_allowed(crate::spec::toml::tree(text))
}

fn all_allowed(trees: Result<Vec<Node>, Fault>) -> bool {
    let schema = schema();
    trees.expect("it reads").into_iter().all(|tree| conforms(&schema, &json(tree), &schema))
}

#[test]
fn the_published_schema_is_this_one() {
    let path = guide("job.schema.json");
    if std::env::var_os("STOA_REGENERATE").is_some() {
        std::fs::write(&path, schema_text()).expect("it is written");
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        published == schema_text(),
        "docs/guide/job.schema.json is stale: run STOA_REGENERATE=1 cargo test -p frameworks-jobs --lib schema"
    );
}

#[test]
fn what_the_parser_takes_conforms() {
    for text in [FULL, SERVICE, BATCH, CRON, GROUP] {
        assert!(toml(text).is_ok());
        assert!(allowed(text), "{text}");
    }
    let page = std::fs::read_to_string(guide("jobs.md")).expect("docs/guide/jobs.md reads");
    let mut examples = 0;
    for extension in ["toml", "yaml"] {
        for block in page.split(&format!("\n```{extension} ")).skip(1) {
            let (_, block) = block.split_once('\n').expect("a name");
            let text = block.split("\n```").next().expect("an end");
            let trees = match extension {
                "toml" => crate::spec::toml::tree(text),
                _ => crate::spec::yaml::trees(text),
            };
            assert!(all_allowed(trees), "{text}");
            examples += 1;
        }
    }
    assert!(examples >= 8, "examples are found: {examples}");
}

/// Each is wrong for the parser and the schema, for a reason that both can see.
#[test]
fn what_is_wrong_by_itself_does_not_conform() {
    let good = "name = \"a\"\ncommand = \"b\"";
    assert!(allowed(good));
    let lines = [
        "instnaces = 3",
        "instances = 0",
        "instances = \"3\"",
        "cpus = 0.001",
        "cpus = \"lots\"",
        "mem = \"64XB\"",
        "mem = 64",
        "ports = [\"a b\"]",
        "ports = 65",
        "env = 3",
        "kill_grace = 5",
        "kill_grace = \"5 s\"",
        "kind = \"sevrice\"",
        "kind = \"cron\"",
        "timezone = \"UTC\"",
        "kind = \"batch\"\nretries = 1001",
        "restart = { inital = \"1s\" }",
        "restart = { policy = \"sometimes\" }",
        "health = { tpc = \"http\" }",
        "health = { command = \"true\", failures = 0 }",
        "priority = 1001",
        "spread = { at_most = 2 }",
        "artifacts = [{ uri = \"ftp://x\" }]",
        "artifacts = [{ name = \"x\" }]",
        "volumes = [{ name = \"d\" }]",
        "job = []",
        "[[task]]\nname = \"t\"",
    ];
    for line in lines {
        let text = format!("{good}\n{line}");
        assert!(toml(&text).is_err(), "the parser takes {line}");
        assert!(!allowed(&text), "the schema allows {line}");
    }
    for text in ["name = \"a\"", "command = \"b\"", "job = []", "[[job]]\nname = \"a\""] {
        assert!(toml(text).is_err() && !allowed(text), "{text}");
    }
}

/// The parser and the table know the same keys: each key of the table is taken with a value that its type allows.
#[test]
fn every_key_of_the_table_is_one_of_the_parser() {
    let mut known = 0;
    walk(JOB, &mut |path, key| {
        known += 1;
        let value = example(&key.takes, key.name);
        // From the inside out: `health.http.path` is `health = { http = { path = ... } }`.
        let line =
            path.iter().rev().fold(format!("{} = {value}", key.name), |inner, (name, list)| match list {
                true => format!("{name} = [{{ {inner} }}]"),
                false => format!("{name} = {{ {inner} }}"),
            });
        let told = toml(&line).err().map(|faults| faults.to_string()).unwrap_or_default();
        assert!(!told.contains("no such key") && !told.contains("a table, such as"), "{line}: {told}");
    });
    assert!(known > 60, "keys are found: {known}");
    assert_eq!(keys::CRON.iter().filter(|name| JOB.iter().all(|key| key.name != **name)).count(), 0);
}

fn walk(table: &'static [Key], see: &mut impl FnMut(&[(&'static str, bool)], &Key)) {
    fn go(
        table: &'static [Key],
        path: &mut Vec<(&'static str, bool)>,
        see: &mut impl FnMut(&[(&'static str, bool)], &Key),
    ) {
        for key in table {
            see(path, key);
            for (table, list) in tables(&key.takes) {
                path.push((key.name, list));
                go(table, path, see);
                path.pop();
            }
        }
    }
    go(table, &mut Vec::new(), see);
}

/// The tables within, and whether they stand in a list.
fn tables(takes: &'static Takes) -> Vec<(&'static [Key], bool)> {
    match takes {
        Takes::Table(table) => vec![(table, false)],
        Takes::List(item, _) => tables(item).into_iter().map(|(table, _)| (table, true)).collect(),
        Takes::Either(several) => several.iter().flat_map(tables).collect(),
        _ => Vec::new(),
    }
}

fn example(takes: &Takes, name: &str) -> String {
    match takes {
        Takes::Text => match name {
            "schedule" => "\"@daily\"".to_owned(),
            "timezone" => "\"UTC\"".to_owned(),
            _ => "\"x\"".to_owned(),
        },
        Takes::Pattern(_) => match name {
            "uri" => "\"file:///x\"".to_owned(),
            "sha256" => "\"\"".to_owned(),
            "path" | "http" => "\"/x\"".to_owned(),
            _ => "\"x\"".to_owned(),
        },
        Takes::Bool => "true".to_owned(),
        Takes::Whole(least, _) => (*least.max(&1)).to_string(),
        Takes::Cpus(..) => "0.5".to_owned(),
        Takes::Bytes(_) => "\"64MiB\"".to_owned(),
        Takes::Duration => "\"5s\"".to_owned(),
        Takes::Word(words) => format!("{:?}", words[0]),
        Takes::List(item, _) => format!("[{}]", example(item, name)),
        Takes::Texts => "{ A = \"b\" }".to_owned(),
        Takes::Table(table) => {
            let entries: Vec<String> = table
                .iter()
                .filter(|key| key.required || key.name == "tcp")
                .map(|key| format!("{} = {}", key.name, example(&key.takes, key.name)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Takes::Either(several) => example(&several[0], name),
    }
}

/// No key is overlooked when two jobs are compared: jobs are alike when their lines are.
#[test]
fn every_key_that_differs_is_told() {
    let bases = [
        "name = \"j\"\ncommand = \"c\"\nports = [\"x\"]\n",
        "name = \"j\"\ncommand = \"c\"\nkind = \"batch\"\n",
        "name = \"j\"\ncommand = \"c\"\nkind = \"cron\"\nschedule = \"@hourly\"\n",
    ];
    let mut told = std::collections::BTreeSet::new();
    walk(JOB, &mut |path, key| {
        // Jobs of two names are two jobs.
        for base in bases.iter().filter(|_| !path.is_empty() || key.name != "name") {
            let value = match key.name {
                "cpus" => "0.7".to_owned(),
                "timezone" => "\"Europe/Berlin\"".to_owned(),
                "max_unavailable" | "instances" => "7".to_owned(),
                _ => match &key.takes {
                    Takes::Word(words) => format!("{:?}", words[words.len() - 1]),
                    Takes::Whole(..) => "7".to_owned(),
                    Takes::Bytes(_) => "\"65MiB\"".to_owned(),
                    Takes::Duration => "\"77s\"".to_owned(),
                    takes => example(takes, key.name),
                },
            };
            let mut inner = format!("{} = {value}", key.name);
            let beside = path.last().map_or("", |(table, _)| match *table {
                "health" | "readiness" if !["command", "http", "tcp"].contains(&key.name) => ", tcp = \"x\"",
                "spread" if key.name != "by" => ", by = \"x\"",
                "artifacts" if key.name != "uri" => ", uri = \"file:///x\"",
                "restart" if key.name == "window" => ", attempts = 3",
                "volumes" if key.name == "anew_after" => ", name = \"x\", size = \"64MiB\"",
                "volumes" if key.name != "name" => ", name = \"x\"",
                "volumes" => ", size = \"64MiB\"",
                _ => "",
            });
            inner.push_str(beside);
            let line = path.iter().rev().fold(inner, |inner, (name, list)| match list {
                true => format!("{name} = [{{ {inner} }}]"),
                false => format!("{name} = {{ {inner} }}"),
            });
            let kept =
                base.lines().filter(|kept| !line.starts_with(kept.split(' ').next().unwrap_or_default()));
            let text = format!("{line}\n{}", kept.collect::<Vec<_>>().join("\n"));
            let (Ok(old), Ok(new)) = (toml(base), toml(&text)) else { continue };
            let differences = old[0].differences(&new[0]);
            assert_eq!(differences.is_empty(), old == new, "{text}");
            if old != new {
                told.insert(
                    path.iter().map(|(name, _)| *name).chain([key.name]).collect::<Vec<_>>().join("."),
                );
            }
        }
    });
    // Tasks of a group are compared in another test: none of these bases has any. A kind never changes.
    let all = {
        let mut all = std::collections::BTreeSet::new();
        walk(JOB, &mut |path, key| {
            all.insert(path.iter().map(|(name, _)| *name).chain([key.name]).collect::<Vec<_>>().join("."));
        });
        all
    };
    // Of a table, its own keys are told.
    let within = |key: &str| told.iter().any(|known| known.starts_with(&format!("{key}.")));
    let beside = |key: &str| ["name", "kind"].contains(&key) || key.starts_with("task");
    let silent: Vec<&String> =
        all.difference(&told).filter(|key| !within(key.as_str()) && !beside(key.as_str())).collect();
    assert_eq!(silent, Vec::<&String>::new(), "these were never seen to differ");
}

#[test]
fn tasks_of_a_group_are_compared_by_name() {
    let old = toml(GROUP).expect("a job").remove(0);
    let text =
        GROUP.replace("cpus = 0.5", "cpus = 0.6").replace("\"log\"", "\"logs\"").replace("/ok", "/fine");
    let keys: Vec<String> =
        old.differences(&toml(&text).expect("a job")[0]).into_iter().map(|change| change.key).collect();
    for key in [
        "task[web].cpus",
        "task[web].health.http.path",
        "task[logs].command",
        "task[log].command",
        "task[log].env.LEVEL",
    ] {
        assert!(keys.iter().any(|known| known == key), "{key} in {keys:?}");
    }
    assert!(keys.iter().all(|key| !key.starts_with("task[web].mem")), "{keys:?}");
}

#[test]
fn defaults_of_the_table_are_those_of_jobs() {
    let plain =
        toml("name = \"a\"\ncommand = \"b\"\nports = [\"p\"]\nhealth = { tcp = \"p\" }").expect("a job");
    let said = |table: &[Key], names: &[&str]| -> String {
        let lines = table.iter().filter(|key| names.contains(&key.name));
        lines.map(|key| format!("{} = {}\n", key.name, literal(key))).collect()
    };
    let job = said(JOB, &["kind", "instances", "cpus", "mem", "disk", "kill_grace", "priority"]);
    let text = format!(
        "name = \"a\"\ncommand = \"b\"\nports = [\"p\"]\n{job}[health]\ntcp = \"p\"\n{}[update]\n{}[restart]\n{}",
        said(keys::CHECK, &["interval", "timeout", "failures", "delay", "grace"]),
        said(
            keys::UPDATE,
            &["max_surge", "max_unavailable", "min_healthy", "progress_deadline", "rollback", "canary"]
        ),
        said(keys::RESTART, &["policy", "initial", "max", "attempts", "window"]),
    );
    assert_eq!(toml(&text).expect("a job"), plain, "{text}");

    let cron = "name = \"a\"\ncommand = \"b\"\nkind = \"cron\"\nschedule = \"@daily\"\n";
    let text = format!(
        "{cron}{}",
        said(JOB, &["timezone", "overlap", "missed", "history", "paused", "parallel", "retries"])
    );
    assert_eq!(toml(&text).expect("a job"), toml(cron).expect("a job"), "{text}");
}

fn literal(key: &Key) -> String {
    match key.takes {
        Takes::Whole(..) | Takes::Bool | Takes::Cpus(..) => key.default.to_owned(),
        _ => format!("{:?}", key.default),
    }
}

/// Editors show these, and the guide has the whole story.
#[test]
fn every_key_is_explained() {
    let page = std::fs::read_to_string(guide("jobs.md")).expect("docs/guide/jobs.md reads");
    walk(JOB, &mut |path, key| {
        let told = [format!("`{}`", key.name), format!("{} = ", key.name)];
        assert!(told.iter().any(|told| page.contains(told)), "docs/guide/jobs.md: {path:?} {}", key.name);
        assert!(key.about.ends_with('.') && key.about.len() < 120, "{path:?} {}: {}", key.name, key.about);
    });
    let properties: Map<String, Value> =
        schema().pointer("/$defs/job/properties").and_then(Value::as_object).cloned().expect("properties");
    assert_eq!(properties.len(), JOB.len());
}
