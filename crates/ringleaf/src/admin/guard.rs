//! Keeps browsers out: a page that somebody visits on this machine must not reach the admin port.
//!
//! A page of another origin sends an `Origin` (or `Sec-Fetch-Site`) that gives it away. A page that had its own DNS
//! name rebound to this address is of the "same" origin, but its requests name a `Host` that is not an address.

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

pub(super) async fn check(request: Request, next: Next) -> Response {
    let api = request.uri().path().starts_with("/api/");
    match refusal(request.headers(), api) {
        Some((code, message, advice)) => super::error(StatusCode::FORBIDDEN, code, message, advice),
        None => next.run(request).await,
    }
}

type Refusal = (&'static str, &'static str, &'static str);

/// Health and metrics may be asked for under any host name, as monitoring does; they change nothing.
fn refusal(headers: &HeaderMap, api: bool) -> Option<Refusal> {
    let text = |name| headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    if let Some(origin) = headers.get(header::ORIGIN) {
        let same = origin.to_str().is_ok_and(|origin| origin.strip_prefix("http://") == Some(host));
        if !same {
            return Some(("foreign_origin", "pages of other origins may not use the admin port", ""));
        }
    }
    if api && headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
        return Some(("foreign_origin", "pages of other origins may not use the admin port", ""));
    }
    if api && !is_address(host) {
        return Some((
            "foreign_host",
            "the admin port is addressed by IP address or as localhost, not by another name",
            "use the address itself in --admin",
        ));
    }
    None
}

fn is_address(host: &str) -> bool {
    if let Some(bracketed) = host.strip_prefix('[') {
        let inner = bracketed.split(']').next().unwrap_or_default();
        return inner.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let name = host.split(':').next().unwrap_or_default();
    name == "localhost" || name.parse::<std::net::Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(pairs: &[(&'static str, &str)], api: bool) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        refusal(&headers, api).map(|(code, ..)| code)
    }

    #[test]
    fn a_program_on_this_machine_is_let_in() {
        for host in ["127.0.0.1:1235", "localhost:1235", "[::1]:1235", "10.0.0.7"] {
            assert_eq!(refused(&[("host", host)], true), None, "{host}");
        }
        assert_eq!(refused(&[("host", "127.0.0.1:1235"), ("origin", "http://127.0.0.1:1235")], true), None);
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        let host = ("host", "127.0.0.1:1235");
        for origin in ["https://evil.example", "http://127.0.0.1:1234", "null", "https://127.0.0.1:1235"] {
            assert_eq!(refused(&[host, ("origin", origin)], false), Some("foreign_origin"), "{origin}");
        }
        assert_eq!(refused(&[host, ("sec-fetch-site", "cross-site")], true), Some("foreign_origin"));
    }

    #[test]
    fn a_rebound_name_is_refused_though_it_is_the_same_origin() {
        let rebound = [("host", "evil.example:1235"), ("origin", "http://evil.example:1235")];
        assert_eq!(refused(&rebound, true), Some("foreign_host"));
        assert_eq!(refused(&[("host", "127.0.0.1.evil.example")], true), Some("foreign_host"));
        assert_eq!(refused(&[], true), Some("foreign_host"));
        assert_eq!(refused(&[("host", "ringleaf:1235")], false), None, "monitoring may use a name");
    }
}
