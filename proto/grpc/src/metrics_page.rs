//! `/metrics` on the same TLS port as everything else, for those who may read it.

use std::sync::Arc;

use axum::extract::Extension;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use proto::caller::Caller;
use tonic::service::Routes;

use crate::peer::Peer;

/// Adds `GET /metrics`, answered by `render`, to the routes of a server.
pub fn with_metrics(mut routes: Routes, render: impl Fn() -> String + Send + Sync + 'static) -> Routes {
    let render = Arc::new(render);
    let page = move |peer: Option<Extension<Peer>>| async move { answer(peer, render.as_ref()) };
    let router = std::mem::take(routes.axum_router_mut());
    *routes.axum_router_mut() = router.route("/metrics", get(page));
    routes
}

fn answer(peer: Option<Extension<Peer>>, render: &(impl Fn() -> String + ?Sized)) -> Response {
    match peer.as_ref().map(|Extension(peer)| peer.identity()) {
        Some(Ok(who)) if !who.to_string().parse().is_ok_and(|caller: Caller| caller.may_read_metrics()) => {
            let help = "use the certificate of a user; `stoa token create --kind user` lets one be made";
            (StatusCode::FORBIDDEN, format!("{who} may not read metrics; {help}\n")).into_response()
        }
        Some(Ok(_)) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], render()).into_response(),
        Some(Err(unknown)) => (StatusCode::UNAUTHORIZED, format!("{}\n", unknown.message())).into_response(),
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}
