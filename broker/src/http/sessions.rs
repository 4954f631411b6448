//! `GET /clients`: the sessions, with what waits for each.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::driver::report::SessionView;
use crate::driver::turn;
use crate::http::Shared;
use crate::http::login::Caller;
use crate::http::message::rfc3339;
use crate::http::params::Params;
use crate::http::problem::{Problem, ProblemBody};

/// Which sessions.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct ClientsParams {
    /// Where to go on: `next` of the answer before.
    from: usize,
    /// How many at the most.
    #[param(default = 100, minimum = 1, maximum = 1000)]
    limit: usize,
    /// Part of the client id or of the user's name.
    matching: String,
    /// Those that are connected, or those that are not.
    connected: Option<bool>,
}

impl Default for ClientsParams {
    fn default() -> Self {
        Self { from: 0, limit: 100, matching: String::new(), connected: None }
    }
}

/// Some of the sessions.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Clients {
    /// The sessions, in no order that means anything.
    clients: Vec<ClientBody>,
    /// Where to go on; without it these were the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<usize>,
}

/// One session.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Client)]
struct ClientBody {
    client_id: String,
    /// Who it is, while it is connected.
    user: Option<String>,
    /// Where it is connected from.
    address: Option<String>,
    connected: bool,
    /// Since when it is away, in UTC.
    away_since: Option<String>,
    /// It outlives its connection (Clean Session was 0).
    durable: bool,
    subscriptions: u64,
    /// Messages that wait.
    queued: u64,
    /// Messages that were sent and not acknowledged.
    unacknowledged: u64,
    /// Both.
    total: u64,
    /// Bytes of topics and payloads of both.
    bytes: u64,
    /// Messages that were sent to it.
    sent: u64,
    /// Messages that came from it.
    received: u64,
    /// Messages that it lost to a bound.
    dropped: u64,
}

/// The sessions, with what waits for each.
#[utoipa::path(
    get, path = "/clients", tag = "broker", params(ClientsParams),
    responses(
        (status = 200, body = Clients),
        (status = 403, description = "For admins only", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn clients(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Params(params): Params<ClientsParams>,
) -> Result<Json<Clients>, Problem> {
    caller.must_be_admin()?;
    if !(1..=1000).contains(&params.limit) {
        let detail = format!("limit is 1 to 1000, not {}; go on with from", params.limit);
        return Err(Problem::bad(detail));
    }
    let mut clients = Vec::new();
    let mut next = Some(params.from);
    // The engine is held for some at a time, and others get their turn between.
    while let Some(from) = next
        && clients.len() < params.limit
    {
        let (views, after) = shared.driver.sessions(from);
        next = after;
        for (slot, view) in views {
            if clients.len() == params.limit {
                next = Some(slot);
                break;
            }
            if params.want(&view) {
                clients.push(ClientBody::new(view));
            }
        }
        turn::yield_now().await;
    }
    Ok(Json(Clients { clients, next }))
}

impl ClientsParams {
    fn want(&self, view: &SessionView) -> bool {
        let part = &*self.matching;
        let user = view.user_name.as_deref().unwrap_or_default();
        self.connected.is_none_or(|connected| view.report.link.is_ok() == connected)
            && (view.report.client_id.contains(part) || user.contains(part))
    }
}

impl ClientBody {
    fn new(SessionView { report, user_name, address }: SessionView) -> Self {
        Self {
            client_id: report.client_id.to_string(),
            user: user_name.map(Into::into),
            address: address.map(Into::into),
            connected: report.link.is_ok(),
            away_since: report.link.err().map(rfc3339),
            durable: report.durable,
            subscriptions: report.subscriptions,
            queued: report.queued,
            unacknowledged: report.unacknowledged,
            total: report.queued + report.unacknowledged,
            bytes: report.waiting_bytes,
            sent: report.tally.sent,
            received: report.tally.received,
            dropped: report.tally.dropped,
        }
    }
}
