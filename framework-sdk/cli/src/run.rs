//! From a verb to an exit code.

use std::io;

use crate::args::{
    AgentVerb, AuditVerb, AuthVerb, ContextArgs, EventForm, ExecArgs, ExplainSummaryArgs, ExplainVerb, Form,
    Format, InspectArgs, QuotaVerb, SaveArgs, TokenVerb, Verb, WeightVerb,
};
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::{Failure, Stop};
use crate::profile;
use crate::terminal::Terminal;
use crate::verbs::{
    audit, auth, describe, doctor, drain, events, exec, explain, get, kill, logs, quota, raft, remove,
    reserve, secret, snapshot, status, token, waiting,
};

/// What was asked for.
#[derive(Clone, Debug)]
pub enum Action {
    /// One of the verbs.
    Verb(Verb),
    /// An explanation.
    Explain(ExplainVerb),
    /// All that waits, in sum.
    Summary(ExplainSummaryArgs),
    /// Something about an agent.
    Agent(AgentVerb),
    /// A backup.
    Save(SaveArgs),
}

impl From<SaveArgs> for Action {
    fn from(args: SaveArgs) -> Self {
        Action::Save(args)
    }
}

impl From<Verb> for Action {
    fn from(verb: Verb) -> Self {
        Action::Verb(verb)
    }
}

impl From<AgentVerb> for Action {
    fn from(verb: AgentVerb) -> Self {
        Action::Agent(verb)
    }
}

impl From<ExplainVerb> for Action {
    fn from(verb: ExplainVerb) -> Self {
        Action::Explain(verb)
    }
}

impl From<ExplainSummaryArgs> for Action {
    fn from(args: ExplainSummaryArgs) -> Self {
        Action::Summary(args)
    }
}

/// Does it on the terminal of this process; the exit code. Wants a runtime of one thread and nothing else of it.
pub async fn run(context: ContextArgs, action: impl Into<Action>) -> u8 {
    let action = action.into();
    if let Action::Verb(Verb::Exec(args)) = &action {
        return run_exec(&context, args).await;
    }
    let (mut out, mut err) = (io::stdout().lock(), io::stderr());
    let mut answers = io::stdin().lock();
    let terminal = &mut Terminal::of_process(&mut out, &mut err, &mut answers);
    // Copies are checked without a cluster.
    if let Action::Verb(Verb::Audit(AuditVerb::Verify(args))) = &action
        && !args.dirs.is_empty()
    {
        let done = audit::verify_copies(args, terminal);
        return ended(done, action.wants_json(), terminal).code();
    }
    let exit = match profile::find_with_dir(context.context.as_deref()) {
        Ok((profile, dir)) => {
            let client = Client::new(&profile);
            let exit = run_on(&client, &action, terminal).await;
            profile::remember(profile, client.masters(), &dir);
            exit
        }
        // Of `status` this is the number that says down.
        Err(error) => ended(Err(error.into()), action.wants_json(), terminal),
    };
    exit.code()
}

/// Looks into a backup; it needs no cluster. The exit code.
pub fn inspect(args: &InspectArgs) -> u8 {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr());
    let mut nobody = io::empty();
    let terminal = &mut Terminal::of_process(&mut out, &mut err, &mut nobody);
    let done = snapshot::inspect(args, terminal);
    ended(done, args.output == Form::Json, terminal).code()
}

/// This one has the streams of the process for itself, and an exit code that is another's.
async fn run_exec(context: &ContextArgs, args: &ExecArgs) -> u8 {
    let done = match profile::find(context.context.as_deref()) {
        Ok(profile) => exec::run(&Client::new(&profile), args).await,
        Err(error) => Err(error.into()),
    };
    let stop = match done {
        Ok(code) => return code,
        Err(stop) => stop,
    };
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let mut nobody = io::empty();
    ended(Err(stop), false, &mut Terminal::of_process(&mut out, &mut err, &mut nobody)).code()
}

/// Does it with this client on this terminal.
pub async fn run_on(client: &Client, action: &Action, terminal: &mut Terminal<'_>) -> Exit {
    let done = action.perform(client, terminal).await;
    ended(done, action.wants_json(), terminal)
}

fn ended(done: Result<Exit, Stop>, json: bool, terminal: &mut Terminal<'_>) -> Exit {
    match done {
        Ok(exit) => exit,
        Err(Stop::HungUp) => Exit::Ok,
        Err(Stop::Failed(failure)) => {
            let Failure { exit, .. } = *failure;
            failure.report(json, terminal);
            exit
        }
    }
}

// === impl Action ===

impl Action {
    async fn perform(&self, client: &Client, terminal: &mut Terminal<'_>) -> Result<Exit, Stop> {
        match self {
            Action::Explain(verb) => explain::run(client, verb, terminal).await,
            Action::Summary(args) => waiting::run(client, args, terminal).await,
            Action::Save(args) => snapshot::save(client, args, terminal).await,
            Action::Agent(AgentVerb::Drain(args)) => drain::drain(client, args, terminal).await,
            Action::Agent(AgentVerb::Resume(args)) => drain::resume(client, args, terminal).await,
            Action::Agent(AgentVerb::Gone(args)) => remove::gone(client, args, terminal).await,
            Action::Verb(verb) => match verb {
                Verb::Get(args) => get::run(client, args, terminal).await,
                Verb::Describe(args) => describe::run(client, args, terminal).await,
                Verb::Logs(args) => logs::run(client, args, terminal).await,
                // Good or bad; as it is, `run` gives it.
                Verb::Exec(args) => match exec::run(client, args).await? {
                    0 => Ok(Exit::Ok),
                    _ => Ok(Exit::Bad),
                },
                Verb::Kill(args) => kill::run(client, args, terminal).await,
                Verb::Status(args) => status::run(client, args, terminal).await,
                Verb::Doctor(args) => doctor::run(client, args, terminal).await,
                Verb::Events(args) => events::run(client, args, terminal).await,
                Verb::Audit(verb) => audit::run(client, verb, terminal).await,
                Verb::Raft(verb) => raft::run(client, verb, terminal).await,
                Verb::Token(verb) => token::run(client, verb, terminal).await,
                Verb::Auth(verb) => auth::run(client, verb, terminal).await,
                Verb::Quota(verb) => quota::run(client, verb, terminal).await,
                Verb::Weight(verb) => quota::run_weight(client, verb, terminal).await,
                Verb::Reserve(args) => reserve::reserve(client, args, terminal).await,
                Verb::Unreserve(args) => reserve::unreserve(client, args, terminal).await,
                Verb::Volume(verb) => reserve::volume(client, verb, terminal).await,
                Verb::Secret(verb) => secret::run(client, verb, terminal).await,
                Verb::Teardown(args) => remove::teardown(client, args, terminal).await,
                Verb::Gone(args) => remove::gone(client, args, terminal).await,
            },
        }
    }

    /// Whether failures are JSON: whoever reads the answer by machine reads them too.
    fn wants_json(&self) -> bool {
        let form = match self {
            Action::Explain(
                ExplainVerb::Task(args)
                | ExplainVerb::Framework(args)
                | ExplainVerb::Demand(args)
                | ExplainVerb::Role(args)
                | ExplainVerb::Agent(args),
            ) => args.view.output,
            Action::Summary(args) => args.output,
            Action::Save(args) => args.output,
            Action::Agent(AgentVerb::Drain(args)) => args.order.output,
            Action::Agent(AgentVerb::Resume(args)) => args.order.output,
            Action::Agent(AgentVerb::Gone(args)) => args.order.output,
            Action::Verb(verb) => match verb {
                Verb::Get(args) => return args.output == Format::Json,
                Verb::Events(args) => return args.output == EventForm::Json,
                Verb::Audit(AuditVerb::Tail(args)) => return args.output == EventForm::Json,
                Verb::Audit(AuditVerb::Verify(args)) => args.output,
                Verb::Describe(args) => args.output,
                Verb::Doctor(args) => args.output,
                Verb::Status(args) => args.output,
                Verb::Raft(verb) => verb.output(),
                Verb::Token(TokenVerb::Create(args)) => args.order.output,
                Verb::Auth(verb) => match verb {
                    AuthVerb::Whoami(args) | AuthVerb::Principals(args) => args.output,
                    AuthVerb::CanI(args) => args.output,
                    AuthVerb::Grant(args) => args.order.output,
                    AuthVerb::Revoke(args) => args.order.output,
                },
                Verb::Kill(args) => args.order.output,
                Verb::Quota(QuotaVerb::Set(args)) => args.order.output,
                Verb::Quota(QuotaVerb::Clear(args)) => args.order.output,
                Verb::Weight(WeightVerb::Set(args)) => args.order.output,
                Verb::Reserve(args) | Verb::Unreserve(args) => args.order.output,
                Verb::Volume(verb) => verb.form(),
                Verb::Secret(verb) => verb.form(),
                Verb::Teardown(args) => args.order.output,
                Verb::Gone(args) => args.order.output,
                Verb::Logs(_) | Verb::Exec(_) => Form::Text,
            },
        };
        form == Form::Json
    }
}
