//! How values are written for Martlet's options where it is not word for word.

/// Bytes of a PUBLISH beside its payload: fixed header, topic, Packet Identifier.
const BESIDE_PAYLOAD: i64 = 5 + 2 + 65_535 + 2;

/// The largest packet of the protocol.
const PACKET_MAX: i64 = 268_435_460;

/// 0 and the largest number are no bound to mosquitto; the protocol has one.
pub(super) fn inflight(text: &str) -> Result<Option<String>, String> {
    let number: i64 = parsed(text)?;
    Ok(Some(if number <= 0 { 65_535 } else { number }.to_string()))
}

/// A negative number is no bound, which is 0 here.
pub(super) fn zero_for_negative(text: &str) -> Result<Option<String>, String> {
    Ok(Some(parsed(text)?.max(0).to_string()))
}

/// A negative number is no bound, and what holds anyway.
pub(super) fn unless_negative(text: &str) -> Result<Option<String>, String> {
    Ok(Some(parsed(text)?).filter(|number| *number >= 0).map(|number| number.to_string()))
}

/// A bound above that of the protocol is that of the protocol.
pub(super) fn packet_size(text: &str) -> Result<Option<String>, String> {
    Ok(Some(parsed(text)?.min(PACKET_MAX).to_string()))
}

/// A packet with the longest topic and so large a payload; 0 is no bound.
pub(super) fn payload_size(text: &str) -> Result<Option<String>, String> {
    let payload = Some(parsed(text)?).filter(|payload| *payload != 0);
    Ok(payload.map(|payload| (payload + BESIDE_PAYLOAD).min(PACKET_MAX).to_string()))
}

/// What is smaller than any request of a browser is no bound that somebody wants; 0 is the default.
pub(super) fn request_size(text: &str) -> Result<Option<String>, String> {
    let bytes = Some(parsed(text)?).filter(|bytes| *bytes != 0);
    Ok(bytes.map(|bytes| bytes.max(1024).to_string()))
}

/// A prefix without a slash at its end gives clients nothing for filters that begin with a
/// wildcard.
pub(super) fn mount_point(text: &str) -> Result<Option<String>, String> {
    if text.ends_with('/') {
        return Ok(Some(text.to_owned()));
    }
    Err(format!(
        "takes a prefix with a slash at its end: with \"{text}\" mosquitto gives clients nothing \
         for filters that begin with a wildcard; write \"{text}/\""
    ))
}

/// All lines, in order.
pub(super) fn listed(words: &[&str]) -> Result<Option<String>, String> {
    Ok(Some(words.join(", ")))
}

/// All destinations, in order.
pub(super) fn log_destinations(lines: &[&str]) -> Result<Option<String>, String> {
    for line in lines {
        match line.split(' ').next().unwrap_or_default() {
            "dlt" | "android" => {
                return Err(format!(
                    "{line}: Martlet has no way there; write \"log_dest syslog\" or \"log_dest \
                     stdout\", which other programs can pass on"
                ));
            }
            "file" if line.contains(',') => {
                return Err("takes a file whose path has no comma".to_owned());
            }
            _ => {}
        }
    }
    listed(lines)
}

/// A list of words, as a list of texts is written.
pub(super) fn one_for_each_word(text: &str) -> Result<Option<String>, String> {
    Ok(Some(text.split_whitespace().collect::<Vec<_>>().join("\n")))
}

/// All lines, as a list of texts is written.
pub(super) fn one_for_each_line(lines: &[&str]) -> Result<Option<String>, String> {
    Ok(Some(lines.join("\n")))
}

/// What a bridge has no other way to do than to stay connected.
pub(super) fn start_type(word: &str) -> Result<Option<String>, String> {
    match word {
        "lazy" => {
            Err("has no \"lazy\" here: what goes out is on disk either way, and a connection \
                       that stays costs a packet a minute; write \"start_type automatic\""
                .to_owned())
        }
        word => Ok(Some(word.to_owned())),
    }
}

/// The versions of MQTT that a bridge speaks.
pub(super) fn bridge_version(word: &str) -> Result<Option<String>, String> {
    match word {
        "mqttv31" => Ok(Some("3.1".to_owned())),
        "mqttv311" => Ok(Some("3.1.1".to_owned())),
        _ => Err("has no mqttv50 here: Martlet speaks MQTT 3.1 and 3.1.1; every broker of MQTT \
                  5.0 takes \"bridge_protocol_version mqttv311\""
            .to_owned()),
    }
}

/// mosquitto takes less than 5 seconds for 5.
pub(super) fn bridge_keep_alive(text: &str) -> Result<Option<String>, String> {
    Ok(Some(parsed(text)?.clamp(5, 65_535).to_string()))
}

/// The versions of TLS that there still are.
pub(super) fn bridge_tls_version(word: &str) -> Result<Option<String>, String> {
    match word {
        "tlsv1.2" => Ok(Some("1.2".to_owned())),
        "tlsv1.3" => Ok(Some("1.3".to_owned())),
        _ => Err(format!(
            "takes tlsv1.2 or tlsv1.3, not {word:?}: older versions are broken; leave the line \
             out, and the best that the other broker has is spoken"
        )),
    }
}

/// A number from 0 to 7 is one of those that a machine's owner may use.
pub(super) fn log_facility(number: &str) -> Result<Option<String>, String> {
    Ok(Some(format!("local{number}")))
}

fn parsed(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("takes a whole number, not {text:?}"))
}
