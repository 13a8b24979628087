//! What a browser gets that asks for a page instead of a socket.

use std::borrow::Cow;

use bytes::Bytes;

/// Files that are served to plain requests: the demo page.
pub trait Page: Send + Sync + 'static {
    /// The file at a path, which begins with `/` and has no query. `None`: there is nothing.
    fn get(&self, path: &str) -> Option<PageFile>;
}

/// One file of a [`Page`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageFile {
    pub content_type: Cow<'static, str>,
    pub bytes: Bytes,
    /// Its name changes with its content, so that browsers may keep it for ever.
    pub immutable: bool,
}
