//! `GET /metrics`, for Prometheus, and `GET /stats`, the same numbers for the dashboard.
//!
//! Every figure of `$SYS` comes under a name of ours, `martlet_...`, and under the one that it has
//! from the exporters that people run beside mosquitto, `broker_...`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use martlet_engine::counters::Bound;
use martlet_engine::figures::{FIGURES, Kind};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use serde::Serialize;
use utoipa::ToSchema;

use crate::driver::report::Numbers;
use crate::http::Shared;
use crate::http::login::Caller;
use crate::http::problem::{Problem, ProblemBody};

/// The broker at one moment.
#[derive(Debug)]
struct Snapshot {
    numbers: Numbers,
    uptime_s: u64,
    window: [(&'static str, &'static str, u64); 5],
}

/// Figures that stand there twice because mosquitto has two names for them.
const OLDER_NAMES: &[&str] =
    &["$SYS/broker/clients/active", "$SYS/broker/clients/inactive", "$SYS/broker/messages/stored"];

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The broker's numbers, for Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "broker",
    responses(
        (status = 200, description = "Numbers as OpenMetrics text", body = String,
            content_type = "application/openmetrics-text"),
        (status = 403, description = "Not for this user", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn metrics(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
) -> Result<impl IntoResponse, Problem> {
    caller.must_read_sys()?;
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Snapshot::take(&shared)));
    let mut out = String::new();
    text::encode(&mut out, &registry).expect("a string takes everything");
    Ok(([(CONTENT_TYPE, OPENMETRICS)], out))
}

/// The broker's numbers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Stats {
    /// What runs.
    version: String,
    /// Seconds since it started.
    uptime_s: u64,
    /// Milliseconds of Unix time at which the numbers were taken.
    time_ms: u64,
    /// Numbers by their topic below `$SYS/broker/`.
    figures: BTreeMap<&'static str, u64>,
    /// Losses by the bound that cost them.
    dropped: BTreeMap<&'static str, u64>,
    /// What this window counts.
    http: BTreeMap<&'static str, u64>,
    /// Whether the store takes what it should.
    ready: bool,
    /// Whether what is acknowledged is on disk.
    durable: bool,
}

/// The broker's numbers, as JSON.
#[utoipa::path(
    get, path = "/stats", tag = "broker",
    responses(
        (status = 200, body = Stats),
        (status = 403, description = "Not for this user", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn stats(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
) -> Result<Json<Stats>, Problem> {
    caller.must_read_sys()?;
    let Snapshot { numbers, uptime_s, window } = Snapshot::take(&shared);
    let Numbers { counters, gauges } = &numbers;
    let figures = FIGURES.iter().map(|figure| {
        let name = figure.topic.trim_start_matches("$SYS/broker/");
        (name, (figure.value)(counters, gauges))
    });
    let dropped = Bound::ALL.iter().map(|bound| (bound.name(), counters.dropped(*bound)));
    Ok(Json(Stats {
        version: crate::http::VERSION.to_owned(),
        uptime_s,
        time_ms: shared.driver.now().0,
        figures: figures.collect(),
        dropped: dropped.collect(),
        http: window.map(|(name, _, value)| (name, value)).into(),
        ready: counters.store.failing_since.is_none(),
        durable: shared.driver.keeps(),
    }))
}

impl Snapshot {
    fn take(shared: &Shared) -> Self {
        let now = shared.driver.now();
        let counted = &shared.counted;
        let rows = [
            ("connections", "Connections to the HTTP window.", &counted.connections),
            ("requests", "Requests to the HTTP window.", &counted.requests),
            ("unauthorised", "Requests without credentials that hold.", &counted.unauthorised),
            ("forbidden", "Requests of pages of others.", &counted.forbidden),
            ("tail_dropped", "Messages that a live tail was too slow for.", &counted.tail_dropped),
        ];
        Self {
            numbers: shared.driver.numbers(),
            uptime_s: (now.0 - shared.started.0) / 1000,
            window: rows.map(|(name, help, count)| (name, help, count.load(Ordering::Relaxed))),
        }
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Numbers { counters, gauges } = &self.numbers;
        for figure in FIGURES {
            let value = (figure.value)(counters, gauges);
            if !OLDER_NAMES.contains(&figure.topic) {
                one(&mut encoder, &own_name(figure.topic), figure.help, figure.kind, value)?;
            }
            let name = exporter_name(figure.topic);
            let help = figure.help.trim_end_matches('.');
            let kind = MetricType::Unknown;
            Number(Kind::Now, value).encode(encoder.encode_descriptor(&name, help, None, kind)?)?;
        }
        let help = "Messages, subscriptions or connections lost to a bound";
        let mut family =
            encoder.encode_descriptor("martlet_dropped", help, None, MetricType::Counter)?;
        for bound in Bound::ALL {
            let labels = [("bound", bound.name())];
            let number = Number(Kind::Total, counters.dropped(bound));
            number.encode(family.encode_family(&labels)?)?;
        }
        for (name, help, value) in self.window {
            let name = format!("martlet_http_{name}");
            one(&mut encoder, &name, help, Kind::Total, value)?;
        }
        let ready = u64::from(counters.store.failing_since.is_none());
        one(&mut encoder, "martlet_ready", "1: the store works.", Kind::Now, ready)?;
        let help = "Seconds since the broker started.";
        one(&mut encoder, "martlet_uptime_seconds", help, Kind::Now, self.uptime_s)?;
        one(&mut encoder, "broker_uptime", help, Kind::Now, self.uptime_s)
    }
}

fn one(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    kind: Kind,
    value: u64,
) -> fmt::Result {
    let number = Number(kind, value);
    // The library puts a full stop behind it.
    let help = help.trim_end_matches('.');
    let metric = encoder.encode_descriptor(name, help, None, number.metric_type())?;
    number.encode(metric)
}

/// A number of its kind.
struct Number(Kind, u64);

impl EncodeMetric for Number {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let Self(kind, value) = self;
        match kind {
            Kind::Total => encoder
                .encode_counter::<prometheus_client::encoding::NoLabelSet, _, u64>(value, None),
            Kind::Now => encoder.encode_gauge(value),
        }
    }

    fn metric_type(&self) -> MetricType {
        match self.0 {
            Kind::Total => MetricType::Counter,
            Kind::Now => MetricType::Gauge,
        }
    }
}

/// `$SYS/broker/publish/bytes/sent`: `martlet_publish_bytes_sent`.
fn own_name(topic: &str) -> String {
    let name = topic.trim_start_matches("$SYS/broker/").trim_start_matches("martlet/");
    format!("martlet_{}", name.replace(['/', ' '], "_"))
}

/// `$SYS/broker/publish/bytes/sent`: `broker_publish_bytes_sent`.
fn exporter_name(topic: &str) -> String {
    topic.trim_start_matches("$SYS/").replace(['/', ' '], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_people_know() {
        let rows = [
            (
                "$SYS/broker/messages/received",
                "martlet_messages_received",
                "broker_messages_received",
            ),
            (
                "$SYS/broker/retained messages/count",
                "martlet_retained_messages_count",
                "broker_retained_messages_count",
            ),
            (
                "$SYS/broker/martlet/logins/failed",
                "martlet_logins_failed",
                "broker_martlet_logins_failed",
            ),
        ];
        for (topic, own, exporter) in rows {
            assert_eq!((own_name(topic).as_str(), exporter_name(topic).as_str()), (own, exporter));
        }
    }
}
