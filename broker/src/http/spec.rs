//! `GET /spec`: the description of all paths, made from the code that answers them.

use axum::Json;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::http::{
    batch, cursors, forget, health, history, message, metrics, problem, push, realtime, sessions,
    streams,
};

/// The description.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Martlet",
        description = "An MQTT broker, by HTTP. Users, passwords and rights are those of MQTT; or \
                       show a bearer token. Where a path ends in a topic or a filter, its slashes \
                       stand as they are, and `#` is written `%23`.",
    ),
    paths(
        push::push,
        realtime::realtime,
        history::consume,
        history::latest,
        history::latest_time,
        history::topics,
        streams::streams,
        cursors::cursors,
        cursors::put,
        cursors::delete,
        cursors::take,
        cursors::acknowledge,
        forget::delete,
        sessions::clients,
        metrics::stats,
        metrics::metrics,
        health::healthz,
        health::readyz,
        spec,
    ),
    components(schemas(batch::BatchPushed, message::MessageBody<'static>, problem::ProblemBody)),
    modifiers(&Logins),
)]
struct Described;

struct Logins;

impl Modify for Logins {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        for (name, scheme) in [("user", HttpAuthScheme::Basic), ("token", HttpAuthScheme::Bearer)] {
            components.add_security_scheme(name, SecurityScheme::Http(Http::new(scheme)));
        }
        let any = ["user", "token"]
            .map(|name| utoipa::openapi::SecurityRequirement::new(name, Vec::<String>::new()));
        document.security = Some(any.into_iter().chain([Default::default()]).collect());
    }
}

/// This description, as OpenAPI 3.1. `/spec/try` is a page to try it.
#[utoipa::path(get, path = "/spec", tag = "broker", responses((status = 200, body = Object)))]
pub(super) async fn spec() -> Json<Document> {
    Json(Described::openapi())
}
