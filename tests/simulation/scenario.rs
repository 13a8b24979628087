//! What a seed is about: how many of everything, and which faults. Each seed has some faults and not others, so that each is
//! met alone and in company.

use std::time::Duration;

use crate::random::Random;

#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) nodes: usize,
    pub(crate) routers: usize,
    pub(crate) documents: usize,
    pub(crate) editors: usize,
    /// For how long there are edits and faults.
    pub(crate) lasts: Duration,
    /// Between two edits of one editor, at most.
    pub(crate) edit_interval: Duration,
    /// Between two faults, at most. A scenario without faults is one too.
    pub(crate) fault_interval: Duration,
    pub(crate) faults: Vec<Fault>,
    pub(crate) store: StoreFaults,
    /// Of a thousand messages, so many are late by up to half a second.
    pub(crate) late_messages: u64,
    /// Of a thousand offers, so many are answered with busy.
    pub(crate) busy: u64,
    /// Of a thousand lists of etcd, so many are old.
    pub(crate) etcd_lags: u64,
    pub(crate) tail_slots_max: usize,
    /// Editors show where they are.
    pub(crate) presence: bool,
}

/// What is done to processes and to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    CrashNode,
    CrashRouter,
    PauseNode,
    PauseRouter,
    /// Two places do not reach each other.
    Cut,
    /// A link between a router and a node is reset.
    Reset,
    EtcdAway,
    /// A handoff begins, and comes to nothing: the document is sealed, and goes on or claims anew.
    Seal,
    /// A node leaves in order, and comes back.
    Drain,
    /// An operator changes a weight or a cordon.
    Operator,
    /// An operator has documents moved.
    Move,
    /// The same, and something happens in the middle of it.
    Strike,
    /// An operator deletes a document, or brings it back.
    Delete,
    /// An editor's socket breaks.
    Disconnect,
    /// An editor's socket takes nothing for a while.
    Stall,
    /// An editor goes for good.
    Leave,
}

/// Of a thousand operations of the store.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StoreFaults {
    /// Carried out, but the reply is lost.
    pub(crate) lost_replies: u64,
    /// Not carried out.
    pub(crate) errors: u64,
    /// Carried out once more, later.
    pub(crate) repeated: u64,
    /// On their way for seconds.
    pub(crate) late: u64,
}

const FAULTS: [Fault; 16] = [
    Fault::CrashNode,
    Fault::CrashRouter,
    Fault::PauseNode,
    Fault::PauseRouter,
    Fault::Cut,
    Fault::Reset,
    Fault::EtcdAway,
    Fault::Seal,
    Fault::Drain,
    Fault::Operator,
    Fault::Move,
    Fault::Strike,
    Fault::Delete,
    Fault::Disconnect,
    Fault::Stall,
    Fault::Leave,
];

impl Scenario {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let faults = FAULTS.into_iter().filter(|_| random.thousandths(450)).collect();
        let mut rate = |often| if random.thousandths(500) { random.between(1, often) } else { 0 };
        let store =
            StoreFaults { lost_replies: rate(150), errors: rate(150), repeated: rate(100), late: rate(80) };
        let late_messages = rate(150);
        let busy = rate(300);
        Self {
            nodes: random.between(1, 5) as usize,
            routers: random.between(1, 4) as usize,
            documents: random.between(1, 4) as usize,
            editors: random.between(2, 7) as usize,
            lasts: random.millis(10_000, 60_000),
            edit_interval: random.millis(100, 2_000),
            fault_interval: random.millis(500, 8_000),
            faults,
            store,
            late_messages,
            busy,
            etcd_lags: 150,
            tail_slots_max: random.between(4, 60) as usize,
            presence: random.thousandths(500),
        }
    }
}
