//! The operators' door with somebody beside it who writes down what comes of each order, and who is let in.

use std::sync::Arc;

use proto::authorize::{Action, authorize};
use proto::caller::Caller;
use proto::operator::{AuditCall, AuditSeal, Call, Join, Joined, Reply, ReplyKind, Watch};
use proto::refusal::{Code, Refusal};
use proto_audit::{BadHead, Head, WITNESSED};
use proto_grpc::services::operator::operator_server::Operator;
use proto_pki::JoinToken;
use tonic::{Request, Response, Status};

use crate::audit::{Audit, Draft, NOBODY};
use crate::caller::{caller, from};
use crate::gate::code_of;
use crate::operator_api::OperatorDoor;
use crate::read_model::ReadModel;

/// The operators' door, with the audit log beside it.
pub(crate) struct AuditedDoor {
    pub door: OperatorDoor,
    pub audit: Arc<Audit>,
    pub model: Arc<ReadModel>,
}

// === impl AuditedDoor ===

impl AuditedDoor {
    /// An order with what came of it, and whatever else was denied.
    fn tell(&self, who: &Caller, from: String, told: Option<(&'static str, String)>, kind: &ReplyKind) {
        let order = told.is_some();
        let (call, object) = told.unwrap_or(("ask", String::new()));
        let draft = Draft::done(who, from, call, object);
        match kind {
            ReplyKind::Done(index) if order => self.audit.say(draft.at(*index)),
            ReplyKind::Token(_) if order => self.audit.say(draft),
            ReplyKind::Refused(refusal) if order || refusal.code == Code::Denied => {
                self.audit.tell(draft.refused(refusal.code, &refusal.message));
            }
            // Another master is asked, or it was a question.
            _ => {}
        }
    }

    /// The audit log of this master, whoever leads.
    async fn answer(&self, who: &Caller, from: String, call: AuditCall) -> Reply {
        let done = match call {
            AuditCall::Read(asked) => match authorize(who, &Action::ReadAudit) {
                Ok(()) => self.audit.read(&asked).await.map(ReplyKind::Audit),
                Err(refusal) => Err(refusal),
            },
            AuditCall::Seal(seal) => self.witness(who, from.clone(), &seal).map(|()| ReplyKind::Done(0)),
        };
        let kind = done.unwrap_or_else(ReplyKind::Refused);
        self.tell(who, from, None, &kind);
        let (as_of, from_leader, _) = self.model.as_of();
        Reply { as_of, from_leader, kind }
    }

    /// Another master says how its audit log stands.
    fn witness(&self, who: &Caller, from: String, seal: &AuditSeal) -> Result<(), Refusal> {
        authorize(who, &Action::SealAudit { of: seal.master })?;
        let bad = |bad: BadHead| Refusal::new(Code::Invalid, format!("head {bad}"));
        let head: Head = seal.head.parse().map_err(bad)?;
        self.audit.say(Draft::done(who, from, WITNESSED, head.to_string()));
        Ok(())
    }
}

#[tonic::async_trait]
impl Operator for AuditedDoor {
    type WatchStream = <OperatorDoor as Operator>::WatchStream;
    type ListStream = <OperatorDoor as Operator>::ListStream;

    async fn ask(&self, request: Request<Call>) -> Result<Response<Reply>, Status> {
        let (who, from) = (caller(&request)?, from(&request));
        if let Call::Audit(call) = request.get_ref() {
            return Ok(Response::new(self.answer(&who, from, call.clone()).await));
        }
        let told = request.get_ref().told();
        let reply = self.door.ask(request).await?;
        self.tell(&who, from, told, &reply.get_ref().kind);
        Ok(reply)
    }

    async fn list(&self, request: Request<Call>) -> Result<Response<Self::ListStream>, Status> {
        let call = request.get_ref();
        if call.told().is_none() && !matches!(call, Call::Audit(_)) {
            return self.door.list(request).await;
        }
        // No list: it comes as one part.
        let stream = |reply| -> Self::ListStream { Box::pin(tokio_stream::iter([Ok(reply)])) };
        Ok(self.ask(request).await?.map(stream))
    }

    async fn watch(&self, request: Request<Watch>) -> Result<Response<Self::WatchStream>, Status> {
        self.door.watch(request).await
    }

    async fn join(&self, request: Request<Join>) -> Result<Response<Joined>, Status> {
        let (from, call) = (from(&request), request.get_ref());
        // The public part: what cannot be read as a token has none.
        let token = call.token.parse().map(|token: JoinToken| token.id).unwrap_or_default();
        if let (true, Ok(who)) = (call.token.is_empty(), caller(&request)) {
            let renewed = self.door.join(request).await;
            let draft = Draft::done(&who, from, "renew", String::new());
            match &renewed {
                Ok(_) => self.audit.say(draft),
                Err(refused) => {
                    if let Some(code) = code_of(refused) {
                        self.audit.tell(draft.refused(code, refused.message()));
                    }
                }
            }
            return renewed;
        }
        let name = match call.name.contains('/') {
            true => call.name.clone(),
            false => format!("agent/{}", call.name),
        };
        let joined = self.door.join(request).await;
        match &joined {
            Ok(_) => self.audit.say(Draft::done(name, from, "join", token)),
            Err(refused) => {
                let bad_token = (refused.code() == tonic::Code::PermissionDenied).then_some(Code::BadToken);
                if let Some(code) = bad_token.or_else(|| code_of(refused)) {
                    // A stranger may call itself anything.
                    let draft = Draft::done(NOBODY, from, "join", token);
                    self.audit.tell(draft.refused(code, refused.message()));
                }
            }
        }
        joined
    }
}
