//! Every path, and what lies behind it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};

use crate::http::problem::Problem;
use crate::http::{
    Counted, Shared, cursors, dashboard, forget, health, history, login, metrics, origin, push,
    realtime, sessions, spec, streams,
};

/// What a wrong path is told.
const PATHS: &str = "there is no such path; / is the dashboard, /spec lists all others";

/// The paths that say nothing of the broker and are open to all: the page, which then asks for what
/// it shows, the description, and the probes.
pub(super) fn router(shared: &Arc<Shared>) -> Router {
    let closed = Router::new()
        .route("/push/", post(push::without_topic))
        .route("/push/{*topic}", post(push::push))
        .route("/realtime/", get(realtime::everything))
        .route("/realtime/{*filter}", get(realtime::realtime))
        .route("/consume/", get(history::consume_all))
        .route("/consume/{*filter}", get(history::consume))
        .route("/latest/", get(history::latest_all))
        .route("/latest/{*filter}", get(history::latest))
        .route("/latest_time/", get(history::latest_time_all))
        .route("/latest_time/{*filter}", get(history::latest_time))
        .route("/cursors/", get(cursors::cursors))
        .route("/cursors/{name}", put(cursors::put).delete(cursors::delete))
        .route("/cursors/{name}/take", post(cursors::take))
        .route("/cursors/{name}/ack", post(cursors::acknowledge))
        .route("/delete/{*topic}", delete(forget::delete))
        .route("/topics/", get(history::topics))
        .route("/streams", get(streams::streams))
        .route("/metrics", get(metrics::metrics))
        .route("/clients", get(sessions::clients))
        .route("/stats", get(metrics::stats))
        .route_layer(middleware::from_fn_with_state(Arc::clone(shared), login::enter));
    Router::new()
        .merge(closed)
        .route("/", get(dashboard::page))
        .route("/assets/{name}", get(dashboard::asset))
        .route("/spec", get(spec::spec))
        .route("/spec/try", get(dashboard::try_page))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .fallback(async || Problem::not_found(PATHS))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(Arc::clone(shared), origin::guard))
        .layer(middleware::from_fn_with_state(Arc::clone(shared), count))
        .with_state(Arc::clone(shared))
}

async fn method_not_allowed(method: Method) -> Response {
    let detail = format!("{method} is not for this path; /spec says what is");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail).into_response()
}

/// Counts, and says what holds for every answer: nobody keeps it, nobody guesses its type, and no
/// other page shows it in a frame.
async fn count(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    Counted::one(&shared.counted.requests);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}
