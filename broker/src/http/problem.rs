//! What went wrong with a request, as RFC 9457 writes it: a status, and what to do instead.

use axum::http::header::{CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// An answer that says no.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    /// What is wrong with this request, and what would be right.
    detail: String,
    /// How much of a batch was done before.
    published: Option<u64>,
    header: Option<(HeaderName, HeaderValue)>,
}

/// The body of an answer that says no.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody {
    /// The status in words.
    title: &'static str,
    /// The status.
    status: u16,
    /// What is wrong with this request, and what would be right.
    detail: String,
    /// Messages of a batch that were published before the one that could not be.
    #[serde(skip_serializing_if = "Option::is_none")]
    published: Option<u64>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), published: None, header: None }
    }

    /// The request is not what it should be.
    pub(super) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// Who asks may not.
    pub(super) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// There is no such thing.
    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// The broker stops, or cannot keep what it would promise.
    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// Who asks has not said who it is.
    pub(super) fn who(detail: impl Into<String>) -> Self {
        let challenge = HeaderValue::from_static("Basic realm=\"martlet\", charset=\"UTF-8\"");
        let header = Some((WWW_AUTHENTICATE, challenge));
        Self { header, ..Self::new(StatusCode::UNAUTHORIZED, detail) }
    }

    /// So many messages of the batch were published before.
    pub(super) fn after(self, published: u64) -> Self {
        Self { published: Some(published), ..self }
    }

    /// With this field in the answer's header.
    pub(super) fn with(self, name: HeaderName, value: HeaderValue) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            detail: self.detail,
            published: self.published,
        };
        let body = serde_json::to_vec(&body).expect("these fields have a form in JSON");
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response = (self.status, [(CONTENT_TYPE, kind)], body).into_response();
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}
