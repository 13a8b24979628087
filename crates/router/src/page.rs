//! What a browser gets that asks for a page instead of a socket.

use std::borrow::Cow;

use bytes::Bytes;
use futures_util::future::BoxFuture;

/// What is served to plain requests: the demo page.
pub trait Page: Send + Sync + 'static {
    /// What is at a path, which begins with `/` and has no query. `None`: there is nothing.
    ///
    /// # Cancel safety
    ///
    /// It only looks, so nothing is lost by dropping the future.
    fn get<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Option<PageFile>>;

    /// Does what the page wishes at this path, and answers with a status. `None`: nothing can be wished there. Only wishes
    /// of a page that came from this very server, by a name of this machine, get here.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it open whether it was done.
    fn post<'a>(&'a self, _path: &'a str) -> BoxFuture<'a, Option<(u16, PageFile)>> {
        Box::pin(std::future::ready(None))
    }
}

/// One file of a [`Page`], or what it says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageFile {
    pub content_type: Cow<'static, str>,
    pub bytes: Bytes,
    /// Its name changes with its content, so that browsers may keep it for ever.
    pub immutable: bool,
}
