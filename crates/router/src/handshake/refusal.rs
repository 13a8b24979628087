//! Why a request is refused.

use hyper::StatusCode;

/// One reason, with its status and its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    NotFound,
    Method,
    BadName,
    BadUpgrade,
    WrongVersion,
    Origin,
    /// More come at once than may.
    Crowded,
    Connections,
    ConnectionsOfAddress,
    DocumentsOfAddress,
    SessionsOfDocument,
    Busy,
    Stopping,
    Deleted,
    Quarantined,
    /// The request did not come in time. There is nobody to answer.
    TimedOut,
    /// What came is no HTTP, or ended too early.
    NotHttp,
}

impl Refusal {
    pub(crate) const ALL: [Self; 17] = [
        Self::NotFound,
        Self::Method,
        Self::BadName,
        Self::BadUpgrade,
        Self::WrongVersion,
        Self::Origin,
        Self::Crowded,
        Self::Connections,
        Self::ConnectionsOfAddress,
        Self::DocumentsOfAddress,
        Self::SessionsOfDocument,
        Self::Busy,
        Self::Stopping,
        Self::Deleted,
        Self::Quarantined,
        Self::TimedOut,
        Self::NotHttp,
    ];

    /// How metrics and logs call it.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Method => "method",
            Self::BadName => "bad_name",
            Self::BadUpgrade => "bad_upgrade",
            Self::WrongVersion => "wrong_version",
            Self::Origin => "origin",
            Self::Crowded => "crowded",
            Self::Connections => "connections",
            Self::ConnectionsOfAddress => "connections_of_address",
            Self::DocumentsOfAddress => "documents_of_address",
            Self::SessionsOfDocument => "sessions_of_document",
            Self::Busy => "busy",
            Self::Stopping => "stopping",
            Self::Deleted => "deleted",
            Self::Quarantined => "quarantined",
            Self::TimedOut => "timed_out",
            Self::NotHttp => "not_http",
        }
    }

    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadName | Self::BadUpgrade | Self::NotHttp => StatusCode::BAD_REQUEST,
            Self::WrongVersion => StatusCode::UPGRADE_REQUIRED,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::Crowded
            | Self::Connections
            | Self::ConnectionsOfAddress
            | Self::DocumentsOfAddress
            | Self::SessionsOfDocument
            | Self::Busy
            | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Self::Deleted => StatusCode::GONE,
            Self::Quarantined => StatusCode::LOCKED,
            Self::TimedOut => StatusCode::REQUEST_TIMEOUT,
        }
    }

    /// When to come back. A crowd should come back in smaller ones: within twice so long.
    pub(crate) const fn retry_after_seconds(self) -> Option<u32> {
        match self {
            Self::Busy | Self::Stopping => Some(1),
            Self::Crowded => Some(2),
            Self::Connections | Self::ConnectionsOfAddress | Self::SessionsOfDocument => Some(10),
            Self::DocumentsOfAddress => Some(60),
            Self::NotFound
            | Self::Method
            | Self::BadName
            | Self::BadUpgrade
            | Self::WrongVersion
            | Self::Origin
            | Self::Deleted
            | Self::Quarantined
            | Self::TimedOut
            | Self::NotHttp => None,
        }
    }

    /// What the answer says.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::NotFound => {
                "there is nothing here; editors connect by WebSocket to ws://<this server>/<document name>"
            }
            Self::Method => "pages are asked for with GET or HEAD, and editors connect by WebSocket",
            Self::BadName => "that is not a document name",
            Self::BadUpgrade => {
                "that is not a WebSocket handshake: that takes HTTP/1.1, a key and a Connection header"
            }
            Self::WrongVersion => "WebSocket version 13 is spoken here",
            Self::Origin => "pages of that origin may not connect",
            Self::Crowded => {
                "more editors come at once than this server takes in; try again in a few seconds"
            }
            Self::Connections => "this server has as many connections as it may have",
            Self::ConnectionsOfAddress => "your address has as many connections as one address may have",
            Self::DocumentsOfAddress => {
                "your address opened as many documents within a minute as one address may"
            }
            Self::SessionsOfDocument => "the document has as many editors as one document may have",
            Self::Busy => "the document cannot be opened at the moment",
            Self::Stopping => "this server stops",
            Self::Deleted => "the document is deleted",
            Self::Quarantined => "the document is quarantined until an operator has looked at it",
            Self::TimedOut => "the request took too long",
            Self::NotHttp => "that is not an HTTP request",
        }
    }
}
