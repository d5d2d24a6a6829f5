//! The JSON schema of job files (draft 2020-12), made from the table of keys.

use serde_json::{Map, Value, json};

use super::keys::{CRON, JOB, Key, LIST, Takes};

/// What editors and linters read. It says what a file may look like; whether names, ports and kinds go together, the
/// parser says.
pub fn schema() -> Value {
    let cron: Vec<Value> = CRON.iter().map(|name| json!({ "required": [name] })).collect();
    let mut job = object(JOB);
    job.insert("anyOf".to_owned(), json!([{ "required": ["command"] }, { "required": ["task"] }]));
    job.insert(
        "if".to_owned(),
        json!({ "properties": { "kind": { "const": "cron" } }, "required": ["kind"] }),
    );
    job.insert("then".to_owned(), json!({ "required": ["schedule"] }));
    job.insert("else".to_owned(), json!({ "not": { "anyOf": cron } }));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A job file of Stoa",
        "description": "One job, or a list of jobs under `job`. See docs/guide/jobs.md.",
        // Not one of two: an editor would only say that it is neither.
        "if": { "required": [LIST] },
        "then": {
            "type": "object",
            "properties": { LIST: { "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/job" } } },
            "additionalProperties": false,
        },
        "else": { "$ref": "#/$defs/job" },
        "$defs": { "job": job },
    })
}

/// The schema as it is printed and published.
pub fn schema_text() -> String {
    format!("{:#}\n", schema())
}

fn object(table: &[Key]) -> Map<String, Value> {
    let properties: Map<String, Value> =
        table.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<&str> = table.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut object = Map::new();
    object.insert("type".to_owned(), "object".into());
    object.insert("properties".to_owned(), properties.into());
    if !required.is_empty() {
        object.insert("required".to_owned(), required.into());
    }
    object.insert("additionalProperties".to_owned(), false.into());
    object
}

fn property(key: &Key) -> Value {
    let mut value = of(&key.takes);
    value.insert("description".to_owned(), key.about.into());
    if !key.default.is_empty() {
        // `0.1`, `3` and `false` are values; `64MiB` and `always` are texts.
        let default = serde_json::from_str(key.default).unwrap_or_else(|_| Value::from(key.default));
        value.insert("default".to_owned(), default);
    }
    value.into()
}

fn of(takes: &Takes) -> Map<String, Value> {
    let value = match takes {
        Takes::Text => json!({ "type": ["string", "number", "boolean"] }),
        Takes::Pattern(pattern) => json!({ "type": "string", "pattern": pattern }),
        Takes::Bool => json!({ "type": "boolean" }),
        Takes::Whole(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Takes::Cpus(least, most) => {
            let cpus = |milli: &u64| Value::from(*milli as f64 / 1000.0);
            json!({ "anyOf": [
                { "type": "number", "minimum": cpus(least), "maximum": cpus(most) },
                { "type": "string", "pattern": r"^\d+(\.\d{1,3})?$" },
            ] })
        }
        Takes::Bytes(least) => json!({ "anyOf": [
            { "type": "integer", "minimum": least },
            { "type": "string", "pattern": r"^\d+(\.\d{1,3})? ?(B|kB|KB|MB|GB|TB|[KMGTkmgt]|[KMGT]iB?)?$" },
        ] }),
        Takes::Duration => json!({ "type": "string", "pattern": r"^(\d+(ms|s|m|h|d))+$" }),
        Takes::Word(words) => json!({ "enum": words }),
        Takes::List(item, most) => {
            let mut list = json!({ "type": "array", "items": of(item) });
            if *most < usize::MAX {
                list["maxItems"] = (*most).into();
            }
            list
        }
        Takes::Texts => json!({ "type": "object", "additionalProperties": of(&Takes::Text) }),
        Takes::Table(keys) => object(keys).into(),
        Takes::Either(several) => {
            let several: Vec<Value> = several.iter().map(|one| of(one).into()).collect();
            json!({ "anyOf": several })
        }
    };
    match value {
        Value::Object(map) => map,
        // Every arm above makes an object.
        _ => Map::new(),
    }
}
