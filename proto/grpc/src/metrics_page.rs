//! `/metrics` on the same TLS port as everything else, for those who may read it.

use std::sync::Arc;

use axum::extract::Extension;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use proto::caller::Caller;
use proto_pki::Identity;
use tonic::service::Routes;

use crate::peer::Peer;

/// Adds `GET /metrics`, answered by `render`, to the routes of a server, for those who may read metrics anywhere.
pub fn with_metrics(routes: Routes, render: impl Fn() -> String + Send + Sync + 'static) -> Routes {
    with_metrics_if(routes, render, |who| {
        match who.to_string().parse::<Caller>().is_ok_and(|caller| caller.may_read_metrics()) {
            true => Ok(()),
            false => Err(format!("{who} may not read metrics")),
        }
    })
}

/// The same, where `may` decides who reads; its error says why not.
pub fn with_metrics_if(
    mut routes: Routes,
    render: impl Fn() -> String + Send + Sync + 'static,
    may: impl Fn(&Identity) -> Result<(), String> + Send + Sync + 'static,
) -> Routes {
    let answer = Arc::new(move |peer: Option<Extension<Peer>>| answer(peer, &render, &may));
    let page = move |peer: Option<Extension<Peer>>| async move { answer(peer) };
    let router = std::mem::take(routes.axum_router_mut());
    *routes.axum_router_mut() = router.route("/metrics", get(page));
    routes
}

fn answer(
    peer: Option<Extension<Peer>>,
    render: &impl Fn() -> String,
    may: &impl Fn(&Identity) -> Result<(), String>,
) -> Response {
    match peer.as_ref().map(|Extension(peer)| peer.identity()) {
        Some(Ok(who)) => match may(who) {
            Ok(()) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], render()).into_response(),
            Err(why) => {
                let help = "use the certificate of a user; `stoa token create --kind user` lets one be made";
                (StatusCode::FORBIDDEN, format!("{why}; {help}\n")).into_response()
            }
        },
        Some(Err(unknown)) => (StatusCode::UNAUTHORIZED, format!("{}\n", unknown.message())).into_response(),
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}
