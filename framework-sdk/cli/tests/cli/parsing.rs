//! Every verb as it can be typed, and as it cannot.

use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use framework_sdk_cli::args::{Form, Format, Noun, QuotaVerb, RaftVerb, TokenFor, TokenVerb};
use framework_sdk_cli::{
    Action, AgentVerb, CompletionArgs, ContextArgs, ExplainSummaryArgs, ExplainVerb, Verb, completion,
};

/// A command that mounts the verbs, as `stoa` does.
#[derive(Debug, Parser)]
#[command(name = "stoa")]
struct Stoa {
    #[command(flatten)]
    context: ContextArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Verb(Verb),
    /// What can be done with an agent
    #[command(subcommand)]
    Agent(AgentVerb),
    /// Why something waits
    Explain(Explain),
    Completion(CompletionArgs),
}

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Explain {
    #[command(subcommand)]
    what: Option<ExplainVerb>,
    #[command(flatten)]
    summary: Option<ExplainSummaryArgs>,
}

fn parse(line: &str) -> Result<Stoa, clap::Error> {
    Stoa::try_parse_from(std::iter::once("stoa").chain(line.split_whitespace()))
}

/// A line as an action; panics where it is none.
pub fn parsed(line: &str) -> Action {
    match parse(line).unwrap_or_else(|error| panic!("{line}: {error}")).command {
        Command::Verb(verb) => verb.into(),
        Command::Explain(Explain { what: Some(verb), .. }) => verb.into(),
        Command::Explain(Explain { summary: Some(summary), .. }) => summary.into(),
        Command::Explain(Explain { what: None, summary: None }) => panic!("{line} explains nothing"),
        Command::Agent(verb) => verb.into(),
        Command::Completion(_) => panic!("{line} is no action"),
    }
}

fn verb(line: &str) -> Verb {
    match parsed(line) {
        Action::Verb(verb) => verb,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_command_is_well_formed() {
    Stoa::command().debug_assert();
}

#[test]
fn get_takes_nouns_in_one_and_many() {
    for (word, noun) in [
        ("agents", Noun::Agents),
        ("agent", Noun::Agents),
        ("tasks", Noun::Tasks),
        ("task", Noun::Tasks),
        ("frameworks", Noun::Frameworks),
        ("fw", Noun::Frameworks),
        ("offers", Noun::Offers),
        ("roles", Noun::Roles),
        ("reservations", Noun::Reservations),
        ("volume", Noun::Volumes),
        ("secret", Noun::Secrets),
    ] {
        let Verb::Get(get) = verb(&format!("get {word}")) else { panic!("{word}") };
        assert_eq!((get.noun, get.output, get.watch), (noun, Format::Table, false));
    }
    let Verb::Get(get) = verb("get tasks web.1 web.2 -w -a -o json --framework jobs --agent a1") else {
        panic!("not get")
    };
    assert!(get.watch && get.all);
    assert_eq!((get.output, get.ids.len()), (Format::Json, 2));
    assert_eq!((get.framework.as_deref(), get.agent.as_deref()), (Some("jobs"), Some("a1")));
    for word in ["table", "wide", "json", "yaml", "name"] {
        assert!(parse(&format!("get tasks -o {word}")).is_ok(), "{word}");
    }
    for bad in ["get", "get pods", "get tasks -o xml", "get tasks --framework"] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_others_take_what_they_say() {
    let Verb::Describe(describe) = verb("describe task jobs/web.1 -o yaml") else { panic!("not describe") };
    assert_eq!(
        (describe.noun, describe.id.as_str(), describe.output),
        (Noun::Tasks, "jobs/web.1", Form::Yaml)
    );

    let Verb::Logs(logs) = verb("logs -f --stderr --tail 10 web.1") else { panic!("not logs") };
    assert!(logs.follow && logs.stderr);
    assert_eq!((logs.tail, logs.tasks.as_slice()), (Some(10), ["web.1".to_owned()].as_slice()));

    let Verb::Kill(kill) = verb("kill web.1 web.2 --grace 1m30s") else { panic!("not kill") };
    assert_eq!((kill.tasks.len(), kill.grace), (2, Some(Duration::from_secs(90))));

    let Verb::Raft(RaftVerb::Status(raft)) = verb("raft status -o json") else { panic!("not raft") };
    assert_eq!(raft.output, Form::Json);

    let Verb::Token(TokenVerb::Create(token)) = verb("token create --agent") else { panic!("not token") };
    assert_eq!((token.agent, token.uses, token.ttl), (true, 1, Duration::from_secs(3600)));
    let Verb::Token(TokenVerb::Create(token)) = verb("token create --framework jobs --ttl 10m --uses 3")
    else {
        panic!("not token")
    };
    assert_eq!(
        (token.framework.as_deref(), token.uses, token.ttl),
        (Some("jobs"), 3, Duration::from_secs(600))
    );

    let Verb::Token(TokenVerb::Create(token)) = verb("token create --kind user --name ada") else {
        panic!("not token")
    };
    assert_eq!((token.kind, token.name.as_deref()), (Some(TokenFor::User), Some("ada")));

    let Verb::Quota(QuotaVerb::Set(quota)) = verb("quota set eng/web --limit cpus=8,mem=1GiB") else {
        panic!("not quota")
    };
    assert!(quota.role.as_str() == "eng/web" && quota.guarantee.is_none() && quota.limit.is_some());
    assert!(matches!(verb("quota clear eng"), Verb::Quota(QuotaVerb::Clear(_))));
    assert!(matches!(verb("weight set eng 2.5"), Verb::Weight(_)));
    assert!(matches!(verb("status"), Verb::Status(_)));
    assert!(matches!(verb("teardown jobs --yes"), Verb::Teardown(args) if args.yes));
    assert!(matches!(verb("gone a1"), Verb::Gone(args) if !args.yes));

    let Action::Explain(ExplainVerb::Task(explain)) = parsed("explain task web.1 -vv -o json") else {
        panic!("not explain")
    };
    assert_eq!((explain.view.verbose, explain.view.output), (2, Form::Json));
    assert!(matches!(parsed("explain framework jobs"), Action::Explain(ExplainVerb::Framework(_))));
    assert!(matches!(parsed("explain role eng/web"), Action::Explain(ExplainVerb::Role(_))));
    assert!(matches!(parsed("explain agent agent-1 -v"), Action::Explain(ExplainVerb::Agent(_))));
    let Action::Summary(summary) = parsed("explain --summary -v -o json") else { panic!("not the summary") };
    assert_eq!((summary.verbose, summary.output), (1, Form::Json));
    assert!(matches!(parsed("explain demand jobs/web"), Action::Explain(ExplainVerb::Demand(_))));
}

#[test]
fn what_makes_no_sense_is_refused_with_a_reason() {
    for (bad, why) in [
        ("kill", "<TASK>"),
        ("kill web.1 --grace 5", "500ms, 5s"),
        ("token create", "--agent"),
        ("token create --agent --framework jobs", "cannot be used"),
        ("token create --agent --kind agent", "cannot be used"),
        ("token create --name ada", "--kind"),
        ("token create --kind pod", "framework"),
        ("token create --agent --uses 0", "0"),
        ("quota set eng", "--guarantee"),
        ("quota set eng --limit cpus", "NAME=AMOUNT"),
        ("quota set /eng --limit cpus=1", "is not a role"),
        ("reserve a1 --role eng", "--cpus"),
        ("reserve a1 --role eng --ports 9-8", "31000-32000"),
        ("reserve a1 --cpus 1", "--role"),
        ("volume create a1 db --role eng", "--size"),
        ("volume create a1 a/b --role eng --size 1GiB", "NAME"),
        ("weight set eng 0", "above 0"),
        ("weight set eng lots", "decimals"),
        ("explain job", ""),
        ("explain", "--summary"),
        ("explain -o json", "--summary"),
        ("explain --summary task web.0", "cannot be used"),
        ("explain task web.0 --summary", "--summary"),
        ("raft", "status"),
        ("logs --tail -1 web.1", ""),
        ("logs", "--label"),
        ("logs -l team", "team=web"),
        ("gett tasks", "'get'"),
    ] {
        let error = parse(bad).expect_err(bad);
        assert_eq!(error.exit_code(), 2, "{bad}");
        assert!(error.to_string().contains(why), "{bad}: {error}");
    }
}

/// As explanations name them.
#[test]
fn the_commands_of_remedies_can_be_typed() {
    for line in [
        "quota set eng/web --guarantee cpus=1 --limit cpus=0.5,mem=1GiB,disk=1537",
        "quota clear eng",
        "weight set eng 1.5",
        "agent resume agent-1",
        "unreserve agent-1 --role db --cpus 0.5 --mem 8GiB --disk 1537 --gpus 1 --ports 31000-31009,32000",
    ] {
        parsed(line);
    }
}

#[test]
fn the_context_can_stand_anywhere() {
    let stoa = parse("get agents --context /tmp/there").unwrap();
    assert_eq!(stoa.context.context.as_deref(), Some("/tmp/there".as_ref()));
}

#[test]
fn every_shell_gets_a_script_that_knows_the_verbs() {
    for shell in ["bash", "zsh", "fish"] {
        let Command::Completion(args) = parse(&format!("completion {shell}")).unwrap().command else {
            panic!("not completion")
        };
        let script = completion::script(&args, &mut Stoa::command());
        let script = String::from_utf8(script).unwrap();
        for word in ["stoa", "describe", "frameworks", "quota"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}
