//! In place of Parquet, where this broker was built without it: what is there is kept and counted,
//! and who wants to read it is told.

use std::io;
use std::sync::Arc;

use crate::store::disk::File;
use crate::telemetry::Record;
use crate::telemetry::columns::Column;
use crate::telemetry::index::Block;

/// This broker reads and writes no Parquet.
pub(crate) const IS_BUILT: bool = false;

/// Why a file could not be read or written.
#[derive(Debug)]
#[expect(dead_code, reason = "nothing is found damaged that is not read")]
pub(super) enum Fault {
    Io(io::Error),
    Damaged { reason: String, bytes: u64 },
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

pub(super) mod read {
    use super::{Arc, Block, Fault, File, unsupported};

    #[derive(Debug)]
    pub(in crate::telemetry) enum Columnar {}

    impl Columnar {
        pub(in crate::telemetry) fn open(_: Arc<dyn File>) -> Result<Self, Fault> {
            Err(unsupported())
        }

        pub(in crate::telemetry) fn blocks(&self) -> Vec<(u64, u64)> {
            match *self {}
        }

        pub(in crate::telemetry) fn hull(&self, _: u64, _: u64) -> Result<Block, Fault> {
            match *self {}
        }

        pub(in crate::telemetry) fn read(
            &mut self,
            _: u64,
            _: u64,
            _: &mut Vec<u8>,
        ) -> Result<(), Fault> {
            match *self {}
        }
    }
}

pub(super) mod write {
    use super::{Arc, Column, Fault, File, Record, unsupported};

    pub(in crate::telemetry) enum Writer {}

    impl Writer {
        pub(in crate::telemetry) fn new(_: Arc<dyn File>, _: &[Column]) -> Result<Self, Fault> {
            Err(unsupported())
        }

        pub(in crate::telemetry) fn add(&mut self, _: &Record<'_>) -> Result<(), Fault> {
            match *self {}
        }

        pub(in crate::telemetry) fn finish(self) -> Result<u64, Fault> {
            match self {}
        }
    }
}

fn unsupported() -> Fault {
    let words = "this martlet was built without Parquet (the feature \"parquet\")";
    Fault::Io(io::Error::new(io::ErrorKind::Unsupported, words))
}
