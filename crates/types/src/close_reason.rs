//! The one table of close codes, HTTP statuses and what the editor should do next.

/// Why a connection ends, or why it was never admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The process stops or is replaced.
    ServiceRestart,
    /// A limit of this server is reached, or it cannot serve at the moment.
    TryAgainLater,
    /// The editor took nothing for too long.
    SlowConsumer,
    /// The editor answered no ping for too long.
    Dead,
    /// What the editor sent broke the document's task, or twenty of its messages within a minute were refused.
    Misbehaved,
    /// One message is larger than the limit.
    MessageTooLarge,
    /// The document is deleted.
    DocumentDeleted,
    /// The document broke its task and waits for a person.
    DocumentQuarantined,
    /// What the editor brings again and again can never be taken into the document; nothing that it types after that could be
    /// saved.
    NotTaken,
    /// The document has reached its size, and what the editor brings would make it larger.
    DocumentFull,
    /// The bytes are not the WebSocket protocol.
    ProtocolError,
}

/// What an editor should do after its connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Connect again, as every stock client does by itself.
    Reconnect,
    /// Stay away: connecting again would end in the same way.
    Stop,
}

impl CloseReason {
    /// The WebSocket close code.
    ///
    /// Stock y-websocket clients from 3.1 on never reconnect after 4400–4499, so nothing transient lies there.
    pub const fn code(self) -> u16 {
        match self {
            Self::ServiceRestart => 1012,
            Self::TryAgainLater | Self::SlowConsumer | Self::Dead => 1013,
            Self::Misbehaved => 1008,
            Self::MessageTooLarge => 4413,
            Self::DocumentDeleted => 4410,
            Self::DocumentQuarantined => 4423,
            Self::NotTaken => 4422,
            Self::DocumentFull => 4414,
            Self::ProtocolError => 1002,
        }
    }

    /// The status with which a request is refused before it becomes a socket.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::ServiceRestart | Self::TryAgainLater | Self::SlowConsumer | Self::Dead => 503,
            Self::Misbehaved | Self::ProtocolError => 400,
            Self::MessageTooLarge => 413,
            Self::DocumentDeleted => 410,
            Self::DocumentQuarantined => 423,
            Self::NotTaken => 422,
            Self::DocumentFull => 507,
        }
    }

    /// One fragment for the close frame and the logs.
    pub const fn text(self) -> &'static str {
        match self {
            Self::ServiceRestart => "server restarts",
            Self::TryAgainLater => "try again later",
            Self::SlowConsumer => "too slow",
            Self::Dead => "no answer",
            Self::Misbehaved => "too many bad messages",
            Self::MessageTooLarge => "message too large",
            Self::DocumentDeleted => "document deleted",
            Self::DocumentQuarantined => "document quarantined",
            Self::NotTaken => {
                "part of your changes cannot be saved here: they hold something that would break other editors"
            }
            Self::DocumentFull => "your changes cannot be saved: the document has reached its largest size",
            Self::ProtocolError => "protocol error",
        }
    }

    pub const fn next(self) -> Next {
        match self {
            Self::ServiceRestart
            | Self::TryAgainLater
            | Self::SlowConsumer
            | Self::Dead
            | Self::Misbehaved
            | Self::ProtocolError => Next::Reconnect,
            Self::MessageTooLarge
            | Self::DocumentDeleted
            | Self::DocumentQuarantined
            | Self::NotTaken
            | Self::DocumentFull => Next::Stop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [CloseReason; 11] = [
        CloseReason::ServiceRestart,
        CloseReason::TryAgainLater,
        CloseReason::SlowConsumer,
        CloseReason::Dead,
        CloseReason::Misbehaved,
        CloseReason::MessageTooLarge,
        CloseReason::DocumentDeleted,
        CloseReason::DocumentQuarantined,
        CloseReason::NotTaken,
        CloseReason::DocumentFull,
        CloseReason::ProtocolError,
    ];

    #[test]
    fn only_what_should_stop_an_editor_has_a_code_that_stops_it() {
        for reason in ALL {
            assert_eq!((4400..4500).contains(&reason.code()), reason.next() == Next::Stop, "{reason:?}");
        }
    }

    #[test]
    fn every_text_fits_into_a_close_frame() {
        for reason in ALL {
            assert!(reason.text().len() <= 123, "{reason:?}");
        }
    }
}
