//! The request that opens a WebSocket, and what is answered to it.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use tungstenite::error::{Error, ProtocolError};
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{self, Request};
use tungstenite::http::HeaderMap;
use tungstenite::http::header::{self, HeaderName, HeaderValue};

use crate::access::peer::PeerAddress;
use crate::net::proxy::Proxies;

/// What a listener asks of those who come over WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Web pages of these origins may connect; empty: of all. Clients that are no web page name no
    /// origin, and are not asked for one.
    pub origins: Box<[Box<str>]>,
    /// Bytes of the longest request. At the bound: it is refused (status 431).
    pub request_bytes_max: usize,
    /// Whose `X-Forwarded-For` is believed.
    pub proxies: Proxies,
}

impl Default for Settings {
    fn default() -> Self {
        Self { origins: Box::default(), request_bytes_max: 8192, proxies: Proxies::default() }
    }
}

/// What becomes of the first bytes of a connection.
#[derive(Debug)]
pub(super) enum Answer {
    /// More of the request is to come.
    Wait,
    /// Here goes MQTT, in frames.
    Welcome {
        /// How much of the bytes the request was.
        request_len: usize,
        /// What to answer.
        response: Vec<u8>,
        /// Where the client is, by the word of a proxy that is believed. Proxies tell no port.
        client: Option<SocketAddr>,
    },
    /// It is told why not, and the connection ends.
    Refused {
        /// What to answer; nothing, where that would not be understood.
        response: Vec<u8>,
        /// In words.
        reason: Cow<'static, str>,
    },
}

/// The name that MQTT goes by, and the one that clients of 3.1 gave it before that.
const PROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Decides on the first bytes that came from `peer`.
pub(super) fn answer(bytes: &[u8], settings: &Settings, peer: PeerAddress) -> Answer {
    if let Some(reason) = foreign(bytes) {
        return Answer::Refused { response: Vec::new(), reason: reason.into() };
    }
    let bound = settings.request_bytes_max;
    match Request::try_parse(bytes) {
        Ok(Some((len, request))) if len <= bound => welcome(len, &request, settings, peer),
        Ok(None) if bytes.len() < bound => Answer::Wait,
        Err(error) if bytes.len() <= bound => refuse_bad(&error),
        _ => refuse("431 Request Header Fields Too Large", "", "the request is too long"),
    }
}

/// What the first bytes are, if they begin no request.
fn foreign(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x16, 3, ..] => Some("this is TLS, and the port takes WebSocket without TLS"),
        [0x10..=0x1f, _, ..] => Some("this is MQTT, and the port takes it over WebSocket only"),
        _ => None,
    }
}

fn welcome(
    request_len: usize,
    request: &Request,
    settings: &Settings,
    peer: PeerAddress,
) -> Answer {
    let headers = request.headers();
    let mut response = match server::create_response(request) {
        Ok(response) => response,
        Err(error) => return refuse_bad(&error),
    };
    if !headers.get(header::SEC_WEBSOCKET_KEY).is_some_and(is_key) {
        return refuse("400 Bad Request", "", "its Sec-WebSocket-Key is damaged");
    }
    if let Some(origin) = headers.get(header::ORIGIN)
        && !settings.allow(origin)
    {
        let origin = String::from_utf8_lossy(origin.as_bytes());
        let reason = format!("web pages of {origin:?} may not connect");
        return refuse("403 Forbidden", "", reason);
    }
    // [MQTT-6.0.0-4]
    let Some(protocol) = PROTOCOLS.into_iter().find(|name| offers(headers, name)) else {
        return refuse("400 Bad Request", "", "it does not offer the sub-protocol mqtt");
    };
    let protocol = HeaderValue::from_static(protocol);
    response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    let mut bytes = Vec::new();
    server::write_response(&mut bytes, &response).expect("memory takes it, and it is all text");
    let client = settings.forwarded(headers, peer).map(|ip| SocketAddr::new(ip, 0));
    Answer::Welcome { request_len, response: bytes, client }
}

impl Settings {
    /// Whether this peer is a proxy whose word counts.
    pub(in crate::net) fn believe(&self, peer: PeerAddress) -> bool {
        match peer {
            PeerAddress::Ip(address) => self.proxies.hold(address.ip()),
            PeerAddress::Unix { .. } => false,
        }
    }

    fn allow(&self, origin: &HeaderValue) -> bool {
        let named = self.origins.iter().any(|allowed| {
            allowed.trim_end_matches('/').as_bytes().eq_ignore_ascii_case(origin.as_bytes())
        });
        self.origins.is_empty() || named
    }

    /// The last address that no believed proxy has: each proxy adds, behind what it was told, whom
    /// it was told by.
    fn forwarded(&self, headers: &HeaderMap, peer: PeerAddress) -> Option<IpAddr> {
        if !self.believe(peer) {
            return None;
        }
        let values = headers.get_all(FORWARDED_FOR).into_iter().filter_map(|v| v.to_str().ok());
        let named: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
        let mut client = None;
        for name in named.into_iter().rev() {
            let address = name.parse::<SocketAddr>().map(|address| address.ip());
            let Ok(address) = address.or_else(|_| name.parse()) else { break };
            client = Some(address);
            if !self.proxies.hold(address) {
                break;
            }
        }
        client
    }
}

fn offers(headers: &HeaderMap, protocol: &str) -> bool {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    let mut names = values.filter_map(|v| v.to_str().ok()).flat_map(|value| value.split(','));
    names.any(|name| name.trim() == protocol)
}

/// Whether it is 16 bytes in base64.
fn is_key(key: &HeaderValue) -> bool {
    let key = key.as_bytes();
    let digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key.ends_with(b"==") && key[..22].iter().all(digit)
}

fn refuse_bad(error: &Error) -> Answer {
    const UPGRADE: &str = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    let Error::Protocol(error) = error else {
        return refuse("400 Bad Request", "", "it is no request of HTTP");
    };
    let (status, header) = match error {
        ProtocolError::WrongHttpMethod => ("405 Method Not Allowed", "Allow: GET\r\n"),
        ProtocolError::WrongHttpVersion => ("505 HTTP Version Not Supported", ""),
        ProtocolError::MissingConnectionUpgradeHeader
        | ProtocolError::MissingUpgradeWebSocketHeader
        | ProtocolError::MissingSecWebSocketVersionHeader => ("426 Upgrade Required", UPGRADE),
        _ => ("400 Bad Request", ""),
    };
    refuse(status, header, error.to_string())
}

fn refuse(status: &str, header: &str, reason: impl Into<Cow<'static, str>>) -> Answer {
    let reason = reason.into();
    let body = "This port speaks MQTT over WebSocket, with the sub-protocol mqtt.\n";
    let response = format!(
        "HTTP/1.1 {status}\r\n{header}Connection: close\r\nContent-Type: text/plain\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len(),
    );
    Answer::Refused { response: response.into_bytes(), reason }
}

#[cfg(test)]
mod tests;
