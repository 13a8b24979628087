//! The Rust half of a session: what Node asks for, by number (`tests/clients/differential/wire.mjs` has the same list).

use std::collections::BTreeMap;

use bytes::Bytes;
use ringleaf_document::Gc;

use crate::harbor::Harbor;
use crate::pipe;
use crate::replica::Replica;

/// The stores and documents of yrs of one session, by the numbers that Node gives them.
#[derive(Default)]
pub(crate) struct Half {
    harbors: BTreeMap<u8, Harbor>,
    replicas: BTreeMap<u8, Replica>,
}

/// What can be asked, in the order of `wire.mjs`.
const VERBS: [&str; 18] = [
    "next", "passed", "failed", "forget", "admit", "vector", "diff", "encode", "compact", "reload", "left",
    "join", "merged", "yrsOpen", "yrsApply", "yrsView", "yrsEdit", "yrsState",
];

/// Which verb, of which store or document of yrs, with what.
pub(crate) fn decode(request: &Bytes) -> (&'static str, u8, Bytes) {
    (VERBS[usize::from(request[0])], request[1], request.slice(2..))
}

impl Half {
    /// Answers whatever is about a store or a document of yrs.
    pub(crate) fn answer(&mut self, verb: &str, number: u8, payload: &Bytes) -> Result<Vec<u8>, String> {
        match verb {
            "forget" => *self = Self::default(),
            "join" => self.join(number, payload[0])?,
            "yrsOpen" => {
                let client = u64::from_le_bytes(payload[..].try_into().expect("a client id has 8 bytes"));
                self.replicas.insert(number, Replica::new(client));
            }
            _ if verb.starts_with("yrs") => return Ok(self.of_yrs(verb, number, payload)),
            _ => return self.of_store(verb, number, payload),
        }
        Ok(Vec::new())
    }

    fn of_store(&mut self, verb: &str, number: u8, payload: &Bytes) -> Result<Vec<u8>, String> {
        let harbor = self.harbors.entry(number).or_insert_with(Harbor::new);
        match verb {
            "admit" => return Ok(pipe::packed(&harbor.admit(payload)?)),
            "vector" => return Ok(harbor.state_vector()),
            "diff" => return Ok(harbor.diff(payload)?.into()),
            "encode" => return Ok(harbor.encode().into()),
            "merged" => return Ok(harbor.merged()?.into()),
            "left" => return Ok(vec![u8::try_from(harbor.left()).unwrap_or(u8::MAX)]),
            "compact" => harbor.compact(if payload[0] == 0 { Gc::Keep } else { Gc::Collect })?,
            "reload" => harbor.reload()?,
            _ => return Err(format!("nothing answers {verb}")),
        }
        Ok(Vec::new())
    }

    fn join(&mut self, number: u8, other: u8) -> Result<(), String> {
        let contents = self.harbors.get(&other).map(Harbor::contents).unwrap_or_default();
        let harbor = self.harbors.entry(number).or_insert_with(Harbor::new);
        contents.iter().try_for_each(|update| harbor.admit(update).map(drop))
    }

    fn of_yrs(&mut self, verb: &str, number: u8, payload: &[u8]) -> Vec<u8> {
        let replica = self.replicas.get_mut(&number).expect("it was opened");
        match verb {
            "yrsApply" => replica.apply(payload),
            "yrsView" => return replica.view().into_bytes(),
            "yrsEdit" => {
                return replica.edit(u32::from_le_bytes(payload.try_into().expect("dice have 4 bytes")));
            }
            _ => return replica.state(),
        }
        Vec::new()
    }
}
