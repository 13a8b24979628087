//! The last view on disk.

use std::io;
use std::path::Path;

use ringleaf_ring::RingView;

use super::record::Cached;

/// The view that was kept, if one was.
pub(crate) fn load(file: &Path) -> io::Result<Option<RingView>> {
    let bytes = match std::fs::read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    let cached: Cached = serde_json::from_slice(&bytes)?;
    cached.view().map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is not a ring view"))
}

/// Keeps the view. A crash leaves the old one or the new one.
pub(crate) fn keep(file: &Path, view: &RingView) -> io::Result<()> {
    let beside = file.with_extension("new");
    std::fs::write(&beside, serde_json::to_vec_pretty(&Cached::of(view))?)?;
    std::fs::rename(beside, file)
}
