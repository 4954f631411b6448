//! Named cursors, their leases, and topics that are forgotten.

use martlet::store::Store;
use martlet::telemetry::cursors::{CURSORS_MAX, LEASES_MAX, Taken, Terms};
use martlet::telemetry::log::Log;
use martlet::telemetry::{LogError, Position};

use crate::recording::{filled, log, offsets, open, read_stream, record};
use crate::simulated::{Faults, Simulated, Stop};
use crate::workload::filter;

fn take(log: &Log, records_max: usize, now_ms: u64) -> Taken {
    let terms =
        Terms { records_max, bytes_max: 1 << 20, blocks_max: 100, until_ms: now_ms + 100, now_ms };
    log.take("c", terms).expect("taken")
}

#[test]
fn readers_share_a_cursor_and_each_record_goes_to_one_of_them() {
    let (_store, log) = filled(&Simulated::new(1), 20_000);
    log.put_cursor("c", "all", Some(&filter("t/3")), Position::Offset(500)).expect("put");
    let (first, second, third) = (take(&log, 2, 0), take(&log, 2, 0), take(&log, 1, 0));
    assert_eq!(offsets(&first.records), [503, 513]);
    assert_eq!(offsets(&second.records), [523, 533]);
    assert_eq!(offsets(&third.records), [543]);
    let cursor = || log.cursors().remove(0);
    assert_eq!((cursor().position, cursor().lag, cursor().leases), (500, 500, 3));
    assert_eq!(log.acknowledge("c", second.lease).expect("its own"), 500, "the first is out");
    assert_eq!(log.acknowledge("c", first.lease).expect("its own"), 534);
    let again = log.acknowledge("c", first.lease).expect_err("acknowledged");
    assert!(matches!(again, LogError::NoLease { .. }), "{again}");
    // The third one's time is over.
    let late = take(&log, 100, 101);
    assert_eq!(offsets(&late.records), [543]);
    assert!(log.acknowledge("c", third.lease).is_err(), "another has it");
    let rest = take(&log, 1000, 101);
    assert_eq!(rest.records.len(), 45);
    assert_eq!(log.acknowledge("c", rest.lease).expect("its own"), 534);
    assert_eq!(log.acknowledge("c", late.lease).expect("its own"), 1_000);
    assert_eq!(take(&log, 10, 101).records, []);
    assert_eq!((cursor().position, cursor().lag, cursor().leases), (1_000, 0, 0));
}

/// Who looks for little in much stops, says so, and goes on from there.
#[test]
fn a_search_for_a_cursor_is_bounded_and_goes_on() {
    let (_store, log) = filled(&Simulated::new(1), 20_000);
    log.put_cursor("c", "all", Some(&filter("t/3")), Position::Earliest).expect("put");
    let terms =
        Terms { records_max: 1_000, bytes_max: 1 << 20, blocks_max: 1, until_ms: 100, now_ms: 0 };
    let (mut found, mut takes) = (Vec::new(), 0);
    loop {
        let taken = log.take("c", terms).expect("taken");
        found.extend(offsets(&taken.records));
        takes += 1;
        if !taken.is_more {
            break;
        }
    }
    assert_eq!(found, (3..1_000).step_by(10).collect::<Vec<u64>>());
    assert!(takes > 2, "{takes}");
    // A lease that is over is handed out whole, and no more than that.
    let first = offsets(&log.take("c", Terms { now_ms: 101, ..terms }).expect("taken").records);
    assert!(found.starts_with(&first) && first.len() < found.len(), "{first:?}");
}

/// None comes to two of them, and none is left out, whoever comes in between.
#[test]
fn readers_that_take_at_the_same_time_share_all_records() {
    let (_store, log) = filled(&Simulated::new(1), 20_000);
    log.put_cursor("c", "all", None, Position::Earliest).expect("put");
    let reader = || {
        let mut found = Vec::new();
        loop {
            let taken = take(&log, 7, 0);
            if taken.records.is_empty() {
                return found;
            }
            assert_eq!(log.cursors().len(), 1);
            log.acknowledge("c", taken.lease).expect("its own");
            found.extend(offsets(&taken.records));
        }
    };
    let mut all: Vec<u64> = std::thread::scope(|threads| {
        let readers = [(); 4].map(|()| threads.spawn(reader));
        readers.into_iter().flat_map(|reader| reader.join().expect("it took")).collect()
    });
    all.sort_unstable();
    assert_eq!(all, (0..1_000).collect::<Vec<_>>());
    assert_eq!(log.cursors()[0].position, 1_000);
}

#[test]
fn a_cursor_is_where_it_was_after_a_crash_and_what_was_not_acknowledged_comes_again() {
    let disk = Simulated::new(1);
    let (store, log) = filled(&disk, 20_000);
    log.put_cursor("c", "all", None, Position::Time(1_000 + 5_000)).expect("put");
    let first = take(&log, 10, 0);
    log.acknowledge("c", first.lease).expect("its own");
    take(&log, 10, 0);
    drop((store, log));
    disk.restart(Stop::PowerCut);
    let log = self::log(&disk, 20_000);
    let mut store = open(&disk, &log);
    store.load().expect("loaded");
    assert_eq!(log.cursors()[0].position, 510);
    assert_eq!(offsets(&take(&log, 2, 0).records), [510, 511]);
    log.drop_cursor("c").expect("dropped");
    let told = log.drop_cursor("c").expect_err("gone").to_string();
    assert_eq!(told, "there is no cursor \"c\"; there are: none");
}

#[test]
fn an_acknowledgement_that_could_not_be_kept_did_not_happen() {
    let disk = Simulated::new(1);
    let (_store, log) = filled(&disk, 20_000);
    log.put_cursor("c", "all", None, Position::Earliest).expect("put");
    let (first, second) = (take(&log, 10, 0), take(&log, 10, 0));
    disk.set_faults(Faults { full: 100, ..Faults::default() });
    for lease in [second.lease, first.lease] {
        let told = log.acknowledge("c", lease).expect_err("the disk is full");
        assert!(matches!(told, LogError::Io { .. }), "{told}");
    }
    disk.set_faults(Faults::default());
    let cursor = || log.cursors().remove(0);
    assert_eq!((cursor().position, cursor().leases), (0, 2));
    assert_eq!(log.acknowledge("c", first.lease).expect("its own, as before"), 10);
    assert_eq!(take(&log, 10, 101).records, second.records, "its time is over");
}

#[test]
fn wrong_names_and_too_many_are_refused() {
    let (_store, log) = filled(&Simulated::new(1), 20_000);
    let put = |name: &str, from| log.put_cursor(name, "all", None, from);
    assert!(matches!(put("a b", Position::Earliest), Err(LogError::BadName { .. })));
    assert!(matches!(put("c", Position::Offset(1_001)), Err(LogError::Beyond { .. })));
    put("c", Position::Earliest).expect("put");
    (0..LEASES_MAX).for_each(|_| drop(take(&log, 1, 0)));
    let terms = Terms { records_max: 1, bytes_max: 1, blocks_max: 1, until_ms: 9, now_ms: 0 };
    assert!(matches!(log.take("c", terms), Err(LogError::TooMany { what: "leases", .. })));
    (1..CURSORS_MAX).for_each(|at| put(&format!("c{at}"), Position::Latest).expect("put"));
    assert!(matches!(put("more", Position::Latest), Err(LogError::TooMany { .. })));
    put("c", Position::Latest).expect("one that is there may go elsewhere");
}

#[test]
fn a_topic_that_is_deleted_is_not_read_again_and_may_come_anew() {
    let disk = Simulated::new(1);
    let (mut store, log) = filled(&disk, 20_000);
    let mut reading = log.reader("all", Position::Earliest, None).expect("there");
    log.delete_topic("t/3").expect("deleted");
    store.commit(&[record(1_000, "t/3", b"anew")]).expect("committed");
    let check = |log: &Log| {
        let read = |from, filter| offsets(&read_stream(log, "all", from, filter));
        assert_eq!(read(Position::Earliest, Some("t/3")), [1_000]);
        assert_eq!(read(Position::Earliest, None).len(), 901);
        assert_eq!(offsets(&log.last("all", Some(filter("t/3")), 5).expect("read")), [1_000]);
    };
    check(&log);
    let mut seen = 0;
    while reading.next().expect("read").is_some() {
        seen += 1;
    }
    assert_eq!(seen, 901, "also by who was reading");
    log.delete_topic("t/4").expect("deleted");
    let topics = log.topics("all", "t/4", "", 10).expect("read").topics;
    assert_eq!(topics, []);
    drop((store, log));
    disk.restart(Stop::PowerCut);
    let log = self::log(&disk, 20_000);
    open(&disk, &log).load().expect("loaded");
    let read = |filter| offsets(&read_stream(&log, "all", Position::Earliest, Some(filter)));
    assert_eq!((read("t/3"), read("t/4"), read("t/5").len()), (vec![1_000], vec![], 100));
}
