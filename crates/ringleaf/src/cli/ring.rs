//! The commands about the ring and its nodes.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use ringleaf_ring::{VirtualNodes, Weight};
use ringleaf_types::NodeId;

use super::{Hosting, Output, Target};

/// Which server.
#[derive(Debug, Clone, Args)]
pub(crate) struct Server {
    #[command(flatten)]
    pub(crate) output: Output,
    /// Admin address of any process of the cluster [env: RINGLEAF_ADMIN] [default: that of
    /// ./ringleaf.toml, else http://127.0.0.1:1235]
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// Give up after so many seconds without an answer
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=604_800))]
    timeout: u64,
}

impl Server {
    pub(crate) fn target(&self) -> Target {
        Target { admin: self.admin.clone(), data: None, timeout: self.timeout }
    }
}

/// `ringleaf node` starts one; with a subcommand it asks or tells.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_help_heading = "Commands about nodes")]
pub(crate) struct NodeOr {
    #[command(subcommand)]
    pub(crate) command: Option<NodeCommand>,
    #[command(flatten)]
    pub(crate) run: Hosting,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List the nodes, and what each of them has
    #[command(visible_alias = "ls")]
    List(Server),
    /// Show everything that is known of one node
    Show(OfNode),
    /// Take a node off the ring while it runs on: the others own its documents from now on
    Cordon(OfNode),
    /// Let a node back on the ring
    Uncordon(OfNode),
    /// Hand everything off that a node has, and end its process
    ///
    /// What has not left after --timeout is written and let go of: its editors are served elsewhere all the same, after a
    /// longer pause. Exits with 0 only when nothing was cut off.
    Drain {
        /// Name of the node; the one that is asked, if there is none
        node: Option<NodeId>,
        #[command(flatten)]
        server: Server,
    },
    /// Give a node another weight than it has of itself
    Weight {
        #[command(flatten)]
        node: OfNode,
        /// 1 to 64, or "own" for the one that it has of itself
        #[arg(value_parser = weight_or_own)]
        weight: WeightOrOwn,
    },
    /// Forget what was said (cordon, weight) of a node that is gone
    Forget(OfNode),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct OfNode {
    /// Name of the node
    pub(crate) node: NodeId,
    #[command(flatten)]
    pub(crate) server: Server,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WeightOrOwn {
    Weight(Weight),
    Own,
}

fn weight_or_own(text: &str) -> Result<WeightOrOwn, String> {
    if text == "own" { Ok(WeightOrOwn::Own) } else { weight(text).map(WeightOrOwn::Weight) }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Ring {
    /// Show the ring: its members and their shares
    Show {
        /// Show every point instead
        #[arg(long)]
        vnodes: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Say who should own documents, and where they are in memory
    Owner {
        /// Names of the documents
        #[arg(required = true, value_name = "DOCUMENT")]
        documents: Vec<String>,
        #[command(flatten)]
        server: Server,
    },
    /// Say what a change would move, before anything moves
    #[command(override_usage = "ringleaf ring plan [OPTIONS] <CHANGE>...")]
    Plan(Plan),
    /// Write a ring configuration (see ring-config/default.toml) for the whole cluster
    Apply {
        /// The file, or - for stdin
        file: PathBuf,
        /// Do it without asking
        #[arg(short, long)]
        yes: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Watch, pause or resume the moves of documents that a changed ring asks for
    #[command(subcommand)]
    Rebalance(Rebalance),
    /// Show how the ring has changed since the process that is asked has started
    History(Server),
    /// Predict on paper: balance, movement and memory of a cluster (needs no server)
    Simulate(Simulate),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Rebalance {
    /// Say how many documents have still to move, are moving, and have moved, for each node
    Status(Server),
    /// Keep documents where they are, whatever the ring says
    ///
    /// Handoffs that have begun end. A node that leaves the ring (drain, cordon, no way to the store) is emptied all the same,
    /// and a document that a router opens anew is opened where the ring says.
    Pause(Server),
    /// Let documents move to whom the ring names
    Resume(Server),
}

#[derive(Debug, Args)]
#[group(id = "changes", required = true, multiple = true, args = ["add", "remove", "weight", "virtual_nodes"])]
pub(crate) struct Plan {
    /// A node joins
    #[arg(long, value_name = "NAME[=WEIGHT]", value_parser = node_and_maybe_weight)]
    pub(crate) add: Vec<(NodeId, Weight)>,
    /// A node leaves, or is cordoned
    #[arg(long, value_name = "NAME")]
    pub(crate) remove: Vec<NodeId>,
    /// A node gets another weight
    #[arg(long, value_name = "NAME=WEIGHT", value_parser = node_and_weight)]
    pub(crate) weight: Vec<(NodeId, Weight)>,
    /// All get another number of virtual nodes for each weight
    #[arg(long, value_name = "NUMBER", value_parser = virtual_nodes)]
    pub(crate) virtual_nodes: Option<VirtualNodes>,
    #[command(flatten)]
    pub(crate) server: Server,
}

#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// How many nodes
    #[arg(long, value_name = "NUMBER")]
    pub(crate) nodes: u32,
    /// How many documents there are in all
    #[arg(long, value_name = "NUMBER")]
    pub(crate) documents: u64,
    /// Weights, given to the nodes in turn [default: 1]
    #[arg(long, value_name = "WEIGHT,…", value_delimiter = ',', value_parser = weight)]
    pub(crate) weights: Vec<Weight>,
    /// Points on the ring for each unit of weight
    #[arg(long, value_name = "NUMBER", value_parser = virtual_nodes, default_value = "128")]
    pub(crate) virtual_nodes: VirtualNodes,
    /// How many documents are in memory at one time [default: a hundredth of all]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) resident: Option<u64>,
    /// What a document in memory takes, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 32 << 10)]
    pub(crate) document_bytes: u64,
    #[command(flatten)]
    pub(crate) output: Output,
}

fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("{text:?} is no whole number"))
}

fn weight(text: &str) -> Result<Weight, String> {
    Weight::new(number(text)?).map_err(|problem| problem.to_string())
}

fn virtual_nodes(text: &str) -> Result<VirtualNodes, String> {
    VirtualNodes::new(number(text)?).map_err(|problem| problem.to_string())
}

fn node(text: &str) -> Result<NodeId, String> {
    text.parse().map_err(|problem: ringleaf_types::NodeIdError| problem.to_string())
}

fn node_and_weight(text: &str) -> Result<(NodeId, Weight), String> {
    let (name, weighs) = text.split_once('=').ok_or("write it as NAME=WEIGHT")?;
    Ok((node(name)?, weight(weighs)?))
}

fn node_and_maybe_weight(text: &str) -> Result<(NodeId, Weight), String> {
    if text.contains('=') { node_and_weight(text) } else { Ok((node(text)?, Weight::ONE)) }
}
