//! Deleted ranges, at the end of every update.

use std::collections::BTreeSet;

use ringleaf_types::{ClientId, Clock};

use super::{CLOCK_MAX, Met, Refusal, Visit, structs};
use crate::lib0::Reader;

/// Bytes of a client with one range.
const CLIENT_BYTES_MIN: usize = 2;
const RANGE_BYTES_MIN: usize = 2;

pub(super) fn read<'a>(reader: &mut Reader<'a>, visit: &mut impl Visit<'a>) -> Result<(), Refusal> {
    let clients = reader.count(CLIENT_BYTES_MIN)?;
    let begin = reader.clone();
    let mut met = Met::default();
    for done in 0..clients {
        let client = ClientId::new(reader.var_uint()?);
        met.meet(client, || clients_of(begin.clone(), done))?;
        for _ in 0..reader.count(RANGE_BYTES_MIN)? {
            let (clock, length) = range(reader, client)?;
            visit.deleted(client, clock, length);
        }
    }
    Ok(())
}

fn range(reader: &mut Reader<'_>, client: ClientId) -> Result<(Clock, u32), Refusal> {
    let clock = structs::clock(reader, client)?;
    let length = structs::clock(reader, client)?;
    if length > CLOCK_MAX - clock {
        return Err(Refusal::ClockOverflow { client });
    }
    Ok((Clock::new(clock), length))
}

/// The first so many clients, all of which have been walked over.
fn clients_of(mut reader: Reader<'_>, count: u64) -> BTreeSet<ClientId> {
    let mut clients = BTreeSet::new();
    for _ in 0..count {
        let Ok(client) = reader.var_uint() else { break };
        clients.insert(ClientId::new(client));
        let Ok(ranges) = reader.count(RANGE_BYTES_MIN) else { break };
        for _ in 0..ranges.saturating_mul(2) {
            if reader.var_uint().is_err() {
                break;
            }
        }
    }
    clients
}
