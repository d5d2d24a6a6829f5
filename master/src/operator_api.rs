//! The operators' door: reads from the read model, orders to the machine, tokens for certificates.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use master_core::{Input, OperatorCall};
use proto::authorize::{Action, authorize};
use proto::caller::Caller;
use proto::id::{AgentId, MasterId};
use proto::log::TokenCreated;
use proto::operator::{
    Call, CreateToken, Event, Join, Joined, List, Reply, ReplyKind, SetSecret, Token, TokenKind, Watch,
};
use proto::refusal::{Code, Refusal};
use proto::roster::Standing;
use proto_drive::Handle;
use proto_grpc::join::LEADER;
use proto_grpc::services::operator::operator_server::Operator;
use proto_pki::{Authority, Identity, JoinToken};
use tokio::sync::{broadcast, mpsc};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use tracing::info;

use crate::book::Book;
use crate::caller::{caller, status};
use crate::conceal::Eyes;
use crate::doors::Doors;
use crate::founding;
use crate::parts::parts;
use crate::peers::Heard;
use crate::read_model::ReadModel;
use crate::vault::Vault;

/// How long an order may take before the operator is told that nobody knows yet.
const ORDER_LIMIT: Duration = Duration::from_secs(10);
/// Events that may wait for a slow watcher.
const NEWS_WAITING_MAX: usize = 256;
/// The longest a join token lives: thirty days.
const TOKEN_TTL_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// The operators' door.
pub(crate) struct OperatorDoor {
    pub id: MasterId,
    pub book: Book,
    pub ca_sha256: [u8; 32],
    pub authority: Option<Arc<Authority>>,
    /// How long the certificates are good that this master gives.
    pub lifetime: Duration,
    pub authority_dir: Option<PathBuf>,
    pub doors: Arc<Doors>,
    pub handle: Handle<Input>,
    pub model: Arc<ReadModel>,
    pub vault: Arc<Vault>,
    pub heard: Arc<Heard>,
}

/// How what is read next stands.
enum Stands {
    /// It is all that is committed by now.
    Now,
    /// It may be of an earlier time: nobody leads.
    Earlier,
    /// This is the answer.
    Instead(ReplyKind),
}

/// What is said to whoever wants to become a member that nobody named.
const NOT_LISTED: &str = "name is not the number of another master of the list; put it there first: `stoa raft add ADDRESS` \
                          says its number and makes its token";

/// Says who leads, for people and for the joiner that asks there next.
fn led_by(address: &str) -> Status {
    let text = format!("this master does not lead; the leader is at {address}");
    let mut status = Status::unavailable(if address.is_empty() { "no master leads yet" } else { &text });
    if let Ok(value) = address.parse() {
        status.metadata_mut().insert(LEADER, value);
    }
    status
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Whether it sends on to a leader that is not known.
fn names_nobody(kind: &ReplyKind) -> bool {
    matches!(kind, ReplyKind::Redirect(address) if address.is_empty())
}

/// What the machine is asked; tokens are drawn here, secrets are encrypted here, and lists are answered here.
fn order_of(call: Call) -> Option<OperatorCall> {
    Some(match call {
        Call::Explain(what) => OperatorCall::Explain(what),
        Call::KillTask(call) => OperatorCall::KillTask(call),
        Call::SetQuota(call) => OperatorCall::SetQuota(call),
        Call::SetWeight(call) => OperatorCall::SetWeight(call),
        Call::TeardownFramework(call) => OperatorCall::TeardownFramework(call),
        Call::MarkAgentGone(call) => OperatorCall::MarkAgentGone(call),
        Call::DrainAgent(call) => OperatorCall::DrainAgent(call),
        Call::ResumeAgent(call) => OperatorCall::ResumeAgent(call),
        Call::OperateAgent(call) => OperatorCall::OperateAgent(call),
        Call::SetRights(call) => OperatorCall::SetRights(call),
        Call::RemoveSecret(call) => OperatorCall::RemoveSecret(call),
        Call::ChangeMasters(call) => OperatorCall::ChangeMasters(call),
        Call::CancelMasters(_) => OperatorCall::CancelMasters,
        Call::TransferLead(call) => OperatorCall::TransferLead(call),
        Call::WhoAmI => OperatorCall::WhoAmI,
        Call::CanI(asked) => OperatorCall::CanI(asked),
        Call::Principals => OperatorCall::Principals,
        Call::Status
        | Call::Raft
        | Call::StatusHere
        | Call::RaftHere
        | Call::Agents(_)
        | Call::Frameworks(_)
        | Call::Tasks(_)
        | Call::Offers(_)
        | Call::Roles(_)
        | Call::Events(_)
        | Call::Secrets
        | Call::SetSecret(_)
        | Call::CreateToken(_)
        // Of whichever master is asked: the door beside this one answers.
        | Call::Audit(_)
        | Call::DryRun(_) => return None,
    })
}

// === impl OperatorDoor ===

impl OperatorDoor {
    /// Has the machine carry out an order.
    async fn order(&self, caller: Caller, call: OperatorCall) -> Result<ReplyKind, Status> {
        let (ticket, answer) = self.doors.open_ticket();
        let input = Input::Operator { ticket, caller, call };
        self.handle.send_async(input).await.map_err(|_| Status::unavailable("this master is stopping"))?;
        match tokio::time::timeout(ORDER_LIMIT, answer).await {
            Ok(Ok(kind)) => Ok(kind),
            Ok(Err(_)) => Err(Status::unavailable("this master is stopping")),
            Err(_) => {
                self.doors.drop_ticket(ticket);
                let refusal = Refusal::new(
                    Code::Unavailable,
                    "no majority of the masters has confirmed it in ten seconds; it may still be carried out",
                );
                Ok(ReplyKind::Refused(refusal))
            }
        }
    }

    /// The masters: progress from consensus, processes and life from what is heard.
    async fn raft(&self, caller: Caller) -> Result<ReplyKind, Status> {
        let kind = self.order(caller, OperatorCall::Raft).await?;
        let ReplyKind::Raft(mut raft) = kind else { return Ok(kind) };
        for member in &mut raft.members {
            if member.id == self.id {
                (member.pid, member.alive) = (std::process::id(), true);
            } else {
                let (pid, alive) = self.heard.of(member.id);
                (member.pid, member.alive) = (pid, alive);
            }
        }
        Ok(ReplyKind::Raft(raft))
    }

    async fn status(&self, caller: Caller) -> Result<ReplyKind, Status> {
        let kind = self.raft(caller).await?;
        let ReplyKind::Raft(raft) = kind else { return Ok(kind) };
        let mut status = self.model.status();
        status.masters = raft.members.len() as u64;
        status.masters_alive = raft.members.iter().filter(|member| member.alive).count() as u64;
        Ok(ReplyKind::Status(status))
    }

    fn replied(&self, kind: ReplyKind) -> Reply {
        let (as_of, from_leader, _) = self.model.as_of();
        Reply { as_of, from_leader, kind }
    }

    /// Whether what is read next is all that is committed by now: a majority has said so since this was asked. Who leads, as far
    /// as it knows, may have been asleep while another one was elected.
    async fn confirm(&self) -> bool {
        let (ticket, answer) = self.doors.open_read();
        // Consensus gives up by itself when nobody answers it.
        self.handle.send_async(Input::Confirm { ticket }).await.is_ok() && answer.await.unwrap_or(false)
    }

    /// Before something is read that has to be as of now. `sends_on`: what only the leader is to be asked.
    async fn stands(&self, sends_on: bool) -> Stands {
        if let Some(kind) = self.elsewhere().filter(|_| sends_on) {
            return Stands::Instead(kind);
        }
        if !self.model.as_of().1 {
            return Stands::Earlier;
        }
        let confirmed = self.confirm().await;
        if let Some(kind) = self.elsewhere().filter(|_| sends_on) {
            return Stands::Instead(kind);
        }
        match (confirmed, self.model.as_of().1) {
            (true, _) => Stands::Now,
            (false, false) => Stands::Earlier,
            (false, true) => {
                let message = "no majority of the masters has confirmed that this one leads";
                Stands::Instead(ReplyKind::Refused(Refusal::new(Code::Unavailable, message)))
            }
        }
    }

    /// Only the leader hears from everybody. Without one, whoever was led before tells what it knows; who has just started
    /// would tell of a cluster of long ago, as if it were so.
    fn elsewhere(&self) -> Option<ReplyKind> {
        let (_, leads, leader) = self.model.as_of();
        if leads {
            return None;
        }
        let address = leader.and_then(|id| self.book.address(id));
        let nobody = || (!self.model.was_led()).then(String::new);
        address.or_else(nobody).map(ReplyKind::Redirect)
    }

    /// Whether a token of the founding makes somebody this member. An error if there is no such member to be.
    fn admits_member(&self, becomes: &Identity, token: &JoinToken) -> Result<bool, Status> {
        let Identity::Master(id) = becomes else { return Ok(false) };
        if let Err(refusal) = self.may_come(*id) {
            return Err(match self.elsewhere() {
                // It knows the newest list.
                Some(ReplyKind::Redirect(leader)) if !leader.is_empty() => led_by(&leader),
                _ => Status::invalid_argument(refusal.message),
            });
        }
        let dir = self.authority_dir.as_deref();
        Ok(dir.is_some_and(|dir| founding::admits(dir, *id, token)))
    }

    /// Whether somebody may come under this number: it is on the list, and after the founding nobody votes under it yet. A
    /// second one under a number that has voted could vote otherwise than the first.
    fn may_come(&self, id: MasterId) -> Result<(), Refusal> {
        let roster = self.book.roster();
        match roster.get(id) {
            Some(master) if id != self.id && (roster.version == 0 || master.standing == Standing::Joins) => {
                Ok(())
            }
            Some(_) if id != self.id => {
                let message = format!(
                    "name: master {id} has joined already, and nobody else can come under its number"
                );
                let help = format!("if its disk was lost: `stoa raft replace {id}`");
                Err(Refusal::new(Code::Conflict, message).with_help(help))
            }
            Some(_) | None => Err(Refusal::new(Code::Invalid, NOT_LISTED)),
        }
    }

    /// The secrets, to those who may know of them, as the leader knows them.
    fn secrets(&self, caller: &Caller) -> ReplyKind {
        match authorize(caller, &Action::ListSecrets) {
            Ok(()) => self.elsewhere().unwrap_or_else(|| ReplyKind::Secrets(self.vault.views())),
            Err(refusal) => ReplyKind::Refused(refusal),
        }
    }

    /// Behind this door nobody sees what it holds: machine, log and snapshots are given what it was encrypted to.
    async fn set_secret(&self, caller: Caller, call: SetSecret, dry_run: bool) -> Result<ReplyKind, Status> {
        let order = match self.vault.seal(&call) {
            Ok(set) => OperatorCall::SetSecret(set),
            Err(refusal) => return Ok(ReplyKind::Refused(refusal)),
        };
        let order = if dry_run { OperatorCall::DryRun(Box::new(order)) } else { order };
        self.order(caller, order).await
    }

    /// An agent whose certificate is good gets the next one, for the same name and another key, unless it was given up.
    fn renew(&self, who: &Identity, call: &Join) -> Result<Joined, Status> {
        let Some(authority) = &self.authority else {
            return Err(Status::failed_precondition("this master holds no authority; ask one that does"));
        };
        let gone = match who {
            Identity::Agent(id) => self.model.is_gone(id),
            Identity::Master(_) => {
                return Err(Status::permission_denied("a master makes its next certificate itself"));
            }
            Identity::Framework(_) | Identity::User(_) => {
                let kind = if matches!(who, Identity::User(_)) { "user" } else { "framework" };
                return Err(Status::permission_denied(format!(
                    "{who} renews no certificate; it gets a new one with a token, such as of `stoa token create --kind {kind}`"
                )));
            }
        };
        if gone {
            return Err(Status::permission_denied(format!(
                "{who} was given up, and gets no other certificate"
            )));
        }
        let certificate_pem = authority
            .sign(&call.csr_pem, who, self.lifetime)
            .map_err(|error| Status::invalid_argument(format!("csr_pem {error}")))?;
        info!(name = %who, "certified anew");
        let (ca_pem, masters) = (authority.ca_pem().to_owned(), self.book.roster().doors().addresses);
        Ok(Joined { certificate_pem, ca_pem, masters, authority_key_pem: String::new(), roster: None })
    }

    async fn create_token(
        &self,
        caller: Caller,
        call: CreateToken,
        dry_run: bool,
    ) -> Result<ReplyKind, Status> {
        let refused = |message: &str| Ok(ReplyKind::Refused(Refusal::new(Code::Invalid, message)));
        if call.ttl.is_zero() || call.ttl > TOKEN_TTL_MAX {
            return refused("ttl is zero or more than thirty days; give it something like 1h");
        }
        if call.uses == 0 || call.uses > 10_000 {
            return refused("uses is not within 1 to 10000");
        }
        let is = |kind: &str| format!("{kind}/{}", call.name).parse::<Caller>();
        match call.kind {
            TokenKind::Agent if call.name.is_empty() => {}
            TokenKind::Agent => return refused("name is not for agent tokens: an agent chooses its own id"),
            TokenKind::Framework if is("framework").is_ok() => {}
            TokenKind::User if is("user").is_ok() => {}
            TokenKind::Framework | TokenKind::User => {
                return refused("name is missing or malformed; use letters, digits and - _ . @");
            }
            TokenKind::Master => match is("master") {
                Ok(Caller::Master(id)) => match (self.may_come(id), self.elsewhere()) {
                    (Ok(()), _) => {}
                    (Err(_), Some(leader)) => return Ok(leader),
                    (Err(refusal), None) => return Ok(ReplyKind::Refused(refusal)),
                },
                Ok(_) | Err(_) => return refused(NOT_LISTED),
            },
        }
        let token =
            JoinToken::generate(self.ca_sha256).map_err(|error| Status::internal(error.to_string()))?;
        let expires_ms = now_ms().saturating_add(u64::try_from(call.ttl.as_millis()).unwrap_or(u64::MAX));
        let created = TokenCreated {
            id: token.id.clone(),
            secret_sha256: token.secret_sha256().to_vec(),
            kind: call.kind,
            expires_ms,
            uses: call.uses,
            name: call.name,
            rights: call.rights,
        };
        let order = OperatorCall::CreateToken(created);
        if dry_run {
            return self.order(caller, OperatorCall::DryRun(Box::new(order))).await;
        }
        Ok(match self.order(caller, order).await? {
            ReplyKind::Done(_) => ReplyKind::Token(Token { token: token.to_string(), expires_ms }),
            other => other,
        })
    }
}

#[tonic::async_trait]
impl Operator for OperatorDoor {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<Event, Status>> + Send>>;
    type ListStream = Pin<Box<dyn Stream<Item = Result<Reply, Status>> + Send>>;

    async fn list(&self, request: Request<Call>) -> Result<Response<Self::ListStream>, Status> {
        let reply = self.ask(request).await?.into_inner();
        let parts: Self::ListStream = Box::pin(tokio_stream::iter(parts(reply).map(Ok)));
        Ok(self.book.stamp(parts))
    }

    async fn ask(&self, request: Request<Call>) -> Result<Response<Reply>, Status> {
        let caller = caller(&request)?;
        let call = request.into_inner();
        let reads = matches!(
            call,
            Call::Status
                | Call::Raft
                | Call::StatusHere
                | Call::RaftHere
                | Call::Agents(_)
                | Call::Frameworks(_)
                | Call::Tasks(_)
                | Call::Offers(_)
                | Call::Roles(_)
                | Call::Events(_)
        );
        if reads && let Err(refusal) = authorize(&caller, &Action::Read) {
            return Err(status(&refusal));
        }
        if let Some(list) = call.list().filter(|list| list.called.len() > List::CALLED_MAX) {
            let message =
                format!("called has {} words; look for {} at once", list.called.len(), List::CALLED_MAX);
            let refused = ReplyKind::Refused(Refusal::new(Code::Invalid, message));
            return Ok(self.book.stamp(self.replied(refused)));
        }
        // Unless it was asked not to, a follower sends readers to the leader, if there is one: it knows more.
        let (as_of_now, sends_on) = match &call {
            Call::Agents(list) | Call::Frameworks(list) | Call::Tasks(list) | Call::Roles(list) => {
                (!list.stale, true)
            }
            Call::Offers(_) | Call::Events(_) | Call::Secrets => (true, true),
            Call::Principals | Call::CanI(_) => (true, false),
            _ => (false, false),
        };
        let confirmed = match as_of_now {
            true => match self.stands(sends_on).await {
                Stands::Now => true,
                Stands::Earlier => false,
                Stands::Instead(kind) => return Ok(self.book.stamp(self.replied(kind))),
            },
            false => false,
        };
        // Before it is read: what is told may be newer than it says, and never older.
        let waits = matches!(call, Call::Events(_));
        let label = (!waits && (as_of_now || call.list().is_some())).then(|| self.model.as_of());
        let kind = match call {
            Call::Status => match self.elsewhere() {
                Some(redirect) => redirect,
                None => self.status(caller).await?,
            },
            // Who is there can be told without a leader, and is what one asks then.
            Call::Raft => match self.elsewhere().filter(|kind| !names_nobody(kind)) {
                Some(redirect) => redirect,
                None => self.raft(caller).await?,
            },
            Call::StatusHere => self.status(caller).await?,
            Call::RaftHere => self.raft(caller).await?,
            Call::Agents(list) => ReplyKind::Agents(self.model.agents(&list)),
            Call::Frameworks(list) => ReplyKind::Frameworks(self.model.frameworks(&list)),
            Call::Tasks(list) => {
                ReplyKind::Tasks(Eyes::of(caller).tasks(self.model.tasks(&list), &self.model))
            }
            Call::Offers(list) => match self.elsewhere() {
                // Offers are the leader's memory.
                Some(redirect) => redirect,
                None => ReplyKind::Offers(self.model.offers(&list)),
            },
            Call::Roles(list) => ReplyKind::Roles(self.model.roles(&list)),
            // Numbers are the same everywhere; the leader knows the last ones first.
            Call::Events(asked) => match self.elsewhere() {
                Some(redirect) => redirect,
                None => ReplyKind::Events(self.model.history().after(&asked).await),
            },
            Call::CreateToken(call) => self.create_token(caller, call, false).await?,
            Call::Secrets => self.secrets(&caller),
            Call::SetSecret(call) => self.set_secret(caller, call, false).await?,
            Call::DryRun(call) => match *call {
                Call::CreateToken(call) => self.create_token(caller, call, true).await?,
                Call::SetSecret(call) => self.set_secret(caller, call, true).await?,
                call => match order_of(call) {
                    Some(order) => self.order(caller, OperatorCall::DryRun(Box::new(order))).await?,
                    None => {
                        let message = "dry_run is not an order; name one that changes something";
                        ReplyKind::Refused(Refusal::new(Code::Invalid, message))
                    }
                },
            },
            asked => match order_of(asked) {
                Some(order) => self.order(caller, order).await?,
                None => return Err(Status::internal("a call that nobody answers")),
            },
        };
        Ok(self.book.stamp(match label {
            Some((as_of, leads, _)) => Reply { as_of, from_leader: leads && (confirmed || !as_of_now), kind },
            None => self.replied(kind),
        }))
    }

    async fn watch(&self, request: Request<Watch>) -> Result<Response<Self::WatchStream>, Status> {
        let caller = caller(&request)?;
        authorize(&caller, &Action::Read).map_err(|refusal| status(&refusal))?;
        if let Some(ReplyKind::Redirect(address)) = self.elsewhere() {
            let leader =
                if address.is_empty() { "once it is known".to_owned() } else { format!("at {address}") };
            return Err(Status::unavailable(format!("this master does not lead; watch the leader {leader}")));
        }
        let from = request.into_inner();
        let model = self.model.clone();
        let eyes = Eyes::of(caller);
        let (sender, stream) = mpsc::channel(NEWS_WAITING_MAX);
        tokio::spawn(async move {
            let mut watching = model.watch(from);
            loop {
                for event in std::mem::take(&mut watching.first) {
                    if sender.send(Ok(eyes.event(&event, &model))).await.is_err() {
                        return;
                    }
                }
                let news = tokio::select! {
                    news = watching.news.recv() => news,
                    // Nothing may change for long: whoever has gone is not kept until then.
                    () = sender.closed() => return,
                };
                match news {
                    Ok(event) => watching.first.push(event),
                    // Too slow for the changes: everything anew.
                    Err(broadcast::error::RecvError::Lagged(_)) => watching = model.watch(Watch::default()),
                    Err(broadcast::error::RecvError::Closed) => return,
                }
            }
        });
        let stream: Self::WatchStream = Box::pin(ReceiverStream::new(stream));
        Ok(self.book.stamp(stream))
    }

    async fn join(&self, request: Request<Join>) -> Result<Response<Joined>, Status> {
        let known = proto_grpc::caller(&request).ok();
        let call = request.into_inner();
        if let (true, Some(known)) = (call.token.is_empty(), known) {
            return self.renew(&known, &call).map(Response::new);
        }
        let Some(authority) = &self.authority else {
            return Err(Status::failed_precondition("this master holds no authority; ask one that does"));
        };
        let token: JoinToken = call.token.parse().map_err(|bad| {
            Status::invalid_argument(format!("token: {bad}; copy it whole from `stoa token create`"))
        })?;
        if token.ca_sha256 != self.ca_sha256 {
            return Err(Status::permission_denied("the token is of another cluster"));
        }
        // The name says what it becomes; an agent's id holds no `/`.
        let becomes = match call.name.contains('/') {
            true => call
                .name
                .parse::<Identity>()
                .map_err(|bad| Status::invalid_argument(format!("name {bad}")))?,
            false => Identity::Agent(
                AgentId::new(&call.name).map_err(|bad| Status::invalid_argument(format!("name {bad}")))?,
            ),
        };
        let caller: Caller = becomes.to_string().parse().map_err(Status::invalid_argument)?;
        // Before a use of the token is spent on it.
        Authority::check_request(&call.csr_pem)
            .map_err(|error| Status::invalid_argument(format!("csr_pem {error}")))?;
        let redeem = OperatorCall::RedeemToken {
            id: token.id.clone(),
            secret_sha256: token.secret_sha256().to_vec(),
            becomes: caller.clone(),
        };
        if !self.admits_member(&becomes, &token)? {
            match self.order(caller, redeem).await? {
                ReplyKind::Done(_) => {}
                ReplyKind::Refused(refusal) => return Err(status(&refusal)),
                ReplyKind::Redirect(address) => return Err(led_by(&address)),
                other => return Err(Status::internal(format!("an unfitting answer: {other:?}"))),
            }
        }
        let authority_key_pem = match &becomes {
            // Every master may have to let others in.
            Identity::Master(_) => authority.key_pem().to_owned(),
            Identity::Agent(_) | Identity::Framework(_) | Identity::User(_) => String::new(),
        };
        let roster = self.book.roster();
        let comes_later = matches!(becomes, Identity::Master(_)) && roster.version > 0;
        info!(name = %becomes, "certified");
        let certificate_pem = authority
            .sign(&call.csr_pem, &becomes, self.lifetime)
            .map_err(|error| Status::invalid_argument(format!("csr_pem {error}")))?;
        Ok(Response::new(Joined {
            certificate_pem,
            ca_pem: authority.ca_pem().to_owned(),
            masters: roster.doors().addresses,
            authority_key_pem,
            roster: comes_later.then(|| roster.as_ref().clone()),
        }))
    }
}
