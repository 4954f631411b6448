//! The project's own sources as text: which part of a line is code and which is comment, what is
//! product and what is test, and in which item a line stands. Enough of Rust's grammar for that,
//! and no more.

use std::path::{Path, PathBuf};

/// One Rust file.
pub struct Source {
    /// From the project's root, with `/`.
    pub path: String,
    pub lines: Vec<Line>,
}

/// One line of it.
#[derive(Default)]
pub struct Line {
    pub raw: String,
    /// Without comments; the insides of string literals left out.
    pub code: String,
    /// What stands behind `//` or between `/*` and `*/`.
    pub comment: String,
    /// Inside `#[cfg(test)]`, `#[test]`, or a folder of tests.
    pub test: bool,
    /// The item that the line belongs to: `Type::function`, or empty at a module's top.
    pub item: String,
}

/// The project's root folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("broker/ is in the root").to_path_buf()
}

/// All files below the root that are the project's own, as paths from the root, sorted.
pub fn files() -> Vec<String> {
    const NOT_OURS: [&str; 5] = ["target", ".git", "martlet-data", "corpus", "artifacts"];
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of ours can be read") {
            let entry = entry.expect("a folder of ours can be read");
            let name = entry.file_name().to_string_lossy().into_owned();
            if NOT_OURS.contains(&name.as_str()) {
                continue;
            }
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                let path = entry.path();
                let path = path.strip_prefix(&root).expect("found below the root");
                found.push(path.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    found.sort();
    found
}

/// The text of a file, or `None` where it is not UTF-8.
pub fn text(path: &str) -> Option<String> {
    let bytes = std::fs::read(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    String::from_utf8(bytes).ok()
}

/// Every Rust file of the project.
pub fn rust() -> Vec<Source> {
    let rust = files().into_iter().filter(|path| path.ends_with(".rs"));
    rust.map(|path| Source::new(&path, &text(&path).expect("Rust is UTF-8"))).collect()
}

/// Whether everything in this file is for tests.
pub fn is_test_path(path: &str) -> bool {
    let mut parts = path.split('/');
    parts.any(|part| matches!(part, "tests" | "benches" | "fuzz" | "tests.rs"))
        || path.starts_with("mosquitto-compat-tests/")
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let mut lines = split(text);
        Places::new(is_test_path(path)).mark(&mut lines);
        Self { path: path.to_owned(), lines }
    }
}

enum Within {
    Code,
    Comment { depth: u32 },
    Text,
    RawText { hashes: usize },
}

/// Tells code from comments and texts.
fn split(text: &str) -> Vec<Line> {
    let mut within = Within::Code;
    let mut lines = Vec::new();
    for raw in text.lines() {
        let mut line = Line { raw: raw.to_owned(), ..Line::default() };
        let mut rest = raw;
        while let Some(next) = rest.chars().next() {
            let taken;
            (within, taken) = match within {
                Within::Code => code(rest, &mut line),
                Within::Comment { depth } => comment(rest, depth, &mut line),
                Within::Text => text_end(rest, &mut line),
                Within::RawText { hashes } => raw_text_end(rest, hashes, &mut line),
            };
            rest = &rest[taken.max(next.len_utf8())..];
        }
        lines.push(line);
    }
    lines
}

fn code(rest: &str, line: &mut Line) -> (Within, usize) {
    if let Some(comment) = rest.strip_prefix("//") {
        line.comment.push_str(comment);
        return (Within::Code, rest.len());
    }
    if rest.starts_with("/*") {
        return (Within::Comment { depth: 1 }, 2);
    }
    if rest.starts_with('"') {
        line.code.push('"');
        return (Within::Text, 1);
    }
    let word_before = line.code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    if !word_before && (rest.starts_with('r') || rest.starts_with("br")) {
        let behind = rest.trim_start_matches(['b', 'r']);
        let hashes = behind.len() - behind.trim_start_matches('#').len();
        if behind[hashes..].starts_with('"') {
            line.code.push('"');
            return (Within::RawText { hashes }, rest.len() - behind.len() + hashes + 1);
        }
    }
    if let Some(behind) = rest.strip_prefix('\'') {
        // A character, or else a lifetime, which has no quote behind its first letter.
        let mut chars = behind.char_indices();
        let first = chars.next().map(|(_, c)| c);
        let escaped = first == Some('\\');
        let end = if escaped { behind[2..].find('\'').map(|at| at + 2) } else { None };
        let end = end.or_else(|| chars.next().filter(|(_, c)| *c == '\'').map(|(at, _)| at));
        if let Some(end) = end {
            line.code.push_str("' '");
            return (Within::Code, end + 2);
        }
    }
    let next = rest.chars().next().unwrap_or(' ');
    line.code.push(next);
    (Within::Code, next.len_utf8())
}

fn comment(rest: &str, depth: u32, line: &mut Line) -> (Within, usize) {
    match (rest.starts_with("*/"), rest.starts_with("/*")) {
        (true, _) if depth == 1 => (Within::Code, 2),
        (true, _) => (Within::Comment { depth: depth - 1 }, 2),
        (_, true) => (Within::Comment { depth: depth + 1 }, 2),
        _ => {
            line.comment.extend(rest.chars().next());
            (Within::Comment { depth }, 1)
        }
    }
}

fn text_end(rest: &str, line: &mut Line) -> (Within, usize) {
    match rest.as_bytes()[0] {
        b'\\' => (Within::Text, rest.chars().take(2).map(char::len_utf8).sum()),
        b'"' => {
            line.code.push('"');
            (Within::Code, 1)
        }
        _ => (Within::Text, 1),
    }
}

fn raw_text_end(rest: &str, hashes: usize, line: &mut Line) -> (Within, usize) {
    let end = format!("\"{}", "#".repeat(hashes));
    if rest.starts_with(&end) {
        line.code.push('"');
        return (Within::Code, end.len());
    }
    (Within::RawText { hashes }, 1)
}

/// Follows the braces through a file: which items are open, and whether they are tests.
struct Places {
    open: Vec<Item>,
    /// Declared, its brace not yet seen.
    declared: Option<Item>,
    /// Open parentheses and brackets since then.
    depth: i32,
    test_file: bool,
    test_attribute: bool,
}

#[derive(Clone, Default)]
struct Item {
    name: String,
    /// Whether its name says where a line stands: a type, a function, a constant.
    named: bool,
    constant: bool,
    test: bool,
}

impl Places {
    fn new(test_file: bool) -> Self {
        Self { open: Vec::new(), declared: None, depth: 0, test_file, test_attribute: false }
    }

    fn mark(&mut self, lines: &mut [Line]) {
        for at in 0..lines.len() {
            let documents = lines[at].comment.starts_with('/') && lines[at].code.trim().is_empty();
            self.declare(&lines[at].code);
            let mut item = self.name();
            if documents && let Some(next) = documented(&lines[at + 1..]) {
                item = join(&item, &next);
            }
            lines[at].item = item;
            let before = self.is_test();
            self.follow(&lines[at].code.clone());
            lines[at].test = before || self.is_test();
        }
    }

    fn is_test(&self) -> bool {
        self.test_file
            || self.test_attribute
            || self.open.iter().chain(&self.declared).any(|item| item.test)
    }

    fn name(&self) -> String {
        let named = self.open.iter().chain(&self.declared).filter(|item| item.named);
        named.fold(String::new(), |name, item| join(&name, &item.name))
    }

    /// Notes an attribute or the head of an item.
    fn declare(&mut self, code: &str) {
        let code = code.trim();
        if code.starts_with("#[") {
            let test = ["cfg(test", "[test]", "::test]", "::test("];
            self.test_attribute |= test.iter().any(|sign| code.contains(sign));
        }
        if self.declared.is_some() {
            return;
        }
        if let Some((kind, name)) = declaration(code) {
            let test = std::mem::take(&mut self.test_attribute);
            let constant = matches!(kind, "const" | "static");
            self.declared = Some(Item { name, named: kind != "mod", constant, test });
            self.depth = 0;
        }
    }

    fn follow(&mut self, code: &str) {
        for sign in code.chars() {
            match sign {
                '(' | '[' => self.depth += 1,
                ')' | ']' => self.depth -= 1,
                '{' if self.declared.as_ref().is_some_and(|d| !d.constant && self.depth == 0) => {
                    self.open.extend(self.declared.take());
                }
                '{' => self.open.push(Item::default()),
                '}' => {
                    self.open.pop();
                }
                ';' if self.depth <= 0 => {
                    self.declared = None;
                    self.test_attribute = false;
                }
                _ => {}
            }
        }
    }
}

fn join(outer: &str, inner: &str) -> String {
    match (outer.is_empty(), inner.is_empty()) {
        (true, _) => inner.to_owned(),
        (_, true) => outer.to_owned(),
        _ => format!("{outer}::{inner}"),
    }
}

/// What a doc comment is about: the next thing that has a name.
fn documented(behind: &[Line]) -> Option<String> {
    let next = behind.iter().map(|line| line.code.trim());
    let next = next.into_iter().find(|code| !code.is_empty() && !code.starts_with("#["))?;
    if let Some((kind, name)) = declaration(next) {
        return (kind != "mod").then_some(name);
    }
    words(next).into_iter().find(|word| !matches!(*word, "pub" | "crate")).map(str::to_owned)
}

/// The kind and name of the item whose head this line is.
pub fn declaration(code: &str) -> Option<(&'static str, String)> {
    const KINDS: [&str; 9] =
        ["fn", "struct", "enum", "trait", "mod", "type", "const", "static", "union"];
    const BEFORE: [&str; 10] =
        ["pub", "crate", "super", "self", "in", "async", "unsafe", "const", "extern", "default"];
    let code = code.trim();
    if words(code).first() == Some(&"impl") {
        let head = code.split('{').next().unwrap_or(code);
        let head = head.split(" where ").next().unwrap_or(head);
        let subject = head.rsplit(" for ").next().unwrap_or(head);
        let subject = subject.trim_start_matches("impl");
        let subject = if subject.starts_with('<') { behind_generics(subject) } else { subject };
        let subject = subject.split('<').next().unwrap_or(subject);
        return words(subject).last().map(|name| ("impl", (*name).to_owned()));
    }
    if let Some(name) = code.strip_prefix("macro_rules!") {
        return words(name).first().map(|name| ("fn", (*name).to_owned()));
    }
    let words = words(code);
    for pair in words.windows(2) {
        let kind = KINDS.iter().find(|kind| **kind == pair[0]);
        match kind {
            Some(&"const") if BEFORE.contains(&pair[1]) || pair[1] == "fn" => {}
            Some(kind) => return Some((kind, pair[1].to_owned())),
            None if BEFORE.contains(&pair[0]) => {}
            None => return None,
        }
    }
    None
}

fn behind_generics(text: &str) -> &str {
    let mut depth = 0;
    for (at, sign) in text.char_indices() {
        match sign {
            '<' => depth += 1,
            '>' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[at + 1..];
        }
    }
    text
}

/// The words of a piece of code.
pub fn words(code: &str) -> Vec<&str> {
    let words = code.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    words.filter(|word| !word.is_empty()).collect()
}
