//! Named cursors: where somebody is in a stream, kept for the next time. Several readers may share
//! one: each takes records on a lease, and what is not acknowledged in time another one gets.

use std::collections::BTreeMap;
use std::sync::Arc;

use martlet_engine::filter::Filter;
use parking_lot::Mutex;

use crate::telemetry::catalog::{Catalog, Cursor};
use crate::telemetry::log::{Log, is_name};
use crate::telemetry::{KeptRecord, LogError, Position};

/// Cursors that there may be; one more is refused.
pub const CURSORS_MAX: usize = 1_000;

/// Leases of one cursor that may be out at a time; one more is refused until one comes back.
pub const LEASES_MAX: usize = 1_000;

/// A named cursor at this moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CursorStats {
    /// Its name.
    pub name: String,
    /// The stream that it reads.
    pub stream: String,
    /// What of it; `None`: everything.
    pub filter: Option<String>,
    /// Everything below this offset was acknowledged.
    pub position: u64,
    /// Offsets from there to the newest record.
    pub lag: u64,
    /// Leases that are out.
    pub leases: u64,
}

/// Records on a lease.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Taken {
    /// The lease, to acknowledge them all.
    pub lease: u64,
    /// The records, in order.
    pub records: Vec<KeptRecord>,
    /// It stopped before the end of the stream: there may be more to take now.
    pub is_more: bool,
}

/// How much is taken, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Records at most.
    pub records_max: usize,
    /// Bytes of payloads after which no more records are taken.
    pub bytes_max: usize,
    /// Blocks of the log after which no more are read, so that one who finds little stops, too.
    pub blocks_max: u64,
    /// Until when, in Unix milliseconds, they must be acknowledged.
    pub until_ms: u64,
    /// The time.
    pub now_ms: u64,
}

/// What is kept of the log besides its records, and what is out on leases.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    pub(super) catalog: Catalog,
    groups: BTreeMap<String, Group>,
    next_lease: u64,
}

/// Who shares a cursor.
#[derive(Debug)]
struct Group {
    /// Everything below was handed out.
    next: u64,
    /// Held by who takes, so that the next one begins behind it; the shelf is free meanwhile.
    turn: Arc<Mutex<()>>,
    /// What was, and is not below the position yet, by the first offset.
    leases: BTreeMap<u64, Lease>,
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    id: u64,
    end: u64,
    until_ms: u64,
    is_acknowledged: bool,
}

/// A plan and a block of it: who reads no more than that has come on.
const PROGRESS_BLOCKS: u64 = 2;

/// Offsets of which somebody takes the records.
struct Span {
    lease: u64,
    stream: String,
    filter: Option<Filter>,
    first: u64,
    /// Of a lease whose time is over: all of it is handed out again.
    end: Option<u64>,
}

/// What was found in a span, and how far it was read.
struct Found {
    records: Vec<KeptRecord>,
    end: u64,
    is_more: bool,
}

impl Shelf {
    fn turn(&mut self, name: &str) -> Result<Arc<Mutex<()>>, LogError> {
        let next = self.cursor(name)?.position;
        let group = self.groups.entry(name.to_owned()).or_insert_with(|| Group {
            next,
            turn: Arc::default(),
            leases: BTreeMap::new(),
        });
        Ok(Arc::clone(&group.turn))
    }

    /// The group of who has this turn; `None`: the cursor was put elsewhere or deleted since.
    fn group(&mut self, name: &str, turn: &Arc<Mutex<()>>) -> Option<&mut Group> {
        self.groups.get_mut(name).filter(|group| Arc::ptr_eq(&group.turn, turn))
    }

    /// What is to be taken. A lease that is over is nobody else's from here on.
    fn begin(
        &mut self,
        name: &str,
        turn: &Arc<Mutex<()>>,
        terms: &Terms,
    ) -> Result<Option<Span>, LogError> {
        let Cursor { stream, filter, .. } = self.cursor(name)?.clone();
        let filter = filter.as_deref().map(Filter::parse).transpose();
        let filter = filter.expect("it was a filter when it was put");
        self.next_lease += 1;
        let lease = self.next_lease;
        let Some(group) = self.group(name, turn) else { return Ok(None) };
        let overdue = group.overdue(terms.now_ms);
        if overdue.is_none() && group.leases.len() >= LEASES_MAX {
            return Err(LogError::TooMany { what: "leases", most: LEASES_MAX });
        }
        if let Some((first, end)) = overdue {
            group.lend(first, Lease::new(lease, end, terms));
        }
        let (first, end) = (overdue.map_or(group.next, |(first, _)| first), overdue);
        let end = end.map(|(_, end)| end);
        Ok(Some(Span { lease, stream, filter, first, end }))
    }

    fn cursor(&self, name: &str) -> Result<&Cursor, LogError> {
        self.catalog.cursors.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.catalog.cursors.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            LogError::NoCursor { cursor: name.to_owned(), known }
        })
    }
}

impl Lease {
    fn new(id: u64, end: u64, terms: &Terms) -> Self {
        Self { id, end, until_ms: terms.until_ms, is_acknowledged: false }
    }
}

impl Group {
    fn lend(&mut self, first: u64, lease: Lease) {
        self.next = self.next.max(lease.end);
        self.leases.insert(first, lease);
    }

    /// Notes what was taken of a span.
    fn finish(&mut self, span: &Span, found: &Found, terms: &Terms) {
        if found.end > span.first {
            let is_acknowledged = found.records.is_empty(); // nothing there that it wants
            let lease = Lease::new(span.lease, found.end, terms);
            self.lend(span.first, Lease { is_acknowledged, ..lease });
        }
        self.settle();
    }

    /// A lease whose time is over: its records are to be handed out again.
    fn overdue(&self, now_ms: u64) -> Option<(u64, u64)> {
        let is_over = |lease: &Lease| !lease.is_acknowledged && lease.until_ms < now_ms;
        let over = self.leases.iter().find(|(_, lease)| is_over(lease));
        over.map(|(first, lease)| (*first, lease.end))
    }

    fn has(&self, lease: u64) -> bool {
        self.leases.values().any(|held| held.id == lease)
    }

    /// Where the position is once this lease is acknowledged.
    fn position_without(&self, lease: u64) -> u64 {
        let is_out = |held: &Lease| !held.is_acknowledged && held.id != lease;
        let out = self.leases.iter().find(|(_, held)| is_out(held));
        out.map_or(self.next, |(first, _)| *first)
    }

    fn acknowledge(&mut self, lease: u64) {
        if let Some(held) = self.leases.values_mut().find(|held| held.id == lease) {
            held.is_acknowledged = true;
        }
        self.settle();
    }

    /// Takes away what is acknowledged from the front.
    fn settle(&mut self) {
        while let Some(first) = self.leases.first_entry().filter(|e| e.get().is_acknowledged) {
            first.remove();
        }
    }
}

impl Log {
    /// All cursors, by name.
    pub fn cursors(&self) -> Vec<CursorStats> {
        let shelf = self.shelf();
        let cursors = shelf.catalog.cursors.iter().map(|(name, cursor)| {
            let newest = self.stats(&cursor.stream).map_or(0, |stats| stats.next_offset);
            let group = shelf.groups.get(name);
            let leases = group.map_or(0, |group| {
                group.leases.values().filter(|lease| !lease.is_acknowledged).count() as u64
            });
            CursorStats {
                name: name.clone(),
                stream: cursor.stream.clone(),
                filter: cursor.filter.clone(),
                position: cursor.position,
                lag: newest.saturating_sub(cursor.position),
                leases,
            }
        });
        cursors.collect()
    }

    /// Makes a cursor, or puts one that is there to another place; what is out on leases is void.
    ///
    /// # Errors
    /// When the name is none, there are too many, there is no such stream or offset, or it cannot
    /// be kept.
    pub fn put_cursor(
        &self,
        name: &str,
        stream: &str,
        filter: Option<&Filter>,
        from: Position,
    ) -> Result<(), LogError> {
        if !is_name(name) {
            return Err(LogError::BadName { name: name.to_owned() });
        }
        let mut reader = self.reader(stream, from, filter.cloned())?;
        if let Position::Time(_) = from {
            // The place of the first record of that time.
            let end = self.stats(stream)?.next_offset;
            let found = reader.next()?.map(|record| record.offset);
            reader = self.reader(stream, Position::Offset(found.unwrap_or(end)), None)?;
        }
        let mut shelf = self.shelf();
        let is_new = !shelf.catalog.cursors.contains_key(name);
        if is_new && shelf.catalog.cursors.len() >= CURSORS_MAX {
            return Err(LogError::TooMany { what: "cursors", most: CURSORS_MAX });
        }
        let cursor = Cursor {
            stream: stream.to_owned(),
            filter: filter.map(|filter| filter.as_str().to_owned()),
            position: reader.offset(),
        };
        let mut catalog = shelf.catalog.clone();
        catalog.cursors.insert(name.to_owned(), cursor);
        self.keep(&mut shelf, catalog)?;
        shelf.groups.remove(name);
        Ok(())
    }

    /// Removes a cursor.
    ///
    /// # Errors
    /// When there is none, or that cannot be kept.
    pub fn drop_cursor(&self, name: &str) -> Result<(), LogError> {
        let mut shelf = self.shelf();
        shelf.cursor(name)?;
        let mut catalog = shelf.catalog.clone();
        catalog.cursors.remove(name);
        self.keep(&mut shelf, catalog)?;
        shelf.groups.remove(name);
        Ok(())
    }

    /// Takes the next records of a cursor on a lease: those first whose lease is over. None: there
    /// is nothing new unless [`Taken::is_more`], and the lease need not be acknowledged.
    ///
    /// # Errors
    /// When there is no such cursor, too many leases are out, or the disk cannot be read.
    pub fn take(&self, name: &str, terms: Terms) -> Result<Taken, LogError> {
        loop {
            let turn = self.shelf().turn(name)?;
            let _mine = turn.lock();
            let Some(span) = self.shelf().begin(name, &turn, &terms)? else { continue };
            let found = self.search(&span, &terms)?;
            let mut shelf = self.shelf();
            if let Some(group) = shelf.group(name, &turn) {
                group.finish(&span, &found, &terms);
                let Found { records, is_more, .. } = found;
                return Ok(Taken { lease: span.lease, records, is_more });
            }
        }
    }

    fn search(&self, span: &Span, terms: &Terms) -> Result<Found, LogError> {
        let first = Position::Offset(span.first);
        let mut reader = self.reader(&span.stream, first, span.filter.clone())?;
        let (mut records, mut bytes, mut blocks) = (Vec::new(), 0, 0);
        let is_enough = |records: usize, bytes: usize, blocks: u64| {
            let are_many = records >= terms.records_max || bytes >= terms.bytes_max;
            span.end.is_none() && (are_many || blocks >= terms.blocks_max.max(PROGRESS_BLOCKS))
        };
        let mut is_more = true;
        while is_more && !is_enough(records.len(), bytes, blocks) {
            if span.end.is_some_and(|end| reader.offset() >= end) {
                break;
            }
            let mut left = 1;
            match reader.next_within(&mut left)? {
                Some(record) if span.end.is_some_and(|end| record.offset >= end) => break,
                Some(record) => {
                    bytes += record.payload.len();
                    records.push(record.keep());
                }
                None => is_more = left == 0,
            }
            blocks += 1 - left;
        }
        Ok(Found { records, end: span.end.unwrap_or(reader.offset()), is_more })
    }

    /// The records of this lease are done with; they do not come again. Where the cursor is now.
    ///
    /// # Errors
    /// When there is no such cursor or lease (its time was over, and another has it), or that
    /// cannot be kept: then they come again.
    pub fn acknowledge(&self, name: &str, lease: u64) -> Result<u64, LogError> {
        let mut shelf = self.shelf();
        shelf.cursor(name)?;
        let group = shelf.groups.get(name).filter(|group| group.has(lease));
        let no_lease = || LogError::NoLease { cursor: name.to_owned(), lease };
        let position = group.ok_or_else(no_lease)?.position_without(lease);
        let mut catalog = shelf.catalog.clone();
        if let Some(cursor) = catalog.cursors.get_mut(name) {
            cursor.position = position;
        }
        self.keep(&mut shelf, catalog)?;
        if let Some(group) = shelf.groups.get_mut(name) {
            group.acknowledge(lease);
        }
        Ok(position)
    }

    /// Forgets the records of a topic up to now, in all streams: readers pass over them. Their
    /// bytes go with their segments.
    ///
    /// # Errors
    /// When that cannot be kept.
    pub fn delete_topic(&self, topic: &str) -> Result<(), LogError> {
        let mut shelf = self.shelf();
        let mut catalog = shelf.catalog.clone();
        for name in self.streams() {
            let stats = self.stats(&name)?;
            let deleted = catalog.deleted.entry(name.to_string()).or_default();
            // What is deleted and gone need not be remembered.
            deleted.retain(|_, below| *below > stats.first_offset);
            deleted.insert(topic.into(), stats.next_offset);
        }
        self.keep(&mut shelf, catalog)?;
        self.tell_deleted(&shelf.catalog);
        Ok(())
    }

    /// Makes a changed catalog safe, and the one that counts.
    fn keep(&self, shelf: &mut Shelf, catalog: Catalog) -> Result<(), LogError> {
        self.save(&catalog)?;
        shelf.catalog = catalog;
        Ok(())
    }
}
