//! Thousands come back at once: those already there hardly notice, and everybody gets in.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::yjs::{self, Frame};
use harness::{Agent, Asked, Event, LINES, Server, ServerOptions, Socket, wait_for};
use serde_json::json;

const RETURNING: usize = 2_000;
const ROOMS: usize = 200;
const THREADS: usize = 20;
const TYPISTS: u64 = 4;
/// What stock clients wait at most before they try again.
const BACKOFF_MAX: Duration = Duration::from_millis(2_500);
const EACH_TYPES_EVERY: Duration = Duration::from_millis(10);

/// What a crowd did to the editors that were there, and they to it.
struct Storm {
    /// From an edit to its echo, before and meanwhile.
    calm: Vec<Duration>,
    meanwhile: Vec<Duration>,
    /// Until the last was back.
    took: Duration,
    /// Requests that were answered with 503.
    refused: usize,
}

/// Typists go on for ever unless somebody tells them, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn two_thousand_that_come_back_at_once_do_not_stall_those_already_there() {
    let storm = storm(ServerOptions::default());
    report("paced as configured", &storm);
    if harness::long() {
        let unpaced =
            ServerOptions::default().limit("RINGLEAF_LIMITS_CONNECTIONS_PER_SECOND_MAX", 1_000_000_u32);
        report("not paced", &self::storm(unpaced));
    }
    let (calm, meanwhile) = (percentile(&storm.calm, 99), percentile(&storm.meanwhile, 99));
    let bound = Duration::from_millis(250).max(calm * 10);
    assert!(meanwhile < bound, "99 % of the echoes took up to {meanwhile:?}, and {calm:?} before");
}

fn report(how: &str, storm: &Storm) {
    let Storm { calm, meanwhile, took, refused } = storm;
    harness::figure(&format!(
        "{RETURNING} come back, {how}: all in step after {took:.1?} ({refused} times 503); echoes of those there: \
         50 % {:.1?}, 99 % {:.1?}, last {:.1?}; in the calm before: {:.1?}, {:.1?}, {:.1?}",
        percentile(meanwhile, 50),
        percentile(meanwhile, 99),
        percentile(meanwhile, 100),
        percentile(calm, 50),
        percentile(calm, 99),
        percentile(calm, 100),
    ));
}

fn percentile(spans: &[Duration], percent: usize) -> Duration {
    let mut spans = spans.to_vec();
    spans.sort_unstable();
    spans[(spans.len() * percent / 100).min(spans.len() - 1)]
}

fn storm(options: ServerOptions) -> Storm {
    let server = Server::start_with(options);
    let address = server.editors();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stop = Stop(&stop);
        let until = stop.0;
        let typist = |client| scope.spawn(move || type_and_wait(address, client, until));
        let typists: Vec<_> = (1..=TYPISTS).map(typist).collect();
        let (sockets, _) = come(address);
        for socket in &sockets {
            socket.cut();
        }
        wait_for("they are gone", Duration::from_secs(20), || {
            (connections(&server) == TYPISTS).then_some(())
        });
        // A calm second, to compare with.
        let calm_from = Instant::now();
        wait_for("a calm second", Duration::from_secs(5), || {
            (calm_from.elapsed() > Duration::from_secs(1)).then_some(())
        });
        let began = Instant::now();
        let (back, refused) = come(address);
        let took = began.elapsed();
        drop(stop);
        assert_eq!(back.len(), RETURNING);
        let echoes: Vec<_> = typists.into_iter().flat_map(|typist| typist.join().unwrap()).collect();
        let of = |wanted: &dyn Fn(Instant) -> bool| {
            echoes.iter().filter(|(at, _)| wanted(*at)).map(|(_, took)| *took).collect()
        };
        Storm { calm: of(&|at| at > calm_from && at < began), meanwhile: of(&|at| at > began), took, refused }
    })
}

fn connections(server: &Server) -> u64 {
    let status = server.admin_request("GET", "/api/v1/status", b"").json();
    status["counts"]["connections"].as_u64().unwrap_or_else(|| panic!("no connections in {status}"))
}

/// All ask at once, and each is in step when this ends. Those who are sent away come back as stock clients do.
fn come(address: SocketAddr) -> (Vec<Socket>, usize) {
    let refused = AtomicUsize::new(0);
    let group = |thread: usize| {
        let mut rooms: Vec<_> = (0..RETURNING / THREADS).map(|n| (thread * 7 + n) % ROOMS).collect();
        let mut sockets = Vec::new();
        let mut backoff = Duration::from_millis(100);
        while !rooms.is_empty() {
            let asked: Vec<_> = rooms
                .iter()
                .map(|room| (*room, Asked::for_socket(address, &format!("/room-{room}"))))
                .collect();
            rooms.clear();
            for (room, asked) in asked {
                match asked.answer() {
                    Ok(socket) => sockets.push(socket),
                    Err(refusal) => {
                        assert_eq!(refusal.0.status, 503, "{}", refusal.0.head);
                        rooms.push(room);
                    }
                }
            }
            refused.fetch_add(rooms.len(), Ordering::Relaxed);
            if !rooms.is_empty() {
                // How stock clients behave is the point.
                thread::sleep(backoff);
                backoff = (backoff * 2).min(BACKOFF_MAX);
            }
        }
        for socket in &mut sockets {
            socket.send(&yjs::STEP1_OF_NOTHING).unwrap();
        }
        for socket in &mut sockets {
            wait_step2(socket);
        }
        sockets
    };
    let group = &group;
    let sockets = thread::scope(|scope| {
        let groups: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || group(thread))).collect();
        groups.into_iter().flat_map(|group| group.join().unwrap()).collect()
    });
    (sockets, refused.into_inner())
}

fn wait_step2(socket: &mut Socket) {
    loop {
        match socket.receive(Duration::from_secs(20)) {
            Event::Message(message) if matches!(yjs::frame(&message), Frame::Step2(_)) => return,
            Event::Message(_) => {}
            end => panic!("{end:?} instead of the document"),
        }
    }
}

/// Types until everybody is back, a hundred times a second, and says when each edit was made and how long its echo took.
fn type_and_wait(address: SocketAddr, client: u64, stop: &AtomicBool) -> Vec<(Instant, Duration)> {
    let mut socket = Socket::open(address, &format!("/typist-{client}"));
    let mut echoes = Vec::new();
    for clock in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let sent_at = Instant::now();
        socket.send(&yjs::update_frame(&yjs::key_set(client, clock, "x"))).unwrap();
        loop {
            match socket.receive(Duration::from_secs(20)) {
                Event::Message(message) => {
                    if let Frame::Update(update) = yjs::frame(&message)
                        && yjs::contents(&update).clocks.get(&client).is_some_and(|seen| *seen > clock)
                    {
                        break;
                    }
                }
                end => panic!("{end:?} for an editor that was there"),
            }
        }
        echoes.push((sent_at, sent_at.elapsed()));
        // The rate is the point of this test.
        thread::sleep(EACH_TYPES_EVERY.saturating_sub(sent_at.elapsed()));
    }
    echoes
}

#[test]
fn who_is_sent_away_is_told_to_come_back_at_different_times() {
    let options = ServerOptions::default()
        .limit("RINGLEAF_LIMITS_CONNECTIONS_PER_SECOND_MAX", 1)
        .limit("RINGLEAF_LIMITS_CONNECTION_TURN_TIMEOUT", "0s");
    let server = Server::start_with(options);
    let asked: Vec<_> = (0..60).map(|_| Asked::for_socket(server.editors(), "/room")).collect();
    let answers: Vec<_> = asked.into_iter().map(Asked::answer).collect();
    let refusals: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    assert!(refusals.len() >= 40, "{} were sent away", refusals.len());
    let mut times = BTreeSet::new();
    for refusal in refusals {
        assert_eq!(refusal.0.status, 503);
        assert!(refusal.0.text().contains("more editors come at once"), "{}", refusal.0.text());
        let head = refusal.0.head.to_ascii_lowercase();
        let (_, after) = head.split_once("retry-after: ").unwrap();
        times.insert(after.lines().next().unwrap().parse::<u32>().unwrap());
    }
    assert_eq!(times, BTreeSet::from([2, 3, 4]));
    let metrics = server.admin_request("GET", "/metrics", b"").text();
    assert!(metrics.contains("ringleaf_handshakes_refused_total{reason=\"crowded\"}"), "{metrics}");
}

#[test]
fn stock_clients_that_are_sent_away_all_get_in() {
    const EACH: usize = 40;
    const PER_SECOND: usize = 80;
    let options = ServerOptions::default()
        .limit("RINGLEAF_LIMITS_CONNECTIONS_PER_SECOND_MAX", PER_SECOND)
        .limit("RINGLEAF_LIMITS_CONNECTION_TURN_TIMEOUT", "500ms");
    let server = Server::start_with(options);
    let mut agents: Vec<_> = LINES.iter().map(|line| Agent::start(line)).collect();
    let names: Vec<_> = (0..EACH).map(|number| format!("client-{number}")).collect();
    let began = Instant::now();
    for agent in &mut agents {
        agent.run(
            "openMany",
            json!({"names": names, "url": server.url(), "document": "room", "awareness": false}),
        );
    }
    let mut tries = 0;
    for (agent, line) in agents.iter_mut().zip(LINES) {
        wait_for(&format!("every client of {line} is in"), Duration::from_secs(60), || {
            let statuses = agent.run("statuses", json!({"names": names}));
            statuses.as_array()?.iter().all(|status| status["synced"] == true).then_some(())
        });
        let statuses = agent.run("statuses", json!({"names": names}));
        let sockets = statuses.as_array().unwrap().iter().map(|status| status["sockets"].as_u64().unwrap());
        tries += sockets.sum::<u64>();
    }
    let clients = EACH * LINES.len();
    harness::figure(&format!(
        "{clients} stock clients at {PER_SECOND} a second: all in after {:.1?}, with {tries} tries",
        began.elapsed()
    ));
    assert!(tries > clients as u64, "nobody was sent away");
}
