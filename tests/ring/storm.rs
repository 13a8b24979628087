//! The owner of crowded documents, or of very many, dies: everybody in them is attached to the next one, all at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use harness::yjs::{self, Frame};
use harness::{Cluster, ClusterOptions, Event, Socket, wait_for};

use crate::moves::{Seen, edit};
use crate::{DEATHS, percentile, routers};

/// Documents of other nodes, and who types in each.
const BYSTANDERS: usize = 4;
/// Who reads what comes to so many sockets.
const READERS: usize = 16;
const WITHIN: Duration = Duration::from_secs(120);
/// How long the others are watched before.
const CALM: Duration = Duration::from_secs(2);
/// Those who are not concerned wait less than a second; a busy machine may take ten times that.
const LATENCY_MAX: Duration = Duration::from_secs(10);
/// What a session may cost its router while it waits for an owner, beside what its socket holds already.
const SESSION_BYTES_MAX: u64 = 64 << 10;
/// And what the process may take for a while whoever comes.
const ROOM_BYTES: u64 = 64 << 20;
const NEVER: u64 = u64::MAX;

/// How many come, for so many in the long run.
fn at_most(count: usize) -> usize {
    if harness::long() { count } else { count / 5 }
}

/// What everybody in the crowd shares.
struct Crowd {
    begun_at: Instant,
    /// The owner is dead: type.
    dead: AtomicBool,
    over: AtomicBool,
    closed: AtomicUsize,
    /// Per editor, the last of its characters that it was told of.
    acknowledged: Vec<AtomicU64>,
    /// Per editor, when it was told of what it typed while there was no owner.
    served_at: Vec<AtomicU64>,
}

impl Crowd {
    fn acknowledged(&self, characters: u64) -> usize {
        let enough = |acknowledged: &&AtomicU64| acknowledged.load(Ordering::Relaxed) >= characters;
        self.acknowledged.iter().filter(enough).count()
    }

    fn told(&self, index: usize, clock: u64) {
        if clock > self.acknowledged[index].fetch_max(clock, Ordering::Relaxed) && clock >= 2 {
            let at = self.begun_at.elapsed().as_micros() as u64;
            self.served_at[index].fetch_min(at, Ordering::Relaxed);
        }
    }

    fn wait_acknowledged(&self, characters: u64) {
        let what = format!("everybody is told of {characters} character(s)");
        wait_for(&what, WITHIN, || {
            assert_eq!(self.closed.load(Ordering::Relaxed), 0, "sockets closed");
            (self.acknowledged(characters) == self.acknowledged.len()).then_some(())
        });
    }
}

/// One editor: types a character when it comes, and one when the owner has died.
struct Editor {
    socket: Socket,
    index: usize,
    typed: u64,
}

impl Editor {
    fn client(index: usize) -> u64 {
        1_000 + index as u64
    }

    fn come(addresses: &[SocketAddr], documents: &[String], index: usize) -> Self {
        let path = format!("/{}", documents[index % documents.len()]);
        let socket = Socket::open(addresses[(index + index / documents.len()) % addresses.len()], &path);
        let mut editor = Self { socket, index, typed: 0 };
        editor.type_one();
        editor
    }

    fn type_one(&mut self) {
        let update = yjs::typed(Self::client(self.index), self.typed, "x");
        self.typed += 1;
        // A socket that has ended is found when it is read.
        let _ = self.socket.send(&yjs::update_frame(&update));
    }

    /// Takes what has come; false when the socket has ended.
    fn listen(&mut self, crowd: &Crowd) -> bool {
        loop {
            let message = match self.socket.receive(Duration::from_millis(1)) {
                Event::Message(message) => message,
                Event::Silence => return true,
                Event::Closed { .. } | Event::Ended => return false,
            };
            let client = Self::client(self.index);
            let clock = |clocks: BTreeMap<u64, u64>| clocks.get(&client).copied().unwrap_or_default();
            match yjs::frame(&message) {
                Frame::Step2(update) | Frame::Update(update) => {
                    crowd.told(self.index, clock(yjs::contents(&update).clocks));
                }
                Frame::Step1(clocks) => {
                    let known = clock(clocks);
                    crowd.told(self.index, known);
                    self.answer(known);
                }
                Frame::Awareness(_) | Frame::Other(_) => {}
            }
        }
    }

    /// As every client does, also when there is nothing to tell.
    fn answer(&mut self, known: u64) {
        let lacks = self.typed.saturating_sub(known) as usize;
        let rest = if lacks == 0 {
            vec![0, 0]
        } else {
            yjs::typed(Self::client(self.index), known, &"x".repeat(lacks))
        };
        let _ = self.socket.send(&yjs::step2_frame(&rest));
    }
}

/// Takes what has come to all of them.
fn listen(editors: &mut Vec<Editor>, crowd: &Crowd) {
    let before = editors.len();
    editors.retain_mut(|editor| editor.listen(crowd));
    crowd.closed.fetch_add(before - editors.len(), Ordering::Relaxed);
}

/// Documents of one node, and documents of the others.
fn names(cluster: &Cluster, count: usize) -> (String, Vec<String>, Vec<String>) {
    // A third of them is enough.
    let names: Vec<String> = (0..64 + count * 4).map(|index| format!("storm-{index}")).collect();
    let body = serde_json::json!({ "documents": names }).to_string();
    let answer = cluster.server("r1").admin_request("POST", "/api/v1/ring/owners", body.as_bytes()).json();
    let owners = answer["documents"].as_array().unwrap().iter();
    let owners: Vec<String> = owners.map(|line| line["owner"].as_str().unwrap().to_owned()).collect();
    let victim = owners[0].clone();
    let (of_victim, of_others): (Vec<_>, Vec<_>) =
        names.into_iter().zip(&owners).partition(|(_, owner)| **owner == victim);
    let first =
        |names: Vec<(String, &String)>, count| names.into_iter().map(|(name, _)| name).take(count).collect();
    (victim, first(of_victim, count), first(of_others, BYSTANDERS))
}

/// Everybody comes, and types a character.
fn gather(cluster: &Cluster, documents: &[String], sessions: usize) -> (Arc<Crowd>, Vec<JoinHandle<()>>) {
    let crowd = Arc::new(Crowd {
        begun_at: Instant::now(),
        dead: AtomicBool::new(false),
        over: AtomicBool::new(false),
        closed: AtomicUsize::new(0),
        acknowledged: (0..sessions).map(|_| AtomicU64::new(0)).collect(),
        served_at: (0..sessions).map(|_| AtomicU64::new(NEVER)).collect(),
    });
    let readers = (0..READERS).map(|reader| {
        let (crowd, addresses, documents) = (Arc::clone(&crowd), routers(cluster), documents.to_vec());
        let indexes = (reader..sessions).step_by(READERS);
        thread::spawn(move || {
            let mut editors = Vec::new();
            for index in indexes {
                editors.push(Editor::come(&addresses, &documents, index));
                // Whoever is there answers the server's pings.
                listen(&mut editors, &crowd);
            }
            while !crowd.over.load(Ordering::Relaxed) {
                if crowd.dead.load(Ordering::Relaxed) {
                    editors.iter_mut().filter(|editor| editor.typed < 2).for_each(Editor::type_one);
                }
                listen(&mut editors, &crowd);
            }
        })
    });
    let readers = readers.collect();
    (crowd, readers)
}

/// One editor in each of these documents, until `stop`.
fn stand_by(cluster: &Cluster, documents: Vec<String>, stop: &Arc<AtomicBool>) -> Vec<JoinHandle<Seen>> {
    let addresses = routers(cluster);
    let start = |(index, document): (usize, String)| {
        let (address, stop) = (addresses[index % addresses.len()], Arc::clone(stop));
        thread::spawn(move || edit(address, &document, 1 + index as u64, &stop))
    };
    documents.into_iter().enumerate().map(start).collect()
}

/// How long the others' updates took that were sent within that time.
fn latency(seen: &[Seen], from: Instant, to: Instant) -> Duration {
    let typed = seen.iter().flat_map(|seen| &seen.typed).filter(|(sent, _)| (from..to).contains(sent));
    percentile(&mut typed.map(|(sent, at)| *at - *sent).collect::<Vec<_>>(), 99)
}

fn memory(cluster: &Cluster) -> Vec<u64> {
    cluster.routers().iter().map(|name| cluster.server(name).peak_bytes()).collect()
}

#[test]
fn everybody_of_a_dead_owner_is_attached_to_the_next_one_and_nobody_else_feels_it() {
    storm(4, at_most(2_000));
}

#[test]
#[ignore = "the long run has it"]
fn all_documents_of_a_dead_owner_are_taken_over_and_nobody_else_feels_it() {
    storm(at_most(2_000), at_most(2_000));
}

fn storm(documents: usize, sessions: usize) {
    let options = DEATHS.into_iter().fold(ClusterOptions::new(3, 2), ClusterOptions::announce);
    // On a busy machine everybody who comes at once may cost the database seconds.
    let options = options
        .announce("decoding without a note in the store")
        .announce("nothing is acknowledged until the store takes");
    let Some(mut cluster) = Cluster::start(&options) else { return };
    let (victim, crowded, others) = names(&cluster, documents);
    let (crowd, readers) = gather(&cluster, &crowded, sessions);
    crowd.wait_acknowledged(1);
    let stop = Arc::new(AtomicBool::new(false));
    let bystanders = stand_by(&cluster, others, &stop);
    let calm_at = Instant::now();
    // Not a wait for anything: the figure of a cluster at rest needs some time at rest.
    wait_for("it was calm for a while", WITHIN, || (calm_at.elapsed() > CALM).then_some(()));

    let before = memory(&cluster);
    let killed_at = Instant::now();
    cluster.kill(&victim);
    crowd.dead.store(true, Ordering::Relaxed);
    crowd.wait_acknowledged(2);
    let served_at = Instant::now();
    let grown = memory(&cluster).iter().zip(&before).map(|(after, before)| after - before).max().unwrap();
    stop.store(true, Ordering::Relaxed);
    let seen: Vec<Seen> = bystanders.into_iter().map(|editor| editor.join().unwrap()).collect();
    crowd.over.store(true, Ordering::Relaxed);
    readers.into_iter().for_each(|reader| reader.join().unwrap());

    let mut waited: Vec<Duration> = crowd
        .served_at
        .iter()
        .map(|at| crowd.begun_at + Duration::from_micros(at.load(Ordering::Relaxed)) - killed_at)
        .collect();
    let (calm, storm) = (latency(&seen, calm_at, killed_at), latency(&seen, killed_at, served_at));
    harness::figure(&format!(
        "the owner of {documents} documents with {sessions} editors dies: p50 {:.2?}, p99 {:.2?} until their words are acknowledged; \
         p99 of others' edits {storm:.1?}, calm {calm:.1?}; a router grew by {:.1} MiB",
        percentile(&mut waited, 50),
        percentile(&mut waited, 99),
        grown as f64 / f64::from(1 << 20),
    ));
    assert_eq!(crowd.closed.load(Ordering::Relaxed), 0, "sockets closed");
    assert_eq!(seen.iter().map(|seen| seen.closed).sum::<usize>(), 0, "sockets of others closed");
    assert!(storm < LATENCY_MAX, "{storm:?}");
    let grown_max = ROOM_BYTES + SESSION_BYTES_MAX * sessions as u64;
    assert!(grown < grown_max, "{grown} bytes, and {grown_max} are the limit");
    cluster.start_again_there(&victim);
    cluster.forget_everything();
    let stored: Vec<_> =
        crowded.iter().map(|document| yjs::contents(&cluster.export(document)).clocks).collect();
    let kept = |index: &usize| stored[index % documents].get(&Editor::client(*index)) == Some(&2);
    assert_eq!((0..sessions).filter(kept).count(), sessions, "editors whose words are all stored");
}
