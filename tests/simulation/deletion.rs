//! Operators delete documents, and bring them back with what they held (R10).

use std::time::Duration;

use ringleaf_document::Input;
use ringleaf_types::{CloseReason, DocumentId};
use ringleaf_wire::Event;

use crate::network::Down;
use crate::world::{Place, World};

const AGAIN: Duration = Duration::from_millis(700);

impl World {
    /// Says it to the node that has the document, or should.
    pub(crate) fn operates(&mut self, document: DocumentId, delete: bool) {
        let has = |node: &crate::node::Node| node.residents.contains_key(&document);
        let view = self.nodes.iter().find(|node| node.life.up).and_then(|node| node.ring.view.clone());
        let owner = || view.map(|view| self.node_named(view.owner(&document)));
        let Some(node) = self.nodes.iter().position(has).or_else(owner) else { return };
        if !self.answers(Place::Node(node)) || !self.serves(Place::Node(node)) {
            return;
        }
        if !self.nodes[node].residents.contains_key(&document) {
            self.start_resident(node, &document);
        }
        self.say(format_args!("an operator says delete: {delete} of {document} to {:?}", Place::Node(node)));
        let Some(resident) = self.nodes[node].residents.get_mut(&document) else { return };
        if resident.document.is_none() {
            resident.operator = Some(delete);
            return;
        }
        let number = resident.number;
        self.operator_is_heard(node, &document, number, delete);
    }

    pub(crate) fn operator_is_heard(
        &mut self,
        node: usize,
        document: &DocumentId,
        number: u64,
        delete: bool,
    ) {
        let Some(resident) = self.resident(node, document, number) else { return };
        resident.wanted = true;
        self.tell(node, document, number, if delete { Input::Delete } else { Input::Undelete });
    }

    /// After the last fault every document is brought back. A deletion may still be under way, so this looks again.
    pub(crate) fn brings_back(&mut self, document: DocumentId) {
        if self.facts[&document].deleted {
            self.operates(document.clone(), false);
        }
        if !self.healthy {
            self.after(Place::Etcd, AGAIN, move |world| world.brings_back(document));
        }
    }

    /// The document is closed to everybody who is here. Whoever comes later asks its host anew.
    pub(crate) fn closes(&mut self, router: usize, document: &DocumentId, reason: CloseReason) {
        assert_eq!(reason, CloseReason::DocumentDeleted, "a document is closed");
        self.say(format_args!("{:?}: {document} is closed", Place::Router(router)));
        self.last_words.retain(|words| words.document != *document);
        let Some(fan_out) = self.routers[router].fan_outs.get(document) else { return };
        // One that has another socket by now, which was not noticed here, keeps that.
        let here = |(editor, connection): &(usize, u64)| {
            self.editors[*editor].connection.as_ref().is_some_and(|of| of.number == *connection)
        };
        let of_members = fan_out.members.values().filter_map(|member| member.editor);
        let gone: Vec<usize> = of_members.filter(here).map(|(editor, _)| editor).collect();
        self.forget_fan_out(router, document);
        for editor in gone {
            self.socket_breaks(editor);
        }
    }

    /// Nobody may come any more, and whoever is attached is told so.
    pub(crate) fn tell_closed(&mut self, node: usize, document: &DocumentId) {
        let Some(resident) = self.nodes[node].residents.get(document) else { return };
        let reason = CloseReason::DocumentDeleted;
        let channels: Vec<_> = resident.routers.values().map(|(_, channel)| *channel).collect();
        for channel in channels {
            self.down(channel, Down::Event(Event::Closed { reason }));
        }
    }
}
