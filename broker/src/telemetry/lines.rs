//! Records as lines of text: JSON and CSV.

use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

use base64ct::{Base64, Encoding};
use serde::Serialize;

use crate::telemetry::Record;

/// A record as an object of JSON. A payload is text if it is UTF-8.
#[derive(Serialize)]
struct Object<'a> {
    offset: u64,
    time: String,
    topic: &'a str,
    qos: u8,
    retain: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

/// Writes a record as one line of JSON.
///
/// # Errors
/// The output's.
pub fn write_json(out: &mut impl Write, record: &Record<'_>) -> io::Result<()> {
    let payload = std::str::from_utf8(record.payload).ok();
    let object = Object {
        offset: record.offset,
        time: time(record.time_ms),
        topic: record.topic,
        qos: record.qos.get(),
        retain: record.retain,
        client_id: record.client_id,
        user_name: record.user_name,
        payload,
        payload_base64: payload.is_none().then(|| Base64::encode_string(record.payload)),
    };
    serde_json::to_writer(&mut *out, &object).map_err(io::Error::from)?;
    out.write_all(b"\n")
}

/// The first line of CSV.
pub const CSV_HEADER: &str =
    "offset,time,topic,qos,retain,client_id,user_name,payload,payload_base64\r\n";

/// Writes a record as one line of CSV, or as several where a text has line ends in it.
///
/// # Errors
/// The output's.
pub fn write_csv(out: &mut impl Write, record: &Record<'_>) -> io::Result<()> {
    write!(out, "{},{},", record.offset, time(record.time_ms))?;
    write_field(out, record.topic)?;
    write!(out, ",{},{},", record.qos.get(), record.retain)?;
    write_field(out, record.client_id.unwrap_or_default())?;
    out.write_all(b",")?;
    write_field(out, record.user_name.unwrap_or_default())?;
    out.write_all(b",")?;
    match std::str::from_utf8(record.payload) {
        Ok(text) => {
            write_field(out, text)?;
            out.write_all(b",\r\n")
        }
        Err(_) => write!(out, ",{}\r\n", Base64::encode_string(record.payload)),
    }
}

/// As RFC 4180 has it.
fn write_field(out: &mut impl Write, text: &str) -> io::Result<()> {
    if !text.contains(['"', ',', '\r', '\n']) {
        return out.write_all(text.as_bytes());
    }
    write!(out, "\"{}\"", text.replace('"', "\"\""))
}

/// Unix milliseconds as RFC 3339 writes them.
pub fn time(time_ms: u64) -> String {
    // Times beyond the year 9999 have no such form.
    let time = UNIX_EPOCH + Duration::from_millis(time_ms.min(YEAR_9999_MS));
    humantime::format_rfc3339_millis(time).to_string()
}

const YEAR_9999_MS: u64 = 253_402_300_799_999;

#[cfg(test)]
mod tests {
    use martlet_codec::reason::QoS;

    use super::*;

    fn record(payload: &[u8]) -> Record<'_> {
        Record {
            offset: 7,
            time_ms: 1_764_460_800_123,
            topic: "a/\"b\",c",
            client_id: Some("c\n1"),
            user_name: None,
            qos: QoS::AtLeastOnce,
            retain: true,
            payload,
        }
    }

    fn written(
        write: impl Fn(&mut Vec<u8>, &Record<'_>) -> io::Result<()>,
        payload: &[u8],
    ) -> String {
        let mut out = Vec::new();
        write(&mut out, &record(payload)).expect("memory");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_record_as_json() {
        let start = "{\"offset\":7,\"time\":\"2025-11-30T00:00:00.123Z\",\
                     \"topic\":\"a/\\\"b\\\",c\",\"qos\":1,\
                     \"retain\":true,\"client_id\":\"c\\n1\",";
        let text = written(write_json, b"21.5");
        assert_eq!(text, format!("{start}\"payload\":\"21.5\"}}\n"));
        let bytes = written(write_json, &[0xFF, 0]);
        assert_eq!(bytes, format!("{start}\"payload_base64\":\"/wA=\"}}\n"));
    }

    #[test]
    fn a_record_as_csv() {
        let start = "7,2025-11-30T00:00:00.123Z,\"a/\"\"b\"\",c\",1,true,\"c\n1\",,";
        let text = written(write_csv, b"1,5");
        assert_eq!(text, format!("{start}\"1,5\",\r\n"));
        let bytes = written(write_csv, &[0xFF, 0]);
        assert_eq!(bytes, format!("{start},/wA=\r\n"));
        assert_eq!(CSV_HEADER.matches(',').count(), 8);
    }

    #[test]
    fn a_time_that_has_no_form_is_the_last_that_has_one() {
        assert_eq!(time(u64::MAX), "9999-12-31T23:59:59.999Z");
    }
}
