//! How records are written: a JSON object, lines of JSON, CSV or Parquet, as `Accept` says.

use axum::http::StatusCode;
use axum::http::header::{ACCEPT, HeaderMap};
use utoipa::ToSchema;

use crate::http::history::wrong;
use crate::http::problem::Problem;
use crate::telemetry::columns::Column;
use crate::telemetry::parquet_pieces::ParquetPieces;
use crate::telemetry::{LogError, Record, lines};

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Lines,
    Csv,
}

/// How very many records are written.
pub(super) enum Long {
    Text(Form),
    Columns(Box<ParquetPieces>),
}

/// What `Accept` calls Parquet.
pub(super) const PARQUET: &str = "application/vnd.apache.parquet";

/// A record.
#[derive(ToSchema)]
#[schema(as = Record)]
#[expect(dead_code, reason = "the form in which the log's own writer has it, for the description")]
pub(super) struct RecordBody {
    /// Its place in the stream.
    offset: u64,
    /// When the broker received it, in UTC.
    time: String,
    /// The topic it was published to.
    topic: String,
    /// The QoS it was published at.
    #[schema(maximum = 2)]
    qos: u8,
    /// Whether it was to be retained.
    retain: bool,
    /// Who published it.
    client_id: Option<String>,
    /// The publisher's user name.
    user_name: Option<String>,
    /// Its payload, if that is UTF-8 text.
    payload: Option<String>,
    /// Its payload in base64, if it is not.
    payload_base64: Option<String>,
}

/// Records of a stream.
#[derive(ToSchema)]
#[schema(as = Records)]
#[expect(dead_code, reason = "as above")]
pub(super) struct RecordsBody {
    /// From the oldest to the newest.
    records: Vec<RecordBody>,
    /// The offset to go on with.
    next: u64,
    /// Bytes of the log that are damaged and were passed over; not there if none.
    damaged_bytes: Option<u64>,
}

/// The forms that there are: what `Accept` calls them, the first name is ours.
const KINDS: &[(Form, &[&str])] = &[
    (Form::Json, &["application/json", "application/*", "*/*"]),
    (Form::Lines, &["application/x-ndjson", "application/jsonl", "application/x-jsonlines"]),
    (Form::Csv, &["text/csv", "text/*"]),
];

impl Form {
    /// The first form that `Accept` names.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(accept) = headers.get(ACCEPT) else { return Ok(Self::Json) };
        let accept = accept.to_str().unwrap_or_default();
        let wanted =
            accept.split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim());
        let mut found = wanted.filter_map(Self::named);
        found.next().ok_or_else(|| {
            let ours: Vec<&str> = KINDS.iter().map(|(_, names)| names[0]).collect();
            let long = if ParquetPieces::IS_BUILT {
                format!("; /consume and /latest_time have {PARQUET} too")
            } else {
                String::new()
            };
            let ours = ours.join(", ");
            let detail = format!("{accept:?} is none of the forms that there are: {ours}{long}");
            Problem::new(StatusCode::NOT_ACCEPTABLE, detail)
        })
    }

    fn named(wanted: &str) -> Option<Self> {
        let kind = KINDS.iter().find(|(_, names)| names.contains(&wanted));
        kind.map(|(form, _)| *form)
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Lines => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        }
    }

    /// What stands in front of all records.
    pub(super) fn begin(self, out: &mut Vec<u8>) {
        out.extend_from_slice(match self {
            Self::Json => b"{\"records\":[",
            Self::Lines => b"",
            Self::Csv => lines::CSV_HEADER.as_bytes(),
        });
    }

    /// One record, behind `before` others.
    pub(super) fn write(self, out: &mut Vec<u8>, record: &Record<'_>, before: u64) {
        if self == Self::Json && before > 0 {
            out.push(b',');
        }
        let written = match self {
            Self::Json | Self::Lines => lines::write_json(out, record),
            Self::Csv => lines::write_csv(out, record),
        };
        written.expect("memory takes everything");
    }

    /// What stands behind all records: where to go on, and how much could not be read.
    pub(super) fn end(self, out: &mut Vec<u8>, next: u64, damaged_bytes: u64) {
        if self == Self::Json {
            let damage = match damaged_bytes {
                0 => String::new(),
                bytes => format!(",\"damaged_bytes\":{bytes}"),
            };
            out.extend_from_slice(format!("],\"next\":{next}{damage}}}\n").as_bytes());
        }
    }
}

impl Long {
    /// The first form that `Accept` names; `columns`: those that Parquet takes out of payloads.
    pub(super) fn of(
        headers: &HeaderMap,
        columns: impl FnOnce() -> Vec<Column>,
    ) -> Result<Self, Problem> {
        let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
        let kinds = accept.unwrap_or_default().split(',');
        let mut kinds = kinds.map(|kind| kind.split(';').next().unwrap_or_default().trim());
        let first = kinds.find(|kind| *kind == PARQUET || Form::named(kind).is_some());
        if first == Some(PARQUET) && ParquetPieces::IS_BUILT {
            let pieces = ParquetPieces::new(&columns()).map_err(wrong)?;
            return Ok(Self::Columns(Box::new(pieces)));
        }
        Form::of(headers).map(Self::Text)
    }

    pub(super) fn content_type(&self) -> &'static str {
        match self {
            Self::Text(form) => form.content_type(),
            Self::Columns(_) => PARQUET,
        }
    }

    /// What stands in front of all records.
    pub(super) fn begin(&self, out: &mut Vec<u8>) {
        if let Self::Text(form) = self {
            form.begin(out);
        }
    }

    /// One record, behind `before` others.
    pub(super) fn write(
        &mut self,
        out: &mut Vec<u8>,
        record: &Record<'_>,
        before: u64,
    ) -> Result<(), LogError> {
        match self {
            Self::Text(form) => form.write(out, record, before),
            Self::Columns(pieces) => pieces.add(record, out)?,
        }
        Ok(())
    }

    /// What stands behind all records, as [`Form::end`] has it.
    pub(super) fn end(
        &mut self,
        out: &mut Vec<u8>,
        next: u64,
        damaged_bytes: u64,
    ) -> Result<(), LogError> {
        match self {
            Self::Text(form) => form.end(out, next, damaged_bytes),
            Self::Columns(pieces) => pieces.finish(out)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use martlet_codec::reason::QoS;

    use super::*;

    #[test]
    fn the_form_is_the_first_that_accept_names() {
        let rows = [
            (None, Some(Form::Json)),
            (Some("*/*"), Some(Form::Json)),
            (Some("application/json"), Some(Form::Json)),
            (Some("application/x-ndjson"), Some(Form::Lines)),
            (Some("image/png, text/csv;q=0.9, */*;q=0.1"), Some(Form::Csv)),
            (Some("image/png"), None),
        ];
        for (accept, expected) in rows {
            let header = accept.map(|accept| (ACCEPT, HeaderValue::from_static(accept)));
            assert_eq!(Form::of(&header.into_iter().collect()).ok(), expected, "{accept:?}");
        }
    }

    #[test]
    fn an_answer_is_whole_in_every_form() {
        let record = Record {
            offset: 7,
            time_ms: 0,
            topic: "t",
            client_id: None,
            user_name: None,
            qos: QoS::AtLeastOnce,
            retain: false,
            payload: b"x",
        };
        let json = "{\"offset\":7,\"time\":\"1970-01-01T00:00:00.000Z\",\"topic\":\"t\",\"qos\":1,\
                    \"retain\":false,\"payload\":\"x\"}\n";
        let csv = "7,1970-01-01T00:00:00.000Z,t,1,false,,,x,\r\n";
        let rows = [
            (Form::Json, 2, 0, format!("{{\"records\":[{json},{json}],\"next\":8}}\n")),
            (Form::Json, 0, 9, "{\"records\":[],\"next\":8,\"damaged_bytes\":9}\n".to_owned()),
            (Form::Lines, 2, 9, format!("{json}{json}")),
            (Form::Csv, 1, 0, format!("{}{csv}", lines::CSV_HEADER)),
        ];
        for (form, count, damage, expected) in rows {
            let mut out = Vec::new();
            form.begin(&mut out);
            (0..count).for_each(|before| form.write(&mut out, &record, before));
            form.end(&mut out, 8, damage);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }
}
