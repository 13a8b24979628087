//! What a node finds out about itself before it goes onto the ring.
//!
//! ```text
//! the store takes a note, has it, forgets it ─▶ the advertised address answers, and it is this process ─▶ on the ring
//!                                    └ tried again for a while └ somebody else answers there ─▶ stop at once
//! ```

use std::sync::Arc;
use std::time::Duration;

use ringleaf_peer::{Links, ProbeError};
use ringleaf_ring::Member;
use ringleaf_store::Store;
use ringleaf_types::DocumentId;
use tokio::time::{Instant, sleep, timeout};
use tracing::info;

use crate::exit::{Exit, Failure, chain};

/// Names may become known late, and a store may just have come: so long it is tried.
const WITHIN: Duration = Duration::from_secs(30);
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(500);
/// How long the store may take for each step, and this process to answer itself.
const STEP_TIMEOUT: Duration = Duration::from_secs(2);

/// What is tested.
pub(crate) struct SelfTest {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) links: Arc<Links>,
}

/// Why a node may not go onto the ring.
enum Problem {
    /// It may be better in a moment.
    Now(Failure),
    /// It is a mistake that somebody has to correct.
    ForEver(Failure),
}

impl SelfTest {
    /// Whether the node may go onto the ring.
    ///
    /// # Errors
    ///
    /// It cannot do its work, or others would not find it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave a note at the store that is overwritten by the next test.
    pub(crate) async fn pass(&self, member: &Member) -> Result<(), Failure> {
        self.pass_within(member, WITHIN).await
    }

    async fn pass_within(&self, member: &Member, within: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + within;
        let mut said = false;
        loop {
            let failure = match self.try_once(member).await {
                Ok(()) => return Ok(()),
                Err(Problem::ForEver(failure)) => return Err(failure),
                Err(Problem::Now(failure)) => failure,
            };
            if Instant::now() >= deadline {
                return Err(failure);
            }
            if !std::mem::replace(&mut said, true) {
                info!(problem = %failure, "not on the ring yet");
            }
            sleep(AGAIN).await;
        }
    }

    async fn try_once(&self, member: &Member) -> Result<(), Problem> {
        self.store(member).await.map_err(|problem| {
            let text =
                format!("the self-test failed: the store does not take a note and give it back: {problem}");
            let advice = "see whether the database is up, and whether its user may write";
            Problem::Now(Failure::new(Exit::Unreachable, "self_test_store", text).advise(advice))
        })?;
        self.peer(member).await
    }

    /// Writes something that is durable, has it read back, and takes it away again.
    async fn store(&self, member: &Member) -> Result<(), String> {
        let name = format!("ringleaf/self-test/{}", member.node);
        let document: DocumentId =
            name.parse().map_err(|problem: ringleaf_types::DocumentIdError| problem.to_string())?;
        let steps = async {
            self.store.mark_attempt(&document).await?;
            let noted = self.store.noted().await?;
            self.store.mark_outcome(&document, None).await?;
            Ok(noted.iter().any(|(noted, _)| *noted == document))
        };
        match timeout(STEP_TIMEOUT, steps).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err("what was written is not there".into()),
            Ok(Err(error)) => {
                let error: ringleaf_store::StoreError = error;
                Err(chain(&error))
            }
            Err(_) => Err(format!("no answer within {} s", STEP_TIMEOUT.as_secs())),
        }
    }

    /// Asks for this process where others will.
    async fn peer(&self, member: &Member) -> Result<(), Problem> {
        let address = &member.address;
        let fail = |text: String| {
            let text = format!("the self-test failed: {text}");
            Failure::new(Exit::Configuration, "self_test_address", text).advise(
                "give each node an address of its own, at which the others reach it, with --advertise",
            )
        };
        match self.links.probe(&member.node, address, STEP_TIMEOUT).await {
            Ok(probed) if probed.incarnation == member.incarnation => Ok(()),
            Ok(_) => Err(Problem::Now(fail(format!(
                "another process that is called {} answers at {address}",
                member.node
            )))),
            Err(ProbeError::OtherNode { node }) => Err(Problem::ForEver(fail(format!(
                "node {node} answers at {address}, which this one advertises"
            )))),
            // Not every network leads from a host back to itself by the address that others use.
            Err(problem @ (ProbeError::Unreachable | ProbeError::Malformed)) => {
                info!(address, %problem, "this node cannot reach itself at the address that it advertises");
                Ok(())
            }
        }
    }
}
