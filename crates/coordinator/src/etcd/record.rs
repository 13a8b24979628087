//! How the facts are written in etcd: which keys there are and what stands under them.

use std::collections::BTreeMap;

use ringleaf_ring::{Member, MemberState, VIRTUAL_NODES_PER_WEIGHT, VirtualNodes, Weight};
use ringleaf_types::{DocumentId, Incarnation, NodeId};
use serde::{Deserialize, Serialize};

use super::picture::{Change, Facts};
use crate::RingConfig;

/// Limit: a member's record is about 200 bytes. Whoever writes more than this did not write a member.
const RECORD_BYTES_MAX: usize = 4 << 10;

/// The keys of one cluster.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    prefix: String,
}

impl Keys {
    pub(crate) fn of(cluster: &str) -> Self {
        Self { prefix: format!("/ringleaf/{cluster}/") }
    }

    /// What all of them begin with.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What is written to get a new revision, when nothing else changes.
    pub(crate) fn touched(&self) -> String {
        format!("{}touched", self.prefix)
    }

    pub(crate) fn config(&self) -> String {
        format!("{}config", self.prefix)
    }

    pub(crate) fn rebalance(&self) -> String {
        format!("{}rebalance", self.prefix)
    }

    /// What all pins begin with.
    pub(crate) fn pins(&self) -> String {
        format!("{}pins/", self.prefix)
    }

    pub(crate) fn pin(&self, document: &DocumentId) -> String {
        format!("{}pins/{}", self.prefix, document.as_str())
    }

    /// Written with every pin, so that two operators do not pin at once: their number has a limit.
    pub(crate) fn pinned(&self) -> String {
        format!("{}pinned", self.prefix)
    }

    pub(crate) fn cordon(&self, node: &NodeId) -> String {
        format!("{}cordons/{node}", self.prefix)
    }

    pub(crate) fn weight(&self, node: &NodeId) -> String {
        format!("{}weights/{node}", self.prefix)
    }

    /// What the keys of all members begin with.
    pub(crate) fn members(&self) -> String {
        format!("{}members/", self.prefix)
    }

    pub(crate) fn member(&self, node: &NodeId) -> String {
        format!("{}members/{node}", self.prefix)
    }

    /// What it means that `value` stands under `key`, or that nothing does any more. `None`: nothing to the ring.
    pub(crate) fn change(&self, key: &[u8], value: Option<&[u8]>) -> Option<Change> {
        let key = std::str::from_utf8(key).ok()?.strip_prefix(&self.prefix)?;
        if key == "config" {
            return Some(Change::VirtualNodes(value.and_then(RingConfig::virtual_nodes_in)));
        }
        let (kind, node) = key.split_once('/')?;
        if kind == "pins" {
            return Some(Change::Pin(node.parse().ok()?, value.and_then(pinned_to)));
        }
        let node: NodeId = node.parse().ok()?;
        match kind {
            "members" => Some(Change::Member(node.clone(), value.and_then(|value| member(node, value)))),
            "cordons" => Some(Change::Cordon(node, value.is_some())),
            "weights" => Some(Change::Weight(node, value.and_then(weight))),
            _ => None,
        }
    }

    /// All facts of a list.
    pub(crate) fn facts<'a>(&self, listed: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Facts {
        let mut facts = Facts::default();
        for (key, value) in listed {
            if let Some(change) = self.change(key, Some(value)) {
                facts.take(change);
            }
        }
        facts
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Joining,
    Serving,
    Draining,
}

/// A member without its name, which is in the key. Fields that a newer version adds are passed over.
#[derive(Serialize, Deserialize)]
struct Record {
    /// In hexadecimal digits: JSON's numbers end at 2^53.
    incarnation: String,
    state: State,
    weight: u32,
    address: String,
    #[serde(default)]
    zone: String,
    #[serde(default)]
    version: String,
    /// It knows that documents can be pinned. Processes of before that do not say so, and would go by the circle alone.
    #[serde(default)]
    pins: bool,
}

/// What stands under a member's key.
pub(crate) fn encode(member: &Member) -> String {
    serde_json::to_string(&record(member)).expect("a record has only texts and numbers")
}

fn record(member: &Member) -> Record {
    Record {
        incarnation: format!("{:016x}", member.incarnation.get()),
        state: match member.state {
            MemberState::Joining => State::Joining,
            MemberState::Serving => State::Serving,
            MemberState::Draining => State::Draining,
        },
        weight: member.weight.get(),
        address: member.address.clone(),
        zone: member.zone.clone(),
        version: member.version.clone(),
        pins: true,
    }
}

/// Whether the member whose record this is goes by pins.
pub(crate) fn knows_pins(value: &[u8]) -> bool {
    serde_json::from_slice::<Record>(value).is_ok_and(|record| record.pins)
}

/// The member of this name, if that is what stands there.
pub(crate) fn member(node: NodeId, value: &[u8]) -> Option<Member> {
    if value.len() > RECORD_BYTES_MAX {
        return None;
    }
    from_record(node, serde_json::from_slice(value).ok()?)
}

fn from_record(node: NodeId, record: Record) -> Option<Member> {
    Some(Member {
        node,
        incarnation: Incarnation::new(u64::from_str_radix(&record.incarnation, 16).ok()?),
        state: match record.state {
            State::Joining => MemberState::Joining,
            State::Serving => MemberState::Serving,
            State::Draining => MemberState::Draining,
        },
        weight: Weight::new(record.weight).ok()?,
        address: record.address,
        zone: record.zone,
        version: record.version,
    })
}

fn weight(value: &[u8]) -> Option<Weight> {
    Weight::new(std::str::from_utf8(value).ok()?.trim().parse().ok()?).ok()
}

fn pinned_to(value: &[u8]) -> Option<NodeId> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

/// The last view, as it is kept on disk.
#[derive(Serialize, Deserialize)]
pub(crate) struct Cached {
    cluster: u64,
    version: u64,
    #[serde(default = "standard")]
    virtual_nodes_per_weight: u32,
    members: BTreeMap<String, Record>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pins: BTreeMap<String, String>,
}

/// What a view has that was kept before this number was.
fn standard() -> u32 {
    VIRTUAL_NODES_PER_WEIGHT
}

impl Cached {
    pub(crate) fn of(view: &ringleaf_ring::RingView) -> Self {
        let members = view.members().iter();
        let pins = view.pins().iter();
        Self {
            cluster: view.cluster().get(),
            version: view.version().get(),
            virtual_nodes_per_weight: view.virtual_nodes().get(),
            members: members.map(|member| (member.node.to_string(), record(member))).collect(),
            pins: pins.map(|(document, node)| (document.as_str().to_owned(), node.to_string())).collect(),
        }
    }

    /// The view, if one was kept.
    pub(crate) fn view(self) -> Option<ringleaf_ring::RingView> {
        let members = self.members.into_iter();
        let members: Option<Vec<Member>> =
            members.map(|(node, record)| from_record(node.parse().ok()?, record)).collect();
        let cluster = ringleaf_ring::ClusterId::new(self.cluster);
        let version = ringleaf_types::RingVersion::new(self.version);
        let virtual_nodes = VirtualNodes::new(self.virtual_nodes_per_weight).ok()?;
        let view =
            ringleaf_ring::RingView::with_virtual_nodes(cluster, version, virtual_nodes, members?).ok()?;
        let pins = self.pins.into_iter();
        let pins: Option<ringleaf_ring::Pins> =
            pins.map(|(document, node)| Some((document.parse().ok()?, node.parse().ok()?))).collect();
        Some(view.pinned(version, pins?))
    }
}
