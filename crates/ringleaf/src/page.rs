//! The demo page, out of the binary.

use std::borrow::Cow;

use bytes::Bytes;
use ringleaf_router::{Page, PageFile};
use rust_embed::RustEmbed;

/// What `build.rs` chose: the page that Vite built, or the small one.
#[derive(RustEmbed)]
#[folder = "$RINGLEAF_PAGE_FOLDER"]
struct Files;

pub(crate) struct DemoPage;

impl Page for DemoPage {
    fn get(&self, path: &str) -> Option<PageFile> {
        let name = match path.trim_start_matches('/') {
            "" => "index.html",
            name => name,
        };
        let file = Files::get(name)?;
        let bytes = match file.data {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => Bytes::from(bytes),
        };
        Some(PageFile {
            content_type: Cow::Borrowed(content_type(name)),
            bytes,
            // Vite puts a hash of the content into the names of everything in this folder.
            immutable: name.starts_with("assets/"),
        })
    }
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_a_page_and_nothing_else_is_made_up() {
        let root = DemoPage.get("/").unwrap();
        assert_eq!(root.content_type, "text/html; charset=utf-8");
        assert!(String::from_utf8_lossy(&root.bytes).contains("ringleaf"));
        assert!(!root.immutable);
        assert_eq!(DemoPage.get("/").unwrap().bytes, DemoPage.get("/index.html").unwrap().bytes);
        assert_eq!(DemoPage.get("/no/such/file"), None);
        assert_eq!(DemoPage.get("/../Cargo.toml"), None);
    }
}
