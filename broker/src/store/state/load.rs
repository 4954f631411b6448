//! All rows, as the engine's snapshot and as the ledger's places. A row that is not what it was is
//! counted and left out.

use std::collections::BTreeMap;
use std::sync::Arc;

use martlet_codec::ids::PacketId;
use martlet_engine::change::{Change, MessageKey, Passage};
use martlet_engine::filter::Filter;
use martlet_engine::message::Message;
use martlet_engine::snapshot::{KeptDelivery, KeptMessage, KeptSession, Snapshot};
use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTableMetadata, TableError, TableHandle,
};

use crate::store::ledger::{Session, SessionNumber};
use crate::store::progress::Progress;
use crate::store::record::{Parcel, Reader, RecordError};
use crate::store::state::Failed;
use crate::store::state::rows::{self, Flown, Table, meta};

/// What the state holds.
#[derive(Debug, Default)]
pub(in crate::store) struct Loaded {
    pub(in crate::store) position: u64,
    pub(in crate::store) next_segment: u64,
    pub(in crate::store) snapshot: Snapshot,
    /// Recorded messages that the log may not have yet.
    pub(in crate::store) records: Vec<Change>,
    /// Where the sessions' rows stand.
    pub(in crate::store) places: BTreeMap<Arc<str>, Session>,
    /// The messages that have rows of their own.
    pub(in crate::store) shared: Vec<MessageKey>,
    /// What could not be read, in words.
    pub(in crate::store) missing: Vec<String>,
}

/// A session while its rows come in.
struct Gathering {
    client_id: Arc<str>,
    kept: KeptSession,
    in_flight: Vec<(u64, PacketId, KeptDelivery)>,
    place: Session,
}

type Gathered = BTreeMap<SessionNumber, Gathering>;

/// Messages as they come in, from rows of their own and out of those of passages.
#[derive(Default)]
struct Messages(Vec<(MessageKey, KeptMessage)>);

impl Messages {
    fn push(&mut self, key: MessageKey, message: Message) {
        self.0.push((key, KeptMessage { message, references: 0 }));
    }

    fn keys(&self) -> impl Iterator<Item = MessageKey> {
        self.0.iter().map(|(key, _)| *key)
    }

    /// The passage, without what is inside.
    fn unpack(&mut self, parcel: Parcel) -> Passage {
        let Parcel { passage, inside } = parcel;
        inside.into_iter().for_each(|message| self.push(passage.key, message));
        passage
    }
}

/// Reads everything.
pub(super) fn load(database: &Database, progress: &mut Progress) -> Result<Loaded, Failed> {
    let transaction = database.begin_read()?;
    let reading = &mut Reading { transaction, progress, version: 0 };
    reading.expect()?;
    let mut loaded = Loaded::default();
    let missing = &mut loaded.missing;
    let mut numbers = BTreeMap::new();
    reading.each(rows::META, missing, |key, record| {
        numbers.insert(rows::text_key(key)?.to_owned(), rows::read_number(record)?);
        Ok(())
    })?;
    let number = |name| numbers.get(name).copied().unwrap_or(0);
    loaded.position = number(meta::POSITION);
    loaded.next_segment = number(meta::NEXT_SEGMENT);
    if number(meta::VERSION) == 0 {
        missing.push("what every state begins with is not there".to_owned());
    }
    reading.version = u32::try_from(number(meta::VERSION)).unwrap_or(u32::MAX);
    let snapshot = &mut loaded.snapshot;
    snapshot.next_key = MessageKey(number(meta::NEXT_KEY));
    // Trees are built at once from what has gathered: faster, and smaller.
    let mut messages = Messages::default();
    reading.each(rows::MESSAGES, missing, |key, record| {
        messages.push(MessageKey(rows::number_key(key)?), rows::read_message(record)?);
        Ok(())
    })?;
    loaded.shared = messages.keys().collect();
    let gathered = gather(reading, &mut messages, missing)?;
    snapshot.messages = messages.0.into_iter().collect();
    let mut retained = Vec::new();
    reading.each(rows::RETAINED, missing, |key, record| {
        retained.push((rows::text_key(key)?.into(), rows::read_message(record)?));
        Ok(())
    })?;
    snapshot.retained = retained.into_iter().collect();
    reading.each(rows::WILLS, missing, |key, record| {
        snapshot.wills.insert(rows::text_key(key)?.into(), rows::read_message(record)?);
        Ok(())
    })?;
    reading.each(rows::STREAMS, missing, |key, record| {
        snapshot.streams.insert(rows::text_key(key)?.into(), rows::read_number(record)?);
        Ok(())
    })?;
    let records = &mut loaded.records;
    reading.each(rows::RECORDS, missing, |_, record| {
        records.push(rows::read_change(record)?);
        Ok(())
    })?;
    for (_, gathering) in gathered {
        let Gathering { client_id, kept, in_flight, place } = gathering;
        let (kept, place) = arrange(kept, in_flight, place);
        for passage in kept.passages() {
            if let Some(message) = snapshot.messages.get_mut(&passage.key) {
                message.references += 1;
            }
        }
        snapshot.sessions.insert(client_id.clone(), kept);
        loaded.places.insert(client_id, place);
    }
    Ok(loaded)
}

fn gather(
    reading: &mut Reading<'_>,
    messages: &mut Messages,
    missing: &mut Vec<String>,
) -> Result<Gathered, Failed> {
    let mut gathered = Gathered::new();
    reading.each(rows::SESSIONS, missing, |key, record| {
        let number = rows::number_key(key)?;
        let row = rows::read_session(record)?;
        let gathering = Gathering {
            client_id: row.client_id,
            kept: KeptSession { detached: row.detached, ..KeptSession::default() },
            in_flight: Vec::new(),
            place: Session::at(number),
        };
        gathered.insert(number, gathering);
        Ok(())
    })?;
    let mut of_sessions = |table, read: ReadOfSession| {
        reading.each(table, missing, |key, record| {
            let (number, rest) = rows::split(key)?;
            let session = gathered.get_mut(&number).ok_or(RecordError::Value("session"))?;
            read(session, messages, rest, record)
        })
    };
    of_sessions(rows::SUBSCRIPTIONS, |session, _, rest, record| {
        let filter = Filter::parse(rows::text_key(rest)?);
        let filter = filter.map_err(|_| RecordError::Value("filter"))?;
        session.kept.subscriptions.insert(filter, rows::read_subscription(record)?);
        Ok(())
    })?;
    of_sessions(rows::QUEUED, |session, messages, rest, record| {
        let (place, parcels) = (rows::number_key(rest)?, rows::read_queued(record)?);
        if session.kept.queue.is_empty() {
            session.place.queue_start = place;
        }
        for passage in parcels.into_iter().map(|parcel| messages.unpack(parcel)) {
            session.place.queue.push_back(passage.key);
            session.kept.queue.push_back(passage);
        }
        Ok(())
    })?;
    of_sessions(rows::IN_FLIGHT, |session, messages, rest, record| {
        let (order, flown) = rows::read_flight(record)?;
        let delivery = match flown {
            Flown::Sent(parcel) => KeptDelivery::Sent(messages.unpack(parcel)),
            Flown::AwaitPubComp => KeptDelivery::AwaitPubComp,
        };
        session.in_flight.push((order, rows::packet_key(rest)?, delivery));
        Ok(())
    })?;
    of_sessions(rows::RECEIVED, |session, _, rest, record| {
        record.end()?;
        session.kept.received.insert(rows::packet_key(rest)?);
        Ok(())
    })?;
    Ok(gathered)
}

/// Puts what is in flight in send order, and notes where all rows stand.
fn arrange(
    mut kept: KeptSession,
    mut in_flight: Vec<(u64, PacketId, KeptDelivery)>,
    mut place: Session,
) -> (KeptSession, Session) {
    // The places stay as long as the store is open.
    place.queue.shrink_to_fit();
    in_flight.sort_unstable_by_key(|(order, ..)| *order);
    for (order, id, delivery) in in_flight {
        let key = match &delivery {
            KeptDelivery::Sent(passage) => Some(passage.key),
            KeptDelivery::AwaitPubComp => None,
        };
        place.found_in_flight(id, order, key);
        kept.in_flight.push((id, delivery));
    }
    place.subscriptions.clone_from(&kept.subscriptions);
    place.received.clone_from(&kept.received);
    (kept, place)
}

/// Reads a row of a session, with what follows the session's number in its key.
type ReadOfSession = fn(&mut Gathering, &mut Messages, &[u8], Reader<'_>) -> Outcome;

type Outcome = Result<(), RecordError>;

/// The reading of all tables.
struct Reading<'a> {
    transaction: ReadTransaction,
    progress: &'a mut Progress,
    /// Of what is read; 0: not known yet.
    version: u32,
}

type Rows = redb::ReadOnlyTable<&'static [u8], &'static [u8]>;

impl Reading<'_> {
    /// Tells the progress how many rows there are.
    fn expect(&mut self) -> Result<(), Failed> {
        for table in rows::ALL {
            if let Some(opened) = self.open(table)? {
                self.progress.expect(opened.len()?);
            }
        }
        Ok(())
    }

    /// Reads all rows of a table.
    fn each(
        &mut self,
        table: Table,
        missing: &mut Vec<String>,
        mut read: impl FnMut(&[u8], Reader<'_>) -> Outcome,
    ) -> Result<(), Failed> {
        let Some(opened) = self.open(table)? else {
            // Each checkpoint opens every table that its version knows, and so makes it.
            if (rows::since(table)..).contains(&self.version) {
                missing.push(format!("the table {} is not there", table.name()));
            }
            return Ok(());
        };
        let mut unreadable = 0;
        for row in opened.range::<&[u8]>(..)? {
            let (key, row) = row?;
            let key = key.value();
            if rows::opened(key, row.value()).and_then(|record| read(key, record)).is_err() {
                unreadable += 1;
            }
            self.progress.step();
        }
        if unreadable > 0 {
            missing.push(format!("{unreadable} rows of the table {} are damaged", table.name()));
        }
        Ok(())
    }

    /// `None`: nothing was ever written to it.
    fn open(&self, table: Table) -> Result<Option<Rows>, Failed> {
        match self.transaction.open_table(table) {
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            opened => Ok(Some(opened?)),
        }
    }
}
