//! Files of settings: what is wrong with one is said at once, and of each value where it comes from.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command, value_parser};
use framework_sdk_cli::settings::{self, Role};
use framework_sdk_cli::{ConfigVerb, ContextArgs, Exit, Terminal, run_config_on};
use serde_json::Value;

use crate::views;

/// A command with roles, as `stoa` has them.
fn command() -> Command {
    let file = || Arg::new("config").short('c').long("config").value_parser(value_parser!(PathBuf));
    let agent = Command::new("agent")
        .arg(file())
        .arg(Arg::new("work_dir").long("work-dir").required(true))
        .arg(Arg::new("masters").long("master").action(ArgAction::Append))
        .arg(Arg::new("share").long("share").default_value("1").value_parser(value_parser!(u32).range(1..)))
        .arg(Arg::new("join").long("join"))
        .arg(Arg::new("no_cpu_quota").long("no-cpu-quota").action(ArgAction::SetTrue))
        .subcommand(Command::new("drain"));
    let jobs = Command::new("jobs").arg(file()).arg(Arg::new("role").long("role").default_value("default"));
    let whole = Command::new("stoa")
        .subcommand(Command::new("master").arg(file()).arg(Arg::new("listen").long("listen")))
        .subcommand(agent)
        .subcommand(Command::new("framework").subcommand(jobs))
        .subcommand(Command::new("run").arg(Arg::new("command").num_args(1..).last(true)));
    settings::with_variables(whole)
}

fn file(name: &str, text: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("settings");
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn line(words: &str) -> Vec<OsString> {
    words.split_whitespace().map(OsString::from).collect()
}

#[derive(clap::Parser)]
struct Config {
    #[command(subcommand)]
    verb: ConfigVerb,
}

/// Types `config WORDS`.
fn typed(words: &str) -> (Exit, String, String) {
    let words = std::iter::once("config").chain(words.split_whitespace());
    let verb = <Config as clap::Parser>::try_parse_from(words).unwrap_or_else(|error| panic!("{error}")).verb;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut terminal = Terminal {
        out: &mut out,
        err: &mut err,
        answers: None,
        piped: None,
        interactive: false,
        colours: false,
        clock: || views::NOW_MS,
    };
    let context = ContextArgs { context: Some("/ctx".into()) };
    let whole = |role: Role, matches: &clap::ArgMatches| match role {
        Role::Agent if matches.get_one::<String>("work_dir").is_some_and(|dir| dir == "/") => {
            Err("work_dir: \"/\" is nobody's; name another".to_owned())
        }
        _ => Ok(()),
    };
    let exit = run_config_on(&verb, &context, &command(), &whole, &mut terminal);
    (exit, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[test]
fn everything_that_is_wrong_is_said_with_its_line_and_what_was_meant() {
    let path = file(
        "bad.toml",
        "[agent]\nwork_dri = '/w'\nshare = 0\nmaster = 'm1:1'\nno_cpu_quota = 'yes'\njoin = ['a']\n\n[agnet]\nx = 1\n\n\
         [jobs]\nnothing-like-it = 1\n",
    );
    let (exit, _, err) = typed(&format!("check {}", path.display()));
    assert_eq!(exit, Exit::Usage);
    let name = path.display();
    for said in [
        format!("{name}:2: agent.work_dri: there is no such key; did you mean work_dir?"),
        format!("{name}:3: agent.share: \"0\": 0 is not in 1.."),
        format!("{name}:5: agent.no_cpu_quota: is true or false"),
        format!("{name}:6: agent.join: takes one value; write it without [ ]"),
        format!("{name}:8: agnet: there is no such table; did you mean agent?"),
        format!("{name}:12: jobs.nothing-like-it: there is no such key; there are role"),
    ] {
        assert!(err.contains(&said), "{said:?} is missing:\n{err}");
    }
    assert!(!err.contains(":4:"), "one value stands for a list of one: {err}");
    let (exit, _, err) = typed(&format!("check {}", file("open.toml", "[agent\n").display()));
    assert_eq!(exit, Exit::Usage);
    assert!(err.contains("open.toml:1: is not TOML"), "{err}");
    let (exit, _, err) = typed("check /nonexistent/stoa.toml");
    assert!(exit == Exit::Usage && err.contains("/nonexistent/stoa.toml"), "{err}");
    // Good one by one, and not together.
    let whole = file("whole.toml", "[agent]\nwork_dir = '/'\n");
    let (exit, _, err) = typed(&format!("check {}", whole.display()));
    assert!(exit == Exit::Usage && err.contains("whole.toml: agent: work_dir: \"/\" is nobody's"), "{err}");
    let good = file("good.toml", "[agent]\nmaster = ['m1:1', 'm2:1']\nshare = 2\n[jobs]\nrole = 'eng'\n");
    let (exit, out, err) = typed(&format!("check {}", good.display()));
    assert_eq!(exit, Exit::Ok, "what is missing may stand on the command line: {err}");
    assert!(out.ends_with("good.toml is good; it speaks of agent, jobs\n"), "{out}");
}

#[test]
fn each_value_is_told_with_its_origin_and_secrets_are_not() {
    let path = file(
        "origins.toml",
        "[agent]\nwork_dir = '/w'\nshare = 2\njoin = 'SJ1.hunter2'\nmaster = ['a:1', 'b:1']\n",
    );
    let (exit, out, err) =
        typed(&format!("print agent --origin -c {} -- --share 3 --no-cpu-quota", path.display()));
    assert_eq!(exit, Exit::Ok, "{err}");
    let row = |name: &str| -> Vec<String> {
        let line = out.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {out}"));
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    };
    let place = |line: usize| format!("file {}:{line}", path.display());
    assert_eq!(row("agent.work_dir"), ["agent.work_dir", "/w", &place(2)]);
    assert_eq!(row("agent.share"), ["agent.share", "3", "flag"], "a flag wins over the file");
    assert_eq!(row("agent.join"), ["agent.join", "(secret)", &place(4)]);
    assert_eq!(row("agent.master"), ["agent.master", "a:1, b:1", &place(5)]);
    assert_eq!(row("agent.no_cpu_quota"), ["agent.no_cpu_quota", "true", "flag"]);
    let (_, out, _) = typed("print -o json");
    let told: Value = serde_json::from_str(&out).unwrap();
    let all = told["settings"].as_array().unwrap();
    let of = |role: &str, name: &str| {
        all.iter()
            .find(|one| one["role"] == role && one["name"] == name)
            .unwrap_or_else(|| panic!("{role}.{name}"))
    };
    assert_eq!(of("agent", "share")["values"], serde_json::json!(["1"]));
    assert_eq!(of("agent", "work_dir")["values"], serde_json::json!([]), "it has no default");
    assert_eq!(of("cli", "context")["values"], serde_json::json!(["/ctx"]));
    assert_eq!(of("jobs", "role")["origin"], "default");
    assert!(all.iter().all(|one| one["name"] != "config"), "where it is read from is no setting");
    let (exit, _, err) = typed("print -- --share 3");
    assert!(exit == Exit::Usage && err.contains("name it"), "{err}");
    let (exit, _, err) = typed("print agent -- --shrae 3");
    assert!(exit == Exit::Usage && err.contains("--shrae"), "{err}");
}

#[test]
fn a_file_fills_in_what_was_not_typed() {
    let path = file(
        "fills.toml",
        "[agent]\nwork_dir = '/w'\nshare = 2\nmaster = ['a:1']\nno_cpu_quota = true\n[master]\nlisten = 'x'\n",
    );
    let whole = |words: &str| {
        let line = settings::with_file(&command(), line(words)).unwrap();
        line.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    };
    let typed = format!("stoa agent -c {} --share 3", path.display());
    assert_eq!(whole(&typed), format!("{typed} --work-dir=/w --master=a:1 --no-cpu-quota"));
    assert!(command().try_get_matches_from(whole(&typed).split(' ')).is_ok());
    for untouched in
        ["stoa run -- sh -c x", "stoa agent --work-dir /w", "stoa agent drain", "stoa nonsense -c x"]
    {
        assert_eq!(whole(untouched), untouched);
    }
    let bad = file("unfit.toml", "[agent]\nshare = 'many'\n");
    let error =
        settings::with_file(&command(), line(&format!("stoa agent -c {}", bad.display()))).unwrap_err();
    assert!(error.to_string().contains("unfit.toml:2: agent.share: \"many\""), "{error}");
}

#[test]
fn every_setting_with_one_value_has_a_variable() {
    let command = command();
    let agent = command.find_subcommand("agent").unwrap();
    let variable = |id: &str| {
        let arg = agent.get_arguments().find(|arg| arg.get_id() == id).unwrap();
        arg.get_env().map(|name| name.to_string_lossy().into_owned())
    };
    assert_eq!(variable("work_dir").as_deref(), Some("STOA_AGENT_WORK_DIR"));
    assert_eq!(variable("no_cpu_quota").as_deref(), Some("STOA_AGENT_NO_CPU_QUOTA"));
    assert_eq!((variable("masters"), variable("config")), (None, None));
}
