//! Faults that hit a handoff in the middle of it: at each of its steps, each thing that can break.

use std::time::Duration;

use ringleaf_coordinator::picture::Change;
use ringleaf_ring::handoff::SourceEnd;
use ringleaf_types::DocumentId;

use crate::world::{Counts, Place, World};

/// How far a handoff has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// The source is about to say its offer.
    Offered,
    /// The target has accepted, and loads.
    Accepted,
    /// The target has said that it is warm.
    Warm,
    /// The source takes no new slot.
    Sealing,
    /// The source has told the target to claim.
    Sealed,
    /// The target has heard that, and claims.
    Claiming,
    /// The target's fence is in, and it has said so.
    Claimed,
    /// The source has told its routers.
    Moved,
}

/// What happens at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blow {
    KillSource,
    KillTarget,
    PauseSource,
    PauseTarget,
    /// They do not reach each other.
    Cut,
    /// What is on its way between them is lost.
    Reset,
    SourceWithoutLog,
    TargetWithoutLog,
}

pub(crate) const STEPS: [Step; 8] = [
    Step::Offered,
    Step::Accepted,
    Step::Warm,
    Step::Sealing,
    Step::Sealed,
    Step::Claiming,
    Step::Claimed,
    Step::Moved,
];

pub(crate) const BLOWS: [Blow; 8] = [
    Blow::KillSource,
    Blow::KillTarget,
    Blow::PauseSource,
    Blow::PauseTarget,
    Blow::Cut,
    Blow::Reset,
    Blow::SourceWithoutLog,
    Blow::TargetWithoutLog,
];

/// A blow that waits for its step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Armed {
    pub(crate) step: Step,
    pub(crate) blow: Blow,
    /// How long after the step: what was said there is still on its way, or has just arrived.
    pub(crate) after: Duration,
    pub(crate) length: Duration,
}

impl World {
    /// A handoff has come so far.
    pub(crate) fn steps(&mut self, step: Step, source: usize, target: usize, document: &DocumentId) {
        self.say(format_args!("{document} on its way from n{source} to n{target}: {step:?}"));
        self.counts.steps[step as usize] += 1;
        self.stepped.insert(document.clone(), step);
        if self.edits_at == Some(step) {
            self.edits_at = None;
            self.after(Place::Editor(0), Duration::ZERO, |world| world.edit(0));
        }
        let Some(armed) = self.armed.filter(|armed| armed.step == step) else { return };
        self.armed = None;
        self.after(Place::Log, armed.after, move |world| world.strike(armed, source, target));
    }

    fn strike(&mut self, armed: Armed, source: usize, target: usize) {
        let Armed { step, blow, length, .. } = armed;
        self.say(format_args!("{blow:?} at {step:?}"));
        match blow {
            Blow::KillSource | Blow::KillTarget => {
                let node = if blow == Blow::KillSource { source } else { target };
                self.counts.killed[step as usize] += u64::from(self.nodes[node].life.up);
                let silent = self.random.thousandths(300);
                self.crash_node(node, silent);
                self.after(Place::Etcd, length, move |world| world.start_node(node));
            }
            Blow::PauseSource => self.pause(Place::Node(source), length),
            Blow::PauseTarget => self.pause(Place::Node(target), length),
            Blow::Cut => {
                self.counts.severed[step as usize] += 1;
                self.cut_for(Place::Node(source), Place::Node(target), length);
            }
            Blow::Reset => {
                let client = self.random.thousandths(500);
                if let Some(link) = self.network.between(Place::Node(source), Place::Node(target)) {
                    self.break_end(link, client);
                }
            }
            Blow::SourceWithoutLog => self.cut_for(Place::Node(source), Place::Log, length),
            Blow::TargetWithoutLog => self.cut_for(Place::Node(target), Place::Log, length),
        }
    }

    /// The next handoff is hit at some step.
    pub(crate) fn arm(&mut self, length: Duration) {
        let step = STEPS[self.random.index(STEPS.len())];
        let blow = BLOWS[self.random.index(BLOWS.len())];
        let after = self.random.millis(0, 6);
        self.armed = Some(Armed { step, blow, after, length });
        self.moves_something();
    }

    /// An operator moves the documents of a node that has some that are open.
    pub(crate) fn moves_something(&mut self) {
        if self.etcd.away {
            return;
        }
        let open = |of: &crate::resident::Resident| {
            of.document.as_ref().is_some_and(|document| document.session_count() > 0)
        };
        let has = |node: &usize| self.nodes[*node].residents.values().any(open);
        let hosts: Vec<usize> = (0..self.scenario.nodes).filter(has).collect();
        if hosts.is_empty() {
            return;
        }
        let node = hosts[self.random.index(hosts.len())];
        let id = self.nodes[node].id.clone();
        // Everybody else is welcome to it.
        let mut changes: Vec<Change> =
            std::mem::take(&mut self.etcd.cordons).into_iter().map(|of| Change::Cordon(of, false)).collect();
        changes.retain(|change| !matches!(change, Change::Cordon(of, _) if *of == id));
        self.etcd.cordons.insert(id.clone());
        changes.push(Change::Cordon(id, true));
        self.etcd_writes(changes);
    }
}

impl Counts {
    pub(crate) fn handoff_ended(&mut self, end: SourceEnd, step: Option<Step>) {
        match (end, step) {
            (SourceEnd::Moved, _) => self.moved += 1,
            (SourceEnd::Busy | SourceEnd::Behind, _) => self.busy += 1,
            (_, Some(step)) => self.failed[step as usize] += 1,
            (_, None) => {}
        }
    }
}
