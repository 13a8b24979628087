//! Gives one shape to every failure on this port: what the HTTP library itself refuses (a method, a query, a body) comes as
//! plain text or as nothing at all, and programs that read our errors would trip over it.

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::Response;

/// Limit: what is read of a text that somebody else wrote. They are sentences.
const TEXT_BYTES_MAX: usize = 16 << 10;

pub(super) async fn shape(request: Request, next: Next) -> Response {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let answer = next.run(request).await;
    // Health answers are text on purpose.
    let ours = answer.status() != StatusCode::METHOD_NOT_ALLOWED && !uri.path().starts_with("/api/");
    let failed = answer.status().is_client_error() || answer.status().is_server_error();
    if ours || !failed || is_json(&answer) {
        return answer;
    }
    reshaped(answer, &method, &uri).await
}

fn is_json(answer: &Response) -> bool {
    let content_type = answer.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    content_type.is_some_and(|content_type| content_type.starts_with(b"application/json"))
}

async fn reshaped(answer: Response, method: &Method, uri: &Uri) -> Response {
    let status = answer.status();
    let text = to_bytes(answer.into_body(), TEXT_BYTES_MAX).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let message = format!("{method} is not for {}", uri.path());
        // The header itself is set further out.
        return super::error(status, "method_not_allowed", &message, "see the header `allow` for what is");
    }
    let code = if status.is_client_error() { "bad_request" } else { "failed" };
    let message = match text.trim() {
        "" => status.canonical_reason().unwrap_or("the request failed"),
        text => text,
    };
    super::error(status, code, message, "")
}
