//! The folder of a store, and the lock on it.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::OpenStoreError;

/// The file that holds everything.
pub(super) const DATABASE: &str = "ringleaf.db";
/// The file that is locked. It stays; only the kernel's lock on it counts, and that ends with the process.
const LOCK: &str = "lock";

/// A folder that no other process uses as long as this lives.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Locks a folder, and creates it when it is not there: for its owner only.
    pub(super) fn create(path: &Path) -> Result<Self, OpenStoreError> {
        match std::fs::metadata(path) {
            Ok(found) if !found.is_dir() => return Err(OpenStoreError::NotAFolder { path: path.into() }),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make(path).map_err(|source| OpenStoreError::folder(path, "create", source))?;
            }
            Err(source) => return Err(OpenStoreError::folder(path, "look into", source)),
        }
        Self::lock(path)
    }

    /// Locks a folder that holds a store.
    pub(super) fn existing(path: &Path) -> Result<Self, OpenStoreError> {
        match std::fs::metadata(path.join(DATABASE)) {
            Ok(_) => Self::lock(path),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Err(OpenStoreError::NoStore { folder: path.into() })
            }
            Err(source) => Err(OpenStoreError::folder(path, "look into", source)),
        }
    }

    fn lock(path: &Path) -> Result<Self, OpenStoreError> {
        std::fs::read_dir(path).map_err(|source| OpenStoreError::folder(path, "read", source))?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK))
            .map_err(|source| OpenStoreError::folder(path, "lock", source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenStoreError::InUse { folder: path.into(), holder: holder(&mut lock) });
            }
            Err(TryLockError::Error(source)) => return Err(OpenStoreError::folder(path, "lock", source)),
        }
        warn_of_a_network(path);
        // Only a courtesy for whoever comes second, so a full disk is no reason to stay away.
        let _ = sign(&mut lock);
        Ok(Self { path: path.into(), _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }
}

/// Creates a folder, and what is missing above it, so that a power cut does not take it away again with all it holds.
fn make(path: &Path) -> std::io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    for made in missing.into_iter().filter(|path| !path.as_os_str().is_empty()) {
        let above = made.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(above)?.sync_all()?;
    }
    Ok(())
}

/// Says so when the folder is on a file system whose locks and syncs are only as good as a network and a server.
fn warn_of_a_network(path: &Path) {
    // NFS, SMB, CIFS, SMB2, AFS, Ceph, 9P.
    const NETWORKS: [i64; 7] =
        [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x5346_414f, 0x00c3_6400, 0x0102_1997];
    #[allow(clippy::unnecessary_cast, reason = "its type depends on the platform")]
    let is_network = |found: rustix::fs::StatFs| NETWORKS.contains(&(found.f_type as i64));
    if rustix::fs::statfs(path).is_ok_and(is_network) {
        tracing::warn!("the data folder is on a network file system; use a local disk, or edits may be lost");
    }
}

/// Writes who holds the lock.
fn sign(lock: &mut File) -> std::io::Result<()> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "process {}, running since {}", std::process::id(), utc(seconds))
}

/// Reads who holds the lock; `None` when they have not signed yet.
fn holder(lock: &mut File) -> Option<String> {
    let mut text = String::new();
    lock.take(200).read_to_string(&mut text).ok()?;
    let line = text.strip_suffix('\n')?;
    line.starts_with("process ").then(|| line.to_owned())
}

/// Seconds since 1970 as `2026-11-24 07:00:00 UTC`.
fn utc(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days are counted from 1 March of year 0, so that a leap day is the last of its year.
    let day = days + 719_468;
    let (era, day_of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day_of_month:02} {hour:02}:{minute:02}:{:02} UTC", second % 60)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn times_read_well() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(utc(1_790_000_000), "2026-09-21 14:13:20 UTC");
        assert_eq!(utc(4_107_542_399), "2100-02-28 23:59:59 UTC");
        assert_eq!(utc(4_107_542_400), "2100-03-01 00:00:00 UTC");
    }

    #[test]
    fn a_new_folder_is_its_owners_alone() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::create(&parent.path().join("a/b")).unwrap();
        let mode = std::fs::metadata(folder.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_folder_is_locked_once_and_the_second_comer_learns_by_whom() {
        let parent = tempfile::tempdir().unwrap();
        let first = Folder::create(parent.path()).unwrap();
        let error = Folder::create(parent.path()).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, OpenStoreError::InUse { .. }), "{text}");
        assert!(text.contains(&format!("process {}, running since 2", std::process::id())), "{text}");
        assert!(text.contains("stop that one first"), "{text}");
        drop(first);
        Folder::create(parent.path()).unwrap();
    }

    #[test]
    fn a_lock_file_that_was_left_behind_blocks_nobody() {
        let parent = tempfile::tempdir().unwrap();
        std::fs::write(parent.path().join(LOCK), "process 1, running since 1970-01-01 00:00:00 UTC\nmore\n")
            .unwrap();
        Folder::create(parent.path()).unwrap();
        let text = std::fs::read_to_string(parent.path().join(LOCK)).unwrap();
        assert!(text.starts_with(&format!("process {}, ", std::process::id())), "{text}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn a_file_is_no_folder() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        std::fs::write(&file, "text").unwrap();
        assert!(matches!(Folder::create(&file), Err(OpenStoreError::NotAFolder { .. })));
        assert!(matches!(Folder::existing(&file), Err(OpenStoreError::NoStore { .. })));
    }

    #[test]
    fn a_mistyped_path_creates_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("mistyped");
        assert!(matches!(Folder::existing(&path), Err(OpenStoreError::NoStore { .. })));
        assert!(!path.exists());
        assert!(matches!(Folder::existing(parent.path()), Err(OpenStoreError::NoStore { .. })));
        assert!(!parent.path().join(LOCK).exists());
    }
}
