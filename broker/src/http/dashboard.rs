//! `GET /`: the dashboard, in one piece with the broker: nothing is fetched from elsewhere.

use axum::extract::Path;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use crate::http::problem::Problem;

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Name, type, content.
const ASSETS: &[(&str, &str, &str)] = &[
    ("dashboard.css", "text/css; charset=utf-8", include_str!("page/dashboard.css")),
    ("icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ("api.js", SCRIPT, include_str!("page/api.js")),
    ("dashboard.js", SCRIPT, include_str!("page/dashboard.js")),
    ("draw.js", SCRIPT, include_str!("page/draw.js")),
    ("overview.js", SCRIPT, include_str!("page/overview.js")),
    ("publish.js", SCRIPT, include_str!("page/publish.js")),
    ("sessions.js", SCRIPT, include_str!("page/sessions.js")),
    ("tail.js", SCRIPT, include_str!("page/tail.js")),
    ("theme.js", SCRIPT, include_str!("page/theme.js")),
    ("topics.js", SCRIPT, include_str!("page/topics.js")),
    ("values.js", SCRIPT, include_str!("page/values.js")),
    ("try.js", SCRIPT, include_str!("page/try.js")),
];

/// What the pages may do: nothing but what comes from here.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The dashboard.
pub(super) async fn page() -> Response {
    html(include_str!("page/dashboard.html"))
}

/// A page to try every path on.
pub(super) async fn try_page() -> Response {
    html(include_str!("page/try.html"))
}

/// What a page is made of.
pub(super) async fn asset(Path(name): Path<String>) -> Result<Response, Problem> {
    let asset = ASSETS.iter().find(|(known, ..)| *known == name);
    let (_, kind, text) = asset.ok_or_else(|| Problem::not_found("there is no such asset"))?;
    let fresh = (CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(([(CONTENT_TYPE, HeaderValue::from_static(kind)), fresh], *text).into_response())
}

fn html(text: &'static str) -> Response {
    let kind = (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    let fresh = (CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    ([kind, fresh, (CONTENT_SECURITY_POLICY, POLICY)], text).into_response()
}
