//! What a person sees who starts the server on a terminal.

use crate::config::{Config, Role, without_password};
use crate::log;
use crate::output;
use crate::serve::Addresses;

/// What must not be overlooked.
pub(crate) fn warnings(config: &Config, addresses: Addresses) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.memory {
        warnings.push("nothing is kept: all documents are gone when this process ends (--memory)".to_owned());
    }
    if config.open_to_anyone {
        warnings.push(format!(
            "open to anyone: whoever reaches {} can read and change every document (--open-to-anyone)",
            addresses.editors
        ));
        if !addresses.admin.ip().is_loopback() {
            warnings.push(format!(
                "open to anyone: whoever reaches {} can delete every document (--admin)",
                addresses.admin
            ));
        }
    }
    warnings
}

/// Where the documents are.
pub(crate) fn documents(config: &Config) -> String {
    match config.role {
        Role::Alone if config.memory => "in memory only".into(),
        Role::Alone => config.data.display().to_string(),
        Role::Node => without_password(&config.store),
        Role::Router => "at the nodes".into(),
    }
}

pub(crate) fn print(config: &Config, addresses: Addresses) {
    output::note(&text(config, addresses, log::stderr_has_color()));
}

fn text(config: &Config, addresses: Addresses, color: bool) -> String {
    let paint = |code: &str, text: &str| match color {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_owned(),
    };
    let mut lines = vec![
        String::new(),
        format!(
            "  {} {}  {}",
            paint("1;32", "ringleaf"),
            env!("CARGO_PKG_VERSION"),
            paint("2", "every edit durable before anyone sees it")
        ),
        String::new(),
    ];
    let mut entry =
        |name: &str, value: &str| lines.push(format!("  {} {value}", paint("2", &format!("{name:<8}"))));
    if config.dev {
        entry("demo", &paint("4", &format!("http://{}/", addresses.editors)));
    }
    entry("editors", &format!("ws://{}/<document>", addresses.editors));
    let ask = match addresses.admin.to_string().as_str() {
        "127.0.0.1:1235" => "ringleaf status".to_owned(),
        admin => format!("ringleaf status --admin {admin}"),
    };
    entry("admin", &format!("http://{}/  ({ask})", addresses.admin));
    if let Some(peer) = addresses.peer {
        entry("peers", &peer.to_string());
    }
    if config.role != Role::Alone {
        entry("cluster", &format!("{} at {}", config.cluster, config.etcd.join(", ")));
    }
    entry("data", &documents(config));
    entry("stop", "ctrl-c");
    let warnings = warnings(config, addresses);
    if !warnings.is_empty() {
        lines.push(String::new());
    }
    lines.extend(warnings.iter().map(|warning| format!("  {} {warning}", paint("1;33", "warning"))));
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(editors: &str) -> Addresses {
        Addresses { editors: editors.parse().unwrap(), admin: "127.0.0.1:1235".parse().unwrap(), peer: None }
    }

    #[test]
    fn the_banner_says_where_everything_is() {
        let mut config = Config::standard("host");
        config.dev = true;
        let text = text(&config, addresses("127.0.0.1:1234"), false);
        assert_eq!(
            text,
            concat!(
                "\n  ringleaf ",
                env!("CARGO_PKG_VERSION"),
                "  every edit durable before anyone sees it\n\n",
                "  demo     http://127.0.0.1:1234/\n",
                "  editors  ws://127.0.0.1:1234/<document>\n",
                "  admin    http://127.0.0.1:1235/  (ringleaf status)\n",
                "  data     ./ringleaf-data\n",
                "  stop     ctrl-c\n",
            )
        );
    }

    #[test]
    fn a_server_that_keeps_nothing_or_asks_nobody_says_so() {
        let mut config = Config::standard("host");
        assert!(warnings(&config, addresses("127.0.0.1:1234")).is_empty());
        config.memory = true;
        config.open_to_anyone = true;
        let warnings = warnings(&config, addresses("0.0.0.0:1234"));
        assert!(warnings[0].starts_with("nothing is kept"), "{warnings:?}");
        assert!(warnings[1].starts_with("open to anyone: whoever reaches 0.0.0.0:1234"), "{warnings:?}");
    }
}
