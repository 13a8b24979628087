//! What `resolve` makes of texts, and what it says when it cannot.

use super::*;

/// Sources with a file, variables and flags, all as text.
fn sources(file: &str, environment: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Sources {
    Sources {
        role: Role::Alone,
        flags: flags.iter().map(|(key, text)| (*key, Raw::Word((*text).to_owned()))).collect(),
        environment: environment.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect(),
        file: Some(FileText { path: "ringleaf.toml".into(), text: file.into() }).filter(|_| !file.is_empty()),
        host: "host".into(),
    }
}

/// The problems, one line each.
fn refused(file: &str, environment: &[(&str, &str)], flags: &[(&'static str, &str)]) -> String {
    resolve(&sources(file, environment, flags)).expect_err("this configuration is wrong").to_string()
}

#[test]
fn flags_come_before_the_environment_before_the_file_before_defaults() {
    let file = "node_id = \"file\"\nlog_filter = \"debug\"\ndata = \"/file\"\n";
    let environment = [("RINGLEAF_NODE_ID", "environment"), ("RINGLEAF_LOG_FILTER", "warn")];
    let resolved = resolve(&sources(file, &environment, &[("node_id", "flag")])).unwrap();
    let config = &resolved.config;
    assert_eq!(config.node_id.as_str(), "flag");
    assert_eq!(config.log_filter, "warn");
    assert_eq!(config.data, Path::new("/file"));
    assert_eq!(config.listen.to_string(), "127.0.0.1:1234");
    let origins: Vec<String> = ["node_id", "log_filter", "data", "listen"]
        .into_iter()
        .map(|key| resolved.origin(key).to_string())
        .collect();
    assert_eq!(
        origins,
        ["flag --node-id", "environment variable RINGLEAF_LOG_FILTER", "ringleaf.toml:3", "default"]
    );
}

#[test]
fn every_setting_survives_being_shown_and_read_again() {
    let shown = resolve(&sources("", &[], &[])).unwrap().show(false);
    let again = resolve(&sources(&shown, &[], &[])).unwrap();
    assert_eq!(again.show(false), shown);
    assert_eq!(again.origins.len(), settings::all().count(), "every setting was in the text");
}

#[test]
fn every_setting_can_be_set_by_a_variable() {
    for setting in settings::all() {
        let shown = (setting.show)(&Config::standard("host"));
        let text = shown.trim_matches('"').trim_matches(['[', ']']);
        let resolved = resolve(&sources("", &[(&setting.variable(), text)], &[])).unwrap();
        assert!(text.is_empty() || resolved.origins.contains_key(setting.key), "{}", setting.key);
    }
}

#[test]
fn limits_are_settable_with_units() {
    let file = "[limits]\nretention = \"1h\"\nmessage_bytes_max = \"1MiB\"\nconnections_max = 5\n";
    let limits = resolve(&sources(file, &[("RINGLEAF_LIMITS_RETENTION", "2h")], &[])).unwrap().config.limits;
    assert_eq!(limits.retention.as_secs(), 7_200);
    assert_eq!(limits.message_bytes_max, 1 << 20);
    assert_eq!(limits.connections_max, 5);
}

#[test]
fn an_unknown_key_is_an_error_with_its_line_and_the_nearest_name() {
    assert_eq!(
        refused("# mine\n\nlsiten = \"127.0.0.1:1\"\n[limits]\nretension = \"1h\"\n", &[], &[]),
        "ringleaf.toml:3: there is no setting lsiten; did you mean listen?\n\
         ringleaf.toml:5: there is no setting limits.retension; did you mean limits.retention?"
    );
    assert_eq!(
        refused("retention = \"1h\"\ndatabase_url = 1\n", &[], &[]),
        "ringleaf.toml:1: there is no setting retention; did you mean limits.retention?\n\
         ringleaf.toml:2: there is no setting database_url"
    );
    assert_eq!(
        refused("", &[("RINGLEAF_LSITEN", "x")], &[]),
        "environment variable RINGLEAF_LSITEN: there is no setting RINGLEAF_LSITEN; did you mean RINGLEAF_LISTEN?"
    );
}

#[test]
fn a_wrong_value_is_an_error_that_says_what_is_wanted() {
    assert_eq!(
        refused(
            "listen = 1234\nmemory = \"yes\"\n[limits]\nretention = 600\nconnections_max = 0\n",
            &[],
            &[]
        ),
        "ringleaf.toml:1: listen must be an address and a port, such as \"127.0.0.1:1234\" or \"[::1]:1234\", \
         not the number 1234\n\
         ringleaf.toml:2: memory must be true or false, not \"yes\"\n\
         ringleaf.toml:4: limits.retention must be a time such as \"0s\", \"250ms\", \"30s\" or \"10m\", \
         not the number 600\n\
         ringleaf.toml:5: limits.connections_max must be a number of at least 1, not the number 0"
    );
    assert_eq!(
        refused("", &[("RINGLEAF_LOG", "xml")], &[("listen", "1234")]),
        "environment variable RINGLEAF_LOG: log must be \"text\" or \"json\", not \"xml\"\n\
         flag --listen: listen must be an address and a port, such as \"127.0.0.1:1234\" or \"[::1]:1234\", \
         not \"1234\""
    );
}

/// It would name a target, of which there is none, and the log would be empty.
#[test]
fn a_mistyped_log_level_is_an_error_that_names_the_nearest() {
    assert_eq!(
        refused("log_filter = \"debgu\"\n", &[], &[("log_filter", "warning")]),
        "ringleaf.toml:1: log_filter must be a log level (off, error, warn, info, debug or trace), or a filter such as \
         \"info,ringleaf_node=debug\", not \"debgu\"; did you mean debug?\n\
         flag --log-filter: log_filter must be a log level (off, error, warn, info, debug or trace), or a filter such \
         as \"info,ringleaf_node=debug\", not \"warning\"; did you mean warn?"
    );
}

#[test]
fn text_that_is_no_toml_is_an_error_with_its_line() {
    let text = refused("data = \"a\"\nlisten = \n", &[], &[]);
    assert!(text.starts_with("ringleaf.toml:2: "), "{text}");
    let twice = refused("data = \"a\"\ndata = \"b\"\n", &[], &[]);
    assert!(twice.starts_with("ringleaf.toml:2: "), "{twice}");
}

#[test]
fn other_machines_are_served_only_when_that_is_said_aloud() {
    assert_eq!(
        refused("listen = \"0.0.0.0:1234\"\n", &[], &[]),
        "ringleaf.toml:1: listen is 0.0.0.0:1234, which other machines can reach, and ringleaf does not ask who they \
         are; put a proxy that does in front, and say --open-to-anyone"
    );
    assert!(
        refused("", &[], &[("admin", "0.0.0.0:1235")]).starts_with("flag --admin: admin is 0.0.0.0:1235")
    );
    let both = [("listen", "0.0.0.0:1234"), ("open_to_anyone", "true")];
    assert!(resolve(&sources("", &[], &both)).unwrap().config.open_to_anyone);
    assert!(resolve(&sources("", &[], &[("listen", "[::1]:1234")])).is_ok());
}

#[test]
fn the_demo_page_is_for_this_machine_only() {
    let flags = [("listen", "0.0.0.0:1234"), ("open_to_anyone", "true"), ("dev", "true")];
    assert_eq!(
        refused("", &[], &flags),
        "flag --listen: listen is 0.0.0.0:1234, but --dev is for this machine only; use 127.0.0.1 or leave --dev out"
    );
}

#[test]
fn one_port_cannot_have_two_jobs() {
    let text = refused("admin = \"127.0.0.1:1234\"\n", &[], &[]);
    assert_eq!(text, "ringleaf.toml:1: listen and admin are both 127.0.0.1:1234; give each its own port");
}

#[test]
fn what_kubernetes_and_shells_leave_behind_is_no_error() {
    let environment = [
        ("RINGLEAF_PORT", "tcp://10.0.0.1:1234"),
        ("RINGLEAF_SERVICE_HOST", "10.0.0.1"),
        ("RINGLEAF_SERVICE_PORT_EDITORS", "1234"),
        ("RINGLEAF_PORT_1234_TCP_ADDR", "10.0.0.1"),
        ("RINGLEAF_PORT_1234_TCP", "tcp://10.0.0.1:1234"),
        ("RINGLEAF_CONFIG", "/etc/ringleaf.toml"),
        ("RINGLEAF_LISTEN", ""),
    ];
    let resolved = resolve(&sources("", &environment, &[])).unwrap();
    assert!(resolved.origins.is_empty(), "{:?}", resolved.origins);
}

#[test]
fn a_host_with_a_strange_name_still_gives_a_node_id() {
    for (host, node) in
        [("web-1.example.com", "web-1.example.com"), ("my host!", "my-host-"), ("", "ringleaf")]
    {
        assert_eq!(Config::standard(host).node_id.as_str(), node);
    }
}

#[test]
fn origins_stand_beside_their_values() {
    let shown = resolve(&sources("data = \"/srv\"\n", &[], &[])).unwrap().show(true);
    let lines: Vec<&str> = shown.lines().take(2).collect();
    assert_eq!(
        lines,
        [
            "data = \"/srv\"                                    # ringleaf.toml:1",
            "listen = \"127.0.0.1:1234\"                        # default"
        ]
    );
}

/// What `ringleaf node`, or `router`, says about these flags.
fn clustered(role: Role, flags: &[(&'static str, &str)]) -> Result<Resolved, Problems> {
    resolve(&Sources { role, ..sources("", &[], flags) })
}

const ETCD: (&str, &str) = ("etcd", "http://127.0.0.1:2379");
const STORE: (&str, &str) = ("store", "postgres://me:secret@127.0.0.1/ringleaf");

#[test]
fn a_node_needs_etcd_and_a_store_that_it_can_share() {
    assert!(clustered(Role::Node, &[ETCD, STORE]).is_ok());
    assert!(clustered(Role::Router, &[ETCD]).is_ok());
    let text = clustered(Role::Node, &[]).unwrap_err().to_string();
    assert!(text.contains("--etcd http://HOST:2379") && text.contains("--store postgres://"), "{text}");
    let text = clustered(Role::Node, &[ETCD, STORE, ("memory", "true")]).unwrap_err().to_string();
    assert!(text.contains("cannot keep its documents in memory"), "{text}");
    let text = clustered(Role::Alone, &[STORE]).unwrap_err().to_string();
    assert!(text.starts_with("flag --store: store is for a cluster"), "{text}");
}

#[test]
fn other_machines_show_certificates() {
    let open = [ETCD, STORE, ("peer", "0.0.0.0:1236")];
    let text = clustered(Role::Node, &open).unwrap_err().to_string();
    assert!(text.contains("--advertise HOST:PORT") && text.contains("--peer-ca"), "{text}");
    let named = [ETCD, STORE, ("advertise", "node-1:1236")];
    let text = clustered(Role::Node, &named).unwrap_err().to_string();
    assert!(text.contains("must show certificates"), "{text}");
    let files = [("peer_ca", "ca.pem"), ("peer_cert", "cert.pem"), ("peer_key", "key.pem")];
    assert!(clustered(Role::Node, &[&named[..], &files[..]].concat()).is_ok());
    let text = clustered(Role::Node, &[&named[..], &files[..2]].concat()).unwrap_err().to_string();
    assert!(text.contains("give all three or none"), "{text}");
    let names = [("peer_allowed_names", "n1.internal, *.routers.internal")];
    assert!(clustered(Role::Node, &[&named[..], &files[..], &names[..]].concat()).is_ok());
    let text = clustered(Role::Node, &[&[ETCD, STORE][..], &names[..]].concat()).unwrap_err().to_string();
    assert!(text.contains("nobody is asked for one"), "{text}");
}

#[test]
fn a_password_stays_where_it_was_written() {
    let shown = clustered(Role::Node, &[ETCD, STORE]).unwrap().show(false);
    assert!(shown.contains("postgres://me:***@127.0.0.1/ringleaf") && !shown.contains("secret"), "{shown}");
}
