//! `Gate`: what stands before all doors of a server alike: who comes too often is sent away, and what is refused is told of.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use tonic::service::Routes;
use tonic::{Code, Status};

use crate::peer::Peer;

/// Stands before all doors of a server.
pub trait Gate: Send + Sync + 'static {
    /// Whether a call is let through to its door; `path` is `/package.Service/Method`.
    fn admit(&self, peer: Option<&Peer>, path: &str) -> Result<(), Status>;
    /// A call was answered by an error before anything was said on it. What goes wrong later on a stream, its door knows.
    fn refused(&self, peer: Option<&Peer>, path: &str, status: &Status);
}

/// Puts a gate before routes.
pub fn with_gate(mut routes: Routes, gate: Arc<impl Gate>) -> Routes {
    let through = move |request: Request, next: Next| {
        let gate = gate.clone();
        async move { through(&*gate, request, next).await }
    };
    let router = std::mem::take(routes.axum_router_mut());
    *routes.axum_router_mut() = router.layer(from_fn(through));
    routes
}

async fn through(gate: &impl Gate, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().cloned();
    let path = request.uri().path().to_owned();
    if let Err(status) = gate.admit(peer.as_ref(), &path) {
        gate.refused(peer.as_ref(), &path, &status);
        return status.into_http();
    }
    let response = next.run(request).await;
    if let Some(status) = error_of(&response) {
        gate.refused(peer.as_ref(), &path, &status);
    }
    response
}

/// The error that a response is from its beginning.
fn error_of(response: &Response) -> Option<Status> {
    match response.status() {
        StatusCode::UNAUTHORIZED => Some(Status::unauthenticated("no client certificate was shown")),
        StatusCode::FORBIDDEN => Some(Status::permission_denied("the page is not for this principal")),
        _ => Status::from_header_map(response.headers()).filter(|status| status.code() != Code::Ok),
    }
}
