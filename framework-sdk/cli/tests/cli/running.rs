//! `config check --running`: a file of settings against masters that answer.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command, value_parser};
use framework_sdk_cli::settings::{self, Role};
use framework_sdk_cli::{ConfigVerb, Exit, Terminal, run_config_check_on};
use proto::id::{AgentId, MasterId};
use proto::operator::{MemberView, Raft};
use proto_grpc::Identity;
use proto_pki::{Authority, JoinToken, LEAF_VALIDITY};
use serde_json::Value;

use crate::pool::{Pool, nobody};
use crate::views;

fn command() -> Command {
    let one = |name: &'static str| Arg::new(name).long(name);
    let many = |name: &'static str| one(name).action(ArgAction::Append);
    let file = || Arg::new("config").short('c').long("config").value_parser(value_parser!(PathBuf));
    let with = |command: Command, args: Vec<Arg>| command.arg(file()).args(args);
    let agent = with(Command::new("agent"), vec![many("master"), one("join"), one("credentials")]);
    let master = with(Command::new("master"), vec![many("member")]);
    let jobs = with(Command::new("jobs"), vec![many("master"), one("role"), one("credentials")]);
    let whole = Command::new("stoa").subcommands([agent, master, Command::new("framework").subcommand(jobs)]);
    settings::with_variables(whole)
}

#[derive(clap::Parser)]
struct Config {
    #[command(subcommand)]
    verb: ConfigVerb,
}

/// A group of two, of which the first leads, and an address where nobody is.
async fn group() -> (Pool, [String; 2], String) {
    let pool = Pool::new();
    let (first, one) = pool.master(1).await;
    let (second, other) = pool.master(2).await;
    let member = |id: u64, address: &String| MemberView {
        id: MasterId(id),
        address: address.clone(),
        pid: 100,
        leader: id == 1,
        alive: true,
        matched: 90,
        standing: Default::default(),
    };
    let raft = Raft {
        members: vec![member(1, &first), member(2, &second)],
        term: 4,
        applied: 93,
        ..Raft::default()
    };
    for world in [one, other] {
        world.lock().unwrap().raft = raft.clone();
    }
    (pool, [first, second], nobody().await)
}

fn dir(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("running").join(name);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// Checks a file of this text; the exit code and both streams.
async fn checked(
    pool: &Pool,
    masters: &[&str],
    name: &str,
    text: &str,
    flags: &str,
) -> (Exit, String, String) {
    let path = dir("files").join(name);
    std::fs::write(&path, text).unwrap();
    let words = format!("config check {} {flags}", path.display());
    let verb = <Config as clap::Parser>::try_parse_from(words.split_whitespace()).unwrap().verb;
    let ConfigVerb::Check(args) = verb else { panic!("{verb:?}") };
    assert!(args.asks());
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
    let whole = |_: Role, _: &clap::ArgMatches| Ok(());
    let exit = run_config_check_on(&args, pool.profile(masters), &command(), &whole, &mut terminal).await;
    (exit, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[tokio::test]
async fn what_a_file_names_is_there_and_of_this_cluster() {
    let (pool, [first, second], _) = group().await;
    let token = JoinToken::generate(pool.authority().ca_sha256()).unwrap();
    let agent = pool.authority().issue(&Identity::Agent(AgentId::new("a9").unwrap()), LEAF_VALIDITY).unwrap();
    let at = dir("good");
    agent.save(&at).unwrap();
    let text = format!(
        "[master]\nmember = ['1={first}', '2={second}']\n[agent]\nmaster = ['{first}', '{second}']\njoin = '{token}'\n\
         credentials = '{}'\n[jobs]\nmaster = ['{first}', '{second}']\nrole = 'default'\n",
        at.display()
    );
    let (exit, out, err) = checked(&pool, &[&first], "good.toml", &text, "--running").await;
    assert_eq!((exit, err.as_str()), (Exit::Ok, ""), "{out}");
    assert!(!out.contains("fail  ") && !out.contains(&token.to_string()), "{out}");
    for line in [
        "ok    members: the 2 members are those of the group\n",
        &format!("ok    reachable: the master at {second} answers\n"),
        "ok    token: agent.join (line 5) is of this cluster;",
        "ok    credentials: agent.credentials (line 6): agent/a9 of this cluster\n",
        "ok    rights: jobs.role (line 9): framework/jobs may take offers there\n",
    ] {
        assert!(out.contains(line), "{line} in {out}");
    }
    // The master that is named is asked, whoever the context names.
    let (exit, _, _) =
        checked(&pool, &[&nobody().await], "good.toml", &text, &format!("--master {second}")).await;
    assert_eq!(exit, Exit::Ok);
}

#[tokio::test]
async fn each_thing_that_is_not_there_is_said_with_its_line_and_a_fix() {
    let (pool, [first, second], empty) = group().await;
    let other = Authority::create("other").unwrap();
    let strange = dir("strange");
    other
        .issue(&Identity::Agent(AgentId::new("a9").unwrap()), LEAF_VALIDITY)
        .unwrap()
        .save(&strange)
        .unwrap();
    let user = dir("user");
    pool.authority().issue(&Identity::User("ada".into()), LEAF_VALIDITY).unwrap().save(&user).unwrap();
    let token = JoinToken::generate(other.ca_sha256()).unwrap();
    let text = format!(
        "[master]\nmember = ['1={first}', '3={empty}']\n[agent]\nmaster = ['{first}', '{empty}']\njoin = '{token}'\n\
         credentials = '{}'\n[jobs]\nmaster = ['{second}']\nrole = 'eng/web'\ncredentials = '{}'\n",
        strange.display(),
        user.display()
    );
    let (exit, out, _) = checked(&pool, &[&first], "bad.toml", &text, "--running").await;
    assert_eq!(exit, Exit::Bad, "{out}");
    for line in [
        format!(
            "warn  members: master.member (line 2): are not of the group: 3={empty}; are not named: 2={second}\n"
        ),
        format!("fail  masters: agent.master (line 4): no master of this cluster answers at {empty}: "),
        format!("      fix: they are at {first}, {second}\n"),
        format!("warn  masters: agent.master (line 4) does not name {second}\n"),
        format!("warn  masters: jobs.master (line 8) does not name {first}\n"),
        "fail  token: agent.join (line 5) is of another cluster\n".to_owned(),
        "fail  credentials: agent.credentials (line 6): they are of another cluster\n".to_owned(),
        "fail  credentials: jobs.credentials (line 10): they are user/ada's, which is no jobs\n".to_owned(),
    ] {
        assert!(out.contains(&line), "{line} in {out}");
    }
    let (exit, out, _) = checked(&pool, &[&first], "bad.toml", &text, "--running -o json").await;
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (exit, &told["kind"], &told["running"]["verdict"]),
        (Exit::Bad, &"ConfigCheck".into(), &"fail".into())
    );
}

#[tokio::test]
async fn without_a_cluster_that_is_what_is_said() {
    let (pool, _, empty) = group().await;
    let text = format!("[agent]\nmaster = '{empty}'\n");
    let (exit, out, _) = checked(&pool, &[&empty], "nobody.toml", &text, "--running").await;
    assert_eq!(exit, Exit::Bad);
    assert!(out.contains("fail  masters: no master answers"), "{out}");
    // What is wrong with the file itself comes first.
    let (exit, _, err) =
        checked(&pool, &[&empty], "faulty.toml", "[agent]\nmastre = 'a:1'\n", "--running").await;
    assert_eq!(exit, Exit::Usage);
    assert!(err.contains("did you mean"), "{err}");
}
