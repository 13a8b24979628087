//! How deeply shared types lie within each other, and what lies within deleted ones.
//!
//! Neither is kept for each struct. Of the whole document one number is known, above which no nesting goes: each struct that
//! names another one as its parent can make it deeper by one. Only when that number passes what is allowed, everything is
//! looked at ([`Places::of`]), which says how deep it really is; compacting says so, too.

use std::collections::BTreeMap;

use ringleaf_types::ClientId;
use ringleaf_wire::scan::{Content, Id, Kind, Struct};

use super::StructStore;
use super::order::{Order, Part, Step};

/// Where a struct lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// So many shared types deep.
    Depth(u32),
    /// In something that is deleted: nobody sees it, whatever happens.
    Dead,
}

/// The place of each unit of a client, as a list of where it changes, in order of clocks. Before the first change units lie
/// in the document's own shared types.
#[derive(Debug, Clone, Default)]
pub(super) struct OfClient(Vec<(u32, Place)>);

impl OfClient {
    pub(super) fn at(&self, clock: u32) -> Place {
        let after = self.0.partition_point(|&(from, _)| from <= clock);
        if after == 0 { Place::Depth(0) } else { self.0[after - 1].1 }
    }

    /// Everything from this clock on lies there, until the next note. Must not come before the last one.
    pub(super) fn note(&mut self, from: u32, place: Place) {
        if self.0.last().map_or(Place::Depth(0), |last| last.1) != place {
            self.0.push((from, place));
        }
    }

    pub(super) fn depth_max(&self) -> u32 {
        let depths = self.0.iter().map(|(_, place)| match place {
            Place::Depth(depth) => *depth,
            Place::Dead => 0,
        });
        depths.max().unwrap_or(0)
    }

    /// The ranges that are dead, through `end`.
    pub(super) fn dead(&self, end: u32) -> impl Iterator<Item = (u32, u32)> {
        let ends = self.0.iter().skip(1).map(|&(from, _)| from).chain(std::iter::once(end));
        self.0
            .iter()
            .zip(ends)
            .filter(|((_, place), _)| *place == Place::Dead)
            .map(|(&(from, _), to)| (from, to))
    }
}

/// The places of everything in a store.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) clients: BTreeMap<ClientId, OfClient>,
    pub(super) depth_max: u32,
}

impl Places {
    /// Goes through everything, each struct after what it refers to.
    pub(super) fn of(store: &StructStore) -> Self {
        let parts = store.places().map(|(client, base)| {
            let run = store.runs.get(&client).map(|run| run.section(client));
            let run = run.map(|section| section.structs(section.begin));
            let base =
                base.map(|place| store.base.section_at(place)).map(|section| section.structs(section.begin));
            match (base, run) {
                (Some(base), run) => Some(Part::new(base, 0).then(run)),
                (None, run) => run.map(|run| Part::new(run, 0)),
            }
        });
        let mut order = Order::new(parts.flatten().collect());
        let mut places: Vec<OfClient> = vec![OfClient::default(); order.parts.len()];
        let mut depth_max = 0;
        let ran = order.run(|order, index, item| {
            for (client, clock) in item.references().filter(|(client, _)| *client != item.client) {
                match order.find(client) {
                    Some(other) if clock.get() >= order.parts[other].end => {
                        return Step::WaitFor(other, clock.get());
                    }
                    Some(_) => {}
                    None => return Step::Stuck,
                }
            }
            let at = |(client, clock): Id| {
                order.find(client).map_or(Place::Depth(0), |other| places[other].at(clock.get()))
            };
            let place = place_of(store, item, at);
            if let Place::Depth(depth) = place {
                depth_max = depth_max.max(depth);
            }
            places[index].note(item.clock.get(), place);
            order.parts[index].end = item.end();
            Step::Done
        });
        debug_assert!(ran.is_ok(), "what is in the store was scanned");
        let clients = order.parts.iter().zip(places).filter(|(_, of)| !of.0.is_empty());
        Self { clients: clients.map(|(part, of)| (part.client, of)).collect(), depth_max }
    }

    pub(super) fn at(&self, (client, clock): Id) -> Place {
        self.clients.get(&client).map_or(Place::Depth(0), |of| of.at(clock.get()))
    }
}

/// Where a struct lies: in its parent, or where its neighbors lie. What has a dead neighbor is dead, as in Yjs what has a
/// tombstone as its neighbor becomes one.
fn place_of(store: &StructStore, item: &Struct<'_>, at: impl Fn(Id) -> Place) -> Place {
    if item.kind == Kind::Gc {
        return Place::Dead;
    }
    if let Some((client, clock)) = item.parent {
        let alive = !store.is_deleted(client, clock.get());
        let holds = || store.find(client, clock.get()).is_some_and(|parent| parent.content == Content::Type);
        return match at((client, clock)) {
            Place::Depth(depth) if alive && holds() => Place::Depth(depth + 1),
            Place::Depth(_) | Place::Dead => Place::Dead,
        };
    }
    let mut depth = 0;
    for neighbor in [item.left, item.right].into_iter().flatten() {
        match at(neighbor) {
            Place::Dead => return Place::Dead,
            Place::Depth(of) => depth = depth.max(of),
        }
    }
    Place::Depth(depth)
}
