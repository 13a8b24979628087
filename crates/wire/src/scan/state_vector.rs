//! State vectors: what a replica says it has seen.

use ringleaf_types::{ClientId, Clock};

use super::{Refusal, structs};
use crate::lib0::Reader;

const ENTRY_BYTES_MIN: usize = 2;

/// The entries of a state vector, all of which have been checked.
#[derive(Debug, Clone)]
pub struct StateVectorEntries<'a> {
    reader: Reader<'a>,
    left: u64,
}

/// Walks over a state vector. A client that it names twice counts with what comes later.
///
/// # Errors
///
/// Every way in which bytes are refused.
pub fn state_vector(bytes: &[u8]) -> Result<StateVectorEntries<'_>, Refusal> {
    let mut reader = Reader::new(bytes);
    let left = reader.count(ENTRY_BYTES_MIN)?;
    let entries = StateVectorEntries { reader: reader.clone(), left };
    for _ in 0..left {
        entry(&mut reader)?;
    }
    match reader.remaining() {
        0 => Ok(entries),
        bytes => Err(Refusal::BytesLeftOver { bytes }),
    }
}

fn entry(reader: &mut Reader<'_>) -> Result<(ClientId, Clock), Refusal> {
    let client = ClientId::new(reader.var_uint()?);
    Ok((client, Clock::new(structs::clock(reader, client)?)))
}

impl Iterator for StateVectorEntries<'_> {
    type Item = (ClientId, Clock);

    fn next(&mut self) -> Option<(ClientId, Clock)> {
        self.left = self.left.checked_sub(1)?;
        entry(&mut self.reader).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}
