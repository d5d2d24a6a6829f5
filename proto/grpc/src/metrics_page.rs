//! `/metrics` on the same TLS port as everything else, for those who may read it: given out and read.

use std::sync::Arc;

use axum::extract::Extension;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use proto::caller::Caller;
use proto_pki::{Identity, PeerRole};
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::service::Routes;

use crate::connect::{ConnectError, Dialer};
use crate::peer::Peer;

/// A page of metrics has some thousands of lines at most.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// Nobody there, or not whom we want.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[from] tonic::transport::Error),
    /// The process does not give it to us.
    #[error("it answers {status}: {why}")]
    Refused {
        /// As HTTP has it.
        status: StatusCode,
        /// In its words.
        why: String,
    },
    /// The page cannot be read to its end.
    #[error("the page cannot be read: {0}")]
    Unreadable(String),
}

/// Reads the metrics of a process of this role.
pub async fn read_metrics(address: &str, role: PeerRole, dialer: &Dialer) -> Result<String, PageError> {
    let mut channel = dialer.channel(address, role).await?;
    let unreadable = |error: &dyn std::fmt::Display| PageError::Unreadable(error.to_string());
    let request =
        axum::http::Request::get("/metrics").body(Body::empty()).map_err(|error| unreadable(&error))?;
    std::future::poll_fn(|context| GrpcService::<Body>::poll_ready(&mut channel, context)).await?;
    let response = GrpcService::<Body>::call(&mut channel, request).await?;
    let status = response.status();
    let body = axum::body::Body::new(response.into_body());
    let bytes = axum::body::to_bytes(body, PAGE_BYTES_MAX).await.map_err(|error| unreadable(&error))?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    match status.is_success() {
        true => Ok(text),
        false => Err(PageError::Refused { status, why: text.trim().to_owned() }),
    }
}

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
