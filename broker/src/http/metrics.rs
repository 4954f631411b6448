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
use tokio::task::spawn_blocking;
use utoipa::ToSchema;

use crate::driver::bridges::BridgeView;
use crate::driver::report::Numbers;
use crate::http::Shared;
use crate::http::login::Caller;
use crate::http::problem::{Problem, ProblemBody};
use crate::machine::{self, Space};
use crate::telemetry::StreamStats;

/// The broker at one moment.
#[derive(Debug)]
struct Snapshot {
    numbers: Numbers,
    streams: Vec<StreamStats>,
    bridges: Vec<BridgeView>,
    space: Option<Space>,
    uptime_s: u64,
    window: [(&'static str, &'static str, u64); 5],
}

/// Figures that stand there twice because mosquitto has two names for them.
const OLDER_NAMES: &[&str] =
    &["$SYS/broker/clients/active", "$SYS/broker/clients/inactive", "$SYS/broker/messages/stored"];

/// A name, one sentence, what kind of number it is, and the number.
type StreamRow = (&'static str, &'static str, Kind, fn(&StreamStats) -> u64);

/// What is told of each stream of the log.
const STREAM_ROWS: [StreamRow; 9] = [
    ("records", "Records of a stream since it began", Kind::Total, |stats| stats.next_offset),
    ("first_offset", "Offset of the oldest record that is kept", Kind::Now, |stats| {
        stats.first_offset
    }),
    ("bytes", "Bytes of a stream on disk", Kind::Now, |stats| stats.bytes),
    ("parquet_files", "Files of a stream that are sealed into Parquet", Kind::Now, |stats| {
        stats.parquet_files
    }),
    ("parquet_bytes", "Bytes of these", Kind::Now, |stats| stats.parquet_bytes),
    ("parquet_records", "Records in these", Kind::Now, |stats| stats.parquet_records),
    ("seal_failures", "How often a segment was not sealed", Kind::Total, |stats| {
        stats.seal_failures
    }),
    ("damaged_bytes", "Bytes of damage that readers came upon", Kind::Total, |stats| {
        stats.damaged_bytes
    }),
    (
        "expired",
        "Records that were kept long enough, or made room, and went",
        Kind::Total,
        |stats| stats.expired,
    ),
];

/// As for streams.
type BridgeRow = (&'static str, &'static str, Kind, fn(&BridgeView) -> u64);

/// What is told of each bridge.
const BRIDGE_ROWS: [BridgeRow; 8] = [
    ("connected", "1: the bridge is connected", Kind::Now, |bridge| bridge.count.connected.into()),
    ("connections", "Times that the bridge became connected", Kind::Total, |bridge| {
        bridge.count.connections
    }),
    ("sent", "Messages that the bridge sent", Kind::Total, |bridge| bridge.count.sent),
    ("received", "Messages that the bridge received", Kind::Total, |bridge| bridge.count.received),
    (
        "queued",
        "Messages that wait for the other broker or its acknowledgement",
        Kind::Now,
        |bridge| bridge.queued,
    ),
    ("lost", "Messages that could not cross", Kind::Total, |bridge| bridge.count.lost),
    ("unsent", "QoS 0 messages still to be sent when a connection ended", Kind::Total, |bridge| {
        bridge.count.unsent
    }),
    ("dropped", "Messages that the queue of the bridge had no place for", Kind::Total, |bridge| {
        bridge.dropped
    }),
];

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
    let snapshot = Snapshot { space: space(&shared).await, ..Snapshot::take(&shared) };
    registry.register_collector(Box::new(snapshot));
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
    /// The broker's folder, and the disk that it is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    disk: Option<Disk>,
}

/// A folder, and the disk that it is on.
#[derive(Debug, Serialize, ToSchema)]
struct Disk {
    /// Bytes of all files in the folder.
    used_bytes: u64,
    /// Bytes that the disk still takes.
    free_bytes: u64,
    /// Bytes of the disk.
    size_bytes: u64,
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
    let Snapshot { numbers, uptime_s, window, .. } = Snapshot::take(&shared);
    let Numbers { counters, gauges } = &numbers;
    let figures = FIGURES.iter().map(|figure| {
        let name = figure.topic.trim_start_matches("$SYS/broker/");
        (name, (figure.value)(counters, gauges))
    });
    let dropped = Bound::ALL.iter().map(|bound| (bound.name(), counters.dropped(*bound)));
    let disk = space(&shared).await.map(|Space { used_bytes, free_bytes, size_bytes }| Disk {
        used_bytes,
        free_bytes,
        size_bytes,
    });
    Ok(Json(Stats {
        version: crate::http::VERSION.to_owned(),
        uptime_s,
        time_ms: shared.driver.now().0,
        figures: figures.collect(),
        dropped: dropped.collect(),
        http: window.map(|(name, _, value)| (name, value)).into(),
        ready: counters.store.failing_since.is_none(),
        durable: shared.driver.keeps(),
        disk,
    }))
}

/// How much is on the disk: away from the network's threads, which wait for no disk.
async fn space(shared: &Shared) -> Option<Space> {
    let folder = shared.settings.folder.clone()?;
    let found = spawn_blocking(move || machine::space(&folder)).await;
    found.ok()?.inspect_err(|error| tracing::debug!(%error, "The disk cannot be looked at.")).ok()
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
        let log = shared.log.get();
        let streams = log
            .into_iter()
            .flat_map(|log| log.streams().into_iter().filter_map(|stream| log.stats(&stream).ok()));
        Self {
            numbers: shared.driver.numbers(),
            streams: streams.collect(),
            bridges: shared.driver.bridges(),
            space: None,
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
        for (name, help, kind, value) in STREAM_ROWS.iter().filter(|_| !self.streams.is_empty()) {
            let (name, of) = (format!("martlet_stream_{name}"), Number(*kind, 0).metric_type());
            let mut family = encoder.encode_descriptor(&name, help, None, of)?;
            for stats in &self.streams {
                let labels = [("stream", &*stats.stream)];
                Number(*kind, value(stats)).encode(family.encode_family(&labels)?)?;
            }
        }
        for (name, help, kind, value) in BRIDGE_ROWS.iter().filter(|_| !self.bridges.is_empty()) {
            let (name, of) = (format!("martlet_bridge_{name}"), Number(*kind, 0).metric_type());
            let mut family = encoder.encode_descriptor(&name, help, None, of)?;
            for bridge in &self.bridges {
                let labels = [("bridge", &*bridge.name)];
                Number(*kind, value(bridge)).encode(family.encode_family(&labels)?)?;
            }
        }
        if let Some(Space { used_bytes, free_bytes, .. }) = self.space {
            let help = "Bytes of the files in the broker's folder.";
            one(&mut encoder, "martlet_disk_used_bytes", help, Kind::Now, used_bytes)?;
            let help = "Bytes that the disk of that folder still takes.";
            one(&mut encoder, "martlet_disk_free_bytes", help, Kind::Now, free_bytes)?;
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
