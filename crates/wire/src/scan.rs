//! A bounded walk over untrusted bytes, before anything that trusts them sees them.
//!
//! ```text
//! update ──▶ client × (count, id, first clock, structs …) ──▶ Visit::client, Visit::item
//!        ──▶ delete set ────────────────────────────────────▶ Visit::deleted
//! ```
//!
//! The walk does not recurse and hardly allocates (only when clients stand in an unusual order does it remember which
//! ones it has met, and values that are nested deeply cost a few bytes a level). Every count is compared with the bytes
//! that are left, every clock with 2^31 − 1, every string is UTF-8, and no byte is left over.
//!
//! It refuses what is no update. What can be read and would still harm the editors that got it is marked
//! ([`Struct::harm`]): whoever takes structs in leaves those out.
//!
//! What it cannot see, because one update does not show it, the document sees: whether what an update refers to is there,
//! how deeply shared types are nested over many updates, and whether it contradicts what is known.

mod awareness;
mod delete_set;
mod json;
mod refusal;
mod state_vector;
pub(crate) mod structs;

use ringleaf_types::{ClientId, Clock};

use crate::lib0::Reader;

pub use awareness::{AwarenessEntries, AwarenessEntry, awareness};
pub use refusal::{Harm, Refusal, TYPE_NESTING_MAX, VALUE_NESTING_MAX};
pub use state_vector::{StateVectorEntries, state_vector};
pub use structs::{Content, Id, Kind, Struct, Structs};

/// The largest clock, and the largest sum of a clock and a length: 2^31 − 1.
pub const CLOCK_MAX: u32 = i32::MAX as u32;

/// What a scan of awareness allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanLimits {
    /// Awareness states in one message.
    pub awareness_clients_max: usize,
    /// Bytes of one awareness state.
    pub awareness_state_bytes_max: usize,
}

impl Default for ScanLimits {
    fn default() -> Self {
        Self { awareness_clients_max: 20_000, awareness_state_bytes_max: 1 << 20 }
    }
}

/// Is told what a scan finds, in the order of the bytes.
pub trait Visit<'a> {
    /// The structs of one client begin. They can be read again from here.
    fn client(&mut self, structs: &Structs<'a>) {
        let _ = structs;
    }

    /// One struct.
    fn item(&mut self, item: &Struct<'a>);

    /// One deleted range. Ranges may be empty, and come in any order.
    fn deleted(&mut self, client: ClientId, clock: Clock, length: u32);
}

/// Nothing to tell.
impl Visit<'_> for () {
    fn item(&mut self, _: &Struct<'_>) {}

    fn deleted(&mut self, _: ClientId, _: Clock, _: u32) {}
}

/// Walks over an update and tells `visit` what is in it.
///
/// # Errors
///
/// Every way in which bytes are refused. `visit` has by then been told what stood before.
pub fn update<'a>(bytes: &'a [u8], visit: &mut impl Visit<'a>) -> Result<(), Refusal> {
    let mut reader = Reader::new(bytes);
    let clients = reader.count(structs::CLIENT_BYTES_MIN)?;
    let mut met = Met::default();
    for _ in 0..clients {
        let mut structs = Structs::read(&mut reader)?;
        met.meet(structs.client(), || clients_before(bytes, reader.position()))?;
        visit.client(&structs);
        while let Some(item) = structs.next_struct()? {
            visit.item(&item);
        }
        reader = Reader::at(bytes, structs.position());
    }
    delete_set::read(&mut reader, visit)?;
    match reader.remaining() {
        0 => Ok(()),
        bytes => Err(Refusal::BytesLeftOver { bytes }),
    }
}

/// Finds clients that stand in a message twice: the CRDT libraries disagree about what that means.
///
/// Every encoder of note writes higher clients first, so that one comparison is enough. Only for others is what was met
/// remembered.
#[derive(Default)]
struct Met {
    lowest: Option<ClientId>,
    all: Option<std::collections::BTreeSet<ClientId>>,
}

impl Met {
    fn meet(
        &mut self,
        client: ClientId,
        before: impl FnOnce() -> std::collections::BTreeSet<ClientId>,
    ) -> Result<(), Refusal> {
        if let Some(all) = &mut self.all {
            return if all.insert(client) { Ok(()) } else { Err(Refusal::ClientTwice { client }) };
        }
        match self.lowest {
            Some(lowest) if client >= lowest => {
                let mut all = before();
                let new = all.insert(client);
                self.all = Some(all);
                if new { Ok(()) } else { Err(Refusal::ClientTwice { client }) }
            }
            _ => {
                self.lowest = Some(client);
                Ok(())
            }
        }
    }
}

/// The clients whose structs begin before a position, all of which have been walked over.
fn clients_before(bytes: &[u8], position: usize) -> std::collections::BTreeSet<ClientId> {
    let mut clients = std::collections::BTreeSet::new();
    let mut reader = Reader::new(bytes);
    if reader.var_uint().is_err() {
        return clients;
    }
    while let Ok(mut structs) = Structs::read(&mut reader) {
        if structs.position() >= position {
            break;
        }
        clients.insert(structs.client());
        while let Ok(Some(_)) = structs.next_struct() {}
        reader = Reader::at(bytes, structs.position());
    }
    clients
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(bytes: &[u8]) -> Result<(), Refusal> {
        update(bytes, &mut ())
    }

    #[test]
    fn an_update_of_a_stock_client_passes() {
        assert_eq!(scan(&[0, 0]), Ok(()));
        assert_eq!(
            scan(&[1, 1, 1, 0, 4, 1, 1, b't', 5, b'h', b'e', b'l', b'l', b'o', 1, 1, 1, 0, 2]),
            Ok(())
        );
    }
}
