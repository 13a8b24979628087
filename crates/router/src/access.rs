//! Who gets in, as long as there is no other access control: whoever can reach the port, unless it is somebody's
//! browser on somebody else's page.
//!
//! A browser says which page it is on (`Origin`), and no page can forge that or add other headers to a WebSocket's
//! handshake. So a page may connect if it comes from the host that it connects to, or is on the list. That alone would
//! let an attacker in whose name resolves to a loopback address (DNS rebinding): his page's host *is* the host that the
//! browser believes to talk to. Therefore on loopback a host counts as the same only if its name is a loopback name, or
//! if the request went through a proxy, as the proxy's own headers show: then the name is one that the proxy serves.
//! Whoever sends no `Origin` is no browser, and needs no permission from one.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{HOST, HeaderName, HeaderValue, ORIGIN, VIA};

/// Headers that proxies add and pages cannot.
const PROXY_HEADERS: [HeaderName; 5] = [
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-real-ip"),
    VIA,
];

/// The rules of one server.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    any_origin: bool,
    /// In lower case, without a slash at the end.
    allowed_origins: Vec<String>,
    /// Editors come from this machine, directly or through a proxy.
    loopback_only: bool,
}

/// Why a page may not connect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AccessError {
    #[error("pages of {origin} may not connect to {host}: add that origin to the allowed origins")]
    OtherOrigin { origin: String, host: String },
    #[error(
        "{host} is not a name of this machine, and the request came through no proxy that says so: add {origin} to \
         the allowed origins, or let the proxy send X-Forwarded-For"
    )]
    ForeignName { origin: String, host: String },
    #[error("the Origin or Host header is not readable")]
    Unreadable,
}

impl Access {
    pub(crate) fn new(allowed_origins: &[String], open_to_anyone: bool) -> Self {
        Self {
            any_origin: allowed_origins.iter().any(|origin| origin == "*"),
            allowed_origins: allowed_origins.iter().map(|origin| normal(origin)).collect(),
            loopback_only: !open_to_anyone,
        }
    }

    /// Whether whoever sends these headers may connect.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), AccessError> {
        let text = |name: &HeaderName| {
            headers.get(name).map(|value| value.to_str().map_err(|_| AccessError::Unreadable)).transpose()
        };
        let Some(origin) = text(&ORIGIN)? else { return Ok(()) };
        if self.any_origin || self.allowed_origins.contains(&normal(origin)) {
            return Ok(());
        }
        let host = text(&HOST)?.unwrap_or_default();
        let (page, here) = (host_of(origin.split_once("://").map_or("", |(_, host)| host)), host_of(host));
        let both_loopback = is_loopback(&page) && is_loopback(&here);
        if page.is_empty() || (page != here && !both_loopback) {
            return Err(AccessError::OtherOrigin { origin: shorten(origin), host: shorten(host) });
        }
        let proxied = PROXY_HEADERS.iter().any(|name| headers.contains_key(name));
        if self.loopback_only && !both_loopback && !proxied {
            return Err(AccessError::ForeignName { origin: shorten(origin), host: shorten(host) });
        }
        Ok(())
    }
}

/// Whether a page that this server has sent, to a browser on this machine, asks: to the port. What changes more than one's
/// own document is for no other page, whatever is on the list. A page whose own name was made to resolve to this machine
/// is of the "same" origin, but the name gives it away.
pub(crate) fn own_page(headers: &HeaderMap) -> bool {
    let text = |value: &HeaderValue| value.to_str().map(str::to_ascii_lowercase).ok();
    let (Some(origin), Some(host)) = (headers.get(ORIGIN).and_then(text), headers.get(HOST).and_then(text))
    else {
        return false;
    };
    let site = headers.get("sec-fetch-site");
    origin.strip_prefix("http://") == Some(host.as_str())
        && is_loopback(&host_of(&host))
        && site.is_none_or(|site| site == "same-origin")
}

fn normal(origin: &str) -> String {
    origin.trim_end_matches('/').to_ascii_lowercase()
}

/// The host of `host:port`, in lower case. The port does not matter: whoever may listen on a port of that host is
/// trusted, which lets a page of a development server connect.
fn host_of(authority: &str) -> String {
    let authority = authority.trim_end_matches('/');
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.trim_end_matches('.').to_ascii_lowercase()
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// What a stranger sent is not repeated at length.
fn shorten(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_page_of_this_very_port_may_wish_for_something() {
        let own = |pairs: &[(&'static str, &str)]| {
            let pairs =
                pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
            own_page(&pairs.collect())
        };
        let host = ("host", "127.0.0.1:1234");
        let page = ("origin", "http://127.0.0.1:1234");
        assert!(own(&[host, page]) && own(&[host, page, ("sec-fetch-site", "same-origin")]));
        assert!(own(&[("host", "localhost:7"), ("origin", "http://localhost:7")]));
        assert!(!own(&[host]), "a program has the admin port");
        for origin in ["http://127.0.0.1:1235", "https://127.0.0.1:1234", "http://evil.example", "null"] {
            assert!(!own(&[host, ("origin", origin)]), "{origin}");
        }
        assert!(!own(&[host, page, ("sec-fetch-site", "cross-site")]));
        let rebound = [("host", "evil.example:1234"), ("origin", "http://evil.example:1234")];
        assert!(!own(&rebound), "the name gives it away");
    }

    fn check(access: &Access, headers: &[(&'static str, &str)]) -> Result<(), AccessError> {
        let headers =
            headers.iter().map(|&(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        access.check(&headers.collect())
    }

    fn local() -> Access {
        Access::new(&[], false)
    }

    #[test]
    fn a_page_of_the_same_host_may_connect_whatever_its_port() {
        for (origin, host) in [
            ("http://localhost:5173", "localhost:1234"),
            ("http://127.0.0.1:5173", "localhost:1234"),
            ("http://[::1]:5173", "127.0.0.1:1234"),
            ("http://LocalHost", "localhost"),
            ("http://app.localhost:3000", "app.localhost:1234"),
        ] {
            assert_eq!(check(&local(), &[("origin", origin), ("host", host)]), Ok(()), "{origin} {host}");
        }
    }

    #[test]
    fn a_page_of_another_host_may_not() {
        for (origin, host) in [
            ("https://evil.example", "localhost:1234"),
            ("http://localhost.evil.example", "localhost:1234"),
            ("http://localhost", "example.com"),
            ("null", "localhost:1234"),
            ("file://", "localhost:1234"),
            ("", ""),
        ] {
            let error = check(&local(), &[("origin", origin), ("host", host)]).unwrap_err();
            assert!(matches!(error, AccessError::OtherOrigin { .. }), "{origin} {host} {error:?}");
        }
    }

    #[test]
    fn a_name_that_was_rebound_to_loopback_gets_nobody_in() {
        let rebound = [("origin", "http://evil.example:1234"), ("host", "evil.example:1234")];
        let error = check(&local(), &rebound).unwrap_err();
        assert!(matches!(error, AccessError::ForeignName { .. }), "{error:?}");
    }

    #[test]
    fn a_proxy_in_front_that_passes_the_host_on_works() {
        let headers =
            [("origin", "https://example.com"), ("host", "example.com"), ("x-forwarded-for", "192.0.2.7")];
        assert_eq!(check(&local(), &headers), Ok(()));
        let open = Access::new(&[], true);
        assert_eq!(check(&open, &headers[..2]), Ok(()), "open to anyone: the name is ours to be called");
    }

    #[test]
    fn listed_origins_may_connect_and_only_they() {
        let access = Access::new(&["https://Example.com/".into(), "null".into()], false);
        let host = ("host", "localhost:1234");
        assert_eq!(check(&access, &[("origin", "https://example.com"), host]), Ok(()));
        assert_eq!(check(&access, &[("origin", "null"), host]), Ok(()));
        assert!(check(&access, &[("origin", "http://example.com"), host]).is_err());
        assert!(check(&access, &[("origin", "https://example.com:444"), host]).is_err());
        let any = Access::new(&["*".into()], false);
        assert_eq!(check(&any, &[("origin", "https://anybody.example"), host]), Ok(()));
    }

    #[test]
    fn who_is_no_browser_needs_no_origin() {
        assert_eq!(check(&local(), &[("host", "whatever")]), Ok(()));
        assert_eq!(check(&local(), &[]), Ok(()));
    }
}
