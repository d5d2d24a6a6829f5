//! `Client`: finds the jobs framework and asks it.

use std::time::Duration;

use framework_sdk::Profile;
use framework_sdk::door::{Credentials, PeerRole, REPLY_BYTES_MAX, channel};
use framework_sdk::explain::Explanation;
use framework_sdk::operator::Operator;
use framework_sdk::views::{Call, Explain, FrameworkView, List, ReplyKind};
use tokio::time::{Instant, sleep};
use tonic::transport::Channel;
use tonic::{Code, Response, Status, Streaming};

use super::failure::{BAD, Failure, UNAVAILABLE};
use crate::wire::service::jobs_client::JobsClient;
use crate::wire::{
    ExplainReply, ExplainRequest, GetReply, GetRequest, JobEvent, PromoteReply, PromoteRequest,
    RollbackReply, RollbackRequest, StopReply, StopRequest, SubmitReply, SubmitRequest, WatchRequest,
};

/// The name the framework goes by at the masters.
const FRAMEWORK: &str = "jobs";
/// How long a call is tried: a framework that was killed is back in less.
const CALL_LIMIT: Duration = Duration::from_secs(15);
/// The first wait between two tries, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Finds the jobs framework and asks it. Every call of its may be repeated, so each is tried until it is answered.
#[derive(Clone)]
pub(super) struct Client {
    operator: Operator,
    pub credentials: Credentials,
    jobs: Option<JobsClient<Channel>>,
}

/// Why the framework cannot be asked.
enum Missing {
    /// It is known and does not answer: it may be back in a moment.
    Unreachable(Failure),
    /// Waiting will not help.
    Hopeless(Failure),
}

// === impl Client ===

impl Client {
    pub fn new(profile: &Profile) -> Client {
        Client { operator: Operator::new(profile), credentials: profile.credentials.clone(), jobs: None }
    }

    pub async fn submit(&mut self, request: SubmitRequest) -> Result<SubmitReply, Failure> {
        self.call(async |jobs| jobs.submit(request.clone()).await).await
    }

    pub async fn get(&mut self, request: GetRequest) -> Result<GetReply, Failure> {
        self.call(async |jobs| jobs.get(request.clone()).await).await
    }

    pub async fn stop(&mut self, request: StopRequest) -> Result<StopReply, Failure> {
        self.call(async |jobs| jobs.stop(request.clone()).await).await
    }

    pub async fn explain(&mut self, name: &str) -> Result<ExplainReply, Failure> {
        self.call(async |jobs| jobs.explain(ExplainRequest { name: name.to_owned() }).await).await
    }

    pub async fn promote(&mut self, name: &str) -> Result<PromoteReply, Failure> {
        self.call(async |jobs| jobs.promote(PromoteRequest { name: name.to_owned() }).await).await
    }

    pub async fn rollback(&mut self, name: &str) -> Result<RollbackReply, Failure> {
        self.call(async |jobs| jobs.rollback(RollbackRequest { name: name.to_owned() }).await).await
    }

    pub async fn watch(&mut self, request: WatchRequest) -> Result<Streaming<JobEvent>, Failure> {
        self.call(async |jobs| jobs.watch(request.clone()).await).await
    }

    /// What the masters say of something.
    pub async fn explain_at_master(&self, what: Explain) -> Result<Vec<Explanation>, Failure> {
        match self.operator.ask(Call::Explain(what)).await?.kind {
            ReplyKind::Explain(explanations) => Ok(explanations),
            _ => Err(Failure::new(BAD, "the master gave no explanation; is it of another version?", "")),
        }
    }

    /// The jobs framework as the masters know it.
    pub async fn framework(&self) -> Result<FrameworkView, Failure> {
        let asked = List { framework: FRAMEWORK.to_owned(), ..List::default() };
        match self.operator.ask(Call::Frameworks(asked)).await?.kind {
            ReplyKind::Frameworks(frameworks) => best(&frameworks).cloned().ok_or_else(nobody),
            _ => {
                let message = "the master did not list frameworks; is it of another version?";
                Err(Failure::new(BAD, message, ""))
            }
        }
    }

    /// The door of an agent, as the masters know it; `None` when they do not.
    pub async fn agent_address(&self, agent: &str) -> Result<Option<String>, Failure> {
        let asked = List { agent: agent.to_owned(), ..List::default() };
        match self.operator.ask(Call::Agents(asked)).await?.kind {
            ReplyKind::Agents(agents) => {
                Ok(agents.into_iter().find(|a| a.info.id.as_str() == agent).map(|a| a.info.address))
            }
            _ => Ok(None),
        }
    }

    /// Forgets the framework's address: it has gone, and may come back elsewhere.
    pub fn forget(&mut self) {
        self.jobs = None;
    }

    async fn call<T>(
        &mut self,
        ask: impl AsyncFn(&mut JobsClient<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T, Failure> {
        let until = Instant::now() + CALL_LIMIT;
        let mut wait = WAITS.0;
        loop {
            let failure = match self.find().await {
                Ok(mut jobs) => match ask(&mut jobs).await {
                    Ok(reply) => return Ok(reply.into_inner()),
                    Err(status) => {
                        let failure = Failure::of_status(&status);
                        // A broken connection is Unknown or Unavailable, as tonic has it.
                        let passes =
                            matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled);
                        if !passes {
                            return Err(failure);
                        }
                        self.forget();
                        failure
                    }
                },
                Err(Missing::Unreachable(failure)) => failure,
                Err(Missing::Hopeless(failure)) => return Err(failure),
            };
            if Instant::now() + wait >= until {
                return Err(failure);
            }
            sleep(wait).await;
            wait = (wait * 2).min(WAITS.1);
        }
    }

    async fn find(&mut self) -> Result<JobsClient<Channel>, Missing> {
        if let Some(jobs) = &self.jobs {
            return Ok(jobs.clone());
        }
        // The masters have been asked for long enough when this fails.
        let address = self.framework().await.map_err(Missing::Hopeless)?.info.address;
        let channel = channel(&address, PeerRole::Framework, &self.credentials).await;
        let channel = channel.map_err(|error| match Failure::from(error) {
            failure if failure.exit == UNAVAILABLE => Missing::Unreachable(failure),
            failure => Missing::Hopeless(failure),
        })?;
        let jobs = JobsClient::new(channel).max_decoding_message_size(REPLY_BYTES_MAX);
        self.jobs = Some(jobs.clone());
        Ok(jobs)
    }
}

/// One with a door and a session, else one without, which takes jobs all the same.
fn best(frameworks: &[FrameworkView]) -> Option<&FrameworkView> {
    let jobs = frameworks.iter().filter(|view| view.info.name == FRAMEWORK);
    jobs.filter(|view| !view.info.address.is_empty()).max_by_key(|view| (view.connected, view.since_ms))
}

fn nobody() -> Failure {
    let hint =
        "`stoa up` starts one; elsewhere start `stoa framework jobs`, and look with `stoa get frameworks`";
    Failure::new(UNAVAILABLE, "no jobs framework is connected to the cluster", hint)
}
