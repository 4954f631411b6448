//! The PROXY protocol: what a proxy says of its client, before anything else.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;
use proxy_header::{ParseConfig, ProxyHeader, SslInfo, Tlv};

use crate::access::peer::{CertificateNames, Peer, PeerAddress};
use crate::net::socket::Socket;

/// What a listener expects before anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which form, and no other.
    pub version: Version,
    /// Who may speak for others; empty: whoever connects.
    pub proxies: Proxies,
    /// Whether clients that did not reach the proxy over TLS are refused.
    pub require_tls: bool,
}

/// A form of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One line of text.
    V1,
    /// Bytes, with fields that speak of TLS.
    V2,
}

/// What the proxy said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It speaks for itself: a health check.
    Itself,
    /// It speaks for a client.
    Client {
        /// Where that is, if the proxy knows.
        address: Option<SocketAddr>,
        /// Whether it came over TLS.
        tls: bool,
        /// Of its certificate, which the proxy has verified.
        certificate: Option<Box<CertificateNames>>,
    },
}

/// Why nobody is let through.
#[derive(Debug)]
pub(super) enum Refusal {
    /// What the proxy said, or did not say.
    Told(&'static str),
    /// The stream ended or failed.
    Gone(io::Error),
}

/// What the first bytes of a connection are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// The beginning of a header.
    Incomplete,
    /// A header, and how long it is.
    Whole(Told, usize),
}

/// Bytes of the longest header that is read: far more than certificates' names need. At the bound:
/// the connection is closed.
pub(super) const HEADER_BYTES_MAX: usize = 4096;

/// Bytes of the longest line that version 1 has.
const LINE_BYTES_MAX: usize = 107;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, command, family and length.
const FIXED_BYTES: usize = 16;

/// Reads the header of a connection from `peer`, and not one byte behind it. Answers who is at the
/// other end of the proxy.
pub(super) async fn read(
    socket: &Socket,
    settings: &Settings,
    peer: Peer,
) -> Result<Peer, Refusal> {
    if let PeerAddress::Ip(address) = peer.address
        && !(settings.proxies.is_empty() || settings.proxies.hold(address.ip()))
    {
        return Err(Refusal::Told("it is none of the proxies"));
    }
    let mut bytes = vec![0; HEADER_BYTES_MAX];
    let mut taken = 0;
    let told = loop {
        let seen = socket.peek(&mut bytes[taken..]).await.map_err(Refusal::Gone)?;
        if seen == 0 {
            return Err(Refusal::Gone(io::ErrorKind::UnexpectedEof.into()));
        }
        let parsed = parse(settings.version, &bytes[..taken + seen]).map_err(Refusal::Told)?;
        let (end, told) = match parsed {
            Parsed::Incomplete => (taken + seen, None),
            Parsed::Whole(told, len) => (len, Some(told)),
        };
        socket.take(&mut bytes[taken..end]).map_err(Refusal::Gone)?;
        taken = end;
        if let Some(told) = told {
            break told;
        }
    };
    let Told::Client { address, tls, certificate } = told else { return Ok(peer) };
    if settings.require_tls && !tls {
        return Err(Refusal::Told("the client did not reach the proxy over TLS"));
    }
    Ok(Peer { address: address.map_or(peer.address, PeerAddress::Ip), certificate })
}

/// Takes a header from the first bytes of a connection, or says why they are none: as soon as that
/// is sure, however few they are.
pub(super) fn parse(version: Version, bytes: &[u8]) -> Result<Parsed, &'static str> {
    let whole = match version {
        Version::V1 => line(bytes)?,
        Version::V2 => block(bytes)?,
    };
    let Some(whole) = whole else { return Ok(Parsed::Incomplete) };
    if let (Version::V2, Some(told)) = (version, without_fields(whole)) {
        return Ok(Parsed::Whole(told, whole.len()));
    }
    let (header, len) =
        ProxyHeader::parse(whole, ParseConfig::default()).map_err(|_| "its fields are damaged")?;
    if len != whole.len() {
        return Err("its fields are damaged");
    }
    Ok(Parsed::Whole(told(&header)?, len))
}

/// The line of version 1, once all of it is there. The library reads it, and takes more than the
/// protocol has: signs in front of ports, words that only begin as they should.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, &'static str> {
    if !begins_as(bytes, b"PROXY ") {
        return Err("no PROXY line of version 1 comes first");
    }
    let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else {
        let too_long = bytes.len() >= LINE_BYTES_MAX;
        return if too_long { Err("its line is too long") } else { Ok(None) };
    };
    let line = &bytes[..end + 2];
    let text = str::from_utf8(&line[..end]).map_err(|_| "its line is no text")?;
    let words: Vec<&str> = text.split(' ').collect();
    let plain = |port: &str| port.bytes().all(|digit| digit.is_ascii_digit());
    match words[..] {
        _ if line.len() > LINE_BYTES_MAX => Err("its line is too long"),
        ["PROXY", "UNKNOWN", ..] => Ok(Some(line)),
        ["PROXY", "TCP4" | "TCP6", _, _, from, to] if plain(from) && plain(to) => Ok(Some(line)),
        _ => Err("its line is damaged"),
    }
}

/// The header of version 2, once all of it is there.
fn block(bytes: &[u8]) -> Result<Option<&[u8]>, &'static str> {
    if !begins_as(bytes, SIGNATURE) {
        return Err("no PROXY header of version 2 comes first");
    }
    let Some(fixed) = bytes.first_chunk::<FIXED_BYTES>() else { return Ok(None) };
    let len = FIXED_BYTES + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if len > HEADER_BYTES_MAX {
        return Err("it is too long");
    }
    Ok(bytes.get(..len))
}

/// What a whole header of version 2 says whose fields are nobody's business: the proxy's own
/// connection, or one of a kind that it has no address for.
fn without_fields(block: &[u8]) -> Option<Told> {
    match block[12..14] {
        [0x20, _] => Some(Told::Itself),
        [0x21, 0] => Some(Told::Client { address: None, tls: false, certificate: None }),
        _ => None,
    }
}

/// Whether `bytes`, which may be few, can go on to begin with `what`.
fn begins_as(bytes: &[u8], what: &[u8]) -> bool {
    let len = bytes.len().min(what.len());
    bytes[..len] == what[..len]
}

fn told(header: &ProxyHeader<'_>) -> Result<Told, &'static str> {
    let (mut tls, mut certificate) = (false, None);
    for field in header.tlvs() {
        if let Tlv::Ssl(ssl) = field.map_err(|_| "its fields are damaged")? {
            tls = ssl.client_ssl();
            certificate = names(&ssl)?;
        }
    }
    // Of a client that reached the proxy over a unix socket there is no address.
    let address = header.proxied_address().map(|address| address.source);
    Ok(Told::Client { address, tls, certificate })
}

/// Of the certificate that the client showed, now or when its TLS session began.
fn names(ssl: &SslInfo<'_>) -> Result<Option<Box<CertificateNames>>, &'static str> {
    let shown = ssl.client_cert_conn() || ssl.client_cert_sess();
    let mut common_name = None;
    for field in ssl.tlvs() {
        if let Tlv::SslCn(name) = field.map_err(|_| "its fields are damaged")? {
            common_name = Some(Box::from(&*name));
        }
    }
    // 0 is the proxy's word for a certificate that it has verified.
    let verified = shown && ssl.client_ssl() && ssl.verify() == 0;
    // The Common Name is all that a proxy tells of the subject.
    Ok(common_name
        .filter(|_| verified)
        .map(|name| Box::new(CertificateNames { common_name: Some(name), subject: "".into() })))
}

/// The proxies that are believed: addresses and networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Whether no one is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this address is one of theirs.
    pub fn hold(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|net| net.contains(&address))
    }
}

impl FromStr for Proxies {
    type Err = String;

    /// Addresses and networks, as in `10.0.0.0/8, 192.0.2.7`.
    fn from_str(text: &str) -> Result<Self, String> {
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        let nets = words.map(|word| {
            let net = word.parse::<IpNet>();
            net.or_else(|_| word.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| format!("{word:?} is no address and no network such as 10.0.0.0/8"))
        });
        nets.collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests;
