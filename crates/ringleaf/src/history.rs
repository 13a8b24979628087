//! What has become of the ring since this process started: the last [`ENTRIES_MAX`] changes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use ringleaf_coordinator::Ring;
use ringleaf_ring::{Member, MemberState, RingView};
use ringleaf_types::RingVersion;

const ENTRIES_MAX: usize = 200;

/// One ring that this process has seen, and what was new about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) at: SystemTime,
    pub(crate) version: RingVersion,
    pub(crate) changes: Vec<String>,
}

/// The last changes, for whoever asks. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    entries: Arc<Mutex<VecDeque<Entry>>>,
}

impl History {
    /// Oldest first.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn add(&self, entry: Entry) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() == ENTRIES_MAX {
            entries.pop_front();
        }
        entries.push_back(entry);
    }
}

/// Notes what becomes of the ring, until there is none any more. Rings that come and go between two looks are one change.
///
/// # Cancel safety
///
/// Dropping the future ends the notes and keeps those that there are.
pub(crate) async fn keep(mut ring: Ring, history: History) {
    let mut before: Option<Arc<RingView>> = None;
    loop {
        let now = ring.borrow_and_update().clone();
        if let Some(after) = &now {
            let changes = changes(before.as_deref(), after);
            if !changes.is_empty() {
                history.add(Entry { at: SystemTime::now(), version: after.version(), changes });
            }
            before = now;
        }
        if ring.changed().await.is_err() {
            return;
        }
    }
}

/// In the order of members' names; pins come last. Empty: only the version is another one.
fn changes(before: Option<&RingView>, after: &RingView) -> Vec<String> {
    let Some(before) = before else {
        let names: Vec<&str> = after.members().iter().map(|member| member.node.as_str()).collect();
        return vec![format!("first seen, with {}", names.join(", "))];
    };
    let mut changes = Vec::new();
    for member in after.members() {
        match before.member(&member.node) {
            None => changes.push(format!("{} joined{}", member.node, aside(member.state))),
            Some(was) => changes.extend(of_member(was, member)),
        }
    }
    let gone = before.members().iter().filter(|member| after.member(&member.node).is_none());
    changes.extend(gone.map(|member| format!("{} left", member.node)));
    if before.virtual_nodes() != after.virtual_nodes() {
        let (was, is) = (before.virtual_nodes().get(), after.virtual_nodes().get());
        changes.push(format!("virtual nodes per weight from {was} to {is}"));
    }
    changes.extend(of_pins(before, after));
    changes
}

fn aside(state: MemberState) -> &'static str {
    match state {
        MemberState::Serving => "",
        MemberState::Joining => ", but owns nothing yet",
        MemberState::Draining => ", but gives its documents away",
    }
}

fn of_member(was: &Member, is: &Member) -> Vec<String> {
    let node = &is.node;
    let mut changes = Vec::new();
    if was.incarnation != is.incarnation {
        changes.push(format!("{node} was started again"));
    }
    if was.state != is.state {
        changes.push(match is.state {
            MemberState::Serving => format!("{node} serves"),
            MemberState::Joining => format!("{node} owns nothing yet"),
            MemberState::Draining => format!("{node} gives its documents away"),
        });
    }
    if was.weight != is.weight {
        changes.push(format!("{node} weighs {} instead of {}", is.weight.get(), was.weight.get()));
    }
    if was.address != is.address {
        changes.push(format!("{node} is at {} now", is.address));
    }
    changes
}

fn of_pins(before: &RingView, after: &RingView) -> Vec<String> {
    let set = after.pins().iter().filter(|&(document, node)| before.pin(document) != Some(node));
    let set =
        set.map(|(document, node)| format!("{document:?} pinned to {node}", document = document.as_str()));
    let ended = before.pins().iter().filter(|(document, _)| after.pin(document).is_none());
    set.chain(ended.map(|(document, _)| format!("{:?} not pinned any more", document.as_str()))).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ringleaf_ring::{ClusterId, Pins, Weight};
    use ringleaf_types::Incarnation;
    use tokio::sync::watch;

    use super::*;

    fn member(node: &str, weight: u32, state: MemberState) -> Member {
        Member {
            node: node.parse().unwrap(),
            incarnation: Incarnation::new(1),
            state,
            weight: Weight::new(weight).unwrap(),
            address: String::new(),
            zone: String::new(),
            version: String::new(),
        }
    }

    fn ring(version: u64, members: Vec<Member>) -> RingView {
        RingView::new(ClusterId::new(1), RingVersion::new(version), members).unwrap()
    }

    #[test]
    fn every_kind_of_change_is_said() {
        let serving = |node, weight| member(node, weight, MemberState::Serving);
        let before = ring(1, vec![serving("a", 1), serving("b", 1), serving("c", 1)]);
        let mut again = serving("a", 3);
        again.incarnation = Incarnation::new(2);
        let after = ring(2, vec![again, member("b", 1, MemberState::Draining), serving("d", 1)]);
        let pin = |to: &str| Pins::from_iter([("notes".parse().unwrap(), to.parse().unwrap())]);
        let after = after.pinned(RingVersion::new(3), pin("d"));
        assert_eq!(
            changes(Some(&before), &after),
            [
                "a was started again",
                "a weighs 3 instead of 1",
                "b gives its documents away",
                "d joined",
                "c left",
                "\"notes\" pinned to d",
            ]
        );
        let unpinned = after.pinned(RingVersion::new(4), Pins::default());
        assert_eq!(changes(Some(&after), &unpinned), ["\"notes\" not pinned any more"]);
        assert!(changes(Some(&unpinned), &ring(5, unpinned.members().to_vec())).is_empty());
    }

    #[tokio::test]
    async fn only_the_last_changes_are_kept() {
        let of = |version: u64| {
            let weight = 1 + u32::try_from(version % 2).unwrap();
            Some(Arc::new(ring(version, vec![member("a", weight, MemberState::Serving)])))
        };
        let (views, ring) = watch::channel(None);
        let history = History::default();
        let last = ENTRIES_MAX as u64 + 10;
        let change = async {
            for version in 1..=last {
                views.send(of(version)).unwrap();
                while history.entries().last().is_none_or(|entry| entry.version.get() != version) {
                    tokio::task::yield_now().await;
                }
            }
            drop(views);
        };
        let both = async { tokio::join!(keep(ring, history.clone()), change) };
        tokio::time::timeout(Duration::from_secs(30), both).await.unwrap();
        let entries = history.entries();
        assert_eq!(entries.len(), ENTRIES_MAX);
        assert_eq!(entries.last().unwrap().version.get(), last);
        assert_eq!(entries[0].changes, ["a weighs 2 instead of 1"]);
    }
}
