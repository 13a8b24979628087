//! The commands about documents.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use ringleaf_types::NodeId;

use crate::admin::Sort;

use super::{Confirmed, Named, OutputAndTarget, Server, Target};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Content {
    /// Everything the document holds, as JSON
    Json,
    /// The text alone
    Text,
    /// The bytes of one Yjs update
    Update,
}

#[derive(Debug, Args)]
pub(crate) struct DocList {
    /// Only those whose names begin so
    #[arg(default_value = "")]
    pub(crate) prefix: String,
    /// What comes first: names in order, or the most of something, in the whole cluster
    ///
    /// By updates, bytes, sessions and left-behind only documents in memory are listed: nothing is written to the others.
    /// Rates are those of about the last ten seconds.
    #[arg(long, value_enum, default_value = "name", value_name = "WHAT")]
    pub(crate) sort: Sort,
    /// At most so many [default: 1000 by name, else 20]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
    /// Only those whose names come after this one
    #[arg(long, value_name = "NAME")]
    pub(crate) after: Option<String>,
    #[command(flatten)]
    pub(crate) common: OutputAndTarget,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Doc {
    /// List documents, or find those that have the most of something
    #[command(visible_alias = "ls")]
    List(DocList),
    /// Show what is known of one document
    Show(Named),
    /// Print what a document holds
    Get {
        /// Name of the document
        name: String,
        /// How to print it
        #[arg(short = 'o', long = "output", value_enum, default_value = "json", value_name = "FORMAT")]
        format: Content,
        #[command(flatten)]
        target: Target,
    },
    /// Merge a file with Yjs updates into a document
    Import {
        /// Name of the document
        name: String,
        /// The file, or - for stdin
        file: PathBuf,
        #[command(flatten)]
        common: OutputAndTarget,
    },
    /// Write a document into a file, as one Yjs update
    Export {
        /// Name of the document
        name: String,
        /// The file, or - for stdout
        file: PathBuf,
        /// Replace the file if it exists
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        common: OutputAndTarget,
    },
    /// Read all stored bytes of a document and check them
    Verify(Verify),
    /// Delete a document (`undelete` brings it back)
    Rm(Confirmed),
    /// Bring a deleted document back
    Undelete(Named),
    /// Remove for ever what a deleted document held
    ///
    /// In a data folder it is overwritten where it was, and so are all free pages of the file, where trimmed parts of it may
    /// still lie; that takes a moment longer than the answer. What is not reached: backups made before, and copies of rows
    /// that the database had moved in its file and that lie in unused parts of pages in use. `ringleaf store copy` into a new
    /// folder, while nobody serves, leaves those behind, too. A PostgreSQL database overwrites in its own time (VACUUM). The document's name stays.
    Purge(Confirmed),
    /// Move a document to a node and pin it there: while that node serves, it owns the document
    ///
    /// The document is handed off with its editors, who go on typing. While the node is away or off the ring, the ring
    /// decides who owns the document; when it is back, the document goes back to it. `unpin` ends that.
    Move {
        #[command(flatten)]
        document: PinnedDocument,
        /// Name of the node
        node: NodeId,
    },
    /// End a document's pin: the ring decides again who owns it
    Unpin(PinnedDocument),
    /// List the documents that are pinned
    Pins(Server),
    /// Documents that broke their task and wait for a person
    #[command(subcommand)]
    Quarantine(Quarantine),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) named: Named,
    /// Have the CRDT library read and write it, too, in a process of its own: it may be unable to, or take long, though
    /// the document is sound
    #[arg(long)]
    pub(crate) deep: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct PinnedDocument {
    /// Name of the document
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) server: Server,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Quarantine {
    /// List them
    #[command(visible_alias = "ls")]
    List(OutputAndTarget),
    /// Show why a document is in quarantine
    Show(Named),
    /// Let a document be opened again
    Release(Confirmed),
}
