//! A checkpoint as one transaction, each table's rows in the order of their keys.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Bound;

use martlet_engine::change::{Change, MessageKey};
use redb::{CursorError, Database, ReadableTable, WriteTransaction};

use crate::store::edits::{Edit, Edits};
use crate::store::ledger::{FlightRow, SessionEdits, SessionNumber, Stage};
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
        while let Some((first, _)) = rows.peek() {
            let mut cursor = self.table.lower_bound_mut(Bound::Included(&first[..]))?;
            while let Some((key, row)) = rows.peek() {
                match cursor.insert_before(&key[..], &row[..]) {
                    Err(CursorError::UnorderedKey) => break,
                    inserted => inserted?,
                }
                self.grown.set(self.grown.get() + bytes(key, row));
                rows.next();
            }
            cursor.close()?;
            if let Some((key, row)) = rows.next() {
                self.insert(&key, &row)?; // there is such a row, or another stands between
            }
        }
        Ok(())
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
        let range = number.to_be_bytes()..(number + 1).to_be_bytes();
        self.table.retain_in(&range.start[..]..&range.end[..], |key, row| {
            self.grown.set(self.grown.get() - bytes(key, row));
            false
        })?;
        Ok(())
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

/// The rows of passages that have left the queue, by session and place.
type Moved = BTreeMap<(SessionNumber, u64), Vec<u8>>;

fn write_queue(
    number: SessionNumber,
    edits: &SessionEdits,
    table: &mut Rows<'_>,
    moved: &mut Moved,
) -> Result<(), Failed> {
    for flight in edits.in_flight.0.values() {
        let (Edit::Insert(row) | Edit::Replace(row)) = flight else { continue };
        if let Stage::Moved(place) = row.stage {
            let key = rows::of_session(number, &place.to_be_bytes());
            let row = table.table.get(&key[..])?.map(|row| row.value().to_vec());
            moved.insert((number, place), row.ok_or_else(lost)?);
        }
    }
    let key = |place: &u64| rows::of_session(number, &place.to_be_bytes());
    append_edits(table, &edits.queue, key, rows::passage)
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
            Stage::Sent(passage) => Flown::Sent(passage.clone()),
            Stage::AwaitPubComp => Flown::AwaitPubComp,
            Stage::Moved(place) => {
                let row = moved.remove(&(number, *place)).ok_or_else(lost)?;
                let key = rows::of_session(number, &place.to_be_bytes());
                let passage = rows::opened(&key, &row).and_then(rows::read_passage);
                Flown::Sent(passage.map_err(|error| Failed::Damaged(error.to_string()))?)
            }
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
