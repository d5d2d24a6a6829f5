//! What job files may say, and what is answered when they say something else.

mod parts;
mod schema;

use std::path::Path;

use self::parts::{BATCH, CRON, GROUP, SERVICE};
use super::*;

fn toml(text: &str) -> Result<Vec<JobSpec>, Faults> {
    parse_file(Path::new("job.toml"), text)
}

fn yaml(text: &str) -> Result<Vec<JobSpec>, Faults> {
    parse_file(Path::new("job.yaml"), text)
}

fn one(jobs: Result<Vec<JobSpec>, Faults>) -> JobSpec {
    let mut jobs = jobs.unwrap();
    assert_eq!(jobs.len(), 1);
    jobs.remove(0)
}

fn complaint(jobs: Result<Vec<JobSpec>, Faults>) -> String {
    jobs.unwrap_err().to_string()
}

const FULL: &str = r#"
name = "web"
command = ["python3", "-m", "http.server"]
kind = "service"
instances = 3
cpus = 0.25
mem = "128MiB"
disk = "1GiB"
ports = ["http", "metrics-1"]
env = { GREETING = "hello", LEVEL = 3, DEBUG = true }
artifacts = [{ uri = "https://example.org/a.tar", sha256 = "", name = "a", executable = true }, "file:///b"]
secrets = { db-password = "db-password", "key.pem" = "tls-key" }
constraints = ["zone=b", "rack>=3"]
role = "eng/web"
user = "nobody"
kill_grace = "1m30s"

[restart]
initial = "500ms"
max = "10s"
"#;

#[test]
fn every_key_is_read() {
    let job = one(toml(FULL));
    assert_eq!(job.command, Command::Argv(["python3", "-m", "http.server"].map(String::from).to_vec()));
    assert_eq!((job.kind, job.instances, job.cpus_milli), (Kind::Service, 3, 250));
    assert_eq!((job.mem_bytes, job.disk_bytes), (128 << 20, 1 << 30));
    assert_eq!(job.ports, ["HTTP", "METRICS_1"]);
    assert_eq!(
        (job.env["GREETING"].as_str(), job.env["LEVEL"].as_str(), job.env["DEBUG"].as_str()),
        ("hello", "3", "true")
    );
    assert_eq!(job.artifacts.len(), 2);
    assert!(job.artifacts[0].executable);
    assert_eq!(job.artifacts[1].uri, "file:///b");
    assert_eq!((job.secrets.len(), job.secrets["key.pem"].as_str()), (2, "tls-key"));
    assert_eq!(job.constraints.0.len(), 2);
    assert_eq!(job.role.as_ref().map(Role::as_str), Some("eng/web"));
    assert_eq!(job.kill_grace, Duration::from_secs(90));
    assert_eq!(job.restart, BackOff { initial: Duration::from_millis(500), max: Duration::from_secs(10) });
    assert_eq!(JobSpec::from_wire(job.to_wire()), Ok(job));
}

#[test]
fn toml_and_yaml_say_the_same() {
    let text = r#"
name: web
command: [python3, -m, http.server]
kind: service
instances: 3
cpus: 0.25
mem: 128MiB
disk: 1GiB
ports: [http, metrics-1]
env: { GREETING: hello, LEVEL: 3, DEBUG: true }
artifacts:
  - uri: https://example.org/a.tar
    name: a
    executable: true
  - file:///b
secrets: { db-password: db-password, key.pem: tls-key }
constraints: ["zone=b", "rack>=3"]
role: eng/web
user: nobody
kill_grace: 1m30s
restart: { initial: 500ms, max: 10s }
"#;
    assert_eq!(one(yaml(text)), one(toml(FULL)));
}

#[test]
fn secrets_are_a_list_of_names_or_a_table_of_files() {
    let job = |secrets: &str| toml(&format!("name = \"a\"\ncommand = \"b\"\nsecrets = {secrets}"));
    let listed = one(job("[\"db\", \"tls\"]"));
    assert_eq!(listed, one(job("{ db = \"db\", tls = \"tls\" }")));
    let lines = listed.lines().into_iter().filter(|(key, _)| key.starts_with("secrets"));
    let expected = [("secrets.db", "db"), ("secrets.tls", "tls")];
    assert_eq!(lines.collect::<Vec<_>>(), expected.map(|(key, name)| (key.to_owned(), name.to_owned())));
    for (secrets, why) in [
        ("[\"db\", \"db\"]", "names one twice"),
        ("[\"a/b\"]", "is not the name of a secret"),
        ("{ \"a/b\" = \"db\" }", "is not the name of a file"),
        ("\"db\"", "a list such as"),
    ] {
        let told = complaint(job(secrets));
        assert!(told.contains(why), "{secrets}: {told}");
    }
}

#[test]
fn little_is_needed() {
    let job = one(toml("name = \"a\"\ncommand = \"sleep 1\""));
    assert_eq!(job, JobSpec::new("a", Kind::Service, Command::Shell("sleep 1".into())));
    assert_eq!((job.cpus_milli, job.mem_bytes, job.instances), (100, 64 << 20, 1));
}

#[test]
fn amounts_are_exact() {
    let cpus = |text: &str| {
        toml(&format!("name = \"a\"\ncommand = \"b\"\ncpus = {text}")).map(|jobs| jobs[0].cpus_milli)
    };
    for (text, milli) in
        [("0.1", 100), ("0.07", 70), ("1.001", 1001), ("2", 2000), ("\"0.5\"", 500), ("0x10", 16000)]
    {
        assert_eq!(cpus(text), Ok(milli), "{text}");
    }
    for (text, shown) in
        [("0.0001", "0.0001"), ("1e3", "1e3"), ("-1", "-1"), ("nan", "nan"), ("true", "true")]
    {
        let told = cpus(text).unwrap_err().to_string();
        assert!(
            told.starts_with("job.toml:3: cpus: ") && told.contains(shown) && told.contains("0.5"),
            "{told}"
        );
    }
}

#[test]
fn a_slip_in_a_key_is_pointed_out() {
    assert_eq!(
        complaint(toml("name = \"a\"\ncommand = \"b\"\ninstnaces = 3")),
        "job.toml:3: instnaces: there is no such key; did you mean \"instances\"?"
    );
    let told = complaint(yaml("name: a\ncommand: b\nrestart:\n  inital: 1s\n"));
    assert_eq!(told, "job.yaml:4: restart.inital: there is no such key; did you mean \"initial\"?");
    let told = complaint(toml("name = \"a\"\ncommand = \"b\"\nflavour = 3"));
    assert!(told.contains("known are name, command, kind"), "{told}");
    let told = complaint(toml("name = \"a\"\ncommand = \"b\"\nhealth = { tpc = \"http\" }"));
    assert!(told.contains("health.tpc: there is no such key; did you mean \"tcp\"?"), "{told}");
    let told = complaint(toml("name = \"a\"\ncommand = \"b\"\nkind = \"sevrice\""));
    assert!(told.contains("did you mean \"service\"?"), "{told}");
}

#[test]
fn everything_wrong_is_said_at_once_and_once() {
    let told = complaint(toml(
        "name = \"a b\"\ncommand = []\ninstances = 0\ncpus = \"lots\"\nmem = 64\nretries = 2\nports = [\"a\", \"A\"]\n\
         env = 3\nrole = \"/\"\nkill_grace = 5\nconstraints = [\"=\"]\nartifacts = [{ uri = \"ftp://x\", sha256 = \"1\" }]",
    ));
    let keys: Vec<&str> = told.lines().filter_map(|line| line.split(": ").nth(1)).collect();
    let expected = [
        "name",
        "command",
        "instances",
        "cpus",
        "mem",
        "retries",
        "ports",
        "env",
        "role",
        "kill_grace",
        "constraints[0]",
        "artifacts[0].uri",
        "artifacts[0].sha256",
    ];
    assert_eq!(keys, expected, "{told}");
    for (line, text) in told.lines().enumerate().take(11) {
        assert!(text.starts_with(&format!("job.toml:{}: ", line + 1)), "{text}");
    }
}

#[test]
fn what_is_missing_is_named() {
    let told = complaint(toml(""));
    assert!(told.contains("name: is missing") && told.contains("command: is missing"), "{told}");
    assert!(complaint(yaml("")).contains("holds no job"));
    assert!(complaint(yaml("- 1")).contains("a job is a table of keys, not a list"));
    assert!(complaint(parse_file(Path::new("job.json"), "{}")).contains(".toml, .yaml or .yml"));
}

#[test]
fn a_file_may_hold_several_jobs() {
    let names = |jobs: Vec<JobSpec>| jobs.into_iter().map(|job| job.name).collect::<Vec<_>>();
    let documents = "name: a\ncommand: x\n---\nname: b\ncommand: y\n---\n";
    assert_eq!(names(yaml(documents).unwrap()), ["a", "b"]);
    let tables = "[[job]]\nname = \"a\"\ncommand = \"x\"\n[[job]]\nname = \"b\"\ncommand = \"y\"";
    assert_eq!(names(toml(tables).unwrap()), ["a", "b"]);
    assert!(
        complaint(yaml("name: a\ncommand: x\n---\nname: a\ncommand: y\n")).contains("two jobs of this file")
    );
}

#[test]
fn what_is_no_toml_or_yaml_is_said_with_its_line() {
    let told = complaint(toml("name = \"a\"\ncommand = \"b"));
    assert!(told.starts_with("job.toml:2: is not TOML: "), "{told}");
    let told = complaint(yaml("name: a\ncommand: [b\n"));
    assert!(told.starts_with("job.yaml:") && told.contains("is not YAML: "), "{told}");
    assert!(complaint(yaml("name: a\nname: b\ncommand: c")).contains("stands here twice"));
    assert!(complaint(toml("name = \"a\"\nname = \"b\"")).contains("is not TOML"));
}

#[test]
fn aliases_work_and_bombs_do_not() {
    let job = one(yaml("name: &n web\ncommand: [echo, *n]\n"));
    assert_eq!(job.command, Command::Argv(vec!["echo".into(), "web".into()]));
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..12 {
        let last = format!("*a{}", level - 1);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![last; 10].join(",")));
    }
    assert!(complaint(yaml(&bomb)).contains("too many values"));
    assert!(complaint(yaml(&"[".repeat(5000))).contains("job.yaml"));
    assert!(yaml(&format!("name: {}1{}", "[".repeat(60), "]".repeat(60))).is_err());
    assert!(toml(&format!("a = {}1{}", "[".repeat(5000), "]".repeat(5000))).is_err());
}

/// No text makes it panic: every beginning of a good file, and every single byte of it changed.
#[test]
fn no_damage_makes_it_panic() {
    let yaml_text = "name: &a web\ncommand: [x, *a]\nenv: {A: 1}\nrestart:\n  initial: 1s\n---\nname: b\ncommand: |\n  x\n";
    for text in [FULL, yaml_text, SERVICE, BATCH, CRON, GROUP] {
        for at in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
            let _ = (toml(&text[..at]), yaml(&text[..at]));
            for other in ["\0", "\"", "[", "{", "-", "9", "é", "\n", "*", "&", ":", "\t", "#"] {
                let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
                let _ = (toml(&changed), yaml(&changed));
            }
        }
    }
}

#[test]
fn an_instance_has_a_name() {
    let mut job = one(toml(FULL));
    assert_eq!(job.instance_name(2), "web.2");
    job.instances = 1;
    assert_eq!(job.instance_name(0), "web");
}

#[test]
fn a_name_has_a_length() {
    let named = |length: usize| JobSpec::new(&"n".repeat(length), Kind::Batch, Command::Shell("x".into()));
    assert!(named(64).checked().is_ok());
    assert!(named(65).checked().is_err());
}

#[test]
fn a_forged_message_is_refused_field_by_field() {
    let told = JobSpec::from_wire(crate::wire::JobSpec::default()).unwrap_err().to_string();
    for key in ["name: ", "kind: ", "instances: ", "command: ", "cpus: ", "mem: ", "restart: "] {
        assert!(told.contains(key), "{key} in {told}");
    }
    let forged = crate::wire::JobSpec {
        restart_policy: 9,
        health: Some(crate::wire::Check::default()),
        cron: Some(crate::wire::Cron::default()),
        tasks: vec![crate::wire::GroupTask::default()],
        update: Some(crate::wire::Update::default()),
        ..one(toml(CRON)).to_wire()
    };
    let told = JobSpec::from_wire(forged).unwrap_err().to_string();
    for key in
        ["restart.policy: ", "health: ", "schedule: ", "overlap: ", "task: ", "task[0].name: ", "update: "]
    {
        assert!(told.contains(key), "{key} in {told}");
    }
}

#[test]
fn the_guide_has_every_key_and_its_examples_are_job_files() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/jobs.md");
    let page = std::fs::read_to_string(path).expect("docs/guide/jobs.md reads");
    for key in super::keys::names(super::keys::JOB) {
        assert!(page.contains(&format!("\n| `{key}` | ")), "docs/guide/jobs.md has no line for {key}");
    }
    let mut examples = 0;
    for extension in ["toml", "yaml"] {
        for block in page.split(&format!("\n```{extension} ")).skip(1) {
            // The rest of the fence is the file's name.
            let (_, block) = block.split_once('\n').unwrap_or_default();
            let text = block.split("\n```").next().unwrap_or_default();
            let jobs = parse_file(Path::new(&format!("example.{extension}")), text);
            assert!(jobs.is_ok(), "docs/guide/jobs.md: {}\n{text}", jobs.expect_err("faults"));
            examples += 1;
        }
    }
    assert!(examples >= 4, "examples are found: {examples}");
}
