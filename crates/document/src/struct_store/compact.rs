//! Making the shortest form of a document, and its base.
//!
//! It follows `Item.gc` and `ContentType.gc` in Yjs 13: structs are cut at the borders of deleted ranges; deleted pieces keep
//! their origins and lose their content, a deleted shared type like any other; what lies within a deleted shared type becomes
//! tombstones, also what somebody inserted there meanwhile and no delete set names. Then neighbors are joined. Receivers make the
//! same of both forms.

use ringleaf_types::ClientId;
use ringleaf_wire::cut::{Form, Units};
use ringleaf_wire::scan::Struct;

use super::StructStore;
use super::base::{Facts, Writing};
use super::encode::write_delete_set;
use super::nesting::{Place, Places};
use super::ranges::Ranges;
use super::run::{Cut, Run};

/// What becomes of deleted content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gc {
    /// It is forgotten.
    #[default]
    Collect,
    /// It stays, for editors that show earlier versions (`gc: false` in Yjs).
    Keep,
}

impl StructStore {
    /// Makes everything one base in its shortest form. Linear in its bytes.
    pub fn compact(&mut self, gc: Gc) {
        let places = match gc {
            Gc::Collect => self.bury(),
            Gc::Keep => None,
        };
        let mut writing = Writing::new(self.encoded_bytes(), self.client_count());
        let mut facts = Facts::default();
        let none = Ranges::default();
        for (client, _) in self.places() {
            let deleted = match gc {
                Gc::Collect => self.deleted.get(client).unwrap_or(&none),
                Gc::Keep => &none,
            };
            let run = self.compacted(client, deleted, places.as_ref(), &mut facts);
            writing.add(client, &[run.section(client)]);
        }
        self.replace_base(writing);
        if let Some(places) = places {
            self.measured(places);
        }
        self.facts = facts;
        (self.grown_bytes, self.garbage_units) = (0, 0);
    }

    /// Makes everything one base as it stands, so that [`StructStore::encode`] copies nothing. Copies all bytes once.
    pub fn fold(&mut self) {
        if self.runs.is_empty() && !self.deleted_since_base {
            return;
        }
        let mut writing = Writing::new(self.encoded_bytes(), self.client_count());
        for (client, place) in self.places() {
            let base = place.map(|place| self.base.section_at(place));
            let run = self.runs.get(&client).map(|run| run.section(client));
            let sections: Vec<_> = base.into_iter().chain(run).collect();
            writing.add(client, &sections);
        }
        self.replace_base(writing);
    }

    fn replace_base(&mut self, writing: Writing) {
        let mut deletions = Vec::new();
        write_delete_set(&mut deletions, self.deleted.iter());
        self.base = writing.end(&deletions);
        self.runs.clear();
        self.deleted_since_base = false;
        (self.delta_bytes, self.runs_heap, self.new_clients) = (0, 0, 0);
    }

    /// Marks as deleted what lies within something deleted.
    fn bury(&mut self) -> Option<Places> {
        if self.facts.with_parent == 0 && !self.facts.tombstones {
            return None;
        }
        self.fold();
        let places = Places::of(self);
        for (&client, of) in &places.clients {
            let dead: Vec<_> = of.dead(self.end(client)).collect();
            if !dead.is_empty() {
                self.deleted_since_base |= self.deleted.add(client, &dead).units > 0;
            }
        }
        Some(places)
    }

    /// What is to be kept of a client's structs.
    fn compacted(
        &self,
        client: ClientId,
        deleted: &Ranges,
        places: Option<&Places>,
        facts: &mut Facts,
    ) -> Run {
        let place = places.and_then(|places| places.clients.get(&client));
        let mut run = Run::new(0);
        let mut ranges = deleted.iter().peekable();
        let base = self.base.section(client);
        let delta = self.runs.get(&client).map(|run| run.section(client));
        for section in [base, delta].into_iter().flatten() {
            let mut structs = section.structs(section.begin);
            while let Ok(Some(item)) = structs.next_struct() {
                while ranges.next_if(|(_, end)| *end <= item.clock.get()).is_some() {}
                if place.is_some_and(|place| place.at(item.clock.get()) == Place::Dead) {
                    push_all(&mut run, &item, Form::Tombstone);
                    facts.tombstones = true;
                    continue;
                }
                facts.note(&item);
                match ranges.peek() {
                    Some((start, _)) if *start < item.end() && !item.is_deleted() => {
                        push_cut(&mut run, &item, &mut ranges);
                    }
                    _ => run.push(&item),
                }
            }
        }
        run
    }
}

fn push_all(run: &mut Run, item: &Struct<'_>, form: Form) {
    let cut = Cut { offset: 0, units: item.length, form };
    run.push_units(item, &mut Units::new(item), cut);
}

/// Cuts a struct at the borders of deleted ranges.
fn push_cut(
    run: &mut Run,
    item: &Struct<'_>,
    ranges: &mut std::iter::Peekable<impl Iterator<Item = (u32, u32)>>,
) {
    let mut units = Units::new(item);
    let mut at = item.clock.get();
    while at < item.end() {
        while ranges.next_if(|(_, end)| *end <= at).is_some() {}
        let (form, until) = match ranges.peek() {
            Some(&(start, end)) if start <= at => (Form::Deleted, end.min(item.end())),
            Some(&(start, _)) => (Form::Whole, start.min(item.end())),
            None => (Form::Whole, item.end()),
        };
        let cut = Cut { offset: at - item.clock.get(), units: until - at, form };
        run.push_units(item, &mut units, cut);
        at = until;
    }
}
