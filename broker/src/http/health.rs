//! `GET /healthz` and `GET /readyz`, for whoever starts brokers and sends clients to them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::Shared;
use crate::http::message::rfc3339;
use crate::http::problem::{Problem, ProblemBody};

/// All is well.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Well {
    #[schema(example = "ok")]
    status: &'static str,
}

/// Whether the broker runs.
#[utoipa::path(get, path = "/healthz", tag = "broker", responses((status = 200, body = Well)))]
pub(super) async fn healthz() -> Json<Well> {
    Json(Well { status: "ok" })
}

/// Whether clients should be sent here: the broker is not about to stop, and its store takes what
/// it should.
#[utoipa::path(
    get, path = "/readyz", tag = "broker",
    responses(
        (status = 200, body = Well),
        (status = 503, description = "Why not", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn readyz(State(shared): State<Arc<Shared>>) -> Result<Json<Well>, Problem> {
    if *shared.stopping.borrow() {
        return Err(Problem::unavailable("the broker stops"));
    }
    match shared.driver.store_health().failing_since {
        None => Ok(Json(Well { status: "ok" })),
        Some(since) => Err(Problem::unavailable(format!(
            "the store has failed since {}: no acknowledgement leaves until it works; the log has \
             the system's words",
            rfc3339(since)
        ))),
    }
}
