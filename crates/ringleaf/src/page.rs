//! The demo page, out of the binary.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use percent_encoding::percent_decode_str;
use ringleaf_router::{Page, PageFile};
use rust_embed::RustEmbed;
use serde_json::{Value, json};
use tower_service::Service;

/// Limit: one document's whereabouts have a few hundred bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// What `build.rs` chose: the page that Vite built, or the small one.
#[derive(RustEmbed)]
#[folder = "$RINGLEAF_PAGE_FOLDER"]
struct Files;

/// Where the page asks which node owns its document: this, and the name.
const WHERE: &str = "/.where/";
/// Where the page asks for its document to be moved: this, the name, and the node. Both are one segment each.
const MOVE: &str = "/.move/";

/// The page, and the admin routes that it asks about its document, once there are any.
#[derive(Clone, Default)]
pub(crate) struct DemoPage {
    admin: Arc<OnceLock<Router>>,
}

impl DemoPage {
    /// Whom to ask from now on.
    pub(crate) fn ask(&self, admin: Router) {
        let _first = self.admin.set(admin);
    }
}

impl Page for DemoPage {
    fn get<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Option<PageFile>> {
        match path.strip_prefix(WHERE) {
            Some(name) => self.owner(name).boxed(),
            None => async move { file(path) }.boxed(),
        }
    }

    fn post<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Option<(u16, PageFile)>> {
        match path.strip_prefix(MOVE).and_then(|rest| rest.split_once('/')) {
            Some((name, node)) => self.pin(name, node).boxed(),
            None => async { None }.boxed(),
        }
    }
}

fn file(path: &str) -> Option<PageFile> {
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

impl DemoPage {
    /// Who should own the document, and who has it in memory.
    async fn owner(&self, name: &str) -> Option<PageFile> {
        let name = percent_decode_str(name).decode_utf8().ok()?;
        let (_, answer) = self.say("POST", "/api/v1/ring/owners", &json!({ "documents": [name] })).await?;
        let found = answer["documents"].get(0)?;
        let mut shown = json!({});
        for key in ["owner", "in_memory", "candidates", "pinned_to"] {
            shown[key] = found[key].clone();
        }
        Some(json_file(&shown))
    }

    /// Pins the document to the node, as `ringleaf doc move` does. `name` stays encoded.
    async fn pin(&self, name: &str, node: &str) -> Option<(u16, PageFile)> {
        let node = percent_decode_str(node).decode_utf8().ok()?;
        let (status, answer) =
            self.say("PUT", &format!("/api/v1/pins/{name}"), &json!({ "node": node })).await?;
        Some((status, json_file(&answer)))
    }

    /// Asks this process's own admin routes.
    async fn say(&self, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
        let mut admin = self.admin.get()?.clone();
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        let request = request.body(Body::from(body.to_string())).ok()?;
        let response = admin.call(request).await.unwrap_or_else(|never| match never {});
        let status = response.status().as_u16();
        let bytes = axum::body::to_bytes(response.into_body(), ANSWER_BYTES_MAX).await.ok()?;
        Some((status, serde_json::from_slice(&bytes).ok()?))
    }
}

fn json_file(value: &Value) -> PageFile {
    PageFile {
        content_type: Cow::Borrowed("application/json"),
        bytes: value.to_string().into(),
        immutable: false,
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
        let root = file("/").unwrap();
        assert_eq!(root.content_type, "text/html; charset=utf-8");
        assert!(String::from_utf8_lossy(&root.bytes).contains("ringleaf"));
        assert!(!root.immutable);
        assert_eq!(root.bytes, file("/index.html").unwrap().bytes);
        for small in [&*String::from_utf8_lossy(&root.bytes), include_str!("../placeholder.html")] {
            let inline = small.split("<script").skip(1).any(|tag| tag.starts_with('>'));
            assert!(!inline, "the server allows no script within a page");
        }
        assert_eq!(file("/no/such/file"), None);
        assert_eq!(file("/../Cargo.toml"), None);
    }
}
