//! Stock clients as people use them, beside the clients of [`crate::load`].

use std::time::Duration;

use harness::{Agent, Cluster};
use serde_json::json;

use crate::load::Ended;

const DOCUMENT: &str = "stock";
const EQUAL_TIMEOUT: Duration = Duration::from_secs(60);

/// A client of each line at every address, all in one document.
pub(crate) struct Stock {
    /// With the names of its clients.
    agents: Vec<(Agent, Vec<String>)>,
    /// The processes that shall keep their sockets.
    calm: Vec<String>,
    edits: u64,
}

impl Stock {
    /// At these processes. Clients of a process that dies come back when it does.
    pub(crate) fn open(cluster: &Cluster, lines: &[&str], at: &[String]) -> Self {
        let agents = lines.iter().map(|line| {
            let mut agent = Agent::start(line);
            for name in at {
                let url = cluster.server(name).url();
                agent.run("open", json!({"name": name, "url": url, "document": DOCUMENT}));
            }
            agent.wait_synced(at);
            (agent, at.to_vec())
        });
        Self { agents: agents.collect(), calm: cluster.routers(), edits: 0 }
    }

    /// A few edits of every kind, by all of them.
    pub(crate) fn edit(&mut self) {
        for (agent, names) in &mut self.agents {
            self.edits += 1;
            agent.run("randomEdits", json!({"names": names, "edits": 20, "seed": self.edits}));
        }
    }

    /// Sockets at routers that ended so far.
    pub(crate) fn closed(&mut self) -> usize {
        let calm = self.calm.clone();
        let closes = self.agents.iter_mut().flat_map(|(agent, names)| {
            let names: Vec<_> = names.iter().filter(|name| calm.contains(name)).collect();
            let statuses = agent.run("statuses", json!({"names": names}));
            statuses.as_array().cloned().unwrap_or_default()
        });
        closes.map(|status| status["closes"].as_array().map_or(0, Vec::len)).sum()
    }

    /// Sockets that ended so far, of those that were open once.
    pub(crate) fn ended(&mut self, cluster: &Cluster) -> Vec<Ended> {
        let mut ended = Vec::new();
        for (agent, names) in &mut self.agents {
            for name in names.iter() {
                let address = cluster.server(name).editors();
                let status = agent.run("status", json!({"name": name}));
                let spans = status["ended"].as_array().cloned().unwrap_or_default();
                ended.extend(spans.iter().map(|span| {
                    let millis = |place: usize| span[place].as_u64().expect("a time");
                    Ended { address, opened: millis(0), closed: millis(1) }
                }));
            }
        }
        ended
    }

    /// Waits until each of them is in step with its server.
    pub(crate) fn wait_synced(&mut self) {
        for (agent, names) in &mut self.agents {
            agent.wait_synced(names);
        }
    }

    /// All are equal, and equal to what an independent Yjs finds in the store (I5).
    pub(crate) fn check(&mut self, cluster: &Cluster) {
        self.wait_synced();
        harness::wait_for("all stock clients hold what is stored", EQUAL_TIMEOUT, || {
            let update = harness::base64(&cluster.export(DOCUMENT));
            let mut stored = None;
            self.agents
                .iter_mut()
                .all(|(agent, names)| {
                    let stored =
                        stored.get_or_insert_with(|| agent.run("decodeDigest", json!({"update": update})));
                    let digests = agent.run("digests", json!({"names": names}));
                    digests.as_array().is_some_and(|digests| digests.iter().all(|digest| digest == stored))
                })
                .then_some(())
        });
    }

    /// What an independent Yjs makes of a stored state.
    pub(crate) fn decode(&mut self, update: &[u8]) -> serde_json::Value {
        let (first, _) = self.agents.first_mut().expect("there is a line");
        first.run("decode", json!({"update": harness::base64(update)}))
    }
}
