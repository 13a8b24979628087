//! Awareness: who is there, with a state each, or gone.

use ringleaf_types::{ClientId, Clock};

use super::{Refusal, ScanLimits, json};
use crate::lib0::Reader;

const ENTRY_BYTES_MIN: usize = 3;

/// One client's presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AwarenessEntry<'a> {
    /// Whose.
    pub client: ClientId,
    /// Rises with every change of the state.
    pub clock: Clock,
    /// The state, which is a JSON object; `None`: the client is gone.
    pub state: Option<&'a str>,
}

/// The entries of an awareness payload, all of which have been checked.
#[derive(Debug, Clone)]
pub struct AwarenessEntries<'a> {
    reader: Reader<'a>,
    left: u64,
}

/// Walks over an awareness payload. States are JSON objects or `null`, as every client expects when it parses them.
///
/// # Errors
///
/// Every way in which bytes are refused.
pub fn awareness<'a>(payload: &'a [u8], limits: &ScanLimits) -> Result<AwarenessEntries<'a>, Refusal> {
    let mut reader = Reader::new(payload);
    let left = reader.count(ENTRY_BYTES_MIN)?;
    if left > limits.awareness_clients_max as u64 {
        return Err(Refusal::TooManyClients { clients: left, max: limits.awareness_clients_max });
    }
    let entries = AwarenessEntries { reader: reader.clone(), left };
    for _ in 0..left {
        let entry = entry(&mut reader)?;
        let Some(state) = entry.state else { continue };
        if state.len() > limits.awareness_state_bytes_max {
            return Err(Refusal::StateTooLarge {
                client: entry.client,
                bytes: state.len(),
                max: limits.awareness_state_bytes_max,
            });
        }
        if !json::object(state) {
            return Err(Refusal::NoState { client: entry.client });
        }
    }
    match reader.remaining() {
        0 => Ok(entries),
        bytes => Err(Refusal::BytesLeftOver { bytes }),
    }
}

fn entry<'a>(reader: &mut Reader<'a>) -> Result<AwarenessEntry<'a>, Refusal> {
    let client = ClientId::new(reader.var_uint()?);
    let clock = u32::try_from(reader.var_uint()?).map_err(|_| Refusal::ClockOverflow { client })?;
    let state = reader.var_string()?;
    let state = (state.trim_matches([' ', '\t', '\r', '\n']) != "null").then_some(state);
    Ok(AwarenessEntry { client, clock: Clock::new(clock), state })
}

impl<'a> Iterator for AwarenessEntries<'a> {
    type Item = AwarenessEntry<'a>;

    fn next(&mut self) -> Option<AwarenessEntry<'a>> {
        self.left = self.left.checked_sub(1)?;
        entry(&mut self.reader).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}
