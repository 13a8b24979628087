//! A real PostgreSQL for tests, in a folder of its own, which goes when the tests end, however they end.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};

/// Ends when its input does: with the test process.
const LIFE: &str = r#"
    set -e
    folder=$(TMPDIR=/tmp mktemp -d)
    trap 'cd /; "$1/pg_ctl" -D "$folder/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$folder"' EXIT
    cd "$folder"
    "$1/initdb" -D "$folder/data" -U ringleaf -A trust -E UTF8 --no-locale -N >"$folder/initdb.log"
    cat >>"$folder/data/postgresql.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$folder'
max_connections = 300
log_statement = 'all'
log_line_prefix = '%a|'
$2
CONF
    "$1/pg_ctl" -D "$folder/data" -l "$folder/log" -w start >/dev/null
    echo "$folder"
    read -r _ || true
"#;

pub(super) struct Server {
    folder: PathBuf,
    programs: PathBuf,
    _life: Child,
    schemas: AtomicU32,
}

impl Server {
    /// `None`: PostgreSQL is not installed.
    pub(super) fn start(settings: &str) -> Option<Self> {
        let Some(programs) = programs() else {
            eprintln!("skipped: PostgreSQL's server (initdb, pg_ctl, psql) is not all installed");
            return None;
        };
        let mut life = as_other_user("sh")
            .args(["-c", LIFE, "sh"])
            .arg(&programs)
            .arg(settings)
            // Whoever ends this test's whole group leaves it the time to clean up.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut folder = String::new();
        BufReader::new(life.stdout.as_mut().unwrap()).read_line(&mut folder).unwrap();
        assert!(!folder.is_empty(), "PostgreSQL did not start");
        let folder = PathBuf::from(folder.trim());
        Some(Self { folder, programs, _life: life, schemas: AtomicU32::new(0) })
    }

    /// The address of a schema that nobody has used.
    pub(super) fn address(&self) -> String {
        let schema = format!("t{}", self.schemas.fetch_add(1, Ordering::Relaxed));
        self.sql(&format!("CREATE SCHEMA {schema}"));
        let folder = self.folder.display();
        format!(
            "host={folder} user=ringleaf dbname=postgres application_name={schema} options='-c search_path={schema}'"
        )
    }

    /// Somebody with the psql tool.
    pub(super) fn sql(&self, sql: &str) -> String {
        let output = Command::new(self.programs.join("psql"))
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                "ringleaf",
                "-d",
                "postgres",
                "-c",
                sql,
                "-h",
            ])
            .arg(&self.folder)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// What the server noted about the sessions of this application.
    pub(super) fn log(&self, application: &str) -> Vec<String> {
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap();
        let prefix = format!("{application}|");
        log.lines().filter(|line| line.starts_with(&prefix)).map(str::to_owned).collect()
    }

    /// Stops the processes that serve this application's sessions: their kernel still takes what is sent, and nobody answers.
    pub(super) fn freeze(&self, application: &str) -> Frozen {
        self.freeze_some(application, "")
    }

    /// Only the connection that was asked last.
    pub(super) fn freeze_last(&self, application: &str) -> Frozen {
        self.freeze_some(application, "ORDER BY query_start DESC LIMIT 1")
    }

    fn freeze_some(&self, application: &str, which: &str) -> Frozen {
        let sql =
            format!("SELECT pid FROM pg_stat_activity WHERE application_name = '{application}' {which}");
        let processes: Vec<Pid> =
            self.sql(&sql).lines().map(|pid| Pid::from_raw(pid.parse().unwrap()).unwrap()).collect();
        for process in &processes {
            kill_process(*process, Signal::STOP).unwrap();
        }
        Frozen(processes)
    }

    /// As after a power cut: no session is told, and the log is played back.
    pub(super) fn restart(&self) {
        let status = as_other_user(self.programs.join("pg_ctl"))
            .arg("-D")
            .arg(self.folder.join("data"))
            .arg("-l")
            .arg(self.folder.join("log"))
            .args(["-w", "-m", "immediate", "restart"])
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
    }
}

/// Processes of the server that stand still for as long as this lives.
pub(super) struct Frozen(pub(super) Vec<Pid>);

impl Drop for Frozen {
    fn drop(&mut self) {
        for process in &self.0 {
            // It may have been ended meanwhile.
            let _ = kill_process(*process, Signal::CONT);
        }
    }
}

/// PostgreSQL refuses to run as root.
fn as_other_user(program: impl AsRef<Path>) -> Command {
    let mut command;
    if rustix::process::geteuid().is_root() {
        command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program.as_ref());
    } else {
        command = Command::new(program.as_ref());
    }
    command.current_dir("/");
    command
}

/// Where the newest server's programs are.
fn programs() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH")?;
    let mut found: Vec<PathBuf> = std::env::split_paths(&on_path).collect();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        let mut versions: Vec<_> = versions.flatten().map(|version| version.path().join("bin")).collect();
        versions.sort();
        found.extend(versions.into_iter().rev());
    }
    found
        .into_iter()
        .find(|folder| ["initdb", "pg_ctl", "psql"].iter().all(|name| folder.join(name).exists()))
}

/// The server that most tests share, each with a schema of its own.
pub(super) fn shared() -> Option<&'static Server> {
    static SHARED: LazyLock<Option<Server>> = LazyLock::new(|| Server::start(""));
    SHARED.as_ref()
}
