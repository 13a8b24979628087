//! A stored state as a document of the CRDT library, with values as that library reads them.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ringleaf_types::{ClientId, Clock};
use ringleaf_wire::scan::{self, Content, Struct, Visit};
use yrs::updates::decoder::Decode;
use yrs::{Doc, OffsetKind, Options, ReadTxn, Transact, Update};

/// Why the CRDT library cannot read a state. The document itself may well be in order: editors do not use that library.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It panicked.
    #[error("it gives up in the middle ({said})")]
    Panicked {
        /// Its words.
        said: String,
    },
    /// It would misread what other CRDT libraries read well.
    #[error("it does not know {what}, which the document holds")]
    Unknown {
        /// The kind of content.
        what: &'static str,
    },
    /// It does not decode the bytes, or one of the values.
    #[error("it does not decode {what}: {why}")]
    Undecodable {
        /// The part that it was at.
        what: &'static str,
        /// What it said.
        why: String,
    },
    /// It waits for something that the state refers to.
    #[error("it takes something for missing that other changes build on")]
    Pending,
    /// What it writes is not what it has read.
    #[error("what it writes again differs in {what}")]
    Differs {
        /// In what.
        what: &'static str,
    },
}

/// Reads a whole state.
///
/// # Errors
///
/// The library does not take it.
pub(crate) fn read(state: &[u8]) -> Result<Doc, Unreadable> {
    known(state)?;
    let doc = Doc::with_options(options());
    take_in(&doc, state)?;
    if doc.transact().has_missing_updates() {
        // yrs sometimes keeps a block although all that it builds on is there. Once more frees it.
        take_in(&doc, state)?;
    }
    if doc.transact().has_missing_updates() { Err(Unreadable::Pending) } else { Ok(doc) }
}

/// The type reference of an XML hook, as Yjs writes it.
const HOOK: u8 = 5;

/// Looks for content that yrs 0.28 takes for something else: it stumbles over what follows, or says what is not there.
#[derive(Default)]
struct Unknowns(Option<&'static str>);

impl Visit<'_> for Unknowns {
    fn item(&mut self, item: &Struct<'_>) {
        match item.content {
            Content::Json => self.0 = Some("JSON content of before 2020"),
            Content::Type if item.content_bytes.first() == Some(&HOOK) => self.0 = Some("XML hooks"),
            _ => {}
        }
    }

    fn deleted(&mut self, _: ClientId, _: Clock, _: u32) {}
}

fn known(state: &[u8]) -> Result<(), Unreadable> {
    let mut unknowns = Unknowns::default();
    // What the scan does not take, the library is asked about.
    let _ = scan::update(state, &mut unknowns);
    unknowns.0.map_or(Ok(()), |what| Err(Unreadable::Unknown { what }))
}

fn take_in(doc: &Doc, state: &[u8]) -> Result<(), Unreadable> {
    let undecodable = |why: String| Unreadable::Undecodable { what: "the update", why };
    let update = Update::decode_v1(state).map_err(|error| undecodable(error.to_string()))?;
    doc.transact_mut().apply_update(update).map_err(|error| undecodable(error.to_string()))
}

/// Nothing is written, so the client id is not used; and the library must not clean up formatting, which would be a change
/// that no editor has made. Positions are counted as Yjs counts them.
fn options() -> Options {
    Options {
        offset_kind: OffsetKind::Utf16,
        skip_gc: false,
        cleanup_formatting: false,
        ..Options::with_guid_and_client_id("ringleaf".into(), yrs::ClientID::new(1))
    }
}

/// No call into the library is trusted not to panic.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, Unreadable>) -> Result<T, Unreadable> {
    let done = catch_unwind(AssertUnwindSafe(work));
    done.unwrap_or_else(|payload| Err(Unreadable::Panicked { said: words(payload.as_ref()) }))
}

/// What a panic said.
fn words(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_answer_with_its_words() {
        let panicked: Result<(), Unreadable> = guarded(|| panic!("on purpose"));
        assert_eq!(panicked, Err(Unreadable::Panicked { said: "on purpose".into() }));
    }

    #[test]
    fn what_it_would_misread_is_named() {
        let unknown = |content: &[u8]| {
            let update = [&[1, 1, 1, 0], content, &[0]].concat();
            read(&update).map(drop)
        };
        let old_json = unknown(&[2, 1, 1, b'a', 1, 1, b'7']);
        assert_eq!(old_json, Err(Unreadable::Unknown { what: "JSON content of before 2020" }));
        assert_eq!(unknown(&[7, 1, 1, b'x', 5, 1, b'h']), Err(Unreadable::Unknown { what: "XML hooks" }));
        assert_eq!(unknown(&[7, 1, 1, b'x', 3, 1, b'e']), Ok(()), "an XML element");
    }

    #[test]
    fn what_does_not_decode_or_is_not_whole_is_refused() {
        assert!(matches!(read(&[1, 1, 1]), Err(Unreadable::Undecodable { .. })));
        // A letter after one that is not there.
        let holed = [1, 1, 1, 1, 0x84, 1, 0, 1, b'b', 0];
        assert_eq!(read(&holed).map(drop), Err(Unreadable::Pending));
    }
}
