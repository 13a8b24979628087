//! Flags > environment > `ringleaf.toml` > defaults, made into typed and checked values before anything starts.
//!
//! ```text
//! flags ─┐
//! env   ─┼─▶ resolve() ──▶ Resolved { config, origins }   or every problem at once, each with its place
//! file  ─┘
//! ```
//!
//! [`resolve`] is pure; [`Sources::gather`] is the only place that reads the environment and the disk.

mod conflicts;
mod file;
mod problem;
mod settings;
mod value;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ringleaf_types::{NodeId, faults};

pub(crate) use file::FileText;
pub(crate) use problem::{Origin, Problem, Problems, nearest};
pub(crate) use settings::{Config, Role, Setting};
pub(crate) use value::{Raw, without_password};

/// Variables that begin like a setting and are none; the last one is for this project's own tests.
const OTHER_VARIABLES: &[&str] = &["RINGLEAF_CONFIG", "RINGLEAF_BINARY"];
/// What this project's own tests are told.
const TEST_VARIABLES: &str = "RINGLEAF_TEST_";

/// The raw texts that a configuration is made of.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    /// What the process is to be.
    pub(crate) role: Role,
    /// Setting → text, from the command line.
    pub(crate) flags: Vec<(&'static str, Raw)>,
    /// Variables whose name begins with `RINGLEAF_`.
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) file: Option<FileText>,
    pub(crate) host: String,
}

/// A checked configuration and where each value comes from.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    pub(crate) config: Config,
    /// Setting → origin; what is missing is a default.
    pub(crate) origins: BTreeMap<&'static str, Origin>,
    /// The file that was read.
    pub(crate) file: Option<PathBuf>,
}

impl Sources {
    /// Reads the environment and the file: the one named, or RINGLEAF_CONFIG, or `./ringleaf.toml` if it exists.
    pub(crate) fn gather(
        role: Role,
        flags: Vec<(&'static str, Raw)>,
        file: Option<&Path>,
    ) -> Result<Self, Problems> {
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .filter(|(name, _)| name.starts_with("RINGLEAF_"))
            .collect();
        let named = file.map(Path::to_path_buf).or_else(|| {
            environment.get("RINGLEAF_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from)
        });
        let file = match named {
            Some(path) => Some(read(path)?),
            None => {
                Some(PathBuf::from("ringleaf.toml")).filter(|path| path.exists()).map(read).transpose()?
            }
        };
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
        Ok(Self { role, flags, environment, file, host })
    }
}

fn read(path: PathBuf) -> Result<FileText, Problems> {
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(FileText { path, text }),
        Err(error) => Err(Problems(vec![Problem::Unreadable { path, error: error.to_string() }])),
    }
}

/// Makes one configuration of all sources. All problems are reported together.
pub(crate) fn resolve(sources: &Sources) -> Result<Resolved, Problems> {
    let mut building = Building {
        resolved: Resolved {
            config: Config { role: sources.role, ..Config::standard(&sources.host) },
            origins: BTreeMap::new(),
            file: sources.file.as_ref().map(|file| file.path.clone()),
        },
        problems: Vec::new(),
    };
    if let Some(file) = &sources.file {
        building.take_file(file);
    }
    building.take_environment(&sources.environment);
    for (key, raw) in &sources.flags {
        let setting = settings::find(key).expect("every flag names a setting");
        building.take(setting, raw, Origin::Flag(flag_name(key)));
    }
    if building.problems.is_empty() {
        building.check();
    }
    if building.problems.is_empty() { Ok(building.resolved) } else { Err(Problems(building.problems)) }
}

fn flag_name(key: &str) -> String {
    if key == "data" { "DATA".into() } else { format!("--{}", key.replace('_', "-")) }
}

struct Building {
    resolved: Resolved,
    problems: Vec<Problem>,
}

impl Building {
    fn take(&mut self, setting: &'static Setting, raw: &Raw, origin: Origin) {
        match (setting.set)(&mut self.resolved.config, raw) {
            Some(()) => {
                self.resolved.origins.insert(setting.key, origin);
            }
            None => self.problems.push(Problem::Wrong {
                origin,
                key: setting.key,
                wanted: setting.wanted,
                found: raw.shown(),
                nearest: (setting.nearest)(raw),
            }),
        }
    }

    fn take_file(&mut self, file: &FileText) {
        let assignments = match file::assignments(file) {
            Ok(assignments) => assignments,
            Err(problem) => return self.problems.push(problem),
        };
        for assignment in assignments {
            match settings::find(&assignment.key) {
                Some(setting) => self.take(setting, &assignment.value, assignment.origin),
                None => self.problems.push(Problem::Unknown {
                    origin: assignment.origin,
                    nearest: nearest_key(&assignment.key),
                    key: assignment.key,
                }),
            }
        }
    }

    fn take_environment(&mut self, environment: &BTreeMap<String, String>) {
        let variables: BTreeMap<String, &'static Setting> =
            settings::all().map(|setting| (setting.variable(), setting)).collect();
        for (name, text) in environment {
            if OTHER_VARIABLES.contains(&name.as_str())
                || name.starts_with(TEST_VARIABLES)
                || (name == faults::VARIABLE && cfg!(feature = "faults"))
                || set_by_kubernetes(name)
            {
                continue;
            }
            match variables.get(name) {
                // An empty variable is how many tools say "not set".
                Some(_) if text.is_empty() => {}
                Some(setting) => {
                    self.take(setting, &Raw::Word(text.clone()), Origin::Environment(name.clone()));
                }
                None => self.problems.push(Problem::Unknown {
                    origin: Origin::Environment(name.clone()),
                    nearest: nearest(name, variables.keys().map(String::as_str)),
                    key: name.clone(),
                }),
            }
        }
    }

    /// What no single value can be blamed for.
    fn check(&mut self) {
        let conflicts = conflicts::of(&self.resolved.config);
        let conflicts = conflicts.into_iter().map(|(key, message)| Problem::Conflict {
            origin: self.resolved.origins.get(key).cloned().unwrap_or(Origin::Default),
            message,
        });
        self.problems.extend(conflicts);
    }
}

impl Resolved {
    /// The whole configuration as a file that would give it; with `origins`, each line says where its value is from.
    pub(crate) fn show(&self, origins: bool) -> String {
        let mut text = String::new();
        let mut in_limits = false;
        for setting in settings::all() {
            let key = match setting.key.strip_prefix("limits.") {
                Some(key) => {
                    if !in_limits {
                        text.push_str("\n[limits]\n");
                        in_limits = true;
                    }
                    key
                }
                None => setting.key,
            };
            let line = format!("{key} = {}", (setting.show)(&self.config));
            match origins {
                true => text.push_str(&format!("{line:<48} # {}\n", self.origin(setting.key))),
                false => text.push_str(&format!("{line}\n")),
            }
        }
        text
    }

    pub(crate) fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// Every setting, its value as it would stand in the file, and its origin.
    pub(crate) fn entries(&self) -> Vec<(&'static str, String, Origin)> {
        settings::all()
            .map(|setting| (setting.key, (setting.show)(&self.config), self.origin(setting.key)))
            .collect()
    }
}

fn nearest_key(key: &str) -> Option<String> {
    // Someone who forgot the section, or made one up, still meant a name.
    let last = key.rsplit('.').next().unwrap_or(key);
    nearest(key, settings::all().map(|setting| setting.key)).or_else(|| {
        settings::all()
            .find(|setting| setting.key.rsplit('.').next() == Some(last))
            .map(|found| found.key.to_owned())
    })
}

/// Kubernetes sets variables named after each service, so a service called `ringleaf` gives every pod
/// `RINGLEAF_PORT=tcp://…`. They are not meant for us.
fn set_by_kubernetes(name: &str) -> bool {
    let service_port = name.contains("_PORT_") && name.ends_with(|c: char| c.is_ascii_digit());
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || service_port
        || (name.contains("_PORT_")
            && ["_TCP", "_UDP", "_PROTO", "_ADDR", "_PORT"].iter().any(|end| name.ends_with(end)))
}

/// Where the admin commands find the server when no flag says it: RINGLEAF_ADMIN, the file's word, or the default.
pub(crate) fn admin_address() -> String {
    let standard = Config::standard("");
    let Ok(sources) = Sources::gather(Role::Alone, Vec::new(), None) else {
        return standard.admin.to_string();
    };
    if let Some(address) = sources.environment.get("RINGLEAF_ADMIN").filter(|address| !address.is_empty()) {
        return address.clone();
    }
    // What else is wrong with the file is the server's affair.
    let assignments = sources.file.and_then(|file| file::assignments(&file).ok()).unwrap_or_default();
    let mut config = standard;
    let setting = settings::find("admin").expect("it is a setting");
    for assignment in assignments.iter().filter(|assignment| assignment.key == setting.key) {
        let _left_as_it_was = (setting.set)(&mut config, &assignment.value);
    }
    config.admin.to_string()
}

/// A node id for a command that works on a folder by itself.
pub(crate) fn node_id_of_a_command() -> NodeId {
    "command-line".parse().expect("this name is a valid node id")
}

#[cfg(test)]
mod tests;
