//! One service, over HTTP.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use martlet_engine::input::Time;
use parking_lot::Mutex;
use rustls::ClientConfig;
use tokio::time::timeout;

use crate::access::ask::{self, NoAnswer, Service};
use crate::access::fault::Fault;
use crate::clock::Clock;
use crate::inquiry::trust;

/// A service with the connections to it.
pub(super) struct Client {
    service: Service,
    http: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    health: Mutex<Health>,
}

/// Whether it answers.
#[derive(Debug, Default)]
struct Health {
    /// Questions without an answer since the last one that had one.
    unanswered: u64,
    /// Until then it is not asked.
    rests_until: Time,
}

/// The longest answer, in bytes. Beyond it: none.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How long a connection is kept that nobody needs: shorter than common servers keep it.
const IDLE: Duration = Duration::from_secs(4);

/// How long a service is left in peace that could not be reached: meanwhile whoever wants to know
/// hears at once that there is no answer, and nobody waits behind the others for that.
const REST_MS: u64 = 1000;

impl Client {
    pub(super) fn load(service: &Service, connections_max: usize) -> Result<Self, Fault> {
        let tls: ClientConfig = trust::config(service)?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(connections_max)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self { service: service.clone(), http, health: Mutex::default() })
    }

    pub(super) const fn service(&self) -> &Service {
        &self.service
    }

    /// Asks, and says in the log when the service stops answering and when it begins again.
    pub(super) async fn ask(&self, asked: ask::Request, clock: Clock) -> Result<bool, NoAnswer> {
        if clock.now() < self.health.lock().rests_until {
            return Err(NoAnswer::Failing);
        }
        let time = Duration::from_secs(self.service.timeout_s);
        let answer = timeout(time, self.send(asked)).await.unwrap_or(Err(NoAnswer::Late));
        self.note(&answer, clock.now());
        answer
    }

    async fn send(&self, asked: ask::Request) -> Result<bool, NoAnswer> {
        let request = self.request(asked).map_err(|error| NoAnswer::Gone(innermost(&error)))?;
        let response = self.http.request(request).await.map_err(|error| {
            let words = innermost(&error);
            if error.is_connect() { NoAnswer::Unreached(words) } else { NoAnswer::Gone(words) }
        })?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| NoAnswer::Gone(innermost(&*error)))?;
        self.service.verdict(status, &body.to_bytes())
    }

    fn request(&self, asked: ask::Request) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let Service { host, port, tls, method, user_agent, .. } = &self.service;
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
        let uri = Uri::builder()
            .scheme(if *tls { "https" } else { "http" })
            .authority(format!("{host}:{port}"))
            .path_and_query(&*asked.path)
            .build()?;
        let method = match method {
            ask::Method::Post => Method::POST,
            ask::Method::Put => Method::PUT,
            ask::Method::Get => Method::GET,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header(CONTENT_TYPE, asked.content_type)
            .header(USER_AGENT, &**user_agent);
        if let Some(authorization) = asked.authorization {
            let mut value = HeaderValue::try_from(authorization)?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        request.body(Full::new(Bytes::from(asked.body)))
    }

    fn note(&self, answer: &Result<bool, NoAnswer>, now: Time) {
        let health = &mut *self.health.lock();
        let service = &self.service;
        match answer {
            Ok(_) if health.unanswered > 0 => {
                let unanswered = health.unanswered;
                tracing::warn!("{service} answers again, after {unanswered} questions in vain.");
                *health = Health::default();
            }
            Ok(_) => {}
            Err(none) => {
                if health.unanswered == 0 {
                    tracing::error!(
                        "{service} does not say who may: {none}. Until it does, whoever it would \
                         let in stays outside, and what it would allow is refused."
                    );
                }
                health.unanswered += 1;
                // To break off may be the answer to one question alone, which a stranger chose.
                if matches!(none, NoAnswer::Late | NoAnswer::Unreached(_)) {
                    health.rests_until = Time(now.0 + REST_MS);
                }
            }
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.service.fmt(f)
    }
}

/// The words of whoever knows best.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
