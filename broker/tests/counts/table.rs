//! Counts as a text that a person reads and a test compares.

use std::fmt::Write as _;

/// What one input cost. `None`: not counted there.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub what: String,
    pub messages: u64,
    pub allocations: Option<u64>,
    pub bytes_allocated: Option<u64>,
    pub reads: Option<u64>,
    pub bytes_read: Option<u64>,
    pub writes: Option<u64>,
    pub bytes_written: Option<u64>,
    pub syncs: Option<u64>,
}

const HEAD: &str = "\
What fixed inputs cost, counted exactly: a test compares this. Payloads are 64 bytes, topics 3.
Allocations are those of the broker's thread. A read or a write of a socket is a system call, and so
is a write or a sync of the disk. A message is copied into what is allocated for it, and from there
into what is written: bytes allocated and bytes written are the bytes copied.

";

const WIDTH: usize = 46;

pub fn print(rows: &[Row]) -> String {
    let mut text = HEAD.to_owned();
    let columns =
        ["messages", "allocations", "bytes", "reads", "bytes", "writes", "bytes", "syncs"];
    let _ = write!(text, "{:<WIDTH$}", "");
    for column in columns {
        let _ = write!(text, " {column:>11}");
    }
    text.push('\n');
    for row in rows {
        let _ = write!(text, "{:<WIDTH$} {:>11}", row.what, row.messages);
        let counts = [
            row.allocations,
            row.bytes_allocated,
            row.reads,
            row.bytes_read,
            row.writes,
            row.bytes_written,
            row.syncs,
        ];
        for count in counts {
            let count = count.map_or("-".to_owned(), |count| count.to_string());
            let _ = write!(text, " {count:>11}");
        }
        text.push('\n');
    }
    text
}

/// The lines that are not the same, `-` before what was accepted and `+` before what is.
pub fn difference(accepted: &str, counted: &str) -> String {
    let (accepted, counted): (Vec<&str>, Vec<&str>) =
        (accepted.lines().collect(), counted.lines().collect());
    let gone = accepted.iter().filter(|line| !counted.contains(line)).map(|line| ('-', line));
    let come = counted.iter().filter(|line| !accepted.contains(line)).map(|line| ('+', line));
    gone.chain(come).fold(String::new(), |text, (sign, line)| format!("{text}{sign} {line}\n"))
}

#[test]
fn a_difference_names_both_lines() {
    assert_eq!(difference("a 1\nb 2\n", "a 1\nb 2\n"), "");
    assert_eq!(difference("a 1\nb 2\n", "a 1\nb 3\n"), "- b 2\n+ b 3\n");
    let row = Row { what: "it".to_owned(), messages: 1, ..Row::default() };
    let other = Row { allocations: Some(1), ..row.clone() };
    assert!(!difference(&print(&[row]), &print(&[other])).is_empty(), "a count more is seen");
}
