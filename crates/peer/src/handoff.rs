//! What two nodes say to each other about one document that moves.
//!
//! Presence can be large, so it travels in parts before the seal that it belongs to.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use ringleaf_ring::handoff::{Offer, Seal, ToSource, ToTarget};
use ringleaf_types::{
    ClientId, Clock, Epoch, Limits, NodeId, Presence, RingVersion, RouterId, SessionId, Slot, Subject,
};
use ringleaf_wire::Gone;
use tokio::sync::mpsc;
use tonic::Streaming;

use crate::convert::{Malformed, node_in};
use crate::proto;
use crate::proto::{to_source, to_target};

/// Messages that wait to be sent. Neither side ever says more than two things before it hears something.
const WAITING_MAX: usize = 4;
/// A part of the presence that has so many bytes takes no more entries.
const PART_BYTES: usize = 128 << 10;
/// What an entry costs beside its state.
const ENTRY_BYTES: usize = 64;

/// One side of a conversation about one document. Dropping it ends the conversation.
pub struct Talk<Says, Hears> {
    say: mpsc::Sender<Says>,
    hear: BoxStream<'static, Hears>,
}

/// The side of the node that has the document.
pub type SourceTalk = Talk<ToTarget, ToSource>;
/// The side of the node that gets it.
pub type TargetTalk = Talk<ToSource, ToTarget>;

/// The way to the node that is to get a document.
pub trait Handoffs: Send + Sync + 'static {
    /// Begins a conversation. It is heard of the other side when that says something; `None` from
    /// [`Talk::hear`] at once means that there is no way to it, or that it knows no handoff.
    fn begin(&self, node: &NodeId, address: &str) -> SourceTalk;
}

impl<Says: Send + 'static, Hears: Send + 'static> Talk<Says, Hears> {
    pub(crate) fn new(say: mpsc::Sender<Says>, hear: BoxStream<'static, Hears>) -> Self {
        Self { say, hear }
    }

    /// Says something. A side that has said all that it may without an answer waits here.
    ///
    /// # Errors
    ///
    /// The conversation is over.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future says nothing.
    pub async fn say(&mut self, message: Says) -> Result<(), Gone> {
        self.say.send(message).await.map_err(|_| Gone)
    }

    /// Waits for what the other side says next. `None`: it says no more.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future.
    pub async fn hear(&mut self) -> Option<Hears> {
        self.hear.next().await
    }
}

/// Both sides of a conversation within this process.
pub fn in_process() -> (SourceTalk, TargetTalk) {
    let (to_target, at_target) = mpsc::channel(WAITING_MAX);
    let (to_source, at_source) = mpsc::channel(WAITING_MAX);
    (Talk::new(to_target, received(at_source)), Talk::new(to_source, received(at_target)))
}

fn received<T: Send + 'static>(receiver: mpsc::Receiver<T>) -> BoxStream<'static, T> {
    stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) }).boxed()
}

/// The source's side, and what it sends. `answers` makes a stream of answers out of that.
pub(crate) fn source(
    answers: impl FnOnce(BoxStream<'static, proto::ToTarget>) -> BoxStream<'static, proto::ToSource>,
) -> SourceTalk {
    let (say, said) = mpsc::channel(WAITING_MAX);
    let sent = received(said).flat_map(|message| stream::iter(to_target_out(message))).boxed();
    let heard = answers(sent).map(to_source_in).take_while(|heard| std::future::ready(heard.is_ok()));
    Talk::new(say, heard.filter_map(|heard| std::future::ready(heard.ok())).boxed())
}

/// The target's side, and what it sends.
pub(crate) fn target(
    heard: Streaming<proto::ToTarget>,
    limits: &Limits,
) -> (TargetTalk, BoxStream<'static, proto::ToSource>) {
    let (say, said) = mpsc::channel(WAITING_MAX);
    let gathering = Gathering {
        presence: Vec::new(),
        bytes: 0,
        entries_max: limits.awareness_clients_max,
        bytes_max: limits.awareness_bytes_max + limits.awareness_clients_max * ENTRY_BYTES,
    };
    let heard = stream::unfold((heard, gathering), |(mut heard, mut gathering)| async {
        loop {
            // What breaks the rules ends the conversation, as a broken link does.
            let message = heard.message().await.ok()??;
            if let Some(message) = gathering.take(message).ok()? {
                return Some((message, (heard, gathering)));
            }
        }
    });
    (Talk::new(say, heard.boxed()), received(said).map(to_source_out).boxed())
}

/// Parts of the presence that came before their seal.
struct Gathering {
    presence: Vec<Presence>,
    bytes: usize,
    entries_max: usize,
    bytes_max: usize,
}

impl Gathering {
    fn take(&mut self, message: proto::ToTarget) -> Result<Option<ToTarget>, Malformed> {
        use to_target::Kind;
        Ok(match message.kind.ok_or(Malformed("an empty message"))? {
            Kind::Offer(offer) => Some(ToTarget::Offer(Offer {
                document: offer.document.parse().map_err(|_| Malformed("a document's name"))?,
                from: node_in(&offer.from)?,
                ring: RingVersion::new(offer.ring),
                epoch: Epoch::new(offer.epoch),
            })),
            Kind::Presence(part) => {
                for entry in part.entries {
                    self.bytes += ENTRY_BYTES + entry.state.as_ref().map_or(0, Bytes::len);
                    self.presence.push(presence_in(entry));
                }
                let too_many = self.presence.len() > self.entries_max || self.bytes > self.bytes_max;
                if too_many {
                    return Err(Malformed("more presence than a document may have"));
                }
                None
            }
            Kind::Seal(seal) => Some(ToTarget::Seal(Seal {
                last: Slot::new(seal.last),
                epoch: Epoch::new(seal.epoch),
                presence: std::mem::take(&mut self.presence),
            })),
        })
    }
}

fn to_target_out(message: ToTarget) -> Vec<proto::ToTarget> {
    use to_target::Kind;
    let kinds = match message {
        ToTarget::Offer(Offer { document, from, ring, epoch }) => vec![Kind::Offer(proto::Offer {
            document: document.as_str().to_owned(),
            from: from.as_str().to_owned(),
            ring: ring.get(),
            epoch: epoch.get(),
        })],
        ToTarget::Seal(Seal { last, epoch, presence }) => {
            let mut kinds: Vec<Kind> = parts(presence).into_iter().map(Kind::Presence).collect();
            kinds.push(Kind::Seal(proto::Seal { last: last.get(), epoch: epoch.get() }));
            kinds
        }
    };
    kinds.into_iter().map(|kind| proto::ToTarget { kind: Some(kind) }).collect()
}

fn parts(presence: Vec<Presence>) -> Vec<proto::PresencePart> {
    let (mut parts, mut bytes) = (Vec::<proto::PresencePart>::new(), PART_BYTES);
    for entry in presence {
        if bytes >= PART_BYTES {
            parts.push(proto::PresencePart::default());
            bytes = 0;
        }
        bytes += ENTRY_BYTES + entry.state.as_ref().map_or(0, Bytes::len);
        if let Some(part) = parts.last_mut() {
            part.entries.push(presence_out(entry));
        }
    }
    parts
}

fn presence_out(presence: Presence) -> proto::Presence {
    proto::Presence {
        client: presence.client.get(),
        clock: presence.clock.get(),
        state: presence.state,
        subject: presence.subject.as_str().to_owned(),
        router: presence.raised_by.map(|(router, _)| router.get()),
        session: presence.raised_by.map_or(0, |(_, session)| session.get()),
        age_milliseconds: u64::try_from(presence.age.as_millis()).unwrap_or(u64::MAX),
    }
}

fn presence_in(presence: proto::Presence) -> Presence {
    let session = SessionId::new(presence.session);
    Presence {
        client: ClientId::new(presence.client),
        clock: Clock::new(presence.clock),
        state: presence.state,
        subject: Subject::new(&presence.subject),
        raised_by: presence.router.map(|router| (RouterId::new(router), session)),
        age: Duration::from_millis(presence.age_milliseconds),
    }
}

fn to_source_out(message: ToSource) -> proto::ToSource {
    use to_source::Kind;
    let nothing = proto::Nothing {};
    let kind = match message {
        ToSource::Accept => Kind::Accept(nothing),
        // An older source knows no difference, and asks again.
        ToSource::Busy | ToSource::Behind => Kind::Busy(nothing),
        ToSource::Refuse => Kind::Refuse(nothing),
        ToSource::Warm { slot } => Kind::Warm(slot.get()),
        ToSource::Claimed { epoch } => Kind::Claimed(epoch.get()),
        ToSource::Failed => Kind::Failed(nothing),
    };
    proto::ToSource { kind: Some(kind), behind: message == ToSource::Behind }
}

fn to_source_in(message: proto::ToSource) -> Result<ToSource, Malformed> {
    use to_source::Kind;
    Ok(match message.kind.ok_or(Malformed("an empty message"))? {
        Kind::Accept(_) => ToSource::Accept,
        Kind::Busy(_) if message.behind => ToSource::Behind,
        Kind::Busy(_) => ToSource::Busy,
        Kind::Refuse(_) => ToSource::Refuse,
        Kind::Warm(slot) => ToSource::Warm { slot: Slot::new(slot) },
        Kind::Claimed(epoch) => ToSource::Claimed { epoch: Epoch::new(epoch) },
        Kind::Failed(_) => ToSource::Failed,
    })
}

#[cfg(test)]
mod tests;
