//! How a coordinator asks a member whether it lives.

use async_trait::async_trait;
use ringleaf_ring::Member;

/// Asks members directly, when what the coordinator's store says of them is hard to believe.
#[async_trait]
pub trait Prober: Send + Sync + 'static {
    /// Whether this run of this member answers at its address. Another run of it (another incarnation) is not it.
    ///
    /// # Cancel safety
    ///
    /// It is dropped when it takes too long, which counts as no.
    async fn alive(&self, member: &Member) -> bool;
}
