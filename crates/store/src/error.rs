//! Why an operation failed, and what to do about it.

use ringleaf_types::{DocumentId, Slot};

/// Why the store did not carry out an operation.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the disk is full")]
    DiskFull(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the store does not answer")]
    Away(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the store is closed")]
    Closed,
    #[error("slot {slot} of document {document} does not match its checksum")]
    Corrupt { document: DocumentId, slot: Slot },
    #[error("the log of document {document} has a gap after slot {after}")]
    Gap { document: DocumentId, after: Slot },
    #[error("the store holds a row that this version cannot read: {what}")]
    Unreadable { what: String },
}

/// What a caller should do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    RetryLater,
    GiveUp,
}

impl StoreError {
    pub fn advice(&self) -> Advice {
        match self {
            Self::DiskFull(_) | Self::Away(_) => Advice::RetryLater,
            Self::Closed | Self::Corrupt { .. } | Self::Gap { .. } | Self::Unreadable { .. } => {
                Advice::GiveUp
            }
        }
    }
}
