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

#[cfg(test)]
mod tests {
    use futures_util::future::{BoxFuture, pending};
    use ringleaf_node::{Node, NodeConfig};
    use ringleaf_peer::{
        AdminAnswer, AdminRequest, Answers, LinksConfig, PeerConfig, PeerServer, Probed, RunningPeerServer,
    };
    use ringleaf_ring::{MemberState, Weight};
    use ringleaf_store::MemoryStore;
    use ringleaf_types::{Incarnation, Limits, RingVersion};
    use tokio::sync::Notify;

    use super::*;

    /// Who answers at an address, and that he was asked.
    struct Process(&'static str, u64, Arc<Notify>);

    impl Answers for Process {
        fn probed(&self) -> Probed {
            let (node, incarnation) = (self.0.parse().unwrap(), Incarnation::new(self.1));
            self.2.notify_one();
            Probed { node, incarnation, ring: RingVersion::new(1), serving: false }
        }

        fn heard_ring(&self, _: RingVersion) {}

        fn admin(&self, _: AdminRequest) -> BoxFuture<'_, AdminAnswer> {
            Box::pin(pending())
        }
    }

    /// A process listens, and says that it is this.
    fn answering(name: &'static str, incarnation: u64) -> (RunningPeerServer, String, Arc<Notify>) {
        let limits = Arc::new(Limits::default());
        let config = NodeConfig {
            node: name.parse().unwrap(),
            incarnation: Incarnation::new(incarnation),
            limits: Arc::clone(&limits),
            reader: ringleaf_reader::Program::default(),
            gc: ringleaf_types::GcRules::default(),
        };
        let node = Node::start(config, Arc::new(MemoryStore::new()));
        let listen = "127.0.0.1:0".parse().unwrap();
        let server = PeerServer::bind(PeerConfig { listen, tls: None, limits }).unwrap();
        let address = server.local_addr().to_string();
        let asked = Arc::new(Notify::new());
        let process = Process(name, incarnation, Arc::clone(&asked));
        (server.start(node, Arc::new(process)), address, asked)
    }

    /// What the node `n1` of incarnation 1 finds out about itself, when it advertises this.
    async fn tested(store: MemoryStore, address: &str, within: Duration) -> Result<(), Failure> {
        let config = LinksConfig { this: "n1".into(), tls: None, limits: Arc::new(Limits::default()) };
        let test = SelfTest { store: Arc::new(store), links: Links::new(config) };
        let member = Member {
            node: "n1".parse().unwrap(),
            incarnation: Incarnation::new(1),
            state: MemberState::Serving,
            weight: Weight::ONE,
            address: address.into(),
            zone: String::new(),
            version: String::new(),
        };
        test.pass_within(&member, within).await
    }

    fn refusal(failure: &Failure) -> (&str, Exit) {
        (failure.code.as_str(), failure.exit)
    }

    #[tokio::test]
    async fn a_node_that_finds_itself_and_its_store_passes() {
        let (_server, address, _) = answering("n1", 1);
        tested(MemoryStore::new(), &address, Duration::ZERO).await.unwrap();
    }

    #[tokio::test]
    async fn a_node_whose_store_takes_nothing_stays_off_the_ring() {
        let (_server, address, _) = answering("n1", 1);
        let store = MemoryStore::new();
        store.close().await;
        let failure = tested(store, &address, Duration::ZERO).await.unwrap_err();
        assert_eq!(refusal(&failure), ("self_test_store", Exit::Unreachable));
    }

    /// However long it may try: this is a mistake of whoever has set it up.
    #[tokio::test]
    async fn a_node_that_advertises_the_address_of_another_one_stops_at_once() {
        let (_server, address, _) = answering("n2", 1);
        let failure = tested(MemoryStore::new(), &address, Duration::from_hours(1)).await.unwrap_err();
        assert_eq!(refusal(&failure), ("self_test_address", Exit::Configuration));
        assert!(failure.message.contains("node n2 answers"), "{}", failure.message);
    }

    #[tokio::test]
    async fn a_node_whose_namesake_answers_stays_off_the_ring() {
        let (_server, address, _) = answering("n1", 2);
        let failure = tested(MemoryStore::new(), &address, Duration::ZERO).await.unwrap_err();
        assert_eq!(refusal(&failure), ("self_test_address", Exit::Configuration));
        assert!(failure.message.contains("another process"), "{}", failure.message);
    }

    /// Whoever had the name before may be just ending.
    #[tokio::test]
    async fn a_node_whose_namesake_ends_in_time_passes() {
        let (server, address, asked) = answering("n1", 2);
        let ends = async {
            for _once_and_again in 0..2 {
                asked.notified().await;
            }
            drop(server);
        };
        let test = tested(MemoryStore::new(), &address, Duration::from_mins(1));
        let (passed, ()) = futures_util::future::join(test, ends).await;
        passed.unwrap();
    }

    /// Not every network leads from a host back to itself.
    #[tokio::test]
    async fn a_node_that_nobody_answers_at_its_own_address_passes() {
        let (server, address, _) = answering("n1", 1);
        drop(server);
        tested(MemoryStore::new(), &address, Duration::ZERO).await.unwrap();
    }
}
