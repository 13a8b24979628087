//! Between the words of `wire` and those of the proto file.

use ringleaf_types::{
    CloseReason, DocumentId, MessageNumber, NodeId, Rights, RingVersion, RouterId, SessionId, Slot, Subject,
};
use ringleaf_wire::{Event, OpenError, Opening, Request};

use crate::proto;
use crate::proto::{event, refused, request};

/// What the other side sent is not what this protocol allows. It ends the link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed: {0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

/// More nodes than this cannot be named in an opening.
const NODES_MAX: usize = 1_024;

pub(crate) fn opening_out(opening: Opening) -> proto::Open {
    proto::Open {
        document: opening.document.as_str().to_owned(),
        router: opening.router.get(),
        ring: opening.ring.get(),
        unreachable: nodes_out(&opening.unreachable),
        denied: nodes_out(&opening.denied),
        relayed: opening.relayed,
        refusable: opening.refusable,
    }
}

pub(crate) fn opening_in(open: &proto::Open) -> Result<Opening, Malformed> {
    let document: DocumentId = open.document.parse().map_err(|_| Malformed("a document's name"))?;
    let (unreachable, denied) = (nodes_in(&open.unreachable)?, nodes_in(&open.denied)?);
    let (router, ring) = (RouterId::new(open.router), RingVersion::new(open.ring));
    let (relayed, refusable) = (open.relayed, open.refusable);
    Ok(Opening { document, router, ring, unreachable, denied, relayed, refusable })
}

fn nodes_out(nodes: &[NodeId]) -> Vec<String> {
    nodes.iter().map(|node| node.as_str().to_owned()).collect()
}

fn nodes_in(nodes: &[String]) -> Result<Vec<NodeId>, Malformed> {
    if nodes.len() > NODES_MAX {
        return Err(Malformed("too many nodes"));
    }
    nodes.iter().map(|node| node_in(node)).collect()
}

pub(crate) fn node_in(text: &str) -> Result<NodeId, Malformed> {
    text.parse().map_err(|_| Malformed("a node's id"))
}

pub(crate) fn refused_out(error: &OpenError) -> proto::Refused {
    let why = match error {
        OpenError::Refused { reason } => refused::Why::Reason(reason_out(*reason)),
        OpenError::Busy => refused::Why::Busy(proto::Nothing {}),
        OpenError::Moved { owner, ring } => {
            refused::Why::Moved(proto::Moved { owner: owner.as_str().to_owned(), ring: ring.get() })
        }
        OpenError::Unreachable => refused::Why::Unreachable(proto::Nothing {}),
    };
    proto::Refused { why: Some(why) }
}

pub(crate) fn refused_in(refused: proto::Refused) -> Result<OpenError, Malformed> {
    Ok(match refused.why.ok_or(Malformed("a refusal without a reason"))? {
        refused::Why::Reason(reason) => OpenError::Refused { reason: reason_in(reason)? },
        refused::Why::Busy(_) => OpenError::Busy,
        refused::Why::Moved(moved) => {
            OpenError::Moved { owner: node_in(&moved.owner)?, ring: RingVersion::new(moved.ring) }
        }
        refused::Why::Unreachable(_) => OpenError::Unreachable,
    })
}

pub(crate) fn request_out(request: Request) -> proto::Request {
    use request::Kind;
    let nothing = proto::Nothing {};
    let (session, kind) = match request {
        Request::Attach { session, rights, subject, resume } => {
            let may_write = rights == Rights::ReadWrite;
            let resume = resume.map(Slot::get);
            let attach = proto::Attach { may_write, subject: subject.as_str().to_owned(), resume };
            (session, Kind::Attach(attach))
        }
        Request::Detach { session } => (session, Kind::Detach(nothing)),
        Request::Update { session, number, answer, update } => {
            (session, Kind::Update(proto::Update { number: number.get(), answer, update }))
        }
        Request::SyncRequest { session, state_vector } => (session, Kind::SyncRequest(state_vector)),
        Request::Awareness { session, payload } => (session, Kind::Awareness(payload)),
        Request::QueryAwareness { session } => (session, Kind::QueryAwareness(nothing)),
        Request::CatchUp { from } => (SessionId::default(), Kind::CatchUpFrom(from.get())),
    };
    proto::Request { session: session.get(), kind: Some(kind) }
}

pub(crate) fn request_in(request: proto::Request) -> Result<Request, Malformed> {
    use request::Kind;
    let session = SessionId::new(request.session);
    Ok(match request.kind.ok_or(Malformed("an empty request"))? {
        Kind::Attach(attach) => Request::Attach {
            session,
            rights: if attach.may_write { Rights::ReadWrite } else { Rights::ReadOnly },
            subject: Subject::new(&attach.subject),
            resume: attach.resume.map(Slot::new),
        },
        Kind::Detach(_) => Request::Detach { session },
        Kind::Update(update) => Request::Update {
            session,
            number: MessageNumber::new(update.number),
            answer: update.answer,
            update: update.update,
        },
        Kind::SyncRequest(state_vector) => Request::SyncRequest { session, state_vector },
        Kind::Awareness(payload) => Request::Awareness { session, payload },
        Kind::QueryAwareness(_) => Request::QueryAwareness { session },
        Kind::CatchUpFrom(from) => Request::CatchUp { from: Slot::new(from) },
    })
}

/// What a request counts in its channel's flow control. Both sides count alike.
pub(crate) fn request_bytes(request: &Request) -> usize {
    const HEAD: usize = 64;
    HEAD + match request {
        Request::Attach { subject, .. } => subject.as_str().len(),
        Request::Update { update, .. } => update.len(),
        Request::SyncRequest { state_vector, .. } => state_vector.len(),
        Request::Awareness { payload, .. } => payload.len(),
        Request::Detach { .. } | Request::QueryAwareness { .. } | Request::CatchUp { .. } => 0,
    }
}

pub(crate) fn event_out(event: Event) -> proto::Event {
    use event::Kind;
    let kind = match event {
        Event::Attached { session, slot } => {
            Kind::Attached(proto::Attached { session: session.get(), slot: slot.get() })
        }
        Event::Publish { previous, slot, updates } => Kind::Publish(proto::Publish {
            previous: previous.get(),
            slot: slot.get(),
            updates: updates.to_vec(),
        }),
        Event::Awareness { only, payload } => {
            Kind::Awareness(proto::Awareness { only: only.map(SessionId::get), payload })
        }
        Event::SyncAnswer { sessions, through, update } => Kind::SyncAnswer(proto::SyncAnswer {
            sessions: sessions.into_iter().map(SessionId::get).collect(),
            through: through.get(),
            update,
        }),
        Event::SyncRequest { session, state_vector } => {
            Kind::SyncRequest(proto::SyncRequest { session: session.get(), state_vector })
        }
        Event::Acknowledge { session, through } => Kind::Acknowledge(numbered(session, through)),
        Event::Refused { session, number } => Kind::Refused(numbered(session, number)),
        Event::CaughtUp { from, through, update } => {
            Kind::CaughtUp(proto::CaughtUp { from: from.get(), through: through.get(), update })
        }
        Event::CloseSession { session, reason } => {
            let known = known_to_all(reason);
            let exact =
                if known == reason { proto::CloseReason::Unspecified.into() } else { reason_out(reason) };
            Kind::CloseSession(proto::CloseSession {
                session: session.get(),
                reason: reason_out(known),
                exact_reason: exact,
            })
        }
        Event::Closed { reason } => Kind::Closed(reason_out(reason)),
        Event::LetGo => Kind::LetGo(proto::LetGo::default()),
        Event::Moved { owner, ring } => {
            Kind::LetGo(proto::LetGo { owner: owner.as_str().to_owned(), ring: ring.get() })
        }
    };
    proto::Event { kind: Some(kind) }
}

fn numbered(session: SessionId, number: MessageNumber) -> proto::Numbered {
    proto::Numbered { session: session.get(), number: number.get() }
}

pub(crate) fn event_in(event: proto::Event) -> Result<Event, Malformed> {
    use event::Kind;
    Ok(match event.kind.ok_or(Malformed("an empty event"))? {
        Kind::Attached(it) => {
            Event::Attached { session: SessionId::new(it.session), slot: Slot::new(it.slot) }
        }
        Kind::Publish(it) => Event::Publish {
            previous: Slot::new(it.previous),
            slot: Slot::new(it.slot),
            updates: it.updates.into(),
        },
        Kind::Awareness(it) => Event::Awareness { only: it.only.map(SessionId::new), payload: it.payload },
        Kind::SyncAnswer(it) => Event::SyncAnswer {
            sessions: it.sessions.into_iter().map(SessionId::new).collect(),
            through: Slot::new(it.through),
            update: it.update,
        },
        Kind::SyncRequest(it) => {
            Event::SyncRequest { session: SessionId::new(it.session), state_vector: it.state_vector }
        }
        Kind::Acknowledge(it) => {
            Event::Acknowledge { session: SessionId::new(it.session), through: MessageNumber::new(it.number) }
        }
        Kind::Refused(it) => {
            Event::Refused { session: SessionId::new(it.session), number: MessageNumber::new(it.number) }
        }
        Kind::CaughtUp(it) => {
            Event::CaughtUp { from: Slot::new(it.from), through: Slot::new(it.through), update: it.update }
        }
        Kind::CloseSession(it) => {
            let exact = reason_in(it.exact_reason).or_else(|_| reason_in(it.reason))?;
            Event::CloseSession { session: SessionId::new(it.session), reason: exact }
        }
        Kind::Closed(reason) => Event::Closed { reason: reason_in(reason)? },
        Kind::LetGo(it) if it.owner.is_empty() => Event::LetGo,
        Kind::LetGo(it) => Event::Moved { owner: node_in(&it.owner)?, ring: RingVersion::new(it.ring) },
    })
}

/// What the first version knows of that comes closest: it says the same about whether to connect again.
fn known_to_all(reason: CloseReason) -> CloseReason {
    match reason {
        CloseReason::NotTaken | CloseReason::DocumentFull => CloseReason::MessageTooLarge,
        CloseReason::ServiceRestart
        | CloseReason::TryAgainLater
        | CloseReason::SlowConsumer
        | CloseReason::Dead
        | CloseReason::Misbehaved
        | CloseReason::MessageTooLarge
        | CloseReason::DocumentDeleted
        | CloseReason::DocumentQuarantined
        | CloseReason::ProtocolError => reason,
    }
}

fn reason_out(reason: CloseReason) -> i32 {
    use proto::CloseReason as Out;
    let reason = match reason {
        CloseReason::ServiceRestart => Out::ServiceRestart,
        CloseReason::TryAgainLater => Out::TryAgainLater,
        CloseReason::SlowConsumer => Out::SlowConsumer,
        CloseReason::Dead => Out::Dead,
        CloseReason::Misbehaved => Out::Misbehaved,
        CloseReason::MessageTooLarge => Out::MessageTooLarge,
        CloseReason::DocumentDeleted => Out::DocumentDeleted,
        CloseReason::DocumentQuarantined => Out::DocumentQuarantined,
        CloseReason::NotTaken => Out::NotTaken,
        CloseReason::DocumentFull => Out::DocumentFull,
        CloseReason::ProtocolError => Out::ProtocolError,
    };
    reason.into()
}

fn reason_in(reason: i32) -> Result<CloseReason, Malformed> {
    use proto::CloseReason as In;
    Ok(match In::try_from(reason).map_err(|_| Malformed("an unknown reason"))? {
        In::Unspecified => return Err(Malformed("no reason")),
        In::ServiceRestart => CloseReason::ServiceRestart,
        In::TryAgainLater => CloseReason::TryAgainLater,
        In::SlowConsumer => CloseReason::SlowConsumer,
        In::Dead => CloseReason::Dead,
        In::Misbehaved => CloseReason::Misbehaved,
        In::MessageTooLarge => CloseReason::MessageTooLarge,
        In::DocumentDeleted => CloseReason::DocumentDeleted,
        In::DocumentQuarantined => CloseReason::DocumentQuarantined,
        In::NotTaken => CloseReason::NotTaken,
        In::DocumentFull => CloseReason::DocumentFull,
        In::ProtocolError => CloseReason::ProtocolError,
    })
}

#[cfg(test)]
mod tests;
