//! Where a value came from, and what is wrong with it.

use std::fmt;

/// Where a value came from. The order is the order of reports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// Nobody set it.
    Default,
    /// A file as a whole.
    File { path: String },
    /// What a file means by not saying it.
    Unsaid { path: String, because: &'static str },
    /// A place in a file, both counted from 1, the column in characters.
    Place { path: String, line: usize, column: usize },
    /// A line of a file that the configuration names, counted from 1.
    Line { path: String, line: usize },
    /// An environment variable.
    Variable { name: String },
    /// An option of the command line.
    CommandLine { option: &'static str },
}

/// One thing that the operator has to change, with the place to change it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    pub(crate) origin: Origin,
    pub(crate) text: String,
}

impl Mistake {
    pub(crate) fn new(origin: Origin, text: impl Into<String>) -> Self {
        Self { origin, text: text.into() }
    }
}

impl Mistake {
    /// On an argument of the command line.
    pub(crate) fn on_command_line(option: &'static str, text: impl Into<String>) -> Self {
        Self::new(Origin::CommandLine { option }, text)
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.text)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path } => f.write_str(path),
            Self::Unsaid { path, because } => write!(f, "{path}: {because}"),
            Self::Place { path, line, column } => write!(f, "{path}:{line}:{column}"),
            Self::Line { path, line } => write!(f, "{path}:{line}"),
            Self::Variable { name } => write!(f, "environment variable {name}"),
            Self::CommandLine { option } => write!(f, "command line {option}"),
        }
    }
}
