//! Web pages of others, in a browser on this machine: none of them may use a window that lets this
//! machine in without a password.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{self, HOST, HeaderMap, HeaderValue, ORIGIN, VARY};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::http::Shared;
use crate::http::login::Keys;
use crate::http::problem::Problem;

/// What a page of another origin may send.
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, DELETE");
const HEADERS: HeaderValue = HeaderValue::from_static("authorization, content-type, last-event-id");

/// Refuses requests of pages of others, and grants those of origins that the operator named.
pub(super) async fn guard(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let Some(origin) = headers.get(ORIGIN).cloned() else { return next.run(request).await };
    if is_own(&origin, headers) {
        return next.run(request).await;
    }
    if !is_named(&origin, &shared.gate.keys()) {
        shared.counted.refused(StatusCode::FORBIDDEN);
        let detail = "this page is of another origin: name it in http.origins";
        return Problem::forbidden(detail).into_response();
    }
    let mut response = match *request.method() {
        Method::OPTIONS => StatusCode::NO_CONTENT.into_response(),
        _ => next.run(request).await,
    };
    let answer = response.headers_mut();
    answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
    answer.insert(VARY, HeaderValue::from_static("origin"));
    response
}

/// A GET that takes something away must not be one that a page of others has in an image: such a
/// one has no origin, and the browser says where it is from.
pub(super) fn check_taking(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    if *method != Method::GET {
        let detail = "with a cursor this takes records: GET, or POST /cursors/NAME/take";
        return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail));
    }
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let of_others = matches!(site, Some(b"cross-site" | b"same-site"));
    match of_others && !headers.contains_key(ORIGIN) {
        true => Err(Problem::forbidden("a page of another origin takes no records away")),
        false => Ok(()),
    }
}

/// A name that anybody may have in their own DNS must not lead to this machine's own window.
pub(super) fn check_host(headers: &HeaderMap, keys: &Keys) -> Result<(), Problem> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let named = |origin: &str| origin.split_once("://").is_some_and(|(_, of)| of == host);
    if is_loopback(host) || keys.origins.iter().any(|origin| named(origin)) {
        return Ok(());
    }
    let detail = "without credentials that are checked this is for 127.0.0.1, [::1] and localhost \
                  only: behind a proxy, name the address that browsers see in http.origins";
    Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail))
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn is_own(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let (origin, host) = (origin.as_bytes(), headers.get(HOST).map(HeaderValue::as_bytes));
    let of = [b"http://".as_slice(), b"https://"].iter().find_map(|s| origin.strip_prefix(*s));
    of.is_some() && of == host
}

fn is_named(origin: &HeaderValue, keys: &Keys) -> bool {
    keys.origins.iter().any(|named| named.as_bytes() == origin.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine() {
        let rows = [
            ("127.0.0.1:8080", true),
            ("127.0.0.1", true),
            ("localhost:8080", true),
            ("LOCALHOST", true),
            ("[::1]:8080", true),
            ("[::1]", true),
            ("", false),
            ("evil.example:8080", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example", false),
            ("192.0.2.1:8080", false),
        ];
        for (host, ours) in rows {
            assert_eq!(is_loopback(host), ours, "{host}");
        }
    }

    #[test]
    fn a_page_is_ours_if_it_came_from_where_it_asks() {
        let rows = [
            ("http://a:1", "a:1", true),
            ("https://a:1", "a:1", true),
            ("http://a:2", "a:1", false),
            ("http://a", "a:1", false),
            ("null", "a:1", false),
            ("", "", false),
        ];
        for (origin, host, ours) in rows {
            let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]);
            assert_eq!(is_own(&HeaderValue::from_static(origin), &headers), ours, "{origin}");
        }
    }
}
