//! A checkpoint as one transaction, each table's rows in the order of their keys.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::Bound;

use martlet_engine::change::{Change, MessageKey};
use redb::{CursorError, Database, ReadableTable, WriteTransaction};

use crate::store::edits::{Edit, Edits};
use crate::store::ledger::{FlightRow, QueueEdits, SessionEdits, SessionNumber, Stage};
use crate::store::record::{Parcel, RecordError};
use crate::store::state::rows::{self, Flown, Table, meta};
use crate::store::state::{Checkpoint, Failed, VERSION};

/// Writes it, safely on disk when this returns. By how many bytes keys and rows have grown; `None`:
/// nobody knows, because it had been written before.
pub(super) fn write(database: &Database, checkpoint: &Checkpoint) -> Result<Option<i64>, Failed> {
    let mut transaction = database.begin_write()?;
    // Opening after a crash then takes milliseconds instead of reading the whole file.
    transaction.set_quick_repair(true);
    let is_first = checkpoint.position == 0;
    if !is_first && position(&transaction)? >= checkpoint.position {
        // A commit that failed at its last step may have been made all the same.
        transaction.abort()?;
        return Ok(None);
    }
    let grown = Cell::new(0);
    write_all(&Tables { transaction: &transaction, grown: &grown }, checkpoint)?;
    transaction.commit()?;
    Ok(Some(grown.get()))
}

fn position(transaction: &WriteTransaction) -> Result<u64, Failed> {
    let table = transaction.open_table(rows::META)?;
    let key = meta::POSITION.as_bytes();
    let Some(row) = table.get(key)? else { return Ok(0) };
    let position = rows::opened(key, row.value()).and_then(rows::read_number);
    position.map_err(|error| Failed::Damaged(error.to_string()))
}

fn write_all(tables: &Tables<'_>, checkpoint: &Checkpoint) -> Result<(), Failed> {
    let pending = &checkpoint.pending;
    for table in rows::OF_SESSIONS {
        let mut table = tables.open(table)?;
        pending.dropped.iter().try_for_each(|number| table.remove_session(*number))?;
    }
    let mut table = tables.open(rows::SESSIONS)?;
    for (number, edits) in &pending.sessions {
        if let Some(row) = &edits.row {
            let key = number.to_be_bytes();
            table.insert(&key, &rows::session(&key, row))?;
        }
    }
    drop(table);
    let mut moved = BTreeMap::new();
    write_sessions(tables, rows::QUEUED, &pending.sessions, |number, edits, table| {
        write_queue(number, edits, table, &mut moved)
    })?;
    write_sessions(tables, rows::IN_FLIGHT, &pending.sessions, |number, edits, table| {
        write_flights(number, edits, table, &mut moved)
    })?;
    write_sessions(tables, rows::SUBSCRIPTIONS, &pending.sessions, |number, edits, table| {
        write_edits(
            table,
            &edits.subscriptions,
            |filter| rows::of_session(number, filter.as_str().as_bytes()),
            |key, kept| rows::subscription(key, *kept),
        )
    })?;
    write_sessions(tables, rows::RECEIVED, &pending.sessions, |number, edits, table| {
        let row = |key: &[u8], (): &()| rows::sealed(key, |_| {});
        write_edits(table, &edits.received, |id| rows::of_packet(number, *id), row)
    })?;
    let mut table = tables.open(rows::MESSAGES)?;
    let key = |key: &MessageKey| key.0.to_be_bytes().to_vec();
    append_edits(&mut table, &pending.messages, key, rows::message)?;
    let mut table = tables.open(rows::RETAINED)?;
    write_edits(&mut table, &pending.retained, |topic| topic.as_bytes().to_vec(), rows::message)?;
    let mut table = tables.open(rows::WILLS)?;
    write_edits(&mut table, &pending.wills, |name| name.as_bytes().to_vec(), rows::message)?;
    let mut table = tables.open(rows::STREAMS)?;
    let row = |key: &[u8], end: &u64| rows::number(key, *end);
    write_edits(&mut table, &pending.streams, |name| name.as_bytes().to_vec(), row)?;
    write_records(tables, &checkpoint.records)?;
    write_meta(tables, checkpoint)
}

/// Those of the checkpoint before are in the log by now, and safe there.
fn write_records(tables: &Tables<'_>, records: &[Change]) -> Result<(), Failed> {
    let mut table = tables.open(rows::RECORDS)?;
    table.clear()?;
    for (number, record) in (0_u64..).zip(records) {
        let key = number.to_be_bytes();
        table.insert(&key, &rows::change(&key, record))?;
    }
    Ok(())
}

/// The tables of a transaction, and by how many bytes their keys and rows have grown.
struct Tables<'a> {
    transaction: &'a WriteTransaction,
    grown: &'a Cell<i64>,
}

/// Bytes of rows that go through one cursor, about: it copies them until it is closed, and what it
/// copies them to should not grow without end.
const RUN_BYTES: i64 = 64 << 10;

struct Rows<'a> {
    table: redb::Table<'a, &'static [u8], &'static [u8]>,
    grown: &'a Cell<i64>,
}

impl<'a> Tables<'a> {
    fn open(&self, table: Table) -> Result<Rows<'a>, Failed> {
        Ok(Rows { table: self.transaction.open_table(table)?, grown: self.grown })
    }
}

impl Rows<'_> {
    fn insert(&mut self, key: &[u8], row: &[u8]) -> Result<(), Failed> {
        let before = self.table.insert(key, row)?.map(|row| bytes(key, row.value()));
        self.grown.set(self.grown.get() + bytes(key, row) - before.unwrap_or(0));
        Ok(())
    }

    /// Inserts rows that come in order and mostly between the same two others: pages are filled
    /// one behind the other, which takes a third of the time.
    fn append(&mut self, rows: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> Result<(), Failed> {
        let mut rows = rows.peekable();
        while rows.peek().is_some() {
            let stands_alone = !self.append_run(&mut rows)?;
            if stands_alone && let Some((key, row)) = rows.next() {
                self.insert(&key, &row)?;
            }
        }
        Ok(())
    }

    /// Inserts what one cursor takes. `false`: the next one has a row already, or another stands
    /// between.
    fn append_run(
        &mut self,
        rows: &mut Peekable<impl Iterator<Item = (Vec<u8>, Vec<u8>)>>,
    ) -> Result<bool, Failed> {
        let Some((first, _)) = rows.peek() else { return Ok(true) };
        let mut cursor = self.table.lower_bound_mut(Bound::Included(&first[..]))?;
        let (mut run, mut fits) = (0, true);
        while let Some((key, row)) = rows.peek().filter(|_| fits && run < RUN_BYTES) {
            match cursor.insert_before(&key[..], &row[..]) {
                Err(CursorError::UnorderedKey) => fits = false,
                inserted => {
                    inserted?;
                    run += bytes(key, row);
                    rows.next();
                }
            }
        }
        cursor.close()?;
        self.grown.set(self.grown.get() + run);
        Ok(fits)
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), Failed> {
        let before = self.table.remove(key)?.map(|row| bytes(key, row.value()));
        self.grown.set(self.grown.get() - before.unwrap_or(0));
        Ok(())
    }

    fn clear(&mut self) -> Result<(), Failed> {
        self.table.retain(|key, row| {
            self.grown.set(self.grown.get() - bytes(key, row));
            false
        })?;
        Ok(())
    }

    fn remove_session(&mut self, number: SessionNumber) -> Result<(), Failed> {
        self.remove_range(&number.to_be_bytes(), &(number + 1).to_be_bytes())
    }

    fn remove_range(&mut self, start: &[u8], end: &[u8]) -> Result<(), Failed> {
        self.table.retain_in(start..end, |key, row| {
            self.grown.set(self.grown.get() - bytes(key, row));
            false
        })?;
        Ok(())
    }

    /// The row of a session's queue that this place stands in, if there is one.
    fn queued_at(&self, number: SessionNumber, place: u64) -> Result<Option<Queued>, Failed> {
        let (first, last) = (number.to_be_bytes(), rows::of_session(number, &place.to_be_bytes()));
        let mut range = self.table.range::<&[u8]>(&first[..]..=&last[..])?;
        let Some(row) = range.next_back() else { return Ok(None) };
        let (key, row) = row?;
        let key = key.value();
        let read = || {
            let first = rows::number_key(rows::split(key)?.1)?;
            let parcels = rows::read_queued(rows::opened(key, row.value())?)?;
            Ok(Queued { first, parcels })
        };
        read().map(Some).map_err(|error: RecordError| Failed::Damaged(error.to_string()))
    }
}

fn bytes(key: &[u8], row: &[u8]) -> i64 {
    (key.len() + row.len()) as i64
}

fn write_sessions(
    tables: &Tables<'_>,
    table: Table,
    sessions: &BTreeMap<SessionNumber, SessionEdits>,
    mut write: impl FnMut(SessionNumber, &SessionEdits, &mut Rows<'_>) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let mut table = tables.open(table)?;
    sessions.iter().try_for_each(|(number, edits)| write(*number, edits, &mut table))
}

fn write_edits<K: Ord, V>(
    table: &mut Rows<'_>,
    edits: &Edits<K, V>,
    key: impl Fn(&K) -> Vec<u8>,
    row: impl Fn(&[u8], &V) -> Vec<u8>,
) -> Result<(), Failed> {
    for (place, edit) in &edits.0 {
        let key = key(place);
        match edit {
            Edit::Insert(value) | Edit::Replace(value) => {
                table.insert(&key, &row(&key, value))?;
            }
            Edit::Delete => table.remove(&key)?,
        }
    }
    Ok(())
}

/// As `write_edits`, for rows that mostly come behind all others.
fn append_edits<K: Ord, V>(
    table: &mut Rows<'_>,
    edits: &Edits<K, V>,
    key: impl Fn(&K) -> Vec<u8>,
    row: impl Fn(&[u8], &V) -> Vec<u8>,
) -> Result<(), Failed> {
    let mut deleted = edits.0.iter().filter(|(_, edit)| matches!(edit, Edit::Delete));
    deleted.try_for_each(|(place, _)| table.remove(&key(place)))?;
    table.append(edits.0.iter().filter_map(|(place, edit)| {
        let (Edit::Insert(value) | Edit::Replace(value)) = edit else { return None };
        let key = key(place);
        let row = row(&key, value);
        Some((key, row))
    }))
}

/// A row of a queue.
struct Queued {
    /// The place of its first passage.
    first: u64,
    parcels: Vec<Parcel>,
}

impl Queued {
    /// What stands at this place and behind it.
    fn from(&self, place: u64) -> &[Parcel] {
        let before = place.checked_sub(self.first).and_then(|before| before.try_into().ok());
        before.and_then(|before: usize| self.parcels.get(before..)).unwrap_or_default()
    }
}

/// Passages that have left the queue and are in flight, by session and place.
type Moved = BTreeMap<(SessionNumber, u64), Parcel>;

fn write_queue(
    number: SessionNumber,
    edits: &SessionEdits,
    table: &mut Rows<'_>,
    moved: &mut Moved,
) -> Result<(), Failed> {
    let mut row = None;
    for place in edits.in_flight.0.values().filter_map(moved_from) {
        let has_it = |row: &Queued| !row.from(place).is_empty();
        row = row.filter(has_it).map_or_else(|| table.queued_at(number, place), |r| Ok(Some(r)))?;
        let parcel = row.as_ref().and_then(|row| row.from(place).first()).ok_or_else(lost)?;
        moved.insert((number, place), parcel.clone());
    }
    let QueueEdits { front, new_from, new } = &edits.queue;
    if let Some(front) = *front {
        remove_before(number, front, table)?;
    }
    table.append(rows::queued(number, *new_from, new))
}

/// The place in the queue that a delivery in flight has come from since the last checkpoint.
fn moved_from(edit: &Edit<FlightRow>) -> Option<u64> {
    match edit {
        Edit::Insert(FlightRow { stage: Stage::Moved(place), .. })
        | Edit::Replace(FlightRow { stage: Stage::Moved(place), .. }) => Some(*place),
        _ => None,
    }
}

/// Takes from the queue what stands before this place; of a row of several, the rest stays.
fn remove_before(number: SessionNumber, front: u64, table: &mut Rows<'_>) -> Result<(), Failed> {
    let row = front.checked_sub(1).map(|last| table.queued_at(number, last)).transpose()?.flatten();
    let end = rows::of_session(number, &front.to_be_bytes());
    table.remove_range(&number.to_be_bytes(), &end)?;
    let left = row.iter().flat_map(|row| rows::queued(number, front, row.from(front)));
    left.into_iter().try_for_each(|(key, row)| table.insert(&key, &row))
}

fn write_flights(
    number: SessionNumber,
    edits: &SessionEdits,
    table: &mut Rows<'_>,
    moved: &mut Moved,
) -> Result<(), Failed> {
    for (id, edit) in &edits.in_flight.0 {
        let key = rows::of_packet(number, *id);
        let (Edit::Insert(flight) | Edit::Replace(flight)) = edit else {
            table.remove(&key)?;
            continue;
        };
        let FlightRow { order, stage } = flight;
        let flown = match stage {
            Stage::Sent(parcel) => Flown::Sent(parcel.clone()),
            Stage::AwaitPubComp => Flown::AwaitPubComp,
            Stage::Moved(place) => Flown::Sent(moved.remove(&(number, *place)).ok_or_else(lost)?),
        };
        table.insert(&key, &rows::flight(&key, *order, &flown))?;
    }
    Ok(())
}

fn lost() -> Failed {
    Failed::Damaged("a queued message that was there is there no more".to_owned())
}

fn write_meta(tables: &Tables<'_>, checkpoint: &Checkpoint) -> Result<(), Failed> {
    let mut table = tables.open(rows::META)?;
    let rows = [
        (meta::VERSION, u64::from(VERSION)),
        (meta::POSITION, checkpoint.position),
        (meta::NEXT_KEY, checkpoint.next_key),
        (meta::NEXT_SEGMENT, checkpoint.next_segment),
    ];
    for (name, number) in rows {
        table.insert(name.as_bytes(), &rows::number(name.as_bytes(), number))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use redb::Builder;
    use redb::backends::InMemoryBackend;

    use super::*;

    /// Rows before, rows appended.
    type Case = (&'static [u8], &'static [u8]);

    #[test]
    fn what_is_appended_is_there_whatever_stood_between() {
        let cases: &[Case] = &[
            (&[], &[1, 2, 3]),
            (&[1, 2], &[3, 4, 5]),
            (&[4], &[1, 2, 3, 5, 6]),
            (&[2, 3, 7], &[1, 2, 3, 4, 8]),
            (&[1, 3, 5], &[0, 2, 4, 6]),
            (&[5], &[5]),
            (&[9], &[]),
        ];
        for (before, appended) in cases {
            let database = Builder::new().create_with_backend(InMemoryBackend::new()).unwrap();
            let (transaction, grown) = (database.begin_write().unwrap(), Cell::new(0));
            let tables = Tables { transaction: &transaction, grown: &grown };
            let mut table = tables.open(rows::MESSAGES).unwrap();
            before.iter().for_each(|key| table.insert(&[*key], b"before").unwrap());
            let new = appended.iter().map(|key| (vec![*key], b"new".to_vec()));
            table.append(new).unwrap();
            let mut expected: BTreeMap<_, _> = before.iter().map(|key| (*key, "before")).collect();
            expected.extend(appended.iter().map(|key| (*key, "new")));
            let found = table.table.iter().unwrap().map(|row| {
                let (key, row) = row.unwrap();
                (key.value()[0], String::from_utf8(row.value().to_vec()).unwrap())
            });
            let found: Vec<_> = found.collect();
            assert!(found.iter().map(|(k, r)| (*k, r.as_str())).eq(expected.clone()), "{before:?}");
            let bytes: usize = expected.values().map(|row| 1 + row.len()).sum();
            assert_eq!(grown.get(), bytes as i64, "{before:?} {appended:?}");
        }
    }
}
