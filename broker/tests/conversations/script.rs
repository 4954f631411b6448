//! A conversation: what a file says, step by step, and how it is held with a broker.
//!
//! ```text
//! # What it is about                                   [MQTT-3.3.1-5]
//! a > connect id=pub clean            a sends (packets separated by `;` go in one write)
//! a < connack 0                       a must receive this next
//! b <~ suback 1 1                     this and the `<~` lines of b that follow: in any order
//! b <~ publish t "1" q1 id=$m         $m: any id, the same one wherever $m stands; ?: any id
//! b < nothing                         all has settled, and nothing came
//! b < closed                          the broker has closed the connection
//! each 1..20: a > publish t "%n"      the line for n = 1 to 20
//! cut a                               a's connection ends without a DISCONNECT
//! advance 90                          so many seconds pass
//! restart                             the broker stops and starts again
//! differs mosquitto: reason           mosquitto does not do what the next line expects; with it,
//!                                     what else happens to that client is passed over
//! ```
//! At the end nobody may have received anything that was not expected.

use std::collections::{BTreeMap, BTreeSet};

use crate::raw::{Id, Packet};

pub struct Script {
    pub name: String,
    pub steps: Vec<Step>,
}

pub struct Step {
    pub line: usize,
    pub text: String,
    pub act: Act,
}

pub enum Act {
    Send { who: String, packets: Vec<Packet> },
    Expect { who: String, packet: Packet, any_order: bool },
    ExpectNothing { who: String },
    ExpectClosed { who: String },
    Cut { who: String },
    Advance { seconds: u64 },
    Restart,
    Differs { broker: String },
}

impl Act {
    fn who(&self) -> Option<&str> {
        match self {
            Self::Send { who, .. }
            | Self::Expect { who, .. }
            | Self::ExpectNothing { who }
            | Self::ExpectClosed { who }
            | Self::Cut { who } => Some(who),
            Self::Advance { .. } | Self::Restart | Self::Differs { .. } => None,
        }
    }
}

/// Whom a conversation is held with. A client that is not connected is connected by its first send.
pub trait Broker {
    fn name(&self) -> &'static str;
    fn send(&mut self, who: &str, bytes: &[u8]);
    /// What comes next to this client.
    fn next(&mut self, who: &str) -> Received;
    /// What has come to this client when all that was sent is handled.
    fn settled(&mut self, who: &str) -> Received;
    /// The clients that are connected as far as they know.
    fn connected(&self) -> Vec<String>;
    fn cut(&mut self, who: &str);
    fn advance(&mut self, seconds: u64);
    fn restart(&mut self);
}

#[derive(PartialEq, Debug)]
pub enum Received {
    Packet(Packet),
    Closed,
    Nothing,
}

impl Script {
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut steps = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            for line in each(line.trim()) {
                let act = Act::parse(&line).map_err(|fault| format!("{name}:{number}: {fault}"))?;
                steps.extend(act.map(|act| Step { line: number, text: line, act }));
            }
        }
        Ok(Self { name: name.to_owned(), steps })
    }

    /// How many seconds pass in it.
    pub fn seconds(&self) -> u64 {
        let advances = self.steps.iter().map(|step| match step.act {
            Act::Advance { seconds } => seconds,
            _ => 0,
        });
        advances.sum()
    }

    /// Holds the conversation.
    pub fn hold(&self, broker: &mut dyn Broker) -> Result<(), String> {
        let mut talk = Talk { broker, variables: BTreeMap::new(), different: BTreeSet::new() };
        let mut steps = self.steps.iter().peekable();
        while let Some(step) = steps.next() {
            let mut group = vec![step];
            if let Act::Expect { who, any_order: true, .. } = &step.act {
                let same = |step: &&Step| match &step.act {
                    Act::Expect { who: other, any_order: true, .. } => other == who,
                    _ => false,
                };
                while let Some(step) = steps.next_if(same) {
                    group.push(step);
                }
            }
            let held = match &step.act {
                Act::Differs { broker } if broker == talk.broker.name() => {
                    steps.next().map_or(Ok(()), |next| talk.differs(next))
                }
                _ => talk.step(&group),
            };
            held.map_err(|fault| {
                format!("{}:{}: {}\n    {fault}", self.name, step.line, step.text)
            })?;
        }
        talk.end().map_err(|fault| format!("{}: {fault}", self.name))
    }
}

struct Talk<'a> {
    broker: &'a mut dyn Broker,
    variables: BTreeMap<String, u16>,
    /// Clients to whom the broker has done something else than expected, as listed.
    different: BTreeSet<String>,
}

impl Talk<'_> {
    /// The listed difference: the broker does not do what this step expects.
    fn differs(&mut self, step: &Step) -> Result<(), String> {
        let who = step.act.who().ok_or("`differs` stands in front of a client's line")?;
        let received = self.broker.settled(who);
        let same = match (&step.act, &received) {
            (Act::Expect { packet, .. }, Received::Packet(received)) => self.fits(packet, received),
            (Act::ExpectNothing { .. }, Received::Nothing) => true,
            (Act::ExpectClosed { .. }, Received::Closed) => true,
            _ => false,
        };
        self.different.insert(who.to_owned());
        if same { Err("listed as different, and is not".into()) } else { Ok(()) }
    }

    /// Nobody has received more than was expected.
    fn end(&mut self) -> Result<(), String> {
        for who in self.broker.connected() {
            let received = self.broker.settled(&who);
            if received != Received::Nothing && !self.different.contains(&who) {
                return Err(format!("at the end {who} has {received}"));
            }
        }
        Ok(())
    }

    fn step(&mut self, steps: &[&Step]) -> Result<(), String> {
        if steps[0].act.who().is_some_and(|who| self.different.contains(who)) {
            return Ok(());
        }
        match &steps[0].act {
            Act::Send { who, packets } => {
                let packets = packets.iter().map(|packet| self.filled_in(packet).encode());
                let bytes: Vec<u8> = packets.flatten().collect();
                self.broker.send(who, &bytes);
            }
            Act::Expect { who, .. } => return self.expect(who, steps),
            Act::ExpectNothing { who } => match self.broker.settled(who) {
                Received::Nothing => {}
                other => return Err(format!("{who} received {other}")),
            },
            Act::ExpectClosed { who } => match self.broker.next(who) {
                Received::Closed => {}
                other => return Err(format!("{who} received {other}")),
            },
            Act::Cut { who } => self.broker.cut(who),
            Act::Advance { seconds } => self.broker.advance(*seconds),
            Act::Restart => self.broker.restart(),
            Act::Differs { .. } => {}
        }
        Ok(())
    }

    fn expect(&mut self, who: &str, steps: &[&Step]) -> Result<(), String> {
        let mut open: Vec<&Step> = steps.to_vec();
        while !open.is_empty() {
            let received = self.broker.next(who);
            let Received::Packet(packet) = &received else {
                return Err(format!("{who} received {received}"));
            };
            let found = open.iter().position(|step| match &step.act {
                Act::Expect { packet: expected, .. } => self.fits(expected, packet),
                _ => false,
            });
            let step = open.remove(found.ok_or_else(|| format!("{who} received {received}"))?);
            if let Act::Expect { packet: expected, .. } = &step.act
                && let (Some(Id::Variable(name)), Some(Id::Number(number))) =
                    (id(expected), id(packet))
            {
                self.variables.insert(name.clone(), *number);
            }
        }
        Ok(())
    }

    fn fits(&self, expected: &Packet, packet: &Packet) -> bool {
        let mut expected = expected.clone();
        if let Some(id_expected) = id_mut(&mut expected) {
            let open = match id_expected {
                Id::Any => true,
                Id::Variable(name) => !self.variables.contains_key(name),
                _ => false,
            };
            match (open, id(packet)) {
                (true, Some(id @ Id::Number(_))) => *id_expected = id.clone(),
                _ => return self.filled_in(&expected) == *packet,
            }
        }
        expected == *packet
    }

    /// With numbers for the variables that are known.
    fn filled_in(&self, packet: &Packet) -> Packet {
        let mut packet = packet.clone();
        if let Some(id) = id_mut(&mut packet)
            && let Id::Variable(name) = id
            && let Some(number) = self.variables.get(name)
        {
            *id = Id::Number(*number);
        }
        packet
    }
}

fn id_mut(packet: &mut Packet) -> Option<&mut Id> {
    match packet {
        Packet::Publish(publish) => Some(&mut publish.id),
        Packet::Ack(_, id)
        | Packet::Subscribe { id, .. }
        | Packet::SubAck { id, .. }
        | Packet::Unsubscribe { id, .. } => Some(id),
        _ => None,
    }
}

fn id(packet: &Packet) -> Option<&Id> {
    match packet {
        Packet::Publish(publish) => Some(&publish.id),
        Packet::Ack(_, id) | Packet::SubAck { id, .. } => Some(id),
        _ => None,
    }
}

/// The line itself, or one for each number.
fn each(line: &str) -> Vec<String> {
    let range = line.strip_prefix("each ").and_then(|rest| rest.split_once(": "));
    let Some((range, line)) = range else { return vec![line.to_owned()] };
    let (from, to) = range.split_once("..").expect("each FROM..TO: LINE");
    let number = |text: &str| text.parse::<u32>().expect("each FROM..TO: LINE");
    let numbers = number(from)..=number(to);
    numbers.map(|n| line.replace("%n", &n.to_string())).collect()
}

impl Act {
    fn parse(line: &str) -> Result<Option<Self>, String> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let words = words(line)?;
        let verb: Vec<&str> = words.iter().map(String::as_str).collect();
        let act = match verb[..] {
            ["cut", who] => Self::Cut { who: who.into() },
            ["advance", seconds] => {
                Self::Advance { seconds: seconds.parse().map_err(|_| "advance SECONDS")? }
            }
            ["restart"] => Self::Restart,
            ["differs", broker, _, ..] => Self::Differs { broker: broker.replace(':', "") },
            [who, "<", "nothing"] => Self::ExpectNothing { who: who.into() },
            [who, "<", "closed"] => Self::ExpectClosed { who: who.into() },
            [who, sign @ ("<" | "<~"), ..] => {
                let packet = Packet::parse(&words[2..])?;
                // What the broker sends is compared by meaning, also where bytes are given.
                let packet = match packet {
                    Packet::Bytes(bytes) => Packet::decode(&bytes),
                    packet => packet,
                };
                Self::Expect { who: who.into(), packet, any_order: sign == "<~" }
            }
            [who, ">", ..] => {
                let packets = words[2..].split(|word| word == ";").map(Packet::parse);
                Self::Send { who: who.into(), packets: packets.collect::<Result<_, _>>()? }
            }
            _ => return Err(format!("no step: {line}")),
        };
        Ok(Some(act))
    }
}

/// The words of a line. In quotes a word may hold spaces, `\"`, `\\` and `\u{...}`.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' if quoted => {
                let escaped = match letters.next() {
                    Some('u') => {
                        let code: String = letters.by_ref().take_while(|c| *c != '}').collect();
                        let code = u32::from_str_radix(code.trim_start_matches('{'), 16);
                        code.ok().and_then(char::from_u32)
                    }
                    other => other,
                };
                word.get_or_insert_default().push(escaped.ok_or("an escape that is none")?);
            }
            ' ' | '\t' if !quoted => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    if quoted { Err("a quote is not closed".into()) } else { Ok(words) }
}

impl std::fmt::Display for Received {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Packet(packet) => packet.fmt(f),
            Self::Closed => f.write_str("the end of its connection"),
            Self::Nothing => f.write_str("nothing"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says what it is told to say.
    struct Puppet(Vec<Packet>);

    impl Broker for Puppet {
        fn name(&self) -> &'static str {
            "puppet"
        }
        fn send(&mut self, _: &str, _: &[u8]) {}
        fn next(&mut self, _: &str) -> Received {
            if self.0.is_empty() { Received::Closed } else { Received::Packet(self.0.remove(0)) }
        }
        fn settled(&mut self, who: &str) -> Received {
            if self.0.is_empty() { Received::Nothing } else { self.next(who) }
        }
        fn connected(&self) -> Vec<String> {
            vec!["a".into()]
        }
        fn cut(&mut self, _: &str) {}
        fn advance(&mut self, _: u64) {}
        fn restart(&mut self) {}
    }

    #[test]
    fn a_conversation_fails_where_the_broker_says_something_else() {
        let rows = [
            ("a < puback 1", "puback 1", true),
            ("a < puback 1", "puback 2", false),
            ("a < puback ?", "puback 2", true),
            ("a < nothing", "puback 2", false),
            ("a < closed", "", true),
            ("a < closed", "puback 1", false),
            ("", "puback 1", false),
            ("a < puback $x\na < pubrec $x", "puback 7\npubrec 7", true),
            ("a < puback $x\na < pubrec $x", "puback 7\npubrec 8", false),
            ("a <~ puback 1\na <~ pubrec 1", "pubrec 1\npuback 1", true),
            ("a < puback 1\na < pubrec 1", "pubrec 1\npuback 1", false),
            ("each 1..3: a < puback %n", "puback 1\npuback 2\npuback 3", true),
            ("each 1..3: a < puback %n", "puback 1\npuback 3", false),
            ("a < publish t \"1\" retain", "publish t 1 retain", true),
            ("a < publish t 1", "publish t 1 retain", false),
            ("a < publish t 1 q1 id=?", "publish t 1 q1 id=3 dup", false),
            ("differs puppet: it cannot\na < puback 1", "puback 2", true),
            ("differs puppet: it cannot\na < puback 1", "puback 1", false),
            ("differs other: it cannot\na < puback 1", "puback 1", true),
        ];
        for (script, said, fits) in rows {
            let said = said.lines().map(|line| {
                Packet::parse(&words(line).expect("a row's packet")).expect("a row's packet")
            });
            let held = Script::parse("row", script).expect("a row's script");
            let held = held.hold(&mut Puppet(said.collect()));
            assert_eq!(held.is_ok(), fits, "{script}: {held:?}");
        }
    }

    #[test]
    fn packets_are_the_same_as_text_and_as_bytes() {
        let rows = [
            ("connack 0 present", "20 02 01 00"),
            ("publish a/b \"x\" q1 id=10 dup retain", "3b 08 00 03 61 2f 62 00 0a 78"),
            ("pubrel 258", "62 02 01 02"),
            ("suback 1 0 128", "90 04 00 01 00 80"),
        ];
        for (text, bytes) in rows {
            let packet = Packet::parse(&words(text).expect("words")).expect("a packet");
            let Ok(Packet::Bytes(bytes)) =
                Packet::parse(&words(&format!("hex {bytes}")).expect("words"))
            else {
                panic!("{bytes}");
            };
            assert_eq!(packet.encode(), bytes, "{text}");
            assert_eq!(Packet::decode(&bytes), packet, "{text}");
        }
    }
}
