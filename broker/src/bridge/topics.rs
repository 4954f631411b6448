//! Which messages cross a bridge, and under which names on either side.
//!
//! A line says `PATTERN [out|in|both] [QOS] [LOCAL-PREFIX] [REMOTE-PREFIX]`, as mosquitto's `topic`
//! does. A message that goes out is looked for under LOCAL-PREFIX PATTERN, loses the local prefix
//! and gets the remote one; one that comes in the other way round. The first line that has a prefix
//! and matches says the name; where none does, the name stays as it is. With the empty pattern `""`
//! the prefixes are two whole names, one for each side.

use std::fmt;

use martlet_codec::reason::QoS;
use martlet_codec::topic::{TopicFilter, TopicName};
use martlet_engine::filter::Filter;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    direction: Direction,
    qos: QoS,
    local_prefix: String,
    remote_prefix: String,
    local: Filter,
    remote: Filter,
}

/// Which way messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From here to the other broker.
    Out,
    /// From the other broker to here.
    In,
    /// Both ways.
    Both,
}

/// All lines of a bridge, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topics(Vec<Topic>);

/// Why a line is none, in words for its writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong(String);

/// What a line looks like, for whoever wrote another.
const FORM: &str = "PATTERN [out|in|both] [QOS] [LOCAL-PREFIX] [REMOTE-PREFIX]";

impl std::error::Error for Wrong {}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Topics {
    /// These lines.
    pub fn new(lines: Vec<Topic>) -> Self {
        Self(lines)
    }

    /// What is subscribed to here.
    pub fn local(&self) -> impl Iterator<Item = (&Filter, QoS)> {
        self.0.iter().filter(|topic| topic.goes_out()).map(|topic| (&topic.local, topic.qos))
    }

    /// What is subscribed to at the other broker.
    pub fn remote(&self) -> impl Iterator<Item = (&Filter, QoS)> {
        self.0.iter().filter(|topic| topic.comes_in()).map(|topic| (&topic.remote, topic.qos))
    }

    /// What nobody wants of the other broker, although an earlier configuration may have.
    pub fn unwanted(&self) -> impl Iterator<Item = &Filter> {
        let unwanted = self.0.iter().filter(|topic| !topic.comes_in()).map(|topic| &topic.remote);
        unwanted.filter(|filter| !self.remote().any(|(wanted, _)| wanted == *filter))
    }

    /// The other broker's name for a topic of ours; `None`: it can have none.
    pub fn to_remote(&self, topic: TopicName<'_>) -> Option<String> {
        let out = self.0.iter().filter(|line| line.goes_out() && line.renames());
        let found = out.into_iter().find(|line| line.local.topic_filter().matches(topic));
        renamed(topic, found.map(|line| (&*line.local_prefix, &*line.remote_prefix)))
    }

    /// Our name for a topic of the other broker; `None`: it can have none, or no line wants it, as
    /// when the session over there still has the subscriptions of an earlier configuration.
    pub fn to_local(&self, topic: TopicName<'_>) -> Option<String> {
        let coming = self.0.iter().filter(|line| line.comes_in());
        let mut coming = coming.filter(|line| line.remote.topic_filter().matches(topic)).peekable();
        coming.peek()?;
        let found = coming.find(|line| line.renames());
        renamed(topic, found.map(|line| (&*line.remote_prefix, &*line.local_prefix)))
    }
}

impl Topic {
    /// Reads a line; words with spaces stand in double quotes, `""` is the empty word.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &str) -> Result<Self, Wrong> {
        let words = words(line)?;
        let mut words = words.iter().map(String::as_str);
        let pattern = words.next().ok_or_else(|| Wrong(format!("wants {FORM}")))?;
        let direction = words.next().map_or(Ok(Direction::Out), direction)?;
        let qos = words.next().map_or(Ok(QoS::AtMostOnce), qos)?;
        let local_prefix = prefix("local", words.next())?;
        let remote_prefix = prefix("remote", words.next())?;
        if let Some(more) = words.next() {
            return Err(Wrong(format!("has {more:?} behind its end; a topic is {FORM}")));
        }
        if pattern.is_empty() && (local_prefix.is_empty() || remote_prefix.is_empty()) {
            return Err(Wrong(format!(
                "has the pattern \"\", which wants a whole name on both sides; a topic is {FORM}"
            )));
        }
        let local = filter(&local_prefix, pattern)?;
        let remote = filter(&remote_prefix, pattern)?;
        Ok(Self { direction, qos, local_prefix, remote_prefix, local, remote })
    }

    fn goes_out(&self) -> bool {
        self.direction != Direction::In
    }

    fn comes_in(&self) -> bool {
        self.direction != Direction::Out
    }

    fn renames(&self) -> bool {
        !self.local_prefix.is_empty() || !self.remote_prefix.is_empty()
    }
}

/// A topic with another prefix; `None` where what comes out is no Topic Name.
fn renamed(topic: TopicName<'_>, prefixes: Option<(&str, &str)>) -> Option<String> {
    let name = topic.as_str();
    let Some((old, new)) = prefixes else { return Some(name.to_owned()) };
    // `a/#` also matches `a`, which does not begin with `a/`: mosquitto leaves that be, too.
    let name = format!("{new}{}", name.strip_prefix(old).unwrap_or(name));
    TopicName::new(name.as_bytes()).is_ok().then_some(name)
}

fn words(line: &str) -> Result<Vec<String>, Wrong> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (word, behind) = match rest.strip_prefix('"') {
            Some(quoted) => quoted
                .split_once('"')
                .ok_or_else(|| Wrong("has a double quote without an end".to_owned()))?,
            None => rest.split_once([' ', '\t']).unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = behind.trim_start();
    }
    Ok(words)
}

fn direction(word: &str) -> Result<Direction, Wrong> {
    let known = [("out", Direction::Out), ("in", Direction::In), ("both", Direction::Both)];
    let found = known.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    found.map(|(_, direction)| direction).ok_or_else(|| {
        Wrong(format!("has no direction {word:?}: write out, in or both; a topic is {FORM}"))
    })
}

fn qos(word: &str) -> Result<QoS, Wrong> {
    match word {
        "0" => Ok(QoS::AtMostOnce),
        "1" => Ok(QoS::AtLeastOnce),
        "2" => Ok(QoS::ExactlyOnce),
        _ => Err(Wrong(format!("has no QoS {word:?}: write 0, 1 or 2; a topic is {FORM}"))),
    }
}

fn prefix(side: &str, word: Option<&str>) -> Result<String, Wrong> {
    let Some(word) = word.filter(|word| !word.is_empty()) else { return Ok(String::new()) };
    match TopicName::new(word.as_bytes()) {
        Ok(_) => Ok(word.to_owned()),
        Err(_) => Err(Wrong(format!(
            "has the {side} prefix {word:?}, which cannot begin a topic name: wildcards belong in \
             the pattern"
        ))),
    }
}

fn filter(prefix: &str, pattern: &str) -> Result<Filter, Wrong> {
    let text = format!("{prefix}{pattern}");
    let wrong = |why: &str| Wrong(format!("makes the filter {text:?}, {why}"));
    TopicFilter::new(text.as_bytes()).map_err(|_| {
        wrong(
            "which is none: # and + stand alone between slashes, # last (a prefix often ends in /)",
        )
    })?;
    let filter = Filter::parse(&text).map_err(|_| wrong("which is none"))?;
    if filter.share().is_some() {
        return Err(wrong("which is shared: a bridge has every message to itself"));
    }
    if filter.asks_for_history() {
        return Err(wrong(
            "which asks for history: a bridge carries what is published from now on",
        ));
    }
    Ok(filter)
}

#[cfg(test)]
mod tests;
