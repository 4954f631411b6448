//! A client's side of MQTT 3.1 and 3.1.1 as the tests see it: packets as text and as bytes, written
//! apart from the codec, so that the two check each other.

#![allow(dead_code, reason = "each test uses its part")]

pub mod client;
pub mod websocket;

use std::fmt;

/// A packet of either direction. Expected ones may leave their Packet Identifier open.
#[derive(Clone, PartialEq, Debug)]
pub enum Packet {
    Connect(Box<Connect>),
    ConnAck {
        present: bool,
        code: u8,
    },
    Publish(Publish),
    /// PUBACK, PUBREC, PUBREL, PUBCOMP, UNSUBACK.
    Ack(AckKind, Id),
    Subscribe {
        id: Id,
        filters: Vec<(String, u8)>,
    },
    SubAck {
        id: Id,
        codes: Vec<u8>,
    },
    Unsubscribe {
        id: Id,
        filters: Vec<String>,
    },
    PingReq,
    PingResp,
    Disconnect,
    /// Bytes as they are, right or wrong.
    Bytes(Vec<u8>),
}

#[derive(Clone, PartialEq, Debug, Default)]
pub struct Connect {
    pub name: String,
    pub level: u8,
    pub client_id: String,
    pub clean: bool,
    pub keep_alive_s: u16,
    pub will: Option<Publish>,
    pub user: Option<String>,
    pub password: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Default)]
pub struct Publish {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    pub dup: bool,
    pub id: Id,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AckKind {
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
    UnsubAck = 11,
}

const ACKS: [(AckKind, &str); 5] = [
    (AckKind::PubAck, "puback"),
    (AckKind::PubRec, "pubrec"),
    (AckKind::PubRel, "pubrel"),
    (AckKind::PubComp, "pubcomp"),
    (AckKind::UnsubAck, "unsuback"),
];

/// A Packet Identifier, or what is said instead of one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Id {
    /// There is none (QoS 0).
    #[default]
    None,
    Number(u16),
    /// `?`: any.
    Any,
    /// `$name`: any at first, the same afterwards.
    Variable(String),
}

impl Packet {
    /// The text of a packet, as it stands in a conversation.
    pub fn parse(words: &[String]) -> Result<Self, String> {
        let (kind, rest) = words.split_first().ok_or("no packet")?;
        if let Some((ack, _)) = ACKS.iter().find(|(_, name)| name == kind) {
            return Ok(Self::Ack(*ack, Id::parse(first(rest)?)?));
        }
        match kind.as_str() {
            "connect" => Connect::parse(rest).map(|connect| Self::Connect(Box::new(connect))),
            "connack" => Ok(Self::ConnAck {
                code: number(first(rest)?)?,
                present: rest.get(1).is_some_and(|word| word == "present"),
            }),
            "publish" => Publish::parse(rest).map(Self::Publish),
            "subscribe" => {
                let filters = rest[1..].iter().map(|word| {
                    let (filter, qos) = word.rsplit_once(':').ok_or("a filter is FILTER:QOS")?;
                    Ok::<_, String>((filter.to_owned(), number(qos)?))
                });
                let filters = filters.collect::<Result<_, _>>()?;
                Ok(Self::Subscribe { id: Id::parse(first(rest)?)?, filters })
            }
            "suback" => {
                let codes = rest[1..].iter().map(|code| number(code)).collect::<Result<_, _>>()?;
                Ok(Self::SubAck { id: Id::parse(first(rest)?)?, codes })
            }
            "unsubscribe" => {
                Ok(Self::Unsubscribe { id: Id::parse(first(rest)?)?, filters: rest[1..].to_vec() })
            }
            "pingreq" => Ok(Self::PingReq),
            "pingresp" => Ok(Self::PingResp),
            "disconnect" => Ok(Self::Disconnect),
            "hex" => {
                let bytes = rest.iter().map(|word| u8::from_str_radix(word, 16));
                bytes.collect::<Result<_, _>>().map(Self::Bytes).map_err(|e| e.to_string())
            }
            other => Err(format!("no packet is called {other:?}")),
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Connect(connect) => frame(0x10, &connect.body()),
            Self::ConnAck { present, code } => frame(0x20, &[u8::from(*present), *code]),
            Self::Publish(publish) => {
                let flags = u8::from(publish.dup) << 3 | publish.qos << 1;
                let mut body = text(&publish.topic);
                if publish.qos > 0 {
                    body.extend(publish.id.get().to_be_bytes());
                }
                body.extend(&publish.payload);
                frame(0x30 | flags | u8::from(publish.retain), &body)
            }
            Self::Ack(kind, id) => {
                let flags = if *kind == AckKind::PubRel { 2 } else { 0 };
                frame((*kind as u8) << 4 | flags, &id.get().to_be_bytes())
            }
            Self::Subscribe { id, filters } => {
                let mut body = id.get().to_be_bytes().to_vec();
                for (filter, qos) in filters {
                    body.extend(text(filter));
                    body.push(*qos);
                }
                frame(0x82, &body)
            }
            Self::SubAck { id, codes } => {
                frame(0x90, &[&id.get().to_be_bytes(), codes.as_slice()].concat())
            }
            Self::Unsubscribe { id, filters } => {
                let filters: Vec<u8> = filters.iter().flat_map(|filter| text(filter)).collect();
                frame(0xa2, &[id.get().to_be_bytes().as_slice(), &filters].concat())
            }
            Self::PingReq => vec![0xc0, 0],
            Self::PingResp => vec![0xd0, 0],
            Self::Disconnect => vec![0xe0, 0],
            Self::Bytes(bytes) => bytes.clone(),
        }
    }

    /// A packet from a server, out of exactly its bytes. What a server may not send stays bytes.
    pub fn decode(bytes: &[u8]) -> Self {
        Self::decode_known(bytes).unwrap_or_else(|| Self::Bytes(bytes.to_vec()))
    }

    fn decode_known(bytes: &[u8]) -> Option<Self> {
        let body = &bytes[header_len(bytes)?..];
        let id = |at: usize| {
            let number = u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]);
            (number != 0).then_some(Id::Number(number))
        };
        let exact = |len: usize| (body.len() == len).then_some(());
        let ack = |kind| exact(2).and_then(|()| id(0)).map(|id| Self::Ack(kind, id));
        match bytes[0] {
            0x20 => {
                exact(2)?;
                (body[0] < 2).then_some(Self::ConnAck { present: body[0] == 1, code: body[1] })
            }
            0x30..0x40 => {
                let flags = bytes[0] & 15;
                let topic_end =
                    2 + usize::from(u16::from_be_bytes([*body.first()?, *body.get(1)?]));
                let topic = String::from_utf8(body.get(2..topic_end)?.to_vec()).ok()?;
                let qos = flags >> 1 & 3;
                let has_id = qos > 0;
                let id = if has_id { id(topic_end)? } else { Id::None };
                let payload = body.get(topic_end + 2 * usize::from(has_id)..)?.to_vec();
                let (retain, dup) = (flags & 1 != 0, flags & 8 != 0);
                let legal = qos < 3 && (qos > 0 || !dup) && !topic.is_empty();
                let publish = Publish { topic, payload, qos, retain, dup, id };
                legal.then_some(Self::Publish(publish))
            }
            0x40 => ack(AckKind::PubAck),
            0x50 => ack(AckKind::PubRec),
            0x62 => ack(AckKind::PubRel),
            0x70 => ack(AckKind::PubComp),
            0x90 => Some(Self::SubAck { id: id(0)?, codes: body.get(2..)?.to_vec() }),
            0xb0 => ack(AckKind::UnsubAck),
            0xd0 => exact(0).map(|()| Self::PingResp),
            _ => None,
        }
    }
}

impl Connect {
    /// The CONNECT of a client of 3.1.1 that wants nothing in particular.
    pub fn new(client_id: &str) -> Self {
        let client_id = client_id.to_owned();
        Self { name: "MQTT".into(), level: 4, client_id, clean: true, ..Self::default() }
    }

    fn parse(words: &[String]) -> Result<Self, String> {
        let mut connect = Self { clean: false, ..Self::new("") };
        let mut will = Publish::default();
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match key {
                "id" => connect.client_id = value.into(),
                "clean" => connect.clean = true,
                "keep" => connect.keep_alive_s = number(value)?,
                "v31" => (connect.name, connect.level) = ("MQIsdp".into(), 3),
                "name" => connect.name = value.into(),
                "level" => connect.level = number(value)?,
                "user" => connect.user = Some(value.into()),
                "password" => connect.password = Some(value.into()),
                "will" => will.topic = value.into(),
                "message" => will.payload = value.into(),
                "will_q1" => will.qos = 1,
                "will_q2" => will.qos = 2,
                "will_retain" => will.retain = true,
                _ => return Err(format!("CONNECT knows no {word:?}")),
            }
        }
        connect.will = (!will.topic.is_empty()).then_some(will);
        Ok(connect)
    }

    fn body(&self) -> Vec<u8> {
        let mut flags = u8::from(self.clean) << 1;
        let mut fields = text(&self.client_id);
        if let Some(will) = &self.will {
            flags |= 4 | will.qos << 3 | u8::from(will.retain) << 5;
            fields.extend(text(&will.topic));
            fields.extend((will.payload.len() as u16).to_be_bytes());
            fields.extend(&will.payload);
        }
        if let Some(user) = &self.user {
            flags |= 0x80;
            fields.extend(text(user));
        }
        if let Some(password) = &self.password {
            flags |= 0x40;
            fields.extend(text(password));
        }
        let mut body = text(&self.name);
        body.extend([self.level, flags]);
        body.extend(self.keep_alive_s.to_be_bytes());
        body.extend(fields);
        body
    }
}

impl Publish {
    pub fn new(topic: &str, payload: impl Into<Vec<u8>>) -> Self {
        Self { topic: topic.into(), payload: payload.into(), ..Self::default() }
    }

    /// `TOPIC PAYLOAD [q1|q2] [id=ID] [dup] [retain]`; `zeros:N` is a payload of N zeros.
    fn parse(words: &[String]) -> Result<Self, String> {
        let [topic, payload, rest @ ..] = words else { return Err("PUBLISH TOPIC PAYLOAD".into()) };
        let payload = match payload.strip_prefix("zeros:") {
            Some(count) => vec![b'0'; number(count)?],
            None => payload.clone().into_bytes(),
        };
        let mut publish = Self::new(topic, payload);
        for word in rest {
            match word.as_str() {
                "q1" => publish.qos = 1,
                "q2" => publish.qos = 2,
                "dup" => publish.dup = true,
                "retain" => publish.retain = true,
                id => {
                    let id = id.strip_prefix("id=");
                    publish.id = Id::parse(id.ok_or(format!("PUBLISH knows no {word:?}"))?)?;
                }
            }
        }
        match (publish.qos, &publish.id) {
            (0, Id::None) | (1.., Id::Number(_) | Id::Any | Id::Variable(_)) => Ok(publish),
            _ => Err("a PUBLISH has an id exactly when it has a QoS".into()),
        }
    }
}

impl Id {
    fn parse(word: &str) -> Result<Self, String> {
        Ok(match word.strip_prefix('$') {
            Some(name) => Self::Variable(name.to_owned()),
            None if word == "?" => Self::Any,
            None => Self::Number(number(word)?),
        })
    }

    /// The number to send.
    pub fn get(&self) -> u16 {
        match self {
            Self::Number(number) => *number,
            other => panic!("{other:?} is no number to send"),
        }
    }
}

/// Where the first packet ends, once that is known and all of it is there.
pub fn packet_len(bytes: &[u8]) -> Option<usize> {
    let header = header_len(bytes)?;
    let lengths = bytes[1..header].iter().rev();
    let body = lengths.fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f));
    (bytes.len() >= header + body).then_some(header + body)
}

fn header_len(bytes: &[u8]) -> Option<usize> {
    let last = bytes.iter().skip(1).take(4).position(|byte| byte & 0x80 == 0)?;
    Some(last + 2)
}

fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let more = if length > 0x7f { 0x80 } else { 0 };
        packet.push((length & 0x7f) as u8 | more);
        length >>= 7;
        if length == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a text of MQTT has 65,535 bytes at most");
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

fn first(words: &[String]) -> Result<&str, String> {
    words.first().map(String::as_str).ok_or_else(|| "a number is missing".into())
}

fn number<N: std::str::FromStr>(word: &str) -> Result<N, String> {
    word.parse().map_err(|_| format!("{word:?} is no number"))
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publish(publish) => publish.fmt(f),
            Self::ConnAck { present, code } => {
                write!(f, "connack {code}{}", if *present { " present" } else { "" })
            }
            Self::Ack(kind, id) => {
                let (_, name) = ACKS[ACKS.iter().position(|(k, _)| k == kind).unwrap_or(0)];
                write!(f, "{name} {id}")
            }
            Self::SubAck { id, codes } => {
                write!(f, "suback {id}")?;
                codes.iter().try_for_each(|code| write!(f, " {code}"))
            }
            Self::Bytes(bytes) => {
                f.write_str("hex")?;
                bytes.iter().try_for_each(|byte| write!(f, " {byte:02x}"))
            }
            Self::PingResp => f.write_str("pingresp"),
            other => write!(f, "{other:?}"),
        }
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "publish {} ", self.topic)?;
        match &self.payload[..] {
            long @ [_, ..] if long.len() > 200 => write!(f, "({} bytes)", long.len())?,
            short => write!(f, "{:?}", String::from_utf8_lossy(short))?,
        }
        if self.qos > 0 {
            write!(f, " q{} id={}", self.qos, self.id)?;
        }
        f.write_str(if self.dup { " dup" } else { "" })?;
        f.write_str(if self.retain { " retain" } else { "" })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("-"),
            Self::Number(number) => number.fmt(f),
            Self::Any => f.write_str("?"),
            Self::Variable(name) => write!(f, "${name}"),
        }
    }
}
