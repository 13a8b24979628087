//! The command line, as clap reads it.

mod document;
mod ring;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ringleaf_reader::Bounds;

use crate::admin::Sort;
use crate::config::Raw;
use crate::exit::EXIT_CODES;

pub(crate) use document::{Content, Doc, DocList, PinnedDocument, Quarantine, Verify};
pub(crate) use ring::{NodeCommand, NodeOr, OfNode, Plan, Rebalance, Ring, Server, Simulate, WeightOrOwn};

/// What a program says that it is.
pub(crate) const VERSION: &str = if cfg!(feature = "faults") {
    concat!(env!("CARGO_PKG_VERSION"), "+faults")
} else {
    env!("CARGO_PKG_VERSION")
};

const SETTINGS: &str = "\
Every flag is also an environment variable (RINGLEAF_LISTEN, RINGLEAF_LOG_FILTER, …) and a line of \
ringleaf.toml (listen = \"…\", log_filter = \"…\"). Flags win over the environment, which wins over the \
file. The limits are in the file's section [limits]; `ringleaf config show --origin` prints everything.";

/// A collaborative-editing server for Yjs: every edit durable before anyone sees it.
#[derive(Debug, Parser)]
#[command(name = "ringleaf", version = VERSION, after_help = EXIT_CODES, max_term_width = 100)]
#[command(disable_help_subcommand = true, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server on this machine
    // Whoever wraps the command has the last word: flags may be said again.
    #[command(after_help = SETTINGS, args_override_self = true)]
    Serve(Serve),
    /// Run a node of a cluster (it hosts documents, and serves editors too), or look after nodes
    #[command(after_help = SETTINGS, args_override_self = true)]
    Node(Box<NodeOr>),
    /// Run a router of a cluster: it serves editors and hosts nothing
    #[command(after_help = SETTINGS, args_override_self = true)]
    Router(Box<Clustered>),
    /// Is the server well, and its cluster, and what are they doing?
    Status(Status),
    /// Watch the nodes and the busiest documents, as they change (q quits)
    Top(Top),
    /// Look at the ring, plan changes and make them
    #[command(subcommand)]
    Ring(Ring),
    /// Look at documents and change them
    #[command(subcommand, alias = "document")]
    Doc(Doc),
    /// Copy everything into one file, also while the server runs
    Backup(Backup),
    /// Work on stores that nobody serves
    #[command(subcommand)]
    Store(StoreCommand),
    /// Check and show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Exit 0 if the server is ready and 1 if not (for containers)
    Healthcheck(Target),
    /// What the server starts to read documents in a process of its own; it is of no use by hand
    #[command(hide = true)]
    Reader(Reader),
    /// Print a completion script for a shell
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the version
    Version {
        #[command(flatten)]
        output: Output,
    },
}

/// The limits of a reader process, as `ringleaf_reader::Bounds` writes them.
#[derive(Debug, Args)]
pub(crate) struct Reader {
    /// Bytes of address space, or 0
    memory_bytes: u64,
    /// Seconds of CPU time for each request, or 0
    cpu_seconds: u64,
    /// Bytes of one request or answer
    message_bytes: u64,
}

impl Reader {
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds::from_arguments([self.memory_bytes, self.cpu_seconds, self.message_bytes])
    }
}

/// Flags of a server on one machine.
#[derive(Debug, Args, Default)]
pub(crate) struct Serve {
    /// Folder that keeps the documents; made if it is missing [default: ./ringleaf-data]
    pub(crate) data: Option<PathBuf>,
    /// Keep nothing: all documents are gone when the server stops
    #[arg(long)]
    memory: bool,
    #[command(flatten)]
    pub(crate) process: Process,
}

/// Flags of every server. Each is also a variable (RINGLEAF_LISTEN …) and a line of ringleaf.toml (listen = "…").
#[derive(Debug, Args, Default)]
pub(crate) struct Process {
    /// Where editors connect [default: 127.0.0.1:1234]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where health, metrics and the admin commands are [default: 127.0.0.1:1235]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// Serve the demo page at / (this machine only)
    #[arg(long)]
    dev: bool,
    /// Serve other machines though nobody is asked who they are
    #[arg(long)]
    open_to_anyone: bool,
    /// Let pages of this origin connect, besides those of the same host (may be repeated)
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// Keep deleted content where versions of a document are shown: PATTERN=false for names such as drafts/* (may be
    /// repeated; the first that fits counts) [default: true]
    #[arg(long, value_name = "RULE")]
    gc: Vec<String>,
    /// What this process is called [default: the host's name]
    #[arg(long, value_name = "NAME")]
    node_id: Option<String>,
    /// How to log: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    log: Option<String>,
    /// What to log: a level, or a filter such as info,ringleaf_node=debug [default: info]
    #[arg(long, value_name = "FILTER", visible_alias = "log-level")]
    log_filter: Option<String>,
    /// Write the addresses that were bound to this file, as JSON (for port 0)
    #[arg(long, value_name = "FILE")]
    ports_file: Option<PathBuf>,
    /// Configuration file [default: ./ringleaf.toml if it exists] [env: RINGLEAF_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print the resulting configuration and exit
    #[arg(long)]
    pub(crate) print_config: bool,
}

/// Flags of a node beyond those of every process in a cluster.
#[derive(Debug, Args, Default)]
pub(crate) struct Hosting {
    #[command(flatten)]
    pub(crate) clustered: Clustered,
    /// Database that the nodes share, as postgres://USER@HOST/DATABASE
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Where other processes connect [default: 127.0.0.1:1236]
    #[arg(long, value_name = "ADDRESS", help_heading = "Other processes")]
    peer: Option<String>,
    /// What others are told of --peer [default: what it is]
    #[arg(long, value_name = "HOST:PORT", help_heading = "Other processes")]
    advertise: Option<String>,
    /// Let in only certificates with this DNS name; *.nodes.internal is any name directly below (may be repeated)
    /// [default: any of --peer-ca]
    #[arg(long, value_name = "NAME", help_heading = "Other processes")]
    peer_allowed_names: Vec<String>,
    /// How much to own next to the others, 1 to 64 [default: 1]
    #[arg(long, value_name = "NUMBER", help_heading = "Ring")]
    weight: Option<String>,
    /// Where this node stands, for people
    #[arg(long, value_name = "NAME", help_heading = "Ring")]
    zone: Option<String>,
}

/// Flags of every process in a cluster.
#[derive(Debug, Args, Default)]
pub(crate) struct Clustered {
    /// Where etcd is (may be repeated)
    #[arg(long, value_name = "URL")]
    etcd: Vec<String>,
    /// User of etcd
    #[arg(long, value_name = "NAME", help_heading = "etcd")]
    etcd_user: Option<String>,
    /// File that holds the user's password
    #[arg(long, value_name = "FILE", help_heading = "etcd")]
    etcd_password: Option<PathBuf>,
    /// Certificates that etcd's own is checked against
    #[arg(long, value_name = "FILE", help_heading = "etcd")]
    etcd_ca: Option<PathBuf>,
    /// Certificate that etcd is shown
    #[arg(long, value_name = "FILE", help_heading = "etcd")]
    etcd_cert: Option<PathBuf>,
    /// The certificate's key
    #[arg(long, value_name = "FILE", help_heading = "etcd")]
    etcd_key: Option<PathBuf>,
    /// Name of the cluster; several can share one etcd [default: ringleaf]
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Folder for what is known of the ring, for a start while etcd is away [default: ./ringleaf-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Certificates that other processes are checked against
    #[arg(long, value_name = "FILE", help_heading = "Other processes")]
    peer_ca: Option<PathBuf>,
    /// Certificate that other processes are shown
    #[arg(long, value_name = "FILE", help_heading = "Other processes")]
    peer_cert: Option<PathBuf>,
    /// The certificate's key
    #[arg(long, value_name = "FILE", help_heading = "Other processes")]
    peer_key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) process: Process,
}

pub(crate) type Settings = Vec<(&'static str, Raw)>;

fn words<const N: usize>(words: [(&'static str, Option<String>); N]) -> Settings {
    words.into_iter().filter_map(|(key, word)| Some((key, Raw::Word(word?)))).collect()
}

fn path(path: Option<&PathBuf>) -> Option<String> {
    path.map(|path| path.to_string_lossy().into_owned())
}

fn switch(key: &'static str, on: bool) -> Option<(&'static str, Raw)> {
    on.then_some((key, Raw::Boolean(true)))
}

fn list(key: &'static str, words: &[String]) -> Option<(&'static str, Raw)> {
    (!words.is_empty()).then(|| (key, Raw::Words(words.to_vec())))
}

impl Serve {
    /// The flags that were given, by the settings that they set.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings = words([("data", path(self.data.as_ref()))]);
        settings.extend(switch("memory", self.memory));
        settings.extend(self.process.settings());
        settings
    }
}

impl Process {
    fn settings(&self) -> Settings {
        let mut settings = words([
            ("listen", self.listen.clone()),
            ("admin", self.admin.clone()),
            ("node_id", self.node_id.clone()),
            ("log", self.log.clone()),
            ("log_filter", self.log_filter.clone()),
            ("ports_file", path(self.ports_file.as_ref())),
        ]);
        settings.extend(switch("dev", self.dev));
        settings.extend(switch("open_to_anyone", self.open_to_anyone));
        settings.extend(list("allow_origin", &self.allow_origin));
        settings.extend(list("gc", &self.gc));
        settings
    }
}

impl Hosting {
    /// The flags that were given, by the settings that they set.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings = words([
            ("store", self.store.clone()),
            ("peer", self.peer.clone()),
            ("advertise", self.advertise.clone()),
            ("weight", self.weight.clone()),
            ("zone", self.zone.clone()),
        ]);
        settings.extend(list("peer_allowed_names", &self.peer_allowed_names));
        settings.extend(self.clustered.settings());
        settings
    }
}

impl Clustered {
    /// The flags that were given, by the settings that they set.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings = words([
            ("etcd_user", self.etcd_user.clone()),
            ("etcd_password", path(self.etcd_password.as_ref())),
            ("etcd_ca", path(self.etcd_ca.as_ref())),
            ("etcd_cert", path(self.etcd_cert.as_ref())),
            ("etcd_key", path(self.etcd_key.as_ref())),
            ("cluster", self.cluster.clone()),
            ("data", path(self.data.as_ref())),
            ("peer_ca", path(self.peer_ca.as_ref())),
            ("peer_cert", path(self.peer_cert.as_ref())),
            ("peer_key", path(self.peer_key.as_ref())),
        ]);
        settings.extend(list("etcd", &self.etcd));
        settings.extend(self.process.settings());
        settings
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Wide,
    Json,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Output {
    /// How to print the answer
    #[arg(short = 'o', long = "output", value_enum, default_value = "table", value_name = "FORMAT")]
    pub(crate) format: Format,
}

/// Which server, or which stopped server's folder.
#[derive(Debug, Clone, Args)]
pub(crate) struct Target {
    /// Admin address of the server [env: RINGLEAF_ADMIN] [default: that of ./ringleaf.toml, else
    /// http://127.0.0.1:1235]
    #[arg(long, value_name = "URL", conflicts_with = "data")]
    pub(crate) admin: Option<String>,
    /// Work on the data folder of a stopped server instead
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Give up after so many seconds without an answer
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=604_800))]
    pub(crate) timeout: u64,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct OutputAndTarget {
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) common: OutputAndTarget,
    /// Go on looking, until interrupted
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// How often to look, with --watch
    #[arg(long, value_name = "SECONDS", default_value_t = 2, requires = "watch", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) interval: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Top {
    /// How often to look
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) interval: u64,
    /// Which documents come first; on a terminal a key changes it
    #[arg(long, value_enum, default_value = "updates", value_name = "WHAT")]
    pub(crate) sort: Sort,
    /// How many documents to show [default: as many as fit on the terminal, else 20]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) limit: Option<u32>,
    /// Look once, as it does when nobody watches (no terminal, or JSON)
    #[arg(long)]
    pub(crate) once: bool,
    #[command(flatten)]
    pub(crate) server: Server,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Named {
    /// Name of the document
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) common: OutputAndTarget,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Confirmed {
    #[command(flatten)]
    pub(crate) named: Named,
    /// Do it without asking
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// Where to write it; must not exist yet
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) common: OutputAndTarget,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Copy all documents from one store into another
    ///
    /// Stop whoever serves either of them first. Nothing is overwritten; a copy that was interrupted goes on when the
    /// same command is given again.
    Copy {
        /// A folder, or postgres://USER@HOST/DATABASE
        from: String,
        /// The same; a folder is made if it is missing
        to: String,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Read the configuration and say what is wrong with it
    // These print it anyway, or not at all.
    #[command(mut_arg("print_config", |flag| flag.hide(true)), mut_arg("data", file_or_folder))]
    Check {
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        serve: Serve,
    },
    /// Print the configuration that `serve` would use
    #[command(mut_arg("print_config", |flag| flag.hide(true)), mut_arg("data", file_or_folder))]
    Show {
        /// Say where each value comes from
        #[arg(long)]
        origin: bool,
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        serve: Serve,
    },
}

/// Whoever checks a configuration names its file.
fn file_or_folder(data: clap::Arg) -> clap::Arg {
    data.value_name("FILE")
        .help("Configuration file, as with --config; or the folder that `serve` would be given as DATA")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_flags_that_were_given_become_settings_and_no_others() {
        let Command::Serve(serve) = parse(
            "ringleaf serve /srv --listen [::1]:1 --memory --allow-origin https://a --allow-origin https://b --log-level debug",
        )
        .unwrap()
        .command
        else {
            panic!("not serve")
        };
        let settings = serve.settings();
        assert_eq!(
            settings,
            [
                ("data", Raw::Word("/srv".into())),
                ("memory", Raw::Boolean(true)),
                ("listen", Raw::Word("[::1]:1".into())),
                ("log_filter", Raw::Word("debug".into())),
                ("allow_origin", Raw::Words(vec!["https://a".into(), "https://b".into()])),
            ]
        );
    }

    #[test]
    fn the_last_of_two_equal_flags_wins() {
        let cli =
            parse("ringleaf serve --listen 127.0.0.1:1 --memory --listen 127.0.0.1:2 --memory").unwrap();
        let Command::Serve(serve) = cli.command else { panic!("not serve") };
        assert_eq!(serve.settings()[1], ("listen", Raw::Word("127.0.0.1:2".into())));
    }

    #[test]
    fn a_command_works_on_a_server_or_on_a_folder_but_not_on_both() {
        assert!(parse("ringleaf doc list --data d").is_ok());
        assert!(parse("ringleaf doc list --admin http://127.0.0.1:1").is_ok());
        assert!(parse("ringleaf doc list --admin http://127.0.0.1:1 --data d").is_err());
    }

    #[test]
    fn every_command_that_answers_takes_an_output_format() {
        for line in [
            "status",
            "status --watch",
            "top",
            "ring show",
            "ring owner x",
            "ring plan --add x",
            "ring apply f",
            "ring history",
            "ring rebalance status",
            "ring rebalance pause",
            "ring rebalance resume",
            "ring simulate --nodes 3 --documents 10",
            "node list",
            "node show x",
            "node cordon x",
            "node uncordon x",
            "node weight x 2",
            "node forget x",
            "version",
            "doc list",
            "doc show x",
            "doc import x f",
            "doc export x f",
            "doc verify x",
            "doc verify x --deep",
            "doc rm x",
            "doc undelete x",
            "doc move x n1",
            "doc unpin x",
            "doc pins",
            "doc purge x",
            "doc quarantine list",
            "doc quarantine show x",
            "doc quarantine release x",
            "backup f",
            "store copy a b",
            "config check",
            "config show",
        ] {
            for format in ["table", "wide", "json"] {
                assert!(parse(&format!("ringleaf {line} -o {format}")).is_ok(), "{line} -o {format}");
            }
        }
        for format in ["json", "text", "update"] {
            assert!(parse(&format!("ringleaf doc get x -o {format}")).is_ok(), "doc get -o {format}");
        }
    }

    #[test]
    fn a_node_is_started_by_flags_and_looked_after_by_subcommands() {
        let node = |line: &str| match parse(line).unwrap().command {
            Command::Node(node) => node,
            other => panic!("{other:?}"),
        };
        assert!(node("ringleaf node --etcd http://a:1 --node-id list").command.is_none());
        assert!(matches!(node("ringleaf node list").command, Some(NodeCommand::List(_))));
        assert!(parse("ringleaf node --etcd http://a:1 list").is_err());
        let Some(NodeCommand::Weight { weight, .. }) = node("ringleaf node weight n1 own").command else {
            panic!("not weight")
        };
        assert_eq!(weight, WeightOrOwn::Own);
        assert!(parse("ringleaf node weight n1 65").is_err());
    }

    /// The help of a command, as a terminal of 80 columns shows it.
    fn help(of: &str) -> String {
        let mut command = Cli::command().term_width(80);
        command.build();
        let found = of.split_whitespace().fold(&mut command, |command, name| {
            command.find_subcommand_mut(name).unwrap_or_else(|| panic!("there is no {name}"))
        });
        found.render_long_help().to_string()
    }

    #[test]
    fn each_server_lists_the_flags_that_it_takes_and_no_others() {
        let nodes = ["--store", "--peer", "--advertise", "--peer-allowed-names", "--weight", "--zone"];
        let cluster = ["--etcd", "--etcd-ca", "--cluster", "--peer-ca", "--peer-cert", "--peer-key"];
        let lists = |of: &str, flag: &str| {
            help(of).lines().any(|line| line.split([' ', ',']).any(|word| word == flag))
        };
        for flag in nodes {
            assert!(lists("node", flag), "{flag}");
            assert!(!lists("router", flag) && !lists("serve", flag), "{flag}");
            assert!(parse(&format!("ringleaf router {flag} 1")).is_err(), "{flag}");
        }
        for flag in cluster {
            assert!(lists("node", flag) && lists("router", flag) && !lists("serve", flag), "{flag}");
        }
        for of in ["serve", "node", "router"] {
            assert!(lists(of, "--listen") && lists(of, "--print-config"), "{of}");
        }
        assert!(lists("serve", "--memory") && !lists("node", "--memory"));
        assert!(!lists("config check", "--print-config") && !lists("config show", "--print-config"));
    }

    #[test]
    fn help_fits_into_80_columns() {
        fn names(command: &clap::Command, above: &str, all: &mut Vec<String>) {
            all.push(above.to_owned());
            for below in command.get_subcommands() {
                names(below, &format!("{above} {}", below.get_name()), all);
            }
        }
        let mut all = Vec::new();
        names(&Cli::command(), "", &mut all);
        for of in all {
            for line in help(&of).lines() {
                assert!(line.chars().count() <= 80, "{of}: {line}");
            }
        }
    }

    #[test]
    fn a_plan_has_a_change() {
        assert!(parse("ringleaf ring plan").is_err());
        assert!(parse("ringleaf ring plan --weight n1").is_err());
        let line = "ringleaf ring plan --add a --add b=2 --remove c --weight d=3 --virtual-nodes 256";
        let Command::Ring(Ring::Plan(plan)) = parse(line).unwrap().command else { panic!("not plan") };
        let weights: Vec<u32> = plan.add.iter().chain(&plan.weight).map(|(_, weight)| weight.get()).collect();
        assert_eq!(weights, [1, 2, 3]);
    }
}
