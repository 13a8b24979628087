//! `cargo xtask cluster`: a whole cluster as processes of this machine, until Ctrl-C.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};
use clap::Args;
use harness::{Cluster, Group, Role, ServerOptions};
use tokio::signal::unix::{SignalKind, signal};

use crate::{demo, prepare, workspace};

/// The first process is where `ringleaf status` looks; each further one is ten ports on.
const FIRST_PORT: usize = 1234;
/// What has a name and ports of its own.
const PROCESSES_MAX: usize = 32;

#[derive(Debug, Args)]
pub(crate) struct ClusterOptions {
    /// Processes that host documents
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// Processes that take editors and host nothing
    #[arg(long, default_value_t = 2)]
    routers: usize,
    /// Build without optimizations: quicker to build, slower to run
    #[arg(long)]
    debug: bool,
}

/// One process, and where it listens.
struct Place {
    name: String,
    role: Role,
    editors: usize,
}

impl Place {
    fn all(options: &ClusterOptions) -> Vec<Self> {
        let routers = (1..=options.routers).map(|number| (format!("r{number}"), Role::Router));
        let nodes = (1..=options.nodes).map(|number| (format!("n{number}"), Role::Node));
        let place = |(index, (name, role))| Self { name, role, editors: FIRST_PORT + 10 * index };
        routers.chain(nodes).enumerate().map(place).collect()
    }

    fn at(&self, offset: usize) -> String {
        format!("127.0.0.1:{}", self.editors + offset)
    }

    fn ports(&self) -> Vec<(&'static str, String)> {
        let mut ports = vec![("--listen", self.at(0)), ("--admin", self.at(1))];
        if self.role == Role::Node {
            ports.push(("--peer", self.at(2)));
        }
        ports
    }

    fn options(&self, binary: &Path) -> ServerOptions {
        let binary = Some(binary.to_path_buf());
        // Nothing that it says is a mistake of ours.
        let options =
            ServerOptions { role: self.role, group: Group::Own, binary, ..ServerOptions::default() };
        let options = options.announce("").argument("--dev");
        self.ports()
            .into_iter()
            .fold(options, |options, (flag, address)| options.argument(flag).argument(&address))
    }
}

pub(crate) fn run(options: &ClusterOptions) -> anyhow::Result<ExitCode> {
    if options.nodes == 0 || options.nodes + options.routers > PROCESSES_MAX {
        bail!("a cluster has 1 node or more, and at most {PROCESSES_MAX} processes here");
    }
    let places = Place::all(options);
    ports_are_free(&places)?;
    for line in prepare::for_a_cluster() {
        eprintln!("warning: {line}");
    }
    if let Some(why) = Cluster::missing() {
        bail!("{why}");
    }
    let binary = demo::build(options.debug)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Order: from here on a Ctrl-C ends everything in order, also while it starts.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut cluster = start(&places, &binary);
        show(&cluster, &places, &binary)?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        println!("\nstopping");
        stop(&mut cluster, &places);
        Ok(ExitCode::SUCCESS)
    })
}

fn ports_are_free(places: &[Place]) -> anyhow::Result<()> {
    for (_, address) in places.iter().flat_map(Place::ports) {
        std::net::TcpListener::bind(&address).with_context(|| format!("{address} cannot be had"))?;
    }
    Ok(())
}

fn start(places: &[Place], binary: &Path) -> Cluster {
    println!("starting etcd and PostgreSQL");
    let mut cluster = Cluster::without_processes(Group::Own);
    for place in places {
        let options = cluster.place(&place.name, place.options(binary));
        cluster.add(&place.name, options);
    }
    let nodes = places.iter().filter(|place| place.role == Role::Node).count();
    cluster.wait_ring(nodes);
    cluster
}

fn show(cluster: &Cluster, places: &[Place], binary: &Path) -> anyhow::Result<()> {
    println!("\n  name  editors                admin                   log");
    for place in places {
        let (editors, admin) = (place.at(0), place.at(1));
        let log = cluster.server(&place.name).log_file();
        println!("  {:4}  ws://{editors}    http://{admin}   {}", place.name, log.display());
    }
    println!("\n  a page to type into:  http://{}/", places[0].at(0));
    println!("  etcd:                 {}", cluster.etcd.url());
    println!("  PostgreSQL:           {}", cluster.postgres.url());
    println!(
        "  any address takes editors, any admin address takes commands; --admin http://{}\n",
        places[0].at(1)
    );
    let mut status = Command::new(binary);
    status.args(["status", "--admin", &format!("http://{}", places[0].at(1))]);
    println!("$ {} status", binary.display());
    workspace::run(&mut status)?;
    println!("\n  everything goes away with ctrl-c, documents too");
    Ok(())
}

/// Editors first, then documents, then what they stand on.
fn stop(cluster: &mut Cluster, places: &[Place]) {
    for place in places {
        println!("  {}", place.name);
        cluster.stop(&place.name);
    }
    println!("  PostgreSQL, etcd");
    cluster.postgres.stop("INT");
    cluster.etcd.stop();
}
