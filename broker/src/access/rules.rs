//! ACL files, exactly as mosquitto 2 reads them.
//!
//! - `user NAME` begins the part of a user; what stands before the first is for anonymous clients;
//! - `topic [read|write|readwrite|deny] FILTER` holds for the clients of that user;
//! - `pattern [read|write|readwrite|deny] FILTER` holds for everybody; `%c` is the client id, `%u`
//!   the user.
//!
//! Who asks is answered by the first of these that says something: the user's `deny` lines, the
//! user's other lines, the `deny` patterns, the other patterns. Nothing said is a no.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use martlet_codec::topic::TopicFilter;
use serde::Deserialize;

use crate::access::fault::{self, Fault};
use crate::access::topics::{Bits, Topics};

/// One ACL file.
#[derive(Debug)]
pub struct Rules {
    path: PathBuf,
    anonymous: Arc<Part>,
    by_user: HashMap<Box<str>, Arc<Part>>,
    patterns: Vec<Rule>,
    /// The patterns without `%c` and `%u`, for fast answers.
    common: Topics,
    dialect: Dialect,
}

/// How a file is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// As mosquitto reads it.
    #[default]
    Mosquitto,
    /// As mosquitto-go-auth does: what stands before the first user is for everybody, like a
    /// pattern, and a `deny` counts before all else, whosever it is.
    GoAuth,
}

/// The lines of one user.
#[derive(Debug, Default)]
pub(super) struct Part {
    rules: Vec<Rule>,
    /// The same, for fast answers.
    pub(super) topics: Topics,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which line of the file, from 1.
    pub line: usize,
    /// What it gives.
    pub access: Access,
    /// To what. In a pattern, with `%c` and `%u`.
    pub filter: Box<str>,
    /// It begins with `pattern`.
    pub pattern: bool,
}

/// What a line gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To receive.
    Read,
    /// To publish.
    Write,
    /// Both.
    ReadWrite,
    /// Neither, whatever other lines of the same kind say.
    Deny,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// The client id.
    pub client_id: &'a str,
    /// The user name that was authenticated, or was not asked for.
    pub user: Option<&'a str>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question<'a> {
    /// To publish to this topic.
    Publish(&'a str),
    /// To receive from this topic.
    Receive(&'a str),
    /// To receive from every topic of this filter.
    Subscribe(&'a str),
}

/// An answer, with what gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// Yes or no.
    pub allowed: bool,
    /// Why.
    pub because: Because<'a>,
}

/// What gave an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because<'a> {
    /// This line.
    Rule(&'a Rule),
    /// No line speaks of it.
    Nothing,
    /// There are patterns, and the client's id or user name could be taken for a wildcard.
    Dangerous,
}

impl Rules {
    /// Reads a file.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(path: &Path, dialect: Dialect) -> Result<Self, Vec<Fault>> {
        Self::parse(path, &fault::read_text(path)?, dialect)
    }

    /// Takes the text of a file apart.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse(path: &Path, text: &str, dialect: Dialect) -> Result<Self, Vec<Fault>> {
        let mut own: HashMap<Option<&str>, Vec<Rule>> = HashMap::new();
        let (mut user, mut patterns, mut faults) = (None, Vec::new(), Vec::new());
        for (line, text) in (1..).zip(text.lines()) {
            match parse_line(line, text) {
                Ok(Line::Nothing) => {}
                Ok(Line::User(name)) => user = Some(name),
                Ok(Line::Rule(rule)) if rule.pattern => patterns.push(rule),
                Ok(Line::Rule(rule)) if user.is_none() && dialect == Dialect::GoAuth => {
                    patterns.push(Rule { pattern: true, ..rule });
                }
                Ok(Line::Rule(rule)) => own.entry(user).or_default().push(rule),
                Err(text) => faults.push(Fault::at(path, line, text)),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self { dialect, ..Self::new(path, own, patterns) })
    }

    /// The rules that a token gives its user: filters, in which `%c` and `%u` stand for the client
    /// id and the user. `None`: one of them is no filter.
    pub(super) fn granted(user: &str, publish: &[&str], subscribe: &[&str]) -> Option<Self> {
        let rule = |access, filter: &str| {
            TopicFilter::new(filter.as_bytes()).ok()?;
            let pattern = filter.contains("%c") || filter.contains("%u");
            Some(Rule { line: 0, access, filter: filter.into(), pattern })
        };
        let publish = publish.iter().map(|filter| rule(Access::Write, filter));
        let all = publish.chain(subscribe.iter().map(|filter| rule(Access::Read, filter)));
        let all: Vec<Rule> = all.collect::<Option<_>>()?;
        let (patterns, own) = all.into_iter().partition(|rule| rule.pattern);
        Some(Self::new(Path::new("token"), HashMap::from([(Some(user), own)]), patterns))
    }

    fn new(path: &Path, mut own: HashMap<Option<&str>, Vec<Rule>>, patterns: Vec<Rule>) -> Self {
        let anonymous = Arc::new(Part::new(own.remove(&None).unwrap_or_default()));
        let by_user = own
            .into_iter()
            .filter_map(|(user, rules)| Some((Box::from(user?), Arc::new(Part::new(rules)))));
        let common = Topics::new(patterns.iter().filter(|rule| !rule.is_personal()));
        let by_user = by_user.collect();
        let dialect = Dialect::default();
        Self { path: path.to_owned(), anonymous, by_user, patterns, common, dialect }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The answer, with the line that gives it.
    pub fn explain(&self, who: Who<'_>, question: Question<'_>) -> Answer<'_> {
        let own = self.part(who.user).map(|part| &*part.rules).unwrap_or_default();
        let dangerous = self.distrusts(who);
        let counts = |rule: &&Rule| !dangerous || rule.access == Access::Deny;
        let patterns = self.patterns.iter().filter(counts);
        let found = match self.dialect {
            Dialect::Mosquitto => {
                first(own.iter(), who, question).or_else(|| first(patterns, who, question))
            }
            Dialect::GoAuth => first(own.iter().chain(patterns), who, question),
        };
        let because = if dangerous { Because::Dangerous } else { Because::Nothing };
        found.unwrap_or(Answer { allowed: false, because })
    }

    /// The answer alone, fast; `part` is the user's own. Not for [`Question::Subscribe`].
    pub(super) fn answer(&self, part: Option<&Part>, who: Who<'_>, topic: &str, bit: Bits) -> bool {
        let own = part.map(|part| part.topics.find(topic)).unwrap_or_default();
        let last_word = self.dialect == Dialect::Mosquitto && own.answer(bit).is_some();
        if last_word || self.patterns.is_empty() {
            return own.answer(bit).unwrap_or(false);
        }
        let personal = self.patterns.iter().filter(|rule| rule.is_personal());
        let found = personal
            .filter(|rule| rule.matches(who, topic))
            .fold(self.common.find(topic), |found, rule| found | rule.access.bits());
        let found = if is_dangerous(who) { found.only(Bits::DENY) } else { found };
        (own | found).answer(bit).unwrap_or(false)
    }

    /// A user's own lines. `None` where the file has none.
    pub(super) fn part(&self, user: Option<&str>) -> Option<&Arc<Part>> {
        match user {
            None => Some(&self.anonymous),
            Some(user) => self.by_user.get(user),
        }
    }

    /// Whether the patterns give this client nothing: their `deny` lines alone count for it.
    pub fn distrusts(&self, who: Who<'_>) -> bool {
        !self.patterns.is_empty() && is_dangerous(who)
    }
}

/// The first of these that says something, `deny` before all others.
fn first<'r>(
    rules: impl Iterator<Item = &'r Rule> + Clone,
    who: Who<'_>,
    question: Question<'_>,
) -> Option<Answer<'r>> {
    let (text, wanted) = match question {
        Question::Publish(topic) => (topic, Bits::WRITE),
        Question::Receive(topic) | Question::Subscribe(topic) => (topic, Bits::READ),
    };
    let found = |allowed| {
        let says = |rule: &&Rule| rule.access.bits().answer(wanted) == Some(allowed);
        let rule = rules.clone().filter(says).find(|rule| rule.matches(who, text))?;
        Some(Answer { allowed, because: Because::Rule(rule) })
    };
    found(false).or_else(|| found(true))
}

/// Put in the place of `%c`, such a name would be a wildcard.
fn is_dangerous(who: Who<'_>) -> bool {
    [Some(who.client_id), who.user].into_iter().flatten().any(|name| name.contains(['+', '#']))
}

impl Rule {
    /// Whether it speaks of this topic, or of every topic of this filter.
    fn matches(&self, who: Who<'_>, topic: &str) -> bool {
        if !self.pattern {
            return matches(self.filter.bytes(), topic);
        }
        if topic.starts_with('$') && !self.filter.starts_with('$') {
            return false; // I9, also where the client is called $SYS
        }
        let Some(user) = who.user else {
            // Without a user name, a pattern with one speaks of nothing.
            return !self.filter.contains("%u") && matches(self.expand(who.client_id, ""), topic);
        };
        matches(self.expand(who.client_id, user), topic)
    }

    /// Its filter for this client, byte by byte.
    fn expand<'a>(&'a self, client_id: &'a str, user: &'a str) -> impl Iterator<Item = u8> {
        let mut parts = self.filter.split('%');
        let start = parts.next().unwrap_or_default();
        let rest = parts.flat_map(move |part| match part.as_bytes().first() {
            Some(b'c') => [client_id, &part[1..]],
            Some(b'u') => [user, &part[1..]],
            _ => ["%", part],
        });
        start.bytes().chain(rest.flat_map(str::bytes))
    }

    fn is_personal(&self) -> bool {
        self.filter.contains("%c") || self.filter.contains("%u")
    }
}

/// Whether a filter, given byte by byte, matches a topic, or covers another filter.
fn matches(filter: impl Iterator<Item = u8>, topic: &str) -> bool {
    let mut filter = filter.peekable();
    let mut rest = topic.as_bytes();
    if topic.starts_with('$') && filter.peek() != Some(&b'$') {
        return false; // I9
    }
    while let Some(byte) = filter.next() {
        match byte {
            b'#' => return true,
            b'+' => {
                let end = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
                if &rest[..end] == b"#" {
                    return false;
                }
                rest = &rest[end..];
            }
            b'/' if rest.is_empty() => return filter.next() == Some(b'#'), // a/# matches a
            byte => match rest.split_first() {
                Some((first, behind)) if *first == byte => rest = behind,
                _ => return false,
            },
        }
    }
    rest.is_empty()
}

impl Part {
    fn new(rules: Vec<Rule>) -> Self {
        Self { topics: Topics::new(&rules), rules }
    }
}

enum Line<'a> {
    Nothing,
    User(&'a str),
    Rule(Rule),
}

fn parse_line(line: usize, text: &str) -> Result<Line<'_>, String> {
    if text.starts_with('#') {
        return Ok(Line::Nothing);
    }
    // Spaces alone separate: a tab is a character like any other.
    let text = text.trim_matches(' ');
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rest = rest.trim_matches(' ');
    match word {
        "" => Ok(Line::Nothing),
        "user" if rest.is_empty() => Err("\"user\" wants a user name".to_owned()),
        "user" => Ok(Line::User(rest)),
        "topic" | "pattern" => parse_rule(line, word, rest).map(Line::Rule),
        _ if word.contains('\t') => {
            Err(format!("{word:?} is no word of an ACL file: separate words with spaces, not tabs"))
        }
        _ => Err(format!("{word:?} is no word of an ACL file; it knows user, topic and pattern")),
    }
}

fn parse_rule(line: usize, word: &str, rest: &str) -> Result<Rule, String> {
    if rest.is_empty() {
        return Err(format!("\"{word}\" wants a topic filter"));
    }
    // Where there is one word only, it is the filter: `topic read` is about a topic called read.
    let (access, filter) = match rest.split_once(' ') {
        Some((access, filter)) => (access.parse()?, filter.trim_start_matches(' ')),
        None => (Access::ReadWrite, rest),
    };
    if let Err(error) = TopicFilter::new(filter.as_bytes()) {
        return Err(format!("{filter:?} is no topic filter: {error}"));
    }
    Ok(Rule { line, access, filter: filter.into(), pattern: word == "pattern" })
}

impl std::str::FromStr for Access {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "read" => Ok(Self::Read),
            "write" => Ok(Self::Write),
            "readwrite" => Ok(Self::ReadWrite),
            "deny" => Ok(Self::Deny),
            _ => Err(format!("{text:?} is no kind of access: read, write, readwrite or deny")),
        }
    }
}

impl Access {
    pub(super) const fn bits(self) -> Bits {
        match self {
            Self::Read => Bits::READ,
            Self::Write => Bits::WRITE,
            Self::ReadWrite => Bits::READ.with(Bits::WRITE),
            Self::Deny => Bits::DENY,
        }
    }
}

impl fmt::Display for Rule {
    /// As the file has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.pattern { "pattern" } else { "topic" };
        let access = match self.access {
            Access::Read => "read",
            Access::Write => "write",
            Access::ReadWrite => "readwrite",
            Access::Deny => "deny",
        };
        write!(f, "{word} {access} {}", self.filter)
    }
}

#[cfg(test)]
mod tests;
