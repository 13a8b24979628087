//! Admin requests that another process must answer, in chunks.

use bytes::{Bytes, BytesMut};

use crate::outbox::CHUNK_BYTES;
use crate::proto::{AdminReplyChunk, AdminRequestChunk};

/// The largest body, either way.
pub(crate) const BODY_BYTES_MAX: usize = 128 << 20;

/// An admin HTTP request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "names and types say what the fields are")]
pub struct AdminRequest {
    pub method: String,
    pub path_and_query: String,
    pub body: Bytes,
}

/// The answer to one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "names and types say what the fields are")]
pub struct AdminAnswer {
    pub status: u16,
    pub content_type: String,
    pub body: Bytes,
}

/// Why an admin request was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "names and types say what the fields are")]
pub enum AdminError {
    #[error("the process cannot be reached")]
    Unreachable,
    #[error("the body has more than 128 MiB")]
    TooLarge,
    #[error("the process did not answer as it should: {text}")]
    NoAnswer { text: String },
}

/// At least one part, even of an empty body.
fn parts(mut body: Bytes) -> impl Iterator<Item = Bytes> {
    let mut first = true;
    std::iter::from_fn(move || {
        let any = std::mem::take(&mut first) || !body.is_empty();
        any.then(|| body.split_to(body.len().min(CHUNK_BYTES)))
    })
}

pub(crate) fn request_chunks(request: AdminRequest) -> impl Iterator<Item = AdminRequestChunk> {
    let mut head = Some((request.method, request.path_and_query));
    parts(request.body).map(move |body| {
        let (method, path_and_query) = head.take().unwrap_or_default();
        AdminRequestChunk { method, path_and_query, body }
    })
}

pub(crate) fn answer_chunks(answer: AdminAnswer) -> impl Iterator<Item = AdminReplyChunk> {
    let mut head = Some((u32::from(answer.status), answer.content_type));
    parts(answer.body).map(move |body| {
        let (status, content_type) = head.take().unwrap_or_default();
        AdminReplyChunk { status, content_type, body }
    })
}

/// A body that arrives in parts.
#[derive(Debug, Default)]
pub(crate) struct Body(BytesMut);

impl Body {
    pub(crate) fn add(&mut self, part: &[u8]) -> Result<(), AdminError> {
        if self.0.len() + part.len() > BODY_BYTES_MAX {
            return Err(AdminError::TooLarge);
        }
        self.0.extend_from_slice(part);
        Ok(())
    }

    pub(crate) fn whole(self) -> Bytes {
        self.0.freeze()
    }
}
