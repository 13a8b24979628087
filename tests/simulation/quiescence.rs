//! After the last fault: everybody agrees, soon, and what is written then is seen by all within a second.

use std::sync::Arc;
use std::time::Duration;

use ringleaf_document::{Gc, compaction};
use ringleaf_reader::view;
use ringleaf_ring::{MemberState, RingView};
use ringleaf_types::{DocumentId, Epoch, Slot};

use crate::contents::Contents;
use crate::facts::contents;
use crate::node::Node;
use crate::world::World;

/// A node that just drains waits for its documents, exits, and comes back.
const BACK_WITHIN: Duration = Duration::from_secs(25);
/// Within so long after the last fault everybody has everything. That is all who had bad luck just before, one after the other:
/// 10 s until a watch that died silently is noticed, 3 s until it is made again, 2 s until a router tries again, and 5 s until
/// an owner that is none any more looks at the end of the log.
const CONVERGE_WITHIN: Duration = Duration::from_secs(20);
/// And within so long after that each document is where the ring says.
const PLACED_WITHIN: Duration = Duration::from_secs(60);
/// Then everybody is in touch again: a watch that died silently is noticed after ten seconds, and made again after three.
const HEALTHY_AFTER: Duration = Duration::from_secs(15);
/// I12.
const PRESENT_AFTER: Duration = Duration::from_secs(40);
/// I6.
const VISIBLE_WITHIN: Duration = Duration::from_secs(1);

impl World {
    /// Runs the whole story of a seed.
    pub(crate) fn live(&mut self) {
        self.begin();
        self.run_until(self.scenario.lasts);
        self.settles(CONVERGE_WITHIN);
    }

    /// Ends all faults, and sees that everything comes right, within so long.
    pub(crate) fn settles(&mut self, within: Duration) {
        self.heal();
        self.wait_for("every node is up", BACK_WITHIN, Self::departure);
        let healed_at = self.at;
        // Somebody who has nothing yet, for each document.
        for document in 0..self.scenario.documents {
            self.new_editor(document);
        }
        self.wait_for("everybody has everything", within, Self::disagreement);
        self.counts.converged_after = self.at - healed_at;
        self.wait_for("documents are where the ring says", PLACED_WITHIN, Self::misplacement);
        self.run_until(self.at + HEALTHY_AFTER);
        self.healthy = true;
        for document in 0..self.scenario.documents {
            let editor = self.editors.iter().rposition(|editor| editor.document == document);
            self.edit(editor.expect("each document has an editor"));
        }
        self.wait_for("an edit is seen by all (I6)", VISIBLE_WITHIN, Self::disagreement);
        if self.scenario.presence {
            self.run_until(self.at + PRESENT_AFTER);
            if let Some(problem) = self.absence() {
                panic!("{problem} (I12)");
            }
        }
        for document in self.documents.clone() {
            self.decode(&document);
        }
    }

    /// Lets time pass until nothing is wrong.
    fn wait_for(&mut self, what: &str, within: Duration, wrong: fn(&mut World) -> Option<String>) {
        let deadline = self.at + within;
        while let Some(problem) = wrong(self) {
            assert!(self.at < deadline, "not within {within:?}: {what}: {problem}");
            self.run_until(self.at + Duration::from_millis(50));
        }
    }

    fn stored(&mut self, document: &DocumentId) -> Contents {
        let stored = self.read(document);
        contents(&stored)
    }

    /// I5: in what an editor, a load or the log differ.
    fn disagreement(&mut self) -> Option<String> {
        for number in 0..self.documents.len() {
            let document = self.documents[number].clone();
            if self.facts[&document].deleted {
                return Some(format!("{document} is still deleted"));
            }
            let stored = self.stored(&document);
            assert_eq!(stored, self.facts[&document].durable, "a load differs from all slots (I1)");
            for (name, editor) in self.editors.iter().enumerate() {
                if editor.document == number && !editor.left && editor.contents != stored {
                    return Some(format!("editor {name} of {document} differs from a load"));
                }
            }
        }
        for words in &self.last_words {
            if let Some(unit) = self.facts[&words.document].durable.lacks_of(&words.contents) {
                return Some(format!("{unit:?}, the last words of somebody who left, were not heard"));
            }
        }
        self.unacknowledged()
    }

    /// Whose words were never acknowledged.
    fn unacknowledged(&self) -> Option<String> {
        let fan_outs = self.routers.iter().enumerate().flat_map(|(number, router)| {
            router.fan_outs.iter().map(move |(document, fan_out)| (number, document, fan_out))
        });
        for (router, document, fan_out) in fan_outs {
            // What somebody left behind may build on what he never had the time to send.
            let members = fan_out.members.iter().filter(|(_, member)| member.editor.is_some());
            for (session, member) in members {
                let (sent, unread) = (member.sent.len(), member.unread.len());
                if sent + unread > 0 {
                    let state = &member.session;
                    return Some(format!(
                        "{sent} sent and {unread} unread messages of session {session} of {document} at router {router} were \
                         never acknowledged: {state:?}"
                    ));
                }
            }
        }
        None
    }

    /// The last fault is over when every node is there.
    fn departure(&mut self) -> Option<String> {
        let serves =
            |node: &Node| node.wanted.as_ref().is_some_and(|member| member.state == MemberState::Serving);
        let all = self.nodes.iter().all(serves);
        (!all).then(|| "a node is still on its way out and back".into())
    }

    /// I16: equal views, equal owners, and each document with its owner alone.
    fn misplacement(&mut self) -> Option<String> {
        if let Some(problem) = self.departure() {
            return Some(problem);
        }
        let rings =
            self.nodes.iter().map(|node| &node.ring).chain(self.routers.iter().map(|router| &router.ring));
        let views: Vec<_> = rings.map(|ring| ring.view.clone()).collect();
        let Some(Some(view)) = views.first().cloned() else { return Some("no ring".into()) };
        // The shrink guard keeps members for a while that others have seen go. That ends with another version.
        let differs = |other: &Arc<RingView>| other.version() == view.version() && **other != *view;
        if views.iter().flatten().any(differs) {
            return Some("two views of one version differ (I16)".into());
        }
        // A change that was taken back leaves who did not see it with the older version of the same ring.
        let same = |other: &RingView| other.members() == view.members();
        if views.iter().any(|other| other.as_ref().is_none_or(|other| !same(other))) {
            return Some("different rings".into());
        }
        for document in &self.documents {
            let residents = self.nodes.iter().filter(|node| node.residents.contains_key(document));
            for node in residents {
                if node.id != *view.owner(document) {
                    return Some(format!(
                        "{document} is at {}, and should be at {}",
                        node.id,
                        view.owner(document)
                    ));
                }
            }
        }
        None
    }

    /// What is stored decodes, and every character is there once (I9).
    fn decode(&mut self, document: &DocumentId) {
        let stored = self.read(document);
        let contents = contents(&stored);
        let state = match compaction::compact(document, stored.snapshot.clone(), stored.slots, Gc::Collect) {
            Ok(snapshot) => snapshot.state,
            Err(compaction::CompactError::Nothing { .. }) => match stored.snapshot {
                Some(snapshot) => snapshot.state,
                None => return,
            },
            Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
        };
        let text = view::text(&state).expect("a state that decodes");
        let typed: usize = contents.clocks.values().map(|clock| *clock as usize).sum();
        assert_eq!(text.len(), typed - contents.deleted.len(), "characters twice, or back (I9)");
        let facts = &self.facts[document];
        assert!(facts.last() > Slot::ZERO && facts.epoch_through(facts.last()) > Epoch::ZERO);
    }
}
