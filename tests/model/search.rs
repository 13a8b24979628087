//! Plain breadth-first search: the first counterexample is a shortest one.

use std::collections::HashSet;
use std::fmt::Write as _;

use crate::facts::Fact;
use crate::network::Write;
use crate::rules::Rules;
use crate::world::{Action, World};

/// How a state was reached: from which earlier one, by what.
#[derive(Clone, Copy)]
struct Origin {
    parent: u32,
    action: Action,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    /// Every state within the bounds was visited and every watched fact holds.
    Holds { states: usize, steps: usize },
    /// The shortest way to break a watched fact.
    Breaks { fact: Fact, actions: Vec<Action> },
}

/// Visits every state within the bounds of `rules`, until a fact of `watched` breaks.
pub(crate) fn search(rules: &Rules, watched: &[Fact]) -> Outcome {
    // Asked only whether it contains; never iterated.
    let mut visited: HashSet<u64> = HashSet::from([World::default().hash()]);
    let mut origins: Vec<Origin> = Vec::new();
    let mut layer = vec![(u32::MAX, World::default())];
    let (mut actions, mut broken, mut steps) = (Vec::new(), Vec::new(), 0);
    while !layer.is_empty() {
        let mut next_layer = Vec::new();
        for (parent, world) in &layer {
            world.actions(rules, &mut actions);
            for action in actions.iter().copied() {
                broken.clear();
                let Some(after) = world.step(action, rules, &mut broken) else { continue };
                let origin = Origin { parent: *parent, action };
                if let Some(fact) = broken.iter().find(|fact| watched.contains(fact)) {
                    return Outcome::Breaks { fact: *fact, actions: path(&origins, origin) };
                }
                if visited.insert(after.hash()) {
                    let index = u32::try_from(origins.len()).expect("fewer states than that fit in memory");
                    origins.push(origin);
                    next_layer.push((index, after));
                }
            }
        }
        layer = next_layer;
        steps += 1;
    }
    Outcome::Holds { states: visited.len(), steps: steps - 1 }
}

fn path(origins: &[Origin], last: Origin) -> Vec<Action> {
    let mut actions = vec![last.action];
    let mut at = last.parent;
    while let Some(origin) = origins.get(at as usize) {
        actions.push(origin.action);
        at = origin.parent;
    }
    actions.reverse();
    actions
}

/// A counterexample, to be read from top to bottom.
pub(crate) fn story(rules: &Rules, fact: Fact, actions: &[Action]) -> String {
    let mut text = format!("{:?} breaks {fact:?}:\n", rules.flaw);
    let (mut world, mut broken) = (World::default(), Vec::new());
    for (number, action) in actions.iter().enumerate() {
        let what = match action {
            Action::Deliver { write } => format!("{action} {}", describe(world.network.writes()[*write])),
            _ => action.to_string(),
        };
        let before = world.acknowledged;
        world =
            world.step(*action, rules, &mut broken).expect("an action that was possible is possible again");
        let news =
            (0..rules.bounds.updates).filter(|update| (world.acknowledged & !before) >> update & 1 == 1);
        let news: String = news.map(|update| format!("; update {update} is acknowledged")).collect();
        writeln!(text, "{:3}. {what}{news}", number + 1).unwrap();
    }
    let held = rules.bounds.slots;
    for slot in 1..=held {
        if let Some(record) = world.store.row(slot) {
            writeln!(text, "     slot {slot} holds {record:?}").unwrap();
        }
    }
    world.store.snapshots().for_each(|snapshot| writeln!(text, "     there is {snapshot:?}").unwrap());
    writeln!(text, "     acknowledged: {:#b}, {:?}", world.acknowledged, world.nodes).unwrap();
    text
}

fn describe(write: Write) -> String {
    match write {
        Write::Slot { slot, record: crate::store::Record { epoch, claim, fence, body }, .. } => {
            let kind = if fence { "fence" } else { "append" };
            let to = slot.map_or_else(|| "wherever the log ends".to_owned(), |slot| format!("slot {slot}"));
            format!("the {kind} of claim {claim} (epoch {epoch}, updates {body:#b}) for {to}")
        }
        Write::Snapshot(snapshot) => {
            format!("the snapshot of slots up to {} (updates {:#b})", snapshot.upto, snapshot.seen)
        }
        Write::Trim { through } => format!("the deletion of slots up to {through}"),
    }
}
