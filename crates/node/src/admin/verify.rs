//! Reading every row of a document, decoding it, and comparing it with what is in memory; on request also with what the CRDT
//! library of the reader process makes of it.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use bytes::Bytes;
use ringleaf_document::{Gc, StructStore, compaction};
use ringleaf_store::{StoreError, Stored};
use ringleaf_types::{Body, DocumentId, Record, Slot, Snapshot};
use serde::{Deserialize, Serialize};

use super::Name;
use super::content::decode;
use super::error::ApiError;
use crate::Node;
use crate::command::{Operator, Refused};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Depth {
    /// Has a reader process decode it, too.
    #[serde(default)]
    deep: bool,
}

/// What was found to be in order.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    name: String,
    sound: bool,
    last_slot: u64,
    snapshot_upto: u64,
    snapshot_bytes: usize,
    slots: usize,
    updates: usize,
    slot_bytes: usize,
    /// The size of the whole document when it is encoded anew.
    state_bytes: usize,
    deleted: bool,
    quarantined: bool,
    /// Whether the state in memory was compared, too.
    compared_with_memory: bool,
    /// The size of the whole document as the CRDT library encodes it, if that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    reader_bytes: Option<u64>,
}

pub(super) async fn verify(
    State(node): State<Arc<Node>>,
    Name(document): Name,
    depth: Result<Query<Depth>, QueryRejection>,
) -> Result<Json<Report>, ApiError> {
    let Query(Depth { deep }) = depth.map_err(|rejection| ApiError::bad_request(rejection.body_text()))?;
    let listed = node.known(&document).await?;
    // Order: the turn first, so that nobody who waits for one holds a document meanwhile.
    let turn = if deep { Some(node.shared.reader.turn().await?) } else { None };
    // Order: memory first. What it had is durable, so whatever is read after it must hold all of that.
    let resident = match node.shared.registry.find(&document) {
        Some(_) => match node.operate(&document, |reply| Operator::Export { reply }).await? {
            Ok(exported) => Some(exported),
            Err(Refused::Closed(_) | Refused::Deleted) => None,
            Err(refused) => return Err(refused.into()),
        },
        None => None,
    };
    // The checksums are the store's: it reads nothing that does not match.
    let stored = match node.shared.store.read(&document).await {
        Ok(stored) => stored,
        Err(
            error @ (StoreError::Corrupt { .. } | StoreError::Gap { .. } | StoreError::Unreadable { .. }),
        ) => {
            return Err(ApiError::unsound(&[error.to_string()]));
        }
        Err(error) => return Err(error.into()),
    };
    let mut report = count(&document, &stored);
    report.deleted = listed.deleted;
    report.quarantined = listed.quarantined;
    report.compared_with_memory = resident.is_some();
    let memory = resident.map(|exported| exported.state);
    let id = document.clone();
    let (state, problems) = decode(&node, &document, move || check(&id, stored, memory.as_ref())).await?;
    if !problems.is_empty() {
        return Err(ApiError::unsound(&problems));
    }
    report.state_bytes = state.len();
    if let Some(turn) = turn {
        report.reader_bytes = Some(turn.verify(state).await?);
    }
    Ok(Json(report))
}

fn count(document: &DocumentId, stored: &Stored) -> Report {
    let updates = || {
        stored.slots.iter().flat_map(|(_, record)| match &record.body {
            Body::Updates(updates) => updates.as_slice(),
            Body::Deletion | Body::Undeletion => &[],
        })
    };
    let upto = stored.snapshot.as_ref().map_or(Slot::ZERO, |snapshot| snapshot.upto);
    Report {
        name: document.as_str().into(),
        sound: true,
        last_slot: stored.slots.last().map_or(upto, |(slot, _)| *slot).get(),
        snapshot_upto: upto.get(),
        snapshot_bytes: stored.snapshot.as_ref().map_or(0, |snapshot| snapshot.state.len()),
        slots: stored.slots.len(),
        updates: updates().count(),
        slot_bytes: updates().map(Bytes::len).sum(),
        state_bytes: 0,
        deleted: false,
        quarantined: false,
        compared_with_memory: false,
        reader_bytes: None,
    }
}

/// Answers the whole state, and what is wrong with it. Decodes the snapshot alone and everything together; both have to encode to what they hold. Runs on the pool.
fn check(
    document: &DocumentId,
    stored: Stored,
    memory: Option<&Bytes>,
) -> Result<(Bytes, Vec<String>), String> {
    let mut problems = Vec::new();
    let whole = whole(document, stored).map_err(|error| error.to_string())?;
    if let Some(memory) = memory {
        let stored = StructStore::load(whole.clone()).map_err(|error| error.to_string())?;
        match stored.holds(memory) {
            Ok(true) => {}
            Ok(false) => problems.push("the state in memory holds what the store lacks".into()),
            Err(error) => problems.push(format!("the state in memory does not pass the scan: {error}")),
        }
    }
    Ok((whole, problems))
}

/// Replays everything, and compares the result with its parts, as a compaction does.
fn whole(document: &DocumentId, stored: Stored) -> Result<Bytes, compaction::CompactError> {
    let Stored { snapshot, mut slots } = stored;
    if slots.is_empty()
        && let Some(snapshot) = snapshot
    {
        // A compaction of nothing is refused, so the snapshot stands as the only slot of another document.
        slots = vec![(Slot::ZERO.next(), as_slot(snapshot))];
        return compaction::compact(document, None, slots, Gc::Keep).map(|snapshot| snapshot.state);
    }
    compaction::compact(document, snapshot, slots, Gc::Keep).map(|snapshot| snapshot.state)
}

fn as_slot(snapshot: Snapshot) -> Record {
    let writer = ringleaf_types::Writer {
        node: "verify".parse().expect("it is a node id"),
        incarnation: ringleaf_types::Incarnation::default(),
        nonce: 0,
    };
    Record { epoch: snapshot.epoch, writer, body: Body::Updates(vec![snapshot.state]) }
}
