//! What may happen next, and what comes of it.

use crate::facts::{self, Fact};
use crate::network::Write;
use crate::node::{Claim, Flight, Owner, Phase};
use crate::rules::{Flaw, Rules};
use crate::store::{Record, Snapshot, Updates};
use crate::world::{Action, Fence, NODES, World};

impl World {
    /// Every action that may be tried; [`Self::step`] says which of them do anything.
    pub(crate) fn actions(&self, rules: &Rules, into: &mut Vec<Action>) {
        into.clear();
        into.extend((0..self.network.writes().len()).map(|write| Action::Deliver { write }));
        for node in 0..NODES {
            match self.nodes[node].phase {
                Phase::Idle => into.push(Action::Claim { node }),
                Phase::Reading { .. } => into.push(Action::List { node }),
                Phase::Claiming(_) => into.extend([Action::Claimed { node }, Action::ClaimRefused { node }]),
                Phase::Owning(_) => {
                    into.extend([Action::Append { node }, Action::Tail { node }]);
                    into.extend([Action::Compact { node }, Action::Trim { node }]);
                    for flight in 0..rules.flights_max() {
                        into.extend([
                            Action::Appended { node, flight },
                            Action::AppendRefused { node, flight },
                        ]);
                    }
                }
            }
            into.extend(
                (0..rules.bounds.updates.min(self.used.updates + 1))
                    .map(|update| Action::Offer { node, update }),
            );
            into.extend([Action::CompactList { node }, Action::Crash { node }]);
        }
    }

    /// The state after `action`, or `None` if it cannot happen or changes nothing; `broken` gets the facts that it broke.
    pub(crate) fn step(&self, action: Action, rules: &Rules, broken: &mut Vec<Fact>) -> Option<Self> {
        let mut after = self.clone();
        let done = match action {
            Action::Claim { node } => after.claim(node, rules),
            Action::List { node } => after.list(node, rules, broken),
            Action::Offer { node, update } => after.offer(node, update, rules, broken),
            Action::Append { node } => after.append(node, rules),
            Action::Deliver { write } => after.deliver(write, rules),
            Action::Claimed { node } => after.claimed(node, broken),
            Action::ClaimRefused { node } => after.claim_refused(node, rules),
            Action::Appended { node, flight } => after.appended(node, flight, broken),
            Action::AppendRefused { node, flight } => after.append_refused(node, flight, rules),
            Action::Tail { node } => after.tail(node, rules),
            Action::Compact { node } => after.compact(node, rules),
            Action::CompactList { node } => after.compact_list(node, rules, broken),
            Action::Trim { node } => after.trim(node, rules),
            Action::Crash { node } => after.crash(node, rules),
        };
        done?;
        facts::check(self, action, &after, rules, broken);
        Some(after)
    }

    fn owner(&mut self, node: usize) -> Option<&mut Owner> {
        match &mut self.nodes[node].phase {
            Phase::Owning(owner) => Some(owner),
            Phase::Idle | Phase::Reading { .. } | Phase::Claiming(_) => None,
        }
    }

    fn claim(&mut self, node: usize, rules: &Rules) -> Option<()> {
        (self.used.claims < rules.bounds.claims).then_some(())?;
        let claim = self.used.claims;
        self.used.claims += 1;
        self.nodes[node].phase = Phase::Reading { claim, base: self.store.newest() };
        Some(())
    }

    fn list(&mut self, node: usize, rules: &Rules, broken: &mut Vec<Fact>) -> Option<()> {
        let Phase::Reading { claim, base } = self.nodes[node].phase else { return None };
        let Some(loaded) = self.load(base, rules, broken) else {
            // A gap: start over, with the newest snapshot.
            self.nodes[node].phase = Phase::Reading { claim, base: self.store.newest() };
            return Some(());
        };
        let (slot, epoch) = (loaded.upto + 1, loaded.epoch + 1);
        if rules.have(Flaw::NoFence) {
            self.fences[usize::from(claim)] = Fence { slot, epoch };
            let owner = Owner { claim, epoch, next: slot, merged: loaded.seen, flights: [None; 2] };
            self.nodes[node].phase = Phase::Owning(owner);
            return Some(());
        }
        let body = std::mem::take(&mut self.nodes[node].pending) & !loaded.seen;
        let slot = (!rules.have(Flaw::FenceElsewhere)).then_some(slot);
        self.send_fence(node, Claim { claim, epoch, slot, merged: loaded.seen, body }, rules)
    }

    /// Lists the slots above `base`, as any reader does. What it returns must hold everything that is acknowledged.
    fn load(&self, base: Snapshot, rules: &Rules, broken: &mut Vec<Fact>) -> Option<Snapshot> {
        let loaded = self.store.list(base, rules)?;
        if self.acknowledged & !loaded.seen != 0 {
            broken.push(Fact::ReaderFindsAcknowledged);
        }
        Some(loaded)
    }

    fn send_fence(&mut self, node: usize, claim: Claim, rules: &Rules) -> Option<()> {
        (claim.slot <= Some(rules.bounds.slots)).then_some(())?;
        let record = Record { epoch: claim.epoch, claim: claim.claim, fence: true, body: claim.body };
        self.network.send(Write::Slot { slot: claim.slot, record, created: None });
        self.nodes[node].phase = Phase::Claiming(claim);
        Some(())
    }

    fn offer(&mut self, node: usize, number: u8, rules: &Rules, broken: &mut Vec<Fact>) -> Option<()> {
        let update: Updates = 1 << number;
        self.used.updates = self.used.updates.max(number + 1);
        let owner = match self.nodes[node].phase {
            Phase::Idle | Phase::Claiming(_) => return None,
            Phase::Reading { .. } => {
                let waits = self.nodes[node].pending & update == 0;
                self.nodes[node].pending |= update;
                return waits.then_some(());
            }
            Phase::Owning(owner) => owner,
        };
        let held = self.nodes[node].pending | owner.flying();
        if (owner.merged | held) & update == 0 {
            self.nodes[node].pending |= update;
            return Some(());
        }
        // It brings nothing new: acknowledged when everything admitted before is durable.
        let at_once = rules.have(Flaw::RepeatAcknowledgedAtOnce);
        (at_once || held == 0).then_some(())?;
        facts::check_merged(self, owner.claim, owner.merged, broken);
        let news = self.acknowledged & update == 0;
        self.acknowledged |= update;
        (news || !broken.is_empty()).then_some(())
    }

    fn append(&mut self, node: usize, rules: &Rules) -> Option<()> {
        let body = self.nodes[node].pending;
        let owner = self.owner(node)?;
        let free = owner.flights[..rules.flights_max()].iter().position(Option::is_none)?;
        (body != 0 && owner.next <= rules.bounds.slots).then_some(())?;
        self.nodes[node].pending = 0;
        self.send_append(node, free, body)
    }

    fn send_append(&mut self, node: usize, flight: usize, body: Updates) -> Option<()> {
        let owner = self.owner(node)?;
        let slot = owner.next;
        let record = Record { epoch: owner.epoch, claim: owner.claim, fence: false, body };
        owner.flights[flight] = Some(Flight { slot, body });
        owner.next += 1;
        self.network.send(Write::Slot { slot: Some(slot), record, created: None });
        Some(())
    }

    fn deliver(&mut self, index: usize, rules: &Rules) -> Option<()> {
        match self.network.writes()[index] {
            Write::Slot { slot, record, created } => {
                if slot.is_none() && created.is_some() {
                    return None;
                }
                let slot = slot.unwrap_or_else(|| self.store.end());
                (slot <= rules.bounds.slots && !self.store.taken(slot, rules)).then_some(())?;
                self.store.create(slot, record);
                self.network.note_created(index, slot);
                if record.fence {
                    self.fences[usize::from(record.claim)] = Fence { slot, epoch: record.epoch };
                }
                Some(())
            }
            Write::Snapshot(snapshot) => {
                let before = self.store.clone();
                self.store.create_snapshot(snapshot, rules);
                (self.store != before).then_some(())
            }
            Write::Trim { through } => {
                let before = self.store.clone();
                self.store.delete(through, rules);
                (self.store != before).then_some(())
            }
        }
    }

    fn claimed(&mut self, node: usize, broken: &mut Vec<Fact>) -> Option<()> {
        let Phase::Claiming(Claim { claim, epoch, slot, merged, body }) = self.nodes[node].phase else {
            return None;
        };
        let created = self.network.created(claim, slot)?;
        let merged = merged | body;
        let owner = Owner { claim, epoch, next: created + 1, merged, flights: [None; 2] };
        self.nodes[node].phase = Phase::Owning(owner);
        self.acknowledge(created, Record { epoch, claim, fence: true, body }, merged, broken);
        Some(())
    }

    /// The updates of a durable slot are acknowledged by its writer, in the same step.
    fn acknowledge(&mut self, slot: u8, record: Record, merged: Updates, broken: &mut Vec<Fact>) {
        if record.body != 0 {
            facts::check_acknowledgement(self, slot, record, merged, broken);
            self.acknowledged |= record.body;
        }
    }

    /// Who has the slot that `claim` was refused: `Some(None)` if it is deleted.
    fn holder(&self, slot: u8, claim: u8, rules: &Rules) -> Option<Option<Record>> {
        let row = self.store.row(slot);
        let other = self.store.taken(slot, rules) && row.is_none_or(|record| record.claim != claim);
        other.then_some(row)
    }

    fn claim_refused(&mut self, node: usize, rules: &Rules) -> Option<()> {
        let Phase::Claiming(mut claim) = self.nodes[node].phase else { return None };
        let slot = claim.slot?;
        match self.holder(slot, claim.claim, rules)? {
            Some(record) if !rules.fences(record.epoch, claim.epoch) => {
                claim.merged |= record.body;
                claim.slot = Some(slot + 1);
                self.send_fence(node, claim, rules)
            }
            Some(_) | None => {
                self.nodes[node].step_down();
                Some(())
            }
        }
    }

    fn appended(&mut self, node: usize, flight: usize, broken: &mut Vec<Fact>) -> Option<()> {
        let owner = *self.owner(node)?;
        let Flight { slot, body } = owner.flights[flight]?;
        self.network.created(owner.claim, Some(slot))?;
        let owner = self.owner(node)?;
        owner.flights[flight] = None;
        owner.merged |= body;
        let (record, merged) =
            (Record { epoch: owner.epoch, claim: owner.claim, fence: false, body }, owner.merged);
        self.acknowledge(slot, record, merged, broken);
        Some(())
    }

    fn append_refused(&mut self, node: usize, flight: usize, rules: &Rules) -> Option<()> {
        let owner = *self.owner(node)?;
        let Flight { slot, body } = owner.flights[flight]?;
        match self.holder(slot, owner.claim, rules)? {
            Some(record) if !rules.fences(record.epoch, owner.epoch) => {
                (owner.next <= rules.bounds.slots).then_some(())?;
                self.owner(node)?.merged |= record.body;
                self.send_append(node, flight, body)
            }
            Some(_) | None => {
                self.nodes[node].step_down();
                Some(())
            }
        }
    }

    fn tail(&mut self, node: usize, rules: &Rules) -> Option<()> {
        let owner = *self.owner(node)?;
        (owner.flying() == 0 && owner.next <= rules.bounds.slots).then_some(())?;
        match self.holder(owner.next, owner.claim, rules)? {
            Some(record) if !rules.fences(record.epoch, owner.epoch) => {
                let owner = self.owner(node)?;
                owner.merged |= record.body;
                owner.next += 1;
            }
            Some(_) | None => self.nodes[node].step_down(),
        }
        Some(())
    }

    fn compact(&mut self, node: usize, rules: &Rules) -> Option<()> {
        (self.used.snapshots < rules.bounds.snapshots && self.nodes[node].compaction.is_none())
            .then_some(())?;
        self.used.snapshots += 1;
        self.nodes[node].compaction = Some(self.store.newest());
        Some(())
    }

    fn compact_list(&mut self, node: usize, rules: &Rules, broken: &mut Vec<Fact>) -> Option<()> {
        let base = self.nodes[node].compaction?;
        let Some(snapshot) = self.load(base, rules, broken) else {
            self.nodes[node].compaction = Some(self.store.newest());
            return Some(());
        };
        (snapshot.upto > base.upto).then_some(())?;
        self.nodes[node].compaction = None;
        self.network.send(Write::Snapshot(snapshot));
        Some(())
    }

    fn trim(&mut self, node: usize, rules: &Rules) -> Option<()> {
        self.owner(node)?;
        (self.used.trims < rules.bounds.trims).then_some(())?;
        let through = self.store.trim_through()?;
        self.used.trims += 1;
        self.network.send(Write::Trim { through });
        Some(())
    }

    fn crash(&mut self, node: usize, rules: &Rules) -> Option<()> {
        let up = self.nodes[node] != crate::node::Node::default();
        (up && self.used.crashes < rules.bounds.crashes).then_some(())?;
        self.used.crashes += 1;
        self.nodes[node] = crate::node::Node::default();
        Some(())
    }
}
