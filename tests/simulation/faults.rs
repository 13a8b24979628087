//! What goes wrong, and when it is over.

use std::time::Duration;

use ringleaf_document::Input;
use ringleaf_types::Epoch;

use crate::editor::LastWords;
use crate::scenario::Fault;
use crate::world::{Place, World};

/// A router tries for half a minute to bring what an editor left behind; it may need some of it after the last fault.
const LAST_WORDS: Duration = Duration::from_secs(15);

impl World {
    /// Everything starts, and the first things are under way.
    pub(crate) fn begin(&mut self) {
        self.say(format_args!("{:?}", self.scenario.clone()));
        self.etcd_ticks();
        (0..self.scenario.nodes).for_each(|node| self.start_node(node));
        (0..self.scenario.routers).for_each(|router| self.start_router(router));
        for editor in 0..self.scenario.editors {
            let document = editor % self.scenario.documents;
            let wait = self.random.millis(0, 3_000);
            self.after(Place::Editor(editor), wait, move |world| {
                let editor = world.new_editor(document);
                world.edits(editor);
            });
        }
        self.next_fault();
    }

    fn next_fault(&mut self) {
        if self.scenario.faults.is_empty() {
            return;
        }
        let wait = self.random.millis(100, self.scenario.fault_interval.as_millis() as u64);
        self.after(Place::Etcd, wait, |world| {
            if world.at < world.scenario.lasts {
                let fault = world.scenario.faults[world.random.index(world.scenario.faults.len())];
                world.fault(fault);
                world.next_fault();
            }
        });
    }

    fn fault(&mut self, fault: Fault) {
        let node = self.random.index(self.scenario.nodes);
        let router = self.random.index(self.scenario.routers);
        let silent = self.random.thousandths(300);
        let back = self.random.millis(50, 12_000);
        match fault {
            Fault::CrashNode => {
                self.crash_node(node, silent);
                self.after(Place::Etcd, back, move |world| world.start_node(node));
            }
            Fault::CrashRouter => {
                self.crash_router(router, silent);
                self.after(Place::Etcd, back, move |world| world.start_router(router));
            }
            Fault::PauseNode => self.pause(Place::Node(node), back),
            Fault::PauseRouter => self.pause(Place::Router(router), back),
            Fault::Cut => self.cut_something(back),
            Fault::Reset => {
                let at = self.random.index(64);
                if let Some(link) = self.network.some_link(at) {
                    let client = self.random.thousandths(500);
                    self.break_end(link, client);
                }
            }
            Fault::EtcdAway => {
                self.etcd_goes();
                self.after(Place::Log, back, Self::etcd_comes_back);
            }
            Fault::Seal => self.seal_something(node),
            Fault::Drain => self.drain_node(node),
            Fault::Move => self.moves_something(),
            Fault::Strike => self.arm(back),
            Fault::Operator => self.operator(),
            Fault::Delete => {
                let document = self.documents[self.random.index(self.documents.len())].clone();
                let delete = !self.facts[&document].deleted;
                self.operates(document, delete);
            }
            Fault::Disconnect | Fault::Leave | Fault::Stall => self.editor_fault(fault, back),
        }
    }

    fn editor_fault(&mut self, fault: Fault, length: Duration) {
        if self.editors.is_empty() {
            return;
        }
        let editor = self.random.index(self.editors.len());
        match fault {
            Fault::Leave if self.random.thousandths(300) => self.leaves(editor),
            Fault::Stall => {
                let document = self.documents[self.editors[editor].document].clone();
                if let Some(connection) = &self.editors[editor].connection {
                    let (router, session) = (connection.router, connection.session);
                    self.stall(router, &document, session, length);
                }
            }
            _ => self.disconnects(editor),
        }
    }

    pub(crate) fn pause(&mut self, place: Place, length: Duration) {
        let Some(life) = self.life_mut(place).filter(|life| life.up && !life.paused) else { return };
        life.paused = true;
        let run = life.run;
        self.counts.pauses += 1;
        self.say(format_args!("{place:?} is paused"));
        self.paused(place);
        self.after(Place::Etcd, length, move |world| {
            if world.lives(place, run) {
                world.say(format_args!("{place:?} goes on"));
                world.resume(place);
            }
        });
    }

    fn seal_something(&mut self, node: usize) {
        let serving = self.nodes[node].residents.iter().filter(|(_, resident)| resident.document.is_some());
        let Some((document, number)) = serving.map(|(id, of)| (id.clone(), of.number)).next() else { return };
        let wait = self.random.millis(1, 1_000);
        self.say(format_args!("{:?}: {document} is sealed", Place::Node(node)));
        self.tell(node, &document, number, Input::Seal);
        self.after(Place::Node(node), wait, move |world| {
            let claim = world.random.thousandths(700);
            let Some(resident) = world.resident(node, &document, number) else { return };
            let claimed = resident.epoch() > Epoch::ZERO;
            world.tell(node, &document, number, if claim && claimed { Input::Claim } else { Input::Unseal });
        });
    }

    fn cut_something(&mut self, length: Duration) {
        let node = Place::Node(self.random.index(self.scenario.nodes));
        let router = Place::Router(self.random.index(self.scenario.routers));
        let other = Place::Node(self.random.index(self.scenario.nodes));
        let (a, b) = match self.random.index(5) {
            0 | 1 => (router, node),
            2 => (node, Place::Log),
            3 => (if self.random.thousandths(500) { node } else { router }, Place::Etcd),
            _ => (node, other),
        };
        if a == b {
            return;
        }
        self.cut_for(a, b, length);
    }

    pub(crate) fn cut_for(&mut self, a: Place, b: Place, length: Duration) {
        self.counts.cuts += 1;
        self.cut(a, b);
        self.after(Place::Log, length, move |world| {
            world.say(format_args!("{a:?} reaches {b:?} again"));
            world.network.mend(a, b);
        });
    }

    /// Nothing is wrong any more, and everything is up.
    pub(crate) fn heal(&mut self) {
        self.healed = true;
        self.armed = None;
        self.say(format_args!("everything is healed"));
        self.network.mend_all();
        self.etcd_comes_back();
        self.uncordon_all();
        for node in 0..self.scenario.nodes {
            if self.nodes[node].life.paused {
                self.resume(Place::Node(node));
            }
            // One that still drains comes back by itself.
            self.start_node(node);
        }
        for router in 0..self.scenario.routers {
            if self.routers[router].life.paused {
                self.resume(Place::Router(router));
            }
            self.start_router(router);
            self.unstall_all(router);
        }
        for document in self.documents.clone() {
            self.brings_back(document);
        }
        // Whose words were under way a moment ago must be heard. What waited longer was given up in the meantime.
        let at = self.at;
        let words = std::mem::take(&mut self.last_words);
        let heard = |words: &LastWords| words.at + LAST_WORDS > at && self.lives(words.router, words.run);
        self.last_words = words.into_iter().filter(heard).collect();
    }
}
