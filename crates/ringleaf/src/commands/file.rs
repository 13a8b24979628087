//! Files that are whole, or not there: whatever fails on the way, what was there before is still there.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};

/// Writes a file beside `file` and gives it that name when it is on the disk. `replace` says what becomes of one that is
/// there already.
pub(super) fn write(file: &Path, bytes: &[u8], replace: bool) -> io::Result<()> {
    let Ok(found) = std::fs::metadata(file) else {
        let partial = Partial::write(file, bytes)?;
        return if replace { partial.replace(file) } else { partial.keep_as(file) };
    };
    if !replace {
        return Err(ErrorKind::AlreadyExists.into());
    }
    if !found.is_file() {
        // A pipe or a device is there to be written to; in its place a file would be of no use.
        return OpenOptions::new().write(true).open(file)?.write_all(bytes);
    }
    // Not the link, but what it leads to.
    let file = file.canonicalize()?;
    let partial = Partial::write(&file, bytes)?;
    std::fs::set_permissions(&partial.path, found.permissions())?;
    partial.replace(&file)
}

/// A file that is removed unless it is kept.
struct Partial {
    path: PathBuf,
}

impl Partial {
    fn write(file: &Path, bytes: &[u8]) -> io::Result<Self> {
        let mut path = file.as_os_str().to_owned();
        // What a process left that was killed is in nobody's way.
        path.push(format!(".{}.partial", std::process::id()));
        let path = PathBuf::from(path);
        let mut opened = OpenOptions::new().write(true).create_new(true).open(&path)?;
        let partial = Self { path };
        opened.write_all(bytes)?;
        opened.sync_all()?;
        Ok(partial)
    }

    fn replace(self, file: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, file)?;
        sync_folder_of(file)
    }

    fn keep_as(self, file: &Path) -> io::Result<()> {
        // Never over a file that appeared meanwhile. Some file systems cannot promise that in one step.
        match rustix::fs::renameat_with(CWD, &self.path, CWD, file, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(rustix::io::Errno::EXIST) => return Err(ErrorKind::AlreadyExists.into()),
            Err(_) => std::fs::hard_link(&self.path, file)?,
        }
        sync_folder_of(file)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Renamed away when all went well.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn sync_folder_of(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_only_when_that_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        write(&file, b"first", false).unwrap();
        assert_eq!(write(&file, b"second", false).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&file).unwrap(), b"first");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        write(&file, b"second", true).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"second");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[test]
    fn a_link_stays_a_link_and_a_device_a_device() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::fs::write(&file, b"first").unwrap();
        symlink(&file, &link).unwrap();
        write(&link, b"second", true).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"second");
        assert!(link.is_symlink());
        write(Path::new("/dev/null"), b"second", true).unwrap();
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
        assert_eq!(names(folder.path()), ["file", "link"]);
    }

    #[test]
    fn a_name_that_was_taken_meanwhile_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let partial = Partial::write(&file, b"ours").unwrap();
        std::fs::write(&file, b"theirs").unwrap();
        assert_eq!(partial.keep_as(&file).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&file).unwrap(), b"theirs");
        assert_eq!(names(folder.path()), ["file"]);
    }
}
